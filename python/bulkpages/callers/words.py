"""What people write: a caller by a part of its name, and what shall fail as `STEP` or `STEP=SUCCESSES`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bulkpages import _core
from bulkpages.errors import InvalidArgument

__all__ = ["STEPS", "find_caller", "parse_faults"]

#: What can fail: the keywords of `Machine.faults()`.
STEPS = ("pages", "trylock", "single", "prepare", "watermark", "charge", "array", "append", "vmap", "dma_map", "stop")


def find_caller(name: str) -> str:
    """The kernel function that is meant.

    Args:
        name: Its name, or a part of it or of its file (as "vfio") that no other caller has.

    Raises:
        InvalidArgument: It is part of none, or of more than one.
    """
    names = [known for known, _, _ in _core.callers()]
    found = [name] if name in names else [known for known in names if name and name in known]
    if not found:
        found = [known for known, file, _ in _core.callers() if name and name in file]
    if len(found) != 1:
        raise InvalidArgument(f"caller {name!r} is part of {len(found)} of {', '.join(names)}")
    return found[0]


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
            raise InvalidArgument(f"step {name!r} is none of {', '.join(STEPS)}")
        if name in faults:
            raise InvalidArgument(f"step {name!r} is given twice")
        if equals and not (number.isascii() and number.isdigit() and int(number) < 1 << 63):
            raise InvalidArgument(f"{word!r}: {number!r} is not a number of successes")
        faults[name] = int(number) if number else (0 if name == "pages" else True)
    return faults
