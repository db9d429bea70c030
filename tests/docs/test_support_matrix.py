"""The support matrix names only what exists, and each module defines the functions of its row."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "support-matrix.md"
FOLDER = ROOT / "tests/conformance/recordings"
RECORDINGS = {str(path.relative_to(FOLDER)).removesuffix(".jsonl.gz") for path in FOLDER.rglob("*.jsonl.gz")}
STANDINGS = ("exact", "formula", "rule", "model", "port", "no")


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[0] not in ("behaviour", "---"):
            yield cells


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def proof(name: str) -> bool:
    """Whether a recording or a test of this name exists."""
    file, colons, test = name.partition("::")
    if not colons:
        return name in RECORDINGS
    places = (ROOT / "tests").rglob(file) if file.endswith(".py") else (ROOT / "rust").glob(f"*/tests/**/{file}")
    return any(re.search(rf"\b(def|fn) {re.escape(test)}\b", path.read_text()) for path in places)


def defines(text: str, function: str) -> bool:
    """Whether source text defines a kernel function under its name, less leading underscores and `_noprof`."""
    name = function.removesuffix("()").removesuffix("_noprof")
    # A method of the port of page_pool does not repeat the pool's name.
    bare = name.lstrip("_")
    names = {name, bare, bare.removeprefix("page_pool_")}
    return any(re.search(rf"\b(def|fn) {re.escape(name)}\b", text) for name in names)


def test_there_are_rows() -> None:
    assert len(list(rows())) > 50


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0])
def test_row(row: list[str]) -> None:
    behaviour, functions, standing, shown, modules = row
    word = re.match(r"\w+", standing)
    assert word, standing
    assert word[0] in STANDINGS, standing
    for name in spans(shown) + [name for name in spans(standing) if "::" in name or name in RECORDINGS]:
        assert proof(name), f"{behaviour}: no recording or test {name}"
    for module in spans(modules):
        assert (ROOT / module).is_file(), module
    text = "".join((ROOT / module).read_text() for module in spans(modules))
    for function in spans(functions):
        if word[0] != "no":
            assert defines(text, function), f"{behaviour}: {modules} does not define {function}"
    if word[0] != "no":
        assert shown, f"{behaviour}: nothing shows it"
        assert spans(modules), f"{behaviour}: no module"
    if word[0] == "exact":
        recorded = [
            name for name in spans(shown) if name in RECORDINGS or name.startswith(("test_recordings", "test_proc"))
        ]
        assert recorded or "28 recordings" in shown, f"{behaviour} is called exact, and no recording is named"


def test_a_wrong_name_is_noticed() -> None:
    assert proof("uma-256m-mixed")
    assert proof("7.3/uma-256m-mixed")
    assert not proof("uma-999m-mixed")
    assert not proof("7.3/boost-480m")
    assert proof("traps.rs::the_watermark_comparison_is_strict")
    assert not proof("traps.rs::t26_the_watermark_comparison")
    assert not proof("test_proc.py::test_of_nothing")


def test_a_mention_is_not_a_definition() -> None:
    assert defines("fn rmqueue_bulk<P>()", "rmqueue_bulk()")
    assert defines("fn rmqueue_smallest()", "__rmqueue_smallest()")
    assert defines("fn alloc_pages_bulk<S>()", "alloc_pages_bulk_noprof()")
    assert not defines("/// `rmqueue_bulk()`\nfn refill()", "rmqueue_bulk()")
    assert not defines("fn rmqueue()", "rmqueue_bulk()")
