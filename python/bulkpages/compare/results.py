"""The result of a run as plain data: what every output is made from, and what results.json holds.

The schema, `bulkpages.compare/2`, is documented in docs/results-schema.md.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bulkpages.compare.cells import Cell
from bulkpages.compare.contention import contention_sentence
from bulkpages.compare.kernel import kernel_row, kernel_sign
from bulkpages.compare.runner import Plan, Run
from bulkpages.compare.stats import Comparison, median_interval, null_runs, spend
from bulkpages.compare.windows import window_sentence
from bulkpages.files import read_results

__all__ = [
    "SCHEMA",
    "analyse",
    "break_even",
    "differing_counts",
    "headline",
    "hole_rows",
    "load",
    "main_rows",
    "restore",
]

SCHEMA = "bulkpages.compare/2"

SIZE_TOLERANCE = 0.05
CALM = (
    "list_takes",
    "refills",
    "zone_locks",
    "longest_hold_pages",
    "trylocks",
    "bulk_singles",
    "single_calls",
    "bulk_calls",
)
# The forms that the mail is about; the others came later.
MAIN_FORMS = ("v2", "after")


def break_even(points: list[tuple[float, float]]) -> float | None:
    """Where the ratio passes 1: interpolated between the logarithms of its neighbours. None unless it does so once.

    Args:
        points: (share of slots that are holes, v2 over v1).
    """
    points = sorted(points)
    found = []
    for (x0, r0), (x1, r1) in pairwise(points):
        a, b = math.log(r0), math.log(r1)
        if a * b < 0:
            found.append(math.exp(math.log(x0) + (math.log(x1) - math.log(x0)) * a / (a - b)))
    return found[0] if len(found) == 1 else None


def main_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the patch itself: v2 against v1, after against before."""
    return [row for row in results["rows"] if row["form"] in MAIN_FORMS]


def hole_rows(results: dict[str, Any], slots: int = 256) -> list[tuple[float, dict[str, Any]]]:
    """(share of slots that are holes, row) of the core call on so many slots, fewest holes first."""
    rows = [row for row in results["rows"] if row["nr_pages"] == slots and row["filler"] is None]
    return sorted(((1 / max(1, row["hole_period"]), row) for row in rows), key=lambda pair: pair[0])


def differing_counts(results: dict[str, Any]) -> list[str]:
    """Of the counts besides slot tests and writes, those that differ between the forms of the patch anywhere."""
    return [
        name
        for name in CALM
        if any(row["counts"]["base"][name] != row["counts"]["form"][name] for row in main_rows(results))
    ]


def _comparison(result: Comparison) -> dict[str, Any]:
    return {"ratio": result.ratio, "interval": [result.low, result.high], "verdict": result.verdict}


def _cost(arm: npt.NDArray[np.float64], median: float, ns: float, alpha: float) -> dict[str, Any]:
    low, high = median_interval(arm, alpha=alpha)
    return {"counts": median, "ns": median * ns, "interval_counts": [low, high]}


def _row(cell: Cell, form: str, result: Comparison, look: int, run: Run, ns: float, silent: bool) -> dict[str, Any]:
    base = cell.forms[0]
    arms = np.stack(run.cost[cell.name])
    alpha = run.sequential.alpha
    core = cell.filler is None
    kernel: dict[str, Any] = {
        "base": kernel_row(cell, "v1") if core else None,
        "form": kernel_row(cell, "v2") if core else None,
    }
    ratio = None
    if kernel["base"] and kernel["form"]:
        ratio = kernel["form"]["cycles"] / kernel["base"]["cycles"]
    kernel["ratio"] = ratio
    kernel["sign"] = kernel_sign(cell) if core else None
    decided = result.verdict in ("faster", "slower")
    counts = run.counts[cell.name]
    work = {
        which: counts[name]["slot_tests"] + counts[name]["slot_writes"]
        for which, name in (("base", base), ("form", form))
    }
    less = work["form"] < work["base"]
    change = (result.ratio - 1) * result.median_a
    return {
        "name": cell.name if form in MAIN_FORMS else f"{cell.name} {form}",
        "cell": cell.name,
        "base": base,
        "form": form,
        "unit": cell.unit,
        "nr_pages": cell.nr_pages,
        "holes": cell.holes,
        "hole_period": cell.hole_period,
        "bench": cell.bench,
        "filler": cell.filler,
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
        "counts": {"base": counts[base], "form": counts[form]},
        "slot_work": work,
        "counts_agree": less == (result.ratio < 1) if decided and work["base"] != work["form"] else None,
        "kernel": kernel,
        "agrees": (kernel["sign"] < 0) == (result.ratio < 1) if kernel["sign"] and decided else None,
        "size_error": result.ratio - ratio if ratio is not None else None,
        "size_agrees": abs(ratio - result.ratio) <= SIZE_TOLERANCE if ratio is not None else None,
        "reproduce": cell.reproduce,
    }


