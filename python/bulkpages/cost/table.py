"""Rows of fills in, their costs out: a series as a measurement makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulkpages.cost import data, model
from bulkpages.cost.answers import Difference, Instructions
from bulkpages.cost.emulate import CONDITIONS, FORMS, Series, check_fill
from bulkpages.cost.fills import answer
from bulkpages.errors import InvalidArgument

__all__ = ["CostTable", "Pair", "rows"]

FIELDS = ("caller", "form", "condition", "pattern")
# Rows of one table: beyond this somebody gave another file.
MAX_ROWS = 100_000


@dataclass(frozen=True)
class Pair:
    """Two rows that differ only in their form.

    Attributes:
        caller: The kernel function.
        condition: The condition of both fills.
        pattern: The array before each fill.
        base: The form that is compared with: the caller's first one.
        form: The form being compared.
        difference: `form` against `base`.
    """

    caller: str
    condition: str
    pattern: str
    base: str
    form: str
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """The pair as JSON-able values."""
        return {
            **{name: value for name, value in vars(self).items() if name != "difference"},
            "difference": self.difference.to_dict(),
        }


@dataclass(frozen=True)
class CostTable:
    """Costs of a series of fills.

    Attributes:
        given: The rows as given.
        costs: The cost of each row.
        pairs: Rows that differ only in their form, each compared with the first form.
        kernel: The kernel's version.
    """

    given: tuple[Mapping[str, Any], ...]
    costs: tuple[Instructions, ...]
    pairs: tuple[Pair, ...]
    kernel: str = data.KERNEL

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON-able values: each row with its `instructions`, and the pairs."""
        return {
            "kernel": self.kernel,
            "rows": [{**row, "instructions": cost.to_dict()} for row, cost in zip(self.given, self.costs, strict=True)],
            "pairs": [pair.to_dict() for pair in self.pairs],
        }


def _key(row: Any, at: int) -> data.Key:
    if not isinstance(row, Mapping):
        raise InvalidArgument(f"row {at} is {type(row).__name__}, not an object with {', '.join(FIELDS)}")
    for name in FIELDS:
        if name != "condition" and name not in row:
            raise InvalidArgument(f"row {at} has no {name}")
    return row["caller"], row["form"], row.get("condition", "warm"), row["pattern"]


def _order(keys: Sequence[data.Key]) -> list[int]:
    """The rows in the order in which the kernel's were measured; patterns as they come first."""
    callers = list(dict.fromkeys(row["caller"] for row in data.series()[0]["rows"]))
    first: dict[tuple[str, str, str], int] = {}
    for at, (caller, form, condition, pattern) in enumerate(keys):
        try:
            check_fill(caller, form, pattern, condition)
        except InvalidArgument as error:
            raise InvalidArgument(f"row {at}: {error}") from error
        first.setdefault((caller, condition, pattern), at)

    def place(at: int) -> tuple[int, int, int, int]:
        caller, form, condition, pattern = keys[at]
        return (
            CONDITIONS.index(condition),
            callers.index(caller) if caller in callers else len(callers),
            first[caller, condition, pattern],
            FORMS[caller].index(form),
        )

    return sorted(range(len(keys)), key=place)


def rows(rows: Iterable[Mapping[str, Any]], predicted_only: bool = False, *, kernel: str = data.KERNEL) -> CostTable:
    """The costs of fills that are made one after the other on one machine.

    A cold fill depends on which blocks earlier fills left free. Whatever the order of the rows, the fills are therefore
    made in the order in which the kernel's were measured: by condition, caller and pattern, with the forms one after
    the other.

    Args:
        rows: Mappings with `caller`, `form`, `pattern` and `condition` ("warm" by default), as for `fill`. Other keys
            are kept.
        predicted_only: Whether to predict even what was measured.
        kernel: The kernel's version.

    Raises:
        InvalidArgument: A row is not a valid fill (named by its number from 0), or the kernel has no costs.
    """
    data.need_kernel(kernel)
    given = tuple(rows)
    if len(given) > MAX_ROWS:
        raise InvalidArgument(f"{len(given)} rows are above {MAX_ROWS}")
    keys = [_key(row, at) for at, row in enumerate(given)]
    one = Series()
    costs: dict[int, Instructions] = {}
    found: dict[tuple[str, str, str], dict[str, Instructions]] = {}
    for at in _order(keys):
        caller, form, condition, pattern = key = keys[at]
        try:
            taken = one.amounts(caller, form, pattern, condition)
        except InvalidArgument as error:
            raise InvalidArgument(f"row {at}: {error}") from error
        costs[at] = answer(key, taken, condition, predicted_only=predicted_only)
        found.setdefault((caller, condition, pattern), {}).setdefault(form, costs[at])
    pairs = []
    for (caller, condition, pattern), forms in found.items():
        base = FORMS[caller][0]
        if base not in forms:
            continue
        for form in FORMS[caller][1:]:
            if form in forms:
                difference = model.difference(forms[base], forms[form], condition)
                pairs.append(Pair(caller, condition, pattern, base, form, difference))
    return CostTable(given, tuple(costs[at] for at in range(len(given))), tuple(pairs), kernel)
