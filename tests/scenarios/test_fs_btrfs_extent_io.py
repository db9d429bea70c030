"""`fs/btrfs/extent_io.c`: `btrfs_alloc_page_array()`.

The diff adds compaction in front of the loop, counts the pages itself and passes the rest. So pages move to the front
when there is a hole before them, a full array is stored once over, one attempt shows that there is no memory, and a
failure frees every page where the form before frees those in front of the first hole. v3 leaves compaction to the call.
"""

from __future__ import annotations

import pytest
from scenario import count, on_array, picture, reasons

import bulkpages as bp

run = on_array(bp.callers.btrfs_alloc_page_array)


def shapes(n: int) -> list[str]:
    return [bp.callers.hole_shape(kind, n) for kind in ("empty", "full")] + [
        bp.callers.hole_shape("prefix", n, n // 2),
        bp.callers.hole_shape("scattered", n, n // 3, seed=n),
    ]


def run_kept(shape: str, form: str, **faults: object) -> tuple[bp.callers.CallerResult, list[int], str]:
    """A run whose array is kept as a picture."""
    m = bp.Machine("64MiB")
    array = bp.callers.fill_shape(m, shape)
    old = list(array)
    with m.faults(**faults):  # type: ignore[arg-type]
        r = bp.callers.btrfs_alloc_page_array(m, array, form=form, explain=True)
    assert m.audit().allocated == sum(page != 0 for page in array)
    return r, old, picture(array, old)


@pytest.mark.parametrize("n", [1, 4, 16, 64])
def test_every_form_fills_the_array_and_keeps_every_page(n: int) -> None:
    for shape in shapes(n):
        for form in ("before", "after", "v3"):
            r, _, after = run_kept(shape, form)
            assert r.ret == 0
            assert "." not in after, (shape, form)
            assert after.count("o") == shape.count("."), (shape, form)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_an_empty_array_is_the_same_call(n: int) -> None:
    before, _, m1 = run("." * n, "before")
    after, _, m2 = run("." * n, "after")
    assert before.bulk_calls == after.bulk_calls == [(n, n)]
    assert dict(m1.vmstat) == dict(m2.vmstat)
    assert (before.slot_tests, after.slot_tests) == (n + 1, n)
    assert before.slot_writes == after.slot_writes == n


def test_a_full_array_costs_loads_before_and_stores_as_well_after() -> None:
    before, _, _ = run("x" * 16, "before")
    after, _, _ = run("x" * 16, "after")
    assert (before.bulk_calls, before.slot_tests, before.slot_writes) == ([(16, 16)], 16, 0)
    assert (after.bulk_calls, after.slot_tests, after.slot_writes) == ([], 16, 16)


def test_pages_keep_their_slots_before_and_move_after() -> None:
    assert run_kept("x..x", "before")[2] == "xoox"
    assert run_kept("x..x", "after")[2] == "x>oo"
    assert run_kept("x..x", "v3")[2] == "x>oo"


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4, 5])
def test_an_empty_array_fails_the_same_way(pages: int) -> None:
    before, _, _ = run("." * 8, "before", faults={"pages": pages})
    after, _, _ = run("." * 8, "after", faults={"pages": pages})
    assert before.ret == after.ret == -12
    assert before.freed == after.freed == pages
    assert len(before.bulk_calls) == len(after.bulk_calls) == 1 + (pages > 0)


def test_a_populated_prefix_hides_the_first_failure_before() -> None:
    """After the patch one attempt is enough."""
    before, _, left1 = run_kept("xx......", "before", pages=0)
    after, _, left2 = run_kept("xx......", "after", pages=0)
    assert before.bulk_calls == [(8, 2), (8, 2)]
    assert after.bulk_calls == [(6, 0)]
    assert (before.freed, after.freed) == (2, 2)
    assert left1 == left2 == "........"


def test_a_failure_leaves_pages_behind_the_first_hole_before() -> None:
    """After the patch every page is freed."""
    before, _, left1 = run_kept("xx..x.xx", "before", pages=0)
    after, _, left2 = run_kept("xx..x.xx", "after", pages=0)
    v3, _, left3 = run_kept("xx..x.xx", "v3", pages=0)
    assert (before.ret, before.freed, left1) == (-12, 2, "....x.xx")
    assert (after.ret, after.freed, left2) == (-12, 5, "........")
    assert (v3.ret, v3.freed, left3) == (-12, 5, "........")


def test_one_hole_is_a_batch_before_and_a_single_page_after() -> None:
    before, _, _ = run(".xxx", "before")
    after, _, _ = run(".xxx", "after")
    assert (reasons(before), count(before.events, "mm_page_alloc")) == ([], 0)
    assert (reasons(after), count(after.events, "mm_page_alloc")) == (["one page"], 1)


def test_nofail_is_passed_on() -> None:
    for form in ("before", "after", "v3"):
        r, _, _ = run("." * 4, form, nofail=True, faults={"trylock": True})
        gfp = {e["gfp"] for e in r.events if e["event"] == "mm_page_alloc"}
        assert gfp == {0x8C40}, "GFP_NOFS | __GFP_NOFAIL"
