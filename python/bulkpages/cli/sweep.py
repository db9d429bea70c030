"""`bulkpages sweep`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from bulkpages import sweep as sweeps
from bulkpages.cli.output import progress_bar, put_json
from bulkpages.errors import BulkpagesError
from bulkpages.plain import table


def _keys(as_json: bool) -> None:
    keys = [
        {
            "key": name,
            "in": {"machine": "all, [machine]"}.get(key.of, key.of),
            "type": {str: "text", int: "integer", float: "number", bool: "true/false"}[key.kind],
            "default": key.default,
            "values": key.limit,
            "meaning": key.help,
        }
        for name, key in sweeps.KEYS.items()
    ]
    if as_json:
        put_json(keys)
        return
    click.echo('Keys of a [[cells]] table, beside what = "bulk", "caller" or "own". A list of values is an axis.\n')
    click.echo(table(list(keys[0]), [[str(value) for value in key.values()] for key in keys]))


@contextlib.contextmanager
def _executor(dask: str | None) -> Iterator[tuple[Executor | None, int | None]]:
    if dask is None:
        yield None, None
        return
    with sweeps.dask_executor(dask) as found:
        yield found


def _exports(result: sweeps.Result, csv: str | None, parquet: str | None) -> None:
    if csv:
        result.to_csv(csv)
    if parquet:
        result.to_parquet(parquet)


def _print(result: sweeps.Result, as_json: bool) -> None:
    if as_json:
        put_json(result.to_json())
    else:
        click.echo(result.text())


@click.command()
@click.argument("spec", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--output", type=click.Path(file_okay=False), help="Folder for results.json; default results/sweep-TIME.")
@click.option("--resume", type=click.Path(file_okay=False), help="Continue the interrupted sweep in this folder.")
@click.option(
    "--show", type=click.Path(exists=True), help="Print the table of this results.json (or folder), and exit."
)
@click.option("--csv", type=click.Path(dir_okay=False), help="Also write every run to this file.")
@click.option("--parquet", type=click.Path(dir_okay=False), help="The same, as Parquet (extra 'parquet').")
@click.option("--workers", type=click.IntRange(1, 10_000), help="Processes; by default one per processor.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, like tcp://host:8786.")
@click.option("--check", is_flag=True, help="Print how many cells and runs the spec has, and exit.")
@click.option("--keys", is_flag=True, help="List the keys of a spec, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def sweep(
    spec: str | None,
    output: str | None,
    resume: str | None,
    show: str | None,
    csv: str | None,
    parquet: str | None,
    workers: int | None,
    dask: str | None,
    check: bool,
    keys: bool,
    as_json: bool,
) -> None:
    r"""Run an experiment of your own: all cells of SPEC with all seeds, on all processors or a cluster.

    SPEC is a TOML file. Keys with a list of values are axes, which are multiplied. docs/sweeps.md explains the format;
    --keys lists the keys. Counts are exact and the same everywhere. Cycles have an interval, and a verdict unless the
    A/A runs raise alarms. The table goes to stdout, every run into results.json in --output. An interrupted sweep
    continues with --resume, without losing or repeating a run.

    \b
    bulkpages sweep examples/sweeps/return-values.toml
    bulkpages sweep SPEC.toml --output out --csv out/runs.csv
    bulkpages sweep --resume out
    bulkpages sweep --show out
    """
    if sum((spec is not None, resume is not None, show is not None, keys)) != 1:
        raise click.UsageError("give one of SPEC, --resume, --show and --keys")
    if resume is not None and output is not None:
        raise click.UsageError("--resume continues in its own folder: leave out --output")
    if keys:
        _keys(as_json)
        return
    if show is not None:
        try:
            result = sweeps.load(show)
        except BulkpagesError as error:
            raise click.UsageError(str(error)) from error
        _exports(result, csv, parquet)
        _print(result, as_json)
        return
    if parquet and find_spec("pyarrow") is None:
        raise click.UsageError("--parquet needs pyarrow: pip install 'bulkpages[parquet]'")
    read = sweeps.read_spec(spec) if spec is not None else None
    if check:
        if read is None:
            raise click.UsageError("--check needs a SPEC")
        found = {"title": read.title, "cells": len(read.cells), "runs": read.runs, "axes": read.axes, "hash": read.hash}
        if as_json:
            put_json(found)
        else:
            click.echo(
                f"{read.title}: {len(read.cells)} cells, {read.runs} runs; axes {', '.join(read.axes) or 'none'}"
            )
        return
    folder = Path(resume or output or f"results/sweep-{datetime.now():%Y%m%d-%H%M%S}")
    bar = progress_bar()
    with bar:
        task = bar.add_task("runs", total=None)

        def tell(what: str, done: float, total: float) -> None:
            bar.update(task, description=what, completed=done, total=total)

        options: dict[str, Any] = {"progress": tell}
        try:
            with _executor(dask) as (executor, threads):
                options |= {"executor": executor, "workers": workers or threads}
                result = sweeps.resume(folder, **options) if read is None else _run(read, folder, options)
        except KeyboardInterrupt:
            bar.stop()
            click.echo(f"continue with: bulkpages sweep --resume {folder}", err=True)
            raise
    _exports(result, csv, parquet)
    _print(result, as_json)
    click.echo(f"Written: {folder / 'results.json'}", err=True)
    if result.errors:
        raise SystemExit(1)


def _run(spec: sweeps.Spec, folder: Path, options: dict[str, Any]) -> sweeps.Result:
    return sweeps.run(spec, output=folder, **options)
