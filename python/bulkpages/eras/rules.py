"""The kernels that a machine can work like, and the rules in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulkpages import _core

__all__ = ["ERAS", "RULES", "Era", "Rule"]


@dataclass(frozen=True)
class Rule:
    """One rule of the page allocator that changed.

    Attributes:
        name: What `Machine(rules={name: ...})` calls it.
        text: What holds where it is on, and what held before.
        functions: The kernel functions that changed.
        since: The first release with it; empty where that is not known.
        commit: Subject of the commit or series that brought it; empty where that is not known.
    """

    name: str
    text: str
    functions: tuple[str, ...]
    since: str
    commit: str


@dataclass(frozen=True)
class Era:
    """A kernel series.

    Attributes:
        name: What `Machine(kernel=name)` calls it.
        recorded: The release whose behaviour was recorded.
        rules: Each rule and whether it holds.
    """

    name: str
    recorded: str
    rules: Mapping[str, bool]


def _rules() -> Mapping[str, Rule]:
    rules = (
        Rule(name, text, tuple(functions), since, commit) for name, text, functions, since, commit in _core.rules()
    )
    return MappingProxyType({rule.name: rule for rule in rules})


def _eras() -> Mapping[str, Era]:
    eras = (Era(name, recorded, MappingProxyType(dict(rules))) for name, recorded, rules in _core.eras())
    return MappingProxyType({era.name: era for era in eras})


RULES: Mapping[str, Rule] = _rules()
"""Every rule by its name, in the order in which a request meets them."""

ERAS: Mapping[str, Era] = _eras()
"""Every era by its name, oldest first."""
