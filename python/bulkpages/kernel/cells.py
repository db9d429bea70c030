"""The cells of `compare` as lines of a job for the harness, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bulkpages.kernel.build import Kernel
from bulkpages.suite.trunk.cells import Cell
from bulkpages.suite.trunk.workloads import full_cells, quick_cells

__all__ = ["Found", "absent_because", "answers", "job", "measured_cells", "slots"]

# Pages that a cell hands out each time that the native kernel is asked, about; and how often it is in one start.
PAGES, REPEATS = 150_000, 8
# Fewest fills; as many as that are enough where a fill maps its pages, which takes milliseconds in user-mode Linux.
FEWEST = 64
_MAPS = ("z_erofs_gbuf_growsize",)
POOL_KINDS = {"page_pool01_fast_path": 1, "page_pool02_ptr_ring": 2, "page_pool03_slow": 3}
#: What is subtracted: two readings of the clock with a call of nothing between.
FRAME = "frame"


@dataclass(frozen=True)
class Found:
    """What the harness says about a cell.

    Attributes:
        mean: Clock counts per fill, or per operation of a page_pool loop.
        median: Of means over 32 fills.
        least: Of single fills.
        times: Fills.
        filled: Slots that hold a page afterwards.
    """

    mean: float
    median: float
    least: float
    times: int
    filled: int


def slots(cell: Cell) -> str:
    """The array before each fill: `x` a page, `.` a hole."""
    if cell.shape:
        return cell.shape
    if not cell.period:
        return "." * cell.slots
    return "".join("x" if i % cell.period else "." for i in range(cell.slots))


def measured_cells(quick: bool = False) -> list[Cell]:
    """The cells of `compare` that can be asked of a kernel at all."""
    return [cell for cell in (quick_cells() if quick else full_cells()) if not _impossible(cell)]


def _impossible(cell: Cell) -> str:
    conditions = cell.conditions
    if conditions.trylock_loss or conditions.page_owner or conditions.nodes or conditions.above_low is not None:
        return "the harness does not set this condition"
    if cell.caller == "virtiovf_add_migration_pages":
        return "virtiovf_add_migration_pages() needs a device"
    return ""


def absent_because(kernel: Kernel, cell: Cell) -> str:
    """Why this kernel cannot be asked for a cell; empty when it can."""
    return _impossible(cell) or kernel.absent.get(cell.caller or "", "")


def job(cells: Iterable[Cell], *, times: int | None = None, repeats: int = 1) -> str:
    """Lines that measure these cells.

    Args:
        cells: Which.
        times: Fills of each; about as many as make a steady mean natively when None.
        repeats: How often the whole list is gone through.
    """
    lines = [f"cell {FRAME} empty warm {times or 8192} ."]
    for cell in cells:
        if cell.bench:
            lines.append(f"pool {cell.name} {POOL_KINDS[cell.bench]} {(times or 1000) * 64}")
            continue
        picture = slots(cell)
        count = times or (FEWEST if cell.caller in _MAPS else max(FEWEST, min(8192, PAGES // len(picture))))
        condition = "cold" if cell.conditions.cold else "warm"
        lines.append(f"cell {cell.name} {cell.caller or 'core'} {condition} {count} {picture}")
    return "room 1\n" + ("\n".join(lines) + "\n") * repeats


_CELL = re.compile(r"^cell (\S+) times=(\d+) filled=(\d+) sum=(\d+) least=(\d+) block=(\d+) median=(\d+)$", re.M)


def answers(text: str) -> tuple[dict[str, list[Found]], dict[str, str]]:
    """What the harness found each time, and why it did not, by the cell's name; the frame is subtracted."""
    found: dict[str, list[Found]] = {}
    frame = 0
    for name, times, filled, total, least, block, median in _CELL.findall(text):
        if name == FRAME:
            frame = int(least)
            continue
        # A loop of many operations between two readings: the frame is nothing there.
        off = frame if int(block) else 0
        mean = int(total) / int(times) - off
        middle = int(median) / int(block) - off if int(block) else mean
        found.setdefault(name, []).append(Found(mean, middle, max(0, int(least) - off), int(times), int(filled)))
    return found, dict(re.findall(r"^none (\S+) (.*)$", text, re.M))
