"""`bulkpages compare`."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from bulkpages import BulkpagesError
from bulkpages.cli import INTERRUPTED
from bulkpages.cli.output import progress_bar
from bulkpages.compare.cells import Cell, full_cells, quick_cells, select
from bulkpages.compare.report import write
from bulkpages.compare.results import analyse, load, restore
from bulkpages.compare.runner import BLOCKS, TRIAL_SECONDS, Plan, Run, run
from bulkpages.compare.text import print_screen
from bulkpages.provenance import provenance
from bulkpages.states import SHIPPED_STATE, shipped_state

MAX_SEED = 2**32 - 1
QUICK_SECONDS, FULL_SECONDS = 30.0, 660.0


class Share(click.ParamType[float]):
    """A share: `1%`, or `0.01`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Between 0.01 % and 50 %."""
        try:
            text = str(value).strip()
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{value!r} is neither a percentage like '1%' nor a number like 0.01", param, ctx)
        if not 0.0001 <= share <= 0.5:
            self.fail(f"{value} is outside 0.01% to 50%", param, ctx)
        return share


class Duration(click.ParamType[float]):
    """A time: `45s`, `10m`, `1h`, or seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Above 0, at most a day."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(value))
        if match is None:
            self.fail(f"{value!r} is not a time like '45s', '10m' or '1h'", param, ctx)
        seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
        if not 0 < seconds <= 86400:
            self.fail(f"{value} is outside 0 to 24h", param, ctx)
        return seconds


def _all_cells() -> dict[str, Cell]:
    """Every workload there is, by name; the full one where quick has fewer forms of it."""
    return {cell.name: cell for cell in quick_cells() + full_cells()}


def _choose(quick: bool, patterns: tuple[str, ...]) -> list[Cell]:
    cells = quick_cells() if quick else full_cells()
    if not patterns:
        return cells
    chosen, unknown = select(patterns, list(_all_cells().values()))
    if unknown:
        raise click.UsageError(f"no workload {unknown[0]!r}; --list shows them")
    return chosen


