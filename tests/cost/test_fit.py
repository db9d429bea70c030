"""The fit: anyone gets it again, and the model is as near the kernel as the pages say."""

import numpy as np
import pytest

from bulkpages import cost
from bulkpages.cost import data
from bulkpages.cost.fit import Observation, observe, solve
from bulkpages.cost.steps import KINDS


@pytest.fixture(scope="module")
def observations() -> list[Observation]:
    return observe()


def test_the_fit_is_what_is_stored(observations: list[Observation]) -> None:
    used = [one for one in observations if one.fitted]
    steps = np.array([[one.taken[name] for name in KINDS] for one in used])
    costs, errors = solve(steps, np.array([one.instructions for one in used]))
    for name, found, error in zip(KINDS, costs, errors, strict=True):
        assert data.costs()["steps"][name] == pytest.approx([found, error], rel=1e-3, abs=1e-3), name


def test_rows_that_were_not_fitted_are_met(observations: list[Observation]) -> None:
    checked = [one for one in observations if not one.fitted]
    table = cost.rows([one.row for one in checked], predicted_only=True)
    off = [abs(c.estimate / one.instructions - 1) for c, one in zip(table.costs, checked, strict=True)]
    held = [c.low <= one.instructions <= c.high for c, one in zip(table.costs, checked, strict=True)]
    assert len(checked) > 100
    assert np.median(off) < 0.005
    assert np.quantile(off, 0.95) < 0.03
    assert np.mean(held) >= 0.95


def test_forms_that_were_not_fitted_differ_as_in_the_kernel(observations: list[Observation]) -> None:
    rows = [one.row for one in observations if not one.fitted]
    kernel = {(r["caller"], r["condition"], r["pattern"], r["form"]): r["instructions_per_fill"] for r in rows}
    off, signs, held = [], [], []
    for pair in cost.rows(rows, predicted_only=True).pairs:
        base, form = (kernel[pair.caller, pair.condition, pair.pattern, f] for f in (pair.base, pair.form))
        percent = 100 * (form - base) / base
        middle, low, high = pair.difference.percent
        off.append(abs(middle - percent))
        held.append(low <= percent <= high)
        if abs(percent) >= 1:
            signs.append(middle * percent > 0)
    assert np.mean(np.array(off) < 2) >= 0.95
    assert np.mean(held) >= 0.95
    assert all(signs)
    assert len(signs) > 50


def test_a_disturbed_row_weighs_little() -> None:
    steps = np.column_stack([np.ones(40), np.arange(1.0, 41)])
    kernel = 100 + 7 * steps[:, 1]
    kernel[5] *= 1.5
    assert solve(steps, kernel)[0] == pytest.approx([100, 7], rel=2e-3)


def test_a_step_that_nobody_takes_costs_nothing() -> None:
    steps = np.column_stack([np.ones(9), np.zeros(9), np.arange(1.0, 10)])
    assert solve(steps, 3 + 2 * steps[:, 2])[0] == pytest.approx([3, 0, 2], abs=1e-6)


def test_no_step_is_free() -> None:
    assert all(step.instructions > 5 * step.error > 0 for step in cost.STEPS.values())
