"""`bulkpages compare`."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from bulkpages.cli import INTERRUPTED, complete
from bulkpages.cli.output import progress_bar, put_json
from bulkpages.eras.rules import ERAS
from bulkpages.errors import BulkpagesError
from bulkpages.provenance import provenance
from bulkpages.results import load
from bulkpages.suite.run import (
    FULL_SECONDS,
    MAX_SEED,
    QUICK_SECONDS,
    Progress,
    Request,
    choose,
    exact,
    kernel_of,
    state_file,
    timed,
)
from bulkpages.suite.trunk.folder import Folder
from bulkpages.suite.trunk.workloads import all_cells

if TYPE_CHECKING:
    from bulkpages.kernel import Kernel

# Of the terminal where there is none.
WIDTH = 150
# What must be the same for times to belong together.
SAME = ("bulkpages", "commit", "rustc", "cpu")


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


class EraOrFolder(click.Path):
    """A kernel series that is emulated, or the folder of a kernel that was built (`./6.1` for one of such a name)."""

    name = "era|dir"

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A series is taken as it is."""
        if value not in ERAS and not Path(value).exists():
            self.fail(f"{value!r} is not one of {', '.join(ERAS)}, and no folder of `bulkpages kernel build` either")
        return value if value in ERAS else super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The series, and folders."""
        series = [CompletionItem(era) for era in ERAS if era.startswith(incomplete)]
        return series + super().shell_complete(ctx, param, incomplete)


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


@contextmanager
def _bar(what: str, total: float, unit: str) -> Iterator[tuple[Progress, Any]]:
    """A progress bar as a function of how far and what, and its console."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn(unit), TimeElapsedColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task(what, total=total)
        yield (
            lambda done, now: bar.update(task, completed=min(done, total), description=now),
            lambda line: bar.console.print(line, highlight=False, soft_wrap=True),
        )


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


