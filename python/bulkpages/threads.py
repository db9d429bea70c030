"""Runs of real threads on one machine: what they moved, lost and waited for, as data, a timeline and a trace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpages import _core
from bulkpages.errors import ApiMisuse, AuditError, InvalidArgument
from bulkpages.sizes import parse_size
from bulkpages.tables import Table
from bulkpages.timeline import Bar, draw, write_perfetto

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Run", "Slice", "run", "stress"]


@dataclass(frozen=True, slots=True)
class Slice:
    """A period of time on a CPU.

    Attributes:
        cpu: The emulated CPU.
        start: Clock counts since the run began.
        end: Clock counts since the run began.
        lock: "pcp" or "zone" while that lock was held; None for a call.
        side: What the thread was doing: alloc, bulk, free, local_drain, remote_drain, or the name of the callable.
    """

    cpu: int
    start: int
    end: int
    lock: str | None
    side: str


@dataclass(frozen=True)
class Run:
    """What a run of threads did.

    Attributes:
        data: All results as plain values; see `to_dict()`.
        timeline: Slices, by CPU and in the order in which they ended; empty unless requested.
        ns_per_count: Nanoseconds per clock count.
    """

    data: dict[str, Any]
    timeline: list[Slice] = field(repr=False)
    ns_per_count: float

    @property
    def ok(self) -> bool:
        """Whether the audit passed and no page was lost or handed out twice."""
        return bool(self.data["ok"])

    @property
    def pages(self) -> int:
        """Pages allocated plus pages freed, except those freed at the end of the run."""
        return int(self.data["pages_allocated"] + self.data["pages_freed"])

    @property
    def trylock_failures(self) -> int:
        """Failed trylocks of per-CPU lists."""
        return sum(self.data["trylock_failures"].values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Memory is in pages of 4 KiB, and times in clock counts. Bucket `i` of a histogram counts values of `i` bits.
        `trylock_failures_by_holder` and `locks` are None unless the machine's locks keep time (`bulkpages stress`).
        """
        return {**self.data, "pages": self.pages, "ns_per_count": self.ns_per_count}

    def histograms(self) -> Table:
        """Lock waits and holds, in clock counts: a row for each lock, kind of time and nonempty bucket.

        Raises:
            ApiMisuse: The machine's locks keep no time; those of `stress()` do.
        """
        if not self.data.get("locks"):
            raise ApiMisuse("the locks of this run were not timed: bulkpages.stress() times them")
        rows = [
            {"lock": lock, "time": what, "low": (1 << bits) >> 1, "high": (1 << bits) - 1, "count": n}
            for lock, times in self.data["locks"].items()
            for what, histogram in times.items()
            for bits, n in enumerate(histogram["buckets"])
            if n
        ]
        return Table.from_rows(rows, title="locks: clock counts")

    def workers(self) -> Table:
        """A row for each thread."""
        return Table.from_rows(self.data["workers"], title="threads")

    def slices(self) -> Table:
        """The timeline: a row for each slice, times in clock counts since the run began."""
        names = ("cpu", "start", "end", "lock", "side")
        return Table({name: [getattr(s, name) for s in self.timeline] for name in names}, title="timeline")

    def _repr_html_(self) -> str:
        return self.workers()._repr_html_()

    def perfetto(self, path: str | Path) -> None:
        """Writes the timeline as a JSON trace for Perfetto: one track per CPU, with calls and locks as slices."""
        write_perfetto(path, self._rows(), self._bars())

    def picture(self, path: str | Path, *, start_us: float = 0, length_us: float = 200) -> None:
        """Draws `length_us` microseconds of the timeline from `start_us`: one row per CPU, calls pale, locks dark.

        Raises:
            ApiMisuse: The run kept no timeline.
        """
        if not self.timeline:
            raise ApiMisuse("the run recorded no timeline: ask for one with timeline=10000")
        draw(path, self._rows(), self._bars(), unit="µs since the run began", span=(start_us, start_us + length_us))

    def _rows(self) -> dict[int, str]:
        return {cpu: f"CPU {cpu}" for cpu in sorted({s.cpu for s in self.timeline})}

    def _bars(self) -> list[Bar]:
        scale = self.ns_per_count / 1000
        return [Bar(s.cpu, s.start * scale, s.end * scale, s.lock or "call", s.side) for s in self.timeline]


def _finish(data: dict[str, Any]) -> Run:
    timeline = [Slice(w["cpu"], *s) for w in data["workers"] for s in w.pop("slices")]
    return Run(data, timeline, _core.ns_per_count())


