"""How long a fill keeps others out: per-CPU lock, zone lock, interrupts off, by build (spec: locking model).

What is measured are the emulator's locks, so clock counts are the emulator's, with two clock readings in each window.
Which window keeps interrupts off is a property of the build: on SMP the zone lock's, on UP the per-CPU lock's (and the
zone lock's outside it), on PREEMPT_RT none. The work inside the windows (slot tests, pages) is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bulkpages import Machine, _core

__all__ = ["BUILDS", "window_sentence", "windows"]

BUILDS = {"UP": "up_longest", "SMP": "zone_longest", "PREEMPT_RT": None}
SLOTS = 259
HOLES = (2, 8, 32, 64, 128, 259)
FORMS = ("before", "after", "tracked", "v3")
FILLS = 600
WARM = 100


def _quantiles(values: list[int]) -> dict[str, float]:
    found = np.quantile(np.asarray(values[WARM:], dtype=float), [0.05, 0.5, 0.95, 0.99])
    return dict(zip(("p5", "p50", "p95", "p99"), map(float, found), strict=True))


def windows(snapshot: str) -> list[dict[str, Any]]:
    """svc_alloc_arg() on arrays of 259 slots with so many holes, spread evenly, in each form; lists warm and cold.

    Each row: form, holes, share, cold, pcp (clock counts under the per-CPU lock in a fill: p5, p50, p95, p99),
    zone, irq_off (of each build, the longest window; None where interrupts stay on), pcp_slot_tests, pcp_pages,
    zone_pages, tests_outside (medians over fills).
    """
    machine = Machine.from_snapshot(snapshot)
    rows = []
    for cold in (False, True):
        for holes in HOLES:
            at = {i * SLOTS // holes for i in range(holes)}
            shape = "".join("." if i in at else "x" for i in range(SLOTS))
            for form in FORMS:
                found = _core.window_fill(machine, "svc_alloc_arg", form, shape, FILLS, cold=cold)
                rows.append(
                    {
                        "form": form,
                        "holes": holes,
                        "share": holes / SLOTS,
                        "cold": cold,
                        "pcp": _quantiles(found["pcp"]),
                        "zone": _quantiles(found["zone"]),
                        "irq_off": {build: _quantiles(found[what]) if what else None for build, what in BUILDS.items()},
                        "pcp_slot_tests": float(np.median(found["pcp_tests"][WARM:])),
                        "pcp_pages": float(np.median(found["pcp_pages"][WARM:])),
                        "zone_pages": float(np.median(found["zone_pages"][WARM:])),
                        "tests_outside": float(np.median(found["tests_outside"][WARM:])),
                    }
                )
    return rows


def _find(rows: list[dict[str, Any]], form: str, holes: int, cold: bool) -> dict[str, Any]:
    return next(r for r in rows if (r["form"], r["holes"], r["cold"]) == (form, holes, cold))


def window_sentence(rows: list[dict[str, Any]]) -> str:
    """Whether "callers can do a better job" is true of the windows, in one sentence from the figures."""
    few = HOLES[0]
    a, b = (_find(rows, form, few, False) for form in ("before", "after"))
    pcp = b["pcp"]["p50"] / max(1.0, a["pcp"]["p50"]) - 1
    same_zone = all(
        _find(rows, "before", holes, True)["zone_pages"] == _find(rows, "after", holes, True)["zone_pages"]
        for holes in HOLES
    )
    job = (
        f"is true of the per-CPU lock (with {few} holes of {SLOTS} held {-pcp:.0%} shorter"
        if pcp < 0
        else f"is not true of the per-CPU lock (with {few} holes of {SLOTS} held {pcp:.0%} longer"
    )
    smp = "the same pages in both" if same_zone else "not the same pages in both"
    return (
        f'Windows: "callers can do a better job" {job}: {a["pcp_slot_tests"]:.0f} slot tests inside, '
        f"{b['pcp_slot_tests']:.0f} after), and so of interrupts on UP; not of interrupts on SMP (off under the zone "
        f"lock alone, {smp}) or PREEMPT_RT (never off)."
    )
