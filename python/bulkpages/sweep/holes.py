"""Which slots of an array are NULL, as a sweep's file says it: `every 8`, `random 12.5%`, `x..x`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bulkpages.callers.shapes import REQUESTS, hole_shape
from bulkpages.errors import InvalidArgument

__all__ = ["check_holes", "is_random", "shape_of"]

_COUNT = re.compile(r"(every|prefix|random) (\d{1,9})")
_SHARE = re.compile(r"random (\d{1,3}(?:\.\d{1,9})?)%")
_RUNS = re.compile(r"clustered (\d{1,9}) in (\d{1,9})")
_KINDS = {"every": "periodic", "prefix": "prefix", "random": "scattered"}
KNOWN = (
    'all, none, "every K", "prefix K" (K pages in front), "random K", "random P%", "clustered K in R", '
    f"{', '.join(REQUESTS)}, or a picture of x (a page) and . (a hole)"
)


def shape_of(holes: str, slots: int, seed: int) -> str:
    """The array as a picture: `x` a page, `.` a hole.

    Args:
        holes: What the file says; a picture is repeated until the array is full.
        slots: Slots of the array.
        seed: Decides where random holes are.

    Raises:
        InvalidArgument: It says nothing that is known, or more than fits.
    """
    if holes in ("all", "none"):
        return ("." if holes == "all" else "x") * slots
    if match := _COUNT.fullmatch(holes):
        number = int(match[2])
        low = 0 if match[1] == "prefix" else 1
        if not low <= number <= slots:
            raise InvalidArgument(f"{number} is outside {low} to {slots}, the slots")
        return hole_shape(_KINDS[match[1]], slots, number, seed=seed)
    if match := _SHARE.fullmatch(holes):
        return hole_shape("fraction", slots, fraction=float(match[1]) / 100, seed=seed)
    if match := _RUNS.fullmatch(holes):
        return hole_shape("clustered", slots, int(match[1]), int(match[2]), seed=seed)
    if holes in REQUESTS:
        return hole_shape(holes, slots)
    if holes and not set(holes) - {"x", "."}:
        if len(holes) > slots:
            raise InvalidArgument(f"a picture of {len(holes)} slots is longer than nr_pages {slots}")
        return (holes * (slots // len(holes) + 1))[:slots]
    raise InvalidArgument(f"is not one of {KNOWN}")


def check_holes(holes: str, slots: int) -> None:
    """Says what is wrong with it, as `shape_of` would.

    Raises:
        InvalidArgument: It is unknown or does not fit.
    """
    try:
        shape_of(holes, slots, 0)
    except InvalidArgument as error:
        said = str(error)
        between = " " if said.startswith("is ") else ": "
        raise InvalidArgument(f'holes = "{holes}"{between}{said}') from error


def is_random(cell: Mapping[str, Any]) -> bool:
    """Whether the seed decides anything in a cell: where its holes are, or the state of its machine."""
    return bool(cell["used"] or cell["aged"] or cell["holes"].startswith(("random ", "clustered ")))
