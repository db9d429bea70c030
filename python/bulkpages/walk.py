"""Walks a machine as drgn's helpers walk a kernel: nodes, zones, free areas, per-CPU lists and pages.

`walk(machine)` copies the state at that moment. Later changes to the machine do not affect it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bulkpages.errors import InvalidArgument
from bulkpages.machine import Machine

__all__ = ["FreeBlock", "Page", "PcpEntry", "State", "walk"]

BLOCK = 512
NO_MEMORY = 9


@dataclass(frozen=True)
class FreeBlock:
    """A block of 2**order free pages."""

    nid: int
    zone: str
    pfn: int
    order: int
    migratetype: int


@dataclass(frozen=True)
class PcpEntry:
    """A block on a per-CPU list; `position` counts from the head, which is allocated next."""

    nid: int
    zone: str
    cpu: int
    pfn: int
    order: int
    list: int
    position: int


@dataclass(frozen=True)
class Page:
    """A frame: `where` is "buddy", "pcp" or "in use"; `block` is the free or listed block that holds it."""

    pfn: int
    nid: int
    zone: str
    migratetype: int
    where: str
    block: FreeBlock | PcpEntry | None


class State:
    """The state of a machine at one moment."""

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def for_each_online_node(self) -> Iterator[int]:
        """Nodes in ascending order."""
        yield from sorted({int(nid) for nid in self._snapshot["zonelists"]})

    def for_each_zone(self, nid: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Populated zones by node and index, as in the snapshot; only those of one node if given."""
        for zone in self._snapshot["zones"]:
            if nid is None or zone["nid"] == nid:
                yield zone

    def for_each_free_block(self, order: int | None = None, migratetype: int | None = None) -> Iterator[FreeBlock]:
        """Free blocks in list order, list by list; only those of one order or type if given."""
        for zone in self.for_each_zone():
            for of_order, lists in zone["free"].items():
                for of_type, frames in lists.items():
                    if order in (None, int(of_order)) and migratetype in (None, int(of_type)):
                        for pfn in frames:
                            yield FreeBlock(zone["nid"], zone["name"], pfn, int(of_order), int(of_type))

    def for_each_pcp_entry(self, cpu: int | None = None) -> Iterator[PcpEntry]:
        """Blocks on per-CPU lists, each list from its head; only those of one CPU if given."""
        for zone in self.for_each_zone():
            for of_cpu, pcp in zone["pcp"].items():
                if cpu not in (None, int(of_cpu)):
                    continue
                for index, entries in pcp["lists"].items():
                    order = 9 if int(index) >= 12 else int(index) // 3
                    for position, (pfn, _) in enumerate(entries):
                        yield PcpEntry(zone["nid"], zone["name"], int(of_cpu), pfn, order, int(index), position)

    def for_each_pageblock(self) -> Iterator[tuple[int, int]]:
        """(first frame, type) of each pageblock that has memory."""
        for zone in self.for_each_zone():
            pfn = zone["start"] // BLOCK * BLOCK
            for migratetype, count in zone["pageblocks"]:
                for _ in range(count):
                    if migratetype != NO_MEMORY:
                        yield pfn, migratetype
                    pfn += BLOCK

    def page(self, pfn: int) -> Page:
        """The frame with this number.

        Raises:
            InvalidArgument: No zone contains the frame.
        """
        for zone in self.for_each_zone():
            if zone["start"] <= pfn < zone["start"] + zone["spanned"]:
                break
        else:
            raise InvalidArgument(f"pfn {pfn} is in no zone of the machine")
        migratetype = {at: t for at, t in self.for_each_pageblock() if at <= pfn < at + BLOCK}
        kind = next(iter(migratetype.values()), NO_MEMORY)
        for block in self.for_each_free_block():
            if block.pfn <= pfn < block.pfn + (1 << block.order):
                return Page(pfn, zone["nid"], zone["name"], kind, "buddy", block)
        for entry in self.for_each_pcp_entry():
            if entry.pfn <= pfn < entry.pfn + (1 << entry.order):
                return Page(pfn, zone["nid"], zone["name"], kind, "pcp", entry)
        return Page(pfn, zone["nid"], zone["name"], kind, "in use", None)


def walk(machine: Machine) -> State:
    """The machine's state, to walk through."""
    return State(machine.snapshot())
