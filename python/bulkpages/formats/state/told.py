"""A machine from what a text tells of its zones: a snapshot that `Machine.from_snapshot` takes.

Texts do not say where anything is, so a machine is built by a rule:

* The managed frames of a zone are its last ones; what is in front is the kernel's.
* Free blocks lie where `bulkpages.formats.state.place` puts them. Blocks whose type is not told are Movable.
* Pages on per-CPU lists are Movable ones of order 0. A CPU's limits are those of the text, or follow from the marks.
* CPUs are spread over the nodes in order. Nodes come nearest first: itself, the ones above, the ones below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from bulkpages.errors import SnapshotError
from bulkpages.formats.state.place import BLOCK, ORDERS, TYPES, Layout
from bulkpages.formats.state.zones import ALWAYS, NAMES
from bulkpages.kinds import each

__all__ = ["MODELLED_ORDERS", "Told", "check_orders", "largest_as_cma", "state_of"]

#: Most frames that a machine numbers.
MAX_FRAMES = 1 << 32
#: What an emulated machine has, for messages.
MODELLED_ORDERS = f"only orders 0 to {ORDERS - 1} are modelled (11 columns)"
# Where a zone goes whose first frame is not told: frames up to the next multiple of the largest block.
LARGEST = 1 << (ORDERS - 1)


@dataclass
class Told:
    """What is known about one zone. Sizes and marks are in pages. Marks include the boost, as the kernel prints them.

    Attributes:
        nid: Node.
        name: Kernel name.
        where: The text and line, for error messages.
        sizes: "spanned", "present", "managed", "min", "low", "high", and if known "promo", "boost".
        start: First frame; None if unknown.
        reserve: Pages reserved against requests, by the name of their highest zone.
        counts: Free blocks by order.
        typed: Free blocks by order for each type except Movable, as far as known.
        blocks: Pageblocks by type, as far as known.
        cpus: "count", "high", "batch", "high_min", "high_max", "thresh" of each CPU, as far as known.
    """

    nid: int
    name: str
    where: str
    sizes: dict[str, int]
    start: int | None = None
    reserve: dict[str, int] = field(default_factory=dict)
    counts: Sequence[int] = ()
    typed: Mapping[str, Sequence[int]] = field(default_factory=dict)
    blocks: Mapping[str, int] = field(default_factory=dict)
    cpus: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Node and name, for messages."""
        return f"node {self.nid} zone {self.name}"


def check_orders(number: int, where: str) -> None:
    """Refuses a text whose free blocks have other orders than the emulator's.

    Raises:
        SnapshotError: Says how many there are, and what that means.
    """
    if number != ORDERS:
        raise SnapshotError(
            f"{where}: {number} columns, so the largest free block has order {number - 1}; {MODELLED_ORDERS}. "
            "Kernels with other page sizes (16 or 64 KiB) or another MAX_ORDER have other orders"
        )


def _checked(zone: Told) -> None:
    """Refuses sizes that cannot be."""
    sizes = zone.sizes
    for what in ("spanned", "present", "min", "low", "high"):
        if what not in sizes:
            raise SnapshotError(f"{zone.where}: {zone.title} has no {what!r}")
    if not 0 < sizes["managed"] <= sizes["present"] <= sizes["spanned"]:
        raise SnapshotError(
            f"{zone.where}: {zone.title}: managed {sizes['managed']} <= present {sizes['present']} <= "
            f"spanned {sizes['spanned']} does not hold"
        )
    if zone.start is not None and not 0 <= zone.start <= MAX_FRAMES - sizes["spanned"]:
        raise SnapshotError(
            f"{zone.where}: {zone.title}: start_pfn {zone.start} + spanned {sizes['spanned']} is more than "
            f"{MAX_FRAMES} frames"
        )
    if not sizes["min"] <= sizes["low"] <= sizes["high"]:
        raise SnapshotError(
            f"{zone.where}: {zone.title}: min {sizes['min']} <= low {sizes['low']} <= high {sizes['high']} "
            "does not hold"
        )


