"""From trials to the table, the page and the mail."""

from __future__ import annotations

import copy
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from bulkpages import Machine
from bulkpages.cli import main
from bulkpages.compare.cells import Cell, full_cells, quick_cells
from bulkpages.compare.claims import CLAIMS, judge
from bulkpages.compare.diffstat import diffstat
from bulkpages.compare.instructions import count_instructions
from bulkpages.compare.kernel import kernel_row, kernel_sign
from bulkpages.compare.merge import merge, write_merged
from bulkpages.compare.regress import regressions
from bulkpages.compare.report import write
from bulkpages.compare.results import SCHEMA, analyse, break_even, headline, load, main_rows, restore
from bulkpages.compare.runner import Plan, Run
from bulkpages.compare.stats import Sequential
from bulkpages.compare.text import print_screen, reply
from bulkpages.provenance import provenance

COUNTS = [
    "slot_tests",
    "slot_writes",
    "list_takes",
    "refills",
    "zone_locks",
    "longest_hold_pages",
    "trylocks",
    "trylock_failures",
    "bulk_singles",
    "single_calls",
    "bulk_calls",
    "slot_clears",
]


def measured(cells: list[Cell], looks: int = 1) -> tuple[Plan, Run]:
    """A run in which the second form costs 0.9 of the first everywhere but with holes, where it costs 1.2."""
    rng = np.random.Generator(np.random.PCG64(1))
    run = Run(skipped={"big": "no room"}, spent=1.0, processes=6)
    for cell in cells:
        forms = len(cell.forms)
        factor = np.ones((forms, 1, 1))
        factor[1:] = 1.2 if 0 < cell.holes < cell.nr_pages else 0.9
        run.cost[cell.name] = [20 * factor * np.exp(rng.normal(0, 0.005, (forms, 2, 20))) for _ in range(6)]
        base = dict.fromkeys(COUNTS, 1.0)
        run.counts[cell.name] = {
            form: base if form == cell.forms[0] else base | {"slot_tests": 0.0, "refills": 0.5} for form in cell.forms
        }
    plan = Plan(cells, Path("state.json"), 20, 0.001, 5, 10.0, looks, 0.01)
    run.sequential.prepare(cells, looks, 0.01)
    run.sequential.look(0, cells, run.cost, 5)
    return plan, run


EXTRA = {
    "snapshot": "state.json",
    "snapshot_path": None,
    "quick": True,
    "started": "2026-01-01T00:00:00+00:00",
    "command": "bulkpages compare --quick --seed 5",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    plan, run = measured(quick_cells())
    return analyse(plan, run, provenance()) | EXTRA


@pytest.fixture
def results(made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(made)


def test_verdicts_signs_and_sizes(results: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in results["rows"]}
    assert rows["null-64"]["verdict"] == "faster"
    assert rows["holes-256-every-8"]["verdict"] == "slower"
    # The kernel's own runs: faster on all-NULL arrays, slower with holes.
    assert rows["null-64"]["agrees"] is True
    assert rows["holes-256-every-8"]["agrees"] is True
    # 0.9 is within 5 points of the kernel's 0.954 at 64 slots? No: the tolerance is 0.05, the distance 0.054.
    assert rows["null-64"]["size_agrees"] is False
    # Less slot work, yet slower.
    assert rows["holes-256-every-8"]["counts_agree"] is False
    assert rows["null-64"]["counts_agree"] is True
    assert "disagree in sign in holes-256-every-2" in " ".join(headline(results))
    assert 0.5 < results["break_even"]["emulator"] < 1
    assert rows["svc-small-rpc tracked"]["base"] == "before"


def test_no_verdict_when_the_null_runs_alarm(results: dict[str, Any]) -> None:
    results["null"]["silent"] = False
    assert headline(results)[0].startswith("No verdict")


def test_results_are_json(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(results, allow_nan=False))["schema"] == SCHEMA


def test_reply_fits_a_mail(results: dict[str, Any]) -> None:
    lines = reply(results).splitlines()
    assert max(map(len, lines)) <= 75
    text = "\n".join(lines)
    assert text.isascii()
    assert lines[0].startswith("v2 against v1")
    assert results["command"] in text
    for row in main_rows(results):
        assert row["name"].removeprefix("page_")[:25] in text


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_screen_fits(results: dict[str, Any], width: int) -> None:
    out = io.StringIO()
    print_screen(results, Console(file=out, width=width, no_color=True))
    lines = out.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert len(lines) <= 40
    text = out.getvalue()
    assert "…" not in text
    assert "verdict" in text
    assert "skipped big: no room" in text
    assert ("slot tests" in text) == (width >= 100)


def test_report_is_one_file(results: dict[str, Any], tmp_path: Path) -> None:
    paths = write(results, tmp_path)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    # The fourth needs the extra `arrow`.
    assert {path.name for path in paths} - {"trials.parquet"} == {"reply.txt", "report.html", "results.json"}
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "color-scheme: light dark" in page
    assert "<script" not in page
    for outside in ('src="http', 'href="http'):
        assert outside not in page


@pytest.mark.parametrize(
    ("points", "at"),
    [
        ([(0.5, 2.0), (1.0, 0.5)], 0.5**0.5),
        ([(0.5, 2.0), (1.0, 1.5)], None),
        ([], None),
        ([(0.1, 2.0), (0.5, 0.5), (1, 2)], None),
    ],
)
def test_break_even(points: list[tuple[float, float]], at: float | None) -> None:
    assert break_even(points) == (None if at is None else pytest.approx(at))


def test_kernel_rows() -> None:
    cells = {cell.name: cell for cell in full_cells() + quick_cells()}
    assert kernel_sign(cells["null-64"]) == -1
    assert kernel_sign(cells["holes-256-every-8"]) == 1
    assert kernel_sign(cells["page_pool03_slow"]) == 0  # one of its five runs is the other way round
    assert kernel_sign(cells["null-512"]) is None
    row = kernel_row(cells["null-64"], "v2")
    assert row is not None
    assert row["cycles"] == 11.93


def test_cells_have_names_of_their_own() -> None:
    for cells in (quick_cells(), full_cells()):
        assert len({cell.name for cell in cells}) == len(cells)


def test_a_run_of_one_cell_end_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    args = ["compare", "--quick", "--only", "null-256", "--processes", "6", "--seed", "3", "--output", str(folder)]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "results.json").read_text())
    (row,) = results["rows"]
    assert row["counts"]["base"]["slot_tests"] == pytest.approx(257 / 256)
    assert row["counts"]["form"]["slot_tests"] == 0
    assert results["seed"] == 3
    assert results["provenance"]["rustc"].startswith("rustc")
    assert np.asarray(results["samples"]["null-256"]).shape[1:3] == (2, 2)


