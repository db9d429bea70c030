"""What is stored: rows measured in the real kernel, the state its measurements began from, and the fitted costs."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any, cast

from bulkpages.errors import InvalidArgument

__all__ = [
    "KERNEL",
    "Key",
    "costs",
    "fewest",
    "loops_of",
    "measured_fills",
    "measured_pages",
    "need_kernel",
    "series",
    "start_state",
]

#: The kernel whose costs are known.
KERNEL = "6.12"

Key = tuple[str, str, str, str]


def _read(name: str) -> Any:
    data = files("bulkpages").joinpath("data", name).read_bytes()
    return json.loads(gzip.decompress(data) if name.endswith(".gz") else data)


def need_kernel(kernel: str) -> None:
    """Refuses a kernel whose costs nobody has measured.

    Raises:
        InvalidArgument: Another kernel than `KERNEL`.
    """
    if kernel != KERNEL:
        raise InvalidArgument(f"no costs are known for kernel {kernel!r}: instructions were counted in {KERNEL}")


@cache
def series() -> list[dict[str, Any]]:
    """Series of fills that were measured: name, origin and rows, in the order of their measurement after boot."""
    return cast("list[dict[str, Any]]", _read("cost-rows.json.gz")["series"])


@cache
def start_state() -> dict[str, Any]:
    """State of the kernel in which each series began: 512 MB, one CPU, just booted."""
    return cast("dict[str, Any]", _read("cost-start.json.gz"))


@cache
def costs() -> dict[str, Any]:
    """The fit: coefficients, errors and the widths of intervals; `bulkpages cost fit` writes it."""
    return cast("dict[str, Any]", _read("cost-6.12.json"))


@cache
def measured_fills() -> dict[Key, list[float]]:
    """Instructions of a fill, by caller, form, condition and pattern: one number for each measurement."""
    found: dict[Key, list[float]] = {}
    for one in filter(lambda one: one["answers"], series()):
        for row in one["rows"]:
            key = (row["caller"], row["form"], row["condition"], row["pattern"])
            found.setdefault(key, []).append(row["instructions_per_fill"])
    return found


@cache
def fewest() -> dict[Key, float]:
    """The fewest instructions that a fill of these took, where every fill does the same: on warm lists."""
    return {
        (row["caller"], row["form"], row["condition"], row["pattern"]): row["instructions_min"]
        for one in series()
        if one["answers"]
        for row in one["rows"]
        if row["condition"] == "warm" and "instructions_min" in row
    }


@cache
def measured_pages() -> dict[tuple[str, int, int], float]:
    """Instructions of a page in the loops of `timings.json`, by api, nr_pages and hole_period."""
    rows = _read("timings.json")["bulk"]
    value = "smp_kernel_alloc_instructions_per_page"
    return {(r["api"], r["nr_pages"], r["hole_period"]): r[value] for r in rows if r.get(value) is not None}


@cache
def loops_of(kernel: str) -> dict[tuple[str, int, int], float]:
    """Instructions of a page in the same loops in another kernel, where they were counted; no other fill was there.

    Raises:
        InvalidArgument: They were not counted in this kernel.
    """
    loops = _read("loops-eras.json")
    if kernel not in loops:
        known = ", ".join([*loops, KERNEL])
        raise InvalidArgument(f"no costs are known for kernel {kernel!r}: loops were counted in {known}")
    return {(r["api"], r["nr_pages"], r["hole_period"]): r["instructions_per_page"] for r in loops[kernel]["rows"]}


@cache
def measured_operations() -> dict[tuple[str, str], float]:
    """Instructions of an operation of the page_pool loops, by bench and api."""
    return {(r["bench"], r["api"]): r["smp_kernel_instructions_per_op"] for r in _read("timings.json")["page_pool"]}
