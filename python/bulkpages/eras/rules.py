"""The kernels that a machine can work like, and the rules in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulkpages import _core

__all__ = ["DEFAULT", "ERAS", "RULES", "TODAY", "Era", "Rule", "kernel_text", "rules_to_set"]


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

DEFAULT = "6.12"
"""The kernel series of a machine when none is named."""

TODAY: str = tuple(ERAS)[-1]
"""The newest."""


def rules_to_set(rules: Mapping[str, bool] | None) -> list[tuple[str, bool]]:
    """Rules as the core takes them.

    Raises:
        TypeError: They are no mapping of names to truth values.
    """
    if rules is None:
        return []
    if not isinstance(rules, Mapping):
        raise TypeError(f"rules is a mapping of names to True or False, not {type(rules).__name__}")
    for name, holds in rules.items():
        if not isinstance(name, str) or not isinstance(holds, bool):
            raise TypeError(f"rules: {name!r}: {holds!r} is not a name with True or False")
    return list(rules.items())


def kernel_text(kernel: str, rules: Mapping[str, bool]) -> str:
    """A kernel series and what is otherwise, in words: "7.3 without smp"."""
    words = [f"{'with' if holds else 'without'} {name}" for name, holds in rules.items()]
    return " ".join([kernel, ", ".join(words)]) if words else kernel
