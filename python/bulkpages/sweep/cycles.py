"""Cycles of a sweep: forms of one workload against each other, by what `bulkpages compare` measures with.

Cells that differ in `api` or `form` alone are one workload. It runs interleaved over fresh processes with each form
against itself beside it, and there is no verdict without that and an interval. All run on one state of one machine:
that of the first seed. These are clock counts of the emulator.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpages.errors import BulkpagesError, InvalidArgument
from bulkpages.files import write_whole
from bulkpages.sweep.holes import shape_of
from bulkpages.sweep.spec import KEYS, Cell, Spec
from bulkpages.sweep.unit import prepare

if TYPE_CHECKING:
    from bulkpages.suite.trunk.cells import Cell as Workload

__all__ = ["measure", "plan_cells"]

NAME = "cycles.json"
MACHINE = tuple(key for key, k in KEYS.items() if k.of == "machine" and key not in ("lists", "above_low", "which"))
# As the forms of the fill by the API alone are called.
CORE = {"v1": "before", "v2": "after", "v3": "v3"}
# Trials are made as in a quick comparison.
LOOKS = 2
KEPT = (
    *("cell", "base", "form", "unit", "nr_pages", "holes", "conditions", "processes", "look"),
    *("cost", "ratio", "interval", "verdict", "effect", "counts"),
)


def _why_not(cell: Cell) -> str | None:
    """Why a cell cannot be timed."""
    if cell["faults"] != "none":
        return "a call that fails is not timed"
    if cell["what"] == "own":
        return "a caller of your own is timed by its compare()"
    if cell.get("caller") == "__page_pool_alloc_pages_slow":
        return "a page_pool is timed by bulkpages compare, in the kernel's own loops"
    for key in ("nofail", "read_ahead", "memcg"):
        if cell.get(key):
            return f"{key} = true is not timed"
    return None


def _workload(name: str, cells: list[Cell], seed: int) -> Workload | str:
    """The workload of these cells, which differ in their form; or why there is none."""
    from bulkpages.suite.trunk.cells import BulkLoop, Fill
    from bulkpages.suite.trunk.states import Conditions

    first = cells[0]
    conditions = Conditions(
        cold=first["lists"] == "cold",
        page_owner=first["page_owner"],
        above_low=first["above_low"] if first["above_low"] >= 0 else None,
    )
    forms = tuple(str(cell["form" if cell["what"] == "caller" else "api"]) for cell in cells)
    shape = shape_of(first["holes"], first["nr_pages"], seed)
    filler = first.get("caller")
    if filler is None:
        word, _, period = first["holes"].partition(" ")
        if word in ("all", "every") and "v3" not in forms:
            if len(forms) < 2:
                return f"{forms[0]} alone: there is nothing to compare it with"
            return BulkLoop(
                name=name, nr_pages=first["nr_pages"], hole_period=int(period or 0), forms=forms, conditions=conditions
            )
        filler, forms = "core", tuple(CORE[form] for form in forms if form in CORE)
    if len(forms) < 2:
        return f"{', '.join(forms) or 'single'} alone: there is nothing to compare it with"
    return Fill(name=name, filler=filler, pattern=shape, forms=forms, conditions=conditions)


def plan_cells(spec: Spec) -> tuple[list[Workload], dict[str, str]]:
    """The workloads of a sweep, and the cells that cannot be timed with the reason.

    Raises:
        InvalidArgument: Cells stand on more than one machine, or none can be timed.
    """
    for key in MACHINE:
        found = list(dict.fromkeys(cell[key] for cell in spec.cells))
        if len(found) > 1:
            raise InvalidArgument(f'measure "cycles" takes one machine: {key} has the values {found[0]} and {found[1]}')
    groups: dict[str, list[Cell]] = {}
    skipped: dict[str, str] = {}
    axes = [key for key in spec.axes if key not in ("api", "form")]
    for cell in spec.cells:
        words = [str(cell["caller" if cell["what"] == "caller" else "what"]), f"nr_pages {cell['nr_pages']}"]
        words += [f"{key} {cell[key]}" for key in axes if key in cell and key not in ("caller", "nr_pages")]
        name = ", ".join(words)
        if why := _why_not(cell):
            skipped[name] = why
        else:
            groups.setdefault(name, []).append(cell)
    workloads: list[Workload] = []
    for name, cells in groups.items():
        made = _workload(name, cells, spec.seeds[0])
        if isinstance(made, str):
            skipped[name] = made
        else:
            workloads.append(made)
    if not workloads:
        name, why = next(iter(skipped.items()))
        raise InvalidArgument(f'measure "cycles": no cell can be timed; {name}: {why}')
    return workloads, skipped


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `compare`: what a sweep knows of it, in the sweep's own words."""
    names = {form: api for api, form in CORE.items()} if row["caller"] == "core" else {}
    kept = {key: row[key] for key in KEPT}
    return {**kept, "base": names.get(row["base"], row["base"]), "form": names.get(row["form"], row["form"])}


def measure(
    spec: Spec,
    where: Mapping[str, Any],
    folder: Path | None,
    progress: Callable[[float, str], None] = lambda seconds, what: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures, for `spec.seconds`.

    Args:
        spec: The sweep.
        where: Its provenance.
        folder: Where an interrupted measurement is kept, and gone on with.
        progress: Called with the seconds measured and a description.
        say: Told what a user should know before the end.

    Returns:
        `rows`, with ratio, interval and verdict of each form against the first; `null`, the A/A runs; `skipped`.

    Raises:
        BulkpagesError: Nothing can be measured, or a process was ended from outside.
        KeyboardInterrupt: It was interrupted; what was measured is kept in `folder`.
    """
    from bulkpages.suite.trunk.runner import BLOCKS, TRIAL_SECONDS, Plan, run
    from bulkpages.suite.trunk.timing import analyse, load, restore

    workloads, skipped = plan_cells(spec)
    kept = folder / NAME if folder is not None else None
    earlier = restore(load(kept)) if kept is not None and kept.exists() else None
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state.json"
        state.write_text(json.dumps(prepare(spec.cells[0], spec.seeds[0], spec.states).snapshot()), encoding="utf-8")
        plan = Plan(
            workloads,
            state,
            blocks=BLOCKS,
            trial_seconds=TRIAL_SECONDS,
            seed=spec.seeds[0],
            seconds=spec.seconds,
            looks=LOOKS,
            effect=spec.effect,
            strict=False,
        )
        measured = run(plan, earlier, progress, say)
    results = analyse(plan, measured, dict(where))
    if measured.interrupted:
        if kept is not None:
            write_whole(kept, json.dumps(results))
        raise KeyboardInterrupt
    if kept is not None:
        with contextlib.suppress(FileNotFoundError):
            kept.unlink()
    if not results["rows"]:
        raise BulkpagesError(f"no workload could be measured: {measured.skipped}")
    return {
        "what": "clock counts of the emulator, not of a kernel",
        "ns_per_count": where["ns_per_count"],
        "method": results["method"],
        "null": results["null"],
        "rows": [_row(row) for row in results["rows"]],
        "skipped": {**skipped, **measured.skipped},
    }
