"""Looking several times must not find what is not there."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from bulkpages.suite.trunk.cells import BulkLoop
from bulkpages.suite.trunk.sequential import Sequential
from bulkpages.suite.trunk.stats import null_runs, spend

LOOKS = 3
PROCESSES = 6


def simulate(rng: np.random.Generator, ratio: float, layout: float = 0.0) -> npt.NDArray[np.float64]:
    """One process: axes (form, twin, block), with drift, noise and now and then a disturbed trial."""
    shape = (2, 2, 12)
    level = rng.normal(0, 0.03) + np.cumsum(rng.normal(0, 0.004, 12)) + rng.normal(0, layout, (2, 1, 1))
    disturbed = np.where(rng.random(shape) < 0.03, rng.exponential(0.5, shape), 0)
    cost: npt.NDArray[np.float64] = 10 * np.exp(level + rng.normal(0, 0.01, shape) + disturbed)
    cost[1] *= ratio
    return cost


def campaign(seed: int, ratio: float, *, cells: int = 1, layout: float = 0.0) -> Sequential:
    """All looks at some cells, data growing between them, as the runner takes them."""
    rng = np.random.Generator(np.random.PCG64(seed))
    all_cells = [BulkLoop(name=f"c{i}", nr_pages=64) for i in range(cells)]
    cost: dict[str, list[npt.NDArray[np.float64]]] = {cell.name: [] for cell in all_cells}
    sequential = Sequential()
    sequential.prepare(all_cells, LOOKS, 0.01)
    for look in range(LOOKS):
        active = [cell for cell in all_cells if sequential.open(cell)]
        for cell in active:
            cost[cell.name] += [simulate(rng, ratio, layout) for _ in range(PROCESSES)]
        if active:
            sequential.look(look, active, cost, seed)
    return sequential


def test_the_rate_is_spent_over_the_looks() -> None:
    shares = spend(0.01, 4)
    assert sum(shares) == pytest.approx(0.01)
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.01 / 16)
    assert spend(0.01, 1) == pytest.approx([0.01])


def test_two_hundred_null_comparisons_raise_at_most_six_alarms() -> None:
    # Forms that do the same, and each form against itself, by the same code, over all looks.
    alarms = comparisons = 0
    for seed in range(67):
        found = campaign(seed, 1.0, layout=0.004)
        alarms += sum(row.result.claims_difference for row in found.pairs.values())
        alarms += sum(row.alarm for row in found.nulls.values())
        comparisons += len(found.pairs) + len(found.nulls)
    assert comparisons == 201
    assert alarms <= 6


def test_a_slowdown_of_two_percent_is_found() -> None:
    verdicts = [campaign(seed, 1.02).pairs["c0 v2"].result.verdict for seed in range(12)]
    assert verdicts.count("slower") >= 11
    assert "faster" not in verdicts


def test_what_is_plain_is_decided_early_and_stays_decided() -> None:
    found = campaign(3, 1.3)
    assert found.pairs["c0 v2"].look < LOOKS
    assert found.pairs["c0 v2"].result.verdict == "slower"


def test_more_comparisons_share_the_rate() -> None:
    found = campaign(4, 1.0, cells=8)
    assert found.alpha == pytest.approx(0.05 / 8)
    assert len(found.nulls) == 16


def test_it_can_be_stored_and_continued() -> None:
    found = campaign(5, 1.02)
    again = Sequential.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found


def test_null_runs_are_summed_up() -> None:
    found = campaign(6, 1.0, cells=6)
    rows = [(name, looked.result, looked.alarm) for name, looked in found.nulls.items()]
    null = null_runs(rows, alpha=found.alpha)
    assert (null.comparisons, null.silent) == (12, True)
    assert 0.001 < null.detectable < 0.03
    assert null.detectable <= null.detectable_worst
    loud = null_runs([(name, result, i < 4) for i, (name, result, _) in enumerate(rows)], alpha=found.alpha)
    assert len(loud.alarms) == 4
    assert not loud.silent
