"""`bulkpages compare` and `bulkpages bench` from the outside."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

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
        "compare", "--quick", "--output", str(output), "--seed", "3", "--cell", "null-8", "--cell", "page_pool03_slow"
    )
    assert code == 0, err
    assert "v2 against v1" in out or "No verdict" in out
    results = json.loads((output / "results.json").read_text())
    assert results["schema"] == "bulkpages.compare/1"
    assert results["seed"] == 3
    assert [row["name"] for row in results["rows"]] == ["null-8", "page_pool03_slow"]
    counts = results["rows"][0]["counts"]
    # One test a slot in the loop and one in the prefix scan; v2 reads nothing.
    assert counts["v1"]["slot_tests"] == pytest.approx(9 / 8)
    assert counts["v2"]["slot_tests"] == 0
    assert results["null"]["comparisons"] == 4
    assert results["provenance"]["rustc"].startswith("rustc")
    html = (output / "report.html").read_text()
    assert html.count("<svg") == 2
    assert "http" not in html.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    assert max(map(len, (output / "reply.txt").read_text().splitlines())) <= 75


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "-1"], "seed"),
        (["--seed", str(1 << 32)], "4294967295"),
        (["--cell", "nothing"], "no workload 'nothing'"),
        (["--snapshot", "absent.jsonl"], "absent.jsonl"),
        (["--effect", "0"], "effect"),
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


def test_every_quick_cell_stands_beside_the_kernel() -> None:
    for cell in quick_cells():
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
    plan = runner.Plan(quick_cells(), path, processes=2, blocks=2, trial_seconds=0.001, seed=1)
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
