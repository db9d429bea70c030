"""The statistics on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from bulkpages.suite.trunk.stats import alpha_for, compare, null_runs

PROCESSES, SAMPLES = 8, 60


def _arm(rng: np.random.Generator, level: float, offsets: np.ndarray, noise: float) -> np.ndarray:
    """Costs with a level, an offset for each process, skewed noise and drift."""
    drift = 1 + 0.02 * np.sin(np.linspace(0, 3, SAMPLES))
    spikes = rng.exponential(noise, (PROCESSES, SAMPLES))
    return level * offsets[:, None] * drift * (1 + spikes)


def _pair(rng: np.random.Generator, ratio: float, noise: float, layout: float) -> tuple[np.ndarray, np.ndarray]:
    common = 1 + 0.05 * rng.standard_normal(PROCESSES)
    a = _arm(rng, 10, common, noise)
    # Address layout moves the two arms of a process apart.
    b = _arm(rng, 10 * ratio, common * (1 + layout * rng.standard_normal(PROCESSES)), noise)
    return a, b


def test_equal_arms_raise_few_alarms() -> None:
    alarms = 0
    for i in range(200):
        rng = np.random.Generator(np.random.PCG64(i))
        a, b = _pair(rng, 1.0, 0.05, 0.01)
        alarms += compare(a, b, alpha=0.01, effect=0.001, seed=i).verdict in ("faster", "slower")
    assert alarms <= 6


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "faster"), (1.1, "slower")])
def test_a_real_difference_is_found(ratio: float, verdict: str) -> None:
    found = 0
    for i in range(20):
        rng = np.random.Generator(np.random.PCG64(i))
        a, b = _pair(rng, ratio, 0.05, 0.01)
        found += compare(a, b, alpha=0.01, effect=0.01, seed=i).verdict == verdict
    assert found >= 19


def test_two_percent_are_found_where_layout_is_quiet() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    a, b = _pair(rng, 1.02, 0.02, 0.0)
    result = compare(a, b, alpha=0.01, effect=0.01, seed=5)
    assert result.verdict == "slower"
    assert result.low < 1.02 < result.high


def test_equal_arms_are_the_same_when_there_is_power() -> None:
    rng = np.random.Generator(np.random.PCG64(6))
    a, b = _pair(rng, 1.0, 0.01, 0.0)
    assert compare(a, b, alpha=0.01, effect=0.05, seed=6).verdict == "same"


def test_a_machine_that_differs_from_itself_gets_no_verdict() -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    rows = []
    for i in range(24):
        a, b = _pair(rng, 1.2 if i < 6 else 1.0, 0.02, 0.002)
        result = compare(a, b, alpha=0.004, effect=0.01, seed=i)
        rows.append((f"cell {i}", result, result.claims_difference))
    null = null_runs(rows, alpha=0.004)
    assert len(null.alarms) >= 6
    assert not null.silent


def test_error_rates() -> None:
    assert alpha_for(1) == 0.01
    assert alpha_for(12) == pytest.approx(0.05 / 12)
    with pytest.raises(ValueError, match="equal shapes"):
        compare(np.ones((1, 4)), np.ones((1, 4)), alpha=0.01, effect=0.01, seed=1)
