"""Events of a trace of any tool, one by one; memory does not grow with the trace."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from bulkpages import _core
from bulkpages.errors import BulkpagesError, MissingFile
from bulkpages.kinds import counted, need

__all__ = [
    "NoEvents",
    "Tally",
    "TraceError",
    "TraceEvent",
    "chunks",
    "events_of",
    "fill",
    "need_events",
    "read_events",
    "rewrite",
]

CHUNK = 1 << 20


class TraceError(BulkpagesError, ValueError):
    """A trace that cannot be read."""


class NoEvents(TraceError):
    """A file in which no line is an event of the page allocator."""


@dataclass
class Tally:
    """Counts of the lines of a trace. Pass one to a reader, which fills it at the end of the trace.

    Attributes:
        lines: All lines.
        kmem_events: Events of the page allocator.
        caller_events: Events of callers of the bulk call.
        other_events: Other events, which are skipped.
        other_lines: All skipped lines that are not damaged: other events, stacks, log lines, comments and snapshot
            marks.
        stack_lines: Lines of stacks.
        log_lines: Lines of a kernel log that do not belong to a trace.
        comments: Comments, headings, empty lines.
        snapshot_lines: Snapshot marks.
        lost: Lines that report lost events.
        lost_events: Number of events that the tracer lost.
        lost_lines: The first 1000 of these lines: line number, events.
        overwritten: Events that were overwritten before the trace was read, according to its header.
        damaged: Lines that cannot be read.
        damaged_lines: The first 1000 of these lines: line number, reason.
        without_cpu: Events whose line has no CPU.
        without_time: Events whose line has no time.
        unknown_flags: Names of gfp flags that the emulator does not have, each with the number of events that have it.
            The events are kept.
    """

    lines: int = 0
    kmem_events: int = 0
    caller_events: int = 0
    other_events: int = 0
    other_lines: int = 0
    stack_lines: int = 0
    log_lines: int = 0
    comments: int = 0
    snapshot_lines: int = 0
    lost: int = 0
    lost_events: int = 0
    lost_lines: list[tuple[int, int]] = field(default_factory=list)
    overwritten: int = 0
    damaged: int = 0
    damaged_lines: list[tuple[int, str]] = field(default_factory=list)
    without_cpu: int = 0
    without_time: int = 0
    unknown_flags: dict[str, int] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Events that were read."""
        return self.kmem_events + self.caller_events

    def notes(self) -> list[str]:
        """What a reader should know, a sentence each; nothing when every line was an event."""
        left = [
            f"{count} {name}"
            for count, name in (
                (self.other_events, "of other events"),
                (self.stack_lines, "of stacks"),
                (self.log_lines, "of a kernel log"),
            )
            if count
        ]
        notes = [f"lines skipped: {', '.join(left)}"] if left else []
        if self.overwritten:
            notes.append(f"{self.overwritten} events were overwritten before the trace was read")
        if self.lost:
            notes.append(
                f"{counted(self.lost_events, 'event')} lost in {counted(self.lost, 'place')}, "
                f"the first is line {self.lost_lines[0][0]}"
            )
        if self.without_cpu:
            notes.append(f"{counted(self.without_cpu, 'event')} without a CPU")
        if self.without_time:
            notes.append(f"{counted(self.without_time, 'event')} without a time")
        if self.unknown_flags:
            flags = ", ".join(f"{name} ({count})" for name, count in self.unknown_flags.items())
            notes.append(f"gfp flags that are not modelled, events kept: {flags}")
        if self.damaged:
            number, why = self.damaged_lines[0]
            notes.append(f"{counted(self.damaged, 'damaged line')}, the first is line {number}: {why}")
        return notes


