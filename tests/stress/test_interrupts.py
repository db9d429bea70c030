"""The explorer finds the bug that 038a102535eb fixed, and none in the fixed rules up to the bound."""

import json

import pytest
from click.testing import CliRunner

import bulkpages as bp
from bulkpages.cli import main


def test_the_known_bug_is_found_and_told_step_by_step() -> None:
    found = bp.explore("up-before-fix:drain", bound=2)
    assert not found.ok
    text = str(found)
    assert "for ever" in text
    steps = found.data["failure"]["steps"]
    assert any("interrupt" in step for step in steps)
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
@pytest.mark.parametrize("call", ["v1", "v2", "v3", "alloc", "free", "drain"])
def test_handlers_break_nothing_in_the_emulator(locking: str, call: str) -> None:
    found = bp.explore(f"{locking}:{call}", bound=1, model="core")
    assert found.ok, str(found)
    assert found.complete


def test_a_deadlock_by_design_names_the_cycle() -> None:
    found = bp.explore("smp:v1", bound=1, handlers=["drain"])
    assert found.data["failure"]["deadlock"]
    assert "waits for pcp->lock" in str(found)


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
