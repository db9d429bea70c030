"""What the patch changes for callers when memory runs out: each one stopped at every step, mainline and patched."""

from __future__ import annotations

from typing import Any

from bulkpages.callers.sweep import failure_sweep

__all__ = ["failures"]

# Slots of the largest array; every failure alone, none in pairs: a fifth of a second.
LARGEST, PAIRS = 16, 0
KEPT = ("caller", "form", "runs", "filled", "failed", "endless", "leaked", "corrupt", "freed_populated", "moved")


def failures(kernel: str) -> dict[str, Any]:
    """Every caller under every single failure, on arrays of up to 16 slots.

    Args:
        kernel: The kernel series of the machines.

    Returns:
        runs; by_form (caller, form, and of the runs in which something failed: runs, filled, failed, endless (the waits
        granted were used up), leaked, corrupt, freed_populated: pages freed that the array held before, moved: most
        pages that moved in a run); differences of patched against mainline (caller, column, runs compared, differ,
        more, less), where there are any.
    """
    found = failure_sweep(largest=LARGEST, pairs_up_to=PAIRS, kernel=kernel)
    return {
        "runs": found.runs,
        "by_form": [{key: row[key] for key in KEPT} for row in found.by_form()],
        "differences": [
            {key: row[key] for key in ("caller", "column", "runs", "differ", "more", "less")}
            for row in found.differences()
            if row["differ"]
        ],
    }
