"""LLFree's allocation trace: 16 bytes per event, in pages that each belong to one CPU.

The first 4096 bytes are a header: the number of pages, the number of cores and the highest frame, 32 bits each. Each
further page of 4096 bytes belongs to one CPU: its number in 32 bits, padding up to 16 bytes, and 255 events. The fields
of an event, from the lowest bit, are microseconds (38 bits), frame (24), whether it is an allocation (1), order (4),
gfp flags (29) and process (32). A page ends at the first event of frame 0. Everything is little-endian. The layout is
that of the replay program in the public sources of `llfree-rs`.

Recorders differ in the header's number of pages. It is 0 if the recorder was stopped before it wrote the number, and
one higher if the header is counted. Both are accepted.

The format has no types, refills or drains. It keeps only `mm_page_alloc` and `mm_page_free`, with times in
microseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from bulkpages.errors import InvalidArgument, MissingFile
from bulkpages.files import whole_file
from bulkpages.formats.trace import TraceError
from bulkpages.kinds import each, need_within

__all__ = ["LlfreeEvent", "in_order_of_time", "read_llfree", "write_llfree"]

PAGE = 4096
PER_PAGE = 255
_FIELDS = (("time_us", 38), ("pfn", 24), ("alloc", 1), ("order", 4), ("gfp", 29), ("pid", 32))


class LlfreeEvent(NamedTuple):
    """One event; `time_us` in microseconds, `alloc` 1 for an allocation and 0 for a free."""

    cpu: int
    time_us: int
    pfn: int
    alloc: int
    order: int
    gfp: int
    pid: int


def _pack(event: LlfreeEvent) -> int:
    word, shift = 0, 0
    for name, bits in _FIELDS:
        value = int(getattr(event, name))
        if not 0 <= value < 1 << bits:
            raise InvalidArgument(f"{name} {value} does not fit the {bits} bits that LLFree's trace has for it")
        word |= value << shift
        shift += bits
    if event.pfn == 0:
        raise InvalidArgument("pfn 0 ends a page of LLFree's trace: an event of frame 0 cannot be written")
    return word


def _page(cpu: int, words: list[int]) -> bytes:
    body = b"".join(word.to_bytes(16, "little") for word in words)
    return (cpu.to_bytes(4, "little") + bytes(12) + body).ljust(PAGE, b"\0")


def write_llfree(path: str | Path, events: Iterable[LlfreeEvent], cpus: int | None = None) -> int:
    """Writes events. Those of one CPU must be in order of time.

    A page is written when it is full, so memory use does not grow with the trace.

    Args:
        path: The file.
        events: The events.
        cpus: The header's number of cores; if None, one more than the highest CPU.

    Returns:
        The number of events.

    Raises:
        InvalidArgument: A value that does not fit into the format, such as a frame at 64 GiB or above.
    """
    if cpus is not None:
        need_within("cpus", cpus, 0, (1 << 32) - 1)
    of_cpu: dict[int, list[int]] = {}
    highest = count = pages = 0
    with whole_file(path) as place, place.open("wb") as file:
        file.write(bytes(PAGE))
        for event in each("an event", events, LlfreeEvent):
            words = of_cpu.setdefault(event.cpu, [])
            words.append(_pack(event))
            highest, count = max(highest, event.pfn + (1 << event.order) - 1), count + 1
            if len(words) == PER_PAGE:
                file.write(_page(event.cpu, words))
                words.clear()
                pages += 1
        for cpu, words in sorted(of_cpu.items()):
            if words:
                file.write(_page(cpu, words))
                pages += 1
        cores = cpus if cpus is not None else max(of_cpu, default=-1) + 1
        file.seek(0)
        file.write(b"".join(value.to_bytes(4, "little") for value in (pages, cores, highest)))
    return count


def _header(path: Path, file: BinaryIO) -> tuple[int, int, int]:
    """Pages of events, cores and the highest frame."""
    size = file.seek(0, 2)
    file.seek(0)
    if size < PAGE:
        raise TraceError(f"{path}: {size} bytes are no LLFree trace: its header alone has {PAGE}")
    pages, cores, highest = (int(n) for n in np.frombuffer(file.read(PAGE), "<u4", 3))
    there, rest = divmod(size - PAGE, PAGE)
    if rest:
        raise TraceError(f"{path}: cut off in page {there}: {rest} bytes of {PAGE}")
    # 0: stopped before it was written. One more: the header counted.
    if pages not in (0, there, there + 1):
        word = "cut off" if there < pages else "more than the header tells of"
        raise TraceError(f"{path}: {word}: {there} pages of events, the header tells of {pages}")
    return there, cores, highest


def read_llfree(path: str | Path) -> Iterator[LlfreeEvent]:
    """The events of each page, page by page, for traces of any size.

    Raises:
        MissingFile: There is no such file.
        TraceError: Not such a trace, or truncated; names the place.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            pages, cores, highest = _header(path, file)
            for number in range(pages):
                yield from _events(path, number, file.read(PAGE), cores, highest)
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


def in_order_of_time(path: str | Path) -> Iterator[LlfreeEvent]:
    """The events of all CPUs in order of time. One page per CPU is in memory.

    Raises:
        MissingFile: There is no such file.
        TraceError: Not such a trace, or truncated; names the place.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            pages, cores, highest = _header(path, file)
            of_cpu: dict[int, list[int]] = {}
            for number in range(pages):
                file.seek((number + 1) * PAGE)
                of_cpu.setdefault(int.from_bytes(file.read(4), "little"), []).append(number)

            def stream(numbers: list[int]) -> Iterator[LlfreeEvent]:
                for number in numbers:
                    file.seek((number + 1) * PAGE)
                    yield from _events(path, number, file.read(PAGE), cores, highest)

            yield from heapq.merge(*map(stream, of_cpu.values()), key=lambda event: event.time_us)
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


def _events(path: Path, number: int, page: bytes, cores: int, highest: int) -> Iterator[LlfreeEvent]:
    cpu = int.from_bytes(page[:4], "little")
    if cores and cpu >= cores:
        raise TraceError(f"{path}: page {number} is of cpu {cpu}, the header tells of {cores}")
    for at in range(16, PAGE, 16):
        word = int.from_bytes(page[at : at + 16], "little")
        values: dict[str, Any] = {}
        for name, bits in _FIELDS:
            values[name] = word & ((1 << bits) - 1)
            word >>= bits
        if values["pfn"] == 0:
            return
        if highest and values["pfn"] > highest:
            raise TraceError(
                f"{path}: page {number}, event {(at - 16) // 16}: pfn {values['pfn']:#x} is above {highest:#x}, the "
                "highest that the header tells of"
            )
        yield LlfreeEvent(cpu, **values)
