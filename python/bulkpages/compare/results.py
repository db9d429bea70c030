"""The result of a run as plain data; what every output is made from, and what results.json holds.

Schema `bulkpages.compare/1`:
    schema, seed, quick, started, seconds: of the run.
    provenance: program, machine and circumstances.
    method: processes, blocks, trial_seconds, alpha, effect.
    snapshot: the kernel state that was loaded.
    null: comparisons, alarms, rate, silent, detectable of the A/A runs, and their rows.
    rows: one per cell: name, unit, nr_pages, hole_period, bench, v1 and v2 (clock counts and ns per unit), ratio,
        interval, effect_ns, verdict (None while A/A was not silent), counts per unit of both forms, kernel (cycles and
        instructions of both forms, ratio), agrees (whether our sign and the kernel's are the same), reproduce.
    skipped: cells that the machine could not run, with the reason.
    samples: cost in clock counts per unit, [process][form][twin][block] by cell.
"""

from __future__ import annotations

from typing import Any

from bulkpages.compare.cells import FORMS
from bulkpages.compare.kernel import kernel_row
from bulkpages.compare.runner import Plan, Run
from bulkpages.compare.stats import Comparison, alpha_for, compare, null_runs

__all__ = ["SCHEMA", "analyse", "headline"]

SCHEMA = "bulkpages.compare/1"


def _comparison(result: Comparison) -> dict[str, Any]:
    return {"ratio": result.ratio, "interval": [result.low, result.high], "verdict": result.verdict}


def analyse(plan: Plan, run: Run, provenance: dict[str, Any], *, effect: float) -> dict[str, Any]:
    """Statistics of a run; everything but the time it took."""
    ns = provenance["ns_per_count"]
    alpha = alpha_for(len(run.cost))
    null = null_runs(run.cost, FORMS, alpha=alpha, effect=effect, seed=plan.seed)
    rows = []
    for i, cell in enumerate(cell for cell in plan.cells if cell.name in run.cost):
        arms = run.cost[cell.name]
        # Both twins of a form are samples of it.
        a, b = (arms[:, form].reshape(arms.shape[0], -1) for form in (0, 1))
        result = compare(a, b, alpha=alpha, effect=effect, seed=plan.seed + 1000 + i)
        kernel: dict[str, Any] = {form: kernel_row(cell, form) for form in FORMS}
        ratio = None
        if kernel["v1"] and kernel["v2"]:
            ratio = kernel["v2"]["cycles"] / kernel["v1"]["cycles"]
        kernel["ratio"] = ratio
        decided = result.verdict in ("faster", "slower")
        rows.append(
            {
                "name": cell.name,
                "unit": cell.unit,
                "nr_pages": cell.nr_pages,
                "hole_period": cell.hole_period,
                "bench": cell.bench,
                "v1": {"counts": result.median_a, "ns": result.median_a * ns},
                "v2": {"counts": result.median_b, "ns": result.median_b * ns},
                "effect_ns": (result.median_b - result.median_a) * ns,
                **_comparison(result),
                "verdict": result.verdict if null.silent else None,
                "counts": run.counts[cell.name],
                "kernel": kernel,
                "agrees": (ratio < 1) == (result.ratio < 1) if ratio is not None and decided else None,
                "reproduce": cell.reproduce,
            }
        )
    return {
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
            "rows": [{"name": name, **_comparison(result)} for name, result in null.rows],
        },
        "rows": rows,
        "skipped": run.skipped,
        "samples": {name: cost.tolist() for name, cost in run.cost.items()},
    }


def headline(results: dict[str, Any]) -> list[str]:
    """The answer in two or three sentences, verdict first."""
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
    lines.append(
        f"A/A: {len(null['alarms'])} false alarms in {null['comparisons']} comparisons of a form with itself; "
        f"a difference of {null['detectable']:.1%} can be told from none."
    )
    return lines
