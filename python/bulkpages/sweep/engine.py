"""Runs a sweep: cuts it into units, hands them to workers, keeps what comes back.

A unit is cut when a worker is free for it, from what the runs of its kind have taken so far, so that each takes about
a second and never less than half of one while there is as much left. A worker that dies takes nothing with it: its
units are handed out again.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import Any

from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.processes import interrupts_wait, process_pool, processors
from bulkpages.sweep.journal import Done, Journal
from bulkpages.sweep.spec import Cell, Spec
from bulkpages.sweep.unit import Part, Row, Unit, run_unit

__all__ = ["Progress", "count"]

#: Aim for the length of a unit, and the least, in seconds.
UNIT_SECONDS, LEAST_SECONDS = 1.0, 0.5
# First runs are timed until the clock shows something; the very first one also imports what it needs.
CALIBRATION_SECONDS, CALIBRATION_RUNS = 0.03, range(3, 20)
# Units that wait at each worker, so that none is idle while the next is on its way.
AHEAD = 2
ATTEMPTS = 4
# How much slower a kind of run may be taken to be than before, for each time that it was.
SLOWER = 1.25

#: Told what is going on, how much of it is done, and how much there is: runs, or seconds of measuring.
Progress = Callable[[str, float, float], None]
Outcome = list[tuple[list[Row], float]]


def _kind(cell: Cell) -> tuple[Any, ...]:
    """Cells whose runs take about the same time."""
    keys = (
        "memory",
        "cpus",
        "nodes",
        "kernel",
        "rules",
        "state",
        "used",
        "aged",
        "nr_pages",
        "caller",
        "own",
        "max_waits",
    )
    return tuple(cell.get(key) for key in keys)


class _Queue:
    """What is left to do, cut into units on demand."""

    def __init__(self, spec: Spec, done: Done) -> None:
        self.spec = spec
        self.left = deque(done.missing())
        self.again: deque[tuple[Unit, int]] = deque()
        self.seconds: dict[tuple[Any, ...], float] = {}

    def __bool__(self) -> bool:
        return bool(self.left or self.again)

    def _cut(self, runs: int) -> Part:
        index, start, stop = self.left.popleft()
        if start + runs < stop:
            self.left.appendleft((index, start + runs, stop))
            stop = start + runs
        return Part(index, self.spec.cells[index], start, stop, self.spec.seeds[start:stop])

    def _unit(self, parts: list[Part]) -> Unit:
        names: set[str] = {part.cell.get(key) or "" for part in parts for key in ("state", "source")} - {""}
        return Unit(tuple(parts), {name: self.spec.states[name] for name in sorted(names)})

    def calibrate(self, keep: Callable[[Unit, Outcome], None]) -> None:
        """Times runs of each kind, here; they count like all others."""
        for index, start, _ in list(self.left):
            kind = _kind(self.spec.cells[index])
            if kind in self.seconds:
                continue
            # To the front, so that it is what is cut next.
            self.left.remove(at := next(p for p in self.left if p[:2] == (index, start)))
            self.left.appendleft(at)
            best, spent = float("inf"), 0.0
            for number in range(1, CALIBRATION_RUNS.stop):
                unit = self._unit([self._cut(1)])
                outcome = run_unit(unit)
                keep(unit, outcome)
                # The fastest: later runs are not slowed down by what happens once, and units must not be too short.
                seconds = outcome[0][1]
                best, spent = min(best, seconds), spent + seconds
                if not self.left or self.left[0][0] != index:
                    break
                if spent > CALIBRATION_SECONDS and number >= CALIBRATION_RUNS.start:
                    break
            self.seconds[kind] = best

    def take(self) -> tuple[Unit, int]:
        """The next unit, and how often it was handed out before."""
        if self.again:
            return self.again.popleft()
        parts: list[Part] = []
        room = UNIT_SECONDS
        while self.left and room > UNIT_SECONDS - LEAST_SECONDS:
            index, start, stop = self.left[0]
            each = self.seconds[_kind(self.spec.cells[index])]
            runs = max(1, min(stop - start, int(room / each)))
            parts.append(self._cut(runs))
            room -= runs * each
        return self._unit(parts), 0

    def learn(self, unit: Unit, outcome: Outcome) -> None:
        """Corrects what a kind of run takes: faster at once, slower by and by.

        A run that was held up says little of the next ones, and units cut by it would be too short.
        """
        for part, (rows, seconds) in zip(unit.parts, outcome, strict=True):
            kind, each = _kind(part.cell), seconds / len(rows)
            self.seconds[kind] = min(each, SLOWER * self.seconds[kind])


def _workers(executor: Executor) -> int:
    """How many units can run at a time; a guess where an executor does not say."""
    found = getattr(executor, "_max_workers", None)
    return found if isinstance(found, int) else 2 * (os.cpu_count() or 1)


def count(
    spec: Spec,
    done: Done,
    journal: Journal | None,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Makes every run of `spec` that `done` does not hold.

    Args:
        spec: The sweep.
        done: Where rows go.
        journal: Where they are kept, too.
        executor: Who runs the units; processes of this machine when None.
        workers: How many processes, or how many units the executor works on at a time.
        progress: Told "runs", those done and those in all.

    Raises:
        BulkpagesError: A unit failed again and again, or the executor broke. What was done is kept.
    """

    def keep(unit: Unit, outcome: Outcome) -> None:
        for part, (rows, _) in zip(unit.parts, outcome, strict=True):
            if len(rows) != part.stop - part.start:
                raise BulkpagesError(f"a worker returned {len(rows)} rows for {part.stop - part.start} runs")
            done.add(part.index, part.start, rows)
            if journal is not None:
                journal.add(part, rows)
        progress("runs", done.runs, spec.runs)

    if workers is not None and not 1 <= workers <= 10_000:
        raise InvalidArgument(f"workers {workers} is outside 1 to 10000")
    progress("runs", done.runs, spec.runs)
    queue = _Queue(spec, done)
    queue.calibrate(keep)
    if not queue:
        return
    if executor is not None:
        _Hands(queue, keep, workers or _workers(executor)).work(executor)
        return
    workers = workers or len(processors())
    hands = _Hands(queue, keep, workers)
    for _ in range(ATTEMPTS):
        pool = process_pool(workers)
        before = done.runs
        try:
            hands.work(pool)
            return
        except BrokenExecutor as error:
            # A process was ended from outside, perhaps for its memory; the pool with it, but not what it had to do.
            broken = error
            if done.runs > before:
                continue
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    raise BulkpagesError(f"processes that worked were ended from outside again and again: {broken}") from broken


