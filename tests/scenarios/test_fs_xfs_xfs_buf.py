"""`fs/xfs/xfs_buf.c`: `xfs_buf_alloc_pages()`.

The diff counts the pages itself and passes the rest. The array starts all NULL, so a call that brings everything is the
same call; after a short one the gate asks for less and nothing is walked again. Failures, waits and statistics stay.
There is no v3 of it: the caller was gone by then.
"""

from __future__ import annotations

from typing import Any

import pytest

import bulkpages as bp


def run(n: int, form: str, *, read_ahead: bool = False, read: bool = True, **faults: Any) -> tuple[Any, bp.Machine]:
    m = bp.Machine("64MiB")
    with m.faults(**faults):
        r = bp.callers.xfs_buf_alloc_pages(m, n, form=form, read=read, read_ahead=read_ahead, max_waits=3, explain=True)
    assert m.audit().allocated == sum(page != 0 for page in r.array), "the pages are in the buffer, or free"
    return r, m


@pytest.mark.parametrize("n", [1, 2, 4, 16, 64])
def test_the_first_call_is_the_same(n: int) -> None:
    before, m1 = run(n, "before")
    after, m2 = run(n, "after")
    assert before.ret == after.ret == 0
    assert list(before.array) == list(after.array)
    assert before.bulk_calls == after.bulk_calls == [(n, n)]
    assert dict(m1.vmstat) == dict(m2.vmstat)
    assert (before.slot_tests, after.slot_tests) == (1 if n == 1 else n + 1, 0)
    assert before.stats == after.stats == {"xb_page_found": 1}


def test_after_a_short_call_the_rest_is_asked_for() -> None:
    before, _ = run(8, "before", trylock=True)
    after, _ = run(8, "after", trylock=True)
    assert before.bulk_calls == [(8, i) for i in range(1, 9)]
    assert after.bulk_calls == [(8 - i, 1) for i in range(8)]
    assert before.slot_tests == sum(range(1, 9))
    assert after.slot_tests == 0


@pytest.mark.parametrize("form", ["before", "after"])
def test_read_ahead_gives_up_and_frees_what_it_has(form: str) -> None:
    r, _ = run(8, form, read_ahead=True, pages=5)
    assert (r.ret, r.freed, r.waits) == (-12, 5, 0)
    assert all(page == 0 for page in r.array)
    assert r.stats["reclaimed_pages"] == 8, "the task is credited the whole buffer"
    assert len(r.bulk_calls) == 2


@pytest.mark.parametrize("form", ["before", "after"])
def test_everything_else_waits_for_ever(form: str) -> None:
    r, _ = run(8, form, pages=5)
    assert (r.ret, r.gave_up, r.waits, r.wait_ns) == (None, True, 3, 3 * 4_000_000)
    assert sum(page != 0 for page in r.array) == 5
    assert r.stats == {"xb_page_retries": 3}


@pytest.mark.parametrize("form", ["before", "after"])
def test_large_buffers_need_an_array(form: str) -> None:
    assert run(3, form, array=True)[0].ret == -12
    assert run(2, form, array=True)[0].ret == 0, "two pages fit into the buffer itself"


@pytest.mark.parametrize(
    ("read", "read_ahead", "gfp"), [(True, False, 0x2CC0), (False, False, 0x2DC0), (True, True, 0x12CC0)]
)
def test_flags(read: bool, read_ahead: bool, gfp: int) -> None:
    for form in ("before", "after"):
        r, _ = run(1, form, read=read, read_ahead=read_ahead)
        assert {e["gfp"] for e in r.events if e["event"] == "mm_page_alloc"} == {gfp}
