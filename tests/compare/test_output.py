"""From trials to the table, the page and the mail."""

from __future__ import annotations

import copy
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import bulkpages as bp
from bulkpages import Machine
from bulkpages.cli import main
from bulkpages.provenance import provenance
from bulkpages.results import COMPARE, load
from bulkpages.suite.between.merge import merge, write_merged
from bulkpages.suite.between.regress import regressions
from bulkpages.suite.experiments.claims import CLAIMS, judge
from bulkpages.suite.experiments.diffstat import diffstat
from bulkpages.suite.experiments.emulator_instructions import count_instructions
from bulkpages.suite.output.mail import reply
from bulkpages.suite.output.screen import print_answer, print_screen
from bulkpages.suite.output.words import GROUPS, disagreements, group_of, kernel_sentences, timing_lines
from bulkpages.suite.output.write import write
from bulkpages.suite.run import Request, exact, state_file
from bulkpages.suite.trunk.answer import break_even
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.kernel import kernel_cycles, loop_cycles, same_processor
from bulkpages.suite.trunk.results import exact_part, main_rows
from bulkpages.suite.trunk.runner import Plan, Run
from bulkpages.suite.trunk.sequential import Sequential
from bulkpages.suite.trunk.timing import analyse, restore
from bulkpages.suite.trunk.workloads import all_cells, full_cells, quick_cells

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
        factor[1:] = 1.2 if 0 < cell.holes < cell.slots else 0.9
        run.cost[cell.name] = [20 * factor * np.exp(rng.normal(0, 0.005, (forms, 2, 20))) for _ in range(6)]
        base = dict.fromkeys(COUNTS, 1.0)
        run.counts[cell.name] = {
            form: base if form == cell.forms[0] else base | {"slot_tests": 0.0, "refills": 0.5} for form in cell.forms
        }
    plan = Plan(cells, Path("state.json"), 20, 0.001, 5, 10.0, looks, 0.01)
    run.sequential.prepare(cells, looks, 0.01)
    run.sequential.look(0, cells, run.cost, 5)
    return plan, run


NOTHING: dict[str, Any] = {"published": [], "windows": [], "contention": [], "instructions": None, "baseline": None}


def whole(cells: list[Cell], chosen: bool = False) -> dict[str, Any]:
    """A result with the exact answer of these cells, and times that were made up."""
    request = Request(cells, chosen=chosen)
    with state_file(None) as state:
        results = exact(request, state)
    plan, run = measured(cells)
    return results | {
        "seed": 5,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "command": "bulkpages compare --quick --seed 5",
        "provenance": provenance(),
        "snapshot_path": None,
        "complete": True,
        "skipped": {"big": "no room"},
        "timing": analyse(plan, run, provenance()) | NOTHING,
    }


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return whole(quick_cells())


