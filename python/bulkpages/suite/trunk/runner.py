"""Runs the trials: forms interleaved in random blocks, replicated over fresh processes, in a few looks.

Whole trials run in Rust; a trial lasts about a millisecond. In each block each form of each cell runs twice, so that
every block also holds a comparison of each form with itself. The budget is divided evenly among the looks; after each,
cells in which every comparison is decided drop out, and the others get all of the time that is left.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bulkpages import _core
from bulkpages.errors import BulkpagesError
from bulkpages.machine import Machine
from bulkpages.processes import process_pool, processors
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.sequential import Sequential
from bulkpages.suite.trunk.states import make_machines
from bulkpages.suite.trunk.stats import Costs

__all__ = ["BLOCKS", "MIN_PROCESSES", "TRIAL_SECONDS", "Plan", "Run", "calibrate", "count_cells", "run"]

# Random blocks in each process, and the length that a trial aims for.
BLOCKS, TRIAL_SECONDS = 8, 0.0008
# Each form runs twice in a block.
TWINS = 2
# What was measured is kept about so often, and less often where keeping takes longer than this share of the time.
KEEP_SECONDS, KEEP_SHARE = 1.0, 0.02
# Fewer processes than this say nothing about address layout.
MIN_PROCESSES = 6


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Attributes:
        cells: What is compared.
        snapshot: Path of the kernel state that every process loads.
        blocks: Random blocks in each process.
        trial_seconds: Aim for the length of one trial.
        seed: Seed of the order of trials.
        seconds: Time to measure, of all looks together.
        looks: How often the data are looked at.
        effect: Smallest effect of interest, as a fraction.
        processes: Processes in all for each workload, however long they take; None: as many as the time allows.
        strict: Whether too little time for any answer is an error; else it takes longer.
    """

    cells: list[Cell]
    snapshot: Path
    blocks: int
    trial_seconds: float
    seed: int
    seconds: float
    looks: int
    effect: float
    processes: int | None = None
    strict: bool = True


@dataclass
class Run:
    """What was measured so far.

    Attributes:
        cost: For each cell, an array for each process that ran it, of axes (form, twin, block): clock counts per unit.
        counts: For each cell and form, exact counts per unit.
        skipped: Cells that the machine cannot run, with the reason.
        spent: Seconds measured.
        processes: Processes that have finished.
        forecast: What the first processes say can be told apart by the end; None before.
        interrupted: Whether somebody interrupted it.
        broken: Whether that was the end of a process that measured.
        sequential: What was decided at which look.
    """

    cost: dict[str, list[Costs]] = field(default_factory=dict)
    counts: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    spent: float = 0.0
    processes: int = 0
    forecast: dict[str, float] | None = None
    interrupted: bool = False
    broken: bool = False
    sequential: Sequential = field(default_factory=Sequential)


def calibrate(machine: Machine, cell: Cell, seconds: float, ns: float) -> int:
    """Iterations that take about `seconds`, a clock count being `ns` nanoseconds."""
    iterations = 16
    while True:
        start = time.perf_counter()
        counts = cell.trial(machine, cell.forms[0], iterations)[2]
        # What lies outside the clock, as frees do, must not make a trial long.
        took = max(counts * ns * 1e-9, (time.perf_counter() - start) / 2)
        if took > seconds / 8:
            return max(1, round(iterations * seconds / took))
        iterations *= 4


def _worker(plan: Plan, cells: list[Cell], process: int) -> dict[str, Costs]:
    """One process: its own machines, its own order of trials."""
    rng = np.random.Generator(np.random.PCG64([plan.seed, process]))
    machines = make_machines(plan.snapshot, [cell.conditions for cell in cells])
    ns = _core.ns_per_count()
    iterations = [calibrate(machines[cell.conditions], cell, plan.trial_seconds, ns) for cell in cells]
    cost = {cell.name: np.empty((len(cell.forms), TWINS, plan.blocks)) for cell in cells}
    # One block beforehand warms caches and lists.
    for block in range(-1, plan.blocks):
        for i in rng.permutation(len(cells)):
            cell = cells[i]
            for arm in rng.permutation(len(cell.forms) * TWINS):
                form, twin = divmod(int(arm), TWINS)
                units, counts, _ = cell.trial(machines[cell.conditions], cell.forms[form], iterations[i])
                cost[cell.name][form, twin, block] = counts / units if units else np.nan
    for machine in machines.values():
        machine.audit()
    return cost


def count_cells(snapshot: Path, cells: Sequence[Cell], run: Run) -> list[Cell]:
    """Fills in the counts per unit; returns the cells that this machine can run."""
    usable = []
    machines = make_machines(snapshot, [cell.conditions for cell in cells])
    for cell in cells:
        if cell.name not in run.counts:
            try:
                run.counts[cell.name] = {form: cell.count(machines[cell.conditions], form) for form in cell.forms}
            except BulkpagesError as error:
                run.skipped[cell.name] = str(error)
                continue
        usable.append(cell)
    return usable