def test_a_machine_too_small_skips_or_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "state.json"
    broken.write_text('{"zones": []}')
    for args in (["--snapshot", str(broken)], ["--snapshot", str(tmp_path / "none.json")], ["--seed", "-1"]):
        done = CliRunner().invoke(main, ["compare", "--quick", "--output", str(tmp_path / "o"), *args])
        assert done.exit_code == 2, done.output
    file = tmp_path / "file"
    file.touch()
    done = CliRunner().invoke(main, ["compare", "--quick", "--output", str(file / "x")])
    assert done.exit_code == 2
    assert str(file) in done.output


def test_snapshot_state_can_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(Machine("64MiB", cpus=1).snapshot()))
    done = CliRunner().invoke(
        main,
        [
            "compare",
            "--quick",
            "--only",
            "null-8",
            "--processes",
            "6",
            "--snapshot",
            str(path),
            "--json",
            "--output",
            str(tmp_path),
        ],
    )
    assert done.exit_code == 0, done.output


def test_a_run_can_be_restored(results: dict[str, Any], tmp_path: Path) -> None:
    write(results, tmp_path)
    again = restore(load(tmp_path / "results.json"))
    plan, run = measured(quick_cells())
    assert again.sequential == run.sequential
    assert again.counts == run.counts
    for name, costs in run.cost.items():
        np.testing.assert_allclose(again.cost[name], costs, rtol=1e-4)
    assert analyse(plan, again, provenance())["rows"][0]["ratio"] == results["rows"][0]["ratio"]


def test_a_slower_bulkpages_is_found(results: dict[str, Any]) -> None:
    now = copy.deepcopy(results)
    same = regressions(results, now)
    assert same["slower"] == []
    assert same["machine"] == pytest.approx(1)
    # The machine as a whole is slower, and one form more than the others.
    for costs in now["samples"].values():
        for process in costs:
            for form, twins in enumerate(process):
                process[form] = (np.asarray(twins) * 1.3).tolist()
    for process in now["samples"]["null-64"]:
        process[1] = (np.asarray(process[1]) * 1.1).tolist()
    now["state"]["counts"]["null-8"]["v1"]["slot_tests"] += 1
    found = regressions(results, now)
    assert found["slower"] == ["null-64 v2"]
    assert found["machine"] == pytest.approx(1.3)
    assert found["counts_changed"] == ["null-8 v1"]


