"""Forms of an own caller, timed against the first by the method of `bulkpages compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpages._core import Stream
from bulkpages.errors import BulkpagesError
from bulkpages.plain import table
from bulkpages.tables import Table, Tabular, comparison

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Comparison", "measure"]


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """The forms of a caller compared with the first one.

    Attributes:
        results: As `results.json` of `bulkpages compare` has it.
    """

    results: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One for each input and form: `ratio`, `interval`, `verdict` (None when the A/A runs were not silent), ..."""
        return list(self.results["rows"])

    def to_table(self) -> Table:
        """As `bulkpages.tables.comparison`."""
        return comparison(self.results)

    def text(self) -> str:
        """The comparison as text."""
        counts = "cycles" if self.results["provenance"]["counts_cycles"] else "ns"
        lines = []
        for row in self.rows:
            low, high = ((end - 1) * 100 for end in row["interval"])
            cost = [f"{row['cost'][which]['counts']:.4g}" for which in ("base", "form")]
            tests = [f"{row['counts'][which]['slot_tests']:.3g}" for which in ("base", "form")]
            writes = [f"{row['counts'][which]['slot_writes']:.3g}" for which in ("base", "form")]
            change = f"{(row['ratio'] - 1) * 100:+.1f}% [{low:+.1f},{high:+.1f}] {row['verdict'] or 'no verdict'}"
            forms = f"{row['form']} against {row['base']}"
            lines.append([row["cell"], forms, *cost, change, " / ".join(tests), " / ".join(writes)])
        head = ["input", "forms", f"{counts}, base", f"{counts}, form", "change", "slot tests", "slot writes"]
        null = self.results["null"]
        said = f"A/A: {len(null['alarms'])} false alarms in {null['comparisons']} comparisons of a form with itself"
        if null["detectable"] is not None:
            said += f"; detectable: {null['detectable']:.1%}, in the noisiest input {null['detectable_worst']:.1%}"
        if not null["silent"]:
            said = f"No verdict: this machine is too noisy at the moment. {said}"
        note = "Emulated time of recorded steps, per run: not a kernel's time, and without the caller's arithmetic."
        return "\n".join([table(head, lines), "", f"{said}.", note])

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        decided = ", ".join(f"{row['cell']} {row['form']}: {row['verdict']}" for row in self.rows)
        return f"<Comparison {decided}>"


def measure(
    name: str,
    record: Callable[[str, Machine], Mapping[str, Stream]],
    inputs: Mapping[str, str],
    *,
    seconds: float,
    processes: int | None,
    effect: float,
    seed: int,
    snapshot: str | Path | None,
    progress: Callable[[float, str], None],
) -> Comparison:
    """Times recordings of a caller's forms in fresh processes.

    Args:
        name: The caller's.
        record: Gives the recording of each form on a shape, made on a machine.
        inputs: Shapes, and how reports name them.
        seconds: As for `Own.compare`.
        processes: As for `Own.compare`.
        effect: As for `Own.compare`.
        seed: As for `Own.compare`.
        snapshot: As for `Own.compare`.
        progress: As for `Own.compare`.
    """
    from bulkpages.provenance import provenance
    from bulkpages.states import shipped_state
    from bulkpages.suite.trunk.cells import Cell, OwnFill
    from bulkpages.suite.trunk.runner import BLOCKS, TRIAL_SECONDS, Plan, run
    from bulkpages.suite.trunk.states import AS_RECORDED, make_machine
    from bulkpages.suite.trunk.timing import analyse

    with shipped_state() as shipped:
        path = Path(snapshot) if snapshot is not None else shipped
        cells: list[Cell] = []
        for shape, label in inputs.items():
            streams = dict(record(shape, make_machine(str(path), AS_RECORDED)))
            forms = tuple(streams)
            cells.append(OwnFill(name=f"{name} {label}", filler=name, pattern=shape, forms=forms, streams=streams))
        plan = Plan(
            cells,
            path,
            blocks=BLOCKS,
            trial_seconds=TRIAL_SECONDS,
            seed=seed,
            seconds=seconds,
            looks=2,
            effect=effect,
            processes=processes,
        )
        measured = run(plan, None, progress)
    if measured.broken:
        raise BulkpagesError("a measuring process was killed, perhaps for its memory")
    if measured.interrupted:
        raise KeyboardInterrupt
    return Comparison(analyse(plan, measured, provenance()))
