"""What is compared: a cell is one workload under one condition, which every form of it runs. There are four kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from bulkpages import _core
from bulkpages.errors import BulkpagesError
from bulkpages.machine import Machine
from bulkpages.suite.trunk.states import AS_RECORDED, Conditions

__all__ = ["BulkLoop", "Cell", "Fill", "OwnFill", "PoolLoop"]

Counts = dict[str, float]
# Pages, operations and fills over which counts are taken.
LOOP_PAGES, POOL_OPERATIONS, FILLS = 2048, 6400, 64
# A maximum over the run, not a sum.
LONGEST = "longest_hold_pages"


@dataclass(frozen=True, kw_only=True)
class Cell(ABC):
    """A workload.

    Attributes:
        name: Short, unique.
        forms: What is compared; the first is what the others are compared with.
        conditions: State of the machine.
    """

    unit: ClassVar[str]

    name: str
    forms: tuple[str, ...] = ("v1", "v2")
    conditions: Conditions = AS_RECORDED

    @property
    def slots(self) -> int:
        """Slots of the array; 0 for a page_pool loop."""
        return 0

    @property
    def holes(self) -> int:
        """Slots that are NULL."""
        return 0

    @property
    def period(self) -> int:
        """Of loops with holes: every so many slots one; 0 where it is none of them."""
        return 0

    @property
    def bench(self) -> str | None:
        """The loop of the page_pool benchmark, where it is one."""
        return None

    @property
    def caller(self) -> str | None:
        """Who fills the array, or "core" for the bare call; None for loops."""
        return None

    @property
    def shape(self) -> str:
        """The array before a fill: `x` a page, `.` a hole; empty for loops."""
        return ""

    @property
    def reproduce(self) -> str:
        """The command that runs this cell."""
        return f"bulkpages compare --quick --only {self.name}"

    @abstractmethod
    def trial(self, machine: Machine, form: str, iterations: int) -> tuple[int, int, int]:
        """One trial: units, clock counts inside allocation, clock counts to plan with."""

    @abstractmethod
    def _count(self, machine: Machine, form: str) -> tuple[dict[str, int], int]:
        """What was counted, and over how many units."""

    def count(self, machine: Machine, form: str) -> Counts:
        """Exact counts per unit.

        Raises:
            BulkpagesError: The machine cannot run it.
        """
        found, units = self._count(machine, form)
        if not units:
            raise BulkpagesError("no page could be allocated")
        return {name: n if name == LONGEST else n / units for name, n in found.items()}


@dataclass(frozen=True, kw_only=True)
class BulkLoop(Cell):
    """A loop of the kernel benchmark: allocate into an array, free all of it again; costs are per page.

    Attributes:
        nr_pages: Slots of the array.
        hole_period: 0: all slots are NULL; k: every k-th slot is a hole, and the patched form compacts first.
    """

    unit = "page"

    nr_pages: int
    hole_period: int = 0

    @property
    def slots(self) -> int:  # noqa: D102
        return self.nr_pages

    @property
    def holes(self) -> int:  # noqa: D102
        return -(-self.nr_pages // self.hole_period) if self.hole_period else self.nr_pages

    @property
    def period(self) -> int:  # noqa: D102
        return self.hole_period

    def trial(self, machine: Machine, form: str, iterations: int) -> tuple[int, int, int]:  # noqa: D102
        return _core.trial_bulk(machine, form, self.nr_pages, self.hole_period, iterations)

    def _count(self, machine: Machine, form: str) -> tuple[dict[str, int], int]:
        iterations = max(1, LOOP_PAGES // self.nr_pages)
        found = _core.count_bulk(machine, form, self.nr_pages, self.hole_period, iterations)
        return found, found.pop("pages")


@dataclass(frozen=True, kw_only=True)
class PoolLoop(Cell):
    """A loop of the kernel's page_pool benchmark; costs are per operation.

    Attributes:
        loop: Its name there.
    """

    unit = "op"

    loop: str

    @property
    def bench(self) -> str | None:  # noqa: D102
        return self.loop

    def trial(self, machine: Machine, form: str, iterations: int) -> tuple[int, int, int]:  # noqa: D102
        return _core.trial_page_pool(machine, form, self.loop, iterations)

    def _count(self, machine: Machine, form: str) -> tuple[dict[str, int], int]:
        found = _core.count_page_pool(machine, form, self.loop, POOL_OPERATIONS)
        return found, found.pop("pages")


@dataclass(frozen=True, kw_only=True)
class Fill(Cell):
    """A kernel function that fills an array, from call to return; costs are per fill.

    Attributes:
        filler: Its name, or "core" for the bare call with what it needs around it.
        pattern: The array before a fill.
    """

    unit = "fill"

    filler: str
    pattern: str

    @property
    def slots(self) -> int:  # noqa: D102
        return len(self.pattern)

    @property
    def holes(self) -> int:  # noqa: D102
        return self.pattern.count(".")

    @property
    def caller(self) -> str | None:  # noqa: D102
        return self.filler

    @property
    def shape(self) -> str:  # noqa: D102
        return self.pattern

    def trial(self, machine: Machine, form: str, iterations: int) -> tuple[int, int, int]:  # noqa: D102
        state = self.conditions
        _, counts = _core.trial_fill(
            machine, self.filler, form, self.pattern, iterations, cold=state.cold, trylock_loss=state.trylock_loss
        )
        return iterations, counts, counts

    def _count(self, machine: Machine, form: str) -> tuple[dict[str, int], int]:
        state = self.conditions
        found = _core.count_fill(
            machine, self.filler, form, self.pattern, FILLS, cold=state.cold, trylock_loss=state.trylock_loss
        )
        found.pop("pages")
        return found, FILLS


@dataclass(frozen=True, kw_only=True)
class OwnFill(Fill):
    """A caller that a user wrote, as the steps that were recorded of it.

    Attributes:
        streams: The steps, by form.
    """

    streams: Mapping[str, _core.Stream] = field(hash=False)

    @property
    def reproduce(self) -> str:  # noqa: D102
        return f"compare() of the caller {self.filler} on {self.pattern}"

    def trial(self, machine: Machine, form: str, iterations: int) -> tuple[int, int, int]:  # noqa: D102
        _, counts = self.streams[form].trial(machine, iterations, cold=self.conditions.cold)
        return iterations, counts, counts

    def _count(self, machine: Machine, form: str) -> tuple[dict[str, int], int]:
        found = self.streams[form].count(machine, FILLS, cold=self.conditions.cold)
        found.pop("pages")
        return found, FILLS
