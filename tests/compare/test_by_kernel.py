"""`compare` on machines of other kernels: counts of them all, instructions where they were counted in that kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bulkpages as bp
from bulkpages import cost
from bulkpages.cli import main
from bulkpages.states import shipped_state

RECORDINGS = Path(__file__).parents[1] / "conformance" / "recordings"
NAMES = ["null-64", "holes-256-every-32", "svc-2-holes"]


@pytest.mark.parametrize("kernel", ["6.1", "7.3"])
def test_counts_of_every_workload_and_instructions_of_the_bare_call(kernel: str) -> None:
    found, usual = bp.compare(NAMES, kernel=kernel), bp.compare(NAMES)
    assert (found.results["kernel"], usual.results["kernel"]) == (kernel, "6.12")
    assert found.results["command"].endswith(f"--kernel {kernel} --no-timing")
    for name in NAMES:
        # The call and its callers do the same slot work in every kernel; what it costs is another matter.
        assert found[name]["slot_work"] == usual[name]["slot_work"]
        assert found[name]["kernel_cycles"] == []
    for name, slots, period in (("null-64", 64, 0), ("holes-256-every-32", 256, 32)):
        told = found[name]["instructions"]
        assert (told["kernel"], told["source"]) == (kernel, "measured")
        assert told["base"]["estimate"] == cost.call("v1", slots, period, kernel=kernel).estimate
        assert told["base"]["estimate"] != usual[name]["instructions"]["base"]["estimate"]
    assert (found["null-64"]["verdict"], found["holes-256-every-32"]["verdict"]) == ("faster", "slower")
    assert (found["svc-2-holes"]["instructions"], found["svc-2-holes"]["verdict"]) == (None, None)
    assert "6.12 alone" in found["svc-2-holes"]["no_instructions"]


def test_a_state_says_its_kernel() -> None:
    path = RECORDINGS / "7.3" / "first-60-ops.jsonl.gz"
    assert bp.compare("svc-2-holes", snapshot=path).results["kernel"] == "7.3"
    with pytest.raises(bp.InvalidArgument, match=r"a state of kernel 7\.3, not of 6\.1"):
        bp.compare("svc-2-holes", snapshot=path, kernel="6.1")
    with pytest.raises(bp.InvalidArgument, match=r"'5\.4' is not one of"):
        bp.compare("svc-2-holes", kernel="5.4")


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_the_shipped_states_are_of_one_machine(kernel: str) -> None:
    with shipped_state(kernel) as path:
        machine = bp.Machine.from_snapshot(path)
    assert (machine.kernel, machine.cpus, len(machine.zones)) == (kernel, 2, 2)


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["compare", "--quick", "--no-timing", "--output", str(folder / "out"), *args])


def test_the_command_names_the_kernel_everywhere(tmp_path: Path) -> None:
    done = run(tmp_path, "--kernel", "6.1")
    assert done.exit_code == 0, done.stderr
    assert "Instructions are those of Linux 6.1 (SMP)" in " ".join(done.stdout.split())
    assert "callers have exact counts" in done.stdout
    assert "an emulator of Linux 6.1's" in (tmp_path / "out" / "reply.txt").read_text().replace("\n", " ")
    assert "Linux 6.1, emulated" in (tmp_path / "out" / "report.html").read_text()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["kernel"] == "6.1"
    assert set(results["skipped"]) == {"growth", "windows", "claims"}
    assert results["failures"]["runs"] > 1000


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--kernel", "5.4"], "is not one of 6.1, 6.12, 7.3, and no folder of `bulkpages kernel build` either"),
        (["--kernel", "6.1", "--kernel", "7.3"], "one kernel series"),
        (["--kernel", "6.1", "--snapshot", str(RECORDINGS / "first-60-ops.jsonl.gz")], "state of kernel 6.12"),
    ],
    ids=["unknown", "two", "another state"],
)
def test_wrong_kernels(tmp_path: Path, args: list[str], said: str) -> None:
    done = run(tmp_path, *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_costs_of_a_call_in_other_kernels_are_those_measured_there() -> None:
    found = {kernel: cost.call("v2", 256, 64, kernel=kernel) for kernel in ("6.1", "6.12", "7.3")}
    assert {kernel: round(one.estimate, 2) for kernel, one in found.items()} == {
        "6.1": 852,
        "6.12": 907.75,
        "7.3": 903.25,
    }
    assert [one.kernel for one in found.values()] == list(found)
    change = cost.call_difference(256, 64, kernel="7.3")
    assert change.base.kernel == change.form.kernel == "7.3"
    low, high = change.instructions[1:]
    assert low < 903.25 - 594.25 < high
    assert high - low <= 1
    for slots, period, predicted in ((32, 0, False), (256, 3, False), (64, 0, True)):
        with pytest.raises(bp.InvalidArgument, match=r"not counted in 6\.1; costs are predicted for 6\.12 alone"):
            cost.call("v1", slots, period, kernel="6.1", predicted_only=predicted)
    with pytest.raises(bp.InvalidArgument, match=r"5\.4"):
        cost.call("v1", 64, kernel="5.4")
