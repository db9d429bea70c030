"""Traces of the kernel's page allocator: ftrace text, `trace-cmd report` text, `perf script` text; `.gz` as it is."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkpages import _core
from bulkpages.errors import BulkpagesError, SnapshotError
from bulkpages.formats.recording import load_snapshot

__all__ = ["Followed", "TraceError", "follow"]

CHUNK = 1 << 20


class TraceError(BulkpagesError, ValueError):
    """A trace that cannot be read."""


@dataclass(frozen=True)
class Followed:
    """What following a trace found.

    Attributes:
        report: Counts and misses; the names are those of `bulkpages replay --json`.
        state: The machine's state at the end, as `Machine.snapshot` gives it.
    """

    report: dict[str, Any]
    state: dict[str, Any]


def chunks(path: str | Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked, a megabyte at a time.

    Raises:
        TraceError: The file cannot be read or its gzip data is broken.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            source: Any = gzip.open(raw) if packed else raw
            while chunk := source.read(CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: broken gzip data: {error}") from error
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


def _markers(path: str | Path) -> int:
    """Snapshot lines of a trace."""
    count, rest = 0, b""
    for chunk in chunks(path):
        text = rest + chunk
        count += text.count(b": snapshot\n")
        rest = text[-len(b": snapshot\n") + 1 :]
    return count


def places(state: Mapping[str, Any]) -> dict[int, tuple[Any, ...]]:
    """Where each free block of a snapshot is: by first frame, its zone, order and list."""
    found: dict[int, tuple[Any, ...]] = {}
    for zone in state["zones"]:
        name = (zone["nid"], zone["idx"])
        for order, lists in zone["free"].items():
            for migratetype, frames in lists.items():
                found.update(dict.fromkeys(frames, (*name, "buddy", int(order), int(migratetype))))
        for cpu, pcp in zone["pcp"].items():
            for index, entries in pcp["lists"].items():
                found.update({frame: (*name, "pcp", int(cpu), int(index)) for frame, _ in entries})
    return found


def compare_states(ours: Mapping[str, Any], kernel: Mapping[str, Any]) -> dict[str, Any]:
    """How many free blocks of the kernel's state are in the same place in ours, and which lists are equal in order."""
    mine, theirs = places(ours), places(kernel)
    lists, equal = 0, 0
    for a, b in zip(ours["zones"], kernel["zones"], strict=True):
        for order, types in b["free"].items():
            for migratetype, frames in types.items():
                lists += 1
                equal += a["free"].get(str(order), {}).get(str(migratetype), []) == frames
        for cpu, pcp in b["pcp"].items():
            for index, entries in pcp["lists"].items():
                lists += 1
                equal += a["pcp"][cpu]["lists"].get(str(index), []) == entries
    return {
        "blocks": len(theirs),
        "blocks_in_place": sum(mine.get(frame) == place for frame, place in theirs.items()),
        "lists": lists,
        "lists_equal": equal,
    }


def follow(
    trace: str | Path,
    states: Mapping[str, Any] | str | Path,
    *,
    learn: bool = True,
    marked: bool | None = None,
) -> Followed:
    """Follows a trace on the state that the kernel was in, foretelling the frame of each `mm_page_alloc` line.

    Only the state and the lines before are used; what a line reveals counts from the next line on.

    Args:
        trace: ftrace, `trace-cmd report` or `perf script` text of the kmem events; `.gz` is read as it is.
        states: A snapshot, or a mapping or file with one under "before" (and the state at the end under "after").
        learn: Expect pages to leave the lists without a line where the same task did so before.
        marked: The state is that of the trace's first snapshot line, and the trace ends at the second; of its beginning
            when False. None: as the trace has such lines or not.

    Raises:
        TraceError: The trace cannot be read, or nothing in it is a trace.
        SnapshotError: The state cannot be read or contradicts itself.
    """
    after: Any = None
    if isinstance(states, Mapping):
        before: Any = states if "zones" in states else states.get("before")
        after = states.get("after")
    else:
        before = load_snapshot(states, "before")
        try:
            after = load_snapshot(states, "after")
        except SnapshotError:
            after = None
        after = None if after == before else after
    if not isinstance(before, Mapping):
        raise SnapshotError('holds no snapshot "before"')
    markers = _markers(trace)
    if marked is None:
        marked = markers > 0
    elif marked and markers == 0:
        raise TraceError(f"{trace}: no snapshot line says where the state was recorded")
    follower = _core.TraceFollower(json.dumps(before), marked=marked, learn=learn)
    for chunk in chunks(trace):
        follower.feed(chunk)
    report_text, state_text = follower.finish()
    report, state = json.loads(report_text), json.loads(state_text)
    events = report["lines"] - report["damaged"] - report["other_lines"]
    if events == 0 and report["damaged"]:
        number, why = report["damaged_lines"][0]
        raise TraceError(f"{trace}: no line is a kmem event; line {number}: {why}")
    if isinstance(after, Mapping):
        report["after"] = compare_states(state, after)
    return Followed(report, state)
