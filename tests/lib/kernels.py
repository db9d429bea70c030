"""Texts of /proc and of the kernel log in the shapes of many kernels, written for these tests.

A shape is what a kernel prints around the figures: which lines, in which order, in which units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ORDERS = 11


@dataclass(frozen=True)
class Zone:
    """What the texts tell of a zone; sizes in pages."""

    name: str
    start: int
    pages: int
    marks: tuple[int, int, int]
    protection: Sequence[int]
    counts: Sequence[int]
    types: Mapping[str, Sequence[int]] = field(default_factory=dict)
    blocks: Mapping[str, int] = field(default_factory=dict)
    nid: int = 0
    free: int | None = None
    cpus: Sequence[int] = (0,)

    @property
    def nr_free(self) -> int:
        """Free pages."""
        return sum(n << i for i, n in enumerate(self.counts)) if self.free is None else self.free


def blocks_of(pages: int) -> list[int]:
    """Counts by order of so many free pages in blocks as large as can be."""
    counts = [pages >> order & 1 for order in range(ORDERS - 1)]
    return [*counts, pages >> (ORDERS - 1)]


@dataclass(frozen=True)
class Shape:
    """Which lines a kernel's zoneinfo has."""

    managed: bool = True
    boost: bool = False
    promo: bool = False
    cma: bool = False
    early_protection: bool = True
    node_stats: bool = False
    every_zone: Sequence[str] = ()
    pcp_limits: bool = False
    tail: Sequence[str] = ("node_unreclaimable:  0",)
    after: Sequence[str] = ()
    counters: Sequence[str] = ("nr_zone_inactive_anon", "nr_mlock", "nr_free_cma")


def _zone_lines(zone: Zone, shape: Shape, first: bool) -> list[str]:
    lines = [f"Node {zone.nid}, zone {zone.name:>8}"]
    if shape.node_stats and first:
        lines += [
            "  per-node stats",
            "      nr_inactive_anon 11",
            "      workingset_nodes 3",
            "      pgdemote_kswapd 0",
        ]
    lines.append(f"  pages free     {zone.nr_free}")
    lines += ["        boost    0"] if shape.boost else []
    lines += [f"        {n:8} {v}" for n, v in zip(("min", "low", "high"), zone.marks, strict=True)]
    lines += [f"        promo    {2 * zone.marks[2] - zone.marks[1]}"] if shape.promo else []
    lines += ["        scanned  0"] if not shape.early_protection else []
    lines += [f"        spanned  {zone.pages}", f"        present  {zone.pages}"]
    lines += [f"        managed  {zone.pages}"] if shape.managed else []
    lines += ["        cma      0"] if shape.cma else []
    protection = f"        protection: ({', '.join(map(str, zone.protection))})"
    lines += [protection] if shape.early_protection else []
    lines += [f"    nr_free_pages {zone.nr_free}", *(f"      {name} 0" for name in shape.counters)]
    lines += [] if shape.early_protection else [protection]
    lines.append("  pagesets")
    for cpu in zone.cpus:
        lines += [f"    cpu: {cpu}", "              count: 0", "              high:  186", "              batch: 31"]
        lines += ["              high_min: 186", "              high_max: 900"] if shape.pcp_limits else []
        lines.append("  vm stats threshold: 6")
    lines += [f"  {line}" for line in shape.tail]
    lines.append(f"  start_pfn:           {zone.start}")
    return [*lines, *(f"  {line}" for line in shape.after)]


def zoneinfo(zones: Sequence[Zone], shape: Shape) -> str:
    """The text of a kernel of this shape."""
    lines: list[str] = []
    for nid in sorted({zone.nid for zone in zones}):
        here = {zone.name: zone for zone in zones if zone.nid == nid}
        first = True
        for name in shape.every_zone or here:
            if name in here:
                lines += _zone_lines(here[name], shape, first)
                first = False
            else:
                lines += [f"Node {nid}, zone {name:>8}", "  pages free     0"]
                lines += [f"        {n:8} 0" for n in ("min", "low", "high", "spanned", "present", "managed")]
                lines.append(f"        protection: ({', '.join(['0'] * len(shape.every_zone))})")
    return "\n".join(lines) + "\n"


def buddyinfo(zones: Sequence[Zone]) -> str:
    """The text of any kernel."""
    return "".join(f"Node {z.nid}, zone {z.name:>8} " + "".join(f"{n:6} " for n in z.counts) + "\n" for z in zones)


def pagetypeinfo(zones: Sequence[Zone], names: Sequence[str], mixed: Mapping[str, Sequence[int]] | None = None) -> str:
    """The text of a kernel with these types; `mixed` as a kernel with page owner adds it, by zone."""
    out = "Page block order: 9\nPages per block:  512\n\n"
    out += "Free pages count per migrate type at order  " + " ".join(f"{i:6}" for i in range(ORDERS)) + "\n"
    for zone in zones:
        for name in names:
            counts = zone.types.get(name, [0] * ORDERS)
            told = "".join(f"{n:6} " if n < 100_000 else ">100000 " for n in counts)
            out += f"Node {zone.nid:4}, zone {zone.name:>8}, type {name:>12} {told}\n"
    out += "\nNumber of blocks type " + "".join(f"{name:>12} " for name in names) + "\n"
    for zone in zones:
        out += f"Node {zone.nid}, zone {zone.name:>8} " + "".join(f"{zone.blocks.get(n, 0):12} " for n in names) + "\n"
    if mixed is not None:
        out += "\nNumber of mixed blocks" + "".join(f"{name:>12} " for name in names) + "\n"
        for zone in zones:
            out += f"Node {zone.nid}, zone {zone.name:>8} " + "".join(f"{n:12} " for n in mixed[zone.name]) + "\n"
    return out
