"""The examples of the documents and of the modules print what stands below them."""

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
MODULES = ["callers.own_caller", "callers.own_semantics", "callers.shapes", "draw", "tables", "testing"]


def examples(text: str) -> str:
    """The examples of a document; a blank line inside belongs to what is printed."""
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    return "\n\n".join("\n".join(line or "<BLANKLINE>" for line in block.splitlines()) for block in blocks)


@pytest.mark.parametrize("name", ["own-callers.md", "scripting.md"])
def test_examples_of_a_document(name: str) -> None:
    text = examples((DOCS / name).read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(text, {"__name__": name}, name, name, 0)
    assert len(test.examples) > 10
    said: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    module: Any = importlib.import_module(f"bulkpages.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
