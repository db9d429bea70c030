"""What fills cost in a real kernel: native cycles, several kernels in turns, and exact instructions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bulkpages.errors import KernelError
from bulkpages.files import write_whole
from bulkpages.kernel.build import Kernel, open_kernel
from bulkpages.kernel.cells import REPEATS, absent_because, answers, job, measured_cells
from bulkpages.kernel.run import Shape, run_emulated, run_native
from bulkpages.kernel.tools import need_tools
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.stats import Comparison, Costs, NullRuns, alpha_for, compare, null_runs

__all__ = ["Bench", "Row", "bench", "instructions", "rows"]

SCHEMA = "bulkpages-kernel-bench-1"
COUNTS = "instructions.json"
# Fills of a cell whose instructions are counted: the lists are refilled in some of them.
COUNTED = 64
ROUNDS = 12
EFFECT = 0.01

Say = Callable[[str, float], None]


def _quiet(_what: str, _share: float) -> None:
    return None


@dataclass(frozen=True)
class Row:
    """One cell in one or two kernels.

    Attributes:
        name: As in `compare` and `cost`.
        unit: What costs are divided by: page, fill, op.
        cycles: Median native cycles of each kernel; None where a kernel cannot be asked.
        instructions: Exact instructions of each kernel, mean over fills.
        comparison: Second kernel against the first, in cycles.
        absent: Why a kernel cannot be asked.
    """

    name: str
    unit: str
    cycles: tuple[float | None, ...]
    instructions: tuple[float | None, ...]
    comparison: Comparison | None
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Bench:
    """A whole run.

    Attributes:
        kernels: What was measured.
        rows: Cell by cell.
        nulls: Each kernel against itself, in the same rounds.
        rounds: Starts of each kernel, twice in each round.
    """

    kernels: tuple[Kernel, ...]
    rows: list[Row]
    nulls: NullRuns
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "kernels": [
                {"folder": str(k.folder), "version": k.version, "patches": list(k.patches), "semantics": k.semantics,
                 "compiler": k.compiler}
                for k in self.kernels
            ],
            "rounds": self.rounds,
            "same_kernel": {
                "comparisons": self.nulls.comparisons,
                "alarms": self.nulls.alarms,
                "trusted": self.nulls.silent,
                "detectable": self.nulls.detectable if self.nulls.comparisons else None,
            },
            "cells": [asdict(row) for row in self.rows],
        }  # fmt: skip


def _units(cell: Cell) -> int:
    """What a fill's cost is divided by."""
    return cell.holes if cell.unit == "page" else 1


def instructions(kernel: Kernel) -> dict[str, dict[str, float]]:
    """Exact instructions of every cell that this kernel can be asked; counted once, then kept beside the kernel.

    Returns:
        For each cell `mean` and `least`, per page, fill or operation as in `compare`.

    Raises:
        KernelError: qemu is not here, or the kernel does not finish.
    """
    if (kept := _kept(kernel)) is not None:
        return kept
    wanted = measured_cells()
    asked = [cell for cell in wanted if not absent_because(kernel, cell)]
    # The second time through the list: the first finds memory, caches and lists as the kernel's start left them.
    text = run_emulated(kernel.folder, job(asked, times=COUNTED, repeats=2), Shape(), counted=True)
    found, _ = answers(text)
    cells = {
        cell.name: {
            "mean": found[cell.name][-1].mean / _units(cell),
            "least": found[cell.name][-1].least / _units(cell),
        }
        for cell in asked
        if cell.name in found
    }
    record = {"key": kernel.key, "asked": [cell.name for cell in wanted], "cells": cells}
    write_whole(kernel.folder / COUNTS, json.dumps(record, indent=1) + "\n")
    return cells


