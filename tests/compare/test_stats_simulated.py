"""The statistics on simulated trials whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bulkpages.suite.trunk.stats import alpha_for, compare, median_interval

Costs = npt.NDArray[np.float64]


def simulate(
    rng: np.random.Generator,
    arms: int,
    *,
    ratio: float = 1.0,
    processes: int = 12,
    blocks: int = 30,
    layout: float = 0.0,
) -> list[Costs]:
    """Trials with what real ones have: process effects, drift, noise, and now and then a disturbed trial.

    Arm i costs `ratio` ** i; `layout` is how much a process's addresses move one arm against another.
    """
    process = rng.normal(0, 0.03, (processes, 1))
    drift = np.cumsum(rng.normal(0, 0.004, (processes, blocks)), axis=1)
    found = []
    for i in range(arms):
        noise = rng.normal(0, 0.01, (processes, blocks)) + rng.normal(0, layout, (processes, 1))
        disturbed = np.where(rng.random((processes, blocks)) < 0.03, rng.exponential(0.5, (processes, blocks)), 0)
        found.append(10.0 * ratio**i * np.exp(process + drift + noise + disturbed))
    return found


@pytest.mark.parametrize("layout", [0.0, 0.01])
def test_intervals_cover_the_truth(layout: float) -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    misses = 0
    runs = 200
    for i in range(runs):
        a, b = simulate(rng, 2, ratio=0.97, layout=layout)
        result = compare(a, b, alpha=0.05, effect=0.01, seed=i)
        misses += not result.low <= 0.97 <= result.high
    # At 5 % the expectation is at most 10; 22 or more would be chance in fewer than 1 of 1000.
    assert misses < 22


def test_few_processes_do_not_alarm() -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    alarms = sum(
        compare(*simulate(rng, 2, processes=4, layout=0.01), alpha=0.05, effect=0.01, seed=i).claims_difference
        for i in range(200)
    )
    assert alarms < 22


def test_null_comparisons_raise_few_alarms() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    alarms = sum(
        compare(*simulate(rng, 2, processes=8), alpha=0.01, effect=0.01, seed=i).claims_difference for i in range(200)
    )
    assert alarms <= 6


def test_two_percent_are_found() -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    results = [
        compare(*simulate(rng, 2, ratio=1.02, processes=24), alpha=alpha_for(12), effect=0.01, seed=i)
        for i in range(20)
    ]
    assert sum(result.verdict == "slower" for result in results) >= 18
    assert not any(result.verdict == "faster" for result in results)


def test_processes_are_the_unit_of_replication() -> None:
    """Many blocks in few processes that differ must not look like many measurements."""
    rng = np.random.Generator(np.random.PCG64(5))
    a, b = simulate(rng, 2, processes=4, blocks=400, layout=0.05)
    few = compare(a, b, alpha=0.05, effect=0.01, seed=0)
    assert np.log(few.high / few.low) / 2 > 0.03


def test_verdicts() -> None:
    a = np.full((6, 10), 10.0) * np.linspace(0.9999, 1.0001, 10)
    seen = {scale: compare(a, a * scale, alpha=0.01, effect=0.01, seed=0).verdict for scale in (0.5, 1.0, 1.005, 1.5)}
    assert seen == {0.5: "faster", 1.0: "same", 1.005: "same", 1.5: "slower"}
    rng = np.random.Generator(np.random.PCG64(6))
    noisy = a * np.exp(rng.normal(0, 0.3, a.shape))
    assert compare(a, noisy, alpha=0.01, effect=0.01, seed=0).verdict == "undecided"


def test_same_seed_same_interval() -> None:
    a, b = simulate(np.random.Generator(np.random.PCG64(7)), 2)
    first, again = (compare(a, b, alpha=0.01, effect=0.01, seed=9) for _ in range(2))
    assert first == again


def test_blocks_keep_their_trials_together() -> None:
    rng = np.random.Generator(np.random.PCG64(8))
    a, b = (np.stack(simulate(rng, 2), axis=2) for _ in range(2))
    result = compare(a, b, alpha=0.01, effect=0.01, seed=0)
    assert result.low < result.ratio < result.high


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((1, 5)), np.ones((1, 5))),
        (np.ones((3, 5)), np.ones((3, 4))),
        (np.ones((3, 0)), np.ones((3, 0))),
        (np.full((3, 5), np.nan), np.ones((3, 5))),
        (np.zeros((3, 5)), np.ones((3, 5))),
    ],
)
def test_bad_arms_are_refused(a: Costs, b: Costs) -> None:
    with pytest.raises(ValueError, match=r"arms need|costs must"):
        compare(a, b, alpha=0.01, effect=0.01, seed=0)


def test_median_interval_holds_the_median() -> None:
    (a,) = simulate(np.random.Generator(np.random.PCG64(11)), 1)
    low, high = median_interval(a, alpha=0.01)
    assert low < np.median(a) < high
    with pytest.raises(ValueError, match="at least 2"):
        median_interval(a[:1], alpha=0.01)


def test_alpha_never_above_one_percent() -> None:
    assert alpha_for(1) == 0.01
    assert alpha_for(12) == pytest.approx(0.05 / 12)
