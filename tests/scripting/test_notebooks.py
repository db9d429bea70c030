"""The notebooks of the documentation run, and what they show is what they showed when they were written."""

from pathlib import Path
from typing import Any

import nbformat as nbformat_module
import pytest
from nbclient import NotebookClient

nbformat: Any = nbformat_module  # has no types
FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def shown(notebook: Any) -> list[tuple[str, list[Any]]]:
    """Sources of the code cells with their outputs: printed text, and values as text and HTML."""
    return [
        (cell.source, [output.get("text") or dict(output.get("data", {})) for output in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["failures", "holes", "researcher"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_showed(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    committed = shown(notebook)
    assert sum(bool(outputs) for _, outputs in committed) >= 7
    resources = {"metadata": {"path": str(tmp_path)}}
    # A busy machine may flush what a cell prints in several pieces.
    NotebookClient(notebook, timeout=120, kernel_name="python3", coalesce_streams=True, resources=resources).execute()
    assert shown(notebook) == committed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_knows_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert not any(word in text for word in ("/home", "/tmp", "/root", "site-packages", "execution_state"))
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert "version" not in notebook.metadata["language_info"]
