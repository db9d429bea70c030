"""Hypothesis strategies for machines, arrays and operations, and a comparison of any two semantics of the bulk call.

Needs Hypothesis: `pip install 'bulkpages[testing]'`. A semantics is "v1", "v2", "v3" (the refill call), or a callable
that is called as `semantics(machine, array, nr_pages, gfp=..., cpu=...)` and returns a number: a function built from
the machine's calls, or a `bulkpages.callers.Semantics`.

Example:
    >>> from bulkpages.testing import compare_semantics
    >>> print(compare_semantics("v1", "v2"))
    v1 and v2 differ: 1 slot passed of x, nothing fails
      before  x
      v1      x  returns 1
      v2      o  returns 1, 1 page lost
    >>> print(compare_semantics("v1", "v2", holes=False))
    None
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bulkpages._core import PageArray
from bulkpages.callers.shapes import fill_shape
from bulkpages.draw import array as draw_array
from bulkpages.draw import picture, rows
from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.gfp import GFP_ATOMIC, GFP_HIGHUSER_MOVABLE, GFP_KERNEL, GFP_NOWAIT
from bulkpages.kinds import need_within
from bulkpages.machine import Machine

try:
    from hypothesis import Phase, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
except ImportError as error:
    raise ImportError("bulkpages.testing needs Hypothesis: pip install 'bulkpages[testing]'") from error

__all__ = [
    "Difference",
    "Semantics",
    "SemanticsDiffer",
    "SemanticsMachine",
    "compare_semantics",
    "fault_plans",
    "machines",
    "operations",
    "page_arrays",
    "shapes",
]

#: A meaning of the bulk call.
Semantics = str | Callable[..., int]

GFPS = (GFP_KERNEL, GFP_ATOMIC, GFP_NOWAIT, GFP_HIGHUSER_MOVABLE)


def shapes(*, min_slots: int = 0, max_slots: int = 16) -> st.SearchStrategy[str]:
    """Pictures of arrays: `x` is a page, `.` a hole. Shrinks to few slots, and to holes.

    Args:
        min_slots: Fewest slots.
        max_slots: Most slots.
    """
    return st.lists(st.sampled_from(".x"), min_size=min_slots, max_size=max_slots).map("".join)


def machines(
    *, max_mib: int = 256, max_cpus: int = 4, max_nodes: int = 2, used: bool = True, threads: bool = False
) -> st.SearchStrategy[Machine]:
    """Machines of at least 16 MiB, with and without memory cgroups and page owner. Shrinks to the smallest, unused one.

    Args:
        max_mib: Maximum memory, in MiB.
        max_cpus: Maximum number of CPUs.
        max_nodes: Maximum number of NUMA nodes. A machine with several has at least 64 MiB for each.
        used: Whether pages may have been allocated and freed before, so that lists have pages and blocks are split.
        threads: Whether the machines have real atomics.

    Raises:
        InvalidArgument: Less than 16 MiB, one CPU or one node.
    """
    if max_mib < 16 or max_cpus < 1 or max_nodes < 1:
        raise InvalidArgument(
            f"machines need at least 16 MiB, one CPU and one node, not {max_mib}, {max_cpus}, {max_nodes}"
        )
    return _machines(max_mib, max_cpus, max_nodes, used, threads)


@st.composite
def _machines(draw: st.DrawFn, max_mib: int, max_cpus: int, max_nodes: int, used: bool, threads: bool) -> Machine:
    nodes = draw(st.integers(1, max(1, min(max_nodes, max_mib // 64))))
    least = 16 if nodes == 1 else 64 * nodes
    machine = Machine(
        f"{draw(st.integers(least, max_mib))}MiB",
        cpus=draw(st.integers(1, max_cpus)),
        nodes=nodes,
        memcg=draw(st.booleans()),
        page_owner=draw(st.booleans()),
        threads=threads,
    )
    if used:
        machine.replay(draw(operations(machine, max_size=8)))
    return machine


def page_arrays(
    machine: Machine | None = None, *, min_slots: int = 0, max_slots: int = 16, holes: bool = True
) -> st.SearchStrategy[PageArray]:
    """Arrays with pages and holes. Shrinks to few slots, all NULL.

    Args:
        machine: The machine from which the pages are taken, one by one, when the array is drawn; the caller must free
            them. If None, the array holds distinct frame numbers without meaning.
        min_slots: Fewest slots.
        max_slots: Most slots.
        holes: Whether there may be pages anywhere. If not, all slots are NULL.
    """
    pictures = shapes(min_slots=min_slots, max_slots=max_slots)
    if not holes:
        pictures = pictures.map(lambda shape: "." * len(shape))
    if machine is not None:
        return pictures.map(lambda shape: fill_shape(machine, shape))
    return pictures.flatmap(_numbers)


def _numbers(shape: str) -> st.SearchStrategy[PageArray]:
    """Arrays of one shape with frame numbers that mean nothing."""
    pages = shape.count("x")

    def fill(frames: list[int]) -> PageArray:
        left = iter(frames)
        return PageArray([next(left) if mark == "x" else 0 for mark in shape])

    return st.lists(st.integers(1, 1 << 28), unique=True, min_size=pages, max_size=pages).map(fill)


def operations(
    machine: Machine, *, max_size: int = 20, max_slots: int = 300
) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Operations for `Machine.replay`: bulk calls of both versions, blocks of every order, frees, drains and locks.

    Every list is valid on a machine on which nothing was replayed before, whatever fails: blocks are freed with their
    own order, no page is overwritten, no lock is taken twice, and every lock is released.

    Args:
        machine: The machine whose CPUs, nodes and zones are used.
        max_size: Maximum number of operations, not counting frees that make room and locks released at the end.
        max_slots: Number of slots that bulk calls use.
    """
    return _operations(machine, max_size, max_slots)


