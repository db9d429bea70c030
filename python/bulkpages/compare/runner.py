"""Runs the trials: forms interleaved in random blocks, replicated over fresh processes.

Whole trials run in Rust; a trial lasts about a millisecond. In each block each form of each cell runs twice, so that
every block also holds a comparison of each form with itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bulkpages import BulkpagesError, Machine, _core
from bulkpages.compare.cells import FORMS, Cell

__all__ = ["Plan", "Run", "run"]

# Each form runs twice in a block.
TWINS = 2
# Fewer processes than this say nothing about address layout.
MIN_PROCESSES = 6


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Attributes:
        cells: What is compared.
        snapshot: Path of the kernel state that every process loads.
        processes: Fresh processes; address layout differs between them.
        blocks: Random blocks in each.
        trial_seconds: Aim for the length of one trial.
        seed: Of the order of trials.
        seconds: After this no further process is begun, if a few have finished.
    """

    cells: list[Cell]
    snapshot: Path
    processes: int
    blocks: int
    trial_seconds: float
    seed: int
    seconds: float = 3600.0


@dataclass
class Run:
    """What was measured: `cost[cell name]` has axes (process, form, twin, block), clock counts per page or op."""

    cost: dict[str, npt.NDArray[np.float64]]
    counts: dict[str, dict[str, dict[str, float]]]
    skipped: dict[str, str] = field(default_factory=dict)


def _trial(machine: Machine, cell: Cell, form: str, iterations: int) -> tuple[int, int]:
    """Pages (or operations) and clock counts of one trial: of allocation alone, for a pool of the whole loop."""
    if cell.bench:
        pages, counts, _ = _core.trial_page_pool(machine, form, cell.bench, iterations)
    else:
        pages, counts, _ = _core.trial_bulk(machine, form, cell.nr_pages, cell.hole_period, iterations)
    return pages, counts


def _calibrate(machine: Machine, cell: Cell, seconds: float) -> int:
    """Iterations that take about `seconds`, frees included."""
    ns = _core.ns_per_count()
    iterations = 16
    while True:
        if cell.bench:
            _, _, total = _core.trial_page_pool(machine, "v1", cell.bench, iterations)
        else:
            _, _, total = _core.trial_bulk(machine, "v1", cell.nr_pages, cell.hole_period, iterations)
        took = total * ns * 1e-9
        if took > seconds / 8:
            return max(1, round(iterations * seconds / took))
        iterations *= 4


def _cpus() -> list[int]:
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return list(range(os.cpu_count() or 1))


def _worker_starts() -> None:
    # An interrupt is the parent's business: processes that are nearly done may finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _worker(plan: Plan, process: int) -> dict[str, npt.NDArray[np.float64]]:
    """One process: its own machine, its own order of trials."""
    rng = np.random.Generator(np.random.PCG64([plan.seed, process]))
    machine = Machine.from_snapshot(plan.snapshot)
    iterations = [_calibrate(machine, cell, plan.trial_seconds) for cell in plan.cells]
    cost = {cell.name: np.empty((len(FORMS), TWINS, plan.blocks)) for cell in plan.cells}
    arms = [(form, twin) for form in range(len(FORMS)) for twin in range(TWINS)]
    # One block beforehand warms caches and lists.
    for block in range(-1, plan.blocks):
        for i in rng.permutation(len(plan.cells)):
            cell = plan.cells[i]
            for arm in rng.permutation(len(arms)):
                form, twin = arms[arm]
                pages, counts = _trial(machine, cell, FORMS[form], iterations[i])
                cost[cell.name][form, twin, block] = counts / pages if pages else np.nan
    machine.audit()
    return cost


def _count(plan: Plan) -> tuple[list[Cell], dict[str, dict[str, dict[str, float]]], dict[str, str]]:
    """Counts per page, and the cells that this machine can run."""
    machine = Machine.from_snapshot(plan.snapshot)
    usable, counts, skipped = [], {}, {}
    for cell in plan.cells:
        rows = {}
        try:
            for form in FORMS:
                # The first round brings the lists to where they stay.
                for n in (64, 64):
                    if cell.bench:
                        found = _core.count_page_pool(machine, form, cell.bench, 64 * n)
                    else:
                        found = _core.count_bulk(machine, form, cell.nr_pages, cell.hole_period, n)
                pages = found.pop("pages")
                if not pages:
                    raise BulkpagesError("no page could be allocated")
                rows[form] = {name: n if name == "longest_hold_pages" else n / pages for name, n in found.items()}
        except BulkpagesError as error:
            skipped[cell.name] = str(error)
            continue
        usable.append(cell)
        counts[cell.name] = rows
    return usable, counts, skipped


def run(plan: Plan, progress: Callable[[int, int], None] = lambda done, total: None) -> Run:
    """Runs a plan on all cores, one process each; an interrupt keeps the processes that had finished.

    Raises:
        BulkpagesError: The snapshot cannot be loaded, or no cell can run.
    """
    usable, counts, skipped = _count(plan)
    if not usable:
        raise BulkpagesError(f"no cell can run on this machine: {skipped}")
    plan = replace(plan, cells=usable)
    start = time.monotonic()
    done: dict[int, dict[str, npt.NDArray[np.float64]]] = {}
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(plan.processes, len(_cpus())))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_worker_starts, max_tasks_per_child=1) as pool:
        futures = {pool.submit(_worker, plan, process): process for process in range(plan.processes)}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                progress(len(done), plan.processes)
                if time.monotonic() - start > plan.seconds and len(done) >= MIN_PROCESSES:
                    # A busy machine: what there is decides.
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            if len(done) < 3:
                raise
    order = sorted(done)
    cost = {cell.name: np.stack([done[p][cell.name] for p in order]) for cell in usable}
    return Run(cost, counts, skipped)
