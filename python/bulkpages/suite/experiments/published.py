"""Figures that others have published, beside the emulator's time: ratios only, since machines and kernels differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from bulkpages import _core
from bulkpages.machine import Machine

__all__ = ["published"]

# Clock counts of allocation and free together, as the published benchmark has them.
TRIALS = 9
ITERATIONS = 400
# Published ratios within this much of ours are called close.
CLOSE = 0.15

# page_bench04_bulk, ns per page, alloc and free, E5-1650 v4, March 2021: array at this many pages a call, and single.
BENCH04 = {1: 56.383, 2: 40.047, 4: 35.578, 8: 33.592, 16: 32.362, 32: 31.476, 64: 30.633, 128: 30.596}
BENCH04_SINGLE = 55.472
POOL03 = (87.886, 86.429)
SVC_SINGLE, SVC_ARRAY = 25.007, 4.590


def _median(machine: Machine, api: str, n: int, frees: bool = True) -> float:
    """Clock counts per page; the two clock readings of each round, which theirs does not have, are taken out."""
    costs = []
    iterations = max(16, 64 * ITERATIONS // n)
    clock = _core.clock_cost()
    for _ in range(TRIALS):
        pages, alloc, total = _core.trial_bulk(machine, api, n, 0, iterations)
        costs.append((total - 2 * clock * iterations if frees else alloc - clock * iterations) / pages)
    return float(np.median(costs))


def _row(what: str, theirs: float, ours: float, source: str) -> dict[str, Any]:
    """Both are ratios; 1 is no difference."""
    sign = "agree" if (theirs < 1) == (ours < 1) else "differ"
    error = ours / theirs - 1
    return {
        "what": what,
        "theirs": f"{theirs:.3f}",
        "ours": f"{ours:.3f}",
        "sign": sign,
        "size": "close" if abs(error) <= CLOSE else "differs",
        "error": f"{error:+.1%}",
        "source": source,
    }


def published(timing: dict[str, Any]) -> list[dict[str, Any]]:
    """For each published row: what, theirs, ours (ratios), sign, size, error of ours, source."""
    machine = Machine("256MiB")
    costs = {n: _median(machine, "v1", n) for n in BENCH04}
    single = _median(machine, "single", 64)
    source = "page_bench04_bulk, E5-1650 v4, 2021, ns of alloc and free"
    rows = [_row("array of 64 against single pages", BENCH04[64] / BENCH04_SINGLE, costs[64] / single, source)]
    rows += [
        _row(f"array of {n} against array of 64, per page", BENCH04[n] / BENCH04[64], costs[n] / costs[64], source)
        for n in BENCH04
        if n != 64
    ]
    rows.append(
        _row(
            "sunrpc: array of 259 against single pages, allocation alone",
            SVC_ARRAY / SVC_SINGLE,
            _median(machine, "v1", 259, False) / _median(machine, "single", 259, False),
            "trace of svc_alloc_arg(), 2021, mean over calls with unknown holes",
        )
    )
    for row in timing["rows"]:
        if row["name"] == "page_pool03_slow":
            rows.append(
                _row(
                    "page_pool03_slow, patched against mainline",
                    POOL03[1] / POOL03[0],
                    row["ratio"],
                    "patch v2, x86 VM, ns",
                )
            )
    return rows
