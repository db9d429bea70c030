"""What an own caller is tried on: arrays and page counts, and the settings of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from bulkpages import _core
from bulkpages.errors import InvalidArgument

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Case", "cases", "checked", "fresh_machine", "label", "patterns"]

MEMORY = "64MiB"


def patterns(largest: int) -> list[str]:
    """Every pattern of pages and holes of 1 to `largest` slots: 2, 4, 8, ... patterns of each size.

    Raises:
        InvalidArgument: Outside 1 to 12.
    """
    if not 1 <= largest <= 12:
        raise InvalidArgument(f"largest {largest} is outside 1 to 12: there are 2 ** {largest} patterns of it")
    return ["".join(marks) for n in range(1, largest + 1) for marks in product("x.", repeat=n)]


@dataclass(frozen=True)
class Case:
    """An input under a setting of the machine."""

    shape: str
    setting: str
    label: str

    @property
    def slots(self) -> int:
        """Slots, or pages."""
        return len(self.shape)


def cases(takes: str, largest: int, shapes: list[str]) -> list[Case]:
    """Every input up to a size, and the inputs named beside.

    Raises:
        InvalidArgument: A size out of range, or a shape that is none.
    """
    pictures = patterns(largest) if takes == "array" else ["." * n for n in range(1, largest + 1)]
    pictures += [checked(shape) for shape in shapes if shape not in pictures]
    return [Case(shape, "plain", label(shape, takes)) for shape in pictures]


def fresh_machine(setting: str) -> Machine:
    """A machine under a setting: "plain", "page owner" or "memcg"."""
    from bulkpages.machine import Machine

    return Machine(MEMORY, cpus=1, memcg=setting == "memcg", page_owner=setting == "page owner")


def checked(shape: str) -> str:
    """The shape itself.

    Raises:
        InvalidArgument: It is none, or has no slot.
    """
    _core.Stream(shape, [], [])
    if not shape:
        raise InvalidArgument("an input has at least one slot, this one has none")
    return shape


def label(shape: str, takes: str) -> str:
    """The input as reports name it."""
    if takes == "pages":
        return f"{len(shape)} pages"
    if len(shape) <= 32:
        return shape
    return f"{len(shape)} slots, {shape.count('.')} holes, prefix {len(shape) - len(shape.lstrip('x'))}"
