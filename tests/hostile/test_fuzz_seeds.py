"""The seeds of the fuzz targets in Python, and what fuzzing found once. Those in Rust are tests of the trace crate."""

import runpy
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"


def seeds() -> list[Path]:
    return sorted(path for target in ("proc", "report", "llfree") for path in (FUZZ / "seeds" / target).iterdir())


@pytest.mark.parametrize("seed", seeds(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed_is_refused_or_read(seed: Path) -> None:
    targets = runpy.run_path(str(FUZZ / "texts.py"))["TARGETS"]
    targets[seed.parent.name](seed.read_bytes())
