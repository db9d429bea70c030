"""`bulkpages cost`: rows in, rows and pairs out; what is no row is refused in words."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bulkpages import InvalidArgument, cost
from bulkpages.cli import main
from bulkpages.cost.steps import COUNTS

ROW = {"caller": "xfs_buf_alloc_pages", "form": "before", "condition": "warm", "pattern": "...."}


def run(*arguments: str, rows: Any = None) -> Result:
    given = None if rows is None else json.dumps(rows)
    return CliRunner().invoke(main, ["cost", *arguments], input=given)


def test_rows_keep_their_order_and_fields() -> None:
    rows = [{**ROW, "form": form, "mine": [form]} for form in ("after", "before")]
    found = json.loads(run("-", "--json", "--predicted-only", rows={"rows": rows}).stdout)
    assert [{k: v for k, v in row.items() if k != "instructions"} for row in found["rows"]] == rows
    assert {row["instructions"]["source"] for row in found["rows"]} == {"predicted"}
    assert [(p["base"], p["form"]) for p in found["pairs"]] == [("before", "after")]
    after, before = (row["instructions"]["estimate"] for row in found["rows"])
    assert found["pairs"][0]["difference"]["instructions"]["estimate"] == pytest.approx(after - before, abs=0.02)


def test_the_text_has_rows_and_pairs(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"rows": [ROW, {**ROW, "form": "after"}, {**ROW, "pattern": "." * 600}]}))
    text = run(str(path)).stdout
    assert "measured" in text
    assert "after against before" in text
    assert "extrapolated" in text


def test_cold_fills_depend_on_the_fills_before() -> None:
    cold = {"caller": "svc_alloc_arg", "form": "before", "condition": "cold", "pattern": "x.xx..x.x.xx.x.."}
    first = cost.rows([cold], True).costs[0]
    later = cost.rows([{**cold, "pattern": "." * 200}, cold], True).costs[1]
    assert first.estimate != later.estimate
    assert later.estimate == pytest.approx(first.estimate, rel=0.2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"caller": "nobody"}, "'nobody' is not one of core"),
        ({"form": "later"}, "'later' of xfs_buf_alloc_pages is not one of before"),
        ({"condition": "hot"}, "'hot' is not one of warm, cold, trylock lost"),
        ({"pattern": "..y."}, "slot 2 of the pattern is 'y'"),
        ({"pattern": ""}, "0 slots is outside"),
        ({"pattern": "." * 70000}, "70000 slots is outside 1..=65536"),
        ({"pattern": "x..."}, "all NULL"),
        ({"pattern": 5}, "pattern must be a text, not 5"),
        ({"caller": "svc_alloc_arg", "pattern": "." * 260}, "svc_alloc_arg fills 259"),
        ({"caller": "z_erofs_gbuf_growsize", "pattern": ".x"}, "in front of all holes"),
    ],
)
def test_a_wrong_fill_is_refused(wrong: dict[str, Any], words: str) -> None:
    done = run("-", rows={"rows": [ROW, {**ROW, **wrong}]})
    assert done.exit_code == 2
    assert "row 1" in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rows": [5]}, "row 0 is int"),
        ({"rows": [{"caller": "core"}]}, "row 0 has no form"),
        ({"lines": []}, 'a list "rows" is needed'),
        ([], 'a list "rows" is needed'),
    ],
)
def test_what_holds_no_rows_is_refused(given: Any, words: str) -> None:
    done = run("-", rows=given)
    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("{")
    done = run(str(path))
    assert (done.exit_code, "not JSON" in done.stderr) == (2, True)


def test_a_kernel_without_costs() -> None:
    done = run("-", "--kernel", "5.10", rows={"rows": [ROW]})
    assert (done.exit_code, "no costs are known for kernel '5.10'" in done.stderr) == (2, True)
    with pytest.raises(InvalidArgument, match=r"no costs are known for kernel '6\.1'"):
        cost.fill("core", "v1", "..", kernel="6.1")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"calls": 1}, "is missing"),
        ({"call": 1}, "'call' is not one of"),
        ({**dict.fromkeys(COUNTS, 0), "calls": -1}, "0 or more"),
    ],
)
def test_counts_that_are_none(counts: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        cost.of(counts)


def test_the_order_of_rows_changes_nothing() -> None:
    forms, conditions = ("before", "after"), ("warm", "cold")
    rows = [{**ROW, "form": f, "condition": c, "pattern": "." * 40} for c in conditions for f in forms]
    rows += [
        {**ROW, "caller": "btrfs_alloc_page_array", "form": f, "condition": "cold", "pattern": "x.."} for f in forms
    ]
    assert cost.rows(rows[::-1], True).costs == cost.rows(rows, True).costs[::-1]


def test_a_measured_difference_lies_between_those_of_the_fewest_and_the_means() -> None:
    rows = [{**ROW, "form": form} for form in ("before", "after")]
    before, after = cost.rows(rows).costs
    assert before.fewest is not None
    assert after.fewest is not None
    middle, low, high = cost.rows(rows).pairs[0].difference.instructions
    assert low < min(after.fewest - before.fewest, middle)
    assert max(after.fewest - before.fewest, middle) < high
    assert high - low == pytest.approx(abs(after.fewest - before.fewest - middle) + 4)


@pytest.mark.parametrize("condition", ["cold", "trylock lost"])
def test_fills_that_do_not_all_do_the_same_keep_the_error_of_their_mean(condition: str) -> None:
    found = cost.rows([{**ROW, "condition": condition, "pattern": "." * 16}]).costs[0]
    assert (found.source, found.fewest) == ("measured", None)
    assert found.high - found.low > 100
