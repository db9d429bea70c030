"""The result as text: a terminal's screen, and a mail of at most 75 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from bulkpages.compare.results import differing_counts, headline

__all__ = ["print_screen", "reply"]

COLUMNS = 75
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
    return lambda row: _pair(row["counts"]["v1"][name], row["counts"]["v2"][name], ".3g")


def _kernel(what: str) -> Show:
    def show(row: dict[str, Any]) -> str:
        v1, v2 = (row["kernel"][form] and row["kernel"][form][what] for form in ("v1", "v2"))
        return _pair(v1, v2, ".1f")

    return show


def _columns(unit: str) -> list[tuple[int, str, Show]]:
    """(importance, heading, content) in the order of the table; what does not fit is left out, 3 before 2."""
    return [
        (1, f"emulator\n{unit} v1/v2", lambda row: _pair(row["v1"]["counts"], row["v2"]["counts"], ".1f")),
        (3, "\nns v1/v2", lambda row: _pair(row["v1"]["ns"], row["v2"]["ns"], ".2f")),
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


def print_screen(results: dict[str, Any], console: Console) -> None:
    """The verdict, then the table in as many columns as the terminal is wide enough for."""
    width = console.width
    for line in headline(results):
        console.print("\n".join(textwrap.wrap(line, min(width, 110))), soft_wrap=True, highlight=False, markup=False)
    columns = _columns("cycles" if results["provenance"]["counts_cycles"] else "counts")
    for importance in (3, 2):
        # Nothing is cut: the least important columns go, the last first.
        for column in [column for column in columns if column[0] == importance][::-1]:
            wanted = console.measure(_table(results["rows"], columns), options=console.options.update(width=500))
            if wanted.maximum > width:
                columns.remove(column)
    console.print(_table(results["rows"], columns), soft_wrap=True, highlight=False)
    differ = [name.replace("_", " ") for name in differing_counts(results)]
    notes = [
        "Per page; page_pool per operation. Emulator columns: this machine's time for the emulator, never kernel time. "
        "Kernel columns: a real Linux 6.12's own figures (cycles: UP build; instructions: SMP), measured elsewhere.",
        "List takes, refills, zone-lock holds, longest hold, trylocks, bulk calls gone single, single-page calls: "
        + (f"the versions differ in {', '.join(differ)}." if differ else "equal in both versions in every workload."),
    ]
    notes += [f"skipped {name}: {reason}" for name, reason in results["skipped"].items()]
    for note in notes:
        console.print("\n".join(textwrap.wrap(note, min(width, 110))), soft_wrap=True, highlight=False, markup=False)


def reply(results: dict[str, Any]) -> str:
    """Plain text for a mailing list."""
    out = []
    for line in headline(results):
        out += textwrap.wrap(line, COLUMNS)
    unit = "cycles" if results["provenance"]["counts_cycles"] else "counts"
    out += ["", f"{'':19}{f'emulator, {unit} per page':>43}{'kernel, its':>13}"]
    out.append(f"{'':19}{'v1':>7}{'v2':>7}{'v2-v1 [interval]':>25}{'':4}{'own: v2-v1':>13}")
    for row in results["rows"]:
        ratio = row["kernel"]["ratio"]
        name = row["name"].removeprefix("page_")[:19]
        difference = f"{percent(row['ratio'])} [{_ends(row)}]"
        kernel = "-" if ratio is None else percent(ratio)
        out.append(f"{name:19}{row['v1']['counts']:7.1f}{row['v2']['counts']:7.1f}{difference:>25}{kernel:>17}")
    method, where = results["method"], results["provenance"]
    out.append("")
    text = (
        f"Measured with bulkpages {where['bulkpages']}, an emulator of Linux 6.12's page allocator: "
        f"{method['processes']} processes, {method['blocks']} random blocks each, ratio of medians, hierarchical "
        f"bootstrap intervals at {1 - method['alpha']:.2%}. Emulated time is not kernel time; the kernel's column is "
        "from its own cycles (UP build, native). Pool rows are per operation."
    )
    out += textwrap.wrap(text, COLUMNS)
    out += ["", f"  {results['command']}", ""]
    return "\n".join(line.rstrip() for line in out)
