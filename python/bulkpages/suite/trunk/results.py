"""A result as plain data: what every output is made from, and what results.json holds.

The schema, `bulkpages.compare/3`, is documented in docs/results-schema.md. What was timed stands under `timing` alone;
`seed`, `started`, `seconds`, `command` and `provenance` tell of the run; the rest is the same on every machine.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from bulkpages.suite.trunk.timing import MAIN_FORMS

__all__ = ["OF_THE_RUN", "exact_part", "main_rows", "model_errors", "timed_rows"]

#: Keys that differ from run to run.
OF_THE_RUN = (
    *("seed", "started", "seconds", "command", "provenance", "timing", "complete", "snapshot_path", "asked"),
    "own_kernels",
)


def main_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the patch itself, patched against mainline."""
    return [row for row in results["rows"] if row["form"] in MAIN_FORMS]


def timed_rows(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was timed, by the name of the row; empty where nothing was."""
    return {row["name"]: row for row in results["timing"]["rows"]} if results["timing"] else {}


def model_errors(own: dict[str, Any], kernel: int) -> dict[str, Any] | None:
    """How far the answer's instructions are from a kernel's own, in %: median, largest, and the workload of it.

    Args:
        own: The section `own_kernels` of a result.
        kernel: Which of its kernels.
    """
    off = {
        row["cell"]: 100 * (row["model"][kernel] / row["instructions"][kernel] - 1)
        for row in own["rows"]
        if row["model"][kernel] and row["instructions"][kernel]
    }
    if not off:
        return None
    worst = max(off, key=lambda name: abs(off[name]))
    return {
        "rows": len(off),
        "median": median(map(abs, off.values())),
        "largest": abs(off[worst]),
        "cell": worst,
    }


def exact_part(results: dict[str, Any]) -> dict[str, Any]:
    """A result without what differs from machine to machine."""
    return {key: value for key, value in results.items() if key not in OF_THE_RUN}