def _kept(kernel: Kernel) -> dict[str, dict[str, float]] | None:
    """What was counted earlier, unless the kernel or the cells are others now."""
    try:
        kept = json.loads((kernel.folder / COUNTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if kept.get("key") == kernel.key and kept.get("asked") == [cell.name for cell in measured_cells()]:
        return dict(kept["cells"])
    return None


def rows(folder: str | Path) -> list[dict[str, Any]]:
    """What fills cost in a kernel, for `cost fit` and `compare --kernel`.

    Args:
        folder: A kernel of `bulkpages kernel build`.

    Returns:
        For each cell: `name`, `filler` ("core" for the loops), `pattern`, `condition`, `unit`, `form` ("v1" or "v2"),
        and `instructions` and `instructions_least` per unit.

    Raises:
        KernelError: The folder holds no kernel, or it cannot be run.
    """
    from bulkpages.kernel.cells import slots

    kernel = open_kernel(folder)
    counts = instructions(kernel)
    return [
        {
            "name": cell.name,
            "filler": cell.bench or cell.caller or "core",
            "pattern": "" if cell.bench else slots(cell),
            "condition": "cold" if cell.conditions.cold else "warm",
            "unit": cell.unit,
            "form": kernel.form,
            "instructions": counts[cell.name]["mean"],
            "instructions_least": counts[cell.name]["least"],
        }
        for cell in measured_cells()
        if cell.name in counts
    ]


def bench(
    kernels: Sequence[Kernel],
    *,
    cells: Sequence[Cell] | None = None,
    rounds: int = ROUNDS,
    count: bool = True,
    seed: int = 1,
    say: Say = _quiet,
) -> Bench:
    """Measures one or two kernels, in turns, each against itself too.

    Args:
        kernels: One or two.
        cells: Which; those of `compare --quick` when None.
        rounds: In each, every kernel is started twice, in changing order; 0 for no cycles.
        count: Count instructions too, with qemu.
        seed: Of the bootstrap.
        say: Told what is being done, and the share that is done.

    Raises:
        KernelError: A kernel does not finish, or leaves a slot empty.
    """
    if not 1 <= len(kernels) <= 2:
        raise KernelError(f"one or two kernels, not {len(kernels)}")
    if rounds == 1:
        raise KernelError("rounds are 0 (no cycles) or at least 2, not 1")
    if count and any(_kept(kernel) is None for kernel in kernels):
        # Said before the rounds, not after them.
        need_tools("run")
    cells = list(measured_cells(quick=True) if cells is None else cells)
    costs, reasons = _native(kernels, cells, rounds, say)
    counts = []
    for kernel in kernels:
        say(f"counting instructions of {kernel.name}", 0.0)
        counts.append(instructions(kernel) if count else {})
    alpha = alpha_for(len(cells) if len(kernels) == 2 else 1)
    made, twins = [], []
    for number, cell in enumerate(cells):
        arms = [costs[k].get(cell.name) for k in range(len(kernels))]
        for k, arm in enumerate(arms):
            if arm is not None:
                result = compare(arm[:, :, 0], arm[:, :, 1], alpha=0.01, effect=EFFECT, seed=seed + number)
                twins.append((f"{cell.name} in {kernels[k].name}", result, result.claims_difference))
        comparison = None
        if len(arms) == 2 and arms[0] is not None and arms[1] is not None:
            a, b = (arm for arm in arms if arm is not None)
            comparison = compare(a, b, alpha=alpha, effect=EFFECT, seed=seed + number)
        made.append(
            Row(
                cell.name,
                cell.unit,
                tuple(None if arm is None else float(np.median(arm)) for arm in arms),
                tuple(counted.get(cell.name, {}).get("mean") for counted in counts),
                comparison,
                tuple(reasons[k].get(cell.name, "") for k in range(len(kernels))),
            )
        )
    return Bench(tuple(kernels), made, null_runs(twins, alpha=alpha), rounds)


def _native(
    kernels: Sequence[Kernel], cells: Sequence[Cell], rounds: int, say: Say
) -> tuple[list[dict[str, Costs]], list[dict[str, str]]]:
    """Costs per unit by kernel and cell, axes (round, repeat, twin); and what could not be had."""
    costs: list[dict[str, Costs]] = [{} for _ in kernels]
    reasons = [{cell.name: why for cell in cells if (why := absent_because(kernel, cell))} for kernel in kernels]
    arms = [(k, twin) for twin in range(2) for k in range(len(kernels))]
    done = 0
    for turn in range(rounds):
        order = arms[turn % len(arms) :] + arms[: turn % len(arms)]
        for k, twin in order if turn % 2 else reversed(order):
            kernel = kernels[k]
            say(f"round {turn + 1} of {rounds}: {kernel.name}", done / (rounds * len(arms)))
            asked = [cell for cell in cells if cell.name not in reasons[k]]
            found, none = answers(run_native(kernel.folder, job(asked, repeats=REPEATS)))
            reasons[k] |= none
            for cell in asked:
                if cell.name in none:
                    continue
                one = found[cell.name][0]
                if not cell.bench and one.filled != cell.slots:
                    raise KernelError(
                        f"{cell.name} in {kernel.name}: {one.filled} of {cell.slots} slots are full after the fill"
                    )
                table = costs[k].setdefault(cell.name, np.zeros((rounds, REPEATS, 2)))
                table[turn, :, twin] = [each.median / _units(cell) for each in found[cell.name]]
            done += 1
    return costs, reasons
