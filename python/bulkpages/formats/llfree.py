"""LLFree's allocation trace: 16 bytes an event, in pages of one CPU each.

The first 4096 bytes are a header: pages, cores and the highest frame, each 32 bits. Every further 4096 bytes are one
CPU's: its number in 32 bits, filled up to 16 bytes, and 255 events. An event, from the lowest bit on: microseconds
(38), frame (24), whether it is an allocation (1), order (4), gfp flags (29), process (32). An event of zeros is none.
The layout is that of the public sources of `llfree-rs` (its replay program); little-endian.

The format knows no types, refills or drains: only `mm_page_alloc` and `mm_page_free` come through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bulkpages.errors import InvalidArgument
from bulkpages.files import whole_file
from bulkpages.formats.trace import TraceError
from bulkpages.kinds import each, need_within

__all__ = ["LlfreeEvent", "read_llfree", "write_llfree"]

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
    return word


def write_llfree(path: str | Path, events: Iterable[LlfreeEvent], cpus: int | None = None) -> int:
    """Writes events, in any order of CPUs; those of one CPU in order of time. Returns how many.

    Raises:
        InvalidArgument: A value that the format has no room for, such as a frame from 64 GiB on.
    """
    if cpus is not None:
        need_within("cpus", cpus, 0, (1 << 32) - 1)
    of_cpu: dict[int, list[int]] = {}
    highest = count = 0
    for event in each("an event", events, LlfreeEvent):
        of_cpu.setdefault(event.cpu, []).append(_pack(event))
        highest, count = max(highest, event.pfn + (1 << event.order) - 1), count + 1
    pages = []
    for cpu, words in of_cpu.items():
        for at in range(0, len(words), PER_PAGE):
            body = b"".join(word.to_bytes(16, "little") for word in words[at : at + PER_PAGE])
            # Sorted by first time below, so that a reader finds pages in the order of the trace.
            pages.append((words[at] & ((1 << 38) - 1), cpu.to_bytes(4, "little") + bytes(12) + body))
    pages.sort(key=lambda page: page[0])
    cores = cpus if cpus is not None else max(of_cpu, default=-1) + 1
    head = b"".join(value.to_bytes(4, "little") for value in (len(pages), cores, highest))
    with whole_file(path) as place, place.open("wb") as file:
        file.write(head.ljust(PAGE, b"\0"))
        for _, page in pages:
            file.write(page.ljust(PAGE, b"\0"))
    return count


def read_llfree(path: str | Path) -> Iterator[LlfreeEvent]:
    """The events of each page, page by page; a trace of any size.

    Raises:
        TraceError: Not such a trace, or cut off; says where.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(PAGE)
            if len(head) < PAGE:
                raise TraceError(f"{path}: {len(head)} bytes are no LLFree trace: its header alone has {PAGE}")
            pages, cores, highest = (int(n) for n in np.frombuffer(head, "<u4", 3))
            for number in range(pages):
                page = file.read(PAGE)
                if len(page) < PAGE:
                    raise TraceError(f"{path}: cut off in page {number} of {pages}")
                yield from _page(path, number, page, cores, highest)
            if file.read(1):
                raise TraceError(f"{path}: more than the {pages} pages that the header tells of")
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


def _page(path: Path, number: int, page: bytes, cores: int, highest: int) -> Iterator[LlfreeEvent]:
    cpu = int.from_bytes(page[:4], "little")
    if cpu >= cores:
        raise TraceError(f"{path}: page {number} is of cpu {cpu}, the header tells of {cores}")
    for at in range(16, PAGE, 16):
        word = int.from_bytes(page[at : at + 16], "little")
        if word == 0:
            continue
        values: dict[str, Any] = {}
        for name, bits in _FIELDS:
            values[name] = word & ((1 << bits) - 1)
            word >>= bits
        if values["order"] > 10 or values["pfn"] > highest:
            raise TraceError(
                f"{path}: page {number}, event {(at - 16) // 16}: pfn {values['pfn']:#x} of order {values['order']} "
                f"is outside (highest {highest:#x}, order at most 10)"
            )
        yield LlfreeEvent(cpu, **values)