@st.composite
def _operations(draw: st.DrawFn, machine: Machine, max_size: int, max_slots: int) -> list[dict[str, Any]]:
    cpus, nids = st.integers(0, machine.cpus - 1), st.integers(0, machine.nodes - 1)
    zones = [(zone.nid, zone.idx) for zone in machine.zones]
    gfps = st.sampled_from(GFPS)
    out: list[dict[str, Any]] = []
    held: dict[tuple[int, int, int], int] = {}
    for _ in range(draw(st.integers(0, max_size))):
        kind = draw(
            st.sampled_from(["bulk_v1", "bulk_v2", "alloc", "free", "free_range", "free_stride", "drain", "lock"])
        )
        cpu = draw(cpus)
        slot = draw(st.integers(0, max_slots - 1))
        nr = draw(st.integers(0, max_slots - slot))
        if kind in ("bulk_v1", "bulk_v2"):
            if kind == "bulk_v2":
                # It overwrites what stands there.
                out.append({"op": "free_range", "cpu": cpu, "slot": slot, "nr": nr})
            out.append({"op": kind, "cpu": cpu, "gfp": draw(gfps), "nid": draw(nids), "nr_pages": nr, "slot": slot})
        elif kind in ("alloc", "free"):
            # Blocks have slots of their own, one for each order.
            order = draw(st.integers(0, 10))
            out.append({"op": "free", "cpu": cpu, "order": order, "slot": max_slots + order})
            if kind == "alloc":
                block = {"gfp": draw(gfps), "nid": draw(nids), "order": order, "slot": max_slots + order}
                out.append({"op": "alloc", "cpu": cpu, **block})
        elif kind == "free_range":
            name = draw(st.sampled_from(["free_range", "free_range_reverse"]))
            out.append({"op": name, "cpu": cpu, "slot": slot, "nr": nr})
        elif kind == "free_stride":
            first, step = draw(st.integers(0, 7)), draw(st.integers(1, 8))
            out.append({"op": kind, "cpu": cpu, "slot": slot, "nr": nr, "first": first, "step": step})
        elif kind == "drain":
            # A drain of lists whose lock is held would wait for ever.
            if not any(of == cpu for _, _, of in held):
                out.append({"op": "drain_local", "cpu": cpu})
        else:
            nid, idx = draw(st.sampled_from(zones))
            lock = (nid, idx, cpu)
            take = lock not in held
            out.append(_lock("hold" if take else "release", lock))
            if take:
                held[lock] = 1
            else:
                del held[lock]
    return out + [_lock("release", lock) for lock in held]


