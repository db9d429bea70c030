"""Events as a Chrome JSON trace, which Perfetto and chrome://tracing load."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from bulkpages.formats.trace.events import TraceEvent
from bulkpages.kinds import each

__all__ = ["perfetto", "perfetto_text"]

# The track of events whose line names no CPU.
NO_CPU = -1


def _rows(events: Iterable[TraceEvent]) -> Iterator[dict[str, Any]]:
    cpus: set[int] = set()
    held: dict[int, int] = {}
    owned = 0
    for number, event in enumerate(each("an event", events, TraceEvent)):
        cpu = NO_CPU if event.cpu is None else event.cpu
        if cpu not in cpus:
            cpus.add(cpu)
            track = {"name": "no CPU" if event.cpu is None else f"CPU {cpu}"}
            yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": cpu, "args": track}
        # Without a clock, events are in order at least.
        time = number if event.time is None else event.time
        args = {"task": event.task, "task_pid": event.pid, **event.fields}
        if event.tgid is not None:
            args["task_tgid"] = event.tgid
        yield {"ph": "i", "s": "t", "name": event.name, "cat": "kmem", "ts": time, "pid": 1, "tid": cpu, "args": args}
        pages = 1 << event.fields.get("order", 0)
        if event.name == "mm_page_alloc_zone_locked":
            held[cpu] = held.get(cpu, 0) + pages
        elif event.name == "mm_page_pcpu_drain":
            held[cpu] = held.get(cpu, 0) - pages
        elif event.name == "mm_page_alloc" and event.fields["pfn"]:
            owned += pages
        elif event.name in ("mm_page_free", "mm_page_free_direct"):
            owned -= pages
        else:
            continue
        in_use = event.name.startswith(("mm_page_alloc", "mm_page_free")) and event.name != "mm_page_alloc_zone_locked"
        name = "pages in use (change)" if in_use else f"CPU {cpu} refilled less drained"
        yield {"ph": "C", "name": name, "ts": time, "pid": 1, "args": {"pages": owned if in_use else held[cpu]}}


def perfetto(events: Iterable[TraceEvent]) -> dict[str, Any]:
    """Events as a Chrome JSON trace: each is an instant on its CPU's track. There are counters too.

    Args:
        events: The events, in order.

    Returns:
        The document. Times are in microseconds, with three decimals if the trace has nanoseconds. A tick of a counting
        clock is shown as a microsecond.
    """
    return {"traceEvents": list(_rows(events)), "displayTimeUnit": "ns"}


def perfetto_text(events: Iterable[TraceEvent]) -> Iterator[str]:
    """The same document as JSON text, in pieces, for traces of any length.

    Nothing is yielded before the first event is read: an error there leaves no half document.
    """
    rows = _rows(events)
    first = next(rows, None)
    yield '{"displayTimeUnit": "ns", "traceEvents": [\n'
    if first is not None:
        yield json.dumps(first)
    for row in rows:
        yield ",\n" + json.dumps(row)
    yield "\n]}\n"
