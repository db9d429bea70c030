"""Kernel: `enum zone_type` (`include/linux/mmzone.h`), `zone_names[]` (`mm/page_alloc.c`): which zones a kernel has.

A build has Normal, Movable and some of the others, always in this order. What a text prints by column, such as
`protection:`, has one column for each zone of the build, whether the zone has memory or not. Kernels before 4.12 print
only the zones that have some, so that the columns' names must be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from bulkpages.errors import SnapshotError

__all__ = ["ALWAYS", "NAMES", "USUAL", "columns", "zones_of"]

#: Every zone of any kernel, in the kernel's order.
NAMES = ("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
#: The zones of a 64-bit PC, which a machine has unless it says otherwise.
USUAL = ("DMA", "DMA32", "Normal", "Movable")
#: Those of a 32-bit kernel with high memory.
WITH_HIGHMEM = ("DMA", "Normal", "HighMem", "Movable")
#: Those of every kernel.
ALWAYS = ("Normal", "Movable")

# Builds that are met, the usual first: what a text leaves open is decided by them, and said.
_BUILDS: tuple[tuple[str, ...], ...] = (
    USUAL,
    (*USUAL, "Device"),
    WITH_HIGHMEM,
    (*WITH_HIGHMEM, "Device"),
    ("DMA", "Normal", "Movable"),
    ("DMA32", "Normal", "Movable"),
    ("Normal", "HighMem", "Movable"),
    ("DMA", "Normal", "Movable", "Device"),
    ("DMA32", "Normal", "Movable", "Device"),
    ("Normal", "Movable"),
    ("Normal", "Movable", "Device"),
)


def _possible(build: Sequence[str], rows: Iterable[tuple[str, Sequence[int]]]) -> bool:
    """Whether no zone keeps pages from requests for itself or lower ones, which no kernel's zone does."""
    return all(not any(row[: build.index(name) + 1]) for name, row in rows if name in build)


def columns(
    rows: Sequence[tuple[str, Sequence[int]]], printed: Iterable[Sequence[str]], where: str, notes: list[str]
) -> tuple[str, ...]:
    """The zones that the columns of a text stand for.

    Args:
        rows: Name and columns of each zone with memory, all of the same length.
        printed: The zones that the text prints of each node, in its order.
        where: The text and line, for error messages.
        notes: A choice among several builds is added here.

    Raises:
        SnapshotError: The zones do not fit the columns.
    """
    count = len(rows[0][1])
    by_node = [tuple(names) for names in printed]
    for names in by_node:
        if len(names) == count:
            # Every zone of the build is here.
            return names
    seen = {name for names in by_node for name in names}
    if len(seen) > count:
        raise SnapshotError(f"{where}: {count} columns for the {len(seen)} zones {', '.join(sorted(seen))}")
    fitting = [build for build in _BUILDS if len(build) == count and seen <= set(build)]
    if not fitting:
        others = [name for name in NAMES if name not in ALWAYS]
        fitting = [
            tuple(name for name in NAMES if name in (*ALWAYS, *some))
            for some in combinations(others, max(count - len(ALWAYS), 0))
            if count >= len(ALWAYS) and seen <= {*ALWAYS, *some}
        ]
    if not fitting:
        raise SnapshotError(f"{where}: no kernel has {count} zones that include {', '.join(sorted(seen))}")
    fitting = [build for build in fitting if _possible(build, rows)] or fitting
    if len(fitting) > 1 and any(any(row) for _, row in rows):
        notes.append(
            f"{where}: {count} columns, of zones that are not all printed; taken as {', '.join(fitting[0])} "
            f"(could be {' or '.join(', '.join(build) for build in fitting[1:3])})"
        )
    return fitting[0]


def zones_of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a snapshot's zones by index; an empty one is an index that no zone has."""
    return tuple(state.get("facts", {}).get("zones") or USUAL)
