"""The exact answer: counts and kernel instructions of every workload; no clock is read, so machines agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bulkpages.eras.rules import DEFAULT
from bulkpages.errors import BulkpagesError
from bulkpages.machine import Machine
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.instructions import kernel_instructions
from bulkpages.suite.trunk.kernel import kernel_cycles
from bulkpages.suite.trunk.runner import Run, count_cells
from bulkpages.suite.trunk.states import make_machines
from bulkpages.suite.trunk.timing import row_name

__all__ = ["Asked", "answer", "break_even", "hole_rows", "slot_work"]

# Slots of the arrays whose holes are varied.
HOLE_SLOTS = 256


@dataclass(frozen=True)
class Asked:
    """What is asked.

    Attributes:
        cells: The workloads.
        snapshot: Path of the kernel state.
        as_recorded: Whether that is the state on which the kernel's instructions were counted.
        effect: Smallest effect of interest, as a fraction.
        kernel: The kernel series of the machines.
    """

    cells: Sequence[Cell]
    snapshot: Path
    as_recorded: bool
    effect: float
    kernel: str = DEFAULT


def slot_work(counts: dict[str, float]) -> float:
    """Slots read, stored and cleared."""
    return counts["slot_tests"] + counts["slot_writes"] + counts["slot_clears"]


def _row(asked: Asked, cell: Cell, form: str, counts: dict[str, dict[str, float]], machine: Machine) -> dict[str, Any]:
    base = cell.forms[0]
    found = kernel_instructions(
        cell, form, machine, as_recorded=asked.as_recorded, effect=asked.effect, kernel=asked.kernel
    )
    unknown = found if isinstance(found, str) else None
    return {
        "name": row_name(cell, form),
        "cell": cell.name,
        "base": base,
        "form": form,
        "unit": cell.unit,
        "nr_pages": cell.slots,
        "holes": cell.holes,
        "hole_period": cell.period,
        "bench": cell.bench,
        "filler": cell.caller,
        "shape": cell.shape,
        "conditions": str(cell.conditions),
        "counts": {"base": counts[base], "form": counts[form]},
        "slot_work": {"base": slot_work(counts[base]), "form": slot_work(counts[form])},
        "instructions": None if isinstance(found, str) else found.as_dict(),
        "no_instructions": unknown,
        "verdict": None if isinstance(found, str) else found.verdict,
        "kernel_cycles": [cycles.as_dict() for cycles in kernel_cycles(cell, base, form, asked.kernel)],
        "reproduce": f"{cell.reproduce} --no-timing" + (f" --kernel {asked.kernel}" if asked.kernel != DEFAULT else ""),
    }


def hole_rows(rows: Sequence[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
    """(share of slots that are holes, row) of the benchmark's loop on 256 slots, fewest holes first."""
    chosen = [row for row in rows if row["nr_pages"] == HOLE_SLOTS and row["filler"] is None and row["form"] == "v2"]
    return sorted(((1 / max(1, row["hole_period"]), row) for row in chosen), key=lambda pair: pair[0])


def break_even(points: Sequence[tuple[float, float]]) -> float | None:
    """Where the ratio passes 1: interpolated between the logarithms of its neighbours. None unless it does so once.

    Args:
        points: (share of slots that are holes, patched over mainline).
    """
    points = sorted(points)
    found = []
    for (x0, r0), (x1, r1) in pairwise(points):
        a, b = math.log(r0), math.log(r1)
        if a * b < 0:
            found.append(math.exp(math.log(x0) + (math.log(x1) - math.log(x0)) * a / (a - b)))
    return found[0] if len(found) == 1 else None


def answer(asked: Asked, progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
    """Rows of every workload and form, what was left out, and where costs are even.

    Args:
        asked: What is asked.
        progress: Told how many workloads of how many are answered.

    Raises:
        BulkpagesError: The state cannot be loaded, or no workload can run on it.
    """
    run = Run()
    usable = count_cells(asked.snapshot, asked.cells, run)
    if not usable:
        raise BulkpagesError(f"no cell can run on this machine: {run.skipped}")
    machines = make_machines(asked.snapshot, [cell.conditions for cell in usable])
    rows = []
    for done, cell in enumerate(usable, 1):
        machine = machines[cell.conditions]
        rows += [_row(asked, cell, form, run.counts[cell.name], machine) for form in cell.forms[1:]]
        progress(done, len(usable))
    holes = [(share, row["instructions"]) for share, row in hole_rows(rows) if row["instructions"]]
    even = break_even([(share, 1 + found["percent"]["estimate"] / 100) for share, found in holes])
    return {
        "rows": rows,
        "skipped": run.skipped,
        "break_even": {"slots": HOLE_SLOTS, "instructions": even},
        "counts": run.counts,
    }
