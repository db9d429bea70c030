"""Kernels beside the answer of `bulkpages compare`: their own functions, on this processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bulkpages.kernel.bench import bench
from bulkpages.kernel.build import Kernel
from bulkpages.kernel.cells import measured_cells
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.results import main_rows

__all__ = ["ROUNDS", "measure_kernels"]

#: Starts of each kernel natively, twice in each round.
ROUNDS = 8
# The form of a row that each form of the bulk function is.
_ARMS = {"v1": "base", "v2": "form"}


def _model(known: Mapping[tuple[str, str | None], Any], cell: str, kernel: Kernel, form: str | None) -> float | None:
    """The answer's instructions of a cell, in the form that its caller has in a kernel."""
    found = known.get((cell, form))
    if not found:
        return None
    return float(found["form" if form else _ARMS[kernel.form]]["estimate"])


def measure_kernels(
    kernels: Sequence[Kernel],
    cells: Sequence[Cell],
    results: dict[str, Any],
    *,
    rounds: int = ROUNDS,
    say: Callable[[str, float], None] = lambda what, share: None,
) -> dict[str, Any]:
    """Cycles and exact instructions of kernels, beside what the answer says of the same form.

    Args:
        kernels: One or two.
        cells: The workloads of the answer; those that no kernel can be asked are left out.
        results: The answer.
        rounds: Of native cycles; 0 for none.
        say: Told what is being done, and the share that is done.

    Raises:
        KernelError: A kernel does not run.
    """
    possible = {cell.name for cell in measured_cells()}
    asked = [cell for cell in cells if cell.name in possible]
    found = bench(kernels, cells=asked, rounds=rounds, say=say)
    known: dict[tuple[str, str | None], Any] = {(row["cell"], None): row["instructions"] for row in main_rows(results)}
    known |= {(row["cell"], row["form"]): row["instructions"] for row in results["rows"]}
    rows = []
    for cell, row in zip(asked, found.rows, strict=True):
        rows.append(
            {
                "cell": row.name,
                "unit": row.unit,
                "cycles": list(row.cycles),
                "instructions": list(row.instructions),
                "model": [_model(known, row.name, k, k.forms.get(cell.caller or "")) for k in kernels],
                "comparison": row.comparison and asdict(row.comparison),
                "absent": list(row.absent),
            }
        )
    whole = found.to_json()
    return {
        "kernels": [
            one | {"name": Path(one["folder"]).name, "form": kernel.form}
            for one, kernel in zip(whole["kernels"], kernels, strict=True)
        ],
        "rounds": found.rounds,
        "same_kernel": whole["same_kernel"],
        "rows": rows,
    }
