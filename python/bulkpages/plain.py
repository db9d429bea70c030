"""Plain tables."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in plain text: numbers to the right, the rest to the left."""
    cells = [[str(cell) for cell in row] for row in rows]
    width = [max(len(head[i]), *(len(row[i]) for row in cells), 0) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, width, right, strict=True)
        ).rstrip()

    return "\n".join([line(head), line(["-" * w for w in width]), *(line(row) for row in cells)])