def _placed(zones: Sequence[Told], notes: list[str]) -> list[int]:
    """The first frame of each zone. Frame 0 is NULL, which no page can have."""
    order = sorted(range(len(zones)), key=lambda i: (zones[i].start or 0, i))
    starts = [zones[i].start for i in order]
    known = [start for start in starts if start is not None]
    ends = [start + zones[i].sizes["spanned"] for start, i in zip(known, order, strict=False)]
    if len(known) == len(zones):
        if all(end <= start for end, start in zip(ends, known[1:], strict=False)):
            first = zones[order[0]]
            if known[0] == 0 and first.sizes["managed"] == first.sizes["spanned"]:
                notes.append(
                    f"{first.title} manages frame 0, which is NULL here: every zone is moved up by {LARGEST} frames"
                )
                known = [start + LARGEST for start in known]
            found = dict(zip(order, known, strict=True))
            return [found[i] for i in range(len(zones))]
        a, b = next((a, b) for a, b in pairwise(range(len(zones))) if ends[a] > known[b])
        notes.append(
            f"{zones[order[a]].title} and {zones[order[b]].title} overlap (frames {known[a]} to {ends[a]}, and "
            f"from {known[b]} on): zones are placed one after the other, each with the size of its managed pages"
        )
        for zone in zones:
            zone.sizes["spanned"] = zone.sizes["present"] = zone.sizes["managed"]
    at, found = LARGEST, {}
    for i in range(len(zones)):
        found[i] = at
        at += -(-zones[i].sizes["spanned"] // LARGEST) * LARGEST
    return [found[i] for i in range(len(zones))]


def _wanted(zone: Told) -> Iterator[tuple[int, int, int]]:
    """(order, type, number) of the free blocks, largest first; `counts` decides how many."""
    for order in reversed(range(min(len(zone.counts), ORDERS))):
        left = zone.counts[order]
        for migratetype in (0, 2, 3, 4):
            of_type = zone.typed.get(TYPES[migratetype], ())
            number = min(of_type[order] if order < len(of_type) else 0, left)
            left -= number
            yield order, migratetype, number
        yield order, 1, left


def _pcp_limits(zone: Told, cpu: Mapping[str, int], cpus: int) -> tuple[int, int]:
    batch = max(cpu.get("batch", 1), 1)
    low = max(zone.sizes["low"] // cpus, 4 * batch)
    high = max(zone.sizes["managed"] // 8 // cpus, 4 * batch)
    return cpu.get("high_min", low), cpu.get("high_max", high)


def _free_lists(zone: Told, layout: Layout) -> tuple[dict[str, dict[str, list[int]]], int]:
    """Frames of free blocks by order and type, and the pages that found no room."""
    free: dict[str, dict[str, list[int]]] = {}
    lost = 0
    for order, migratetype, number in _wanted(zone):
        for done in range(number):
            found = layout.place_anyhow(order, migratetype)
            if found is None:
                # Nor is there room for the next one.
                lost += number - done << order
                break
            kind, at = found
            free.setdefault(str(order), {}).setdefault(str(kind), []).append(at)
    for lists in free.values():
        for frames in lists.values():
            frames.sort()
    return free, lost


def _per_cpu_lists(zone: Told, layout: Layout, cpus: Sequence[int], of_node: int) -> tuple[dict[str, Any], int]:
    """Each CPU's lists, and the pages that found no room."""
    lists: dict[str, Any] = {}
    lost = 0
    for i, cpu in enumerate(cpus):
        told = zone.cpus.get(cpu, {})
        high_min, high_max = _pcp_limits(zone, told, of_node)
        count = told.get("count", 0)
        pages: dict[str, list[list[int]]] = {}
        for done in range(count):
            # Beside a used page while there is room: what a drain would merge is not told either.
            found = layout.place_anyhow(0, 1)
            if found is None:
                lost += count - done
                count = done
                break
            kind, at = found
            pages.setdefault(str(kind), []).append([at, kind])
        lists[str(i)] = {
            "count": count,
            "high": told.get("high", 0),
            "high_min": high_min,
            "high_max": high_max,
            "batch": max(told.get("batch", 1), 1),
            "flags": 0,
            "alloc_factor": 0,
            "expire": 0,
            "free_count": 0,
            "diff_free": 0,
            "thresh": min(told.get("thresh", 0), 125),
            "lists": pages,
        }
    return lists, lost


def _zone(
    zone: Told, start: int, names: Sequence[str], cpus: Sequence[int], of_node: int, notes: list[str]
) -> dict[str, Any]:
    """The zone as a snapshot has it."""
    sizes = zone.sizes
    layout = Layout(start, start + sizes["spanned"], sizes["managed"])
    if start % BLOCK:
        layout.types[start // BLOCK] = 0
    free, lost = _free_lists(zone, layout)
    pcp, short = _per_cpu_lists(zone, layout, cpus, of_node)
    if lost or short:
        notes.append(f"{zone.title}: no room for {lost} free pages and {short} on per-CPU lists")
    thresh = max((p["thresh"] for p in pcp.values()), default=0)
    boost = sizes.get("boost", 0)
    drift = thresh * len(cpus)
    pageblocks = layout.pageblocks({t: zone.blocks.get(TYPES[t], 0) for t in range(len(TYPES))})
    below = 1 if start == 0 else 0
    return {
        "nid": zone.nid,
        "idx": names.index(zone.name),
        "name": zone.name,
        "start": start + below,
        "spanned": sizes["spanned"] - below,
        "present": min(sizes["present"], sizes["spanned"] - below),
        "managed": sizes["managed"],
        "min": sizes["min"] - boost,
        "low": sizes["low"] - boost,
        "high": sizes["high"] - boost,
        "promo": sizes.get("promo", 2 * sizes["high"] - sizes["low"]) - boost,
        "boost": boost,
        "nr_free": sum(len(frames) << int(order) for order, lists in free.items() for frames in lists.values()),
        "reserved_highatomic": BLOCK * sum(n for t, n in pageblocks if t == 3),
        "free_highatomic": sum(len(v.get("3", [])) << int(o) for o, v in free.items()),
        "thresh": thresh,
        "drift_mark": sizes["high"] - boost + drift if drift > sizes["low"] - sizes["min"] else 0,
        "flags": 0,
        "free": free,
        "pcp": pcp,
        "lowmem_reserve": [zone.reserve.get(name, 0) for name in names],
        "pageblocks": pageblocks,
        "movable": [],
    }


def _not_modelled(zones: Sequence[Told], notes: list[str]) -> None:
    """Takes free blocks of types that the emulator does not have as Movable or as in use, and says so."""
    for zone in zones:
        for name, counts in zone.typed.items():
            pages = sum(count << order for order, count in enumerate(counts))
            if name in TYPES or not pages:
                continue
            what = f"{zone.title}: {pages} free pages of type {name}, which is not modelled, count as"
            if name == "Isolate":
                zone.counts = [a - b for a, b in zip(zone.counts, counts, strict=True)]
                notes.append(f"{what} in use")
            else:
                notes.append(f"{what} Movable")


def largest_as_cma(counts: Sequence[int], pages: int) -> list[int]:
    """Free blocks by order that make up so many pages of CMA, where a text does not say which they are: the largest."""
    cma = [0] * len(counts)
    for order in reversed(range(len(counts))):
        cma[order] = min(counts[order], pages >> order)
        pages -= cma[order] << order
    return cma


def state_of(zones: Sequence[Told], build: Sequence[str], where: str, notes: list[str]) -> dict[str, Any]:
    """The snapshot of a machine with these zones.

    Args:
        zones: What is known about each.
        build: The zones that the kernel was built with, populated or not.
        where: The text, for error messages.
        notes: A list to which notes about chosen and omitted values are added.

    Raises:
        SnapshotError: The zones are impossible.
    """
    has = {*each("a zone that the kernel has", build, str), *ALWAYS}
    names = tuple(name for name in NAMES if name in has)
    for zone in each("what is told", zones, Told):
        _checked(zone)
        if zone.name not in names:
            raise SnapshotError(
                f"{zone.where}: {zone.title} has memory, but is not one of the kernel's zones {', '.join(names)}"
            )
        check_orders(len(zone.counts), zone.where)
    if not zones:
        raise SnapshotError(f"{where}: no zone has memory: at least one zone must")
    _not_modelled(zones, notes)
    cpus = sorted({cpu for zone in zones for cpu in zone.cpus}) or [0]
    with_memory = sorted({zone.nid for zone in zones})
    nodes = range(with_memory[-1] + 1)
    per_node = -(-len(cpus) // len(with_memory))
    cpu_node = {str(i): with_memory[min(i // per_node, len(with_memory) - 1)] for i in range(len(cpus))}
    of_nodes = list(cpu_node.values())
    states = [
        _zone(zone, start, names, cpus, of_nodes.count(zone.nid) or len(cpus), notes)
        for zone, start in zip(zones, _placed(zones, notes), strict=True)
    ]
    out = sorted(states, key=lambda z: (z["nid"], z["idx"]))
    have = {(z["nid"], z["idx"]) for z in out}
    zonelists = {}
    for nid in nodes:
        order = [n for n in (*range(nid, len(nodes)), *range(nid)) if n in with_memory]
        zonelists[str(nid)] = [[n, idx] for n in order for idx in reversed(range(len(names))) if (n, idx) in have]
    facts: dict[str, Any] = {
        "zone_count": len(names),
        "pageblock_order": 9,
        "nr_pcp_lists": 14,
        "mobility_disabled": 0,
        "gfp_allowed": 0xFFFFFF,
        "zones": list(names),
    }
    return {"zones": out, "zonelists": zonelists, "cpu_node": cpu_node, "facts": facts}
