"""What people write: what shall fail, as `STEP` or `STEP=SUCCESSES`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bulkpages.errors import InvalidArgument

__all__ = ["STEPS", "parse_faults"]

#: What can fail: the keywords of `Machine.faults()`.
STEPS = ("pages", "trylock", "single", "prepare", "watermark", "charge", "array", "append", "vmap", "dma_map", "stop")


def parse_faults(words: Iterable[str]) -> dict[str, Any]:
    """Keywords for `Machine.faults()`.

    Args:
        words: `STEP` (fails at once, and always) or `STEP=SUCCESSES` (fails after so many successes).

    Raises:
        InvalidArgument: A step that there is not, one given twice, or a number that is none.
    """
    faults: dict[str, Any] = {}
    for word in words:
        name, equals, number = word.partition("=")
        if name not in STEPS:
            raise InvalidArgument(f"step {name!r} is not one of {', '.join(STEPS)}")
        if name in faults:
            raise InvalidArgument(f"step {name!r} is given twice")
        if equals and not (number.isascii() and number.isdigit() and int(number) < 1 << 63):
            raise InvalidArgument(f"{word!r}: {number!r} is not a number of successes")
        faults[name] = int(number) if number else (0 if name == "pages" else True)
    return faults
