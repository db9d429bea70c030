"""What is compared: one cell is one workload that both versions run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMS", "Cell", "full_cells", "quick_cells"]

FORMS = ("v1", "v2")


@dataclass(frozen=True)
class Cell:
    """A workload.

    Attributes:
        name: Short, unique.
        nr_pages: Slots of the array; 0 for a page_pool loop.
        hole_period: 0: all slots are NULL; k: every k-th slot is a hole and the others keep their page.
        bench: Loop of the page_pool benchmark, where it is one.
    """

    name: str
    nr_pages: int = 0
    hole_period: int = 0
    bench: str | None = None

    @property
    def unit(self) -> str:
        """What cost is divided by."""
        return "op" if self.bench else "page"

    @property
    def reproduce(self) -> str:
        """The command that measures this cell."""
        return f"bulkpages compare --quick --cell {self.name}"


def _null(sizes: tuple[int, ...]) -> list[Cell]:
    return [Cell(f"null-{n}", n) for n in sizes]


def _holes(slots: int, periods: tuple[int, ...]) -> list[Cell]:
    return [Cell(f"holes-{slots}-every-{k}", slots, k) for k in periods]


POOL = [
    Cell("page_pool03_slow", bench="page_pool03_slow"),
    Cell("page_pool02_ptr_ring", bench="page_pool02_ptr_ring"),
    Cell("page_pool01_fast_path", bench="page_pool01_fast_path"),
]


def quick_cells() -> list[Cell]:
    """All-NULL arrays of five sizes, four hole patterns, and the page_pool loops.

    Loops 01 and 02 never reach the page allocator: they are controls, in which the versions cannot differ.
    """
    return [*_null((1, 2, 8, 64, 256)), *_holes(256, (2, 8, 32, 64)), *POOL]


def full_cells() -> list[Cell]:
    """More sizes and patterns."""
    return [
        *_null((1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
        *_holes(64, (2, 8, 32, 64)),
        *_holes(256, (2, 4, 8, 16, 32, 64, 128)),
        Cell("holes-259-every-259", 259, 259),
        *POOL,
    ]
