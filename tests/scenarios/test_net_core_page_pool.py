"""`net/core/page_pool.c`: `__page_pool_alloc_pages_slow()`.

The diff drops the memset of 64 cache slots in front of the bulk call. The call's result is the same either way: same
pages in the same order, same counts, statistics and trace lines. Stale pointers stay behind the count in the cache.
"""

from __future__ import annotations

from typing import Any

import pytest

import bulkpages as bp

FORMS = ["before", "after", "v3"]


def drive(form: str, steps: int, **faults: Any) -> dict[str, Any]:
    """Takes pages, gives some back in each way, takes more; what anybody can see of it."""
    m = bp.Machine("64MiB")
    pool = bp.callers.PagePool(m, form=form)
    seen: list[int | None] = []
    with m.faults(**faults):
        for i in range(steps):
            page = pool.alloc()
            seen.append(page)
            if page is not None and i % 3 == 1:
                pool.recycle_direct(page)
            elif page is not None and i % 3 == 2:
                pool.put(page)
    out = {
        "pages": seen,
        "calls": list(pool.bulk_calls),
        "stats": dict(pool.stats),
        "counts": (pool.hold_cnt, pool.release_cnt, pool.inflight),
        "trace": list(pool.trace),
        "vmstat": dict(m.vmstat),
    }
    assert m.audit().allocated == pool.inflight
    return out


@pytest.mark.parametrize("steps", [1, 64, 65, 500])
def test_forms_are_indistinguishable_from_outside(steps: int) -> None:
    before, after, v3 = (drive(form, steps) for form in FORMS)
    assert before == after == v3


@pytest.mark.parametrize("faults", [{"pages": 0}, {"pages": 5}, {"pages": 70}, {"trylock": True}, {"dma_map": 3}])
def test_failures_are_the_same(faults: dict[str, Any]) -> None:
    before, after, v3 = (drive(form, 200, **faults) for form in FORMS)
    assert before == after == v3


def test_what_the_memset_costs(m: bp.Machine) -> None:
    for form, tests, clears in (("before", 65, 64), ("after", 0, 0), ("v3", 0, 0)):
        pool = bp.callers.PagePool(m, form=form)
        pool.alloc()
        assert (pool.slot_tests, pool.slot_clears, pool.slot_writes) == (tests, clears, 128)


@pytest.mark.parametrize("form", FORMS)
def test_the_last_page_of_a_refill_is_given_out_first(form: str, m: bp.Machine) -> None:
    array = bp.PageArray(64)
    m.alloc_pages_bulk(bp.GFP_ATOMIC, array)
    m.free_bulk(array)
    pool = bp.callers.PagePool(m, form=form)
    first = pool.alloc()
    assert len(pool.cache) == 63
    assert first not in pool.cache
    assert pool.alloc() == pool.cache[-1] or len(pool.cache) == 62
    assert pool.trace[-1].split("pfn=")[1] == f"0x{first:x} hold=64"


@pytest.mark.parametrize("form", FORMS)
def test_a_page_that_cannot_be_mapped_goes_back(form: str, m: bp.Machine) -> None:
    pool = bp.callers.PagePool(m, form=form)
    with m.faults(dma_map=10):
        assert pool.alloc() is not None
    assert (pool.hold_cnt, len(pool.cache)) == (10, 9)
    assert m.audit().allocated == 10


@pytest.mark.parametrize("form", FORMS)
def test_a_single_page_fallback_returns_one_page_per_slow_call(form: str, m: bp.Machine) -> None:
    pool = bp.callers.PagePool(m, form=form)
    with m.faults(trylock=True):
        pages = [pool.alloc() for _ in range(3)]
    assert pool.bulk_calls == [(64, 1)] * 3
    assert pool.stats["slow"] == 3
    assert None not in pages


@pytest.mark.parametrize("form", FORMS)
def test_destroy_and_forgetting_give_the_pages_back(form: str, m: bp.Machine) -> None:
    pool = bp.callers.PagePool(m, form=form)
    mine = pool.alloc()
    assert mine is not None
    pool.destroy()
    assert m.audit().allocated == 1, "the driver's page stays the driver's"
    with pytest.raises(bp.ApiMisuse, match="destroyed"):
        pool.alloc()
    other = bp.callers.PagePool(m, form=form)
    page = other.alloc()
    assert page is not None
    other.put(page)
    del other
    assert m.audit().allocated == 1


def test_misuse_is_refused(m: bp.Machine) -> None:
    pool = bp.callers.PagePool(m, form="after")
    page = pool.alloc()
    assert page is not None
    foreign = m.alloc_pages(bp.GFP_KERNEL)
    assert foreign is not None
    with pytest.raises(bp.ApiMisuse, match="not a page of this pool"):
        pool.put(foreign)
    with pytest.raises(bp.ApiMisuse, match="belongs to a page_pool"):
        m.free_pages(page)
    pool.put(page)
    with pytest.raises(bp.ApiMisuse, match="in the pool already"):
        pool.recycle_direct(page)
    for bad in ("tracked", "v1", ""):
        with pytest.raises(bp.InvalidArgument, match="form"):
            bp.callers.PagePool(m, form=bad)


def test_the_loops_of_the_benchmark_run_in_both_forms(m: bp.Machine) -> None:
    for bench in (
        bp.callers.time_bench_page_pool01_fast_path,
        bp.callers.time_bench_page_pool02_ptr_ring,
        bp.callers.time_bench_page_pool03_slow,
    ):
        for form in FORMS:
            result = bench(m, 1000, form=form)
            assert (result.loops, result.form) == (1000, form)
            assert result.counts > 0
        with pytest.raises(bp.InvalidArgument, match="loops 0"):
            bench(m, 0, form="before")
    assert m.audit().allocated == 0
