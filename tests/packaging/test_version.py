"""One version, and a wheel and an sdist that hold what they should."""

import tomllib
from importlib.metadata import metadata, version
from pathlib import Path

import bulkpages as bp
from bulkpages import _core

ROOT = Path(__file__).parents[2]


def test_the_version_is_written_in_one_place() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert bp.__version__ == _core.__version__ == version("bulkpages") == cargo
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    for manifest in (ROOT / "rust").glob("*/Cargo.toml"):
        assert tomllib.loads(manifest.read_text())["package"]["version"] == {"workspace": True}, manifest


def test_every_extra_is_in_the_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(metadata("bulkpages").get_all("Provides-Extra") or ()) == set(project["optional-dependencies"])
