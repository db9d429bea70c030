"""What the same functions cost in the real kernel: `data/timings.json`, whose `meta` says how it was measured."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, cast

from bulkpages.compare.cells import Cell

__all__ = ["kernel_row", "timings"]


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
