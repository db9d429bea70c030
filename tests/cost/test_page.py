"""docs/cost.md has the numbers that are stored."""

import re
from pathlib import Path

from bulkpages import cost
from bulkpages.cost import data

PAGE = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()


def test_each_step_is_in_the_table() -> None:
    for step in cost.STEPS.values():
        assert f"\n| {step.name} | {step.instructions:.1f} | {step.error:.1f} | {step.unit} | {step.meaning} |" in PAGE


def test_errors_are_those_of_the_fit() -> None:
    for which in ("not fitted", "workload left out"):
        for group, e in data.costs()["errors"][which].items():
            line = f"| {group} | {e['rows']} | {e['median']:.2f} | {e['p95']:.2f} | {e['largest']:.2f} |"
            assert line in PAGE, (which, group)


def test_series_are_as_long_as_it_says() -> None:
    said = {name: int(n) for name, n in re.findall(r"^\| (callers|again|mixed|check) \| (\d+) \|", PAGE, re.M)}
    assert said == {one["name"]: len(one["rows"]) for one in data.series()}
