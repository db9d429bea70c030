"""The wrong variants of rules that `make mutants` tries are variants of the code as it is."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = tomllib.loads((ROOT / "benches/mutants/mutants.toml").read_text(encoding="utf-8"))["mutant"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant['file']}-{mutant['rule']}")
def test_a_mutant_changes_one_place(mutant: dict[str, Any]) -> None:
    source = (ROOT / "rust/core/src" / mutant["file"]).read_text(encoding="utf-8")
    assert source.count(mutant["old"]) == 1
    assert mutant["new"] != mutant["old"]
