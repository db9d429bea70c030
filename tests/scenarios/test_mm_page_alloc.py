"""`mm/page_alloc.c`, `include/linux/gfp.h`: the call itself.

The diff drops the prefix scan, the return for a full array and the NULL test of the loop; what is left writes from the
first slot on and returns the number of new pages. As long as the array is all NULL, pages, order and counters are the
same.
"""

from __future__ import annotations

import pytest

import bulkpages as bp
from bulkpages.callers.tables import differences, marks, micro_examples

#: (array, fault, before: passed, returned, leaves; after: base, passed, returned, leaves).
MICRO = [
    ("........", {}, (8, 8, "oooooooo"), (0, 8, 8, "oooooooo")),
    ("xxxxxxxx", {}, (8, 8, "xxxxxxxx"), None),
    ("xxxxxxx.", {}, (8, 8, "xxxxxxxo"), (7, 1, 1, "xxxxxxxo")),
    (".xxxxxxx", {}, (8, 8, "oxxxxxxx"), (7, 1, 1, "xxxxxxxo")),
    ("x.x.x.x.", {}, (8, 8, "xoxoxoxo"), (4, 4, 4, "xxxxoooo")),
    ("x.x.x.x.", {"trylock": True}, (8, 2, "xox.x.x."), (4, 4, 1, "xxxxo...")),
    ("x.x.x.x.", {"pages": 2}, (8, 5, "xoxox.x."), (4, 4, 2, "xxxxoo..")),
    ("x.x.x.x.", {"pages": 0}, (8, 1, "x.x.x.x."), (4, 4, 0, "xxxx....")),
    ("x.x.x.x.", {"prepare": True}, (8, 1, "x.x.x.x."), (4, 4, 0, "xxxx....")),
    (".x", {}, (2, 2, "ox"), (1, 1, 1, "xo")),
    ("x.", {}, (2, 2, "xo"), (1, 1, 1, "xo")),
]


def test_the_table_of_small_examples_comes_out_of_runs() -> None:
    rows = micro_examples()
    assert [(row["array"], row["faults"]) for row in rows] == [(shape, faults) for shape, faults, _, _ in MICRO]
    for row, (shape, faults, before, after) in zip(rows, MICRO, strict=True):
        base, passed, returned = row["before"]["calls"][0]
        got = (passed, returned, row["before"]["first_call_array"])
        assert (base, got) == (0, before), (shape, faults, "before")
        if after is None:
            assert row["after"]["calls"] == [], shape
        else:
            assert (*row["after"]["calls"][0], row["after"]["first_call_array"]) == after, (shape, faults, "after")


def test_the_table_of_marks_comes_out_of_runs() -> None:
    """Spec 8.9: before asks for LOW plus the whole array, after for LOW plus the rest."""
    found = {(row["caller"], row["form"]): row["mark"] for row in marks()}
    assert found == {
        ("virtiovf_add_migration_pages", "before"): 64,
        ("virtiovf_add_migration_pages", "after"): 64,
        ("btrfs_alloc_page_array", "before"): 16,
        ("btrfs_alloc_page_array", "after"): 12,
        ("z_erofs_gbuf_growsize", "before"): 64,
        ("z_erofs_gbuf_growsize", "after"): 48,
        ("xfs_buf_alloc_pages", "before"): 16,
        ("xfs_buf_alloc_pages", "after"): 16,
        ("svc_alloc_arg", "before"): 64,
        ("svc_alloc_arg", "after"): 8,
    }


def test_the_differences_come_out_of_runs() -> None:
    found = {d.key: (d.before, d.after) for d in differences()}
    assert found == {
        "order": ("0 pages moved, new page in slot 1", "257 pages moved, new page in slot 258"),
        "stores": ("259 slot tests, 0 stores", "259 slot tests, 259 stores"),
        "hot page": (
            "the page freed last, from slot 1, is in slot 1",
            "the page freed last, from slot 1, is in slot 63",
        ),
        "attempts": ("2 calls, ret -12", "1 calls, ret -12"),
        "cleanup": ("2 pages freed, 3 left in the array", "5 pages freed, 0 left in the array"),
        "trace line": (
            "svc_alloc_arg_err: requested=8 allocated=2",
            "svc_alloc_arg_err: requested=8 allocated=4",
        ),
        "extra call": ("calls [(4, 2), (4, 4)]", "calls [(1, 1)]"),
        "last page": ("8 calls, the last: one page", "8 calls, the last: one page"),
    }


@pytest.mark.parametrize("n", [1, 2, 8, 64, 512])
def test_an_empty_array_gets_the_same_pages_in_the_same_order(n: int) -> None:
    pages = []
    for api in ("v1", "v2"):
        m = bp.Machine("64MiB")
        a = bp.PageArray(n)
        assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, api=api) == n
        pages.append((list(a), dict(m.vmstat), m.snapshot()))
    assert pages[0] == pages[1]


def test_the_refill_call_of_v3_has_three_results(m: bp.Machine) -> None:
    a = bp.callers.fill_shape(m, "x.x.")
    old = [page for page in a if page]
    with m.faults(pages=1):
        assert m.alloc_pages_bulk_refill(bp.GFP_KERNEL, a) == -11, "-EAGAIN: one of two"
        assert list(a)[:2] == old, "pages move to the front, in order"
        assert m.alloc_pages_bulk_refill(bp.GFP_KERNEL, a) == -12, "-ENOMEM: none"
    assert m.alloc_pages_bulk_refill(bp.GFP_KERNEL, a) == 0
    assert m.alloc_pages_bulk_refill(bp.GFP_KERNEL, a) == 0, "a full array is a success"
    assert m.free_bulk(a) == 4


def test_a_page_owner_makes_v1_test_the_prefix_again_for_every_page() -> None:
    """One page per call: v1 walks what it has filled so far each time, v2 does not read the array."""
    tests = {}
    for form in ("before", "after"):
        m = bp.Machine("64MiB", page_owner=True)
        r = bp.callers.svc_alloc_arg(m, bp.PageArray(259), form=form)
        assert [ret for _, ret in r.bulk_calls] == (list(range(1, 260)) if form == "before" else [1] * 259)
        tests[form] = r.slot_tests
    assert tests == {"before": sum(range(1, 260)), "after": 259}
    assert tests["before"] == 33_670
