"""The result of a run as plain data; what every output is made from, and what results.json holds.

Schema `bulkpages.compare/1`:
    schema, seed, quick, started, seconds: of the run.
    provenance: program, machine and circumstances.
    method: processes, blocks, trial_seconds, alpha, effect.
    snapshot: the kernel state that was loaded.
    null: of the A/A runs: comparisons, alarms, rate, silent, detectable (median workload), detectable_worst, rows.
    rows: one per cell: name, unit, nr_pages, hole_period, bench, v1 and v2 (clock counts and ns per unit), ratio,
    null: of the A/A runs: comparisons, alarms, rate, silent, detectable (median workload), detectable_worst; its rows.
        and writes per unit of both forms), counts_agree (whether time and slot work have one sign), kernel (cycles and
        instructions of both forms, ratio, sign: -1 faster, 1 slower, 0 its runs differ), agrees (whether our sign and
        the kernel's are the same), size_agrees (whether its ratio is within 0.05 of ours), reproduce. Where a question
        has no answer (undecided, no row, runs that differ), its value is None.
    break_even: share of slots that are holes at which both versions cost the same, of the emulator and of the kernel.
    skipped: cells that the machine could not run, with the reason.
    samples: cost in clock counts per unit, [process][form][twin][block] by cell.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from bulkpages.compare.cells import FORMS
from bulkpages.compare.kernel import kernel_row, kernel_sign
from bulkpages.compare.runner import Plan, Run
from bulkpages.compare.stats import Comparison, alpha_for, compare, median_interval, null_runs

__all__ = ["SCHEMA", "analyse", "break_even", "differing_counts", "headline", "hole_rows"]

SCHEMA = "bulkpages.compare/1"


SIZE_TOLERANCE = 0.05
CALM = ("list_takes", "refills", "zone_locks", "longest_hold_pages", "trylocks", "bulk_singles", "single_calls")


def break_even(points: list[tuple[float, float]]) -> float | None:
    """Where the ratio passes 1: interpolated between the logarithms of its neighbours.

    Args:
        points: (share of slots that are holes, v2 over v1).
    """
    points = sorted(points)
    for (x0, r0), (x1, r1) in pairwise(points):
        a, b = math.log(r0), math.log(r1)
        if a * b < 0:
            return math.exp(math.log(x0) + (math.log(x1) - math.log(x0)) * a / (a - b))
    return None


def hole_rows(results: dict[str, Any], slots: int = 256) -> list[tuple[float, dict[str, Any]]]:
    """(share of slots that are holes, row) of the arrays of so many slots, fewest holes first."""
    rows = [row for row in results["rows"] if row["nr_pages"] == slots]
    return sorted(((1 / max(1, row["hole_period"]), row) for row in rows), key=lambda pair: pair[0])


def differing_counts(results: dict[str, Any]) -> list[str]:
    """Of the counts besides slot tests and writes, those that differ between the versions anywhere."""
    return [
        name for name in CALM if any(row["counts"]["v1"][name] != row["counts"]["v2"][name] for row in results["rows"])
    ]


def _comparison(result: Comparison) -> dict[str, Any]:
    return {"ratio": result.ratio, "interval": [result.low, result.high], "verdict": result.verdict}


def _cost(arm: npt.NDArray[np.float64], median: float, ns: float, alpha: float) -> dict[str, Any]:
    low, high = median_interval(arm, alpha=alpha)
    return {"counts": median, "ns": median * ns, "interval_counts": [low, high]}


def analyse(plan: Plan, run: Run, provenance: dict[str, Any], *, effect: float) -> dict[str, Any]:
    """Statistics of a run; everything but the time it took."""
    ns = provenance["ns_per_count"]
    alpha = alpha_for(len(run.cost))
    null = null_runs(run.cost, FORMS, alpha=alpha, effect=effect, seed=plan.seed)
    rows = []
    for i, cell in enumerate(cell for cell in plan.cells if cell.name in run.cost):
        arms = run.cost[cell.name]
        # Both twins of a form are samples of it.
        a, b = (arms[:, form].swapaxes(1, 2) for form in (0, 1))
        result = compare(a, b, alpha=alpha, effect=effect, seed=plan.seed + 1000 + i)
        kernel: dict[str, Any] = {form: kernel_row(cell, form) for form in FORMS}
        ratio = None
        if kernel["v1"] and kernel["v2"]:
            ratio = kernel["v2"]["cycles"] / kernel["v1"]["cycles"]
        kernel["ratio"] = ratio
        kernel["sign"] = kernel_sign(cell)
        decided = result.verdict in ("faster", "slower")
        counts = run.counts[cell.name]
        work = {form: counts[form]["slot_tests"] + counts[form]["slot_writes"] for form in FORMS}
        less = work["v2"] < work["v1"]
        rows.append(
            {
                "name": cell.name,
                "unit": cell.unit,
                "nr_pages": cell.nr_pages,
                "hole_period": cell.hole_period,
                "bench": cell.bench,
                "v1": _cost(a, result.median_a, ns, alpha),
                "v2": _cost(b, result.median_b, ns, alpha),
                "effect_ns": (result.ratio - 1) * result.median_a * ns,
                **_comparison(result),
                "verdict": result.verdict if null.silent else None,
                "counts": counts,
                "slot_work": work,
                "counts_agree": less == (result.ratio < 1) if decided and work["v1"] != work["v2"] else None,
                "kernel": kernel,
                "agrees": (kernel["sign"] < 0) == (result.ratio < 1) if kernel["sign"] and decided else None,
                "size_agrees": abs(ratio - result.ratio) <= SIZE_TOLERANCE if ratio is not None else None,
                "reproduce": cell.reproduce,
            }
        )
    results = {
        "schema": SCHEMA,
        "seed": plan.seed,
        "provenance": provenance,
        "method": {
            "processes": next(iter(run.cost.values())).shape[0],
            "blocks": plan.blocks,
            "trial_seconds": plan.trial_seconds,
            "alpha": alpha,
            "effect": effect,
        },
        "null": {
            "comparisons": null.comparisons,
            "alarms": null.alarms,
            "rate": null.rate,
            "silent": null.silent,
            "detectable": null.detectable,
            "detectable_worst": null.detectable_worst,
            "rows": [{"name": name, **_comparison(result)} for name, result in null.rows],
        },
        "rows": rows,
        "skipped": run.skipped,
        "samples": {name: cost.tolist() for name, cost in run.cost.items()},
    }
    holes = hole_rows(results)
    results["break_even"] = {
        "slots": 256,
        "emulator": break_even([(share, row["ratio"]) for share, row in holes]),
        "kernel": break_even([(share, row["kernel"]["ratio"]) for share, row in holes if row["kernel"]["ratio"]]),
    }
    return results


def headline(results: dict[str, Any]) -> list[str]:
    """The answer in a few sentences, verdict first."""
    rows, null, method = results["rows"], results["null"], results["method"]
    if not null["silent"]:
        return [
            f"No verdict: {len(null['alarms'])} of {null['comparisons']} comparisons of a form with itself claimed a "
            "difference. This machine is too noisy at present."
        ]
    words = []
    for verdict in ("faster", "slower", "same", "undecided"):
        names = [row["name"] for row in rows if row["verdict"] == verdict]
        if names:
            word = f"the same within {method['effect']:.0%}" if verdict == "same" else verdict
            words.append(f"{word} in {len(names)}")
    lines = [f"v2 against v1, emulated, {len(rows)} workloads: " + ", ".join(words) + "."]
    for row in rows:
        if row["name"] == "page_pool03_slow":
            low, high = ((end - 1) * row["v1"]["ns"] for end in row["interval"])
            lines.append(
                f"page_pool03_slow: {row['effect_ns']:+.2f} ns an operation ({low:+.2f} to {high:+.2f}), "
                f"{row['ratio'] - 1:+.1%}."
            )
    asked = [row for row in rows if row["agrees"] is not None]
    if asked:
        agree = [row for row in asked if row["agrees"]]
        line = (
            f"The real kernel's own cycles have the same sign in {len(agree)} of {len(asked)} workloads decided by both"
        )
        if differ := [row["name"] for row in asked if not row["agrees"]]:
            line += f" (not in {', '.join(differ)})"
        close = sum(bool(row["size_agrees"]) for row in asked)
        lines.append(f"{line}; the size of the effect is within {SIZE_TOLERANCE * 100:.0f} points of it in {close}.")
    signs = [row for row in rows if row["counts_agree"] is not None]
    if odd := [row["name"] for row in signs if not row["counts_agree"]]:
        lines.append(f"Time and slot work disagree in sign in {', '.join(odd)}.")
    even = results["break_even"]
    if even["emulator"]:
        line = f"{even['slots']} slots: both cost the same when one slot in {1 / even['emulator']:.1f} is a hole"
        lines.append(line + (f" (kernel: one in {1 / even['kernel']:.1f})." if even["kernel"] else "."))
    lines.append(
        f"A/A: {len(null['alarms'])} false alarms in {null['comparisons']} comparisons of a form with itself "
        f"(nominal rate {method['alpha']:.2%}); detectable: {null['detectable']:.1%}, in the noisiest workload "
        f"{null['detectable_worst']:.1%}."
    )
    return lines
