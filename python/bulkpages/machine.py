"""The emulated machine."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, SupportsIndex, cast

from bulkpages import _core
from bulkpages.eras.rules import of_kernel, rules_to_set
from bulkpages.errors import ApiMisuse, InvalidArgument, SnapshotError
from bulkpages.formats.recording import load_snapshot
from bulkpages.kinds import need, need_within
from bulkpages.sizes import parse_size
from bulkpages.threads import Run, run

if TYPE_CHECKING:
    from bulkpages.formats.trace import TraceText
    from bulkpages.fragmentation import Fragmentation
    from bulkpages.why import Explanation

__all__ = ["Audit", "Machine", "PerCpuPages", "Reclaim", "Zone"]


class Audit(NamedTuple):
    """What an audit counted, in pages: managed = free + pcp + allocated + kernel."""

    managed: int
    free: int
    pcp: int
    allocated: int
    kernel: int


class Reclaim(NamedTuple):
    """The state of the reclaim model.

    Attributes:
        file_pages: Pages of page cache left.
        tasks: Tasks left to kill.
        now_ns: Virtual time, in nanoseconds.
        kswapd_pending: Nodes whose kswapd was woken and has not run yet.
        unreclaimable_nodes: Nodes that kswapd has given up on.
        failure_reports: Allocation failures that a kernel would have logged.
    """

    file_pages: int
    tasks: int
    now_ns: int
    kswapd_pending: int
    unreclaimable_nodes: int
    failure_reports: int


@dataclass(frozen=True)
class PerCpuPages:
    """The page lists of one CPU in one zone, at one moment.

    `lists` gives the first frames of each list that is not empty, in list order, by index: 3 * order + migratetype for
    orders 0 to 3, 12 and 13 for huge pages.
    """

    count: int
    high: int
    high_min: int
    high_max: int
    batch: int
    flags: int
    alloc_factor: int
    expire: int
    free_count: int
    held: bool
    lists: Mapping[int, Sequence[int]]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_per_cpu_pages, ({**vars(self), "lists": dict(self.lists)},))

    def __repr__(self) -> str:
        return f"PerCpuPages(count={self.count}, high={self.high}, batch={self.batch}, free_count={self.free_count})"


def _per_cpu_pages(values: dict[str, Any]) -> PerCpuPages:
    """The lists of one CPU; nobody writes to what is read."""
    return PerCpuPages(**{**values, "lists": MappingProxyType(values["lists"])})


class Zone:
    """A zone of a machine. Attributes always have the current values. Sizes and marks are in pages."""

    __slots__ = ("_index", "_machine")

    def __init__(self, machine: _core.Machine, index: int) -> None:
        need("the machine of a zone", machine, _core.Machine)
        need_within("zone", index, 0, machine.nr_zones - 1)
        self._machine = machine
        self._index = index

    def _get(self, name: str) -> Any:
        return self._machine._zone(self._index)[name]

    @property
    def nid(self) -> int:
        """Node."""
        return cast("int", self._get("nid"))

    @property
    def idx(self) -> int:
        """Index among the zones of the kernel's build; of a 64-bit PC: 0 DMA, 1 DMA32, 2 Normal, 3 Movable."""
        return cast("int", self._get("idx"))

    @property
    def name(self) -> str:
        """Kernel name."""
        return cast("str", self._get("name"))

    @property
    def start(self) -> int:
        """First frame."""
        return cast("int", self._get("start"))

    @property
    def spanned(self) -> int:
        """Frames from the first to the last."""
        return cast("int", self._get("spanned"))

    @property
    def present(self) -> int:
        """Frames with memory."""
        return cast("int", self._get("present"))

    @property
    def managed(self) -> int:
        """Frames that the allocator manages."""
        return cast("int", self._get("managed"))

    @property
    def nr_free(self) -> int:
        """The free counter that watermark tests read: without the per-CPU differences."""
        return cast("int", self._get("nr_free"))

    @property
    def free_pages(self) -> int:
        """Pages on the free lists, exact."""
        return cast("int", self._get("free_pages"))

    @property
    def watermark(self) -> dict[str, int]:
        """Marks "min", "low", "high", "promo", without boost."""
        return cast("dict[str, int]", self._get("watermark"))

    @property
    def boost(self) -> int:
        """What is added to every mark at present."""
        return cast("int", self._get("boost"))

    @property
    def lowmem_reserve(self) -> list[int]:
        """Pages kept from requests, by the highest zone index that they may use."""
        return cast("list[int]", self._get("lowmem_reserve"))

    @property
    def flags(self) -> int:
        """Bit 1 reclaim active, bit 2 below high."""
        return cast("int", self._get("flags"))

    @property
    def reserved_highatomic(self) -> int:
        """Pages in high-atomic blocks."""
        return cast("int", self._get("reserved_highatomic"))

    @property
    def free_highatomic(self) -> int:
        """Free pages in high-atomic blocks."""
        return cast("int", self._get("free_highatomic"))

    @property
    def free_cma(self) -> int:
        """Free pages in CMA blocks, without per-CPU differences."""
        return cast("int", self._get("free_cma"))

    def pcp(self, cpu: int) -> PerCpuPages:
        """The current lists of one CPU."""
        values = self._machine._pcp(self._index, cpu)
        return _per_cpu_pages(values | {"lists": {i: tuple(frames) for i, frames in values["lists"].items()}})

    def _state(self) -> dict[str, Any]:
        """The zone as a snapshot has it."""
        return cast("dict[str, Any]", json.loads(self._machine._snapshot())["zones"][self._index])

    def _repr_html_(self) -> str:
        from bulkpages import draw

        return draw.zone(self)

    def __repr__(self) -> str:
        z = self._machine._zone(self._index)
        marks = z["watermark"]
        return (
            f"Zone({z['nid']}.{z['idx']} {z['name']}, managed={z['managed']}, free={z['free_pages']}, "
            f"min={marks['min']}, low={marks['low']}, high={marks['high']})"
        )


