"""`bulkpages compare` and `bulkpages bench` from the outside."""

import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bulkpages import _core
from bulkpages.cli import main
from bulkpages.suite.trunk import runner
from bulkpages.suite.trunk.kernel import kernel_cycles, timings
from bulkpages.suite.trunk.results import exact_part
from bulkpages.suite.trunk.workloads import full_cells, quick_cells


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "some" / "folder"


def test_the_answer_needs_no_clock(output: Path) -> None:
    code, out, err = _run("compare", "--quick", "--no-timing", "--output", str(output))
    assert code == 0, err
    assert "Mainline alloc_pages_bulk()" in out
    assert "The emulator's own time" not in out
    results = json.loads((output / "results.json").read_text())
    assert results["schema"] == "bulkpages.compare/3"
    assert (results["complete"], results["timing"]) == (True, None)
    rows = {row["name"]: row for row in results["rows"]}
    counts = rows["null-8"]["counts"]
    # One test a slot in the loop and one in the prefix scan; patched reads nothing.
    assert counts["base"]["slot_tests"] == pytest.approx(9 / 8)
    assert counts["form"]["slot_tests"] == 0
    assert rows["svc-small-rpc"]["counts"]["base"]["slot_tests"] == 260
    assert rows["svc-small-rpc"]["counts"]["form"]["slot_writes"] == 516
    assert rows["svc-small-rpc tracked"]["counts"]["form"]["slot_tests"] == 1
    # The kernel's own instructions decide; these fills were measured in it.
    verdicts = {name: row["verdict"] for name, row in rows.items()}
    assert (verdicts["xfs-4"], verdicts["btrfs-full-64"]) == ("faster", "slower")
    # The emulator's time once called these slower.
    for name in ("btrfs-null-16", "svc-null-259", "svc-read-by-splice"):
        assert verdicts[name] in ("same", "undecided"), name
    assert rows["svc-2-holes tracked"]["instructions"]["form"]["estimate"] == 430
    quadratic = {(r["filler"], r["form"], r["page_owner"]) for r in results["growth"] if r["quadratic"]}
    assert ("svc_alloc_arg", "before", True) in quadratic
    assert not any(form == "after" or not page_owner for _, form, page_owner in quadratic)
    html = (output / "report.html").read_text()
    assert html.count("<svg") >= 4
    for outside in ('src="http', 'href="http', "<script", "@import"):
        assert outside not in html
    assert max(map(len, (output / "reply.txt").read_text().splitlines())) <= 75


def test_whatever_the_seed_the_answer_is_the_same(output: Path) -> None:
    found = []
    for seed in ("1", "2"):
        folder = output / seed
        only = ("--only", "null-8", "--only", "svc-small-rpc", "--only", "core-64-cold", "--only", "core-64-two-nodes")
        code, _, err = _run("compare", "--quick", "--no-timing", "--seed", seed, "--output", str(folder), *only)
        assert code == 0, err
        found.append(exact_part(json.loads((folder / "results.json").read_text())))
    assert found[0] == found[1]


def test_times_stand_in_a_section_of_their_own(output: Path) -> None:
    code, out, err = _run(
        *("compare", "--quick", "--output", str(output), "--seed", "3", "--processes", "6"),
        *("--only", "null-8", "--only", "svc-small-rpc"),
    )
    assert code == 0, err
    assert out.index("instructions") < out.index("The emulator's own time")
    assert "tell differences" in err
    results = json.loads((output / "results.json").read_text())
    assert (results["seed"], results["complete"]) == (3, True)
    timed = {row["name"] for row in results["timing"]["rows"]}
    assert timed == {"null-8", "svc-small-rpc", "svc-small-rpc tracked", "svc-small-rpc v3"}
    assert not any("cost" in row or "interval" in row for row in results["rows"])
    # Contention and the like are asked of whole runs.
    assert results["timing"]["contention"] == results["windows"] == []
    code, _, err = _run("compare", "--quick", "--output", str(output), "--no-timing", "--only", "null-8")
    assert code == 2
    assert "finished run" in err
    assert json.loads((output / "results.json").read_text()) == results


