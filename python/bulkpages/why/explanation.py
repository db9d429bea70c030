"""Why a request fails, or how it is served: branch by branch, with the numbers that decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulkpages import _core
from bulkpages.gfp import __GFP_THISNODE
from bulkpages.kinds import need, need_within
from bulkpages.why.figures import Attempt, Gate, Test, attempts, gate, highest_zone, migratetype, test
from bulkpages.why.remedies import Ask, Remedy, remedies
from bulkpages.why.state import State

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """What a request does on a machine, and why. Numbers are in pages.

    Attributes:
        request: The request in words.
        gfp: Its flags.
        order: Its order.
        bulk: Number of pages of a bulk call; None for a single block.
        works: Whether the request succeeded in full, on a copy of the machine.
        got: What it got.
        reason: The reason, in one sentence.
        zones: The zones that may serve the request, in order.
        wanted_type: The migratetype of the request.
        tests: Each attempt, with the figures of each zone.
        gates: The gate of a bulk call at each zone of the preferred node.
        remedies: Changes that were tried on copies of the machine, those that work first. Empty if the request
            succeeds.
        notes: What the texts from which the machine was made leave open.
    """

    request: str
    gfp: int
    order: int
    bulk: int | None
    works: bool
    got: str
    reason: str
    zones: Sequence[str]
    wanted_type: str
    tests: Sequence[tuple[Attempt, Sequence[Test]]]
    gates: Sequence[Gate] = ()
    remedies: Sequence[Remedy] = ()
    notes: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Everything by name, as JSON-able values."""
        return {
            "request": self.request,
            "gfp": self.gfp,
            "order": self.order,
            "bulk": self.bulk,
            "works": self.works,
            "got": self.got,
            "reason": self.reason,
            "zones": list(self.zones),
            "type": self.wanted_type,
            "attempts": [
                {"name": attempt.name, "mark": attempt.mark, "zones": [t.as_dict() for t in tests]}
                for attempt, tests in self.tests
            ],
            "gates": [of_zone.as_dict() for of_zone in self.gates],
            "remedies": [remedy.as_dict() for remedy in self.remedies],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        out = [f"{self.request}: {self.got}", f"  {self.reason}", ""]
        out.append(f"Zones that may serve it, in order: {', '.join(self.zones)}. Wanted: {self.wanted_type} pages.")
        if self.bulk is not None:
            out += ["", "The bulk call's gate: free pages must exceed LOW + pages requested + reserve"]
            out += [f"  {_gate_line(of_zone)}" for of_zone in self.gates]
        for attempt, tests in self.tests:
            out += ["", _attempt_line(attempt)]
            out += [f"  {_test_line(of_zone, self.order)}" for of_zone in tests]
        if self.remedies:
            out += ["", "What would let it succeed (each change was tried on a copy of the machine)"]
            out += [f"  {'yes' if remedy.works else 'no ':4}{remedy.what}: {remedy.got}" for remedy in self.remedies]
        if self.notes:
            out += ["", "Notes on the input", *(f"  {note}" for note in self.notes)]
        return "\n".join(out) + "\n"


def _gate_line(of: Gate) -> str:
    line = f"{of.zone}: {of.usable} > {of.low} + {of.pages} + {of.reserve}"
    if of.short:
        return f"{line} does not hold: {of.short} short"
    return f"{line} holds" + ("; but another CPU holds the lock of the lists: the trylock fails" if of.held else "")


def _attempt_line(attempt: Attempt) -> str:
    if attempt.mark is None:
        return f"The {attempt.name}"
    line = f"The {attempt.name}: usable pages must exceed {attempt.mark.upper()} + reserve"
    eased = [
        name
        for name, so in (
            ("__GFP_HIGH halves the mark", attempt.high),
            ("a quarter less for requests that cannot wait", attempt.high and attempt.non_block),
            ("high-atomic blocks may be used", attempt.highatomic),
        )
        if so
    ]
    return f"{line} ({', '.join(eased)})" if eased else line


def _test_line(of: Test, order: int) -> str:
    usable = f"{of.free}"
    usable += f" - {of.cma} CMA" if of.cma and not of.may_use_cma else ""
    usable += f" - {of.highatomic} high-atomic" if of.highatomic else ""
    usable += f" - {of.block} of the block" if of.block else ""
    if of.mark is None:
        line = f"{of.zone}: {usable}; no mark is tested"
    else:
        mark = f"{of.mark}" + (f" (of {of.full_mark})" if of.mark != of.full_mark else "")
        mark += f" (with a boost of {of.boost})" if of.boost else ""
        line = f"{of.zone}: {usable} > {mark} + {of.reserve}"
        line += f" does not hold: {of.short} short" if of.short else " holds"
    if order and not of.has_block:
        line += f"; no free block of order {order}"
        largest = ", ".join(f"{kind} {found}" for kind, found in sorted(of.largest.items()))
        line += f" (largest: {largest})" if largest else " (nothing is free)"
    if of.cma and of.may_use_cma:
        when = "before others, being more than half" if of.cma_first else "when no Movable block is left"
        line += f"; {of.cma} of the free pages are CMA, taken {when}"
    if of.lists:
        line += f"; {of.lists} page{'s' * (of.lists != 1)} on this CPU's lists"
    if of.held:
        line += "; another CPU holds the lock of the lists"
    return line


def _single_reason(served: str | None, tests: Sequence[tuple[Attempt, Sequence[Test]]], order: int) -> str:
    """One sentence on a request for one block; `served`: the zone that it came from."""
    for attempt, of_zones in tests:
        passing = [of_zone.zone for of_zone in of_zones if of_zone.passes]
        if served is not None and served in passing:
            avoided = ""
            if served != passing[0]:
                avoided = f"; {passing[0]}, which comes first, would have had to mix types in a pageblock"
            return f"The {attempt.name} accepts {served}{avoided}."
        if passing:
            return f"{passing[0]} passes the tests of the {attempt.name}, but none of its blocks could be taken."
    if not tests or not tests[-1][1]:
        return "No zone may serve it."
    last = tests[-1][1]
    if served is not None:
        return f"{served} served it without passing these tests."
    blockless = [of_zone for of_zone in last if not of_zone.has_block and not of_zone.short]
    if blockless:
        worst = max(blockless, key=lambda of_zone: of_zone.free)
        return (
            f"Fragmentation: {worst.zone} has {worst.free} free pages, enough for its marks, but no free block of "
            f"order {order}{' that the request may use' if max(worst.largest.values(), default=-1) >= order else ''}."
        )
    nearest = min(last, key=lambda of_zone: of_zone.short)
    kept = f", of which {nearest.reserve} are reserved (lowmem_reserve)" if nearest.reserve else ""
    mark = "" if nearest.mark is None else f" of keeping {nearest.mark + nearest.reserve} free{kept}"
    closed = ""
    if nearest.cma and not nearest.may_use_cma:
        closed = f" {nearest.cma} of its {nearest.free} free pages are CMA, which serves movable pages only."
    return f"Not enough free pages: {nearest.zone} comes closest, {nearest.short} pages short{mark}.{closed}"


def _bulk_reason(works: bool, gates: Sequence[Gate], wanted: int, nodes: int) -> str:
    """One sentence on a bulk call."""
    if wanted == 1:
        return "One page takes the single-page path."
    opened = next((of_zone for of_zone in gates if not of_zone.short), None)
    if opened is None:
        nearest = min(gates, key=lambda of_zone: of_zone.short, default=None)
        if nearest is None:
            return "No zone may serve it."
        other = " Zones of other nodes are not asked." if nodes > 1 else ""
        return (
            f"The gate is closed: {nearest.zone} comes closest, {nearest.short} pages short of LOW + {wanted}; "
            f"the call takes one page by the single-page path.{other}"
        )
    if opened.held:
        return f"The trylock of this CPU's lists in {opened.zone} fails, so one page comes by the single-page path."
    if works:
        return f"{opened.zone} has enough above LOW, and the batch comes from this CPU's lists there."
    return f"{opened.zone} passes the gate, but its lists could not be refilled far enough."


def explain(
    machine: Machine,
    gfp: int,
    order: int = 0,
    *,
    nid: int | None = None,
    cpu: int = 0,
    bulk: int | None = None,
) -> Explanation:
    """What a request would do on a machine now. The machine does not change; see `Machine.explain`.

    Raises:
        InvalidArgument: An argument that the machine does not accept.
    """
    need("a machine", machine, _core.Machine)
    need_within("order", order, 0, 10)
    need_within("cpu", cpu, 0, machine.cpus - 1)
    if bulk is not None:
        need_within("bulk", bulk, 1, 1 << 20)
    if nid is not None:
        need_within("nid", nid, 0, machine.nodes - 1)
    state = State.of(machine)
    may_use_cma = state.may_use_cma(gfp)
    ask = Ask(gfp, order if bulk is None else 0, nid, cpu, bulk)
    mine = state.copy()
    assert mine is not None, "a machine copies"
    # Also refuses flags that no request has.
    works, got = ask.make(mine)
    node = state.snapshot["cpu_node"][str(cpu)] if nid is None else nid
    highest = highest_zone(gfp, state.names)
    zones = [z for z in state.zonelist(node) if z["idx"] <= highest]
    if gfp & __GFP_THISNODE:
        zones = [z for z in zones if z["nid"] == node]
    walks = attempts(gfp, ask.order)
    cma = {z["index"]: state.free_cma(z) for z in zones}
    tests = [
        (walk, [test(machine, z, walk, ask.order, highest, cpu, cma[z["index"]], may_use_cma) for z in zones])
        for walk in walks
    ]
    text = _core.gfp_text(gfp)
    where = f" on node {node}, CPU {cpu}" if machine.nodes > 1 or machine.cpus > 1 else ""
    if bulk is None:
        gates: list[Gate] = []
        request = f"{text}, order {order}{where}"
        reason = _single_reason(got.removeprefix("a block from ") if works else None, tests, order)
        got = got if works else "fails"
    else:
        gates = gate(machine, zones, bulk, cpu, may_use_cma)
        request = f"alloc_pages_bulk({text}, {bulk} pages){where}"
        reason = _bulk_reason(works, gates, bulk, machine.nodes)
    return Explanation(
        request=request,
        gfp=gfp,
        order=ask.order,
        bulk=bulk,
        works=works,
        got=got,
        reason=reason,
        zones=[f"{z['nid']}.{z['name']}" for z in zones],
        wanted_type=migratetype(gfp),
        tests=tests,
        gates=gates,
        remedies=() if works or not zones else remedies(state, ask, zones),
    )
