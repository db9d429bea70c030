"""Traces of the kernel's page allocator: ftrace text, `trace-cmd report` text, `perf script` text; `.gz` as it is."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkpages import _core
from bulkpages._core import gfp_text, gfp_value
from bulkpages.errors import BulkpagesError, SnapshotError
from bulkpages.formats.recording import load_snapshot
from bulkpages.kinds import each
from bulkpages.tables import Table, Tabular

__all__ = [
    "Followed",
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
            source: Any = gzip.GzipFile(fileobj=raw) if packed else raw
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


def start(
    trace: str | Path, states: Mapping[str, Any] | str | Path, *, learn: bool, marked: bool | None
) -> tuple[_core.TraceFollower, Mapping[str, Any], Any]:
    """A follower that waits for the trace, the state that it begins with, and that at the end or None."""
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
    return follower, before, after


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
    follower, _, after = start(trace, states, learn=learn, marked=marked)
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


_HEAD = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {entries}/{entries}   #P:{cpus}
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""


@dataclass(frozen=True, repr=False)
class TraceText(Tabular):
    """A trace as ftrace prints it.

    Attributes:
        lines: The lines, without the file's head; each ends with a newline.
        cpus: CPUs of the machine.
    """

    lines: str
    cpus: int

    def ftrace(self) -> str:
        """The text of a `trace` file, head and all."""
        return _HEAD.format(entries=self.lines.count("\n"), cpus=self.cpus) + self.lines

    def events(self) -> Iterator[TraceEvent]:
        """The events, in order."""
        return _events(self.lines)

    def to_table(self) -> Table:
        """A row for each event: `time` (microseconds), `cpu`, `name`, and the fields of all, None where absent."""
        head = ("time", "cpu", "task", "pid", "name")
        rows = [{**{name: getattr(e, name) for name in head}, **e.fields} for e in self.events()]
        return Table.from_rows(rows, title="trace")

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        return f"<TraceText {self.lines.count(chr(10))} lines, {self.cpus} CPUs>"

    def perfetto(self) -> dict[str, Any]:
        """The trace as Perfetto and chrome://tracing load it: one track a CPU, counters of free-list traffic."""
        return perfetto(self.events())


@dataclass(frozen=True)
class TraceEvent:
    """One event: `fields` as the kernel prints them, numbers as integers; `time` in microseconds."""

    task: str
    pid: int
    cpu: int
    time: int
    name: str
    fields: dict[str, Any]


_LINE = re.compile(r"\s*(.*)-(\d+)\s+\[(\d+)\] \S+\s+(\d+)\.(\d{6}): (\w+): (.*)")
_FIELD = re.compile(r"(\w+)=([^\s,]+)")
_OPAQUE = ("page", "gfp_flags", "page_pool", "netmem")


def _value(name: str, text: str) -> Any:
    if name in _OPAQUE:
        return text
    return int(text, 0)


def _events(text: str) -> Iterator[TraceEvent]:
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            task, pid, cpu, seconds, fraction, name, rest = match.groups()
            fields = {key: _value(key, value) for key, value in _FIELD.findall(rest)}
            yield TraceEvent(task, int(pid), int(cpu), int(seconds) * 1_000_000 + int(fraction), name, fields)


def rewrite(path: str | Path, damaged: list[tuple[int, str]] | None = None) -> Iterator[str]:
    """A trace of any tool as ftrace text, some lines at a time.

    Lines that are neither kmem events nor events of callers of the bulk call are left out; what cannot be read is added
    to `damaged` with its line number.
    """
    number, rest = 1, b""
    for chunk in chunks(path):
        text, _, rest = (rest + chunk).rpartition(b"\n")
        if not _:
            continue
        lines, bad = _core.rewrite_trace(text, number)
        number += text.count(b"\n") + 1
        if damaged is not None:
            damaged += bad
        yield lines
    if rest:
        lines, bad = _core.rewrite_trace(rest, number)
        if damaged is not None:
            damaged += bad
        yield lines


def read_events(path: str | Path, damaged: list[tuple[int, str]] | None = None) -> Iterator[TraceEvent]:
    """The kmem events of a trace of any tool; damaged lines as in `rewrite`."""
    for text in rewrite(path, damaged):
        yield from _events(text)


def perfetto(events: Iterable[TraceEvent]) -> dict[str, Any]:
    """Events as a Chrome JSON trace, which Perfetto loads: an instant on its CPU's track for each, and counters."""
    out: list[dict[str, Any]] = []
    cpus: set[int] = set()
    held: dict[int, int] = {}
    owned = 0
    for event in each("an event", events, TraceEvent):
        if event.cpu not in cpus:
            cpus.add(event.cpu)
            track = {"name": f"CPU {event.cpu}"}
            out.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": event.cpu, "args": track})
        args = {"task": event.task, "task_pid": event.pid, **event.fields}
        out.append(
            {"ph": "i", "s": "t", "name": event.name, "cat": "kmem", "ts": event.time, "pid": 1, "tid": event.cpu}
            | {"args": args}
        )
        pages = 1 << event.fields.get("order", 0)
        if event.name == "mm_page_alloc_zone_locked":
            held[event.cpu] = held.get(event.cpu, 0) + pages
        elif event.name == "mm_page_pcpu_drain":
            held[event.cpu] = held.get(event.cpu, 0) - pages
        elif event.name == "mm_page_alloc" and event.fields["pfn"]:
            owned += pages
        elif event.name == "mm_page_free":
            owned -= pages
        else:
            continue
        in_use = event.name in ("mm_page_alloc", "mm_page_free")
        name = "pages in use (change)" if in_use else f"CPU {event.cpu} refilled less drained"
        pages = owned if in_use else held[event.cpu]
        out.append({"ph": "C", "name": name, "ts": event.time, "pid": 1, "args": {"pages": pages}})
    return {"traceEvents": out, "displayTimeUnit": "ns"}
