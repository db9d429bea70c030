"""`bulkpages bench`."""

from __future__ import annotations

import statistics
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bulkpages import _core
from bulkpages.cli.output import progress_bar, put_json
from bulkpages.machine import Machine
from bulkpages.provenance import provenance
from bulkpages.suite.trunk.kernel import EPYC, XEON, loop_cycles, loops_of


@click.group()
def bench() -> None:
    r"""Time the emulator itself, next to the real kernel's figures.

    \b
    bulkpages bench core             every row of the kernel's timings, as a table
    bulkpages bench core --json      the same as an object like timings.json
    """


def _stat(values: list[float]) -> dict[str, Any]:
    return {"runs": [round(v, 3) for v in values], "median": round(statistics.median(values), 3)}


@bench.command()
@click.option("--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of every row.")
@click.option(
    "--locks",
    type=click.Choice(["none", "atomic"]),
    default="none",
    show_default=True,
    help="Locks of the machine: none, like the timed kernel, or real atomics.",
)
@click.option("--json", "as_json", is_flag=True, help="Print an object like the kernel's timings.json.")
def core(runs: int, locks: str, as_json: bool) -> None:
    r"""Every row of the kernel's timings.json, measured on the emulator.

    Prints what a page or an operation costs here, in clock counts, and what the kernel's own functions
    needed, if they were measured on a processor of the same name. Do not compare the two: the work around the calls
    differs. For mainline against patched, see `bulkpages compare`.

    \b
    bulkpages bench core
    bulkpages bench core --runs 20 --json > emulator.json
    """
    machine = Machine("512MiB", cpus=1, threads=locks == "atomic")
    ns = _core.ns_per_count()
    rows = _core.core_rows()
    samples: list[list[tuple[int, int, int]]] = [[] for _ in rows]
    with progress_bar() as progress:
        task = progress.add_task("measuring", total=runs * len(rows))
        for _ in range(runs):
            for i, (api, nr_pages, period, loop, iterations) in enumerate(rows):
                if loop is None:
                    samples[i].append(_core.trial_bulk(machine, api, nr_pages, period, iterations))
                else:
                    samples[i].append(_core.trial_page_pool(machine, api, loop, iterations))
                progress.advance(task)
    out: dict[str, Any] = {
        "meta": {
            "what": "the emulator, not the kernel",
            "cycles": "TSC cycles" if _core.COUNTS_CYCLES else "nanoseconds: this machine has no cycle counter",
            "ns_per_cycle": ns,
            "locks": locks,
            "version": _core.__version__,
        },
        "bulk": [],
        "page_pool": [],
    }
    for (api, nr_pages, period, loop, _), runs_of_row in zip(rows, samples, strict=True):
        alloc = [counts / pages for pages, counts, _ in runs_of_row]
        total = [counts / pages for pages, _, counts in runs_of_row]
        if loop is None:
            out["bulk"].append(
                {
                    "api": api,
                    "nr_pages": nr_pages,
                    "hole_period": period,
                    "alloc_cycles_per_page": _stat(alloc),
                    "alloc_and_free_cycles_per_page": _stat(total),
                    "alloc_ns_per_page": _stat([v * ns for v in alloc]),
                    "alloc_and_free_ns_per_page": _stat([v * ns for v in total]),
                }
            )
        else:
            out["page_pool"].append(
                {
                    "api": api,
                    "bench": loop,
                    "cycles_per_op": _stat(total),
                    "ns_per_op": _stat([v * ns for v in total]),
                }
            )
    if as_json:
        put_json(out)
        return
    table = Table(box=None, pad_edge=False)
    measured = loops_of(provenance()["cpu"])

    def kernel(api: str, nr_pages: int = 0, hole_period: int = 0, bench: str | None = None) -> list[str]:
        if measured is None:
            return []
        cycles = loop_cycles(api, nr_pages, hole_period, bench=bench, data=measured)
        return ["-" if cycles is None else f"{cycles:.2f}"]

    # Another processor's cycles are no answer to these.
    columns = ("api", "workload", "cycles", "with frees", *(["kernel's cycles"] if measured else []))
    for name in columns:
        table.add_column(name, justify="left" if name in ("api", "workload") else "right", no_wrap=True)
    for row in out["bulk"]:
        holes = f", every {row['hole_period']} a hole" if row["hole_period"] else ""
        table.add_row(
            row["api"],
            f"{row['nr_pages']} slots{holes}",
            f"{row['alloc_cycles_per_page']['median']:.2f}",
            f"{row['alloc_and_free_cycles_per_page']['median']:.2f}",
            *kernel(row["api"], row["nr_pages"], row["hole_period"]),
        )
    for row in out["page_pool"]:
        cycles = f"{row['cycles_per_op']['median']:.2f}"
        table.add_row(row["api"], row["bench"], cycles, cycles, *kernel(row["api"], bench=row["bench"]))
    console = Console()
    console.print(table)
    if measured is None:
        console.print(
            f"The kernel's own cycles are known on {XEON} and {EPYC}, not on this processor.", highlight=False
        )