@dataclass(frozen=True)
class TraceEvent:
    """One event.

    Attributes:
        task: Name of the task; empty if the line has none.
        pid: Number of the thread; None if the line has none.
        cpu: The CPU; None if the line has none (`perf script` without `-F cpu`).
        time_ns: Nanoseconds since the tracer's clock started; None if the clock counts something else.
        name: Name of the event, such as "mm_page_alloc".
        fields: The fields that the kernel prints, by name; numbers as integers.
        tgid: Number of the thread group; None if the line has none.
        flags: Interrupts, preemption and so on, as printed, such as "d..2."; empty if the line has none.
        ticks: The count of a clock that counts something else; None if the clock has nanoseconds.
    """

    task: str
    pid: int | None
    cpu: int | None
    time_ns: int | None
    name: str
    fields: dict[str, Any]
    tgid: int | None = None
    flags: str = ""
    ticks: int | None = None

    @property
    def time(self) -> float | None:
        """Microseconds, or the count of a clock that counts something else. None if the line has no time."""
        return self.ticks if self.time_ns is None else self.time_ns / 1000


def fill(tally: Tally, counts: dict[str, Any]) -> None:
    """Takes counts by the tally's names, such as those of a report of following."""
    for name in tally.__dataclass_fields__:
        value = counts[name]
        setattr(tally, name, [tuple(line) for line in value] if isinstance(value, list) else value)


def need_events(tally: Tally, path: str | Path) -> None:
    """Refuses a trace without events.

    Raises:
        NoEvents: There were none; says what the lines were.
    """
    if tally.events == 0:
        notes = "".join(f"; {note}" for note in tally.notes())
        raise NoEvents(f"{path}: no line is a kmem event ({tally.lines} lines{notes})")


def chunks(path: str | Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked, a megabyte at a time.

    Raises:
        MissingFile: There is no such file.
        TraceError: It cannot be read or its gzip data is broken.
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
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


# Old kernels fill a NULL pointer up with spaces: `page=          (null)`.
_FIELD = re.compile(r"(\w+)=\s*([^\s,]+)")
_OPAQUE = ("page", "gfp_flags", "page_pool", "netmem")


def _value(name: str, text: str) -> Any:
    if name in _OPAQUE:
        return text
    try:
        return int(text, 0)
    except ValueError:
        return text


def _event(row: tuple[Any, ...]) -> TraceEvent:
    task, pid, tgid, cpu, flags, time_ns, ticks, name, text = row
    fields = {key: _value(key, value) for key, value in _FIELD.findall(text)}
    return TraceEvent(task, pid, cpu, time_ns, name, fields, tgid, flags, ticks)


def events_of(pieces: Iterable[bytes], tally: Tally | None = None) -> Iterator[TraceEvent]:
    """The events of a trace that comes in pieces, which may end anywhere."""
    reader = _core.TraceReader()
    for piece in pieces:
        yield from map(_event, reader.events(piece))
    yield from map(_event, reader.events(b"", last=True))
    if tally is not None:
        fill(tally, json.loads(reader.tally()))


def read_events(path: str | Path, tally: Tally | None = None) -> Iterator[TraceEvent]:
    """Reads the events of the page allocator and of callers of the bulk call from a trace of any tool.

    Args:
        path: The trace; may be gzipped.
        tally: Filled at the end with counts of the lines by kind.

    Raises:
        MissingFile: There is no such file.
        TraceError: It cannot be read.
    """
    need("tally", tally, (Tally, NoneType))
    return events_of(chunks(path), tally)


def rewrite(path: str | Path, tally: Tally | None = None) -> Iterator[str]:
    """Rewrites a trace of any tool as ftrace text, some lines at a time.

    Events of the page allocator and of callers of the bulk call, snapshot marks and lines about lost events are kept,
    with task, numbers, flags, every digit of the time and every field. Columns that a line does not have are omitted.
    Other lines are dropped and counted.

    Args:
        path: The trace; may be gzipped.
        tally: Filled at the end with counts of the lines by kind.

    Raises:
        MissingFile: There is no such file.
        TraceError: It cannot be read.
    """
    need("tally", tally, (Tally, NoneType))
    reader = _core.TraceReader()
    for chunk in chunks(path):
        if text := reader.rewrite(chunk):
            yield text
    if text := reader.rewrite(b"", last=True):
        yield text
    if tally is not None:
        fill(tally, json.loads(reader.tally()))
