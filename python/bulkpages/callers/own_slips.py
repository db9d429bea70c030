"""Wrong lines in callers that users write, made without touching their text: where the call and the caller meet.

The first seven are those of the ports, under the same names. A caller's own arithmetic is out of reach, so what a wrong
line makes of a return value is done to the value: it says something else when it is compared with the value before or
with 0, or when it is added.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SLIPS", "Returned"]

#: Each wrong line, with what it does here.
SLIPS = {
    "mixes counts": "v1: the previous value is added; v2: the sum is dropped",
    "wrong base": "v1: the rest of the array is passed; v2: the whole array",
    "forgets to clear": "clear() and stores of NULL do nothing, and kcalloc() gives garbage",
    "partial is failure": "a short result looks like no pages",
    "other progress test": "v1: only 0 looks like no progress; v2: the value of the previous call",
    "ignores a short result": "a short result looks complete",
    "other version's call": "v1 where v2 is called, and vice versa",
    "ignores a failure": "any result looks complete",
    "off by one": "the call gets one slot fewer, at the front",
    "frees twice": "free_page() frees again what it just freed",
    "forgets to free": "free_page() does nothing",
}


class Returned(int):
    """What a call returned, as a caller with a wrong line sees it."""

    mark: int
    counts: bool
    progress: bool | None
    drops_sum: bool

    def __new__(
        cls, value: int, *, mark: int, counts: bool, progress: bool | None = None, drops_sum: bool = False
    ) -> Returned:
        """A value.

        Args:
            value: The number.
            mark: What it is compared with to see progress: 0, or the value before.
            counts: Whether it is a number of pages, for which "at least 1" is another way to ask for progress.
            progress: The answer; None for the true one.
            drops_sum: Whether what it is added to is lost.
        """
        made = super().__new__(cls, value)
        made.mark, made.counts, made.progress, made.drops_sum = mark, counts, progress, drops_sum
        return made

    def _asks(self, other: Any, more: int = 0) -> bool:
        """Whether a comparison with `other` is the question for progress."""
        if self.progress is None or not isinstance(other, int):
            return False
        return int(other) == self.mark + more and (not more or self.counts)

    def __bool__(self) -> bool:
        return self.progress if self.progress is not None and self.counts else int(self) != 0

    def __eq__(self, other: object) -> bool:
        return not self.progress if self._asks(other) else int(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __gt__(self, other: int) -> bool:
        return bool(self.progress) if self._asks(other) else int(self) > other

    def __le__(self, other: int) -> bool:
        return not self > other

    def __ge__(self, other: int) -> bool:
        return bool(self.progress) if self._asks(other, 1) else int(self) >= other

    def __lt__(self, other: int) -> bool:
        return not self >= other

    def __add__(self, other: int) -> int:
        return int(self) if self.drops_sum else int(self) + other

    __radd__ = __add__
    __hash__ = int.__hash__