class _Hands:
    """Keeps an executor busy until a queue is empty."""

    def __init__(self, queue: _Queue, keep: Callable[[Unit, Outcome], None], workers: int) -> None:
        self.queue = queue
        self.keep = keep
        self.ahead = workers * AHEAD

    def work(self, executor: Executor) -> None:
        running: dict[Future[Outcome], tuple[Unit, int]] = {}
        try:
            while self.queue or running:
                while self.queue and len(running) < self.ahead:
                    unit, times = self.queue.take()
                    try:
                        with interrupts_wait():
                            running[executor.submit(run_unit, unit)] = (unit, times)
                    except BaseException:
                        if all(given is not unit for given, _ in running.values()):
                            self.queue.again.append((unit, times))
                        raise
                finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    unit, times = running[future]
                    self._finish(future, unit, times)
                    del running[future]
        finally:
            # Also those whose result is not looked at any more: what is not kept is run again.
            for future, (unit, times) in running.items():
                future.cancel()
                self.queue.again.append((unit, times))

    def _finish(self, future: Future[Outcome], unit: Unit, times: int) -> None:
        error = future.exception() if not future.cancelled() else None
        if error is None and not future.cancelled():
            outcome = future.result()
            self.keep(unit, outcome)
            self.queue.learn(unit, outcome)
            return
        if isinstance(error, BrokenExecutor):
            raise error
        if times + 1 >= ATTEMPTS:
            why = "it was cancelled" if error is None else f"{type(error).__name__}: {error}"
            raise BulkpagesError(
                f"a unit of {unit.runs} runs, from cell {unit.parts[0].index + 1} on, failed {ATTEMPTS} times: {why}"
            ) from error
        self.queue.again.append((unit, times + 1))


def journal_in(folder: Path) -> Journal:
    """The journal of a new run: its folder is made.

    Raises:
        BulkpagesError: It cannot be made, or holds a run already.
    """
    from bulkpages.sweep.journal import NAME as JOURNAL
    from bulkpages.sweep.result import NAME as RESULTS

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BulkpagesError(f"output {folder}: {error.strerror or error}") from error
    for name, what in ((JOURNAL, "an interrupted sweep: resume() or --resume continues it"), (RESULTS, "results")):
        if (folder / name).exists():
            raise BulkpagesError(f"output {folder} holds {what}; choose another folder")
    return Journal(folder)


def elapsed(start: float) -> float:
    """Seconds since `start`, to the hundredth."""
    return round(time.perf_counter() - start, 2)
