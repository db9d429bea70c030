"""What the same functions cost in the real kernel: `data/timings.json`, whose `meta` says how it was measured."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, cast

from bulkpages.compare.cells import Cell

__all__ = ["kernel_row", "kernel_sign", "timings"]


@cache
def timings() -> dict[str, Any]:
    """The whole file."""
    return cast("dict[str, Any]", json.loads(files("bulkpages").joinpath("data/timings.json").read_text()))


def kernel_row(cell: Cell, form: str) -> dict[str, float | None] | None:
    """The kernel's median cycles and exact instructions per page (or operation), where the file has the row."""
    if cell.bench:
        for row in timings()["page_pool"]:
            if (row["api"], row["bench"]) == (form, cell.bench):
                return {
                    "cycles": row["cycles_per_op"]["median"],
                    "instructions": row.get("smp_kernel_instructions_per_op"),
                }
        return None
    for row in timings()["bulk"]:
        if (row["api"], row["nr_pages"], row["hole_period"]) == (form, cell.nr_pages, cell.hole_period):
            return {
                "cycles": row["alloc_cycles_per_page"]["median"],
                "instructions": row.get("smp_kernel_alloc_instructions_per_page"),
            }
    return None


def _runs(cell: Cell, form: str) -> list[float]:
    for row in timings()["page_pool" if cell.bench else "bulk"]:
        if cell.bench:
            if (row["api"], row["bench"]) == (form, cell.bench):
                return cast("list[float]", row["cycles_per_op"]["runs"])
        elif (row["api"], row["nr_pages"], row["hole_period"]) == (form, cell.nr_pages, cell.hole_period):
            return cast("list[float]", row["alloc_cycles_per_page"]["runs"])
    return []


def kernel_sign(cell: Cell) -> int | None:
    """What the kernel's own runs say of v2 against v1: -1 faster, 1 slower in every run; 0 they do not all agree.

    None where the file has no such row. Runs with one number ran one after the other in one boot.
    """
    signs = {(b > a) - (b < a) for a, b in zip(_runs(cell, "v1"), _runs(cell, "v2"), strict=True)}
    if not signs:
        return None
    return signs.pop() if len(signs) == 1 else 0
