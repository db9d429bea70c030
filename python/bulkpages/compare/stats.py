"""Statistics of the suite: a ratio of medians, an interval that knows about processes, and when to keep silent.

The estimate is the ratio of the medians of two arms over all processes and blocks: a process that something else
disturbed throughout moves it little. Its uncertainty comes from a hierarchical bootstrap: processes are drawn with
replacement, then blocks within each, both arms of a block together. Since there are few processes, the bootstrap's
standard error is widened by what the small number costs (n / (n - 1)) and put into an interval with Student's t of
n - 1 degrees of freedom. All intervals of a run are widened for their number (Bonferroni). Logarithms are natural;
shares are 0.01 for 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

__all__ = ["Comparison", "NullRuns", "alpha_for", "compare", "median_interval", "null_runs"]

Verdict = Literal["faster", "slower", "same", "undecided"]
Costs = npt.NDArray[np.float64]

FAMILY_ALPHA = 0.05
NULL_ALPHA = 0.01
POWER = 0.8
RESAMPLES = 400


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
    """

    ratio: float
    low: float
    high: float
    median_a: float
    median_b: float
    verdict: Verdict

    @property
    def claims_difference(self) -> bool:
        """Whether the interval leaves out 1, however small the difference."""
        return self.high < 1 or self.low > 1


def _blocks(arm: Costs) -> Costs:
    """Axes (process, block, trial of the block)."""
    return arm if arm.ndim == 3 else arm[:, :, None]


def _standard_error(a: Costs, b: Costs, rng: np.random.Generator) -> float:
    """Of the log ratio of medians; axes (process, block, trial), blocks of a and b paired."""
    processes, blocks, _ = a.shape
    logs = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        chosen = rng.integers(processes, size=(processes, 1))
        drawn = rng.integers(blocks, size=(processes, blocks))
        logs[i] = np.log(np.median(b[chosen, drawn]) / np.median(a[chosen, drawn]))
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
        effect: Smallest effect of interest, as a share.
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
    margin = float(stats.t.ppf(1 - alpha / 2, a.shape[0] - 1)) * _standard_error(a, b, rng)
    low, high = float(ratio * np.exp(-margin)), float(ratio * np.exp(margin))
    return Comparison(ratio, low, high, float(np.median(a)), float(np.median(b)), _verdict(low, high, effect))


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


def null_runs(cost: dict[str, Costs], forms: tuple[str, ...], *, alpha: float, effect: float, seed: int) -> NullRuns:
    """Compares the twins of every form of every cell; `cost` has axes (process, form, twin, block)."""
    rows: list[tuple[str, Comparison]] = []
    processes = 2
    for name, arms in cost.items():
        processes = arms.shape[0]
        for i, form in enumerate(forms):
            result = compare(arms[:, i, 0], arms[:, i, 1], alpha=alpha, effect=effect, seed=seed + len(rows))
            rows.append((f"{name} {form}", result))
    alarms = [name for name, result in rows if result.claims_difference]
    surprise = stats.binom.sf(len(alarms) - 1, len(rows), NULL_ALPHA) if alarms else 1.0
    # Two forms are compared by both twins of each, so their interval is narrower by the root of 2.
    t = stats.t(processes - 1)
    stretch = float(1 + t.ppf(POWER) / t.ppf(1 - alpha / 2)) / 2**0.5
    found = [np.expm1(np.log(result.high / result.low) / 2 * stretch) for _, result in rows] or [np.nan]
    return NullRuns(len(rows), alarms, rows, bool(surprise >= 0.05), float(np.median(found)), float(np.max(found)))


def alpha_for(comparisons: int) -> float:
    """Error rate of each interval of a run with this many comparisons; never above the nominal 1 %."""
    return min(NULL_ALPHA, FAMILY_ALPHA / max(1, comparisons))
