"""Reads, writes and replays traces of the kernel's page allocator.

It reads ftrace's `trace` file in its usual, latency and function-graph layouts, with or without thread groups, flags,
nanoseconds or a counting clock. It also reads the same text as a kernel dumps it into its log, and the output of
`trace-cmd report` and `perf script`. Files may be gzipped.
"""

from bulkpages._core import gfp_text, gfp_value
from bulkpages.formats.trace.chrome import perfetto
from bulkpages.formats.trace.events import NoEvents, Tally, TraceError, TraceEvent, read_events, rewrite
from bulkpages.formats.trace.following import Followed, follow
from bulkpages.formats.trace.text import TraceText

__all__ = [
    "Followed",
    "NoEvents",
    "Tally",
    "TraceError",
    "TraceEvent",
    "TraceText",
    "follow",
    "gfp_text",
    "gfp_value",
    "perfetto",
    "read_events",
    "rewrite",
]