@pytest.fixture
def results(made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(made)


def test_verdicts_rest_on_kernel_instructions(results: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in results["rows"]}
    timed = {row["name"]: row for row in results["timing"]["rows"]}
    assert rows["null-64"]["verdict"] == timed["null-64"]["verdict"] == "faster"
    assert rows["holes-256-every-8"]["verdict"] == timed["holes-256-every-8"]["verdict"] == "slower"
    # Made-up time is faster everywhere but with holes; the kernel's word holds, and the disagreement is told.
    assert timed["btrfs-full-64"]["verdict"] == "faster"
    assert rows["btrfs-full-64"]["verdict"] == "slower"
    assert "btrfs-full-64" in disagreements(results)
    assert "btrfs-full-64" in " ".join(timing_lines(results))
    assert 0.5 < results["break_even"]["instructions"] < 1
    assert rows["svc-small-rpc tracked"]["base"] == "before"


def test_the_question_is_answered_in_sentences(results: dict[str, Any]) -> None:
    text = " ".join(kernel_sentences(results))
    for words in (
        "54.4 to 54.1 cycles on an Intel Xeon",
        "71.0 to 69.5 cycles on an AMD EPYC",
        "2 of 259 slots with 430 instructions instead of 2,227",
        "btrfs +60% (full)",
        "btrfs and sunrpc cannot",
        "No form loses a page",
    ):
        assert words in text
    assert "v1" not in text
    assert "v2" not in text


def test_only_requested_parts_are_printed() -> None:
    text = " ".join(kernel_sentences(whole([all_cells()["xfs-4"]], chosen=True)))
    assert "xfs -6.9% (all NULL)" in text
    for words in ("page_pool03", "When allocations fail", "The alternative", "With holes"):
        assert words not in text


def test_null_rows_come_first(results: dict[str, Any]) -> None:
    text = reply(results)
    places = [text.index(f"{group}:") for group in GROUPS]
    assert places == sorted(places)
    groups = {row["name"]: GROUPS[group_of(row)] for row in results["rows"]}
    assert groups["virtio-256"] == groups["page_pool03_slow"] == "all NULL"
    assert groups["erofs-16-to-256"] == groups["svc-read-by-splice"] == "NULL after pages"
    assert groups["svc-2-holes"] == "holes between pages"


def test_no_word_on_time_when_the_null_runs_alarm(results: dict[str, Any]) -> None:
    results["timing"]["null"]["silent"] = False
    assert timing_lines(results)[0].startswith("No verdict on emulator time")


def test_results_are_json(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(results, allow_nan=False))["schema"] == COMPARE


def test_times_are_not_part_of_the_answer(results: dict[str, Any]) -> None:
    other = copy.deepcopy(results)
    other |= {"timing": None, "seed": 6, "provenance": {}}
    assert exact_part(other) == exact_part(results)


def test_reply_fits_a_mail(results: dict[str, Any]) -> None:
    lines = reply(results).splitlines()
    assert max(map(len, lines)) <= 75
    text = "\n".join(lines)
    assert text.isascii()
    assert lines[0].startswith("Mainline alloc_pages_bulk()")
    assert results["command"] in text
    for row in main_rows(results):
        assert row["name"].removeprefix("page_")[:24] in text


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_screen_fits(results: dict[str, Any], width: int) -> None:
    out = io.StringIO()
    print_screen(results, Console(file=out, width=width, no_color=True))
    lines = out.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    text = out.getvalue()
    assert "…" not in text
    assert "verdict" in text
    assert "skipped big: no room" in text
    assert ("slot work" in text.split("Costs are")[0]) == (width >= 132)


def test_the_answer_takes_about_a_screen(results: dict[str, Any]) -> None:
    out = io.StringIO()
    print_answer(results, Console(file=out, width=132, no_color=True))
    assert len(out.getvalue().splitlines()) <= 64


def test_report_is_one_file(results: dict[str, Any], tmp_path: Path) -> None:
    paths = write(results, tmp_path)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    # The fourth needs the extra `parquet`.
    assert {path.name for path in paths} - {"trials.parquet"} == {"reply.txt", "report.html", "results.json"}
    page = (tmp_path / "report.html").read_text()
    assert "color-scheme: light dark" in page
    assert "<script" not in page
    for outside in ('src="http', 'href="http'):
        assert outside not in page
    # Every entry of the contents leads somewhere.
    for anchor in re.findall(r'href="#(\w+)"', page):
        assert f'id="{anchor}"' in page
    # Pictures take their colours from the page, so that they can be read in the dark.
    assert "#010203" not in page
    assert page.count("var(--patched") > 4


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


def test_kernel_cycles_are_one_processors() -> None:
    cells = all_cells()
    xeon, epyc = kernel_cycles(cells["null-64"], "v1", "v2")
    assert (xeon.processor, xeon.form, epyc.processor) == ("Intel Xeon @ 2.6 GHz", 11.93, "AMD EPYC")
    assert kernel_cycles(cells["null-512"], "v1", "v2") == []
    (fill,) = kernel_cycles(cells["btrfs-full-64"], "before", "after")
    assert (fill.processor, fill.percent > 200) == ("AMD EPYC", True)
    assert loop_cycles("v2", 64) == 11.93


@pytest.mark.parametrize(
    ("recorded", "here", "same"),
    [
        ("Intel Xeon @ 2.6 GHz", "Intel(R) Xeon(R) CPU @ 2.60GHz", True),
        ("Intel Xeon @ 2.6 GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz", False),
        ("Intel Xeon @ 2.6 GHz", "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.60GHz", False),
        ("AMD EPYC", "AMD EPYC", True),
        ("AMD EPYC", "AMD EPYC 7B13", False),
        ("AMD EPYC", "", False),
    ],
)
def test_processors(recorded: str, here: str, same: bool) -> None:
    assert same_processor(recorded, here) is same


def test_cells_have_names_of_their_own() -> None:
    for cells in (quick_cells(), full_cells()):
        assert len({cell.name for cell in cells}) == len(cells)


def test_a_run_of_one_cell_end_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    args = ["compare", "--quick", "--only", "null-256", "--processes", "6", "--seed", "3", "--output", str(folder)]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "results.json").read_text())
    (row,) = results["timing"]["rows"]
    assert row["counts"]["base"]["slot_tests"] == pytest.approx(257 / 256)
    assert row["counts"]["form"]["slot_tests"] == 0
    assert results["seed"] == 3
    assert results["provenance"]["rustc"].startswith("rustc")
    assert np.asarray(results["timing"]["samples"]["null-256"]).shape[1:3] == (2, 2)


def test_a_machine_too_small_skips_or_reports(tmp_path: Path) -> None:
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
            str(tmp_path / "out"),
        ],
    )
    assert done.exit_code == 0, done.output