def test_bundles_merge(results: dict[str, Any], tmp_path: Path) -> None:
    other = copy.deepcopy(results)
    other["provenance"] = other["provenance"] | {"cpu": "another"}
    noisy = copy.deepcopy(results)
    noisy["null"]["silent"] = False
    merged = merge([results, other, noisy])
    assert len(merged["left_out"]) == 1
    assert len(merged["rows"]) == len(results["rows"])
    row = merged["rows"][0]
    assert row["ratio"] == pytest.approx(results["rows"][0]["ratio"])
    assert row["interval"][0] < row["ratio"] < row["interval"][1]
    assert row["bundles"] == 2
    path = write_merged(merged, tmp_path)
    assert "<svg" in path.read_text()


def test_interrupted_before_the_first_look(tmp_path: Path) -> None:
    cells = quick_cells()[:2]
    plan, run = measured(cells)
    run.sequential = Sequential()
    run.sequential.prepare(cells, 1, 0.01)
    found = analyse(plan, run, provenance()) | EXTRA
    assert not found["complete"]
    assert all(row["verdict"] is None for row in found["rows"])
    write(found, tmp_path)
    run.cost = {}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert [path.name for path in write(analyse(plan, run, provenance()) | EXTRA, empty)] == ["results.json"]


def test_every_claim_is_tried(results: dict[str, Any]) -> None:
    ledger = {row["name"]: row for row in judge(results)}
    assert len(ledger) == len(CLAIMS)
    truths = {name: row["verdict"] for name, row in ledger.items()}
    # What no clock decides.
    assert truths["layout-return"] == "true"
    assert "4 on P**P*P and 5 on P*PP**" in ledger["layout-return"]["found"]
    assert truths["full-is-failed"] == "true"
    assert truths["second-call-4"] == "false"
    assert truths["52-51"] == "true"
    assert truths["page-owner"] == "true"
    assert "33670" in ledger["page-owner"]["found"]
    assert truths["like-kmem-cache"] == "false"
    assert truths["others-all-null"] == "false"
    assert truths["better-job"] == "true under these conditions"
    assert truths["error-prone-zeroing"] == "true"
    assert {row["verdict"] for row in judge(None)} >= {"not decidable here"}


def test_the_ledger_on_the_command_line(results: dict[str, Any], tmp_path: Path) -> None:
    write(results, tmp_path)
    done = CliRunner().invoke(main, ["claims", "--results", str(tmp_path), "--only", "52-51"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("true: The patch adds 52 lines and removes 51.")
    done = CliRunner().invoke(main, ["claims", "--results", str(tmp_path), "--json"])
    assert len(json.loads(done.stdout)) == len(CLAIMS)
    for bad in (["--only", "nothing"], ["--results", str(tmp_path / "none")]):
        assert CliRunner().invoke(main, ["claims", *bad]).exit_code == 2


def test_a_baseline_is_told_first(results: dict[str, Any]) -> None:
    results["baseline"] = regressions(results, copy.deepcopy(results))
    assert "slower by more than 1.00%: nothing" in headline(results)[0]


def test_trials_as_parquet(results: dict[str, Any], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write(results, tmp_path)
    table = pq.read_table(tmp_path / "trials.parquet")
    assert table.num_rows == sum(np.asarray(costs).size for costs in results["samples"].values())
    assert table.schema.metadata[b"schema"] == SCHEMA.encode()


def test_diffstat_counts_quoted_patches() -> None:
    mail = """> diff --git a/mm/a.c b/mm/a.c
> --- a/mm/a.c
> +++ b/mm/a.c
> @@ -1,3 +1,4 @@ int f(void)
> - int n;
> + int n, m;
> + /* if this is a comment, it is no branch */
> if (n)
> + while (m)
> - return;
not part of it
> + nor is this
"""
    found = diffstat(mail)
    assert found["files"]["mm/a.c"] == {"added": 3, "removed": 2, "branches": 1, "variables": 1, "comments": 1}
    assert found["total"]["added"] == 3


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_are_exact() -> None:
    cells = [cell for cell in full_cells() if cell.name in ("null-8", "core-64-cold")]
    found = count_instructions(cells)
    assert not isinstance(found, str), found
    # Only states as recorded; v2 has the fewer instructions on NULL slots, and no fraction of one: fills are alike.
    assert all((row["instructions"] * 8).is_integer() for row in found)
    assert [(row["cell"], row["form"]) for row in found] == [("null-8", "v1"), ("null-8", "v2")]
    assert found[1]["instructions"] < found[0]["instructions"]


def test_no_valgrind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert count_instructions(full_cells()[:1]) == "valgrind is not installed"
