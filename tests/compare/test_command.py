"""`bulkpages compare` and `bulkpages bench` from the outside."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bulkpages import _core
from bulkpages.cli import main
from bulkpages.compare import runner
from bulkpages.compare.cells import full_cells, quick_cells
from bulkpages.compare.kernel import kernel_row, timings


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "some" / "folder"


def test_compare_writes_its_files(output: Path) -> None:
    code, out, err = _run(
        *("compare", "--quick", "--output", str(output), "--seed", "3", "--processes", "6"),
        *("--only", "null-8", "--only", "svc-small-*"),
    )
    assert code == 0, err
    assert "v2 against v1" in out or "No verdict" in out
    assert "can be told from none" in err
    results = json.loads((output / "results.json").read_text())
    assert results["schema"] == "bulkpages.compare/2"
    assert (results["seed"], results["complete"]) == (3, True)
    rows = {row["name"]: row for row in results["rows"]}
    assert {"null-8", "svc-small-rpc", "svc-small-rpc tracked", "svc-small-rpc v3", "svc-small-rpc-cold"} <= set(rows)
    counts = rows["null-8"]["counts"]
    # One test a slot in the loop and one in the prefix scan; v2 reads nothing.
    assert counts["base"]["slot_tests"] == pytest.approx(9 / 8)
    assert counts["form"]["slot_tests"] == 0
    # Spec 5.11, of the small RPC.
    assert rows["svc-small-rpc"]["counts"]["base"]["slot_tests"] == 260
    assert rows["svc-small-rpc"]["counts"]["form"]["slot_writes"] == 516
    assert rows["svc-small-rpc tracked"]["counts"]["form"]["slot_tests"] == 1
    assert results["provenance"]["rustc"].startswith("rustc")
    quadratic = {(r["filler"], r["form"], r["page_owner"]) for r in results["growth"] if r["quadratic"]}
    assert ("svc_alloc_arg", "before", True) in quadratic
    assert not any(form == "after" or not page_owner for _, form, page_owner in quadratic)
    assert {row["verdict"] for row in results["claims"]} <= {
        *("true", "false", "true under these conditions", "not decidable here"),
    }
    html = (output / "report.html").read_text()
    assert html.count("<svg") >= 4
    for outside in ('src="http', 'href="http', "<script", "@import"):
        assert outside not in html
    assert max(map(len, (output / "reply.txt").read_text().splitlines())) <= 75


def test_an_interrupted_run_goes_on(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = runner._measure
    looks = []

    def interrupted(*args: Any) -> None:
        measure(*args)
        looks.append(args[5])
        if len(looks) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_measure", interrupted)
    common = ("compare", "--quick", "--output", str(output), "--processes", "12", "--seed", "4")
    code, out, err = _run(*common, "--only", "null-1")
    assert code == 130, err
    assert "--resume" in err
    assert "No verdict yet" in out
    first = json.loads((output / "results.json").read_text())
    assert not first["complete"]
    assert len(first["samples"]["null-1"]) >= runner.MIN_PROCESSES
    code, out, err = _run("compare", "--resume", str(output))
    assert code == 0, err
    whole = json.loads((output / "results.json").read_text())
    assert whole["complete"]
    assert whole["command"] == first["command"]
    assert whole["samples"]["null-1"][: len(first["samples"]["null-1"])] == first["samples"]["null-1"]
    code, _, err = _run("compare", "--resume", str(output))
    assert code == 2
    assert "nothing to go on" in err


def test_resume_refuses_what_was_measured_elsewhere(output: Path) -> None:
    output.mkdir(parents=True)
    path = output / "results.json"
    path.write_text("{}")
    assert "schema None" in _run("compare", "--resume", str(output))[2]
    path.write_text('{"schema": "bulkpages.compare/1"}')
    assert "bulkpages.compare/1" in _run("compare", "--resume", str(output))[2]
    path.write_text("[")
    assert "not JSON" in _run("compare", "--resume", str(output))[2]
    other = dict.fromkeys(("bulkpages", "commit", "rustc", "cpu"), "another")
    path.write_text(json.dumps({"schema": "bulkpages.compare/2", "complete": False, "provenance": other}))
    code, _, err = _run("compare", "--resume", str(output))
    assert code == 2
    assert "another" in err


def test_a_budget_too_small_for_any_answer(output: Path) -> None:
    code, _, err = _run("compare", "--budget", "0.01s", "--only", "null-1", "--output", str(output))
    assert code == 2
    assert "budget" in err
    assert "need at least" in err
    assert not (output / "results.json").exists()


def test_list() -> None:
    code, out, _ = _run("compare", "--list")
    assert code == 0
    assert len(out.splitlines()) == len(full_cells())
    code, out, _ = _run("compare", "--list", "--json", "--only", "svc-*")
    names = [row["name"] for row in json.loads(out)]
    assert "svc-write" in names
    assert all(name.startswith("svc-") for name in names)


def test_quick_has_every_caller() -> None:
    fillers = {cell.filler for cell in quick_cells()} - {None}
    assert fillers == {name for name, _ in _core.fillers()} - {"core"}
    assert any(cell.bench for cell in quick_cells())


def test_full_has_every_caller_in_every_form() -> None:
    for name, forms in _core.fillers():
        seen = {form for cell in full_cells() if cell.filler == name for form in cell.forms}
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
        if cell.filler is None:
            for form in ("v1", "v2"):
                row = kernel_row(cell, form)
                assert row is not None, cell.name
                assert row["cycles"]


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
    cells = [cell for cell in quick_cells() if cell.filler is None and cell.nr_pages]
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
