"""Sweeps: experiments described in a TOML file, run over all cells and seeds on any executor.

Example:
    >>> from bulkpages import sweep
    >>> result = sweep.run({"title": "holes", "cells": [{"what": "bulk", "api": ["v1", "v2"], "holes": "x..x.x.."}]})
    >>> [(row["api"], row["ret"], row["slot_writes"]) for row in result.rows]
    [('v1', 8, 5), ('v2', 5, 10)]
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkpages.errors import BulkpagesError
from bulkpages.provenance import provenance
from bulkpages.sweep.engine import Progress, count, elapsed, journal_in
from bulkpages.sweep.journal import Done, Journal
from bulkpages.sweep.reading import read_spec, spec_from
from bulkpages.sweep.result import Result, load
from bulkpages.sweep.spec import KEYS, Spec
from bulkpages.sweep.unit import COLUMNS

__all__ = ["COLUMNS", "KEYS", "Result", "Spec", "dask_executor", "load", "read_spec", "resume", "run", "spec_from"]


@contextlib.contextmanager
def _bar(*, shown: bool) -> Iterator[Progress]:
    """A bar on stderr, told of progress; nothing when it is not wanted."""
    if not shown:
        yield lambda what, done, total: None
        return
    from bulkpages.progress import progress_bar

    with progress_bar(always=True) as bar:
        task = bar.add_task("runs", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def run(
    spec: Spec | Mapping[str, Any] | str | Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    output: str | Path | None = None,
    progress: Progress | bool = False,
) -> Result:
    """Runs a sweep. Rows depend only on the sweep, not on the executor, the number of processors or the order.

    Args:
        spec: The path of a TOML file, the contents of such a file, or a `Spec`.
        executor: Any `concurrent.futures.Executor` whose workers can import bulkpages, such as a ProcessPoolExecutor
            or, for a Dask cluster, `client.get_executor()`. By default all processors of this machine. Cycles are
            always measured on this machine.
        workers: Number of processes or, with an executor, of units that it works on at a time.
        output: Folder for results.json. While the sweep runs, it also contains a journal, from which `resume`
            continues.
        progress: True for a progress bar on stderr. Or a function, which is called with "runs", the number done and the
            total; while cycles are measured, with a description, the seconds measured and the seconds to measure.

    Raises:
        InvalidArgument: The sweep is invalid; names the key, the value and the limit. Nothing ran.
        BulkpagesError: The folder cannot be used, or work failed repeatedly. Finished runs are in the journal.
    """
    if isinstance(spec, (str, Path)):
        spec = read_spec(spec)
    elif not isinstance(spec, Spec):
        spec = spec_from(spec)
    info = {"provenance": provenance(), "started": datetime.now(UTC).isoformat(timespec="seconds")}
    journal = None
    if output is not None:
        journal = journal_in(Path(output))
        journal.begin(spec, info)
    return _finish(spec, Done(spec), journal, info, executor, workers, output, progress)


def resume(
    output: str | Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: Progress | bool = False,
) -> Result:
    """Continues an interrupted sweep. Runs in its journal are not repeated.

    Args:
        output: Folder of the sweep.
        executor: As for `run`.
        workers: As for `run`.
        progress: As for `run`.

    Raises:
        BulkpagesError: There is no interrupted sweep, it is damaged, or another version of bulkpages started it; or as
            for `run`.
    """
    journal = Journal(Path(output))
    head, done = journal.resume()
    here = provenance()
    for key in ("bulkpages", "commit"):
        if head["provenance"][key] != here[key]:
            journal.close()
            raise BulkpagesError(
                f"{journal.path} began with {key} {head['provenance'][key]!r}, and here it is {here[key]!r}: rows "
                "would not belong together"
            )
    info = {key: head[key] for key in ("provenance", "started")}
    return _finish(done.spec, done, journal, info, executor, workers, output, progress)


def _finish(
    spec: Spec,
    done: Done,
    journal: Journal | None,
    info: Mapping[str, Any],
    executor: Executor | None,
    workers: int | None,
    output: str | Path | None,
    progress: Progress | bool,
) -> Result:
    if not callable(progress):
        with _bar(shown=progress) as told:
            return _finish(spec, done, journal, info, executor, workers, output, told)
    start = time.perf_counter()
    try:
        if "counts" in spec.measure:
            count(spec, done, journal, executor=executor, workers=workers, progress=progress)
        cycles = None
        if "cycles" in spec.measure:
            from bulkpages.sweep.cycles import measure

            cycles = measure(
                spec,
                info["provenance"],
                Path(output) if output is not None else None,
                lambda seconds, what: progress(what, min(seconds, spec.seconds), spec.seconds),
            )
        result = Result(spec, done.in_order(), cycles, {**info, "seconds": elapsed(start)})
        if len(result.found) != spec.runs:
            raise BulkpagesError(f"{len(result.found)} runs were made of {spec.runs}: this is a bug")
        if output is not None:
            try:
                result.write(output)
            except OSError as error:
                raise BulkpagesError(f"output {output}: {error.strerror or error}") from error
            assert journal is not None
            journal.remove()
        return result
    finally:
        if journal is not None:
            journal.close()


@contextlib.contextmanager
def dask_executor(address: str, *, seconds: float = 10.0) -> Iterator[tuple[Executor, int]]:
    """The workers of a Dask cluster as an executor, and their number of threads.

    Args:
        address: Address of its scheduler, such as `tcp://host:8786`.
        seconds: How long to wait for the scheduler and a first worker, in seconds.

    Raises:
        BulkpagesError: The extra `dask` is not installed, or there is no scheduler or no worker.
    """
    try:
        # Untyped, and not there without the extra.
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise BulkpagesError("a Dask cluster needs dask.distributed: pip install 'bulkpages[dask]'") from error
    try:
        client = distributed.Client(address, timeout=seconds, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise BulkpagesError(f"no Dask scheduler at {address!r} within {seconds:g} s: {error}") from error
    try:
        try:
            client.wait_for_workers(1, timeout=seconds)
        except TimeoutError as error:
            raise BulkpagesError(f"the Dask scheduler at {address} has no worker after {seconds:g} s") from error
        threads = sum(client.nthreads().values())
        # Equal calls are no reason to run one of them.
        with client.get_executor(pure=False) as executor:
            yield executor, max(1, threads)
    finally:
        client.close()