def stress(
    memory: str | int = "1GiB",
    *,
    threads: int = 2,
    cpus: int | None = None,
    nodes: int = 1,
    mix: str = "default",
    seconds: float | None = None,
    ops: int | None = None,
    seed: int = 1,
    timeline: int = 0,
) -> Run:
    """Boots a machine whose locks keep time and runs threads on it, like `Machine.run()`, with lock waits and causes.

    Args:
        memory: RAM: a text like "1GiB", or bytes.
        threads: Threads; thread i runs on CPU i.
        cpus: CPUs, at least as many as threads; exactly as many if None.
        nodes: NUMA nodes.
        mix: A preset (default, bulk, drain, remote-free), weights ("bulk=4,single=2,drain=1"), or both.
        seconds: How long to run, in seconds.
        ops: Operations of each thread.
        seed: Seed of the operations. The host decides the order between threads.
        timeline: Number of slices that each thread records, from the start of the run.

    Raises:
        InvalidArgument: Something out of range, or more threads than CPUs.
    """
    pages, cpus = parse_size("memory", memory), threads if cpus is None else cpus
    return _finish(_core.stress_run(pages, cpus, nodes, threads, mix, seconds, ops, seed, timeline))


def run(
    machine: Machine,
    *,
    threads: int,
    workload: str | Callable[[Machine, int, int], object],
    seconds: float | None,
    ops: int | None,
    seed: int,
    timeline: int,
) -> Run:
    """`Machine.run()`, which documents it."""
    if not machine.threads:
        raise ApiMisuse("a run needs a machine made with threads=True")
    if callable(workload):
        return _run_callable(machine, threads, workload, seconds, ops, timeline)
    data = _core.run_threads(machine, threads, workload, seconds, ops, seed, timeline)
    if data["interrupted"]:
        raise KeyboardInterrupt
    return _finish(data)


def _run_callable(
    machine: Machine,
    threads: int,
    workload: Callable[[Machine, int, int], object],
    seconds: float | None,
    ops: int | None,
    timeline: int,
) -> Run:
    if not 1 <= threads <= machine.cpus:
        raise InvalidArgument(f"threads {threads} is outside 1 to {machine.cpus}, the machine's cpus")
    if seconds is None and ops is None:
        raise InvalidArgument("a run needs a time or a number of operations")
    if seconds is not None and not 0 < seconds <= 1e7:
        raise InvalidArgument(f"seconds {seconds} must be above 0 and at most 10000000")
    if ops is not None and ops < 1:
        raise InvalidArgument(f"ops {ops} is below 1")
    before = machine.vmstat
    stop = threading.Event()
    errors: list[BaseException] = []
    calls = [0] * threads
    slices: list[list[Slice]] = [[] for _ in range(threads)]
    name = getattr(workload, "__name__", type(workload).__name__)
    began = time.perf_counter_ns()

    def work(cpu: int) -> None:
        while not stop.is_set() and (ops is None or calls[cpu] < ops):
            start = time.perf_counter_ns()
            if seconds is not None and start - began >= seconds * 1e9:
                return
            try:
                workload(machine, cpu, calls[cpu])
            except BaseException as error:  # every error reaches the caller, from the first worker that raised
                errors.append(error)
                stop.set()
                return
            calls[cpu] += 1
            if len(slices[cpu]) < timeline:
                slices[cpu].append(Slice(cpu, start - began, time.perf_counter_ns() - began, None, name))

    workers = [threading.Thread(target=work, args=(cpu,), name=f"cpu {cpu}") for cpu in range(threads)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    if errors:
        raise errors[0]
    elapsed = (time.perf_counter_ns() - began) / 1e9
    after = machine.vmstat
    moved = {key: after[key] - before[key] for key in after}
    try:
        machine.audit()
        audit_error = None
    except AuditError as error:
        audit_error = str(error)
    data = {
        "threads": threads,
        "seconds": elapsed,
        "calls": sum(calls),
        "pages_allocated": sum(n for key, n in moved.items() if key.startswith("pgalloc_")),
        "pages_freed": moved["pgfree"],
        # A callable is not looked into.
        "trylock_failures": {},
        "workers": [{"cpu": cpu, "calls": n} for cpu, n in enumerate(calls)],
        "violations": [],
        "audit_error": audit_error,
        "ok": audit_error is None,
        "interrupted": False,
    }
    return Run(data, [s for cpu in slices for s in cpu], 1.0)
