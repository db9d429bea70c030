"""`drivers/vfio/pci/virtio/migrate.c`: `virtiovf_add_migration_pages()`.

The diff drops the memset of the page list between rounds. The list starts at slot 0 in every round and is all NULL
either way, so nothing else changes: same pages, calls, marks, counters, failures.
"""

from __future__ import annotations

from typing import Any

import pytest

import bulkpages as bp


def run(npages: int, form: str, faults: dict[str, Any] | None = None, **machine: Any) -> tuple[Any, bp.Machine]:
    m = bp.Machine("64MiB", **machine)
    with m.faults(**(faults or {})):
        r = bp.callers.virtiovf_add_migration_pages(m, npages, form=form)
    assert m.audit().allocated == sum(page != 0 for page in r.array), "the pages are in the buffer, or free"
    return r, m


@pytest.mark.parametrize("npages", [1, 2, 256, 512, 513, 1100])
def test_same_pages_and_counters_without_the_clearing(npages: int) -> None:
    before, m1 = run(npages, "before")
    after, m2 = run(npages, "after")
    assert before.ret == after.ret == 0
    assert list(before.array) == list(after.array)
    assert before.bulk_calls == after.bulk_calls
    assert dict(m1.vmstat) == dict(m2.vmstat)
    assert (before.slot_clears, after.slot_clears) == (npages, 0)
    assert before.slot_tests == npages + len(before.bulk_calls) - (npages % 512 == 1)
    assert after.slot_tests == 0


def test_v3_makes_the_same_change() -> None:
    after, _ = run(600, "after")
    v3, _ = run(600, "v3")
    assert (list(v3.array), v3.slot_tests, v3.slot_clears) == (list(after.array), 0, 0)


@pytest.mark.parametrize("form", ["before", "after", "v3"])
@pytest.mark.parametrize(
    ("faults", "calls", "kept", "freed"),
    [
        ({"pages": 0}, [(512, 0)], 0, 0),
        ({"pages": 700}, [(512, 512), (88, 88)], 600, 0),
        ({"pages": 550}, [(512, 512), (88, 38), (50, 0)], 550, 0),
        ({"append": True}, [(512, 512)], 0, 512),
        ({"append": 1}, [(512, 512), (88, 88)], 512, 88),
        ({"array": True}, [], 0, 0),
    ],
)
def test_failures_are_the_same(
    form: str, faults: dict[str, Any], calls: list[tuple[int, int]], kept: int, freed: int
) -> None:
    r, m = run(600, form, faults)
    assert r.bulk_calls == calls
    assert (sum(page != 0 for page in r.array), r.freed) == (kept, freed)
    assert r.ret == (0 if kept == 600 else -12)
    m.free_bulk(r.array)
    assert m.audit().allocated == 0


@pytest.mark.parametrize("form", ["before", "after", "v3"])
def test_memory_cgroups_make_it_one_page_per_call(form: str) -> None:
    r, _ = run(70, form, memcg=True)
    assert r.bulk_calls == [(70 - i, 1) for i in range(70)]
    r, _ = run(70, form, {"charge": 5}, memcg=True)
    assert (r.ret, len(r.bulk_calls), sum(page != 0 for page in r.array)) == (-12, 6, 5)


def test_no_page_at_all_is_a_failure() -> None:
    for form in ("before", "after"):
        r, _ = run(0, form)
        assert r.ret == -12
