"""Statistics of the suite: a ratio of medians, an interval that knows about processes, and when to keep silent.

The estimate is the ratio of the medians of two arms over all processes and blocks. Its uncertainty comes from a
hierarchical bootstrap: processes are drawn with replacement, then blocks within each. Since there are few processes,
the bootstrap's standard error is widened by what the small number costs (n / (n - 1)) and put into an interval with
Student's t of n - 1 degrees of freedom. All intervals of a run are widened for their number (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

__all__ = ["Comparison", "NullRuns", "compare", "null_runs"]

Verdict = Literal["faster", "slower", "same", "undecided"]

FAMILY_ALPHA = 0.05
NULL_ALPHA = 0.01
RESAMPLES = 400


@dataclass(frozen=True)
class Comparison:
    """Arm b against arm a.

    Attributes:
        ratio: Median of b over median of a.
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


def _standard_error(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], rng: np.random.Generator) -> float:
    """Of the log ratio of medians; axes (process, sample), samples of a and b paired by block."""
    processes, samples = a.shape
    logs = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        chosen = rng.integers(processes, size=(processes, 1))
        blocks = rng.integers(samples, size=(processes, samples))
        logs[i] = np.log(np.median(b[chosen, blocks]) / np.median(a[chosen, blocks]))
    return float(np.std(logs, ddof=1) * np.sqrt(processes / (processes - 1)))


def compare(
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    *,
    alpha: float,
    effect: float,
    seed: int,
) -> Comparison:
    """Compares two arms.

    Args:
        a: Cost per unit, axes (process, sample); samples of a and b that ran in one block have one index.
        b: The same of the other arm.
        alpha: Error rate of the interval.
        effect: Smallest effect of interest, as a share: 0.01 is 1 %.
        seed: Of the bootstrap.
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] < 2:
        raise ValueError(f"arms need equal shapes of at least 2 processes, not {a.shape} and {b.shape}")
    median_a, median_b = float(np.median(a)), float(np.median(b))
    ratio = median_b / median_a
    rng = np.random.Generator(np.random.PCG64(seed))
    margin = float(stats.t.ppf(1 - alpha / 2, a.shape[0] - 1)) * _standard_error(a, b, rng)
    low, high = ratio * np.exp(-margin), ratio * np.exp(margin)
    verdict: Verdict
    if 1 - effect <= low and high <= 1 + effect:
        verdict = "same"
    elif high < 1:
        verdict = "faster"
    elif low > 1:
        verdict = "slower"
    else:
        verdict = "undecided"
    return Comparison(ratio, float(low), float(high), median_a, median_b, verdict)


@dataclass(frozen=True)
class NullRuns:
    """The A/A runs: each form against itself, by the same code and at the same error rate.

    Attributes:
        comparisons: How many there were.
        alarms: Names of those that claimed a difference.
        rows: (name, comparison) of each.
        silent: Whether verdicts may be given: so many alarms are no surprise at the nominal rate.
        detectable: Smallest difference that half of the intervals could have told from none, as a share.
    """

    comparisons: int
    alarms: list[str]
    rows: list[tuple[str, Comparison]]
    silent: bool
    detectable: float

    @property
    def rate(self) -> float:
        """Share of A/A comparisons that claimed a difference."""
        return len(self.alarms) / self.comparisons if self.comparisons else 0.0


def null_runs(
    cost: dict[str, npt.NDArray[np.float64]], forms: tuple[str, ...], *, alpha: float, effect: float, seed: int
) -> NullRuns:
    """Compares the twins of every form of every cell; `cost` has axes (process, form, twin, block)."""
    rows: list[tuple[str, Comparison]] = []
    for name, arms in cost.items():
        for i, form in enumerate(forms):
            result = compare(arms[:, i, 0], arms[:, i, 1], alpha=alpha, effect=effect, seed=seed + len(rows))
            rows.append((f"{name} {form}", result))
    alarms = [name for name, result in rows if result.verdict in ("faster", "slower")]
    surprise = stats.binom.sf(len(alarms) - 1, len(rows), NULL_ALPHA) if alarms else 1.0
    widths = [(result.high - result.low) / 2 for _, result in rows]
    return NullRuns(len(rows), alarms, rows, bool(surprise >= 0.05), float(np.median(widths)))


def alpha_for(comparisons: int) -> float:
    """Error rate of each interval of a run with this many comparisons; never above the nominal 1 %."""
    return min(NULL_ALPHA, FAMILY_ALPHA / max(1, comparisons))
