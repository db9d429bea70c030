"""From steps taken to instructions and their interval.

The instructions of a fill are a sum: how often each step is taken, times what the step costs. Intervals come from how
far the model was off on fills that it had not been fitted to, apart for each kind of prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bulkpages.cost import data
from bulkpages.cost.answers import Difference, Instructions, Source, Unit
from bulkpages.cost.steps import KINDS, Step
from bulkpages.errors import InvalidArgument

__all__ = ["difference", "load_steps", "measured", "predict"]

# Beyond what was fitted, intervals are this much wider.
BEYOND = 3.0
# Counts are whole numbers, less the count of an empty fill.
ROUNDED = 1.0


def load_steps() -> Mapping[str, Step]:
    """The steps with their fitted costs."""
    fitted = data.costs()["steps"]
    return MappingProxyType(
        {
            name: Step(name, kind.meaning, kind.unit, float(fitted[name][0]), float(fitted[name][1]), kind.inside)
            for name, kind in KINDS.items()
        }
    )


def split(taken: Mapping[str, float]) -> dict[str, float]:
    """Instructions by step; steps that are not taken are left out."""
    fitted = data.costs()["steps"]
    return {name: n * fitted[name][0] for name, n in taken.items() if n}


def width(kind: str, estimate: float) -> float:
    """Half of the interval of a prediction or measurement of this kind, in instructions."""
    found = data.costs()["intervals"][kind]
    return float(found["relative"] * estimate + found["absolute"])


def predict(
    taken: Mapping[str, float],
    kind: str,
    *,
    unit: Unit = "fill",
    units: float = 1,
    extrapolated: bool = False,
) -> Instructions:
    """The model's answer.

    Args:
        taken: How often each step is taken in `units` units.
        kind: Which interval: the condition, with " alone" behind it when the fills before are not known.
        unit: What it is the cost of.
        units: Of how many.
        extrapolated: Whether this is beyond what the model was fitted to.
    """
    steps = split(taken)
    estimate = sum(steps.values())
    half = width(kind, estimate) * (BEYOND if extrapolated else 1)
    return Instructions(
        estimate / units,
        max(0.0, estimate - half) / units,
        (estimate + half) / units,
        "predicted",
        unit,
        data.KERNEL,
        extrapolated,
        MappingProxyType({name: n / units for name, n in steps.items()}),
    )


def measured(
    value: float,
    taken: Mapping[str, float],
    kind: str,
    *,
    unit: Unit = "fill",
    units: float = 1,
    fewest: float | None = None,
) -> Instructions:
    """What the kernel's own count says.

    Args:
        value: The mean of many, in `units` units; so are the steps and `fewest`.
        taken: How often each step is taken.
        kind: Which interval, where `fewest` is not known.
        unit: What it is the cost of.
        units: Of how many.
        fewest: The smallest count of one. Fills that do the same differ in timer ticks alone, which are above it.
    """
    half = width(f"{kind} measured", value) if fewest is None else value - fewest + ROUNDED
    steps = MappingProxyType({name: n / units for name, n in split(taken).items()})
    low, high = (value - half) / units, (value + half) / units
    least = None if fewest is None else fewest / units
    return Instructions(value / units, low, high, "measured", unit, data.KERNEL, False, steps, least)


def difference(base: Instructions, form: Instructions, kind: str, *, units: float = 1) -> Difference:
    """One form against another on the same work.

    Raises:
        InvalidArgument: They are not of one unit and one kernel.
    """
    if (base.unit, base.kernel) != (form.unit, form.kernel):
        raise InvalidArgument(f"a cost per {form.unit} in {form.kernel} against one per {base.unit} in {base.kernel}")
    source: Source = "measured" if base.source == form.source == "measured" else "predicted"
    middle = form.estimate - base.estimate
    # What was measured does not depend on what is known of the fills before.
    of = f"{kind.removesuffix(' alone')} pair measured" if source == "measured" else f"{kind} pair"
    half = width(of, base.estimate * units) / units
    if base.extrapolated or form.extrapolated:
        half *= BEYOND
    instructions = (middle, middle - half, middle + half)
    if base.fewest is not None and form.fewest is not None:
        # With the timer's ticks and without: what both say is the difference.
        ends = (middle, form.fewest - base.fewest)
        instructions = (middle, min(ends) - 2 * ROUNDED / units, max(ends) + 2 * ROUNDED / units)
    first, low, high = (100 * x / base.estimate if base.estimate else 0.0 for x in instructions)
    return Difference(base, form, instructions, (first, low, high), source)