def test_a_run_can_be_restored(results: dict[str, Any], tmp_path: Path) -> None:
    write(results, tmp_path)
    again = restore(load(tmp_path)["timing"])
    plan, run = measured(quick_cells())
    assert again.sequential == run.sequential
    assert again.counts == run.counts
    for name, costs in run.cost.items():
        np.testing.assert_allclose(again.cost[name], costs, rtol=1e-4)
    assert analyse(plan, again, provenance())["rows"][0]["ratio"] == results["timing"]["rows"][0]["ratio"]


def test_a_slower_bulkpages_is_found(results: dict[str, Any]) -> None:
    results = results["timing"]
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
    noisy["timing"]["null"]["silent"] = False
    merged = merge([results, other, noisy, results | {"timing": None}])
    assert len(merged["left_out"]) == 2
    assert len(merged["rows"]) == len(results["rows"])
    row = merged["rows"][0]
    assert row["ratio"] == pytest.approx(results["timing"]["rows"][0]["ratio"])
    assert row["interval"][0] < row["ratio"] < row["interval"][1]
    assert row["bundles"] == 2
    path = write_merged(merged, tmp_path)
    assert "<svg" in path.read_text()


def test_interrupted_before_the_first_look(results: dict[str, Any], tmp_path: Path) -> None:
    cells = quick_cells()[:2]
    plan, run = measured(cells)
    run.sequential = Sequential()
    run.sequential.prepare(cells, 1, 0.01)
    found = analyse(plan, run, provenance()) | NOTHING
    assert not found["complete"]
    assert all(row["verdict"] is None for row in found["rows"])
    assert analyse(plan, run, provenance(), unlooked=False)["rows"] == []
    write(results | {"timing": found, "complete": False}, tmp_path)
    run.cost = {}
    write(results | {"timing": analyse(plan, run, provenance()) | NOTHING}, tmp_path / "empty")
    assert not (tmp_path / "empty" / "trials.parquet").exists()


def test_every_claim_is_tried() -> None:
    ledger = {row["name"]: row for row in judge()}
    assert len(ledger) == len(CLAIMS)
    truths = {name: row["verdict"] for name, row in ledger.items()}
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
    assert truths["walk-measurable"] == "true"
    assert truths["defragmenting-costs"] == "true under these conditions"
    assert truths["pool-1-2-ns"] == "not decidable here"
    assert "-0.11 ns" in ledger["pool-1-2-ns"]["found"]


def test_the_ledger_on_the_command_line() -> None:
    done = CliRunner().invoke(main, ["claims", "--only", "52-51"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("true: The patch adds 52 lines and removes 51.")
    done = CliRunner().invoke(main, ["claims", "--json"])
    assert len(json.loads(done.stdout)) == len(CLAIMS)
    assert CliRunner().invoke(main, ["claims", "--only", "nothing"]).exit_code == 2


def test_a_baseline_comes_first(results: dict[str, Any]) -> None:
    timing = results["timing"]
    timing["baseline"] = regressions(timing, copy.deepcopy(timing))
    assert "slower by more than 1.00%: nothing" in timing_lines(results)[0]


def test_the_functions_say_what_the_commands_say() -> None:
    found = bp.compare(["xfs-4", "svc-2-holes"])
    assert found["xfs-4"]["verdict"] == "faster"
    assert found["svc-2-holes tracked"]["instructions"]["form"]["estimate"] == 430
    assert "xfs -6.9%" in str(found)
    assert found.to_table().column_names[:4] == ["name", "base", "form", "unit"]
    assert found.plot().axes
    assert "4 rows" in repr(found)
    assert "<table" in found._repr_html_()
    with pytest.raises(KeyError):
        found["nothing"]
    ledger = bp.claims("52-51")
    assert [row["verdict"] for row in ledger] == ["true"]
    assert "The patch adds 52 lines" in str(ledger)
    assert len(ledger.to_table()) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bp.compare("nothing-*"), "nothing-"),
        (lambda: bp.compare("xfs-4", effect=0), "effect 0"),
        (lambda: bp.compare("xfs-4", seconds=-1), "seconds -1"),
        (lambda: bp.compare("xfs-4", processes=0), "processes 0"),
        (lambda: bp.compare("xfs-4", seed=-1), "seed -1"),
        (lambda: bp.claims(["52-51", "53-52"]), "53-52"),
    ],
)
def test_the_functions_refuse(call: Callable[[], object], words: str) -> None:
    with pytest.raises(bp.InvalidArgument, match=words.replace("*", r"\*")):
        call()


def test_a_result_is_written_once(tmp_path: Path) -> None:
    found = bp.compare("xfs-4")
    assert {path.name for path in found.write(tmp_path / "out")} == {"report.html", "reply.txt", "results.json"}
    with pytest.raises(bp.BulkpagesError, match="finished run"):
        found.write(tmp_path / "out")


def test_trials_as_parquet(results: dict[str, Any], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write(results, tmp_path)
    table = pq.read_table(tmp_path / "trials.parquet")
    assert table.num_rows == sum(np.asarray(costs).size for costs in results["timing"]["samples"].values())
    assert table.schema.metadata[b"schema"] == COMPARE.encode()


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
