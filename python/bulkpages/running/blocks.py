"""Pageblocks of a running machine: their types, and the movable pages in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from drgn import Object, Program, offsetof
from drgn.helpers.linux.mmzone import early_section, nr_to_section, section_nr_to_pfn, valid_section

from bulkpages.running.page_lists import page_format

__all__ = ["Blocks", "movable_pages"]

# The type of a pageblock whose first frame is no memory.
NO_MEMORY = 9
_TYPE_BITS = 0b111
# Frames whose descriptors are read at once: 2 MiB of them.
_AT_ONCE = 32768


def _constant(prog: Program, name: str) -> int | None:
    try:
        return int(prog[name])
    except KeyError:
        return None


@dataclass
class Blocks:
    """The types of all pageblocks, read by sections.

    Attributes:
        prog: The program.
        order: `pageblock_order`.
        bits: Bits of a pageblock in the bitmaps.
        isolate: The bit of isolation, where it is one of its own.
        isolated: The type of an isolated pageblock, where there is one.
    """

    prog: Program
    order: int
    bits: int = field(init=False)
    isolate: int | None = field(init=False)
    isolated: int = field(init=False)

    def __post_init__(self) -> None:
        named = _constant(self.prog, "__NR_PAGEBLOCK_BITS") or _constant(self.prog, "NR_PAGEBLOCK_BITS") or 4
        self.bits = 1 << (named - 1).bit_length()
        self.isolate = _constant(self.prog, "PB_migrate_isolate")
        self.isolated = _constant(self.prog, "MIGRATE_ISOLATE") or 0
        self._per_section = int(section_nr_to_pfn(self.prog, 1)) >> self.order
        self._types: dict[int, list[int]] = {}
        usage = self.prog.type("struct mem_section_usage")
        self._subsections = offsetof(usage, "subsection_map") if usage.has_member("subsection_map") else None
        self._flags = offsetof(usage, "pageblock_flags")

    def types(self, start: int, end: int) -> Iterable[int]:
        """The types of the pageblocks from the one of frame `start` to before frame `end`."""
        for block in range(start >> self.order, -(-end >> self.order)):
            section, within = divmod(block, self._per_section)
            found = self._types.get(section)
            if found is None:
                found = self._types[section] = self._section(section)
            yield found[within]

    def _section(self, number: int) -> list[int]:
        """The types of the pageblocks of a section, from its bitmap as one read."""
        section = nr_to_section(self.prog, number)
        if not section or not valid_section(section):
            return [NO_MEMORY] * self._per_section
        usage = section.usage.value_()
        size = self._per_section * self.bits // 8
        bitmap = int.from_bytes(self.prog.read(usage + self._flags, size), "little")
        types = [self._type(bitmap >> i * self.bits) for i in range(self._per_section)]
        if self._subsections is not None and not early_section(section):
            there = int.from_bytes(self.prog.read(usage + self._subsections, 8), "little")
            per_subsection = max(1, self._per_section // 64)
            types = [t if there >> i // per_subsection & 1 else NO_MEMORY for i, t in enumerate(types)]
        return types

    def _type(self, flags: int) -> int:
        if self.isolate is not None and flags >> self.isolate & 1:
            return self.isolated
        return flags & _TYPE_BITS

    def is_valid(self, pfn: int) -> bool:
        """Whether there is a `struct page` of a frame."""
        return next(iter(self.types(pfn, pfn + 1))) != NO_MEMORY


def movable_pages(
    zone: Object, blocks: Blocks, free: Iterable[tuple[int, int]], say: Callable[[float], None]
) -> list[list[int]]:
    """The pageblocks that hold movable pages which are allocated: first frame, and how many.

    Reads the descriptors of the zone's frames, but not of pageblocks that are free or no memory.

    Args:
        zone: The `struct zone`.
        blocks: The types.
        free: First frame and order of each free block.
        say: Told the share that is done.
    """
    prog, pages = zone.prog_, page_format(zone.prog_)
    start, end = int(zone.zone_start_pfn), int(zone.zone_start_pfn) + int(zone.spanned_pages)
    is_free = np.zeros(end - start, dtype=bool)
    for pfn, order in free:
        is_free[pfn - start : pfn - start + (1 << order)] = True
    is_movable = _Movable(prog)
    nr = 1 << blocks.order
    found: list[list[int]] = []
    wanted = [
        at
        for at, mt in zip(range(start & ~(nr - 1), end, nr), blocks.types(start, end), strict=True)
        if mt != NO_MEMORY and not is_free[max(at, start) - start : at + nr - start].all()
    ]
    done = 0
    while done < len(wanted):
        # As many pageblocks as stand side by side, as one read.
        last = done + 1
        while last < len(wanted) and wanted[last] == wanted[last - 1] + nr and wanted[last] - wanted[done] < _AT_ONCE:
            last += 1
        first, stop = max(wanted[done], start), min(wanted[last - 1] + nr, end)
        data = prog.read(pages.first + first * pages.size, (stop - first) * pages.size)
        movable = is_movable(np.frombuffer(data, dtype=np.uint8).reshape(-1, pages.size), first)
        movable &= ~is_free[first - start : stop - start]
        for at in wanted[done:last]:
            count = int(movable[max(at, first) - first : at + nr - first].sum())
            if count:
                found.append([at, count])
        done = last
        say(done / len(wanted))
    return found


class _Movable:
    """Which pages are movable: on the lists that reclaim goes over, or of a driver that can move them."""

    def __init__(self, prog: Program) -> None:
        page = prog.type("struct page")
        self.prog, self.pages = prog, page_format(prog)
        self.flags = offsetof(page, "flags")
        self.head = offsetof(page, "compound_info" if page.has_member("compound_info") else "compound_head")
        # A tail then holds the mask that makes the head's address of its own.
        power = self.pages.size & (self.pages.size - 1) == 0
        self.masked = power and prog.type("struct zone").has_member("vmemmap_tails")
        self.mapping = offsetof(page, "mapping")
        self.lru = int(prog["PG_lru"])
        self.ops = _constant(prog, "PG_movable_ops")
        self.ops_types = [
            t for t in (_constant(prog, "PGTY_offline"), _constant(prog, "PGTY_zsmalloc")) if t is not None
        ]

    def __call__(self, raw: np.ndarray, first: int) -> np.ndarray:
        def word(offset: int, kind: str = "<u8", size: int = 8) -> np.ndarray:
            return np.ascontiguousarray(raw[:, offset : offset + size]).view(kind)[:, 0]

        flags, head = word(self.flags), word(self.head)
        here = (
            self.pages.first
            + first * self.pages.size
            + np.arange(len(raw), dtype=np.uint64) * np.uint64(self.pages.size)
        )
        heads = here & head if self.masked else head & ~np.uint64(1)
        index = ((heads - np.uint64(self.pages.first)) // np.uint64(self.pages.size)).astype(np.int64) - first
        tail = (head & np.uint64(1)).astype(bool)
        index = np.where(tail, index, np.arange(len(raw)))
        outside = (index < 0) | (index >= len(raw))
        of_head = flags[np.where(outside, 0, index)]
        for i in np.flatnonzero(outside):
            of_head[i] = self.prog.read_u64(self.pages.first + (first + int(index[i])) * self.pages.size + self.flags)
        movable: np.ndarray = (of_head >> np.uint64(self.lru) & np.uint64(1)).astype(bool)
        if self.ops is None:
            movable |= (word(self.mapping) & np.uint64(3)) == 2
        else:
            kind = word(self.pages.page_type, "<u4", 4) >> np.uint32(24)
            movable |= (
                (flags >> np.uint64(self.ops) & np.uint64(1)).astype(bool) & np.isin(kind, self.ops_types) & ~tail
            )
        return movable
