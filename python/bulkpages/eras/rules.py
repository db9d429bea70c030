"""The kernels that a machine can work like, and the rules in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bulkpages import _core
from bulkpages.errors import InvalidArgument

__all__ = [
    "DEFAULT",
    "ERAS",
    "RULES",
    "TODAY",
    "Era",
    "Rule",
    "kernel_text",
    "of_kernel",
    "parse_rules",
    "rules_to_set",
    "series_of",
]


@dataclass(frozen=True)
class Rule:
    """One rule of the page allocator that changed.

    Attributes:
        name: What `Machine(rules={name: ...})` calls it.
        text: What the kernel does with the rule on, and what it did before.
        functions: The kernel functions that changed.
        since: The first release with the rule; empty if unknown.
        commit: Hash and subject of the commit that introduced it, or the subject alone if the hash is unknown; empty if
            both are.
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


def parse_rules(words: Sequence[str]) -> dict[str, bool]:
    """Rules from words like "smp=no", as `Machine(rules=...)` takes them.

    Raises:
        InvalidArgument: A word is none, a rule is not known or given twice.
    """
    told = {"yes": True, "no": False}
    rules: dict[str, bool] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in RULES:
            raise InvalidArgument(f"there is no rule {name!r}; `bulkpages eras` lists them")
        if not equals or value not in told:
            raise InvalidArgument(f"{word!r} is neither {name}=yes nor {name}=no")
        if name in rules:
            raise InvalidArgument(f"rule {name} is given twice")
        rules[name] = told[value]
    return rules


def series_of(release: str) -> str | None:
    """The kernel series of a release like "6.1.0-28-amd64", if machines can work like it."""
    series = ".".join(release.split("-")[0].split(".")[:2])
    return series if series in ERAS else None


def of_kernel(snapshot: dict[str, Any], kernel: str | None) -> dict[str, Any]:
    """A snapshot that says of which series it is; as it is when none is named.

    Raises:
        InvalidArgument: The series is not known.
    """
    if kernel is None:
        return snapshot
    if kernel not in ERAS:
        raise InvalidArgument(f"kernel {kernel!r} is not one of {', '.join(ERAS)}")
    return snapshot | {"facts": snapshot["facts"] | {"kernel": kernel}}


def kernel_text(kernel: str, rules: Mapping[str, bool]) -> str:
    """A kernel series and what is otherwise, in words: "7.3 without smp"."""
    words = [f"{'with' if holds else 'without'} {name}" for name, holds in rules.items()]
    return " ".join([kernel, ", ".join(words)]) if words else kernel
