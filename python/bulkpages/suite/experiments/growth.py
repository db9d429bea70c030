"""How work grows with the size of the array: a straight line on two logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bulkpages import _core, cost
from bulkpages.machine import Machine
from bulkpages.suite.trunk.answer import slot_work

__all__ = ["QUADRATIC", "growth"]

SIZES = (8, 16, 32, 64, 128, 259)
CALLERS = ("core", "svc_alloc_arg", "btrfs_alloc_page_array", "z_erofs_gbuf_growsize")
# A slope well above 1 is no array walk any more.
QUADRATIC = 1.5


def _slope(sizes: Sequence[int], work: Sequence[float]) -> float:
    # Rounded below anything that is said, so that every machine says the same.
    return round(float(np.polyfit(np.log(sizes), np.log(np.maximum(work, 1)), 1)[0]), 6)


def _row(machine: Machine, caller: str, form: str, page_owner: bool) -> dict[str, Any]:
    counts = [_core.count_fill(machine, caller, form, "." * n, 1) for n in SIZES]
    work = [round(slot_work({name: float(count) for name, count in found.items()})) for found in counts]
    instructions = [round(cost.of(_core.count_steps(machine, caller, form, "." * n, 1)).estimate, 1) for n in SIZES]
    slope = _slope(SIZES, work)
    return {
        "filler": caller,
        "form": form,
        "page_owner": page_owner,
        "sizes": list(SIZES),
        "slot_work": work,
        "slope": slope,
        "quadratic": slope >= QUADRATIC,
        "instructions": instructions,
        "instruction_slope": _slope(SIZES, instructions),
    }


def growth() -> list[dict[str, Any]]:
    """Work of filling an empty array, by size, with and without page owner.

    Each row: filler, form, page_owner, sizes, slot_work (tests, writes and clearings of one fill), slope, quadratic,
    instructions (predicted, of the kernel) and their slope.
    """
    rows = []
    for page_owner in (False, True):
        machine = Machine("256MiB", page_owner=page_owner)
        for caller in CALLERS:
            rows += [_row(machine, caller, form, page_owner) for form in dict(_core.fillers())[caller]]
    return rows
