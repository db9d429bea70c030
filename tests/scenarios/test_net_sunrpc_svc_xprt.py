"""`net/sunrpc/svc_xprt.c`: `svc_alloc_arg()`.

The diff compacts `rq_pages` first, counts the pages itself and passes the rest. Pages move down and new ones come in at
the end, the gate asks for less, a first call that brings nothing is followed by a wait instead of another call, and the
trace line says how many pages there are instead of where the first hole is. `tracked` is 7.1, `v3` the proposal.
"""

from __future__ import annotations

from typing import Any

import pytest
from scenario import count, picture, reasons

import bulkpages as bp

FORMS = ["before", "after", "tracked", "v3"]
REQUESTS = [
    "small RPC",
    "READ by splice",
    "READ by iterator",
    "WRITE",
    "partial TCP record",
    "deferred replay",
]


def run(shape: str, form: str, **faults: Any) -> tuple[bp.callers.CallerResult, str, bp.Machine]:
    m = bp.Machine("64MiB")
    array = bp.callers.fill_shape(m, shape + ".")
    old = list(array)
    with m.faults(**faults):
        r = bp.callers.svc_alloc_arg(m, array, len(shape), form=form, max_waits=3, explain=True)
    assert m.audit().allocated == sum(page != 0 for page in array), "every page is in the array"
    assert array[len(shape)] == 0, "the sentinel"
    return r, picture(list(array)[:-1], old), m


@pytest.mark.parametrize("pages", [67, 131, 259])
@pytest.mark.parametrize("request_kind", REQUESTS)
def test_every_form_refills_what_a_request_took(request_kind: str, pages: int) -> None:
    shape = bp.callers.hole_shape(request_kind, pages)
    for form in FORMS:
        r, after, _ = run(shape, form)
        assert r.ret is True
        assert after.count("o") == shape.count(".")
        if form in {"before", "tracked"}:
            assert after.replace("o", ".") == shape, "pages stay where they are"
        else:
            assert after.rstrip("o").count("o") == 0, "new pages come in at the end"


def test_small_rpc_is_a_batch_before_and_a_single_page_after() -> None:
    shape = bp.callers.hole_shape("small RPC", 259)
    before, picture1, _ = run(shape, "before")
    after, picture2, _ = run(shape, "after")
    assert (before.slot_tests, before.slot_writes) == (2 + 258, 1)
    assert (after.slot_tests, after.slot_writes) == (259, 258 + 257 + 1)
    assert (reasons(before), count(before.events, "mm_page_alloc")) == ([], 0)
    assert (reasons(after), count(after.events, "mm_page_alloc")) == (["one page"], 1)
    assert picture1 == "xo" + "x" * 257
    assert picture2 == "x" + ">" * 257 + "o"


def test_a_thread_starts_with_one_hole_at_the_end() -> None:
    for form in FORMS:
        r, _, _ = run("x" * 258 + ".", form)
        assert reasons(r) == ["one page"], form


def test_a_first_failure_counts_as_progress_before() -> None:
    """After the patch one attempt is enough, and the trace line tells the pages that there are."""
    before, left1, _ = run("xx.xx...", "before", pages=0)
    after, left2, _ = run("xx.xx...", "after", pages=0)
    assert before.bulk_calls == [(8, 2)] * 5
    assert after.bulk_calls == [(4, 0)] * 4
    assert before.waits == after.waits == 3
    assert before.ret is None
    assert set(before.trace) == {"svc_alloc_arg_err: requested=8 allocated=2"}
    assert set(after.trace) == {"svc_alloc_arg_err: requested=8 allocated=4"}
    assert (left1, left2) == ("xx.xx...", "xx>>....")


@pytest.mark.parametrize("form", FORMS)
def test_a_stopped_thread_keeps_its_pages(form: str) -> None:
    r, after, _ = run("xx......", form, pages=3, stop=2)
    assert r.ret is False
    assert r.waits == 2, "told at the third question"
    assert after.count("x") == 2
    assert after.count("o") == 3


@pytest.mark.parametrize("form", FORMS)
def test_a_wait_lets_kswapd_run_and_the_thread_continues(form: str) -> None:
    m = bp.Machine("64MiB")
    m.set_reclaim(file_pages=4000, kswapd_delay_ns=2_000_000)
    memalloc = bp.GFP_KERNEL & ~bp.__GFP_RECLAIM | bp.__GFP_MEMALLOC
    hog = []
    while (pfn := m.alloc_pages(memalloc)) is not None:
        hog.append(pfn)
    with m.faults(single=True):
        r = bp.callers.svc_alloc_arg(m, bp.PageArray(8), 8, form=form, max_waits=5)
    assert r.ret is None, "the single path is all there is near the marks"
    r = bp.callers.svc_alloc_arg(m, bp.PageArray(8), 8, form=form, max_waits=5)
    assert r.ret is True
    assert m.reclaim.file_pages < 4000


def test_more_pages_than_the_kernel_has_slots_for_are_capped(m: bp.Machine) -> None:
    r = bp.callers.svc_alloc_arg(m, bp.PageArray(300), 300, form="before")
    assert r.bulk_calls == [(259, 259)]
    assert r.stats["capped"] == 1


@pytest.mark.parametrize("form", FORMS)
def test_slots_that_are_not_pages_are_refused(form: str, m: bp.Machine) -> None:
    a = bp.PageArray(8)
    a[3] = 5000
    with pytest.raises(bp.ApiMisuse, match="slot 3 holds pfn 5000"):
        bp.callers.svc_alloc_arg(m, a, 8, form=form)
    pfn = m.alloc_pages(bp.GFP_KERNEL)
    assert pfn is not None
    a[3] = a[5] = pfn
    with pytest.raises(bp.ApiMisuse, match="slots 3 and 5 both hold"):
        bp.callers.svc_alloc_arg(m, a, 8, form=form)
    assert list(a).count(0) == 6, "nothing changed"
    with pytest.raises(bp.InvalidArgument, match="pages 9"):
        bp.callers.svc_alloc_arg(m, a, 9, form=form)
    with pytest.raises(bp.InvalidArgument, match="form"):
        bp.callers.svc_alloc_arg(m, bp.PageArray(8), 8, form="later")
