"""Emulator time of several machines in one picture: a random-effects summary of each workload, and a forest plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from bulkpages.files import write_whole
from bulkpages.results import COMPARE

__all__ = ["merge", "write_merged"]


def _summary(logs: Any, errors: Any) -> tuple[float, float, float]:
    """DerSimonian and Laird: mean, its standard error, share of the spread that is not chance."""
    weights = 1 / errors**2
    mean = np.sum(weights * logs) / np.sum(weights)
    q = float(np.sum(weights * (logs - mean) ** 2))
    free = len(logs) - 1
    between = max(0.0, (q - free) / (np.sum(weights) - np.sum(weights**2) / np.sum(weights)))
    weights = 1 / (errors**2 + between)
    mean = float(np.sum(weights * logs) / np.sum(weights))
    return mean, float(np.sum(weights) ** -0.5), max(0.0, (q - free) / q) if q else 0.0


def _usable(results: dict[str, Any]) -> bool:
    return bool(results["complete"] and results["timing"] and results["timing"]["null"]["silent"])


def merge(bundles: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of emulator time for each workload that at least two results have; each keeps their ratios and intervals.

    Results whose A/A runs were not silent, that were interrupted, or that have no times are left out and named. Kernel
    instructions need no merging: they are the same on every machine.
    """
    names = [f"{b['provenance']['cpu']}, {b['started']}" for b in bundles]
    usable = [(name, b["timing"]) for name, b in zip(names, bundles, strict=True) if _usable(b)]
    rows = []
    for name in dict.fromkeys(row["name"] for _, b in usable for row in b["rows"]):
        studies = []
        for bundle, b in usable:
            for row in b["rows"]:
                if row["name"] == name:
                    # An interval's own level and degrees of freedom are those of its look.
                    alpha = b["method"]["alpha_by_look"][row["look"] - 1]
                    t = float(stats.t.ppf(1 - alpha / 2, row["processes"] - 1))
                    error = float(np.log(row["interval"][1] / row["interval"][0])) / 2 / t
                    studies.append(
                        {"bundle": bundle, "ratio": row["ratio"], "interval": row["interval"], "error": error}
                    )
        if len(studies) < 2:
            continue
        logs = np.log([study["ratio"] for study in studies])
        mean, error, i_squared = _summary(logs, np.maximum([study["error"] for study in studies], 1e-9))
        margin = float(stats.t.ppf(0.975, len(studies) - 1)) * error
        rows.append(
            {
                "name": name,
                "ratio": float(np.exp(mean)),
                "interval": [float(np.exp(mean - margin)), float(np.exp(mean + margin))],
                "i_squared": i_squared,
                "bundles": len(studies),
                "studies": studies,
            }
        )
    left_out = [name for name, b in zip(names, bundles, strict=True) if not _usable(b)]
    return {"schema": COMPARE + "+merged", "bundles": names, "left_out": left_out, "rows": rows}


def write_merged(merged: dict[str, Any], folder: Path) -> Path:
    """Writes merged.json and forest.html; returns the page."""
    import json

    from bulkpages.suite.output.plots import forest_plot

    write_whole(folder / "merged.json", json.dumps(merged, indent=1) + "\n")
    picture = forest_plot(merged)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><title>bulkpages: several machines</title>'
        "<style>:root{color-scheme:light dark}body{font:15px system-ui,sans-serif;max-width:70rem;margin:2rem auto}"
        "svg{width:100%;max-width:40rem;height:auto}</style></head><body><h1>Emulator time on several machines, "
        "patched against mainline</h1>"
        "<p>Points: machines, with their intervals; diamonds: random-effects summary (DerSimonian and Laird), 95 %.</p>"
        f"{picture}</body></html>\n"
    )
    write_whole(folder / "forest.html", page)
    return folder / "forest.html"
