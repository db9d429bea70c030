"""The result as text: a terminal's screen, and a mail of at most 75 columns."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.console import Console
from rich.table import Table

from bulkpages.compare.results import headline

__all__ = ["print_screen", "reply"]

COLUMNS = 75


def percent(ratio: float) -> str:
    """A ratio as a difference."""
    return f"{(ratio - 1) * 100:+.1f}%"


def _kernel(row: dict[str, Any], form: str, what: str) -> str:
    value = row["kernel"][form] and row["kernel"][form][what]
    return "-" if value is None else f"{value:.1f}"


def print_screen(results: dict[str, Any], console: Console) -> None:
    """The verdict, then the table."""
    for line in headline(results):
        console.print(line, soft_wrap=True, highlight=False)
    cycles = "cycles" if results["provenance"]["counts_cycles"] else "counts"
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("workload", no_wrap=True)
    for name in (
        "ns\nv1/v2",
        f"{cycles}\nv1/v2",
        "v2-v1\n[interval]",
        "verdict\n",
        "tests\nv1/v2",
        "writes\nv1/v2",
        "refills\nv1/v2",
        "kernel:\ncycles",
        "\ninstr.",
        "\nv2-v1",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in results["rows"]:
        counts = row["counts"]
        ratio = row["kernel"]["ratio"]
        table.add_row(
            row["name"],
            f"{row['v1']['ns']:.2f}/{row['v2']['ns']:.2f}",
            f"{row['v1']['counts']:.1f}/{row['v2']['counts']:.1f}",
            f"{percent(row['ratio'])} [{(row['interval'][0] - 1) * 100:+.1f},{(row['interval'][1] - 1) * 100:+.1f}]",
            row["verdict"] or "-",
            "/".join(f"{counts[form]['slot_tests']:.3g}" for form in ("v1", "v2")),
            "/".join(f"{counts[form]['slot_writes']:.3g}" for form in ("v1", "v2")),
            "/".join(f"{counts[form]['refills']:.2g}" for form in ("v1", "v2")),
            f"{_kernel(row, 'v1', 'cycles')}/{_kernel(row, 'v2', 'cycles')}",
            f"{_kernel(row, 'v1', 'instructions')}/{_kernel(row, 'v2', 'instructions')}",
            "-" if ratio is None else percent(ratio),
        )
    console.print(table)
    console.print(
        "All figures are per page (page_pool: per operation). ns and cycles are the emulator's on this machine; the\n"
        "columns under kernel are a real Linux 6.12's own, measured elsewhere (cycles: UP build; instructions: SMP).",
        highlight=False,
    )
    for name, reason in results["skipped"].items():
        console.print(f"skipped {name}: {reason}", highlight=False)


def reply(results: dict[str, Any]) -> str:
    """Plain text for a mailing list."""
    out = []
    for line in headline(results):
        out += textwrap.wrap(line, COLUMNS)
    out += ["", f"{'':23}{'emulator, cycles':>17}{'':>20}{'kernel':>14}", ""]
    out[-1] = f"{'per page':23}{'v1':>8}{'v2':>9}  {'v2-v1 (interval)':>21}{'v1':>6}{'v2':>6}"
    for row in results["rows"]:
        low, high = ((end - 1) * 100 for end in row["interval"])
        difference = f"{percent(row['ratio'])} ({low:+.1f},{high:+.1f})"
        out.append(
            f"{row['name']:23}{row['v1']['counts']:8.1f}{row['v2']['counts']:9.1f}  {difference:>21}"
            f"{_kernel(row, 'v1', 'cycles'):>6}{_kernel(row, 'v2', 'cycles'):>6}"
        )
    method, where = results["method"], results["provenance"]
    out.append("")
    text = (
        f"Measured with bulkpages {where['bulkpages']}, an emulator that replays recordings of Linux 6.12.117 page for "
        f"page: {method['processes']} processes, {method['blocks']} random blocks each, ratio of medians, "
        f"hierarchical bootstrap interval at {1 - method['alpha']:.2%}. The kernel's columns are the kernel's own "
        "cycles (UP build, native); emulated time is not kernel time. Per operation for page_pool rows."
    )
    out += textwrap.wrap(text, COLUMNS)
    out += ["", f"  bulkpages compare --quick --seed {results['seed']}", ""]
    return "\n".join(line[:COLUMNS].rstrip() for line in out)
