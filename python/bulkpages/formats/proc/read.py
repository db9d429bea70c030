"""`/proc/zoneinfo`, `buddyinfo`, `pagetypeinfo` and `vmstat` of any kernel from 3.x on, line by line.

Lines are read by name, so that it does not matter which ones a kernel has; an unknown name is skipped and noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bulkpages.errors import SnapshotError
from bulkpages.formats.proc.texts import Lines, lines_of, sort_lines
from bulkpages.formats.state.place import BLOCK, BLOCK_ORDER, ORDERS
from bulkpages.formats.state.told import MODELLED_ORDERS
from bulkpages.kinds import need

__all__ = [
    "PageTypes",
    "parse_buddyinfo",
    "parse_pagetypeinfo",
    "parse_vmstat",
    "parse_zoneinfo",
    "read_buddyinfo",
    "read_pagetypeinfo",
    "read_zoneinfo",
]

Key = tuple[int, str]

_HEAD = re.compile(r"Node\s+([0-9]{1,9}), zone\s+(\S+)")
_WORD = re.compile(r"(?:pages )?([A-Za-z_][\w ]*?)(?::)?\s+(-?[0-9]{1,20})")
_NUMBER = re.compile(r"[0-9]{1,20}")
_TYPED = re.compile(r"Node\s+([0-9]{1,9}), zone\s+(\S+), type\s+(\S+)\s*(.*)")
_CAPPED = re.compile(r"(>?)\s*([0-9]{1,20})")

# Of a CPU's lists, by the kernel's name.
_PCP = {"count": "count", "high": "high", "batch": "batch", "high_min": "high_min", "high_max": "high_max"}
_PCP |= {"vm stats threshold": "thresh"}
# Of a zone: what is read, and what says nothing about the allocator's state.
_KNOWN = {"free", "boost", "min", "low", "high", "promo", "spanned", "present", "managed", "cma", "start_pfn", "cpu"}
_KNOWN |= {
    "reserved_highatomic",
    "free_highatomic",
    "node_unreclaimable",
    "all_unreclaimable",
    "inactive_ratio",
    "scanned",
}
_COUNTERS = ("nr_", "numa_", "workingset_", "pg", "thp_", "prev_priority", "hmem_")


def _numbers(words: Iterable[str], where: str) -> list[int]:
    words = list(words)
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise SnapshotError(f"{where}: {word[:30]!r} is not a number of at most 20 digits")
    return [int(word) for word in words]


def read_zoneinfo(lines: Lines, notes: list[str]) -> dict[Key, dict[str, Any]]:
    """See `parse_zoneinfo`."""
    zones: dict[Key, dict[str, Any]] = {}
    zone: dict[str, Any] | None = None
    cpu: dict[str, int] | None = None
    skipped: dict[str, int] = {}
    for number, line in lines:
        where = f"zoneinfo line {number}"
        if head := _HEAD.fullmatch(line):
            key = int(head[1]), head[2]
            if key in zones:
                raise SnapshotError(
                    f"{where}: node {key[0]} zone {key[1]} is already in line {zones[key]['line']}: "
                    "the input holds two texts; remove one"
                )
            zone = zones[key] = {"cpus": {}, "line": number}
            cpu = None
        elif zone is None:
            raise SnapshotError(f'{where}: "Node N, zone NAME" is needed, not {line[:60]!r}: remove what precedes it')
        elif line.startswith("protection:"):
            words = line.split(":", 1)[1].strip(" ()").replace(",", " ").split()
            zone["protection"] = _numbers(words, where)
        elif match := _WORD.fullmatch(line):
            name, value = match[1], int(match[2])
            if name == "cpu":
                cpu = zone["cpus"].setdefault(value, {})
            elif cpu is not None and name in _PCP:
                cpu[_PCP[name]] = value
            else:
                zone.setdefault(name, value)
                if name not in _KNOWN and not name.startswith(_COUNTERS):
                    skipped.setdefault(name, number)
        elif line not in ("per-node stats", "pagesets", "..."):
            skipped.setdefault(line, number)
    if not zones:
        raise SnapshotError("zoneinfo names no zone")
    notes += [f"zoneinfo line {number}: {name!r} is unknown, skipped" for name, number in skipped.items()]
    return zones


def parse_zoneinfo(text: str, notes: list[str] | None = None) -> dict[Key, dict[str, Any]]:
    """Zones by (node, name): numbers by name, "protection", "cpus" with each CPU's numbers, and "line", the first line.

    Unknown lines are skipped. Each name is added to `notes` once.

    Raises:
        SnapshotError: The text is not zoneinfo; names the line.
    """
    need("text", text, str)
    return read_zoneinfo(lines_of(text), [] if notes is None else notes)


def read_buddyinfo(lines: Lines) -> dict[Key, list[int]]:
    """See `parse_buddyinfo`."""
    zones: dict[Key, list[int]] = {}
    for number, line in lines:
        where = f"buddyinfo line {number}"
        head = _HEAD.match(line)
        counts = line[head.end() :].split() if head else []
        if head is None or not counts:
            raise SnapshotError(f"{where}: not a zone with counts: {line[:60]!r}")
        key = int(head[1]), head[2]
        if key in zones:
            raise SnapshotError(f"{where}: node {key[0]} zone {key[1]} appears twice: remove one of the texts")
        zones[key] = _numbers(counts, where)
        if len(counts) < ORDERS and any(len(other) == ORDERS for other in zones.values()):
            raise SnapshotError(f"{where}: {len(counts)} columns where other zones have {ORDERS}: the line is cut")
        if len(counts) != ORDERS:
            raise SnapshotError(
                f"{where}: {len(counts)} columns, so the largest free block has order {len(counts) - 1}; "
                f"{MODELLED_ORDERS}. Kernels with other page sizes (16 or 64 KiB) or another MAX_ORDER have others"
            )
    return zones


def parse_buddyinfo(text: str) -> dict[Key, list[int]]:
    """Free blocks by order, of each (node, zone name).

    Raises:
        SnapshotError: A line is not buddyinfo, or does not have orders 0 to 10; names the line.
    """
    need("text", text, str)
    return read_buddyinfo(lines_of(text))


def parse_vmstat(text: str) -> dict[str, int]:
    """Counters by name.

    Raises:
        SnapshotError: A line is not a name and a number.
    """
    need("text", text, str)
    counters = {}
    for number, line in lines_of(text):
        name, _, value = line.partition(" ")
        if not re.fullmatch(r"-?[0-9]{1,20}", value.strip()) or not name:
            raise SnapshotError(f"vmstat line {number}: not a name and a number: {line[:60]!r}")
        counters[name] = int(value)
    return counters


@dataclass
class PageTypes:
    """The contents of pagetypeinfo, by (node, zone name).

    Attributes:
        free: Free blocks by order, of each type.
        capped: Types whose count at an order is only a lower bound: the kernel stops counting at 100,000.
        blocks: Pageblocks of each type.
    """

    free: dict[Key, dict[str, list[int]]] = field(default_factory=dict)
    capped: dict[Key, set[tuple[str, int]]] = field(default_factory=dict)
    blocks: dict[Key, dict[str, int]] = field(default_factory=dict)


def _check_geometry(line: str, where: str) -> None:
    """Pageblocks of another size than the emulator's are refused."""
    for name, modelled in (("Page block order", BLOCK_ORDER), ("Pages per block", BLOCK)):
        if line.startswith(name):
            (value,) = _numbers(line.split(":", 1)[-1].split()[:1] or [""], where)
            if value != modelled:
                raise SnapshotError(f"{where}: {name} is {value}; only {modelled} is modelled (2 MiB of 4 KiB pages)")