def test_an_interrupted_run_continues(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = runner._measure
    looks = []

    def interrupted(*args: Any) -> None:
        measure(*args)
        looks.append(args[5])
        if len(looks) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_measure", interrupted)
    common = ("compare", "--quick", "--output", str(output), "--processes", "12", "--seed", "4", "--only", "null-1")
    code, out, err = _run(*common)
    assert code == 130, err
    assert "--resume" in err
    assert "No verdict on emulator time yet" in out
    first = json.loads((output / "results.json").read_text())
    assert not first["complete"]
    assert len(first["timing"]["samples"]["null-1"]) >= runner.MIN_PROCESSES
    code, _, err = _run(*common)
    assert code == 2
    assert "--resume" in err
    code, out, err = _run("compare", "--resume", str(output))
    assert code == 0, err
    whole = json.loads((output / "results.json").read_text())
    assert whole["complete"]
    assert whole["command"] == first["command"]
    assert exact_part(whole) == exact_part(first)
    samples = first["timing"]["samples"]["null-1"]
    assert whole["timing"]["samples"]["null-1"][: len(samples)] == samples
    code, _, err = _run("compare", "--resume", str(output))
    assert code == 2
    assert "nothing to continue" in err


def _workers(pid: int) -> list[int]:
    """Processes that this one started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def _started(output: Path) -> subprocess.Popen[bytes]:
    common = ("--quick", "--only", "null-1", "--seed", "5", "--processes", "12", "--output", str(output))
    return subprocess.Popen([sys.executable, "-m", "bulkpages", "compare", *common], stdout=subprocess.DEVNULL)


def _all_gone(workers: list[int]) -> bool:
    return _soon(lambda: not any(_alive(pid) for pid in workers))


def test_a_killed_run_continues(output: Path) -> None:
    with _started(output) as run:

        def kept() -> bool:
            timing = _timing(output)
            return bool(timing) and len(timing["samples"].get("null-1", [])) >= runner.MIN_PROCESSES

        assert _soon(kept), "nothing was kept"
        workers = _workers(run.pid)
        run.kill()
    assert _all_gone(workers), "a worker is left"
    samples = _timing(output)["samples"]["null-1"]
    code, _, err = _run("compare", "--resume", str(output))
    assert code == 0, err
    assert _timing(output)["samples"]["null-1"][: len(samples)] == samples


def _timing(output: Path) -> dict[str, Any]:
    try:
        return json.loads((output / "results.json").read_text())["timing"] or {}
    except (OSError, ValueError):
        return {}


def test_a_run_that_is_ended_ends_its_workers(output: Path) -> None:
    with _started(output) as run:
        assert _soon(lambda: len(_workers(run.pid)) > 1), "no worker has started"
        workers = _workers(run.pid)
        run.terminate()
    assert _all_gone(workers), "a worker is left"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _soon(true: Callable[[], bool], seconds: float = 300) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def test_one_run_at_a_time_in_a_folder(output: Path) -> None:
    from bulkpages import BulkpagesError
    from bulkpages.suite.trunk.folder import Folder

    with Folder(output), pytest.raises(BulkpagesError, match="another run"):
        Folder(output)
    with Folder(output) as again:
        assert again.earlier is None


def test_a_table_measured_is_printed_though_it_cannot_be_written(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bulkpages.suite.output import write as module

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_whole", full)
    code, out, err = _run("compare", "--quick", "--no-timing", "--only", "xfs-4", "--output", str(output))
    assert code == 1
    assert "xfs-4" in out
    assert "No space left" in err


def test_resume_refuses_what_was_measured_elsewhere(output: Path) -> None:
    output.mkdir(parents=True)
    path = output / "results.json"
    path.write_text("{}")
    assert "schema None" in _run("compare", "--resume", str(output))[2]
    path.write_text('{"schema": "bulkpages.compare/2"}')
    code, _, err = _run("compare", "--resume", str(output))
    assert code == 2
    assert "bulkpages.compare/2" in err
    assert "emulator's time" in err
    path.write_text("[")
    assert "not JSON" in _run("compare", "--resume", str(output))[2]
    other = dict.fromkeys(("bulkpages", "commit", "rustc", "cpu"), "another")
    path.write_text(json.dumps({"schema": "bulkpages.compare/3", "complete": False, "provenance": other}))
    code, _, err = _run("compare", "--resume", str(output))
    assert code == 2
    assert "another" in err
    assert "no run to continue" in _run("compare", "--resume", str(output / "empty"))[2]


def test_a_budget_too_small_for_any_answer(output: Path) -> None:
    code, _, err = _run("compare", "--budget", "0.01s", "--only", "null-1", "--output", str(output))
    assert code == 2
    assert "budget" in err
    assert "need at least" in err


def test_list() -> None:
    code, out, _ = _run("compare", "--list")
    assert code == 0
    assert len(out.splitlines()) == len(full_cells())
    code, out, _ = _run("compare", "--list", "--json", "--only", "svc-*")
    names = [row["name"] for row in json.loads(out)]
    assert "svc-write" in names
    assert all(name.startswith("svc-") for name in names)


def test_quick_has_every_caller() -> None:
    fillers = {cell.caller for cell in quick_cells()} - {None}
    assert fillers == {name for name, _ in _core.fillers()} - {"core"}
    assert any(cell.bench for cell in quick_cells())


def test_full_has_every_caller_in_every_form() -> None:
    for name, forms in _core.fillers():
        seen = {form for cell in full_cells() if cell.caller == name for form in cell.forms}
        assert seen == set(forms)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "-1"], "seed"),
        (["--seed", str(1 << 32)], "4294967295"),
        (["--cell", "nothing"], "no workload 'nothing'"),
        (["--snapshot", "absent.jsonl"], "absent.jsonl"),
        (["--effect", "0"], "effect"),
        (["--effect", "lots"], "'lots'"),
        (["--budget", "soon"], "'soon'"),
        (["--budget", "0s"], "0s"),
        (["--merge"], "at least two"),
        (["--merge", "a.json", "b.json"], "a.json"),
        (["--baseline", "none.json"], "none.json"),
        (["stray.json"], "--merge"),
        (["--no-timing", "--budget", "5s"], "--budget"),
        (["--unknown"], "unknown"),
    ],
)
def test_usage_errors(output: Path, arguments: list[str], words: str) -> None:
    code, _, err = _run("compare", "--quick", "--output", str(output), *arguments)
    assert code == 2
    assert words in err


def test_output_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = _run("compare", "--quick", "--output", str(tmp_path / "file" / "folder"))
    assert code == 2
    assert "file" in err


def test_cells_are_named_once() -> None:
    for cells in (quick_cells(), full_cells()):
        assert len({cell.name for cell in cells}) == len(cells)


def test_quick_cells_of_the_core_stand_beside_the_kernel() -> None:
    for cell in quick_cells():
        if cell.caller is None:
            assert len(kernel_cycles(cell, "v1", "v2")) == 2, cell.name


def test_bench_core_has_every_row_of_the_kernel() -> None:
    code, out, err = _run("bench", "core", "--json", "--runs", "1")
    assert code == 0, err
    ours, kernel = json.loads(out), timings()
    assert {(r["api"], r["nr_pages"], r["hole_period"]) for r in ours["bulk"]} == {
        (r["api"], r["nr_pages"], r["hole_period"]) for r in kernel["bulk"]
    }
    assert {(r["api"], r["bench"]) for r in ours["page_pool"]} == {(r["api"], r["bench"]) for r in kernel["page_pool"]}
    for row in ours["bulk"]:
        assert row["alloc_cycles_per_page"]["median"] > 0
        assert len(row["alloc_and_free_cycles_per_page"]["runs"]) == 1


def test_the_runner_says_what_cannot_run(tmp_path: Path) -> None:
    import bulkpages as bp

    machine = bp.Machine("4MiB", cpus=1)
    while machine.alloc_pages(bp.GFP_NOWAIT) is not None:
        pass
    path = tmp_path / "full.json"
    path.write_text(json.dumps(machine.snapshot()))
    cells = [cell for cell in quick_cells() if cell.caller is None and cell.slots]
    plan = runner.Plan(cells, path, 2, 0.001, 1, 5.0, 1, 0.01)
    with pytest.raises(bp.BulkpagesError, match="no cell can run"):
        runner.run(plan)


def test_show_and_doctor() -> None:
    code, out, _ = _run("show", "--memory", "64MiB")
    assert code == 0
    assert "Node 0, zone    DMA32" in out
    code, out, _ = _run("show", "--memory", "64MiB", "--json")
    assert json.loads(out)["zones"]
    assert _run("show", "--memory", "much")[0] == 2
    code, out, _ = _run("doctor", "--json")
    assert code == 0
    assert json.loads(out)["profile"] == "release"
    assert _run("--version")[1].startswith("bulkpages, version")
