"""The cells of the tables, as text."""

from __future__ import annotations

from typing import Any

from bulkpages.suite.output.words import cycles_here

__all__ = ["cycles", "difference", "instructions", "interval", "own", "own_verdict", "slots", "work"]

NOTHING = "-"


def number(value: float) -> str:
    """A count as short as it can be told."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def slots(row: dict[str, Any]) -> str:
    """Holes of slots."""
    return f"{row['holes']} of {row['nr_pages']}" if row["nr_pages"] else NOTHING


def work(row: dict[str, Any], which: str) -> str:
    """Slots read, stored and cleared per unit."""
    return number(row["slot_work"][which])


def instructions(row: dict[str, Any], which: str) -> str:
    """Kernel instructions per unit; `~` marks a prediction."""
    found = row["instructions"]
    if not found:
        return NOTHING
    mark = "~" if found[which]["source"] == "predicted" else ""
    value = found[which]["estimate"]
    return mark + (f"{value:,.0f}" if value >= 1000 else f"{value:.1f}".removesuffix(".0"))


def difference(row: dict[str, Any]) -> str:
    """Of the instructions, in %; what is predicted or undecided has its interval."""
    found = row["instructions"]
    if not found:
        return NOTHING
    text = f"{found['percent']['estimate']:+.1f}%"
    return text if found["source"] == "measured" and row["verdict"] != "undecided" else f"{text} {interval(row)}"


def interval(row: dict[str, Any]) -> str:
    """The interval of the difference, in %."""
    found = row["instructions"]
    return f"[{found['percent']['low']:+.1f}, {found['percent']['high']:+.1f}]" if found else NOTHING


def cycles(row: dict[str, Any], cpu: str) -> str:
    """The kernel's cycles on this processor: mainline, patched, difference."""
    found = cycles_here(row, cpu)
    if not found:
        return NOTHING
    return f"{number(found['base'])}/{number(found['form'])} {found['percent']:+.0f}%"


def own(row: dict[str, Any], which: str, kernel: int) -> str:
    """A figure of a kernel given with --kernel: cycles, instructions, or what the answer says of these (model)."""
    value = row[which][kernel]
    return NOTHING if value is None else number(value)


def own_verdict(row: dict[str, Any]) -> str:
    """The second kernel given with --kernel against the first, in cycles, or why there is none."""
    found = row["comparison"]
    if not found:
        return next((why for why in row["absent"] if why), NOTHING)
    low, high = ((found[end] - 1) * 100 for end in ("low", "high"))
    return f"{found['verdict']} [{low:+.1f}, {high:+.1f}]"