def read_pagetypeinfo(lines: Lines) -> PageTypes:
    """See `parse_pagetypeinfo`."""
    found = PageTypes()
    names: list[str] | None = None
    wanted: dict[Key, dict[str, int]] | None = None
    for number, line in lines:
        where = f"pagetypeinfo line {number}"
        _check_geometry(line, where)
        if typed := _TYPED.match(line):
            key = int(typed[1]), typed[2]
            rest = _CAPPED.sub(" ", typed[4]).strip()
            counts = _CAPPED.findall(typed[4])
            if rest or len(counts) != ORDERS:
                raise SnapshotError(
                    f"{where}: {rest[:30]!r} is not a number of at most 20 digits"
                    if rest
                    else f"{where}: {len(counts)} columns; {MODELLED_ORDERS}"
                )
            found.free.setdefault(key, {})[typed[3]] = [int(count) for _, count in counts]
            found.capped.setdefault(key, set()).update((typed[3], i) for i, (cap, _) in enumerate(counts) if cap)
        elif line.startswith("Number of blocks type"):
            names, wanted = line.split()[4:], found.blocks
        elif line.startswith("Number of"):
            # Blocks of mixed use, which a kernel with page owner counts beside them.
            names, wanted = line.split()[4:], None
        elif names is not None and (head := _HEAD.match(line)):
            counted = _numbers(line[head.end() :].split(), where)
            if wanted is not None:
                wanted[int(head[1]), head[2]] = dict(zip(names, counted, strict=False))
    return found


def parse_pagetypeinfo(text: str) -> PageTypes:
    """Free blocks by type and order, and pageblocks by type, of each (node, zone name).

    Raises:
        SnapshotError: A count is not a number, or orders or pageblocks have another size; names the line.
    """
    need("text", text, str)
    return read_pagetypeinfo(sort_lines(text, "pagetypeinfo").get("pagetypeinfo", []))
