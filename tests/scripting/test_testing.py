"""The strategies give valid things and shrink to small ones; differences between semantics are found and drawn."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import bulkpages as bp
from bulkpages import testing
from bulkpages.draw import picture
from bulkpages.testing import SemanticsMachine, compare_semantics

QUICK = settings(max_examples=30, deadline=None)


@QUICK
@given(testing.machines(max_mib=160))
def test_machines_are_sound_and_within_bounds(m: bp.Machine) -> None:
    audit = m.audit()
    assert audit.managed <= 160 * 256
    assert m.cpus <= 4
    assert m.nodes <= 2


@QUICK
@given(st.data())
def test_arrays_hold_pages_of_their_machine(data: st.DataObject) -> None:
    m = data.draw(testing.machines(used=False))
    a = data.draw(testing.page_arrays(m, min_slots=1, max_slots=9))
    assert 1 <= len(a) <= 9
    held = sum(page != 0 for page in a)
    assert m.audit().allocated == held
    assert m.free_bulk(a) == held
    assert set(picture(data.draw(testing.page_arrays(m, holes=False)))) <= {"."}


@QUICK
@given(testing.page_arrays(max_slots=30))
def test_arrays_without_a_machine_hold_distinct_numbers(a: bp.PageArray) -> None:
    pages = [page for page in a if page]
    assert len(set(pages)) == len(pages)


@QUICK
@given(st.data())
def test_operations_are_valid_whatever_fails_and_lose_no_page(data: st.DataObject) -> None:
    m = data.draw(testing.machines(used=False))
    ops = data.draw(testing.operations(m))
    with m.faults(**data.draw(testing.fault_plans())):
        assert len(m.replay(ops)) == len(ops)
    m.replay([{"op": "free_range", "slot": 0, "nr": 300}])
    m.replay([{"op": "free", "order": order, "slot": 300 + order} for order in range(11)])
    assert m.audit().allocated == 0
    for cpu in range(m.cpus):
        m.drain_local_pages(cpu)


def test_strategies_shrink_to_the_smallest() -> None:
    none = settings(max_examples=200, deadline=None, database=None)
    assert find(testing.shapes(), lambda shape: True, settings=none) == ""
    assert find(testing.shapes(), lambda shape: "x" in shape, settings=none) == "x"
    m = find(testing.machines(), lambda m: True, settings=none)
    assert (m.audit().managed < 16 * 256, m.cpus, m.nodes, m.audit().allocated) == (True, 1, 1, 0)
    with pytest.raises(bp.InvalidArgument, match="16 MiB"):
        find(testing.machines(max_mib=8), lambda m: True, settings=none)


def test_without_hypothesis_the_error_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import bulkpages.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'bulkpages[testing]'" in done.stderr


def test_v1_and_v2_differ_first_on_one_page() -> None:
    found = compare_semantics("v1", "v2")
    assert found is not None
    assert (found.shape, found.nr_pages, dict(found.faults)) == ("x", 1, {})
    assert (found.a.returned, found.b.returned, found.b.lost) == (1, 1, 1)
    assert str(found).splitlines() == [
        "v1 and v2 differ: 1 slot passed of x, nothing fails",
        "  before  x",
        "  v1      x  returns 1",
        "  v2      o  returns 1, 1 page lost",
    ]
    assert found._repr_html_().count("<svg") == 3


def test_on_arrays_that_are_all_null_they_are_one() -> None:
    assert compare_semantics("v1", "v2", holes=False, max_examples=100) is None
    assert compare_semantics("v1", "v1", max_examples=50) is None


def forgets_short_results(m: bp.Machine, array: bp.PageArray, nr_pages: int, *, gfp: int, cpu: int) -> int:
    n = m.alloc_pages_bulk(gfp, array, nr_pages, cpu=cpu)
    return nr_pages if n else 0


def takes_two(m: bp.Machine, array: bp.PageArray, nr_pages: int, *, gfp: int, cpu: int) -> int:
    """v1 that takes its pages from the back."""
    pages = bp.PageArray(nr_pages)
    wanted = [i for i in range(nr_pages) if not array[i]]
    got = m.alloc_pages_bulk(gfp, pages, len(wanted), api="v2", cpu=cpu)
    for i, page in zip(wanted, reversed(pages[:got]), strict=False):
        array[i] = page
    return wanted[got] if got < len(wanted) else nr_pages


def test_ones_own_semantics_with_a_mistake_is_caught_and_shrunk() -> None:
    found = compare_semantics("v1", forgets_short_results)
    assert found is not None
    assert (found.shape, dict(found.faults)) == ("..", {"pages": 1})
    assert (found.a.returned, found.b.returned) == (1, 2)
    assert "forgets_short_results  o.  returns 2" in str(found)


def test_other_frames_in_the_same_picture_are_a_difference() -> None:
    found = compare_semantics("v1", takes_two, faults=False)
    assert found is not None
    assert found.shape == ".."
    assert "slot 0 holds pfn" in str(found)


def test_errors_are_what_a_semantics_does() -> None:
    def refuses(m: bp.Machine, array: bp.PageArray, nr_pages: int, **_: Any) -> int:
        if nr_pages:
            raise bp.ApiMisuse("no")
        return 0

    found = compare_semantics("v2", refuses)
    assert found is not None
    assert found.b.said() == "raises ApiMisuse: no"
    assert found.shape == "."
    with pytest.raises(bp.InvalidArgument, match="'v4'"):
        compare_semantics("v1", "v4")
    with pytest.raises(TypeError, match="returns a number"):
        compare_semantics("v1", lambda *_, **__: None)  # type: ignore[arg-type]


class FillsHoles(bp.callers.Semantics):
    """v1 by its rule alone."""

    returns = "position"

    def wants(self, page: int) -> bool:
        return page == 0


class Output(bp.callers.Semantics):
    """v2 by its rule alone."""

    reads = False

    def wants(self, page: int) -> bool:
        raise AssertionError("is not asked")


def test_the_two_versions_by_their_rules() -> None:
    assert compare_semantics("v2", Output(), max_examples=100) is None
    # v1's way out by the single path stops at the prefix; a rule alone does not.
    found = compare_semantics("v1", FillsHoles())
    assert found is not None
    assert (found.shape, found.a.returned, found.b.returned) == (".x", 1, 2)
    assert set(found.faults) & {"trylock", "watermark"}
    assert compare_semantics("v1", FillsHoles(), faults=False, holes=False, max_examples=50) is None


class Alike(SemanticsMachine):
    """A state machine as a test has it."""

    a, b, holes = "v2", Output(), False


TestAlike = Alike.TestCase
TestAlike.settings = settings(max_examples=20, stateful_step_count=10, deadline=None)
