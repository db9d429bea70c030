"""benches/mutants/mutants.toml names texts of the core as it stands."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "rust" / "core" / "src"


def complaint(mutant: dict[str, str]) -> str | None:
    """What keeps a mutant from being applied, with its name; or None."""
    name = f"{mutant['file']}, {mutant['rule']!r}"
    path = CORE / mutant["file"]
    if not path.is_file():
        return f"{name}: the file does not exist"
    if (count := path.read_text().count(mutant["old"])) != 1:
        return f"{name}: old occurs {count} times"
    if mutant["new"] == mutant["old"]:
        return f"{name}: new is old"
    return None


def test_every_mutant_can_be_applied() -> None:
    mutants = tomllib.loads((ROOT / "benches" / "mutants" / "mutants.toml").read_text())["mutant"]
    assert len(mutants) > 300
    complaints = [said for mutant in mutants if (said := complaint(mutant))]
    assert not complaints, "\n".join(complaints)


def test_a_stale_mutant_is_named() -> None:
    mutant = {"file": "zonelist.rs", "rule": "THISNODE", "old": "fn select(", "new": "fn pick("}
    assert complaint(mutant) is None
    assert complaint(mutant | {"old": "not there"}) == "zonelist.rs, 'THISNODE': old occurs 0 times"
    assert "old occurs" in str(complaint(mutant | {"old": "ZoneRef"}))
    assert complaint(mutant | {"new": mutant["old"]}) == "zonelist.rs, 'THISNODE': new is old"
    assert complaint(mutant | {"file": "zones.rs"}) == "zones.rs, 'THISNODE': the file does not exist"
