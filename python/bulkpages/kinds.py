"""What an argument has to be, said where it is given instead of deep inside."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from bulkpages.errors import InvalidArgument

T = TypeVar("T")


def need(what: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """Refuses a value of another kind.

    Raises:
        TypeError: Names the argument and both kinds.
    """
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise TypeError(f"{what} must be {' or '.join(k.__name__ for k in kinds)}, not {type(value).__name__}")


def need_within(what: str, value: Any, low: int, high: int) -> None:
    """Refuses what is no whole number from `low` to `high`.

    Raises:
        TypeError: It is no integer.
        InvalidArgument: It is out of range; names the range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be int, not {type(value).__name__}") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise InvalidArgument(f"{what} {value} is outside {low} to {high}")


def each(what: str, values: Iterable[T], kind: type) -> Iterator[T]:
    """The values, each of them of this kind.

    Raises:
        TypeError: One is not.
    """
    for value in values:
        need(what, value, kind)
        yield value


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 page", "2 pages".

    Args:
        n: How many.
        one: The noun for one.
        many: For any other number; with an s when None.
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def names(what: str, values: str | Iterable[str]) -> list[str]:
    """Names as a list; one text is one name, not its letters.

    Raises:
        TypeError: One is no text.
    """
    return [values] if isinstance(values, str) else list(each(what, values, str))