@contextlib.contextmanager
def _pool(workers: int) -> Any:
    pool = process_pool(workers, fresh=True)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run(
    plan: Plan,
    earlier: Run | None = None,
    progress: Callable[[float, str], None] = lambda seconds, what: None,
    say: Callable[[str], None] = lambda line: None,
    keep: Callable[[Run], None] = lambda state: None,
) -> Run:
    """Runs a plan on all cores, one process each; an interrupt keeps the processes that had finished.

    Args:
        plan: What to run.
        earlier: An interrupted run of the same plan, which goes on.
        progress: Called with the seconds measured and a description.
        say: Told what a user should know before the end.
        keep: Given what was measured so far, after each look and now and then within one.

    Raises:
        BulkpagesError: The snapshot cannot be loaded, no cell can run, or the budget is too small for any answer.
    """
    state = earlier or Run()
    state.interrupted = state.broken = False
    usable = count_cells(plan.snapshot, plan.cells, state)
    if not usable:
        raise BulkpagesError(f"no cell can run on this machine: {state.skipped}")
    for cell in usable:
        state.cost.setdefault(cell.name, [])
    sequential = state.sequential
    sequential.prepare(usable, plan.looks, plan.effect)
    workers = max(1, len(processors()))
    try:
        with _pool(workers) as pool:
            for look in range(sequential.looks_done, plan.looks):
                active = [cell for cell in usable if sequential.open(cell)]
                if not active:
                    break
                _measure(pool, workers, plan, state, active, look, progress, say, keep)
                progress(state.spent, f"look {look + 1} of {plan.looks}")
                sequential.look(look, active, state.cost, plan.seed)
                keep(state)
    except KeyboardInterrupt:
        state.interrupted = True
    except BrokenProcessPool:
        say("A process that measured was ended from outside; what the others found is kept.")
        state.interrupted = state.broken = True
    return state


def _measure(
    pool: ProcessPoolExecutor,
    workers: int,
    plan: Plan,
    state: Run,
    active: list[Cell],
    look: int,
    progress: Callable[[float, str], None],
    say: Callable[[str], None],
    keep: Callable[[Run], None],
) -> None:
    """Processes until the time of this look is used up."""
    until = plan.seconds * (look + 1) / plan.looks
    before, start = state.spent, time.monotonic()
    running: dict[Future[dict[str, Costs]], float] = {}
    longest = 0.0
    keep_at = start + KEEP_SECONDS

    def due() -> bool:
        have = min(len(state.cost[cell.name]) for cell in active) + len(running)
        if plan.processes is not None:
            return have < max(MIN_PROCESSES, plan.processes * (look + 1) // plan.looks)
        return have < MIN_PROCESSES or before + time.monotonic() - start + longest < until

    try:
        while True:
            while len(running) < workers and due():
                process = state.processes
                state.processes += 1
                running[pool.submit(_worker, plan, active, process)] = time.monotonic()
            if not running:
                break
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                longest = max(longest, time.monotonic() - running.pop(future))
                for name, cost in future.result().items():
                    state.cost[name].append(cost)
            state.spent = before + time.monotonic() - start
            what = f"look {look + 1} of {plan.looks}, {len(active)} workloads"
            progress(state.spent, what)
            if done and state.forecast is None:
                _forecast(plan, state, active, workers, longest, say)
            if done and (now := time.monotonic()) > keep_at:
                keep(state)
                took = time.monotonic() - now
                keep_at = now + max(KEEP_SECONDS, took / KEEP_SHARE)
    finally:
        for future in running:
            future.cancel()


def _forecast(
    plan: Plan, state: Run, active: list[Cell], workers: int, longest: float, say: Callable[[str], None]
) -> None:
    """Says what the budget can tell apart, once the first processes have shown the spread."""
    have = len(state.cost[active[0].name])
    least = longest * -(-MIN_PROCESSES // workers)
    if plan.strict and plan.processes is None and least > plan.seconds * 1.5:
        raise BulkpagesError(
            f"a budget of {plan.seconds:.0f} s is too small: {len(active)} workloads need at least {least:.0f} s; "
            "give more, or fewer workloads with --only"
        )
    if have < MIN_PROCESSES:
        return
    processes = max(MIN_PROCESSES, int(plan.seconds * workers / longest))
    found = state.sequential.detectable(active, state.cost, processes)
    state.forecast = {"processes": processes, "median": float(np.median(found)), "worst": float(np.max(found))}
    say(
        f"Emulator time: {plan.seconds:.0f} s are room for about {processes} processes, which tell differences of "
        f"{np.median(found):.1%} from none in the median workload, and of {np.max(found):.1%} in the noisiest."
    )
