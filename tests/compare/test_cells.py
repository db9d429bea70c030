"""Workloads and the states that they run in."""

from __future__ import annotations

from importlib.resources import files

import pytest

from bulkpages import InvalidArgument, Machine, _core
from bulkpages.compare.cells import Conditions, full_cells, make_machine, quick_cells, select
from bulkpages.compare.growth import growth
from bulkpages.compare.published import published
from bulkpages.compare.windows import HOLES, window_sentence, windows

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


def test_windows_say_what_is_inside() -> None:
    rows = windows(STATE)
    for row in rows:
        assert row["pcp_pages"] == row["holes"]
        # Nothing is compacted when the caller remembers its holes, and v1 tests every slot from the first hole on.
        assert row["pcp_slot_tests"] == (259 if row["form"] == "before" else 0) or row["form"] == "tracked"
        assert row["irq_off"]["PREEMPT_RT"] is None
        assert (row["zone_pages"] > 0) == row["cold"]
    assert len(rows) == 2 * len(HOLES) * 4
    assert "259 slot tests inside, 0 after" in window_sentence(rows)


def test_published_rows() -> None:
    rows = published({"rows": [{"name": "page_pool03_slow", "ratio": 0.95}]})
    found = {row["what"]: row for row in rows}
    pool = found["page_pool03_slow, v2 against v1"]
    assert (pool["theirs"], pool["ours"], pool["sign"], pool["size"]) == ("0.983", "0.950", "agree", "close")
    assert pool["error"] == "-3.4%"
    assert len(rows) >= 9
