"""What the emulator's own time says, as plain data: the section of a result that differs from machine to machine.

Emulated time is not kernel time. It says what the decisions of a form cost in this program, and whether a difference
can be told from none here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bulkpages.files import read_results
from bulkpages.results import TIMING
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.runner import Plan, Run
from bulkpages.suite.trunk.sequential import Sequential
from bulkpages.suite.trunk.stats import Comparison, median_interval, null_runs, spend

__all__ = ["analyse", "load", "restore", "row_name"]

# The forms that the patch is about; the others came later.
MAIN_FORMS = ("v2", "after")


def row_name(cell: Cell, form: str) -> str:
    """A row is called as its workload, and by its form too where that is none of the patch."""
    return cell.name if form in MAIN_FORMS else f"{cell.name} {form}"


def _comparison(result: Comparison) -> dict[str, Any]:
    return {"ratio": result.ratio, "interval": [result.low, result.high], "verdict": result.verdict}


def _cost(arm: npt.NDArray[np.float64], median: float, ns: float, alpha: float) -> dict[str, Any]:
    low, high = median_interval(arm, alpha=alpha)
    return {"counts": median, "ns": median * ns, "interval_counts": [low, high]}


def _row(cell: Cell, form: str, result: Comparison, look: int, run: Run, ns: float, silent: bool) -> dict[str, Any]:
    arms = np.stack(run.cost[cell.name])
    alpha = run.sequential.alpha
    base = cell.forms[0]
    change = (result.ratio - 1) * result.median_a
    return {
        "name": row_name(cell, form),
        "cell": cell.name,
        "base": base,
        "form": form,
        "unit": cell.unit,
        "caller": cell.caller,
        "nr_pages": cell.slots,
        "holes": cell.holes,
        "conditions": str(cell.conditions),
        "processes": result.processes,
        "look": look,
        "cost": {
            "base": _cost(arms[:, 0], result.median_a, ns, alpha),
            "form": _cost(arms[:, cell.forms.index(form)], result.median_b, ns, alpha),
        },
        "effect": {"counts": change, "ns": change * ns, "percent": (result.ratio - 1) * 100},
        **_comparison(result),
        "verdict": result.verdict if silent else None,
        "counts": {"base": run.counts[cell.name][base], "form": run.counts[cell.name][form]},
    }


def _rows(plan: Plan, run: Run, ns: float, silent: bool, unlooked: bool) -> list[dict[str, Any]]:
    sequential = run.sequential
    rows = []
    for cell in plan.cells:
        if len(run.cost.get(cell.name, [])) < 2:
            continue
        shown = {name: (looked.result, looked.look) for name, looked in sequential.pairs.items()}
        if any(f"{cell.name} {form}" not in shown for form in cell.forms[1:]):
            if not unlooked:
                continue
            # Interrupted before the first look: what there is, without a verdict.
            alpha = spend(sequential.alpha, plan.looks)[-1]
            for name, result in sequential.compare_pairs(cell, run.cost[cell.name], alpha, plan.seed):
                shown.setdefault(name, (result, 0))
        for form in cell.forms[1:]:
            result, look = shown[f"{cell.name} {form}"]
            rows.append(_row(cell, form, result, look, run, ns, silent and look > 0))
    return rows


def _method(plan: Plan, run: Run) -> dict[str, Any]:
    numbers = [len(costs) for costs in run.cost.values()] or [0]
    return {
        "processes": [min(numbers), max(numbers)],
        "blocks": plan.blocks,
        "trial_seconds": plan.trial_seconds,
        "looks": plan.looks,
        "looks_done": run.sequential.looks_done,
        "alpha": run.sequential.alpha,
        "alpha_by_look": spend(run.sequential.alpha, plan.looks) if run.sequential.alpha else [],
        "effect": plan.effect,
        "budget_seconds": plan.seconds,
        "processes_asked": plan.processes,
        "spent_seconds": round(run.spent, 1),
        "forecast": run.forecast,
    }


def analyse(plan: Plan, run: Run, provenance: dict[str, Any], *, unlooked: bool = True) -> dict[str, Any]:
    """Statistics of what was timed.

    Args:
        plan: What was run.
        run: What was measured.
        provenance: Where, as `bulkpages.provenance.provenance` says it.
        unlooked: Whether workloads that no look was taken at have rows too, without a verdict.
    """
    sequential = run.sequential
    null = null_runs(
        [(name, looked.result, looked.alarm) for name, looked in sequential.nulls.items()], alpha=sequential.alpha
    )
    done = sequential.looks_done == plan.looks or not any(
        sequential.open(cell) for cell in plan.cells if cell.name in run.counts
    )
    return {
        "schema": TIMING,
        "complete": done,
        "provenance": provenance,
        "method": _method(plan, run),
        "null": {
            "comparisons": null.comparisons,
            "alarms": null.alarms,
            "rate": null.rate,
            "silent": null.silent,
            "detectable": null.detectable if null.rows else None,
            "detectable_worst": null.detectable_worst if null.rows else None,
            "rows": [{"name": name, **_comparison(result)} for name, result in null.rows],
        },
        "rows": _rows(plan, run, provenance["ns_per_count"], null.silent, unlooked),
        "skipped": run.skipped,
        "state": {
            "cells": [[cell.name, list(cell.forms)] for cell in plan.cells],
            "processes": run.processes,
            "sequential": sequential.to_json(),
            "counts": run.counts,
        },
        # Four digits: a trial's own noise is larger by far.
        "samples": {
            name: [np.char.mod("%.5g", cost).astype(float).tolist() for cost in costs]
            for name, costs in run.cost.items()
        },
    }


def load(path: Path) -> dict[str, Any]:
    """Reads timings that were kept.

    Raises:
        BulkpagesError: They cannot be read, are not JSON, or are of another schema.
    """
    return read_results(path, TIMING)


def restore(timing: dict[str, Any]) -> Run:
    """The run that interrupted timings hold, ready to go on."""
    state = timing["state"]
    return Run(
        cost={name: [np.asarray(cost) for cost in costs] for name, costs in timing["samples"].items()},
        counts=state["counts"],
        skipped=timing["skipped"],
        spent=timing["method"]["spent_seconds"],
        processes=state["processes"],
        forecast=timing["method"]["forecast"],
        sequential=Sequential.from_json(state["sequential"]),
    )
