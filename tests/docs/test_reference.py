"""The reference: every public name has an entry and a docstring, and the examples in docstrings work."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import bulkpages as bp
from bulkpages import gfp

API = Path(__file__).parents[2] / "docs" / "api"
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(bp.__path__, "bulkpages.")
    if not module.name.endswith(("__main__", "_core"))
)
# Whole modules with a page: everything in their __all__ is public.
DOCUMENTED = [
    "bulkpages.callers",
    "bulkpages.sweep",
    "bulkpages.tables",
    "bulkpages.testing",
    "bulkpages.walk",
    "bulkpages.conform",
    "bulkpages.cost",
    "bulkpages.eras",
    "bulkpages.what_if",
    "bulkpages.why",
]
# A format in several files has one page, of its package.
DOCUMENTED += [name for name in MODULES if re.fullmatch(r"bulkpages\.formats\.\w+", name)]
NOT_OBJECTS = {"__version__", "callers", "draw", "eras", "sweep", "tables", "walk", *gfp.__all__}


def entries() -> set[str]:
    """Names that a page of the reference documents, one by one or with their module."""
    found: set[str] = set()
    for page in API.glob("*.md"):
        current = ""
        for line in page.read_text().splitlines():
            if match := re.match(r"\s*\.\. py:currentmodule:: (\S+)", line):
                current = match[1] + "."
            elif match := re.match(r"\s*\.\. auto(?:class|function|data|exception):: (\S+)", line):
                found.add(match[1] if match[1].startswith("bulkpages.") else current + match[1])
            elif match := re.match(r"\s*\.\. automodule:: (\S+)", line):
                members = importlib.import_module(match[1])
                found.update(f"{match[1]}.{name}" for name in getattr(members, "__all__", ()))
    return found


def public() -> list[str]:
    names = [f"bulkpages.{name}" for name in bp.__all__ if name not in NOT_OBJECTS]
    for module in DOCUMENTED:
        members = importlib.import_module(module).__all__
        names += [
            f"{module}.{name}" for name in members if inspect.isclass(getattr(importlib.import_module(module), name))
        ]
        names += [f"{module}.{name}" for name in members if callable(getattr(importlib.import_module(module), name))]
    return sorted(set(names))


def test_every_public_name_has_an_entry() -> None:
    assert set(public()) - entries() == set()


def test_every_flag_has_an_entry() -> None:
    assert ".. gfp-flags::" in (API / "gfp.md").read_text()


@pytest.mark.parametrize("name", public())
def test_public_names_and_their_members_say_what_they_are(name: str) -> None:
    module, _, last = name.rpartition(".")
    thing = getattr(importlib.import_module(module), last)
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if inspect.isclass(thing):
        for member in dir(thing):
            value = inspect.getattr_static(thing, member)
            # What another package defines is documented there.
            ours = [c for c in inspect.getmro(thing) if c.__module__.startswith("bulkpages") and member in vars(c)]
            inherited = not ours or member in getattr(thing, "_fields", ())
            # Fields of data classes are told in the class's docstring; their defaults are no members.
            field = member in getattr(thing, "__dataclass_fields__", {})
            if not member.startswith("_") and not inherited and not field:
                assert inspect.getdoc(getattr(thing, member, value)), f"{name}.{member} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples]
    assert len(found) >= 4
    assert not any(doctest.SKIP in e.options for t in found for e in t.examples), (
        "an example that is skipped shows nothing"
    )
