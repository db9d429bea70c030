"""Workloads and the states that they run in."""

from __future__ import annotations

from importlib.resources import files

import pytest

from bulkpages import InvalidArgument, Machine, _core
from bulkpages.eras import ERAS
from bulkpages.suite.experiments.failures import failures
from bulkpages.suite.experiments.growth import growth
from bulkpages.suite.experiments.published import published
from bulkpages.suite.experiments.windows import HOLES, clock_windows, windows
from bulkpages.suite.trunk.cells import BulkLoop, Fill, PoolLoop
from bulkpages.suite.trunk.states import Conditions, make_machine
from bulkpages.suite.trunk.workloads import full_cells, quick_cells, select

STATE = str(files("bulkpages").joinpath("data/uma-256m.json.gz"))


def test_near_low_is_near_low() -> None:
    machine = make_machine(STATE, Conditions(above_low=64))
    zone = machine.zones[-1]
    above = zone.nr_free - zone.watermark["low"] - zone.boost
    assert 64 <= above < 64 + 16
    machine.audit()


def test_states() -> None:
    assert make_machine(STATE, Conditions(nodes=2)).nodes == 2
    assert str(Conditions()) == "as recorded"
    assert (
        str(Conditions(cold=True, trylock_loss=0.1, page_owner=True)) == "cold lists, 10% of trylocks lost, page owner"
    )


def test_patterns() -> None:
    chosen, unknown = select(("null-*", "xfs-4", "no-*"), full_cells())
    assert {"null-1", "xfs-4"} <= {cell.name for cell in chosen}
    assert unknown == ["no-*"]


def test_holes_are_counted() -> None:
    holes = {cell.name: cell.holes for cell in full_cells() + quick_cells()}
    assert holes["null-64"] == 64
    assert holes["holes-256-every-32"] == 8
    assert holes["svc-small-rpc"] == 1
    assert holes["btrfs-full-64"] == 0
    assert holes["core-256-holes-32-runs-4"] == 32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "before", "..", 1), "nobody"),
        (("core", "tracked", "..", 1), "tracked"),
        (("core", "before", "?", 1), "'?'"),
        (("core", "before", "", 1), "0 slots"),
        (("core", "before", "..", 0), "iterations"),
        (("xfs_buf_alloc_pages", "v3", "..", 1), "v3"),
        (("xfs_buf_alloc_pages", "before", "x.", 1), "all NULL"),
        (("core", "before", "." * 100_000, 1), "not enough pages"),
    ],
)
def test_bad_fills(arguments: tuple[str, str, str, int], words: str) -> None:
    machine = Machine("64MiB")
    before = machine.audit().allocated
    with pytest.raises(InvalidArgument, match=words.replace("?", r"\?")):
        _core.trial_fill(machine, *arguments)
    with pytest.raises(InvalidArgument):
        _core.count_fill(machine, *arguments)
    with pytest.raises(InvalidArgument, match="trylock loss"):
        _core.trial_fill(machine, "core", "before", "..", 1, trylock_loss=2.0)
    assert machine.audit().allocated == before


def test_growth_finds_the_quadratic_ones() -> None:
    rows = {(row["filler"], row["form"], row["page_owner"]): row for row in growth()}
    assert rows["svc_alloc_arg", "before", True]["quadratic"]
    assert rows["svc_alloc_arg", "before", True]["slot_work"][-1] == 259 * 260 // 2 + 259
    assert not rows["svc_alloc_arg", "after", True]["quadratic"]
    assert not any(row["quadratic"] for (_, _, page_owner), row in rows.items() if not page_owner)


def test_growth_in_instructions_follows_slot_work() -> None:
    for row in growth():
        assert len(row["instructions"]) == len(row["sizes"])
        assert row["instructions"] == sorted(row["instructions"])
        assert row["instructions"][-1] > row["slot_work"][-1]


def test_windows_say_what_is_inside() -> None:
    rows = windows(STATE)
    for row in rows:
        assert row["pcp_pages"] == row["holes"]
        # A caller that remembers its holes compacts nothing; mainline tests every slot from the first hole on.
        assert row["pcp_slot_tests"] == (259 if row["form"] == "before" else 0) or row["form"] == "tracked"
        assert row["irq_off"]["PREEMPT_RT"] is None
        assert (row["zone_pages"] > 0) == row["cold"]
        # What is done under a lock is part of the fill.
        assert 0 < row["pcp"]["instructions"] <= row["fill"] + 0.01
        assert (row["zone"]["instructions"] > 0) == row["cold"]
        assert row["irq_off"]["SMP"] == row["zone"]
        for lock in ("pcp", "zone"):
            window = row[lock]
            assert window["per_locking"] * window["lockings"] == pytest.approx(
                window["instructions"], rel=0.01, abs=0.1
            )
    assert len(rows) == 2 * len(HOLES) * 4
    warm = {row["form"]: row for row in rows if row["holes"] == HOLES[0] and not row["cold"]}
    assert warm["before"]["pcp"]["instructions"] > warm["after"]["pcp"]["instructions"]


def test_windows_on_the_clock() -> None:
    rows = clock_windows(STATE)
    assert len(rows) == 2 * len(HOLES) * 4
    assert all(row["pcp"]["p5"] <= row["pcp"]["p50"] <= row["pcp"]["p99"] for row in rows)


@pytest.mark.parametrize("kernel", ERAS)
def test_failures_change_btrfs_and_sunrpc_alone(kernel: str) -> None:
    found = failures(kernel)
    assert {row["caller"] for row in found["differences"]} == {"btrfs_alloc_page_array", "svc_alloc_arg"}
    assert not any(row["leaked"] or row["corrupt"] for row in found["by_form"])


def test_four_kinds_say_what_they_are() -> None:
    loop, pool = BulkLoop(name="a", nr_pages=10, hole_period=4), PoolLoop(name="b", loop="page_pool03_slow")
    fill = Fill(name="c", filler="core", pattern="x.x.", forms=("before", "after"))
    assert [(c.unit, c.slots, c.holes, c.period, c.bench, c.caller) for c in (loop, pool, fill)] == [
        ("page", 10, 3, 4, None, None),
        ("op", 0, 0, 0, "page_pool03_slow", None),
        ("fill", 4, 2, 0, None, "core"),
    ]


def test_published_rows() -> None:
    rows = published({"rows": [{"name": "page_pool03_slow", "ratio": 0.95}]})
    found = {row["what"]: row for row in rows}
    pool = found["page_pool03_slow, patched against mainline"]
    assert (pool["theirs"], pool["ours"], pool["sign"], pool["size"]) == ("0.983", "0.950", "agree", "close")
    assert pool["error"] == "-3.4%"
    assert len(rows) >= 9