def _lock(what: str, lock: tuple[int, int, int]) -> dict[str, Any]:
    nid, idx, cpu = lock
    return {"op": f"{what}_pcp_lock", "cpu": 0, "node": nid, "zone": idx, "pcp_cpu": cpu}


def fault_plans(*, max_pages: int = 8) -> st.SearchStrategy[dict[str, Any]]:
    """Keyword arguments for `Machine.faults`: none, few pages, or one step that fails. Shrinks to none.

    Args:
        max_pages: Maximum number of pages that can still be allocated.
    """
    need_within("max_pages", max_pages, 0, 1 << 40)
    steps = st.sampled_from(["trylock", "single", "prepare", "watermark"])
    return st.one_of(
        st.just({}),
        st.integers(0, max_pages).map(lambda n: {"pages": n}),
        steps.map(lambda name: {name: True}),
        st.tuples(steps, st.integers(0, 3)).map(lambda pair: {pair[0]: pair[1]}),
    )


@dataclass(frozen=True)
class Side:
    """What one semantics did.

    Attributes:
        name: The semantics.
        returned: What it returned, or the error that it raised.
        array: Frame numbers in the slots afterwards.
        lost: Pages that stood in the array before, are still owned, and stand nowhere now.
    """

    name: str
    returned: int | str
    array: tuple[int, ...]
    lost: int

    def said(self) -> str:
        """The return value and the loss, in words."""
        value = f"returns {self.returned}" if isinstance(self.returned, int) else f"raises {self.returned}"
        return value + (f", {self.lost} page{'s' if self.lost != 1 else ''} lost" if self.lost else "")


