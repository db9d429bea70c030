"""The terminal's screen: the answer, the table of kernel instructions, and then the emulator's time."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bulkpages.suite.output import columns
from bulkpages.suite.output.words import (
    GROUPS,
    WHICH,
    cycles_here,
    group_of,
    in_order,
    kernel_sentences,
    own_kernel_lines,
    timing_lines,
)
from bulkpages.suite.trunk.results import main_rows, timed_rows
from bulkpages.suite.trunk.workloads import quick_cells

__all__ = ["print_answer", "print_own_kernels", "print_screen", "print_timing"]

SCREEN_LINES = 64
MIN_ROWS = 8
WIDEST = 118
Show = Callable[[dict[str, Any]], str]
Column = tuple[int, str, Show]


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, min(width, WIDEST))]


def _put(console: Console, lines: Sequence[str]) -> None:
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)


def _columns(cpu: str, cycles: bool) -> list[Column]:
    """(importance, heading, content) in table order; columns that do not fit are left out, 3 before 2."""
    found: list[Column] = [
        (2, "holes\nof slots", columns.slots),
        (3, "slot work\nmainline", lambda row: columns.work(row, "base")),
        (3, "\npatched", lambda row: columns.work(row, "form")),
        (1, "instructions\nmainline", lambda row: columns.instructions(row, "base")),
        (1, "\npatched", lambda row: columns.instructions(row, "form")),
        (1, "\ndifference", columns.difference),
        (1, "\nverdict", lambda row: row["verdict"] or columns.NOTHING),
    ]
    if cycles:
        found.append((2, "kernel cycles\nthis processor", lambda row: columns.cycles(row, cpu)))
    return found


def _table(
    rows: Sequence[dict[str, Any]], shown: Sequence[Column], groups: bool = True, others: Sequence[dict[str, Any]] = ()
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("\nworkload", no_wrap=True)
    for _, heading, _show in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    group = -1
    for row in rows:
        if groups and group_of(row) != group:
            group = group_of(row)
            table.add_row(f"[italic]{GROUPS[group]}:[/]")
        table.add_row(row["name"], *(show(row) for _, _, show in shown))
    if others:
        table.add_row("[italic]holes tracked:[/]")
    for row in others:
        table.add_row(row["cell"], *(show(row) for _, _, show in shown))
    return table


def _fit(console: Console, shown: list[Column], table: Callable[[Sequence[Column]], Table]) -> Table:
    """The table with as many columns as fit the terminal: the least important go first, from the right."""
    for importance in (3, 2):
        for column in [column for column in shown if column[0] == importance][::-1]:
            if console.measure(table(shown), options=console.options.update(width=500)).maximum > console.width:
                shown.remove(column)
    return table(shown)


def _usual(rows: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """As many rows as there is room for; rows of a quick run have priority, other states come last."""
    quick = {cell.name for cell in quick_cells()}
    order = sorted(
        range(len(rows)), key=lambda i: (rows[i]["conditions"] != "as recorded", rows[i]["cell"] not in quick, i)
    )
    return [rows[i] for i in sorted(order[: max(room, MIN_ROWS)])]


def _notes(results: dict[str, Any], shown: Sequence[dict[str, Any]], left_out: int, cycles: bool) -> list[str]:
    notes = [
        "Costs are per page (null-*, holes-*), per operation (page_pool*) or per fill (callers). Slot work: slots "
        "read, stored and cleared. Holes tracked: sunrpc as of Linux 7.1, on mainline's call. Instructions are those "
        f"of Linux {results['kernel']} (SMP)"
        + (
            ", measured; ~ marks a prediction from counts, with its interval."
            if any(row["instructions"] and row["instructions"]["source"] == "predicted" for row in shown)
            else ", measured."
        )
        + f" Same: within {results['effect']:.2%}.".replace(".00%", "%")
    ]
    elsewhere = sorted({found["processor"] for row in shown for found in row["kernel_cycles"]})
    if elsewhere and not cycles:
        notes.append(f"Kernel cycles were measured on other processors ({', '.join(elsewhere)}): see the report.")
    if left_out:
        notes.append(f"{left_out} more rows in the report.")
    return notes + [f"skipped {name}: {reason}" for name, reason in results["skipped"].items()]


def print_answer(results: dict[str, Any], console: Console) -> None:
    """The part that is the same on every machine: the answer, then the table, on about one screen."""
    width, cpu = console.width, results["provenance"]["cpu"]
    others = [row for row in results["rows"] if row["form"] == "tracked" and row["conditions"] == "as recorded"]
    rows = in_order(main_rows(results))
    cycles = any(cycles_here(row, cpu) for row in rows)
    above = [*_wrapped([WHICH], width), "", *_wrapped(kernel_sentences(results), width), ""]
    below = len(_wrapped(_notes(results, rows, 1, cycles), width)) + (len(others) + 1 if others else 0)
    # Two lines of headings, one for each group, and a last one that names the files.
    room = SCREEN_LINES - 3 - len({group_of(row) for row in rows}) - len(above) - below
    shown = _usual(rows, room)
    _put(console, above)
    if shown:
        table = _fit(
            console, _columns(cpu, cycles), lambda shown_columns: _table(shown, shown_columns, others=in_order(others))
        )
        console.print(table, soft_wrap=True, highlight=False)
    _put(console, _wrapped(_notes(results, shown, len(rows) - len(shown), cycles), width))


def print_own_kernels(results: dict[str, Any], console: Console) -> None:
    """The kernels given with --kernel, in a section of its own."""
    own = results.get("own_kernels")
    if not own:
        return
    _put(console, ["", *_wrapped(own_kernel_lines(own, results["provenance"]["cpu"]), console.width), ""])
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("\nworkload", no_wrap=True)
    pair = len(own["kernels"]) == 2
    for kernel in own["kernels"]:
        title = f"{kernel['name']}\n"
        for which in ("cycles", "instructions", "model"):
            if which != "cycles" or own["rounds"]:
                table.add_column(title + which, justify="right")
                title = "\n"
    if own["rounds"]:
        table.add_column("\nsecond against first, cycles" if pair else "", justify="right" if pair else "left")
    for row in own["rows"]:
        figures = [
            columns.own(row, which, i)
            for i in range(len(own["kernels"]))
            for which in ("cycles", "instructions", "model")
            if which != "cycles" or own["rounds"]
        ]
        last = columns.own_verdict(row) if pair or any(row["absent"]) else ""
        table.add_row(row["cell"], *figures, *([last] if own["rounds"] else []))
    console.print(table, soft_wrap=True, highlight=False)


def print_timing(results: dict[str, Any], console: Console) -> None:
    """The emulator's time, in a section of its own."""
    if not results["timing"]:
        return
    timed = timed_rows(results)
    unit = "cycles" if results["provenance"]["counts_cycles"] else "counts"
    rows = [row for row in in_order(main_rows(results)) if row["name"] in timed]
    rows = _usual(rows, SCREEN_LINES - 30)

    def cost(which: str) -> Show:
        return lambda row: f"{timed[row['name']]['cost'][which]['counts']:.4g}"

    def change(row: dict[str, Any]) -> str:
        low, high = ((end - 1) * 100 for end in timed[row["name"]]["interval"])
        return f"{timed[row['name']]['effect']['percent']:+.1f}% [{low:+.1f}, {high:+.1f}]"

    shown: list[Column] = [
        (3, f"{unit}\nmainline", cost("base")),
        (3, "\npatched", cost("form")),
        (1, "\ndifference [interval]", change),
        (1, "by\ntime", lambda row: timed[row["name"]]["verdict"] or columns.NOTHING),
        (1, "by kernel\ninstructions", lambda row: row["verdict"] or columns.NOTHING),
    ]
    title = "The emulator's own time on this machine (not kernel time; `--no-timing` skips it)"
    _put(console, ["", *_wrapped([title], console.width)])
    if rows:
        console.print(
            _fit(console, shown, lambda some: _table(rows, some, groups=False)), soft_wrap=True, highlight=False
        )
    _put(console, _wrapped(timing_lines(results), console.width))


def print_screen(results: dict[str, Any], console: Console) -> None:
    """All of it."""
    print_answer(results, console)
    print_own_kernels(results, console)
    print_timing(results, console)