def _writable(folder: Path) -> None:
    """Before anything is measured: a run should not end at a folder that cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise click.UsageError(f"output {folder}: {error.strerror or error}") from error


def _resumed(folder: Path, where: dict[str, Any]) -> dict[str, Any]:
    try:
        found = load(folder / "results.json")
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if found["complete"]:
        raise click.UsageError(f"{folder / 'results.json'} is complete: there is nothing to go on with")
    for key in ("bulkpages", "commit", "rustc", "cpu"):
        if found["provenance"][key] != where[key]:
            raise click.UsageError(
                f"{folder / 'results.json'} was measured with {key} {found['provenance'][key]!r}, and here it is "
                f"{where[key]!r}: times would not belong together"
            )
    return found


@contextlib.contextmanager
def _snapshot(path: str | None) -> Iterator[Path]:
    if path and path != SHIPPED_STATE:
        yield Path(path)
    else:
        with shipped_state() as shipped:
            yield shipped


def _measure(plan: Plan, earlier: Run | None) -> Run:
    bar = progress_bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeElapsedColumn(),
    )
    with bar:
        task = bar.add_task("measuring", total=plan.seconds)
        return run(
            plan,
            earlier,
            lambda seconds, what: bar.update(task, completed=min(seconds, plan.seconds), description=what),
            lambda line: bar.console.print(line, highlight=False, soft_wrap=True),
        )


@click.command()
@click.option("--quick", is_flag=True, help="A first answer, in under a minute.")
@click.option("--snapshot", type=click.Path(), help="Kernel state to load: a recording or a snapshot.")
@click.option("--output", type=click.Path(), help="Folder for report.html, results.json and reply.txt.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="Of the order of trials; chosen when left out.")
@click.option("--effect", type=Share(), default="1%", show_default=True, help="Smallest effect of interest.")
@click.option("--budget", type=Duration(), help="Time to measure, as 45s or 10m; 30s with --quick, else 11m.")
@click.option("--processes", type=click.IntRange(1, 10_000), help="Processes of each workload, in place of a budget.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only workloads of these names, as null-* (repeatable).")
@click.option("--cell", "also", multiple=True, hidden=True)
@click.option("--list", "listing", is_flag=True, help="List the workloads and end.")
@click.option("--resume", type=click.Path(), help="Go on with the interrupted run in this folder.")
@click.option("--instructions", is_flag=True, help="Count instructions with valgrind too (takes minutes).")
@click.option("--baseline", type=click.Path(), help="An earlier results.json of bulkpages: has anything got slower?")
@click.option("--merge", is_flag=True, help="Merge the results.json files that follow into one forest plot.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
@click.argument("bundles", nargs=-1, type=click.Path())
def compare(
    quick: bool,
    snapshot: str | None,
    output: str | None,
    seed: int | None,
    effect: float,
    budget: float | None,
    processes: int | None,
    only: tuple[str, ...],
    also: tuple[str, ...],
    listing: bool,
    resume: str | None,
    instructions: bool,
    baseline: str | None,
    merge: bool,
    as_json: bool,
    bundles: tuple[str, ...],
) -> None:
    r"""Compare v1 and v2 of alloc_pages_bulk(): the cross-version suite.

    Runs every form of the API and of its callers on the state of a real kernel, interleaved, over fresh processes, with
    each form against itself beside it, and says what differs. Writes report.html, results.json and reply.txt into
    --output (results/TIME if left out), and prints table and verdicts to stdout. An interrupted run goes on with
    --resume.

    \b
    bulkpages compare --quick
    bulkpages compare --budget 10m --effect 0.5% --output results/v2
    bulkpages compare --quick --only 'svc-*' --json
    """
    if listing:
        _list(quick, only + also, as_json)
        return
    started = datetime.now(UTC)
    if merge:
        _merge(bundles, Path(output) if output else Path("results") / started.strftime("%Y%m%d-%H%M%S"), as_json)
        return
    if bundles:
        raise click.UsageError("files are for --merge; name an output folder with --output")
    clock = time.perf_counter()
    where = provenance()
    # Read before anything is measured, like every other input.
    earlier_bulkpages = _load(Path(baseline)) if baseline else None
    before = _resumed(Path(resume), where) if resume else None
    if before is not None:
        quick, seed, effect = before["quick"], before["seed"], before["method"]["effect"]
        snapshot = before["snapshot_path"]
        folder = Path(resume or ".")
        known = _all_cells()
        cells = [replace(known[name], forms=tuple(forms)) for name, forms in before["state"]["cells"]]
        budget, processes = before["method"]["budget_seconds"], before["method"]["processes_asked"]
    else:
        cells = _choose(quick, only + also)
        folder = Path(output) if output else Path("results") / started.strftime("%Y%m%d-%H%M%S")
    if seed is None:
        seed = secrets.randbelow(MAX_SEED + 1)
    _writable(folder)
    with _snapshot(snapshot) as path:
        plan = Plan(
            cells,
            path,
            blocks=BLOCKS,
            trial_seconds=TRIAL_SECONDS,
            seed=seed,
            seconds=budget or (QUICK_SECONDS if quick else FULL_SECONDS),
            looks=2 if quick else 4,
            effect=effect,
            processes=processes,
            strict=budget is not None and before is None,
        )
        try:
            measured = _measure(plan, restore(before) if before else None)
        except BulkpagesError as error:
            raise click.UsageError(str(error)) from error
        results = analyse(plan, measured, where)
        results["snapshot"] = Path(snapshot).name if snapshot else SHIPPED_STATE
        results["snapshot_path"] = snapshot
        results["quick"] = quick
        results["started"] = before["started"] if before else started.isoformat(timespec="seconds")
        words = ["bulkpages compare", "--quick" if quick else "", *(f"--only '{name}'" for name in only + also)]
        words += [f"--effect {effect:.4g}" if effect != 0.01 else "", f"--budget {budget:.0f}s" if budget else ""]
        words += [f"--processes {processes}" if processes else ""]
        words += [f"--snapshot {snapshot}" if snapshot else "", f"--seed {seed}"]
        results["command"] = before["command"] if before else " ".join(word for word in words if word)
        if not measured.interrupted:
            _add(results, plan, measured, instructions)
    if earlier_bulkpages is not None:
        from bulkpages.compare.regress import regressions

        results["baseline"] = regressions(earlier_bulkpages, results)
    results["seconds"] = round(time.perf_counter() - clock, 2)
    try:
        paths = write(results, folder)
    except OSError as error:
        raise click.ClickException(f"output {folder}: {error.strerror or error}") from error
    if as_json:
        click.echo(json.dumps(results, indent=1))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=200)
        print_screen(results, console)
        console.print(
            f"{time.perf_counter() - clock:.0f} s, seed {seed}. Written: {', '.join(map(str, paths))}", soft_wrap=True
        )
    if measured.interrupted:
        click.echo(f"interrupted; go on with: bulkpages compare --resume {folder}", err=True)
        sys.exit(INTERRUPTED)
    if results.get("baseline", {}).get("slower"):
        sys.exit(1)


def _load(path: Path) -> dict[str, Any]:
    try:
        return load(path / "results.json" if path.is_dir() else path)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error


def _add(results: dict[str, Any], plan: Plan, measured: Run, instructions: bool) -> None:
    """What is measured once at the end: growth, windows, contention, the kernel's published figures, the claims."""
    from bulkpages.compare.claims import judge
    from bulkpages.compare.contention import contention
    from bulkpages.compare.growth import growth
    from bulkpages.compare.published import published
    from bulkpages.compare.windows import windows

    results["growth"] = growth()
    try:
        results["windows"] = windows(str(plan.snapshot))
    except BulkpagesError as error:
        results["skipped"]["windows"] = str(error)
    try:
        results["contention"] = contention(plan.seed, min(1, plan.seconds / QUICK_SECONDS))
    except BulkpagesError as error:
        results["skipped"]["contention"] = str(error)
    results["published"] = published(results)
    results["claims"] = judge(results)
    if instructions:
        from bulkpages.compare.instructions import count_instructions

        found = count_instructions([cell for cell in plan.cells if cell.name in measured.cost])
        if isinstance(found, str):
            results["skipped"]["instructions"] = found
        else:
            results["instructions"] = found


