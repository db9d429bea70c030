"""Kernel: `show_mem()`, `show_free_areas()` (`mm/show_mem.c`, before 6.3 `mm/page_alloc.c`) of kernels from 3.x to 7.x.

Marks and sizes of each zone, its reserves, free blocks by order with the types that are among them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from bulkpages.errors import SnapshotError
from bulkpages.formats.report.lines import Line
from bulkpages.formats.state.place import ORDERS
from bulkpages.formats.state.told import MODELLED_ORDERS, check_orders

__all__ = ["ZoneReport", "parse_meminfo"]

_NAMES = r"(?P<name>DMA|DMA32|Normal|HighMem|Movable|Device)"
_ZONE = re.compile(rf"(?:Node (?P<nid>\d+) )?{_NAMES} (?P<values>free:.*)")
_VALUE = re.compile(r"([a-z_]+):(\d+)\s*([kK]B)?")
_RESERVE = re.compile(r"lowmem_reserve\[\]:(?P<pages>[\s\d]*)")
_BLOCKS = re.compile(rf"(?:Node (?P<nid>\d+) )?{_NAMES}: (?P<blocks>\d+\*\d+[kK]B.*)")
_BLOCK = re.compile(r"(\d+)\*(\d+)[kK]B(?:\s*\(([A-Z]*)\))?")
_SUM = re.compile(r"=\s*(\d+)[kK]B")
_LISTS = re.compile(rf"(?:Node (?P<nid>\d+) )?{_NAMES} per-cpu:")
_CPU = re.compile(r"CPU\s+(\d+): hi:\s*(\d+), btch:\s*(\d+) usd:\s*(\d+)")
KIB = 4


@dataclass
class ZoneReport:
    """What a report has of one zone; sizes in pages.

    Attributes:
        line: Where it begins.
        values: What the zone's line says, by the kernel's names.
        reserve: `lowmem_reserve[]`.
        counts: Free blocks by order.
        letters: The letters of the types among them, by order; None where the kernel prints none.
        cpus: Limits and counts of the per-CPU lists, which kernels before 4.2 print.
    """

    line: int
    values: dict[str, int]
    reserve: Sequence[int] = ()
    counts: Sequence[int] = ()
    letters: Sequence[str | None] = ()
    cpus: dict[int, dict[str, int]] = field(default_factory=dict)


def _pages(kib: int, where: str) -> int:
    if kib % KIB:
        raise SnapshotError(f"{where}: {kib} kB is not a multiple of 4 KiB")
    return kib // KIB


def _blocks(text: str, where: str) -> tuple[list[int], list[str | None]]:
    """Free blocks by order, and the letters of their types."""
    found = _BLOCK.findall(text)
    first = int(found[0][1])
    if first != KIB:
        raise SnapshotError(f"{where}: the smallest block is {first} KiB: only pages of 4 KiB are modelled")
    sizes = [int(size) for _, size, _ in found]
    if sizes != [KIB << order for order in range(len(sizes))]:
        raise SnapshotError(
            f"{where}: blocks of {', '.join(map(str, sizes))} kB are out of order: part of the line is missing"
        )
    total = _SUM.search(text)
    if total is None and len(found) < ORDERS:
        raise SnapshotError(f"{where}: the line ends after {len(found)} orders, before its total; {MODELLED_ORDERS}")
    check_orders(len(found), where)
    counts = [int(count) for count, _, _ in found]
    pages = sum(count << order for order, count in enumerate(counts))
    if total is not None and int(total[1]) != pages * KIB:
        raise SnapshotError(f"{where}: the blocks are {pages * KIB} kB, but the line says {total[1]} kB")
    return counts, [letters or None for _, _, letters in found]


def parse_meminfo(lines: Sequence[Line]) -> dict[tuple[int, str], ZoneReport]:
    """Zones by (node, name).

    Raises:
        SnapshotError: A line that cannot be, or of another geometry; names it.
    """
    zones: dict[tuple[int, str], ZoneReport] = {}
    lists: dict[tuple[int, str], dict[int, dict[str, int]]] = {}
    at: dict[int, dict[str, int]] | None = None
    last: ZoneReport | None = None
    for number, line in lines:
        where = f"report line {number}"
        if match := _ZONE.match(line):
            key = int(match["nid"] or 0), match["name"]
            if key in zones:
                raise SnapshotError(f"{where}: node {key[0]} zone {key[1]} is already in line {zones[key].line}")
            last = zones[key] = ZoneReport(number, {}, cpus=lists.get(key, {}))
            for name, value, unit in _VALUE.findall(match["values"]):
                last.values.setdefault(name, _pages(int(value), where) if unit else int(value))
        elif (match := _RESERVE.match(line)) and last is not None:
            last.reserve = [int(word) for word in match["pages"].split()]
        elif match := _BLOCKS.match(line):
            key = int(match["nid"] or 0), match["name"]
            if key in zones:
                zones[key].counts, zones[key].letters = _blocks(match["blocks"], where)
        elif match := _LISTS.match(line):
            at = lists.setdefault((int(match["nid"] or 0), match["name"]), {})
        elif (match := _CPU.match(line)) and at is not None:
            cpu, high, batch, count = map(int, match.groups())
            at[cpu] = {"high": high, "batch": batch, "count": count}
    return zones
