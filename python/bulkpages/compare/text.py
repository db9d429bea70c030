"""The result as text: a terminal's screen, and a mail of at most 75 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from bulkpages.compare.cells import quick_cells
from bulkpages.compare.results import differing_counts, headline, main_rows

__all__ = ["print_screen", "reply"]

COLUMNS = 75
SCREEN_LINES = 40
MIN_ROWS = 5
ORDER = {"slower": 0, "faster": 1, "undecided": 2, "same": 3, None: 4}
Show = Callable[[dict[str, Any]], str]


def percent(ratio: float) -> str:
    """A ratio as a difference."""
    return f"{(ratio - 1) * 100:+.1f}%"


def _ends(row: dict[str, Any]) -> str:
    low, high = ((end - 1) * 100 for end in row["interval"])
    return f"{low:+.1f},{high:+.1f}"


def _pair(first: float | None, second: float | None, form: str) -> str:
    return "/".join("-" if value is None else format(value, form) for value in (first, second))


def _count(name: str) -> Show:
    return lambda row: _pair(row["counts"]["base"][name], row["counts"]["form"][name], ".3g")


def _kernel(what: str) -> Show:
    def show(row: dict[str, Any]) -> str:
        v1, v2 = (row["kernel"][form] and row["kernel"][form][what] for form in ("base", "form"))
        return _pair(v1, v2, ".1f")

    return show


def _columns(unit: str) -> list[tuple[int, str, Show]]:
    """(importance, heading, content) in the order of the table; what does not fit is left out, 3 before 2."""
    return [
        (
            1,
            f"emulator\n{unit} v1/v2",
            lambda row: _pair(row["cost"]["base"]["counts"], row["cost"]["form"]["counts"], ".4g"),
        ),
        (3, "\nns v1/v2", lambda row: _pair(row["cost"]["base"]["ns"], row["cost"]["form"]["ns"], ".4g")),
        (1, "\nv2-v1 [interval]", lambda row: f"{percent(row['ratio'])} [{_ends(row)}]"),
        (1, "\nverdict", lambda row: row["verdict"] or "-"),
        (2, "slot tests\nv1/v2", _count("slot_tests")),
        (2, "writes\nv1/v2", _count("slot_writes")),
        (3, "refills\nv1/v2", _count("refills")),
        (2, "kernel:\ncycles v1/v2", _kernel("cycles")),
        (3, "kernel:\ninstr. v1/v2", _kernel("instructions")),
        (1, "kernel\nv2-v1", lambda row: "-" if row["kernel"]["ratio"] is None else percent(row["kernel"]["ratio"])),
    ]


def _table(rows: list[dict[str, Any]], columns: list[tuple[int, str, Show]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("\nworkload", no_wrap=True)
    for _, heading, _show in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["name"], *(show(row) for _, _, show in columns))
    return table


def _notes(results: dict[str, Any], left_out: int) -> list[str]:
    differ = [name.replace("_", " ") for name in differing_counts(results)]
    notes = []
    if others := [row for row in results["rows"] if row["form"] in ("tracked", "v3")]:
        text = ", ".join(f"{row['name']} {percent(row['ratio'])} {row['verdict'] or '-'}" for row in others[:4])
        more = f"; {len(others) - 4} more in the report" if len(others) > 4 else ""
        notes.append(f"Later forms against v1: {text}{more}.")
    if left_out:
        notes.append(f"{left_out} more workloads in the report.")
    notes += [
        "Per page; page_pool per operation, callers per fill. Emulator columns: this machine's time for the emulator, "
        "never kernel time. Kernel columns: a real Linux 6.12's own figures (cycles: UP build; instructions: SMP).",
        "Besides slot work the versions differ somewhere in " + ", ".join(differ) + "."
        if differ
        else "Besides slot work nothing that is counted differs between the versions.",
    ]
    return notes + [f"skipped {name}: {reason}" for name, reason in results["skipped"].items()]


def _fitting(rows: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """As many rows as there is room for, in the order of the table: callers before the call alone, states last."""
    usual = {cell.name for cell in quick_cells()}

    def importance(i: int) -> tuple[bool, bool, bool, int]:
        row = rows[i]
        alone = row["filler"] is None and row["name"] != "page_pool03_slow"
        return row["conditions"] != "as recorded", alone, row["cell"] not in usual, ORDER[row["verdict"]]

    chosen = sorted(range(len(rows)), key=importance)[: max(room, MIN_ROWS)]
    return [rows[i] for i in sorted(chosen)]


def print_screen(results: dict[str, Any], console: Console) -> None:
    """The verdict, then the table in as many columns as the terminal is wide enough for; all of it on one screen."""
    width = console.width

    def wrapped(lines: list[str]) -> list[str]:
        return [part for line in lines for part in textwrap.wrap(line, min(width, 110))]

    rows = main_rows(results)
    above = wrapped(headline(results))
    # Two lines of headings, and one in the end that says where the files are.
    room = SCREEN_LINES - 3 - len(above) - len(wrapped(_notes(results, 1)))
    shown = _fitting(rows, room)
    console.print("\n".join(above), soft_wrap=True, highlight=False, markup=False)
    columns = _columns("cycles" if results["provenance"]["counts_cycles"] else "counts")
    for importance in (3, 2):
        # Nothing is cut: the least important columns go, the last first.
        for column in [column for column in columns if column[0] == importance][::-1]:
            wanted = console.measure(_table(shown, columns), options=console.options.update(width=500))
            if wanted.maximum > width:
                columns.remove(column)
    if shown:
        console.print(_table(shown, columns), soft_wrap=True, highlight=False)
    notes = wrapped(_notes(results, len(rows) - len(shown)))
    console.print("\n".join(notes), soft_wrap=True, highlight=False, markup=False)


def reply(results: dict[str, Any]) -> str:
    """Plain text for a mailing list."""
    out = []
    for line in headline(results):
        out += textwrap.wrap(line, COLUMNS)
    unit = "cycles" if results["provenance"]["counts_cycles"] else "counts"
    out += ["", f"{'':26}{f'emulator, {unit}':>38}{'kernel':>9}"]
    out.append(f"{'':26}{'v1':>7}{'v2':>7}{'v2-v1 [interval]':>24}{'v2-v1':>9}")
    for row in main_rows(results):
        ratio = row["kernel"]["ratio"]
        name = row["name"].removeprefix("page_")[:25]
        difference = f"{percent(row['ratio'])} [{_ends(row)}]"
        kernel = "-" if ratio is None else percent(ratio)
        base, form = (f"{row['cost'][which]['counts']:7.4g}" for which in ("base", "form"))
        out.append(f"{name:26}{base:>7}{form:>7}{difference:>24}{kernel:>9}")
    method, where = results["method"], results["provenance"]
    out.append("")
    text = (
        f"Measured with bulkpages {where['bulkpages']}, an emulator of Linux 6.12's page allocator: "
        f"{method['processes'][0]} to {method['processes'][1]} processes, {method['blocks']} random blocks each, ratio "
        f"of medians, hierarchical bootstrap intervals at {1 - method['alpha']:.2%} over {method['looks_done']} of "
        f"{method['looks']} looks. Emulated time is not kernel time; the kernel's column is from its own cycles (UP "
        "build, native). Cost is per page, of pool loops per operation, of callers per fill."
    )
    out += textwrap.wrap(text, COLUMNS)
    # A shell takes it as one line.
    command = textwrap.wrap(results["command"], COLUMNS - 4, initial_indent="  ", subsequent_indent="    ")
    out += ["", " \\\n".join(command), ""]
    return "\n".join(line.rstrip() for line in out)
