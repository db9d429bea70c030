"""`fs/erofs/zutil.c`: `z_erofs_gbuf_growsize()`.

The diff passes the rest of the array instead of all of it. The array is a copy of the buffer's pages and NULL behind
it, so the gate asks for less and the prefix is not walked; calls, pages and failures stay the same.
"""

from __future__ import annotations

from typing import Any

import pytest

import bulkpages as bp


def run(have: int, nrpages: int, form: str, **faults: Any) -> tuple[Any, bp.Machine]:
    m = bp.Machine("64MiB")
    with m.faults(**faults):
        r = bp.callers.z_erofs_gbuf_growsize(m, have=have, nrpages=nrpages, form=form)
    assert m.audit().allocated == sum(page != 0 for page in r.array), "the pages are in the buffer, or free"
    return r, m


@pytest.mark.parametrize(("have", "nrpages"), [(0, 1), (0, 2), (0, 16), (4, 16), (15, 16), (64, 256)])
def test_same_pages_with_a_smaller_request(have: int, nrpages: int) -> None:
    before, _ = run(have, nrpages, "before")
    after, _ = run(have, nrpages, "after")
    v3, _ = run(have, nrpages, "v3")
    assert before.ret == after.ret == v3.ret == 0
    assert list(before.array) == list(after.array) == list(v3.array)
    assert before.bulk_calls == [(nrpages, nrpages)]
    assert after.bulk_calls == [(nrpages - have, nrpages - have)]
    assert v3.bulk_calls == [(nrpages, 0)]
    one = nrpages - have == 1
    assert before.slot_tests == (nrpages if one else nrpages + 1), "the prefix, its end, and the rest once more"
    assert after.slot_tests == 0
    assert v3.slot_tests == nrpages


@pytest.mark.parametrize("form", ["before", "after", "v3"])
@pytest.mark.parametrize("pages", [0, 1, 5, 11])
def test_a_failure_keeps_the_old_buffer(form: str, pages: int) -> None:
    r, _ = run(4, 16, form, pages=pages)
    assert (r.ret, len(r.array), r.freed) == (-12, 4, pages)


def test_the_same_number_of_attempts() -> None:
    before, _ = run(4, 16, "before", pages=5)
    after, _ = run(4, 16, "after", pages=5)
    assert before.bulk_calls == [(16, 9), (16, 9)]
    assert after.bulk_calls == [(12, 5), (7, 0)]


@pytest.mark.parametrize("form", ["before", "after", "v3"])
def test_what_fails_beside_the_allocator(form: str) -> None:
    r, _ = run(4, 16, form, vmap=True)
    assert (r.ret, len(r.array), r.freed) == (-12, 4, 12)
    r, _ = run(4, 16, form, array=True)
    assert (r.ret, len(r.array), r.freed, r.bulk_calls) == (-12, 4, 0, [])


@pytest.mark.parametrize("form", ["before", "after", "v3"])
def test_it_never_shrinks(form: str) -> None:
    r, _ = run(16, 8, form)
    assert (r.ret, len(r.array), r.bulk_calls) == (0, 16, [])