def _list(quick: bool, patterns: tuple[str, ...], as_json: bool) -> None:
    cells = _choose(quick, patterns)
    if as_json:
        found = [
            {"name": c.name, "forms": c.forms, "slots": c.nr_pages, "holes": c.holes, "conditions": str(c.conditions)}
            for c in cells
        ]
        click.echo(json.dumps(found, indent=1))
        return
    for cell in cells:
        size = f"{cell.holes} of {cell.nr_pages} slots NULL" if cell.nr_pages else "page_pool loop"
        click.echo(f"{cell.name:32} {' '.join(cell.forms):28} {size:26} {cell.conditions}")


def _merge(bundles: tuple[str, ...], folder: Path, as_json: bool) -> None:
    from bulkpages.compare.merge import merge, write_merged

    if len(bundles) < 2:
        raise click.UsageError("--merge needs at least two results.json files or folders")
    loaded = [_load(Path(name)) for name in bundles]
    _writable(folder)
    merged = merge(loaded)
    path = write_merged(merged, folder)
    if as_json:
        click.echo(json.dumps(merged, indent=1))
        return
    for row in merged["rows"]:
        low, high = ((end - 1) * 100 for end in row["interval"])
        click.echo(
            f"{row['name']:32} {(row['ratio'] - 1) * 100:+7.2f}% [{low:+.2f},{high:+.2f}]  "
            f"{row['bundles']} bundles, heterogeneity {row['i_squared']:.0%}"
        )
    click.echo(f"Written: {path}", err=True)
