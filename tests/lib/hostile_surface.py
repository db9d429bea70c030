"""The public surface: every callable that takes an argument, found by looking."""

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

MODULES = [
    "bulkpages",
    "bulkpages.callers",
    "bulkpages.callers.explain",
    "bulkpages.callers.own_caller",
    "bulkpages.conform",
    "bulkpages.cost",
    "bulkpages.eras",
    "bulkpages.formats.llfree",
    "bulkpages.formats.proc",
    "bulkpages.formats.recording",
    "bulkpages.formats.report",
    "bulkpages.formats.state",
    "bulkpages.formats.trace",
    "bulkpages.running",
    "bulkpages.sweep",
    "bulkpages.testing",
    "bulkpages.what_if",
    "bulkpages.why",
]


def takes_arguments(function: Any) -> bool:
    """Whether a callable has a parameter beside `self`."""
    return any(name != "self" for name in inspect.signature(function).parameters)


def is_record(cls: type) -> bool:
    """Whether instances only hold what the library found, so that nobody else makes them."""
    return is_dataclass(cls) or issubclass(cls, tuple)


def members(cls: type) -> Iterator[str]:
    """Public methods that bulkpages wrote, its compiled part too."""
    for name in dir(cls):
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if not name.startswith("_") and owner.__module__.startswith("bulkpages"):
            value = getattr(cls, name)
            if callable(value) and not inspect.isclass(value) and takes_arguments(value):
                yield name


def surface() -> set[str]:
    """Qualified names of everything that can be given a wrong argument."""
    found, seen = set(), set()
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value) or id(value) in seen or not getattr(value, "__module__", "").startswith("bulkpages"):
                continue
            seen.add(id(value))
            place = f"{module.__name__}.{name}"
            if not inspect.isclass(value):
                found |= {place} if takes_arguments(value) else set()
            elif not issubclass(value, BaseException):
                if not is_record(value) and takes_arguments(value):
                    found.add(place)
                found |= {f"{place}.{member}" for member in members(value)}
    return found
