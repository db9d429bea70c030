"""Kernel: `gfp_zone()`, `gfp_to_alloc_flags()`, `__zone_watermark_ok()` (v6.12): what a request is tested against.

The figures of the tests that a request goes through, zone by zone, so that they can be shown. Whether it is served is
not decided here: the emulator is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bulkpages import _core
from bulkpages import gfp as flags
from bulkpages.formats.state.place import ORDERS, TYPES

__all__ = ["Attempt", "Gate", "Test", "attempts", "gate", "highest_zone", "migratetype", "test"]

#: Highest order that the per-CPU lists hold, and that of huge pages.
COSTLY, HUGE = 3, 9


def highest_zone(gfp: int, names: Sequence[str]) -> int:
    """`gfp_zone()`: the index of the highest zone that may serve; Normal stands for a zone that the kernel lacks."""
    if gfp & flags.__GFP_DMA:
        name = "DMA"
    elif gfp & flags.__GFP_DMA32:
        name = "DMA32"
    elif gfp & flags.__GFP_HIGHMEM:
        name = "Movable" if gfp & flags.__GFP_MOVABLE else "HighMem"
    else:
        name = "Normal"
    return names.index(name if name in names else "Normal")


def migratetype(gfp: int) -> str:
    """`gfp_migratetype()`: the type of page that is wanted."""
    if gfp & flags.__GFP_MOVABLE:
        return "Movable"
    return "Reclaimable" if gfp & flags.__GFP_RECLAIMABLE else "Unmovable"


@dataclass(frozen=True)
class Attempt:
    """One walk over the zones.

    Attributes:
        name: Its name, as close to the kernel's as possible.
        mark: The mark that must stay free; None if no mark is tested.
        high: Whether half of the mark may be used.
        non_block: Whether a quarter of the rest may be used as well.
        highatomic: Whether high-atomic blocks may be used.
    """

    name: str
    mark: str | None
    high: bool = False
    non_block: bool = False
    highatomic: bool = False

    @property
    def reserves(self) -> bool:
        """Whether high-atomic pages count as usable."""
        return self.high or self.non_block or self.highatomic


def attempts(gfp: int, order: int) -> list[Attempt]:
    """The attempts of a request for a block, reclaim and killing apart."""
    high = bool(gfp & flags.__GFP_HIGH)
    may_wait = bool(gfp & flags.__GFP_DIRECT_RECLAIM)
    non_block = not may_wait and not gfp & flags.__GFP_NOMEMALLOC
    found = [
        Attempt("fast path", "low"),
        Attempt("slow path", "min", high, non_block, high and non_block and order > 0),
    ]
    if gfp & flags.__GFP_MEMALLOC and not gfp & flags.__GFP_NOMEMALLOC:
        found.append(Attempt("slow path, marks ignored", None))
    return found


@dataclass(frozen=True)
class Test:
    """The test of one zone in one attempt. Numbers are in pages.

    Attributes:
        zone: "node.name".
        free: The free counter.
        highatomic: Free pages in high-atomic blocks that the request may not use.
        cma: Free pages in CMA blocks, which serve only movable pages.
        may_use_cma: Whether the request may use them. If not, they do not count as free.
        block: 2^order - 1, which is subtracted from the free pages.
        mark: The mark with its boost, minus what the flags let the request use.
        full_mark: The mark with its boost.
        boost: The boost.
        reserve: Pages that the zone reserves against requests for the highest zone.
        short: Number of missing pages; 0 if the test passes.
        largest: The largest free order of each migratetype.
        has_block: Whether a block of this order and of a type that the request may use is free.
        lists: Pages on the executing CPU's lists.
        held: Whether another CPU holds their lock.
    """

    zone: str
    free: int
    highatomic: int
    cma: int
    may_use_cma: bool
    block: int
    mark: int | None
    full_mark: int | None
    boost: int
    reserve: int
    short: int
    largest: Mapping[str, int]
    has_block: bool
    lists: int
    held: bool

    @property
    def cma_first(self) -> bool:
        """`__rmqueue()`: blocks of CMA are taken before others when they are more than half of what is free."""
        return self.may_use_cma and self.cma > self.free // 2

    @property
    def passes(self) -> bool:
        """Whether the zone is tried."""
        return self.short == 0 and self.has_block

    def as_dict(self) -> dict[str, Any]:
        """The figures, and whether the test passes."""
        return asdict(self) | {"largest": dict(self.largest), "passes": self.passes}


def _lowered(mark: int, attempt: Attempt) -> int:
    if attempt.high:
        mark -= mark // 2
        if attempt.non_block:
            mark -= mark // 4
    return mark


def _largest(zone: Mapping[str, Any], cma: Mapping[int, int]) -> dict[str, int]:
    largest: dict[str, int] = {"CMA": max(cma)} if cma else {}
    for order in range(ORDERS):
        for kind, heads in zone["free"].get(str(order), {}).items():
            if heads:
                largest[TYPES[int(kind)]] = order
    return largest


def test(
    machine: _core.Machine,
    zone: Mapping[str, Any],
    attempt: Attempt,
    order: int,
    highest: int,
    cpu: int,
    free_cma: Mapping[int, int],
    may_use_cma: bool,
) -> Test:
    """The figures of one zone.

    Args:
        machine: Has the per-CPU lists.
        zone: The zone as the snapshot has it.
        attempt: The walk.
        order: What is asked for.
        highest: The highest zone that may serve.
        cpu: Who asks.
        free_cma: Free blocks of CMA by order.
        may_use_cma: Whether they may be used.
    """
    cma = max(zone.get("nr_free_cma", 0), 0)
    unusable = 0 if may_use_cma else cma
    free = max(zone["nr_free"], 0)
    highatomic = 0 if attempt.reserves else zone["free_highatomic"]
    block = (1 << order) - 1
    reserve = zone["lowmem_reserve"][highest]
    # A request of order 0 that may use half of MIN sees through the boost.
    boost = 0 if attempt.high and order == 0 else zone["boost"]
    full = None if attempt.mark is None else zone[attempt.mark] + boost
    mark = None if full is None else _lowered(full, attempt)
    short = 0 if mark is None else max(mark + reserve + 1 - (free - unusable - highatomic - block), 0)
    largest = _largest(zone, free_cma)
    closed = {"HighAtomic": not attempt.highatomic, "CMA": not may_use_cma}
    usable = [found for kind, found in largest.items() if not closed.get(kind)]
    pcp = machine._pcp(zone["index"], cpu)
    return Test(
        zone=f"{zone['nid']}.{zone['name']}",
        free=free,
        highatomic=highatomic,
        cma=cma,
        may_use_cma=may_use_cma,
        block=block,
        mark=mark,
        full_mark=full,
        boost=boost,
        reserve=reserve,
        short=short,
        largest=largest,
        has_block=order == 0 or max(usable, default=-1) >= order,
        lists=pcp["count"] if order <= COSTLY or order == HUGE else 0,
        held=pcp["held"],
    )


@dataclass(frozen=True)
class Gate:
    """The gate of a bulk call at one zone: LOW, the requested pages and the reserve must be free. Numbers are in pages.

    Attributes:
        zone: "node.name".
        usable: Free pages, except high-atomic pages and CMA pages that the call may not use.
        low: LOW with its boost.
        pages: Pages requested.
        reserve: Pages that the zone reserves against requests whose best zone is the preferred one.
        short: Number of missing pages; 0 if the gate is open.
        held: Whether another CPU holds the lock of this CPU's lists, so that the trylock fails.
    """

    zone: str
    usable: int
    low: int
    pages: int
    reserve: int
    short: int
    held: bool

    def as_dict(self) -> dict[str, Any]:
        """The figures."""
        return asdict(self)


def gate(
    machine: _core.Machine, zones: Sequence[Mapping[str, Any]], pages: int, cpu: int, may_use_cma: bool
) -> list[Gate]:
    """`alloc_pages_bulk()`: the zones of the preferred node, up to the first that has enough."""
    found: list[Gate] = []
    for zone in zones:
        if zone["nid"] != zones[0]["nid"]:
            break
        cma = 0 if may_use_cma else max(zone.get("nr_free_cma", 0), 0)
        usable = max(zone["nr_free"], 0) - zone["free_highatomic"] - cma
        low, reserve = zone["low"] + zone["boost"], zone["lowmem_reserve"][zones[0]["idx"]]
        short = max(low + pages + reserve + 1 - usable, 0)
        held = machine._pcp(zone["index"], cpu)["held"]
        found.append(Gate(f"{zone['nid']}.{zone['name']}", usable, low, pages, reserve, short, held))
        if not short:
            break
    return found