@dataclass(frozen=True)
class Difference:
    """A call after which two semantics differ, on machines in the same state.

    Attributes:
        before: Frame numbers in the slots before the call.
        nr_pages: Slots passed.
        faults: The steps that failed, as arguments of `Machine.faults`.
        a: What the first semantics did.
        b: What the second did.
    """

    before: tuple[int, ...]
    nr_pages: int
    faults: Mapping[str, Any]
    a: Side
    b: Side

    @property
    def shape(self) -> str:
        """The array before the call: `x` is a page, `.` a hole."""
        return picture(self.before)

    def __str__(self) -> str:
        failing = ", ".join(f"{name}={value}" for name, value in self.faults.items()) or "nothing fails"
        passed = f"{self.nr_pages} slot{'s' if self.nr_pages != 1 else ''} passed of {self.shape}"
        width = max(len(name) for name in ("before", self.a.name, self.b.name)) + 2
        lines = [f"{self.a.name} and {self.b.name} differ: {passed}, {failing}", f"  {'before':{width}}{self.shape}"]
        for side in (self.a, self.b):
            lines.append(f"  {side.name:{width}}{picture(side.array, self.before)}  {side.said()}")
        if self.a.said() == self.b.said() and picture(self.a.array, self.before) == picture(self.b.array, self.before):
            at = next(i for i, (p, q) in enumerate(zip(self.a.array, self.b.array, strict=True)) if p != q)
            lines.append(f"  slot {at} holds pfn {self.a.array[at]} and pfn {self.b.array[at]}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        drawn = [draw_array(PageArray(self.before))]
        drawn += [draw_array(PageArray(side.array), self.before) for side in (self.a, self.b)]
        said = rows(["semantics", "what it did"], [[side.name, side.said()] for side in (self.a, self.b)])
        return f"<div>{''.join(drawn)}{said}</div>"


class SemanticsDiffer(AssertionError):
    """Two semantics behaved differently.

    Attributes:
        difference: What each of them did.
    """

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


def _name(semantics: Semantics) -> str:
    if isinstance(semantics, str):
        return semantics
    name = getattr(semantics, "name", None) or getattr(semantics, "__name__", None)
    return str(name or type(semantics).__name__)


def _call(semantics: Semantics, machine: Machine, array: PageArray, nr_pages: int, gfp: int, cpu: int) -> int | str:
    try:
        if semantics == "v3":
            return machine.alloc_pages_bulk_refill(gfp, array, nr_pages, cpu=cpu)
        if isinstance(semantics, str):
            return machine.alloc_pages_bulk(gfp, array, nr_pages, api=semantics, cpu=cpu)
        returned = semantics(machine, array, nr_pages, gfp=gfp, cpu=cpu)
    except BulkpagesError as error:
        return f"{type(error).__name__}: {error}"
    if not isinstance(returned, int):
        raise TypeError(f"{_name(semantics)} returned {returned!r}: a semantics returns a number")
    return int(returned)


def _side(semantics: Semantics, machine: Machine, array: PageArray, returned: int | str, owned: int) -> Side:
    after = tuple(array)
    # What is owned and stands in no slot; a page in two slots counts once.
    lost = machine.audit().allocated - owned - len({page for page in after if page})
    return Side(_name(semantics), returned, after, max(0, lost))


class SemanticsMachine(RuleBasedStateMachine):
    """A state machine that makes the same calls with two semantics on twin machines, until they differ.

    Subclass it, set `a` and `b`, and let pytest find the subclass's `TestCase`. A failure shrinks to the smallest array
    and the fewest calls, and the message draws it. The machines are equal whenever a call begins, and everything except
    the call is the same on both.

    Attributes:
        a: One semantics.
        b: The other one.
        max_slots: Maximum number of slots of the array.
        holes: Whether the array may hold pages when a call begins.
        faults: Whether steps may fail.
        memory: Memory of the machines.

    Example:
        >>> from bulkpages.testing import SemanticsMachine
        >>> class Mine(SemanticsMachine):
        ...     a, b, holes = "v1", "v2", False
        >>> TestMine = Mine.TestCase
    """

    a: ClassVar[Semantics] = "v1"
    b: ClassVar[Semantics] = "v2"
    max_slots: ClassVar[int] = 8
    holes: ClassVar[bool] = True
    faults: ClassVar[bool] = True
    memory: ClassVar[str] = "16MiB"

    def __init__(self) -> None:
        super().__init__()
        for semantics in self._both():
            if isinstance(semantics, str) and semantics not in ("v1", "v2", "v3"):
                raise InvalidArgument(f"semantics {semantics!r} is neither 'v1', 'v2' or 'v3' nor callable")
        self._machines = [Machine(self.memory, cpus=2) for _ in range(2)]
        self._arrays = [PageArray(0), PageArray(0)]

    def _both(self) -> tuple[Semantics, Semantics]:
        # From the class, so that a function is not taken for a method.
        return _as_written(type(self), "a"), _as_written(type(self), "b")

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """An array of some shape."""
        self._take(data)

    @rule(data=st.data())
    def another_array(self, data: st.DataObject) -> None:
        """The array goes back; another one is taken."""
        for machine, array in zip(self._machines, self._arrays, strict=True):
            machine.free_bulk(array)
        self._take(data)

    def _take(self, data: st.DataObject) -> None:
        shape = data.draw(shapes(max_slots=self.max_slots), label="array")
        if not self.holes:
            shape = "." * len(shape)
        self._arrays = [fill_shape(machine, shape) for machine in self._machines]

    @precondition(lambda self: self.holes)
    @rule(data=st.data())
    def free_a_page(self, data: st.DataObject) -> None:
        """One slot becomes a hole."""
        held = [i for i, page in enumerate(self._arrays[0]) if page]
        if held:
            i = data.draw(st.sampled_from(held), label="slot")
            for machine, array in zip(self._machines, self._arrays, strict=True):
                machine.free_pages(array[i])
                array[i] = 0

    @rule(cpu=st.integers(0, 1))
    def drain(self, cpu: int) -> None:
        """The lists of a CPU go back to the buddy lists."""
        for machine in self._machines:
            machine.drain_local_pages(cpu)

    @rule(gfp=st.sampled_from(GFPS), cpu=st.integers(0, 1))
    def call(self, gfp: int, cpu: int) -> None:
        """The call on all slots, on both."""
        self._compare(len(self._arrays[0]), gfp, cpu, {})

    @precondition(lambda self: len(self._arrays[0]) > 1)
    @rule(data=st.data(), gfp=st.sampled_from(GFPS), cpu=st.integers(0, 1))
    def call_on_some(self, data: st.DataObject, gfp: int, cpu: int) -> None:
        """The call on the first slots, on both."""
        nr_pages = data.draw(st.integers(0, len(self._arrays[0]) - 1), label="slots passed")
        self._compare(nr_pages, gfp, cpu, {})

    @precondition(lambda self: self.faults)
    @rule(data=st.data(), gfp=st.sampled_from(GFPS), cpu=st.integers(0, 1))
    def call_that_fails(self, data: st.DataObject, gfp: int, cpu: int) -> None:
        """The call on all slots while something fails, on both."""
        plan = data.draw(fault_plans(max_pages=len(self._arrays[0])), label="faults")
        self._compare(len(self._arrays[0]), gfp, cpu, plan)

    def _compare(self, nr_pages: int, gfp: int, cpu: int, plan: dict[str, Any]) -> None:
        before = tuple(self._arrays[0])
        held = len([page for page in before if page])
        sides = []
        for semantics, machine, array in zip(self._both(), self._machines, self._arrays, strict=True):
            owned = machine.audit().allocated - held
            with machine.faults(**plan):
                returned = _call(semantics, machine, array, nr_pages, gfp, cpu)
            sides.append(_side(semantics, machine, array, returned, owned))
        a, b = sides
        if (a.returned, a.array, a.lost) != (b.returned, b.array, b.lost):
            raise SemanticsDiffer(Difference(before, nr_pages, plan, a, b))
        if not self.holes:
            for machine, array in zip(self._machines, self._arrays, strict=True):
                machine.free_bulk(array)

    def teardown(self) -> None:
        """What both did left sound machines."""
        for machine in self._machines:
            machine.audit()


def _as_written(cls: type, name: str) -> Any:
    """An attribute of a class or its bases, as it was written."""
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


def compare_semantics(
    a: Semantics,
    b: Semantics,
    *,
    max_slots: int = 8,
    holes: bool = True,
    faults: bool = True,
    max_examples: int = 100,
    steps: int = 12,
) -> Difference | None:
    """Searches for the smallest call after which two semantics differ. The result is the same each time.

    Args:
        a: One semantics.
        b: The other one.
        max_slots: Maximum number of slots of an array.
        holes: Whether arrays may hold pages when a call begins.
        faults: Whether steps may fail.
        max_examples: Number of runs of the state machine.
        steps: Maximum number of steps of a run.

    Returns:
        The difference, or None if none was found. None does not prove that there is none.

    Raises:
        InvalidArgument: An unknown semantics, or a number out of range.
        Exception: Whatever a semantics raised that is not an error of this package.
    """
    need_within("max_slots", max_slots, 0, 1 << 20)
    need_within("max_examples", max_examples, 1, 1 << 40)
    need_within("steps", steps, 1, 1000)
    options = {"a": a, "b": b, "max_slots": max_slots, "holes": holes, "faults": faults}
    machine = type("Compared", (SemanticsMachine,), options)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=max_examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                derandomize=True,
                print_blob=False,
                report_multiple_bugs=False,
                # Which parts of the example do not matter is not asked for, and would take most of the time.
                phases=(Phase.generate, Phase.shrink),
            ),
        )
    except SemanticsDiffer as found:
        return found.difference
    return None
