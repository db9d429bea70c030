"""Costs for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from bulkpages.cost.answers import Instructions
from bulkpages.cost.steps import KINDS
from bulkpages.cost.table import CostTable

__all__ = ["columns", "fit_text", "shape", "table_text"]

# Wider than this a pattern is told by its numbers.
WIDE = 24


def shape(pattern: str) -> str:
    """A pattern in few characters: itself, or its runs, or how many holes of how many slots."""
    if len(pattern) <= WIDE:
        return pattern
    runs = [(slot, len(list(run))) for slot, run in groupby(pattern)]
    short = " ".join(f"{n}{slot}" for slot, n in runs)
    return short if len(short) <= WIDE else f"{pattern.count('.')} holes of {len(pattern)}"


def columns(head: list[str], body: Iterable[list[str]], left: int, *, right: int = 0) -> str:
    """Lines of a table; the first `left` and the last `right` columns flush left."""
    table = [head, *body]
    width = [max(len(row[i]) for row in table) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left or i >= len(head) - right else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, width, strict=True))
        ).rstrip()
        for row in table
    )


def _number(cost: Instructions) -> list[str]:
    mark = "!" if cost.extrapolated else ""
    return [f"{cost.estimate:,.0f}{mark}", f"{cost.low:,.0f} to {cost.high:,.0f}", cost.source]


def table_text(table: CostTable) -> str:
    """The rows, and under them the pairs."""
    body = (
        [row["caller"], row["form"], row.get("condition", "warm"), shape(row["pattern"]), *_number(cost)]
        for row, cost in zip(table.given, table.costs, strict=True)
    )
    lines = [
        f"Instructions of one fill in Linux {table.kernel}, the mean of many",
        "",
        columns(["caller", "form", "condition", "array", "instructions", "interval", ""], body, 4),
    ]
    if table.pairs:
        pairs = (
            [
                *(pair.caller, pair.condition, shape(pair.pattern), f"{pair.form} against {pair.base}"),
                f"{pair.difference.percent[0]:+.1f} %",
                "{:+.1f} to {:+.1f}".format(*pair.difference.percent[1:]),
                pair.difference.verdict(),
            ]
            for pair in table.pairs
        )
        lines += ["", columns(["caller", "condition", "array", "forms", "difference", "interval", ""], pairs, 4)]
    if any(cost.extrapolated for cost in table.costs):
        lines += ["", "! larger than any array that was measured, or a form that was not: extrapolated"]
    return "\n".join(lines)


def fit_text(stored: Mapping[str, Any]) -> str:
    """The steps with their costs, and how far the model is off."""
    steps = (
        [name, f"{cost:.2f}", f"{error:.2f}", KINDS[name].unit, KINDS[name].meaning]
        for name, (cost, error) in stored["steps"].items()
    )
    lines = [
        columns(
            ["step", "instructions", "+-", "per", "what"], ([a, b, c, d, e] for a, b, c, d, e in steps), 1, right=2
        ),
        "",
    ]
    for name, errors in stored["errors"].items():
        body = (
            [group, str(e["rows"]), f"{e['median']:.2f}", f"{e['p95']:.2f}", f"{e['largest']:.2f}"]
            for group, e in errors.items()
        )
        lines += [columns([f"errors in %, {name}", "rows", "median", "95 of 100", "largest"], body, 1), ""]
    return "\n".join(lines).rstrip()
