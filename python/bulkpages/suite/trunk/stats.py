"""Statistics of the suite: a ratio of medians, an interval that knows about processes, and when to keep silent.

The estimate is the ratio of the medians of two arms over all processes and blocks: a process that something else
disturbed throughout moves it little. Its uncertainty comes from a hierarchical bootstrap: processes are drawn with
replacement, then blocks within each, both arms of a block together. Since there are few processes, the bootstrap's
standard error is widened by what the small number costs (n / (n - 1)) and put into an interval with Student's t of
n - 1 degrees of freedom.

Data are looked at a fixed number of times, so that what is decided early costs no further time. The error rate of a
comparison is spent over the looks by the power function of Kim and DeMets, alpha * t ** 2: a sixteenth at the first
look of four, seven at the last. A look may spend what the function grows by, so the intervals of all looks hold
together whatever the dependence between them. For the number of comparisons the rate is divided by it (Bonferroni: Holm
and Benjamini-Hochberg decide more, but give no intervals that hold together). Logarithms are natural; shares are 0.01
for 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

__all__ = [
    "Comparison",
    "Costs",
    "NullRuns",
    "alpha_for",
    "compare",
    "detectable",
    "median_interval",
    "null_runs",
    "spend",
]

Verdict = Literal["faster", "slower", "same", "undecided"]
Costs = npt.NDArray[np.float64]

FAMILY_ALPHA = 0.05
NULL_ALPHA = 0.01
POWER = 0.8
RESAMPLES = 400
# Power of the share of the budget by which the error rate is spent.
SPENDING = 2


@dataclass(frozen=True)
class Comparison:
    """Arm b against arm a.

    Attributes:
        ratio: Cost of b over cost of a.
        low: Lower end of the interval.
        high: Upper end.
        median_a: Clock counts per unit.
        median_b: Clock counts per unit.
        verdict: faster, slower, same (the interval lies within the effect of interest), or undecided.
        error: Standard error of the logarithm of the ratio.
        processes: How many there were.
    """

    ratio: float
    low: float
    high: float
    median_a: float
    median_b: float
    verdict: Verdict
    error: float
    processes: int

    @property
    def claims_difference(self) -> bool:
        """Whether the interval leaves out 1, however small the difference."""
        return self.high < 1 or self.low > 1


def _blocks(arm: Costs) -> Costs:
    """Axes (process, block, trial of the block)."""
    return arm if arm.ndim == 3 else arm[:, :, None]


def _median(values: Costs) -> float:
    """`np.median` without its checks, which take longer than the median of so few numbers."""
    flat = values.ravel()
    middle = flat.size // 2
    if flat.size % 2:
        flat.partition(middle)
        return float(flat[middle])
    flat.partition((middle - 1, middle))
    return float(flat[middle - 1] + flat[middle]) / 2


def _standard_error(a: Costs, b: Costs, rng: np.random.Generator) -> float:
    """Of the log ratio of medians; axes (process, block, trial), blocks of a and b paired."""
    processes, blocks, _ = a.shape
    logs = np.empty(RESAMPLES)
    rows = np.arange(processes)[:, None] * blocks
    a, b = (arm.reshape(processes * blocks, -1) for arm in (a, b))
    for i in range(RESAMPLES):
        chosen = rng.integers(processes, size=processes)
        drawn = (rng.integers(blocks, size=(processes, blocks)) + rows[chosen]).ravel()
        logs[i] = np.log(_median(b[drawn]) / _median(a[drawn]))
    return float(np.std(logs, ddof=1) * np.sqrt(processes / (processes - 1)))


def _verdict(low: float, high: float, effect: float) -> Verdict:
    if 1 - effect <= low and high <= 1 + effect:
        return "same"
    if high < 1:
        return "faster"
    if low > 1:
        return "slower"
    return "undecided"


def compare(a: Costs, b: Costs, *, alpha: float, effect: float, seed: int) -> Comparison:
    """Compares two arms.

    Args:
        a: Cost per unit, axes (process, block) or (process, block, trial of the block).
        b: The same of the other arm; what ran in one block has one index.
        alpha: Error rate of the interval.
        effect: Smallest effect of interest, as a fraction.
        seed: Of the bootstrap.

    Raises:
        ValueError: Shapes differ, there are fewer than 2 processes, or a cost is not a positive number.
    """
    if a.shape != b.shape or a.ndim not in (2, 3) or a.shape[0] < 2 or not a.size:
        raise ValueError(f"arms need equal shapes of at least 2 processes, not {a.shape} and {b.shape}")
    if not all(np.all(np.isfinite(arm)) and np.all(arm > 0) for arm in (a, b)):
        raise ValueError("costs must be finite and above 0")
    a, b = _blocks(a), _blocks(b)
    rng = np.random.Generator(np.random.PCG64(seed))
    ratio = float(np.median(b) / np.median(a))
    error = _standard_error(a, b, rng)
    margin = float(stats.t.ppf(1 - alpha / 2, a.shape[0] - 1)) * error
    low, high = float(ratio * np.exp(-margin)), float(ratio * np.exp(margin))
    verdict = _verdict(low, high, effect)
    return Comparison(ratio, low, high, float(np.median(a)), float(np.median(b)), verdict, error, a.shape[0])


def median_interval(arm: Costs, *, alpha: float) -> tuple[float, float]:
    """Interval of one arm's median over processes, in the unit of `arm`: Student's t of the log process medians.

    Args:
        arm: Cost per unit; the first axis is the process, of which there are at least 2.
        alpha: Error rate.
    """
    logs = np.log(np.median(arm.reshape(arm.shape[0], -1), axis=1))
    n = len(logs)
    if n < 2:
        raise ValueError(f"an interval needs at least 2 processes, not {n}")
    margin = float(stats.t.ppf(1 - alpha / 2, n - 1)) * float(np.std(logs, ddof=1)) / n**0.5
    centre = float(np.log(np.median(arm)))
    return float(np.exp(centre - margin)), float(np.exp(centre + margin))


@dataclass(frozen=True)
class NullRuns:
    """The A/A runs: each form against itself, by the same code and at the same error rate.

    Attributes:
        comparisons: How many there were.
        alarms: Names of those whose interval left out 1, whatever the size of the difference.
        rows: (name, comparison) of each.
        silent: Whether verdicts may be given: so many alarms are no surprise at the nominal rate.
        detectable: Difference that four comparisons of two forms in five would have told from none, as a share, judged
            by the spread of the A/A runs: the median over workloads.
        detectable_worst: The same of the noisiest workload.
    """

    comparisons: int
    alarms: list[str]
    rows: list[tuple[str, Comparison]]
    silent: bool
    detectable: float
    detectable_worst: float

    @property
    def rate(self) -> float:
        """Share of A/A comparisons that claimed a difference."""
        return len(self.alarms) / self.comparisons if self.comparisons else 0.0


def null_runs(rows: list[tuple[str, Comparison, bool]], *, alpha: float) -> NullRuns:
    """Sums up the A/A comparisons: (name, comparison, whether it claimed a difference at any look)."""
    alarms = [name for name, _, alarm in rows if alarm]
    surprise = stats.binom.sf(len(alarms) - 1, len(rows), NULL_ALPHA) if alarms else 1.0
    # Two forms are compared by both twins of each, so their interval is narrower by the root of 2.
    found = [detectable(result.error / 2**0.5, result.processes, alpha) for _, result, _ in rows] or [np.nan]
    plain = [(name, result) for name, result, _ in rows]
    return NullRuns(len(rows), alarms, plain, bool(surprise >= 0.05), float(np.median(found)), float(np.max(found)))


def detectable(error: float, processes: int, alpha: float) -> float:
    """Difference that is told from none with probability `POWER`, given the standard error."""
    t = stats.t(processes - 1)
    return float(np.expm1((t.ppf(1 - alpha / 2) + t.ppf(POWER)) * error))


def alpha_for(comparisons: int) -> float:
    """Error rate of each interval of a run with this many comparisons; never above the nominal 1 %."""
    return min(NULL_ALPHA, FAMILY_ALPHA / max(1, comparisons))


def spend(alpha: float, looks: int) -> list[float]:
    """What each of so many looks, at equal shares of the budget, may spend of an error rate: sums to `alpha`."""
    upto = [alpha * (look / looks) ** SPENDING for look in range(looks + 1)]
    return [b - a for a, b in pairwise(upto)]
