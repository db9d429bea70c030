"""Failures on purpose: held locks, fault plans, and the micro-examples of the two return values."""

import pytest

import bulkpages as bp

GFP = bp.GFP_KERNEL


def array(m: bp.Machine, picture: str) -> bp.PageArray:
    """An array with a page for each x."""
    a = bp.PageArray(len(picture))
    for i, slot in enumerate(picture):
        if slot == "x":
            a[i] = m.alloc_pages(GFP) or 0
    return a


def picture(a: bp.PageArray) -> str:
    return "".join("x" if page else "." for page in a)


def compact(a: bp.PageArray) -> int:
    pages = [page for page in a if page]
    for i in range(len(a)):
        a[i] = pages[i] if i < len(pages) else 0
    return len(pages)


ROWS = [
    # array, faults, v1 returns, v1 leaves, v2 caller gets
    ("........", {}, 8, "xxxxxxxx", 8),
    ("xxxxxxx.", {}, 8, "xxxxxxxx", 1),
    (".xxxxxxx", {}, 8, "xxxxxxxx", 1),
    ("x.x.x.x.", {}, 8, "xxxxxxxx", 4),
    ("x.x.x.x.", {"trylock": True}, 2, "xxx.x.x.", 1),
    ("x.x.x.x.", {"pages": 2}, 5, "xxxxx.x.", 2),
    ("x.x.x.x.", {"pages": 0}, 1, "x.x.x.x.", 0),
    ("x.x.x.x.", {"prepare": True}, 1, "x.x.x.x.", 0),
    (".x", {}, 2, "xx", 1),
    ("x.", {}, 2, "xx", 1),
]


@pytest.mark.parametrize(("before", "faults", "v1", "after", "v2"), ROWS)
def test_micro_examples(before: str, faults: dict[str, int], v1: int, after: str, v2: int) -> None:
    m = bp.Machine("64MiB")
    a = array(m, before)
    with m.faults(**faults):
        assert m.alloc_pages_bulk(GFP, a, api="v1") == v1
    assert picture(a) == after

    m = bp.Machine("64MiB")
    a = array(m, before)
    filled = compact(a)
    rest = bp.PageArray(len(a) - filled)
    with m.faults(**faults):
        assert m.alloc_pages_bulk(GFP, rest, api="v2") == v2
    m.audit()


def test_a_full_array_costs_v1_nothing_and_v2_its_pages(m: bp.Machine) -> None:
    a = array(m, "xxxxxxxx")
    before = m.snapshot()
    assert m.alloc_pages_bulk(GFP, a, api="v1") == 8
    assert m.snapshot() == before
    old = list(a)
    assert m.alloc_pages_bulk(GFP, a, api="v2") == 8
    assert not set(old) & set(a)


def test_the_return_value_of_v1_depends_on_where_the_holes_are() -> None:
    for shape, expected in (("x..xx.x.", 5), ("x.xx.x..", 6)):
        m = bp.Machine("64MiB")
        a = array(m, shape)
        with m.faults(pages=2):
            assert m.alloc_pages_bulk(GFP, a, api="v1") == expected
        m = bp.Machine("64MiB")
        rest = bp.PageArray(len(a) - compact(array(m, shape)))
        with m.faults(pages=2):
            assert m.alloc_pages_bulk(GFP, rest, api="v2") == 2


def test_a_held_lock_sends_everybody_to_the_buddy_lists(m: bp.Machine) -> None:
    with m.hold_pcp_lock(node=0, zone=1, pcp_cpu=0):
        assert m.alloc_pages_bulk(GFP, bp.PageArray(8), api="v2") == 1
        pfn = m.alloc_pages(GFP)
        assert pfn is not None
        assert m.zones[1].pcp(0).held
        assert m.zones[1].pcp(0).count == 0
        m.free_pages(pfn)
        assert m.zones[1].pcp(0).count == 0
        # Another CPU's lists are its own.
        assert m.alloc_pages_bulk(GFP, bp.PageArray(8), api="v2", cpu=1) == 8
    assert m.alloc_pages_bulk(GFP, bp.PageArray(8), api="v2") == 8
    m.audit()


def test_trylock_faults_hold_for_frees_too(m: bp.Machine) -> None:
    pfn = m.alloc_pages(GFP)
    assert pfn is not None
    count = m.zones[1].pcp(0).count
    with m.faults(trylock=True):
        m.free_pages(pfn)
    assert m.zones[1].pcp(0).count == count
    assert m.vmstat["pgfree"] == 1


def test_pages_are_a_budget_that_frees_do_not_refill(m: bp.Machine) -> None:
    with m.faults(pages=2):
        first = m.alloc_pages(GFP)
        assert first is not None
        m.free_pages(first)
        assert m.alloc_pages(GFP) is not None
        assert m.alloc_pages(GFP) is None
        assert m.alloc_pages(bp.GFP_ATOMIC, 1) is None
    assert m.alloc_pages(GFP) is not None
    m.audit()


def test_single_faults_leave_the_batch_alone(m: bp.Machine) -> None:
    with m.faults(single=True):
        assert m.alloc_pages(GFP) is None
        assert m.alloc_pages_bulk(GFP, bp.PageArray(1), api="v2") == 0
        assert m.alloc_pages_bulk(GFP, bp.PageArray(8), api="v2") == 8


def test_the_innermost_faults_hold(m: bp.Machine) -> None:
    with m.faults(single=True):
        with m.faults(pages=1):
            assert m.alloc_pages(GFP) is not None
            with m.faults():
                assert m.alloc_pages(GFP) is not None
            assert m.alloc_pages(GFP) is None
        assert m.alloc_pages(GFP) is None
    assert m.alloc_pages(GFP) is not None


def test_faults_end_with_an_exception(m: bp.Machine) -> None:
    with pytest.raises(KeyError), m.faults(single=True), m.hold_pcp_lock(zone=1):
        raise KeyError
    assert m.alloc_pages(GFP) is not None
    assert not m.zones[1].pcp(0).held
