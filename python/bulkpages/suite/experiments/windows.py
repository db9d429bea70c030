"""How long a fill keeps others out: kernel instructions under the per-CPU lock and under the zone lock.

Which window keeps interrupts off is a property of the build: on SMP the zone lock's, on UP the per-CPU lock's (and the
zone lock's, which lies inside it), on PREEMPT_RT none. Counts inside the windows are exact; instructions are the cost
model's steps that run there. `clock_windows` reads the emulator's own clock at its own locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bulkpages import _core, cost
from bulkpages.machine import Machine
from bulkpages.suite.trunk.instructions import steps_of

__all__ = ["BUILDS", "HOLES", "SLOTS", "clock_windows", "windows"]

#: For each build, the lock whose windows keep interrupts off; None where they stay on.
BUILDS = {"UP": "pcp lock", "SMP": "zone lock", "PREEMPT_RT": None}
CLOCKS = {"UP": "up_longest", "SMP": "zone_longest", "PREEMPT_RT": None}
SLOTS = 259
HOLES = (2, 8, 32, 64, 128, 259)
FORMS = ("before", "after", "tracked", "v3")
# Fills whose counts are told, and those before them that warm the lists.
COUNTED, FILLS, WARM = 64, 600, 100


def _shape(holes: int) -> str:
    at = {i * SLOTS // holes for i in range(holes)}
    return "".join("." if i in at else "x" for i in range(SLOTS))


def _cases() -> Iterator[tuple[bool, int, str]]:
    for cold in (False, True):
        for holes in HOLES:
            for form in FORMS:
                yield cold, holes, form


def _window(inside: float, lockings: float) -> dict[str, float]:
    return {
        "instructions": round(inside, 2),
        "lockings": round(lockings, 4),
        "per_locking": round(inside / lockings, 2) if lockings else 0.0,
    }


def windows(snapshot: str) -> list[dict[str, Any]]:
    """svc_alloc_arg() on arrays of 259 slots with so many holes, spread evenly, in each form; lists warm and cold.

    Each row: form, holes, share, cold, fill (kernel instructions of the whole fill), pcp and zone (instructions under
    that lock in a fill, lockings, instructions per locking), irq_off (of each build, the same of the lock that turns
    interrupts off; None where they stay on), pcp_slot_tests, pcp_pages, zone_pages, tests_outside (medians over fills).
    """
    machine = Machine.from_snapshot(snapshot)
    rows = []
    for cold, holes, form in _cases():
        shape = _shape(holes)
        seen = _core.window_fill(machine, "svc_alloc_arg", form, shape, COUNTED, cold=cold)
        counts = _core.count_fill(machine, "svc_alloc_arg", form, shape, COUNTED, cold=cold)
        counts.pop("pages")
        per_fill = {name: count / COUNTED for name, count in counts.items()}
        found = cost.of(steps_of(machine, "svc_alloc_arg", form, shape, cold=cold))
        window = {
            "pcp lock": _window(cost.inside(found, "pcp lock"), per_fill["trylocks"] - per_fill["trylock_failures"]),
            "zone lock": _window(cost.inside(found, "zone lock"), per_fill["zone_locks"]),
        }
        rows.append(
            {
                "form": form,
                "holes": holes,
                "share": holes / SLOTS,
                "cold": cold,
                "fill": round(found.estimate, 2),
                "pcp": window["pcp lock"],
                "zone": window["zone lock"],
                "irq_off": {build: window[lock] if lock else None for build, lock in BUILDS.items()},
                "pcp_slot_tests": float(np.median(seen["pcp_tests"])),
                "pcp_pages": float(np.median(seen["pcp_pages"])),
                "zone_pages": float(np.median(seen["zone_pages"])),
                "tests_outside": float(np.median(seen["tests_outside"])),
            }
        )
    return rows


def _quantiles(values: list[int]) -> dict[str, float]:
    found = np.quantile(np.asarray(values[WARM:], dtype=float), [0.05, 0.5, 0.95, 0.99])
    return dict(zip(("p5", "p50", "p95", "p99"), map(float, found), strict=True))


def clock_windows(snapshot: str) -> list[dict[str, Any]]:
    """The same windows in the emulator's clock counts, two clock readings in each included.

    Each row: form, holes, cold, pcp and zone (counts under that lock in a fill: p5, p50, p95, p99), irq_off (of each
    build, the longest window; None where interrupts stay on).
    """
    machine = Machine.from_snapshot(snapshot)
    rows = []
    for cold, holes, form in _cases():
        found = _core.window_fill(machine, "svc_alloc_arg", form, _shape(holes), FILLS, cold=cold)
        rows.append(
            {
                "form": form,
                "holes": holes,
                "cold": cold,
                "pcp": _quantiles(found["pcp"]),
                "zone": _quantiles(found["zone"]),
                "irq_off": {build: _quantiles(found[what]) if what else None for build, what in CLOCKS.items()},
            }
        )
    return rows