def _restored(cls: type[Machine], saved: str, slots: list[tuple[int, int]], threads: bool) -> Machine:
    """What `Machine.__reduce__` saved."""
    return _core.Machine.__new__(cls, saved=saved, saved_slots=slots, threads=threads)


class Machine(_core.Machine):
    """A machine whose page allocator does what Linux's does, page for page: 6.12 by default, or 6.1 or 7.3.

    After boot, every page except the first MiB is free. RAM is laid out as on an x86 PC; zones, watermarks and per-CPU
    limits follow the kernel's formulas. A machine made from a snapshot of a real kernel hands out the pages that the
    kernel did.

    Calls from several Python threads take turns. With `threads=True` they run in parallel on real atomics.

    Args:
        memory: RAM: a text like "1GiB", or bytes.
        cpus: CPUs, spread over the nodes in order.
        nodes: NUMA nodes with equal shares of RAM.
        movablecore: RAM for ZONE_MOVABLE, as the kernel parameter of that name.
        memcg: Whether a memory cgroup accounts kernel pages. Bulk calls with `__GFP_ACCOUNT` then take the single-page
            path.
        page_owner: Whether page owner tracking is on. Every bulk call then takes the single-page path.
        threads: Whether calls from several threads run in parallel.
        kernel: The kernel series: "6.1", "6.12" or "7.3".
        rules: Single rules to switch on or off, by name; `bulkpages eras` lists them.

    Raises:
        InvalidArgument: A size that the emulator does not model, or an unknown kernel or rule.

    Example:
        >>> import bulkpages as bp
        >>> m = bp.Machine("1GiB", cpus=2)
        >>> a = bp.PageArray(64)
        >>> m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2")
        64
        >>> m.free_bulk(a)
        64
    """

    __slots__ = ()

    def __new__(
        cls,
        memory: str | SupportsIndex = "1GiB",
        cpus: int = 2,
        nodes: int = 1,
        *,
        movablecore: str | SupportsIndex | None = None,
        memcg: bool = False,
        page_owner: bool = False,
        threads: bool = False,
        kernel: str = "6.12",
        rules: Mapping[str, bool] | None = None,
    ) -> Self:
        """Boots."""
        if not isinstance(kernel, str):
            raise TypeError(f"kernel is a text like '6.12', not {type(kernel).__name__}")
        movable = None if movablecore is None else parse_size("movablecore", movablecore)
        return super().__new__(
            cls,
            memory_pages=parse_size("memory", memory),
            cpus=cpus,
            nodes=nodes,
            movablecore_pages=movable,
            memcg=bool(memcg),
            page_owner=bool(page_owner),
            threads=bool(threads),
            kernel=kernel,
            rules=rules_to_set(rules),
        )

    @classmethod
    def from_snapshot(
        cls,
        src: Mapping[str, Any] | str | Path,
        which: str = "before",
        *,
        memcg: bool = False,
        page_owner: bool = False,
        threads: bool = False,
        kernel: str | None = None,
        rules: Mapping[str, bool] | None = None,
    ) -> Self:
        """Loads the state of a kernel. The state names its series.

        Args:
            src: A snapshot, or the path of a recording or of a `.json` file with a snapshot; both may be gzipped.
            which: "before" or "after", if the file has both.
            memcg: As in the constructor.
            page_owner: As in the constructor.
            threads: As in the constructor.
            kernel: The series that the state must be from; any if None.
            rules: As in the constructor.

        Raises:
            SnapshotError: The snapshot cannot be read, contradicts itself, or is from another kernel; names the place.
            InvalidArgument: An unknown kernel or rule.
        """
        if isinstance(src, Mapping):
            snapshot: Mapping[str, Any] = src
            if "zones" not in src and isinstance(src.get(which), Mapping):
                snapshot = src[which]
            where = ""
        elif isinstance(src, (str, Path)):
            snapshot = load_snapshot(src, which)
            where = f"{src}: "
        else:
            raise TypeError(f"a snapshot is a mapping or a path, not {type(src).__name__}")
        try:
            text = json.dumps(snapshot)
        except (TypeError, ValueError, RecursionError) as error:
            raise SnapshotError(f"{where}the snapshot is not JSON: {error}") from error
        try:
            return super().__new__(
                cls,
                snapshot=text,
                memcg=bool(memcg),
                page_owner=bool(page_owner),
                threads=bool(threads),
                kernel=kernel,
                rules=rules_to_set(rules),
            )
        except SnapshotError as error:
            raise SnapshotError(f"{where}{error}") from error

    def snapshot(self) -> dict[str, Any]:
        """The state in the recorder's schema, as JSON-able values; `from_snapshot` accepts it."""
        return cast("dict[str, Any]", json.loads(self._snapshot()))

    @property
    def rules(self) -> Mapping[str, bool]:
        """Each rule and whether it holds; `bulkpages.eras` explains them."""
        return MappingProxyType(dict(self._rules()))

    @property
    def zones(self) -> list[Zone]:
        """The populated zones, in snapshot order."""
        return [Zone(self, i) for i in range(self.nr_zones)]

    @property
    def vmstat(self) -> Mapping[str, int]:
        """The current counters, by their names in /proc/vmstat."""
        return MappingProxyType(dict(self._vmstat()))

    @classmethod
    def from_proc(
        cls, directory: str | Path = "/proc", *, notes: list[str] | None = None, kernel: str | None = None
    ) -> Self:
        """Builds a machine from another machine's `zoneinfo`, `buddyinfo` and, if they can be read, `pagetypeinfo`.

        Zones, marks, reserves, per-CPU limits and free blocks by order and type are taken from the files. The files do
        not say where blocks are; `bulkpages.formats.state.told` documents the rule that places them. Unknown lines are
        skipped.

        Args:
            directory: The directory of the files, or one file that contains several of them.
            notes: A list to which notes about skipped lines and chosen values are added. If None, each note is a
                warning.
            kernel: The kernel series of the machine. By default that of the file `version`, or 6.12 if there is none or
                its series is not modelled.

        Raises:
            SnapshotError: A file is missing or cannot be read; names the file and the line.
            InvalidArgument: An unknown kernel.
        """
        from bulkpages.formats.proc import read_proc

        state = read_proc(directory)
        for note in state.notes:
            if notes is None:
                warnings.warn(f"{directory}: {note}", stacklevel=2)
        if notes is not None:
            notes += state.notes
        return cls.from_snapshot(of_kernel(state.snapshot, kernel))

    @classmethod
    def from_report(
        cls, report: str | Path, *, notes: list[str] | None = None, nth: int = 1, kernel: str | None = None
    ) -> Self:
        """Builds a machine from a report in the kernel log: from the OOM killer, a failed allocation, or sysrq-m.

        Zones, marks, reserves and free blocks by order are taken from the report, and types where it has letters for
        them. The report does not say where blocks are; `bulkpages.formats.state.told` documents the rule that places
        them.

        Args:
            report: The text as dmesg, syslog or journald print it, or the path of a file with it.
            notes: A list to which notes about missing and chosen values are added. If None, each note is a warning.
            nth: Which report to read if the log has several, from 1.
            kernel: The kernel series of the machine. By default that of the report, or 6.12 if it names none or its
                series is not modelled.

        Raises:
            SnapshotError: There is no report, or it cannot be read; names the line.
            InvalidArgument: The log has fewer reports.
        """
        from bulkpages.formats.report import read_report

        state = read_report(report, nth)
        for note in state.notes:
            if notes is None:
                warnings.warn(f"report: {note}", stacklevel=2)
        if notes is not None:
            notes += state.notes
        return cls.from_snapshot(of_kernel(state.snapshot, kernel))

    @classmethod
    def from_drgn(cls, prog: Any, *, movable: bool | None = None, notes: list[str] | None = None) -> Self:
        """Builds a machine in the exact state of another machine, which drgn reads.

        Args:
            prog: A `drgn.Program` with the kernel's debugging information: a core, a guest of qemu, or the running
                kernel.
            movable: Whether to count the movable pages of each pageblock, which reads the descriptors of all used
                frames. If None, they are counted if at most 16 GiB are used.
            notes: A list to which notes are added about what was left out or is not of one moment. If None, each note
                is a warning.

        Raises:
            BulkpagesError: drgn is not installed.
            SnapshotError: There is no debugging information, the kernel is not modelled, memory is missing from the
                core, or the lists change faster than they can be read.
        """
        from bulkpages.running import read_state

        state = read_state(prog, movable=movable)
        for note in state.notes:
            if notes is None:
                warnings.warn(note, stacklevel=2)
        if notes is not None:
            notes += state.notes
        return cls.from_snapshot(state.snapshot)

    def zoneinfo(self) -> str:
        """`/proc/zoneinfo` as Linux 6.12 prints it; what the emulator does not model is 0."""
        from bulkpages.formats import proc

        names = ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")
        numa = [dict(zip(names, self._numa(i), strict=True)) for i in range(self.nr_zones)]
        return proc.zoneinfo(self.snapshot(), numa)

    def buddyinfo(self) -> str:
        """`/proc/buddyinfo`."""
        from bulkpages.formats import proc

        return proc.buddyinfo(self.snapshot())

    def vmstat_text(self) -> str:
        """`/proc/vmstat`; counters that the emulator does not model are 0."""
        from bulkpages.formats import proc

        return proc.vmstat(self.vmstat, self.kernel)

    def pagetypeinfo(self) -> str:
        """`/proc/pagetypeinfo`."""
        from bulkpages.formats import proc

        return proc.pagetypeinfo(self.snapshot())

    def explain(
        self,
        gfp: int | str,
        order: int = 0,
        *,
        nid: int | None = None,
        cpu: int = 0,
        bulk: int | None = None,
    ) -> Explanation:
        """Why a request would fail now, or how it would be served: each test it goes through, with its numbers.

        The request is made on a copy of the machine. So is each change that might let it succeed. The result prints as
        text, and `.as_dict()` has everything by name.

        Args:
            gfp: GFP flags as a number, or as text such as "GFP_KERNEL|__GFP_COMP".
            order: Order of the block, 0 to 10.
            nid: Preferred node; the CPU's own by default.
            cpu: CPU that makes the request.
            bulk: Number of pages to request in one bulk call (v2) instead of a block.

        Raises:
            InvalidArgument: An argument that the machine does not accept.

        Example:
            >>> import bulkpages as bp
            >>> m = bp.Machine("64MiB", cpus=1)
            >>> print(m.explain("GFP_KERNEL", order=10).reason)
            The fast path accepts 0.DMA32.
        """
        from bulkpages.why import explain

        value = _core.gfp_value(gfp) if isinstance(gfp, str) else gfp
        return explain(self, value, order, nid=nid, cpu=cpu, bulk=bulk)

    @contextmanager
    def trace(self) -> Iterator[list[TraceText]]:
        """A context manager that records what the calls inside it do.

        At the end, the list holds the record as a `TraceText`. The emulator has no clock: each event is one microsecond
        after the previous one.

        Example:
            >>> import bulkpages as bp
            >>> m = bp.Machine("64MiB", cpus=1)
            >>> with m.trace() as traces:
            ...     pfn = m.alloc_pages(bp.GFP_KERNEL)
            >>> [event.name for event in traces[0].events()][-1]
            'mm_page_alloc'
            >>> print(traces[0].ftrace().splitlines()[0])
            # tracer: nop
        """
        from bulkpages.formats.trace import TraceText

        self._trace_start()
        traces: list[TraceText] = []
        try:
            yield traces
        finally:
            traces.append(TraceText(self._trace_stop(), self.cpus))

    def fragmentation(self) -> Fragmentation:
        """How fragmented free memory is: free blocks and the kernel's two indices, by zone and order.

        Example:
            >>> import bulkpages as bp
            >>> bp.Machine("64MiB").fragmentation()
            <Fragmentation of Node 0 DMA, Node 0 DMA32>
        """
        from bulkpages.fragmentation import Fragmentation

        return Fragmentation.of(self.snapshot())

    def audit(self) -> Audit:
        """Checks every invariant: managed = free + per-CPU + allocated, links sound.

        Raises:
            AuditError: An invariant is broken; names the first.
        """
        return Audit(*self._audit())

    @contextmanager
    def hold_pcp_lock(self, node: int = 0, zone: int = 0, pcp_cpu: int = 0) -> Iterator[None]:
        """A context manager during which another CPU holds the lock of one CPU's lists in one zone, so trylocks fail.

        Args:
            node: Node of the zone.
            zone: Zone index; of a 64-bit PC: 0 DMA, 1 DMA32, 2 Normal, 3 Movable.
            pcp_cpu: CPU whose lists are locked.
        """
        self._hold_pcp_lock(node, zone, pcp_cpu, True)
        try:
            yield
        finally:
            self._hold_pcp_lock(node, zone, pcp_cpu, False)

    @contextmanager
    def faults(
        self,
        *,
        pages: int | None = None,
        trylock: bool | int = False,
        single: bool | int = False,
        prepare: bool | int = False,
        watermark: bool | int = False,
        charge: bool | int = False,
        array: bool | int = False,
        append: bool | int = False,
        vmap: bool | int = False,
        dma_map: bool | int = False,
        stop: bool | int = False,
    ) -> Iterator[None]:
        """A context manager during which the named steps fail. Of nested ones, only the innermost applies.

        Except for `pages`, each argument is True if the step always fails, or the number of times that it works before
        it fails for good.

        Args:
            pages: Number of pages that can still be allocated in any way. Then every allocation fails, even after
                frees.
            trylock: A per-CPU trylock, on allocation and on free.
            single: The single-page path, which returns NULL.
            prepare: Preparing a request.
            watermark: The watermark gate of a bulk call: no zone passes.
            charge: Charging a page to a memory cgroup (`memcg=True` and `__GFP_ACCOUNT`).
            array: A caller's allocation of a pointer array.
            append: A caller's append to its scatter table.
            vmap: A caller's vmap().
            dma_map: A page_pool's DMA mapping of a page.
            stop: Not a failure: `kthread_should_stop()` returns true.
        """
        if isinstance(pages, bool):
            raise InvalidArgument(
                f"pages {pages}: give the number of pages that can still be allocated, such as pages=0"
            )
        steps = {
            "trylock": trylock,
            "single": single,
            "prepare": prepare,
            "watermark": watermark,
            "charge": charge,
            "array": array,
            "append": append,
            "vmap": vmap,
            "dma_map": dma_map,
            "stop": stop,
        }
        ticket = self._push_faults(pages, [(name, when) for name, when in steps.items() if when is not False])
        try:
            yield
        finally:
            self._remove_faults(ticket)

    def set_reclaim(
        self,
        *,
        file_pages: int = 0,
        efficiency: int = 100,
        latency_ns: int = 0,
        kswapd_delay_ns: int | None = 0,
        tasks: Sequence[int] = (),
        cpu: int = 0,
    ) -> None:
        """Gives the machine page cache to reclaim and tasks to kill, of which it has none by default. This is a model.

        Args:
            file_pages: Pages of clean page cache. They are allocated now and reclaimed oldest first.
            efficiency: Pages reclaimed for each 100 scanned, 1 to 100.
            latency_ns: Virtual time of one direct reclaim, in nanoseconds.
            kswapd_delay_ns: Virtual time from waking kswapd to its run, in nanoseconds. If None, it never runs.
            tasks: Pages of each task that the OOM killer may kill. It kills the largest first.
            cpu: CPU that executes.

        Raises:
            InvalidArgument: A number out of range, or more pages than the machine has. None stay allocated.
        """
        self._set_reclaim(
            file_pages=file_pages,
            efficiency=efficiency,
            latency_ns=latency_ns,
            kswapd_delay_ns=kswapd_delay_ns,
            tasks=list(tasks),
            cpu=cpu,
        )

    @property
    def reclaim(self) -> Reclaim:
        """The state of the reclaim model."""
        return Reclaim(**self._reclaim_info())

    def run(
        self,
        threads: int,
        workload: str | Callable[[Machine, int, int], object] = "default",
        *,
        seconds: float | None = None,
        ops: int | None = None,
        seed: int = 1,
        timeline: int = 0,
    ) -> Run:
        """Runs real threads on the machine, thread i on CPU i, for a time or a number of operations.

        Args:
            threads: Threads, at most one per CPU.
            workload: A mix of built-in operations: a preset (default, bulk, drain, remote-free), weights
                ("bulk=4,single=2,drain=1"), or both. What they allocate is freed at the end. Or a callable, which each
                thread calls repeatedly as `workload(machine, cpu, calls_so_far)`.
            seconds: How long to run, in seconds.
            ops: Operations of each thread, or calls of the callable.
            seed: Seed of the built-in operations. The host decides the order between threads.
            timeline: Number of slices that each thread records, from the start of the run.

        Raises:
            ApiMisuse: The machine was not made with `threads=True`.
            InvalidArgument: A value out of range, or more threads than CPUs. Nothing ran.
            Exception: The first exception that the callable raised. All threads have stopped by then.
        """
        return run(self, threads=threads, workload=workload, seconds=seconds, ops=ops, seed=seed, timeline=timeline)

    def __eq__(self, other: object) -> bool:
        """Whether both are in the same state: every call from here on would do the same on both.

        The state is lists in their order, who owns what, counters, marks, virtual time, held locks and the slots of
        `replay`; not whether threads may run in parallel, faults in force, or a trace being taken. It is read at
        this moment, so a machine has no hash. Snapshots compare less: what a kernel's recorder sees.
        """
        if not isinstance(other, Machine):
            return NotImplemented
        return self is other or self._save() == other._save()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies are machines of their own, equal to this one, at the moment.

        Faults in force and a trace being taken stay behind.

        Raises:
            ApiMisuse: The machine has a `PagePool`, whose pages would be lost.
        """
        if self._has_pools():
            raise ApiMisuse("a machine with a page_pool cannot be copied or pickled: destroy and forget the pool")
        return (_restored, (type(self), *self._save(), self.threads))

    def _repr_html_(self) -> str:
        from bulkpages import draw

        return draw.machine(self)

    def __repr__(self) -> str:
        zones = ", ".join(f"{z.nid}.{z.name} {z.managed}" for z in self.zones)
        return f"<Machine cpus={self.cpus} nodes={self.nodes} managed pages: {zones}>"