def analyse(plan: Plan, run: Run, provenance: dict[str, Any]) -> dict[str, Any]:
    """Statistics of a run; everything but the time it took."""
    ns = provenance["ns_per_count"]
    sequential = run.sequential
    null = null_runs(
        [(name, looked.result, looked.alarm) for name, looked in sequential.nulls.items()], alpha=sequential.alpha
    )
    rows = []
    for cell in plan.cells:
        if len(run.cost.get(cell.name, [])) < 2:
            continue
        shown = {name: (looked.result, looked.look) for name, looked in sequential.pairs.items()}
        if any(f"{cell.name} {form}" not in shown for form in cell.forms[1:]):
            # Interrupted before the first look: what there is, without a verdict.
            alpha = spend(sequential.alpha, plan.looks)[-1]
            for name, result in sequential.compare_pairs(cell, run.cost[cell.name], alpha, plan.seed):
                shown.setdefault(name, (result, 0))
        for form in cell.forms[1:]:
            result, look = shown[f"{cell.name} {form}"]
            rows.append(_row(cell, form, result, look, run, ns, null.silent and look > 0))
    numbers = [len(costs) for costs in run.cost.values()] or [0]
    done = sequential.looks_done == plan.looks or not any(
        sequential.open(cell) for cell in plan.cells if cell.name in run.counts
    )
    results = {
        "schema": SCHEMA,
        "seed": plan.seed,
        "complete": done,
        "provenance": provenance,
        "method": {
            "processes": [min(numbers), max(numbers)],
            "blocks": plan.blocks,
            "trial_seconds": plan.trial_seconds,
            "looks": plan.looks,
            "looks_done": sequential.looks_done,
            "alpha": sequential.alpha,
            "alpha_by_look": spend(sequential.alpha, plan.looks) if sequential.alpha else [],
            "effect": plan.effect,
            "budget_seconds": plan.seconds,
            "processes_asked": plan.processes,
            "spent_seconds": round(run.spent, 1),
            "foretold": run.foretold,
        },
        "null": {
            "comparisons": null.comparisons,
            "alarms": null.alarms,
            "rate": null.rate,
            "silent": null.silent,
            "detectable": null.detectable if null.rows else None,
            "detectable_worst": null.detectable_worst if null.rows else None,
            "rows": [{"name": name, **_comparison(result)} for name, result in null.rows],
        },
        "rows": rows,
        "skipped": run.skipped,
        "growth": [],
        "windows": [],
        "contention": [],
        "published": [],
        "claims": [],
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
    holes = hole_rows(results)
    results["break_even"] = {
        "slots": 256,
        "emulator": break_even([(share, row["ratio"]) for share, row in holes]),
        "kernel": break_even([(share, row["kernel"]["ratio"]) for share, row in holes if row["kernel"]["ratio"]]),
    }
    return results


def load(path: Path) -> dict[str, Any]:
    """Reads a results.json.

    Raises:
        BulkpagesError: It cannot be read, is not JSON, or is of another schema.
    """
    return read_results(path, SCHEMA)


def restore(results: dict[str, Any]) -> Run:
    """The run that an interrupted results.json holds, ready to go on."""
    from bulkpages.compare.stats import Sequential

    state = results["state"]
    return Run(
        cost={name: [np.asarray(cost) for cost in costs] for name, costs in results["samples"].items()},
        counts=state["counts"],
        skipped=results["skipped"],
        spent=results["method"]["spent_seconds"],
        processes=state["processes"],
        foretold=results["method"]["foretold"],
        sequential=Sequential.from_json(state["sequential"]),
    )


def headline(results: dict[str, Any]) -> list[str]:
    """The answer in a few sentences, verdict first."""
    rows, null, method = main_rows(results), results["null"], results["method"]
    if not results["complete"]:
        return [
            f"No verdict yet: interrupted after {method['looks_done']} of {method['looks']} looks. "
            "Go on with --resume and the folder."
        ]
    if not null["silent"]:
        return [
            f"No verdict: {len(null['alarms'])} of {null['comparisons']} comparisons of a form with itself claimed a "
            "difference. This machine is too noisy at present."
        ]
    lines = []
    if against := results.get("baseline"):
        slower = ", ".join(against["slower"]) or "nothing"
        lines.append(
            f"Against the earlier run of bulkpages: slower by more than {method['effect']:.2%}: {slower} "
            f"(the machine as a whole {against['machine'] - 1:+.1%}, taken out"
            + ("" if against["same_machine"] else "; not the same processor")
            + (f"; counts changed in {', '.join(against['counts_changed'])}" if against["counts_changed"] else "")
            + ")."
        )
    words = []
    for verdict in ("faster", "slower", "same", "undecided"):
        names = [row["name"] for row in rows if row["verdict"] == verdict]
        if names:
            word = f"the same within {method['effect']:.2%}".replace(".00", "") if verdict == "same" else verdict
            words.append(f"{word} in {len(names)}")
    lines.append(
        f"v2 against v1, emulated, {len(rows)} workloads of the API and of its callers: " + ", ".join(words) + "."
    )
    callers = [row for row in rows if row["filler"] not in (None, "core") and row["conditions"] == "as recorded"]
    for verdict in ("slower", "faster"):
        if found := [
            f"{row['name']} {row['effect']['percent']:+.0f} %" for row in callers if row["verdict"] == verdict
        ]:
            lines.append(f"Callers {verdict} after the patch: {', '.join(found)}.")
    for row in rows:
        if row["name"] == "page_pool03_slow":
            low, high = ((end - 1) * row["cost"]["base"]["ns"] for end in row["interval"])
            lines.append(
                f"page_pool03_slow: {row['effect']['ns']:+.2f} ns an operation ({low:+.2f} to {high:+.2f}), "
                f"{row['ratio'] - 1:+.1%}."
            )
    tracked = [row for row in results["rows"] if row["form"] == "tracked" and row["cell"] == "svc-small-rpc"]
    lines += [
        f"sunrpc 7.1, which remembers its holes: {row['effect']['percent']:+.0f} % ({row['verdict']}) against v1 on "
        "the small RPC, with the API as it is."
        for row in tracked
        if row["verdict"] in ("faster", "slower")
    ]
    asked = [row for row in rows if row["agrees"] is not None]
    if asked:
        agree = [row for row in asked if row["agrees"]]
        line = (
            f"The real kernel's own cycles have the same sign in {len(agree)} of {len(asked)} workloads decided by both"
        )
        if differ := [row["name"] for row in asked if not row["agrees"]]:
            line += f" (not in {', '.join(differ)})"
        close = sum(bool(row["size_agrees"]) for row in asked)
        here, there = (
            float(np.median([abs(ratio - 1) for ratio in ratios])) * 100
            for ratios in ([row["ratio"] for row in asked], [row["kernel"]["ratio"] for row in asked])
        )
        lines.append(
            f"{line}; sizes are within {SIZE_TOLERANCE * 100:.0f} points in {close}: the median difference is "
            f"{here:.0f} % here and {there:.0f} % there, where the work around it costs more."
        )
    if odd := [row["name"] for row in rows if row["counts_agree"] is False]:
        lines.append(f"Time and slot work disagree in sign in {', '.join(odd)}.")
    even = results["break_even"]
    if even["emulator"]:
        line = f"{even['slots']} slots: both cost the same when one slot in {1 / even['emulator']:.1f} is a hole"
        lines.append(line + (f" (kernel: one in {1 / even['kernel']:.1f})." if even["kernel"] else "."))
    if quadratic := [row for row in results["growth"] if row["quadratic"]]:
        most = max(quadratic, key=lambda row: float(row["slot_work"][-1]))
        forms = sorted({row["form"] for row in quadratic}, key=["before", "tracked", "after", "v3"].index)
        where = " with page owner" if all(row["page_owner"] for row in quadratic) else ""
        lines.append(
            f"Quadratic in the size of the array{where}: {', '.join(forms)} (up to {most['slot_work'][-1]} slot "
            f"accesses for {most['sizes'][-1]} slots, {most['filler']} {most['form']})."
        )
    if results["windows"]:
        lines.append(window_sentence(results["windows"]))
    if results.get("contention"):
        lines.append(contention_sentence(results["contention"]))
    lines.append(
        f"A/A: {len(null['alarms'])} false alarms in {null['comparisons']} comparisons of a form with itself "
        f"(nominal rate {method['alpha']:.2%}); detectable: {null['detectable']:.1%}, in the noisiest workload "
        f"{null['detectable_worst']:.1%}."
    )
    return lines
