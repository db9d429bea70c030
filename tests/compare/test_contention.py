"""The contention experiment: drains from another CPU against the bulk call."""

import os

import pytest

import bulkpages as bp
from bulkpages import _core
from bulkpages.suite.experiments.contention import ARMS, ARRAYS, RATES, contention

two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")


@two
def test_every_array_and_rate_has_a_row_and_nothing_is_lost_without_drains() -> None:
    rows = contention(seed=3, share=0.05)
    assert [(r["slots"], r["drains_per_second"]) for r in rows] == [(a[0], rate) for a in ARRAYS for rate in RATES]
    for row in rows:
        assert set(row["arms"]) == set(ARMS)
        for arm in row["arms"].values():
            low, high = arm["lost_range"]
            assert 0 <= low <= arm["lost"] <= high <= 1
        if row["drains_per_second"] == 0:
            assert row["drains"] == 0
            assert {(arm["lost"], arm["calls_per_fill"]) for arm in row["arms"].values()} == {(0, 1)}


def test_one_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(bp.InvalidArgument, match="2 processors"):
        contention(seed=1)


def test_bad_input() -> None:
    parallel = bp.Machine("64MiB", cpus=2, threads=True)
    before = parallel.snapshot()
    for machine, arguments in [
        (bp.Machine("64MiB", cpus=2), ("v1", 64, 0, 0, 10)),
        (bp.Machine("64MiB", cpus=1, threads=True), ("v1", 64, 0, 0, 10)),
        (parallel, ("v4", 64, 0, 0, 10)),
        (parallel, ("v1", 0, 0, 0, 10)),
        (parallel, ("v1", 64, -1, 0, 10)),
        (parallel, ("v1", 64, 0, -1, 10)),
        (parallel, ("v1", 64, 0, 0, 0)),
        (bp.Machine("64MiB", cpus=2, threads=True), ("v1", 1 << 20, 2, 0, 1)),
    ]:
        with pytest.raises(bp.InvalidArgument):
            _core.contend(machine, *arguments)
    assert parallel.snapshot() == before
