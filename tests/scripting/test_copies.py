"""Machines, arrays and results as values: pickled, copied, compared."""

import copy
import json
import pickle
from typing import Any

import pytest

import bulkpages as bp


def busy(**options: Any) -> bp.Machine:
    """A machine with blocks of several orders and types, counters, pages on lists of both CPUs, and page cache."""
    m = bp.Machine("64MiB", cpus=2, **options)
    m.set_reclaim(file_pages=500, latency_ns=1000, kswapd_delay_ns=10, tasks=[20, 30])
    a = bp.PageArray(100)
    m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2")
    for order in range(11):
        m.alloc_pages(bp.GFP_HIGHUSER_MOVABLE, order, cpu=order % 2)
    for i in range(0, 100, 3):
        m.free_pages(a[i], cpu=i % 2)
    m.replay([{"op": "bulk_v2", "gfp": bp.GFP_KERNEL, "nr_pages": 9, "slot": 5}])
    m.advance(123456)
    return m


def operations(m: bp.Machine) -> list[Any]:
    """What a machine answers to many calls; whoever is in another state answers otherwise."""
    a = bp.PageArray(300)
    seen: list[Any] = [m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v1", cpu=1), list(a)]
    seen += [m.alloc_pages(bp.GFP_ATOMIC, order) for order in range(11)]
    seen += [m.free_bulk(a), m.replay([{"op": "free_range", "slot": 0, "nr": 20}])]
    big = bp.PageArray(9000)
    seen += [m.alloc_pages_bulk(bp.GFP_KERNEL, big, api="v2"), list(big), m.reclaim, dict(m.vmstat)]
    return seen


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("threads", [False, True])
def test_a_copy_of_a_machine_is_equal_and_does_the_same(make: Any, threads: bool) -> None:
    m = busy(threads=threads)
    other = make(m)
    assert other is not m
    assert other == m
    assert (other.snapshot(), other.audit(), other.threads) == (m.snapshot(), m.audit(), threads)
    assert operations(other) == operations(m)
    assert other == m
    other.alloc_pages(bp.GFP_KERNEL)
    assert other != m


def test_whoever_owned_a_page_can_free_it_on_the_copy() -> None:
    m = bp.Machine("64MiB")
    pfn = m.alloc_pages(bp.GFP_KERNEL, 3)
    assert pfn is not None
    other = pickle.loads(pickle.dumps(m))
    other.free_pages(pfn, 3)
    with pytest.raises(bp.ApiMisuse):
        other.free_pages(pfn, 3)
    assert other.audit().allocated == 0
    assert m.audit().allocated == 8


def test_settings_and_held_locks_are_part_of_the_state() -> None:
    m = bp.Machine("64MiB", memcg=True)
    assert m != bp.Machine("64MiB")
    with m.hold_pcp_lock(0, 1, 1):
        other = copy.copy(m)
        assert other == m
    assert other != m
    other._hold_pcp_lock(0, 1, 1, False)
    assert other == m


def test_equal_snapshots_are_not_yet_equal_machines() -> None:
    m = bp.Machine("64MiB")
    pfn = m.alloc_pages(bp.GFP_KERNEL)
    assert pfn is not None
    loaded = bp.Machine.from_snapshot(m.snapshot())
    assert loaded.snapshot() == m.snapshot()
    assert loaded != m, "to the loaded one the page is the kernel's"
    assert m != "a machine"
    with pytest.raises(TypeError, match="unhashable"):
        hash(m)


def test_faults_stay_behind_and_pools_forbid_copies() -> None:
    m = bp.Machine("64MiB")
    with m.faults(pages=0):
        assert copy.copy(m).alloc_pages(bp.GFP_KERNEL) is not None
    pool = bp.callers.PagePool(m, form="after")
    page = pool.alloc()
    assert page is not None
    with pytest.raises(bp.ApiMisuse, match="forget the pool"):
        pickle.dumps(m)
    with pytest.raises(TypeError, match="page_pool"):
        copy.copy(pool)
    pool.put(page)
    pool.destroy()
    del pool
    assert copy.copy(m) == m


def test_a_subclass_stays_one() -> None:
    class Mine(bp.Machine):
        __slots__ = ()

    assert type(copy.copy(Mine("64MiB"))) is Mine


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["owned", 0, "first"], 4098, "on a list too"),
        (["owned", 0, "first"], 10**6, "in no zone"),
        (["owned", 0, "order"], 12, "too large"),
        (["owned", 0, "pool"], 3, "page_pool"),
        (["counters", 0, "pcp"], [], "counters of 0 CPUs"),
        (["held"], [[0, 7, 0]], "does not exist"),
        (["reclaim", "tasks"], [[77]], "reclaim model"),
        (["snapshot", "zones"], [], "at least one zone"),
        (["allocstall"], [1], "allocstall of 1 zones, not of 4"),
    ],
)
def test_a_damaged_pickle_is_refused(where: list[Any], value: Any, message: str) -> None:
    m = bp.Machine("64MiB")
    m.alloc_pages(bp.GFP_KERNEL)
    text, slots = m._save()
    state = json.loads(text)
    at = state
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    with pytest.raises(bp.SnapshotError, match=message):
        bp._core.Machine.__new__(bp.Machine, saved=json.dumps(state), saved_slots=slots)
    with pytest.raises(bp.SnapshotError, match="slot 200000"):
        bp._core.Machine.__new__(bp.Machine, saved=text, saved_slots=[(200_000, 1)])


def test_arrays_and_results_are_values() -> None:
    m = bp.Machine("64MiB")
    a = bp.callers.fill_shape(m, "x.x.")
    b = pickle.loads(pickle.dumps(a))
    assert b == a == copy.deepcopy(a)
    b[1] = 7
    assert a != b
    assert eval(repr(a), {"PageArray": bp.PageArray}) == a

    twin = copy.copy(m)
    one, two = (bp.callers.btrfs_alloc_page_array(x, copy.copy(a), form="after", explain=True) for x in (m, twin))
    assert one == two == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)
    plain = bp.callers.btrfs_alloc_page_array(m, one.array, form="after")
    assert plain != one
    assert pickle.loads(pickle.dumps(one)).events == one.events
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_lists_of_a_cpu_are_values() -> None:
    m = bp.Machine("64MiB")
    m.alloc_pages(bp.GFP_KERNEL)
    lists = m.zones[1].pcp(0)
    assert pickle.loads(pickle.dumps(lists)) == lists
    zone = pickle.loads(pickle.dumps(m.zones[1]))
    assert zone.pcp(0) == lists
    assert repr(zone) == repr(m.zones[1])
