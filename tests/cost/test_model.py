"""The model: what must hold of any cost, and how far it may be from the kernel."""

import pytest

import bulkpages as bp
from bulkpages import cost
from bulkpages.callers import fill_shape, svc_alloc_arg
from bulkpages.cost import data

SVC, BTRFS, XFS = "svc_alloc_arg", "btrfs_alloc_page_array", "xfs_buf_alloc_pages"


@pytest.mark.parametrize("form", ["before", "after"])
@pytest.mark.parametrize("condition", cost.CONDITIONS)
def test_more_pages_cost_more(form: str, condition: str) -> None:
    sizes = [2, 3, 5, 8, 16, 33, 64, 100]
    costs = [cost.fill(XFS, form, "." * n, condition, predicted_only=True).estimate for n in sizes]
    assert costs == sorted(costs)


def test_a_page_costs_what_its_step_does() -> None:
    small, large = (cost.fill(XFS, "after", "." * n, predicted_only=True).estimate for n in (100, 101))
    assert large - small == pytest.approx(cost.STEPS["page"].instructions)


def test_more_holes_cost_mainline_more_and_a_longer_prefix_too() -> None:
    few, many = (cost.fill(SVC, "before", pattern).estimate for pattern in ("xxx..xxx", "xx...xxx"))
    assert few < many
    early, late = (cost.fill(SVC, "before", pattern, predicted_only=True) for pattern in ("..xxxxxx", "xxxxxx.."))
    assert early.estimate - late.estimate == pytest.approx(
        6 * (cost.STEPS["loop slot"].instructions - cost.STEPS["prefix slot"].instructions)
    )


def test_steps_sum_up_to_the_estimate() -> None:
    for condition in cost.CONDITIONS:
        found = cost.fill(BTRFS, "after", "x..xx.x.....", condition, predicted_only=True)
        assert sum(found.steps.values()) == pytest.approx(found.estimate)
        assert found.low < found.estimate < found.high
        assert set(found.steps) <= set(cost.STEPS)


def test_the_same_fill_costs_the_same_again() -> None:
    one = cost.rows([{"caller": SVC, "form": "after", "condition": "cold", "pattern": "x.x..x...x"}])
    assert one == cost.rows([{"caller": SVC, "form": "after", "condition": "cold", "pattern": "x.x..x...x"}])


def test_measured_costs_are_marked_and_prediction_never_looks() -> None:
    row = data.series()[0]["rows"][0]
    key = row["caller"], row["form"], row["pattern"]
    found = cost.fill(*key, row["condition"])
    assert (found.source, found.estimate) == ("measured", row["instructions_per_fill"])
    predicted = cost.fill(*key, row["condition"], predicted_only=True)
    assert predicted.source == "predicted"
    assert predicted.estimate == sum(predicted.steps.values()) != found.estimate


@pytest.mark.parametrize("condition", cost.CONDITIONS)
def test_a_difference_of_measurements_is_narrower(condition: str) -> None:
    found, predicted = (
        cost.fill_difference(XFS, "before", "after", "." * 16, condition, predicted_only=only) for only in (False, True)
    )
    assert (found.source, predicted.source) == ("measured", "predicted")
    assert found.instructions[1] <= predicted.instructions[0] <= found.instructions[2]


def test_a_difference_is_that_of_its_sides() -> None:
    found = cost.fill_difference(BTRFS, "before", "after", "." * 24)
    middle, low, high = found.instructions
    assert middle == found.form.estimate - found.base.estimate
    assert low < middle < high
    assert found.percent == pytest.approx([100 * x / found.base.estimate for x in found.instructions])
    back = cost.fill_difference(BTRFS, "after", "before", "." * 24)
    assert back.instructions[0] == -middle


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [((-5, -8, -2), "faster"), ((5, 2, 8), "slower"), ((0, -0.5, 0.9), "same"), ((1, -2, 4), "undecided")],
)
def test_verdicts_rest_on_the_interval(percent: tuple[float, float, float], verdict: str) -> None:
    one = cost.fill(XFS, "before", "..")
    assert cost.Difference(one, one, percent, percent, "predicted").verdict() == verdict


def test_calls_cost_what_the_loops_measured() -> None:
    for (api, nr_pages, period), value in data.measured_pages().items():
        assert cost.call(api, nr_pages, period).estimate == pytest.approx(value)
        found = cost.call(api, nr_pages, period, predicted_only=True)
        assert found.estimate == pytest.approx(value, rel=0.1 if api == "single" else 0.04)


def test_the_page_pool_gains_what_its_refill_does() -> None:
    """No page_pool row is in the fit: a refill of 64 slots, told by the steps, explains what was measured."""
    base, form = (cost.fill("core", api, "." * 64, predicted_only=True).estimate for api in ("v1", "v2"))
    measured = cost.pool_difference("page_pool03_slow").instructions[0]
    assert (form - base) / 64 == pytest.approx(measured, abs=0.5)


def test_a_run_of_a_caller_costs_what_the_fill_does() -> None:
    machine = bp.Machine("512MiB", cpus=1)
    pattern = "x..xxx.x" * 4
    run = svc_alloc_arg(machine, fill_shape(machine, pattern), len(pattern), form="after")
    fill = cost.fill(SVC, "after", pattern, predicted_only=True)
    without_refill = run.cost().estimate - sum(run.cost().steps.get(s, 0) for s in ("refill", "refill page", "split"))
    assert without_refill == pytest.approx(fill.estimate)


def test_locks_are_held_for_their_steps() -> None:
    warm, cold = (cost.fill(XFS, "before", "." * 64, c, predicted_only=True) for c in ("warm", "cold"))
    assert cost.inside(warm, "zone lock") == 0
    assert cost.inside(cold, "zone lock") < cost.inside(cold, "pcp lock") < cold.estimate
    assert cost.interrupts_off(warm, "SMP") == cost.interrupts_off(cold, "PREEMPT_RT") == 0
    assert cost.interrupts_off(cold, "UP") > cost.interrupts_off(cold, "SMP") > 0


def test_larger_than_measured_is_marked() -> None:
    inside, beyond = (cost.fill(XFS, "after", "." * n) for n in (512, 513))
    assert (inside.extrapolated, beyond.extrapolated) == (False, True)
    assert beyond.high - beyond.low > 2 * (inside.high - inside.low)
    assert beyond.to_dict()["extrapolated"] is True
