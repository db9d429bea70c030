"""The fit: costs of the steps from fills that were measured in the kernel.

Each series of measurements is made again in the emulator, fill for fill from the state it began in, so that the free
lists are what they were. That gives how often each step was taken; the costs are those that leave the smallest relative
errors. A row that another process disturbed weighs less (Huber's weights). Anybody gets the same numbers: nothing is
timed, nothing is random.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bulkpages.cost import data
from bulkpages.cost.emulate import CONDITIONS, Series
from bulkpages.cost.fills import _taken
from bulkpages.cost.steps import KINDS

__all__ = ["Fitted", "Observation", "fit", "observe", "same", "solve", "summary", "to_json"]

Numbers = NDArray[np.float64]

# Rounds of weighting; the weights settle well before.
ROUNDS = 8
# Beyond so many typical errors a row weighs less.
HUBER = 3.0
# Smallest typical error, relative: counts are whole numbers and a clock tick may fall into a fill.
FLOOR = 0.0005
# Share of errors that an interval of a fill holds, and of a difference. Both promise 0.95.
COVER, COVER_PAIR = 0.975, 0.96
# What an interval may have beside its share, in instructions: another function's frame, a part of a timer tick.
FRAMES = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0, 100.0, 150.0, 200.0, 300.0, 400.0, 600.0)
# Largest number of instructions, as a share of the smallest cost.
SMALL = 0.2
# Least share of an interval.
LEAST = 0.001
# Decimals of what is stored.
DECIMALS = 4


@dataclass(frozen=True)
class Observation:
    """A measured fill and what was done in it.

    Attributes:
        row: The fill, as measured.
        series: Which series it is of.
        taken: How often each step was taken, the fills before it being known.
        fitted: Whether the costs are fitted to it; the others check them.
    """

    row: Mapping[str, Any]
    series: str
    taken: Mapping[str, float]
    fitted: bool

    @property
    def instructions(self) -> float:
        """What the kernel took."""
        return float(self.row["instructions_per_fill"])

    @property
    def workload(self) -> tuple[str, str]:
        """Caller and array, whatever the form and condition."""
        return self.row["caller"], self.row["pattern"]


@dataclass(frozen=True)
class Fitted:
    """A fit.

    Attributes:
        stored: What `data/cost-6.12.json` holds: costs with errors, widths of intervals, errors by kind.
        errors: Relative error of each observation: of the fit, and with its workload left out.
        observations: The observations, in the order of `errors`.
    """

    stored: dict[str, Any]
    errors: list[tuple[float, float]]
    observations: list[Observation]


def observe() -> list[Observation]:
    """All measured fills, made again."""
    found = []
    for one in data.series():
        machine = Series()
        for row in one["rows"]:
            taken = machine.amounts(row["caller"], row["form"], row["pattern"], row["condition"])
            found.append(Observation(row, one["name"], taken, one["fitted"]))
    return found


def solve(steps: Numbers, kernel: Numbers) -> tuple[Numbers, Numbers]:
    """Costs with the smallest relative errors, and the standard error of each; 0 for steps that nobody takes.

    Args:
        steps: How often each step (column) is taken in each fill (row).
        kernel: Instructions of each fill.
    """
    relative = steps / kernel[:, None]
    scale = np.sqrt(np.sum(relative**2, axis=0))
    scale[scale == 0] = 1
    relative = relative / scale
    weights = np.ones(len(kernel))
    for _ in range(ROUNDS):
        weighted = relative * weights[:, None]
        inverse = np.linalg.pinv(weighted.T @ weighted, rcond=1e-13, hermitian=True)
        costs = inverse @ (weighted.T @ weights)
        error = np.abs(relative @ costs - 1)
        typical = max(float(np.median(error)) * 1.5, FLOOR)
        spread = float(np.sum((weights * error) ** 2)) / max(1, len(kernel) - len(scale))
        weights = np.sqrt(1 / np.maximum(1, error / (HUBER * typical)))
    return costs / scale, np.sqrt(spread * np.diag(inverse)) / scale


def _matrix(observations: Iterable[Observation]) -> tuple[Numbers, Numbers]:
    whole = list(observations)
    return (
        np.array([[one.taken[name] for name in KINDS] for one in whole], dtype=np.float64),
        np.array([one.instructions for one in whole], dtype=np.float64),
    )


def _left_out(observations: Sequence[Observation], group: Callable[[Observation], Any]) -> Numbers:
    """Relative errors of predictions by fits without the group that each is of."""
    steps, kernel = _matrix(observations)
    groups: dict[Any, list[int]] = defaultdict(list)
    for at, one in enumerate(observations):
        groups[group(one)].append(at)
    errors = np.zeros(len(kernel))
    fitted = np.array([one.fitted for one in observations])
    for members in groups.values():
        keep = fitted.copy()
        keep[members] = False
        costs, _ = solve(steps[keep], kernel[keep])
        errors[members] = steps[members] @ costs / kernel[members] - 1
    return errors


def summary(errors: Numbers) -> dict[str, float]:
    """Sizes of relative errors, in percent."""
    size = 100 * np.abs(errors)
    return {
        "rows": len(size),
        "median": round(float(np.median(size)), 2),
        "p95": round(float(np.quantile(size, 0.95)), 2),
        "largest": round(float(size.max()), 2),
    }


def _tables(observations: Sequence[Observation], errors: Numbers) -> dict[str, dict[str, float]]:
    """Errors in percent: of all rows, by condition, by caller."""
    found = {"all": summary(errors)}
    for name, values in (("condition", CONDITIONS), ("caller", sorted({o.row["caller"] for o in observations}))):
        for value in values:
            found[value] = summary(errors[[o.row[name] == value for o in observations]])
    return found


def _width(off: Sequence[float] | Numbers, of: Sequence[float] | Numbers, cover: float = COVER) -> dict[str, float]:
    """The narrowest interval that holds a share of the errors `off`: a number of instructions and a share of `of`."""
    whole = np.array(of, dtype=np.float64)
    found = []
    for absolute in FRAMES:
        # An interval as wide as the smallest cost would say nothing of it.
        if absolute > FRAMES[0] and absolute > SMALL * whole.min():
            break
        beyond = np.maximum(0.0, np.abs(np.array(off)) - absolute) / whole
        relative = round(max(float(np.quantile(beyond, cover)), LEAST), DECIMALS)
        found.append((float(np.mean(absolute + relative * whole)), absolute, relative))
    _, absolute, relative = min(found)
    return {"relative": relative, "absolute": absolute}


def _pairs(observations: Sequence[Observation]) -> list[tuple[int, int]]:
    """Base and form of the same fill in the same series."""
    bases = {
        (o.series, o.workload, o.row["condition"]): i for i, o in enumerate(observations) if o.row["form"] == "before"
    }
    found = []
    for i, one in enumerate(observations):
        base = bases.get((one.series, one.workload, one.row["condition"]))
        if base is not None and base != i:
            found.append((base, i))
    return found


def _intervals(observations: Sequence[Observation], off: Numbers, costs: Numbers) -> dict[str, dict[str, float]]:
    """Widths of all intervals, from errors of predictions with their workload left out."""
    found: dict[str, dict[str, float]] = {}
    kernel = np.array([o.instructions for o in observations])
    # A fill by itself, on lists as a boot leaves them, instead of after the fills that came before.
    alone_at = [i for i, o in enumerate(observations) if o.series != "mixed"]
    alone = np.full(len(kernel), np.nan)
    for i in alone_at:
        row = observations[i].row
        taken = _taken(row["caller"], row["form"], row["pattern"], row["condition"])
        alone[i] = sum(costs[k] * taken[name] for k, name in enumerate(KINDS)) - kernel[i]
    predicted = off * kernel
    pairs = _pairs(observations)

    def pair(off: Numbers, members: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
        return [off[f] - off[b] for b, f in members], [float(kernel[b]) for b, _ in members]

    for condition in CONDITIONS:
        mine = [i for i, o in enumerate(observations) if o.row["condition"] == condition]
        mine_alone = [i for i in mine if not np.isnan(alone[i])]
        found[f"{condition} alone"] = _width(alone[mine_alone], kernel[mine_alone])
        # Of the fills before, a table tells some: between all and nothing.
        both = np.concatenate([predicted[mine], alone[mine_alone]])
        found[condition] = _width(both, np.concatenate([kernel[mine], kernel[mine_alone]]))
        own = [(b, f) for b, f in pairs if observations[b].row["condition"] == condition]
        known, alone_pairs = (
            pair(predicted, own),
            pair(alone, [m for m in own if not np.isnan(alone[m[0]] + alone[m[1]])]),
        )
        found[f"{condition} alone pair"] = _width(*alone_pairs, COVER_PAIR)
        found[f"{condition} pair"] = _width(known[0] + alone_pairs[0], known[1] + alone_pairs[1], COVER_PAIR)
        repeated = _repeated(condition)
        found[f"{condition} measured"] = _width([a - b for a, b in repeated], [a for a, _ in repeated])
        found[f"{condition} pair measured"] = _width([a - b for a, b in repeated], [a for a, _ in repeated], COVER_PAIR)
    # Loops around the bare calls: checked on those that were measured, fitted to none of them.
    from bulkpages.cost.calls import _pattern, _steps

    for kind, apis in (("call", ("v1", "v2")), ("single", ("single",))):
        off_calls, of_calls = [], []
        for (api, nr_pages, period), value in data.measured_pages().items():
            if api in apis:
                pattern = _pattern(nr_pages, period)
                whole = value * pattern.count(".")
                taken = _steps(api, pattern)
                off_calls.append(sum(costs[k] * taken[name] for k, name in enumerate(KINDS)) - whole)
                of_calls.append(whole)
        found[kind] = found[f"{kind} pair"] = _width(off_calls, of_calls)
        found[f"{kind} measured"] = found[f"{kind} pair measured"] = {"relative": 0.0, "absolute": 1.0}
    # Timer ticks and refills fall on some runs of a loop and not on others.
    found["pool measured"] = found["pool pair measured"] = {"relative": 0.002, "absolute": 0.5}
    return dict(sorted(found.items()))


def _repeated(condition: str) -> list[tuple[float, float]]:
    """The same fills in two boots."""
    keys = (k for k, values in data.measured_fills().items() if k[2] == condition and len(values) > 1)
    return [(values[0], values[1]) for values in (data.measured_fills()[k] for k in keys)]


def fit(observations: list[Observation] | None = None) -> Fitted:
    """Fits the costs of the steps.

    Args:
        observations: What `observe` gave; left out: all that is stored.
    """
    whole = observe() if observations is None else observations
    used = [one for one in whole if one.fitted]
    costs, errors = solve(*_matrix(used))
    steps, kernel = _matrix(whole)
    own = steps @ costs / kernel - 1
    by_workload = _left_out(whole, lambda one: one.workload)
    by_caller = _left_out(whole, lambda one: one.row["caller"])
    checked = np.array([not one.fitted for one in whole])
    stored = {
        "kernel": data.KERNEL,
        "what": "steps: instructions, standard error; intervals: a share and instructions to each side; errors: %",
        "steps": {
            name: [round(float(c), DECIMALS), round(float(e), DECIMALS)]
            for name, c, e in zip(KINDS, costs, errors, strict=True)
        },
        "largest": max(len(one.row["pattern"]) for one in used),
        "intervals": _intervals(whole, by_workload, costs),
        "errors": {
            "fitted": _tables(used, own[~checked]),
            "not fitted": _tables([o for o in whole if not o.fitted], own[checked]),
            "workload left out": _tables(whole, by_workload),
            "caller left out": _tables(whole, by_caller),
        },
    }
    return Fitted(stored, [(float(a), float(b)) for a, b in zip(own, by_workload, strict=True)], whole)


def to_json(stored: Mapping[str, Any]) -> str:
    """What is stored of a fit, as text."""
    return json.dumps(stored, indent=1) + "\n"


def same(stored: Mapping[str, Any], other: Mapping[str, Any], within: float = 1e-3) -> list[str]:
    """Steps whose costs differ by more than a share, with both."""
    return [
        f"{name}: {mine[0]} is stored, {other['steps'][name][0]} is fitted"
        for name, mine in stored["steps"].items()
        if abs(mine[0] - other["steps"][name][0]) > within * max(1.0, abs(mine[0]))
    ]
