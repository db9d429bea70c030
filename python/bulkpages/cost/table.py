"""Rows of fills in, their costs out: a series as a measurement makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bulkpages.cost import data, model
from bulkpages.cost.answers import Difference, Instructions
from bulkpages.cost.emulate import FORMS, Series
from bulkpages.cost.fills import answer
from bulkpages.errors import InvalidArgument

__all__ = ["CostTable", "Pair", "rows"]

FIELDS = ("caller", "form", "condition", "pattern")
# Rows of one table: beyond this somebody gave another file.
MAX_ROWS = 100_000


@dataclass(frozen=True)
class Pair:
    """Two rows that differ in their form alone.

    Attributes:
        caller: The kernel function.
        condition: Of both fills.
        pattern: The array before both.
        base: The form that is compared with: the caller's first one.
        form: The form that is compared.
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
        given: The rows, as they came.
        costs: What each of them costs.
        pairs: Rows that differ in their form alone, against the first form.
        kernel: Version of the kernel.
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


def rows(rows: Iterable[Mapping[str, Any]], predicted_only: bool = False, *, kernel: str = data.KERNEL) -> CostTable:
    """What fills cost that are made one after the other on one machine.

    Args:
        rows: Objects with `caller`, `form`, `pattern` and `condition` ("warm" when left out), as for `fill`; whatever
            else they hold is kept. Their order is that of the fills: a cold fill depends on what was free before it.
        predicted_only: Whether to predict what was measured too.
        kernel: Version of the kernel.

    Raises:
        InvalidArgument: A row that is no fill, named by its number from 0; a kernel without costs.
    """
    data.need_kernel(kernel)
    given = tuple(rows)
    if len(given) > MAX_ROWS:
        raise InvalidArgument(f"{len(given)} rows are above {MAX_ROWS}")
    keys = [_key(row, at) for at, row in enumerate(given)]
    one = Series()
    costs: list[Instructions] = []
    found: dict[tuple[str, str, str], dict[str, Instructions]] = {}
    for at, key in enumerate(keys):
        caller, form, condition, pattern = key
        try:
            taken = one.amounts(caller, form, pattern, condition)
        except InvalidArgument as error:
            raise InvalidArgument(f"row {at}: {error}") from error
        costs.append(answer(key, taken, condition, predicted_only=predicted_only))
        found.setdefault((caller, condition, pattern), {}).setdefault(form, costs[-1])
    pairs = []
    for (caller, condition, pattern), forms in found.items():
        base = FORMS[caller][0]
        if base not in forms:
            continue
        for form in FORMS[caller][1:]:
            if form in forms:
                difference = model.difference(forms[base], forms[form], condition)
                pairs.append(Pair(caller, condition, pattern, base, form, difference))
    return CostTable(given, tuple(costs), tuple(pairs), kernel)
