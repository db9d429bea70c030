"""`bulkpages compare`."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bulkpages import BulkpagesError
from bulkpages.compare.cells import full_cells, quick_cells
from bulkpages.compare.report import write
from bulkpages.compare.results import analyse
from bulkpages.compare.runner import Plan, run
from bulkpages.compare.text import print_screen
from bulkpages.provenance import provenance

SHIPPED_STATE = "uma-256m.json.gz"
MAX_SEED = 2**32 - 1


@click.command()
@click.option("--quick", is_flag=True, help="A first answer, in under a minute.")
@click.option("--snapshot", type=click.Path(), help="Kernel state to load: a recording or a snapshot.")
@click.option("--output", type=click.Path(), help="Folder for report.html, results.json and reply.txt.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="Of the order of trials; chosen when left out.")
@click.option(
    "--effect",
    type=click.FloatRange(0.0001, 0.5),
    default=0.01,
    show_default=True,
    help="Smallest effect of interest: 0.01 is 1 %.",
)
@click.option("--cell", "only", multiple=True, help="Only this workload (may be given several times).")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def compare(
    quick: bool,
    snapshot: str | None,
    output: str | None,
    seed: int | None,
    effect: float,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare v1 and v2 of alloc_pages_bulk(): the cross-version suite.

    Runs both versions on the state of a real kernel, interleaved, over fresh processes, with each form against itself
    beside it, and says what differs. Writes report.html, results.json and reply.txt into --output.
    """
    started = datetime.now(UTC)
    clock = time.perf_counter()
    cells = quick_cells() if quick else full_cells()
    if only:
        known = {cell.name: cell for cell in full_cells() + quick_cells()}
        if unknown := [name for name in only if name not in known]:
            raise click.UsageError(f"no workload {unknown[0]!r}; there are {', '.join(known)}")
        cells = [known[name] for name in only]
    if seed is None:
        seed = secrets.randbelow(MAX_SEED + 1)
    folder = Path(output) if output else Path("results") / started.strftime("%Y%m%d-%H%M%S")
    try:
        # Before anything is measured: a run should not end at a folder that cannot be made.
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise click.UsageError(f"output {folder}: {error.strerror or error}") from error
    with contextlib.ExitStack() as stack:
        path = (
            Path(snapshot)
            if snapshot
            else stack.enter_context(as_file(files("bulkpages").joinpath("data", SHIPPED_STATE)))
        )
        plan = Plan(
            cells,
            path,
            processes=24 if quick else 48,
            blocks=20 if quick else 80,
            trial_seconds=0.0015 if quick else 0.003,
            seed=seed,
            seconds=35 if quick else 780,
        )
        where = provenance()
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} processes"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        try:
            with bar:
                task = bar.add_task("measuring", total=plan.processes)
                measured = run(plan, lambda done, _total: bar.update(task, completed=done))
        except BulkpagesError as error:
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt:
            click.echo("interrupted before three processes had finished: nothing was written", err=True)
            sys.exit(130)
    results = analyse(plan, measured, where, effect=effect)
    results["snapshot"] = Path(snapshot).name if snapshot else SHIPPED_STATE
    results["quick"] = quick
    results["started"] = started.isoformat(timespec="seconds")
    results["command"] = f"bulkpages compare{' --quick' if quick else ''} --seed {seed}"
    results["seconds"] = round(time.perf_counter() - clock, 2)
    try:
        paths = write(results, folder)
    except OSError as error:
        raise click.ClickException(f"output {folder}: {error.strerror or error}") from error
    if as_json:
        click.echo(json.dumps(results, indent=1))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    print_screen(results, console)
    console.print(
        f"{time.perf_counter() - clock:.0f} s, seed {seed}. Written: {', '.join(map(str, paths))}", soft_wrap=True
    )
