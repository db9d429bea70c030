"""How exact counts grow with the size of the array: a straight line on two logarithmic axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bulkpages import Machine, _core

__all__ = ["QUADRATIC", "growth"]

SIZES = (8, 16, 32, 64, 128, 259)
# A slope well above 1 is no array walk any more.
QUADRATIC = 1.5


def _slope(sizes: tuple[int, ...], counts: list[int]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(counts, 1)), 1)[0])


def growth() -> list[dict[str, Any]]:
    """Slot tests and writes of filling an empty array, by size, with and without page owner.

    Each row: filler, form, page_owner, sizes, slot_work (tests and writes of one fill), slope, quadratic.
    """
    rows = []
    for page_owner in (False, True):
        machine = Machine("256MiB", page_owner=page_owner)
        for filler in ("core", "svc_alloc_arg", "btrfs_alloc_page_array", "z_erofs_gbuf_growsize"):
            for form in dict(_core.fillers())[filler]:
                work = []
                for n in SIZES:
                    found = _core.count_fill(machine, filler, form, "." * n, 1)
                    work.append(found["slot_tests"] + found["slot_writes"] + found["slot_clears"])
                slope = _slope(SIZES, work)
                rows.append(
                    {
                        "filler": filler,
                        "form": form,
                        "page_owner": page_owner,
                        "sizes": list(SIZES),
                        "slot_work": work,
                        "slope": slope,
                        "quadratic": slope >= QUADRATIC,
                    }
                )
    return rows
