"""Has bulkpages itself got slower? Two runs of the suite, form by form."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from bulkpages.suite.trunk.stats import alpha_for

__all__ = ["regressions"]


def regressions(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Every form of every workload that both timings have, this run's against the earlier one's.

    The runs were not interleaved, so a difference may be the machine's: what moved all forms alike says nothing about
    the code, and its size (`machine`, the median ratio) is taken out. Welch's t on the logarithms of the process
    medians; the error rate is divided by the number of comparisons.

    Returns:
        machine (ratio), rows (name, ratio, interval, verdict), slower (names), same_machine, counts_changed (names).
    """
    effect = now["method"]["effect"]
    found: list[tuple[str, Any, Any]] = []
    changed = []
    for row in now["rows"]:
        cell = row["cell"]
        if cell not in before["samples"]:
            continue
        forms_now = [row["base"], *(r["form"] for r in now["rows"] if r["cell"] == cell)]
        forms_before = [row["base"], *(r["form"] for r in before["rows"] if r["cell"] == cell)]
        for i, form in enumerate(forms_now):
            name = f"{cell} {form}"
            if form not in forms_before or any(name == known for known, _, _ in found):
                continue
            old = np.log(np.median(np.asarray(before["samples"][cell])[:, forms_before.index(form)], axis=(1, 2)))
            new = np.log(np.median(np.asarray(now["samples"][cell])[:, i], axis=(1, 2)))
            found.append((name, old, new))
            if before["state"]["counts"][cell][form] != now["state"]["counts"][cell][form]:
                changed.append(name)
    machine = float(np.median([np.median(new) - np.median(old) for _, old, new in found])) if found else 0.0
    alpha = alpha_for(len(found))
    rows = []
    for name, old, new in found:
        interval = stats.ttest_ind(new - machine, old, equal_var=False).confidence_interval(1 - alpha)
        low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
        ratio = float(np.exp(np.mean(new) - np.mean(old) - machine))
        verdict = "undecided"
        if 1 - effect <= low and high <= 1 + effect:
            verdict = "same"
        elif low > 1 + effect:
            verdict = "slower"
        elif high < 1 - effect:
            verdict = "faster"
        rows.append({"name": name, "ratio": ratio, "interval": [low, high], "verdict": verdict})
    return {
        "machine": float(np.exp(machine)),
        "same_machine": before["provenance"]["cpu"] == now["provenance"]["cpu"],
        "rows": rows,
        "slower": [row["name"] for row in rows if row["verdict"] == "slower"],
        "counts_changed": changed,
    }
