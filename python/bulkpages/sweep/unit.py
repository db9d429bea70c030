"""What one worker does: runs of cells, each from a machine of its own, so that no run knows of any other.

A unit carries all that it needs and can be pickled; its rows depend on nothing else, not on who runs it or when.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from bulkpages import _core
from bulkpages import callers as ports
from bulkpages.callers.result import CallerResult
from bulkpages.callers.words import parse_faults
from bulkpages.eras.rules import DEFAULT, parse_rules
from bulkpages.errors import BulkpagesError
from bulkpages.machine import Machine
from bulkpages.states import age, set_lists, stream, take_down, use
from bulkpages.sweep.holes import shape_of
from bulkpages.sweep.own import own_caller

__all__ = ["COLUMNS", "Part", "Unit", "make_machine", "run_cell", "run_unit"]

#: What a row holds beside its cell and seed, in this order.
COLUMNS = (
    "ret",
    "gave_up",
    "filled",
    "returns",
    "waits",
    "freed",
    "slot_tests",
    "slot_writes",
    "slot_clears",
    "list_takes",
    "refills",
    "zone_locks",
    "longest_hold_pages",
    "trylocks",
    "trylock_failures",
    "bulk_singles",
    "single_calls",
    "vm",
    "error",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Seeds of one cell: those with the indices from `start` up to `stop`.

    Attributes:
        index: Number of the cell in its sweep, from 0.
        cell: Its keys and values.
        start: Index of the first seed.
        stop: Index behind the last.
        seeds: The seeds themselves.
    """

    index: int
    cell: dict[str, Any]
    start: int
    stop: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Unit:
    """Work for one worker.

    Attributes:
        parts: What is run.
        states: The kernel states that these cells need, by digest.
    """

    parts: tuple[Part, ...]
    states: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def runs(self) -> int:
        """Runs in all parts."""
        return sum(part.stop - part.start for part in self.parts)


@lru_cache(maxsize=8)
def _state(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(data))
    return found


def make_machine(cell: Mapping[str, Any], states: Mapping[str, bytes]) -> Machine:
    """The machine of a cell, before anything was done to it.

    Raises:
        BulkpagesError: There is no such machine.
    """
    rules = parse_rules(cell.get("rules", "").split())
    memcg, owner = cell["memcg"], cell["page_owner"]
    if cell["state"] is not None:
        return Machine.from_snapshot(_state(states[cell["state"]]), memcg=memcg, page_owner=owner, rules=rules)
    return Machine(
        cell["memory"],
        cell["cpus"],
        cell["nodes"],
        memcg=memcg,
        page_owner=owner,
        kernel=cell.get("kernel", DEFAULT),
        rules=rules,
    )


def prepare(cell: Mapping[str, Any], seed: int, states: Mapping[str, bytes]) -> Machine:
    """The same, used and aged as the cell says."""
    machine = make_machine(cell, states)
    random = stream(seed)
    use(machine, cell["used"], random)
    age(machine, cell["aged"], random)
    return machine


def _call(
    machine: Machine, cell: Mapping[str, Any], shape: str, array: _core.PageArray, states: Mapping[str, bytes]
) -> Row:
    """The call itself: what it returned, left and did."""
    name, slots = cell.get("caller"), cell["nr_pages"]
    if cell["what"] == "own":
        own = own_caller(states[cell["source"]], cell["own"])
        given = array if own.takes == "array" else slots
        return _row(own.run(machine, given, form=cell["form"], max_waits=cell["max_waits"]))
    if name == "__page_pool_alloc_pages_slow":
        pool = ports.PagePool(machine, form=cell["form"])
        got = [pool.alloc() for _ in range(slots)]
        filled = slots - got.count(None)
        return {
            "ret": filled,
            "gave_up": False,
            "filled": filled,
            "returns": [ret for _, ret in pool.bulk_calls],
            "waits": 0,
            "freed": 0,
            **{key: getattr(pool, key) for key in ("slot_tests", "slot_writes", "slot_clears")},
            **pool.counts,
        }
    options: dict[str, Any] = {"form": cell.get("form"), "max_waits": cell.get("max_waits")}
    if name is None:
        result = CallerResult(**_core.call_api(machine, array, cell["api"]))
    else:
        known = ports.port(name)
        result = ports.run(
            machine,
            name,
            array if known.array == "given" else None,
            pages=slots,
            have=shape.count("x") if known.array == "prefix" else 0,
            flags=[flag for flag, _ in known.flags if cell.get(flag)],
            **options,
        )
    return _row(result)


def _row(result: CallerResult) -> Row:
    return {
        "ret": result.ret,
        "gave_up": result.gave_up,
        "filled": sum(1 for pfn in result.array if pfn),
        "returns": [ret for _, ret in result.bulk_calls],
        **{key: getattr(result, key) for key in ("waits", "freed", "slot_tests", "slot_writes", "slot_clears")},
        **result.counts,
    }


def run_cell(cell: Mapping[str, Any], seed: int, states: Mapping[str, bytes]) -> Row:
    """One run: a machine, brought into its state; an array with its holes; the call, observed; an audit.

    Returns:
        A value for each of `COLUMNS`. `error` is None, or says why the run could not be made; the others are None then.
    """
    row: Row = dict.fromkeys(COLUMNS)
    try:
        machine = prepare(cell, seed, states)
        shape = shape_of(cell["holes"], cell["nr_pages"], seed)
        # Callers that bring an array of their own are not given one.
        given = cell["what"] != "caller" or ports.port(cell["caller"]).array == "given"
        array = ports.fill_shape(machine, shape if given else "")
        set_lists(machine, cell["lists"])
        if cell["above_low"] >= 0:
            take_down(machine, cell["above_low"])
        faults = {} if cell["faults"] == "none" else parse_faults(cell["faults"].split())
        before = machine.vmstat
        with machine.faults(**faults):
            row |= _call(machine, cell, shape, array, states)
        after = machine.vmstat
        machine.audit()
    except BulkpagesError as error:
        return {**dict.fromkeys(COLUMNS), "error": str(error)}
    except Exception as error:
        # What a caller of your own raises is no reason to lose the other runs.
        if cell["what"] != "own":
            raise
        return {**dict.fromkeys(COLUMNS), "error": f"{type(error).__name__}: {error}"}
    # Levels (nr_...) beside events: what the call moved.
    row["vm"] = {name: value - before[name] for name, value in after.items() if value != before[name]}
    return row


def run_unit(unit: Unit) -> list[tuple[list[Row], float]]:
    """Runs a unit: for each part its rows, in the order of the seeds, and the seconds that they took."""
    found = []
    for part in unit.parts:
        start = time.perf_counter()
        rows = [run_cell(part.cell, seed, unit.states) for seed in part.seeds]
        found.append((rows, time.perf_counter() - start))
    return found
