"""The explorer finds the bug that 038a102535eb fixed, and none in the fixed rules up to the bound."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages import _core
from bulkpages.cli import main


def test_the_known_bug_is_found_and_shown_step_by_step() -> None:
    found = bp.explore("up-before-fix:drain", bound=2)
    assert not found.ok
    text = str(found)
    assert "for ever" in text
    steps = [str(step) for step in found.steps]
    assert any(step.kind == "interrupt" for step in found.steps)
    # The handler comes between reading the count and taking the zone lock.
    order = [next(i for i, s in enumerate(steps) if what in s) for what in ("spin_lock(&pcp->lock)", "interrupt:")]
    assert order == sorted(order)


@pytest.mark.parametrize("locking", ["up", "smp", "rt"])
@pytest.mark.parametrize("call", ["drain", "bulk", "alloc", "free"])
def test_the_fixed_rules_hold_in_the_step_model(locking: str, call: str) -> None:
    found = bp.explore(f"{locking}:{call}", bound=2, model="lists")
    assert found.ok, str(found)
    assert found.complete


@pytest.mark.parametrize("locking", ["up", "smp", "rt"])
@pytest.mark.parametrize("call", _core.explore_tasks())
def test_handlers_break_nothing_in_the_emulator(locking: str, call: str) -> None:
    found = bp.explore(f"{locking}:{call}", bound=1, model="core")
    assert found.ok, str(found)
    assert found.complete


def test_a_deadlock_by_design_names_the_cycle() -> None:
    found = bp.explore("smp:v1", bound=1, handlers=["drain"])
    assert found.data["failure"]["deadlock"]
    assert "waits for pcp->lock" in str(found)


def test_the_choices_are_the_execution() -> None:
    found = bp.explore("up-before-fix:drain")
    again = bp.explore("up-before-fix:drain", choices=found.data["failure"]["choices"])
    assert (again.steps, again.data["executions"], again.ok) == (found.steps, 1, False)
    quiet = bp.explore("smp:v1", choices=[])
    assert quiet.ok
    assert {step.depth for step in quiet.steps} == {0}
    for wrong in ([9], [0] * 500 + [1], [-1], [True]):
        with pytest.raises(bp.InvalidArgument, match="choices"):
            bp.explore("smp:v1", choices=wrong)


def test_a_failure_is_drawn_and_traced(tmp_path: Path) -> None:
    found = bp.explore("up-before-fix:drain")
    found.picture(tmp_path / "failure.svg")
    assert "<svg" in (tmp_path / "failure.svg").read_text()
    found.perfetto(tmp_path / "failure.json")
    slices = [e for e in json.loads((tmp_path / "failure.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert {e["cat"] for e in slices} == {"call", "interrupt", "lock"}
    inside = next(e for e in slices if e["cat"] == "interrupt")
    assert 0 < inside["ts"] < inside["ts"] + inside["dur"] <= len(found.steps)


@pytest.mark.parametrize(
    "arguments", [("up",), ("up:sleep",), ("mp:drain",), ("up-before-fix:v1",), ("up:drain", -1), ("up:drain", 9)]
)
def test_bad_input(arguments: tuple[str, int]) -> None:
    with pytest.raises(bp.InvalidArgument):
        bp.explore(*arguments)


def test_the_command() -> None:
    result = CliRunner().invoke(main, ["explore"])
    assert result.exit_code == 1
    assert "for ever" in result.output
    result = CliRunner().invoke(main, ["explore", "up:drain", "smp:v2", "--bound", "1", "--json"])
    assert result.exit_code == 0
    assert [one["failure"] for one in json.loads(result.stdout)] == [None, None]
    assert CliRunner().invoke(main, ["explore", "nonsense"]).exit_code == 2
