"""Kernel instructions of a cell: measured where that fill was measured, else predicted from exact counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bulkpages import _core, cost
from bulkpages.cost.model import difference
from bulkpages.errors import BulkpagesError
from bulkpages.machine import Machine
from bulkpages.suite.trunk.cells import BulkLoop, Cell, Fill, OwnFill, PoolLoop
from bulkpages.suite.trunk.states import Conditions

__all__ = ["Judged", "instructions_of", "kernel_instructions", "steps_of"]

CONDITIONS = {Conditions(): "warm", Conditions(cold=True): "cold"}
APIS = {"before": "v1", "after": "v2", "v3": "v3"}
FORMS = {api: form for form, api in APIS.items()}
# Fills over which steps are counted.
FILLS = 64


def _plain(value: float) -> float:
    # A ten-thousandth of an instruction is below anything that is said; rounding hides how libraries add.
    return round(float(value), 4)


def instructions_of(found: cost.Instructions) -> dict[str, Any]:
    """What one form costs, as plain data."""
    return {
        "estimate": _plain(found.estimate),
        "low": _plain(found.low),
        "high": _plain(found.high),
        "source": found.source,
        "extrapolated": found.extrapolated,
        "steps": {name: _plain(value) for name, value in found.steps.items()},
    }


@dataclass(frozen=True)
class Judged:
    """A form against the first one, in kernel instructions.

    Attributes:
        difference: What the cost model says of the two.
        effect: Smallest effect of interest, as a fraction.
    """

    difference: cost.Difference
    effect: float

    @property
    def verdict(self) -> str:
        """faster, slower, same or undecided, by the interval."""
        return self.difference.verdict(self.effect)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        ends = ("estimate", "low", "high")
        return {
            "kernel": self.difference.base.kernel,
            "source": self.difference.source,
            "base": instructions_of(self.difference.base),
            "form": instructions_of(self.difference.form),
            "difference": dict(zip(ends, map(_plain, self.difference.instructions), strict=True)),
            "percent": dict(zip(ends, map(_plain, self.difference.percent), strict=True)),
        }


def steps_of(
    machine: Machine, caller: str, form: str, pattern: str, *, cold: bool = False, trylock_loss: float = 0.0
) -> dict[str, float]:
    """How often the kernel's steps are taken in one fill, for `cost.of`: the mean of many fills."""
    found = _core.count_steps(machine, caller, form, pattern, FILLS, cold=cold, trylock_loss=trylock_loss)
    return {name: count / FILLS for name, count in found.items()}


def _counted(cell: Cell, form: str, machine: Machine) -> cost.Instructions:
    """A prediction from what the emulator counts in this state, per unit."""
    match cell:
        case BulkLoop():
            pattern = "".join("x" if cell.hole_period and i % cell.hole_period else "." for i in range(cell.nr_pages))
            found = cost.of(steps_of(machine, "core", FORMS[form], pattern))
            pages = cell.holes
            return replace(
                found,
                estimate=found.estimate / pages,
                low=found.low / pages,
                high=found.high / pages,
                unit="page",
                steps={name: value / pages for name, value in found.steps.items()},
            )
        case Fill() if not isinstance(cell, OwnFill):
            state = cell.conditions
            return cost.of(
                steps_of(machine, cell.filler, form, cell.pattern, cold=state.cold, trylock_loss=state.trylock_loss)
            )
    raise BulkpagesError("the kernel's steps are not counted in it")


def _predicted(cell: Cell, form: str, machine: Machine) -> cost.Difference:
    base, other = (_counted(cell, which, machine) for which in (cell.forms[0], form))
    state = cell.conditions
    # Where calls lose their lock or meet a mark, predictions are as wide as those of lost locks.
    hard = state.trylock_loss or state.page_owner or state.above_low is not None
    kind = "trylock lost" if hard else "cold" if state.cold else "warm"
    return difference(base, other, f"{kind} alone", units=cell.holes if cell.unit == "page" else 1)


def _difference(cell: Cell, form: str, machine: Machine, as_recorded: bool) -> cost.Difference:
    base = cell.forms[0]
    if not as_recorded or cell.conditions not in CONDITIONS:
        return _predicted(cell, form, machine)
    condition = CONDITIONS[cell.conditions]
    match cell:
        case Fill(filler="core"):
            return cost.fill_difference("core", APIS[base], APIS[form], cell.shape, condition)
        case Fill() if not isinstance(cell, OwnFill):
            return cost.fill_difference(cell.filler, base, form, cell.shape, condition)
        case BulkLoop() if condition == "warm":
            return cost.call_difference(cell.nr_pages, cell.hole_period, base, form)
        case PoolLoop():
            return cost.pool_difference(cell.loop)
    return _predicted(cell, form, machine)


def _elsewhere(cell: Cell, form: str, kernel: str) -> cost.Difference:
    """Another kernel than the one whose steps are costed: only loops that were measured in it have an answer."""
    if isinstance(cell, BulkLoop) and CONDITIONS.get(cell.conditions) == "warm":
        return cost.call_difference(cell.nr_pages, cell.hole_period, cell.forms[0], form, kernel=kernel)
    raise BulkpagesError(f"instructions of it were counted in Linux {cost.data.KERNEL} alone, not in {kernel}")


def kernel_instructions(
    cell: Cell, form: str, machine: Machine, *, as_recorded: bool, effect: float, kernel: str = cost.data.KERNEL
) -> Judged | str:
    """A form of a cell against its first form; a text says why there is no answer.

    Args:
        cell: The workload.
        form: The form.
        machine: In the state of the cell.
        as_recorded: Whether the state is the one on which the kernel was measured.
        effect: Smallest effect of interest, as a fraction.
        kernel: The kernel series that the machine works like.
    """
    try:
        if kernel != cost.data.KERNEL:
            return Judged(_elsewhere(cell, form, kernel), effect)
        return Judged(_difference(cell, form, machine, as_recorded), effect)
    except BulkpagesError as error:
        return str(error)
