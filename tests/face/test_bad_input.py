"""Bad input gets a clear error with the value and the limit, and changes nothing."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bulkpages as bp
from bulkpages.formats.recording import load_snapshot

HUGE = [-1, -(1 << 70), 1 << 40, 1 << 70, 1 << 200]
WRONG = ["1", 1.5, math.nan, b"1", [1]]

Call = Callable[[bp.Machine, Any], Any]

INTEGERS: dict[str, Call] = {
    "bulk gfp": lambda m, v: m.alloc_pages_bulk(v, bp.PageArray(4)),
    "bulk nr_pages": lambda m, v: m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(4), v),
    "bulk nid": lambda m, v: m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(4), nid=v),
    "bulk cpu": lambda m, v: m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(4), cpu=v),
    "alloc gfp": lambda m, v: m.alloc_pages(v),
    "alloc order": lambda m, v: m.alloc_pages(bp.GFP_KERNEL, v),
    "alloc nid": lambda m, v: m.alloc_pages(bp.GFP_KERNEL, nid=v),
    "alloc cpu": lambda m, v: m.alloc_pages(bp.GFP_KERNEL, cpu=v),
    "free pfn": lambda m, v: m.free_pages(v),
    "free order": lambda m, v: m.free_pages(4096, v),
    "free cpu": lambda m, v: m.free_pages(4096, cpu=v),
    "free_bulk cpu": lambda m, v: m.free_bulk(bp.PageArray(4), cpu=v),
    "drain cpu": lambda m, v: m.drain_local_pages(v),
    "hold node": lambda m, v: m.hold_pcp_lock(node=v).__enter__(),
    "hold zone": lambda m, v: m.hold_pcp_lock(zone=v).__enter__(),
    "hold pcp_cpu": lambda m, v: m.hold_pcp_lock(pcp_cpu=v).__enter__(),
    "pcp cpu": lambda m, v: m.zones[0].pcp(v),
    "slot value": lambda m, v: bp.PageArray(4).__setitem__(0, v),
    "op cpu": lambda m, v: m.replay([{"op": "drain_local", "cpu": v}]),
    "op gfp": lambda m, v: m.replay([{"op": "alloc", "cpu": 0, "gfp": v, "nid": 0, "order": 0, "slot": 0}]),
    "op order": lambda m, v: m.replay([{"op": "alloc", "cpu": 0, "gfp": 3264, "nid": 0, "order": v, "slot": 0}]),
    "op slot": lambda m, v: m.replay([{"op": "free", "cpu": 0, "order": 0, "slot": v}]),
    "op nr": lambda m, v: m.replay([{"op": "free_range", "cpu": 0, "nr": v, "slot": 0}]),
    "op node": lambda m, v: m.replay([{"op": "hold_pcp_lock", "cpu": 0, "node": v, "zone": 0, "pcp_cpu": 1}]),
}
# For these every frame number of 32 bits and more slots than anybody has are refused elsewhere.
OUT_OF_RANGE = dict.fromkeys(INTEGERS, HUGE)


@pytest.mark.parametrize("value", HUGE, ids=["-1", "-2^70", "2^40", "2^70", "2^200"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_out_of_range(m: bp.Machine, name: str, value: int) -> None:
    before = m.snapshot()
    with pytest.raises(bp.InvalidArgument, match=r"\d"):
        INTEGERS[name](m, value)
    assert m.snapshot() == before


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("name", INTEGERS)
def test_wrong_types(m: bp.Machine, name: str, value: object) -> None:
    before = m.snapshot()
    with pytest.raises(TypeError):
        INTEGERS[name](m, value)
    assert m.snapshot() == before


@pytest.mark.parametrize(
    ("gfp", "words"),
    [(0x3, "selects no zone"), (0x5, "selects no zone"), (0x18, "both MOVABLE"), (1 << 28, "bits above 0xfffffff")],
)
def test_gfp_combinations_that_mean_nothing(m: bp.Machine, gfp: int, words: str) -> None:
    with pytest.raises(bp.InvalidArgument, match=words):
        m.alloc_pages(gfp)
    with pytest.raises(bp.InvalidArgument, match=words):
        m.alloc_pages_bulk(gfp, bp.PageArray(4))


def test_more_pages_than_slots(m: bp.Machine) -> None:
    with pytest.raises(bp.InvalidArgument, match=r"nr_pages 5 is outside 0 to 4"):
        m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(4), 5)


def test_unknown_api(m: bp.Machine) -> None:
    with pytest.raises(bp.InvalidArgument, match='api "v9"'):
        m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(4), api="v9")


def test_double_free(m: bp.Machine) -> None:
    pfn = m.alloc_pages(bp.GFP_KERNEL)
    assert pfn is not None
    m.free_pages(pfn)
    before = m.snapshot()
    with pytest.raises(bp.ApiMisuse, match=f"pfn {pfn} is free, on a per-CPU list"):
        m.free_pages(pfn)
    assert m.snapshot() == before


def test_free_with_another_order(m: bp.Machine) -> None:
    pfn = m.alloc_pages(bp.GFP_KERNEL, 2)
    assert pfn is not None
    with pytest.raises(bp.ApiMisuse, match="allocated with order 2, not 0"):
        m.free_pages(pfn)
    with pytest.raises(bp.ApiMisuse, match="not allocated"):
        m.free_pages(pfn + 1)
    m.free_pages(pfn, 2)


@pytest.mark.parametrize("pfn", [0, 1, 4096, 16383, 16384, 1 << 31, (1 << 32) - 1])
def test_free_of_what_nobody_owns(m: bp.Machine, pfn: int) -> None:
    with pytest.raises(bp.ApiMisuse, match=str(pfn)):
        m.free_pages(pfn)


def test_free_bulk_with_one_bad_slot_frees_nothing(m: bp.Machine) -> None:
    a = bp.PageArray(4)
    m.alloc_pages_bulk(bp.GFP_KERNEL, a)
    good = list(a)
    for bad, words in ((4097, "4097"), (a[1], "stands in an earlier slot"), ((1 << 32) - 1, "not allocated")):
        a[3] = bad
        before = m.snapshot()
        with pytest.raises(bp.ApiMisuse, match=words):
            m.free_bulk(a)
        assert m.snapshot() == before
        assert a[3] == bad
        a[3] = good[3]
    assert m.free_bulk(a) == 4


@pytest.mark.parametrize("slots", [-1, (1 << 28) + 1, 1 << 70])
def test_arrays_of_impossible_sizes(slots: int) -> None:
    with pytest.raises(bp.InvalidArgument, match="slots"):
        bp.PageArray(slots)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"memory": "0"}, "memory of 0 pages"),
        ({"memory": "many"}, "'many' is not a size"),
        ({"memory": -4096}, "below 0"),
        ({"memory": "1PiB"}, "not a size"),
        ({"memory": 1 << 60}, "memory"),
        ({"cpus": 0}, "cpus 0"),
        ({"cpus": -1}, "cpus -1"),
        ({"cpus": 1 << 70}, "cpus"),
        ({"nodes": 0}, "nodes 0"),
        ({"nodes": 99}, "nodes 99"),
        ({"memory": "64MiB", "movablecore": "64MiB"}, "movablecore"),
    ],
)
def test_impossible_machines(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(bp.InvalidArgument, match=words):
        bp.Machine(**arguments)


def _set(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(snapshot: dict[str, Any]) -> None:
        at: Any = snapshot
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


def _delete(path: list[Any]) -> Callable[[dict[str, Any]], None]:
    def change(snapshot: dict[str, Any]) -> None:
        at: Any = snapshot
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no zones": (_set(["zones"], []), "at least one zone"),
    "zones missing": (_delete(["zones"]), "zones"),
    "field missing": (_delete(["zones", 1, "min"]), r"zones\[1\].*min"),
    "wrong type": (_set(["zones", 1, "managed"], "many"), r"zones\[1\]\.managed"),
    "managed too large": (_set(["zones", 1, "managed"], 10**9), "managed 1000000000"),
    "negative mark": (_set(["zones", 1, "low"], -1), "-1"),
    "free counter": (_set(["zones", 1, "nr_free"], 5), "free counter 5"),
    "unaligned": (_set(["zones", 1, "free", "10", "1", 0], 19457), "19457 is not aligned"),
    "outside": (_set(["zones", 1, "free", "0", "1", 0], 999999), "999999"),
    "overlap": (_set(["zones", 1, "free", "0", "1", 0], 19456), "overlap"),
    "listed twice": (_set(["zones", 1, "free", "10", "1", 0], 20480), "overlap"),
    "pcp count": (_set(["zones", 1, "pcp", "0", "count"], 3), "count of cpu 0 is 3"),
    "pcp of no cpu": (_delete(["zones", 1, "pcp", "1"]), "2 CPUs"),
    "batch": (_set(["zones", 1, "pcp", "0", "batch"], 0), "batch 0"),
    "pageblocks": (_set(["zones", 1, "pageblocks"], [[1, 3]]), "covers 3 blocks"),
    "pageblock type": (_set(["zones", 1, "pageblocks", 0, 0], 7), "type 7"),
    "zonelist": (_set(["zonelists", "0"], [[0, 3]]), "zone 0.3"),
    "cpu on no node": (_set(["cpu_node", "0"], 9), "node 9"),
    "pageblock order": (_set(["facts", "pageblock_order"], 10), "pageblock_order is 10"),
    "flags": (_set(["zones", 1, "flags"], 64), "0x40"),
    "zone index": (_set(["zones", 1, "idx"], 9), "zone index"),
    "frames": (_set(["zones", 1, "spanned"], 1 << 50), "outside"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_snapshots(first: Path, name: str) -> None:
    change, words = BROKEN[name]
    snapshot = copy.deepcopy(load_snapshot(first))
    change(snapshot)
    with pytest.raises(bp.SnapshotError, match=words):
        bp.Machine.from_snapshot(snapshot)


def test_not_a_snapshot(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="int"):
        bp.Machine.from_snapshot(3)  # type: ignore[arg-type]
    with pytest.raises(bp.SnapshotError, match="not JSON"):
        bp.Machine.from_snapshot({"zones": object()})
    path = tmp_path / "state.json"
    path.write_text("{}")
    with pytest.raises(bp.SnapshotError, match="no snapshot 'before'"):
        bp.Machine.from_snapshot(path)


@pytest.mark.parametrize(
    ("operations", "error", "words"),
    [
        ([{"op": "fly", "cpu": 0}], bp.InvalidArgument, 'operation "fly"'),
        ([{"cpu": 0}], bp.InvalidArgument, 'no "op"'),
        ([{"op": "free_stride", "cpu": 0, "slot": 0, "nr": 8, "first": 0, "step": 0}], bp.InvalidArgument, "step 0"),
        ([{"op": "free_range", "cpu": 0, "slot": 131072, "nr": 1}], bp.InvalidArgument, "131072"),
        ([{"op": "hold_pcp_lock", "cpu": 0, "node": 0, "zone": 0, "pcp_cpu": 1}] * 2, bp.ApiMisuse, "operation 1"),
        ([{"op": "release_pcp_lock", "cpu": 0, "node": 0, "zone": 0, "pcp_cpu": 1}], bp.ApiMisuse, "not held"),
        (
            [{"op": "alloc", "cpu": 0, "gfp": 3264, "nid": 0, "order": 0, "slot": 0}, {"op": "drain_local", "cpu": 9}],
            bp.InvalidArgument,
            "operation 1: cpu 9",
        ),
    ],
)
def test_bad_operations_change_nothing(
    m: bp.Machine, operations: list[dict[str, Any]], error: type[Exception], words: str
) -> None:
    before = m.snapshot()
    with pytest.raises(error, match=words):
        m.replay(operations)
    assert m.snapshot() == before


def test_replay_wants_dicts(m: bp.Machine) -> None:
    with pytest.raises(TypeError, match="operation 0 is a int"):
        m.replay([1])  # type: ignore[list-item]


def test_drain_of_held_lists_would_never_return(m: bp.Machine) -> None:
    with m.hold_pcp_lock(zone=1, pcp_cpu=0):
        with pytest.raises(bp.ApiMisuse, match="wait for ever"):
            m.drain_local_pages(cpu=0)
        with pytest.raises(bp.ApiMisuse, match="held already"), m.hold_pcp_lock(zone=1, pcp_cpu=0):
            pass
    m.drain_local_pages(cpu=0)