@click.command()
@click.option("--quick", is_flag=True, help="A first answer: fewer workloads, half a minute of timing.")
@click.option(
    "--no-timing", is_flag=True, help="Only counts and kernel instructions, which are the same on every machine."
)
@click.option("--snapshot", type=click.Path(), help="Kernel state to load: a recording or a snapshot.")
@click.option("--output", type=click.Path(), help="Folder for report.html, results.json and reply.txt.")
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), help="Seed of the order of trials; random by default, and printed."
)
@click.option("--effect", type=Share(), default=0.01, show_default="1%", help="Smallest effect of interest.")
@click.option(
    "--budget", type=Duration(), help="How long to measure emulator time: 5m, 45s, ... (30s quick, 11m full)."
)
@click.option("--processes", type=click.IntRange(1, 1000), help="Processes for each workload, instead of a time.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    shell_complete=complete.workloads,
    help="Only this workload; wildcards allowed (repeatable).",
)
@click.option("--cell", "also", multiple=True, metavar="NAME", hidden=True)
@click.option("--list", "listing", is_flag=True, help="List the workloads and exit.")
@click.option("--resume", type=click.Path(), metavar="DIR", help="Continue the interrupted run in this folder.")
@click.option("--instructions", is_flag=True, help="Also count the emulator's own instructions, with valgrind.")
@click.option("--baseline", type=click.Path(), help="An earlier results.json: has bulkpages got slower?")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    type=EraOrFolder(),
    help="6.1, 6.12 or 7.3: the kernel series to emulate (default 6.12). Or a folder of `bulkpages kernel build`: "
    "shown next to the answer; a second one is compared with the first.",
)
@click.option("--merge", is_flag=True, help="Merge the timings of the results.json files that follow.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
@click.argument("bundles", nargs=-1, type=click.Path())
def compare(
    quick: bool,
    no_timing: bool,
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
    kernels: tuple[str, ...],
    merge: bool,
    as_json: bool,
    bundles: tuple[str, ...],
) -> None:
    r"""Compare mainline and patched alloc_pages_bulk() and their callers.

    First, in seconds, the part that is the same on every machine: slot work, kernel instructions (measured, or
    predicted from exact counts) and the verdicts that rest on them. Then the emulator's own time on this machine, with
    each form also timed against itself. Writes report.html, results.json and reply.txt into --output (default
    results/TIME), and prints the answer. Measurements are saved as it runs: --resume continues after an interruption.

    \b
    bulkpages compare --quick --no-timing
    bulkpages compare --budget 10m --effect 0.5% --output results/patched
    bulkpages compare --quick --only 'svc-*' --json
    bulkpages compare --quick --no-timing --kernel 7.3
    bulkpages compare --quick --no-timing --kernel linux-6.12.117
    """
    names = only + also
    if listing:
        _list(Request(choose(quick, names), quick=quick), as_json)
        return
    started = datetime.now(UTC)
    place = Path(output) if output else _new_folder(started)
    if merge:
        _merge(bundles, place, as_json)
        return
    if bundles:
        raise click.UsageError("files are for --merge; name an output folder with --output")
    if no_timing and (given := _timing_options(budget, processes, resume, instructions, baseline)):
        raise click.UsageError(f"--no-timing cannot be combined with {given}")
    # Read before anything is measured, like every other input.
    try:
        against = load(Path(baseline)) if baseline else None
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    if against and not against["timing"]:
        raise click.UsageError(f"{baseline} was run with --no-timing: there are no times to compare with")
    clock = time.perf_counter()
    series = [kernel for kernel in kernels if kernel in ERAS]
    if len(series) > 1:
        raise click.UsageError(f"only one kernel series can be emulated at a time, not {' and '.join(series)}")
    own = _own_kernels(tuple(kernel for kernel in kernels if kernel not in ERAS))
    try:
        with Folder(Path(resume) if resume else place, resume=bool(resume)) as folder:
            if resume:
                assert folder.earlier is not None
                results, request = folder.earlier, _resumed(folder.earlier, folder.path)
            else:
                request = Request(
                    choose(quick, names),
                    chosen=bool(names),
                    quick=quick,
                    snapshot=snapshot,
                    kernel=kernel_of(snapshot, series[0] if series else None),
                    seed=secrets.randbelow(MAX_SEED + 1) if seed is None else seed,
                    effect=effect,
                    seconds=budget,
                    processes=processes,
                    instructions=instructions,
                )
                results = {}
            with state_file(request.snapshot, request.kernel) as state:
                results = results or _answered(request, state, started, names, not no_timing)
                if own:
                    results["own_kernels"] = _measured(own, request, results, not no_timing)
                _run(request, state, results, folder, against, clock, as_json, timing=not no_timing)
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error


def _own_kernels(folders: tuple[str, ...]) -> list[Kernel]:
    """The kernels that are put beside the answer."""
    from bulkpages.kernel import open_kernel

    if len(folders) > 2:
        raise click.UsageError(f"one or two kernels, not {len(folders)}")
    try:
        return [open_kernel(folder) for folder in folders]
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error


def _measured(own: list[Kernel], request: Request, results: dict[str, Any], cycles: bool) -> dict[str, Any]:
    from bulkpages.kernel.beside import ROUNDS, measure_kernels

    with _bar("kernels", 1.0, "{task.percentage:.0f} %") as (progress, _):
        return measure_kernels(
            own, request.cells, results, rounds=ROUNDS if cycles else 0, say=lambda what, share: progress(share, what)
        )


def _new_folder(started: datetime) -> Path:
    """A folder that is not there yet."""
    name = started.strftime("%Y%m%d-%H%M%S")
    places = [Path("results") / (name if not i else f"{name}-{i + 1}") for i in range(100)]
    return next((place for place in places if not place.exists()), places[-1])


def _timing_options(
    budget: float | None, processes: int | None, resume: str | None, instructions: bool, baseline: str | None
) -> str:
    given = {
        "--budget": budget,
        "--processes": processes,
        "--resume": resume,
        "--instructions": instructions,
        "--baseline": baseline,
    }
    return ", ".join(name for name, value in given.items() if value)


def _answered(request: Request, state: Path, started: datetime, names: tuple[str, ...], timing: bool) -> dict[str, Any]:
    """The exact part of a result, and whose it is."""
    with _bar("counting", 1.0, "{task.percentage:.0f} %") as (progress, _):
        found = exact(request, state, progress)
    return found | {
        "seed": request.seed if timing else None,
        "started": started.isoformat(timespec="seconds"),
        "seconds": None,
        "command": request.command(names, timing),
        "provenance": provenance(),
        "snapshot_path": request.snapshot,
        "complete": not timing,
        # What goes on after an interruption needs to know what was asked.
        "asked": {
            "cells": [[cell.name, list(cell.forms)] for cell in request.cells],
            "chosen": request.chosen,
            "budget": request.seconds,
            "processes": request.processes,
            "instructions": request.instructions,
        },
    }


def _resumed(earlier: dict[str, Any], folder: Path) -> Request:
    """What the interrupted run was asked."""
    where = provenance()
    for key in SAME:
        if earlier["provenance"][key] != where[key]:
            raise click.UsageError(
                f"{folder / 'results.json'} was measured with {key} {earlier['provenance'][key]!r}, and here it is "
                f"{where[key]!r}: such times cannot be combined"
            )
    known, asked = all_cells(), earlier["asked"]
    return Request(
        [replace(known[name], forms=tuple(forms)) for name, forms in asked["cells"]],
        chosen=asked["chosen"],
        quick=earlier["quick"],
        snapshot=earlier["snapshot_path"],
        kernel=earlier["kernel"],
        seed=earlier["seed"],
        effect=earlier["effect"],
        seconds=asked["budget"],
        processes=asked["processes"],
        instructions=asked["instructions"],
    )


def _run(
    request: Request,
    state: Path,
    results: dict[str, Any],
    folder: Folder,
    against: dict[str, Any] | None,
    clock: float,
    as_json: bool,
    *,
    timing: bool,
) -> None:
    """Prints and writes the exact answer, then times, then prints and writes the rest."""
    from bulkpages.suite.output.screen import print_answer, print_own_kernels, print_timing
    from bulkpages.suite.output.write import write

    console = _console()
    if not as_json:
        print_answer(results, console)
        print_own_kernels(results, console)
    if not timing:
        results["seconds"] = round(time.perf_counter() - clock, 2)
    # Whether all outputs can be written shows here, before the long part.
    paths = _write(write, results, folder)
    interrupted = False
    if timing:
        total = request.seconds or (QUICK_SECONDS if request.quick else FULL_SECONDS)
        with _bar("measuring emulator time", total, "{task.completed:.0f} of {task.total:.0f} s") as (progress, say):
            section, measured = timed(
                request,
                state,
                results["provenance"],
                earlier=results["timing"],
                progress=progress,
                say=say,
                keep=lambda sofar: _keep(folder, results | {"timing": sofar}, say),
            )
        if against:
            from bulkpages.suite.between.regress import regressions

            section["baseline"] = regressions(against["timing"], section)
        interrupted = measured.interrupted
        results |= {"timing": section, "complete": not interrupted, "seconds": round(time.perf_counter() - clock, 2)}
        if not as_json:
            print_timing(results, console)
    if as_json:
        put_json(results)
    if timing:
        paths = _write(write, results, folder)
    if not as_json:
        seed = f", seed {request.seed}" if timing else ""
        took = time.perf_counter() - clock
        console.print(f"{took:.0f} s{seed}. Written: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)
    if interrupted:
        click.echo(f"interrupted; continue with: bulkpages compare --resume {folder.path}", err=True)
        sys.exit(INTERRUPTED)
    if timing and (results["timing"]["baseline"] or {}).get("slower"):
        sys.exit(1)


def _keep(folder: Folder, results: dict[str, Any], say: Any) -> None:
    """Keeps what was measured; a disk that fills up meanwhile does not end the measurement."""
    try:
        folder.keep(results)
    except BulkpagesError as error:
        say(f"Not saved so far: {error}")


def _write(write: Any, results: dict[str, Any], folder: Folder) -> list[Path]:
    try:
        found: list[Path] = write(results, folder.path)
    except OSError as error:
        raise click.ClickException(f"output {folder.path}: {error.strerror or error}") from error
    return found


def _list(request: Request, as_json: bool) -> None:
    if as_json:
        put_json(
            [
                {"name": c.name, "forms": c.forms, "slots": c.slots, "holes": c.holes, "conditions": str(c.conditions)}
                for c in request.cells
            ]
        )
        return
    for cell in request.cells:
        size = f"{cell.holes} of {cell.slots} slots NULL" if cell.slots else "page_pool loop"
        click.echo(f"{cell.name:32} {' '.join(cell.forms):28} {size:26} {cell.conditions}")


def _merge(bundles: tuple[str, ...], folder: Path, as_json: bool) -> None:
    from bulkpages.suite.between.merge import merge, write_merged

    if len(bundles) < 2:
        raise click.UsageError("--merge needs at least two results.json files or folders")
    try:
        loaded = [load(Path(name)) for name in bundles]
    except BulkpagesError as error:
        raise click.UsageError(str(error)) from error
    merged = merge(loaded)
    if not as_json:
        for row in merged["rows"]:
            low, high = ((end - 1) * 100 for end in row["interval"])
            click.echo(
                f"{row['name']:32} {(row['ratio'] - 1) * 100:+7.2f}% [{low:+.2f},{high:+.2f}]  "
                f"{row['bundles']} bundles, heterogeneity {row['i_squared']:.0%}"
            )
    else:
        click.echo(json.dumps(merged, indent=1))
    click.echo(f"Written: {write_merged(merged, folder)}", err=True)
