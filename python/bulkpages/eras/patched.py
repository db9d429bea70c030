"""What the patch of February 2025 does in each kernel: the same callers, mainline and patched, on machines of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bulkpages import _core
from bulkpages.callers.ports import port, run
from bulkpages.callers.shapes import fill_shape
from bulkpages.callers.tables import marks
from bulkpages.eras.rules import ERAS
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import names
from bulkpages.machine import Machine
from bulkpages.plain import table

__all__ = ["PatchByKernel", "patch"]

MEMORY = "256MiB"
# Fills over which what happens under locks is counted.
FILLS = 64


@dataclass(frozen=True)
class _Input:
    """What a caller is asked to do: its array, or how many pages it wants beside those that it has."""

    caller: str
    what: str
    shape: str = ""
    pages: int = 0
    have: int = 0


# Slots of one of sunrpc's arrays.
_SLOTS = 259
INPUTS = (
    _Input("svc_alloc_arg", "259 slots, all NULL", "." * _SLOTS),
    _Input("svc_alloc_arg", "259 slots, 2 holes", "." + "x" * 128 + "." + "x" * 129),
    _Input("svc_fill_pages", "2 ranges, all NULL", "." * 2 * _SLOTS),
    _Input("svc_fill_pages", "2 ranges, 1 hole each", 2 * ("." + "x" * (_SLOTS - 1))),
    _Input("btrfs_alloc_page_array", "16 slots, all NULL", "." * 16),
    _Input("btrfs_alloc_page_array", "64 slots, 4 pages in front", "x" * 4 + "." * 60),
    _Input("btrfs_alloc_page_array", "64 slots, every 8th a hole", ".xxxxxxx" * 8),
    _Input("z_erofs_gbuf_growsize", "16 to 256 pages", pages=256, have=16),
    _Input("xfs_buf_alloc_pages", "16 pages", pages=16),
    _Input("virtiovf_add_migration_pages", "256 pages", pages=256),
)
FORMS = ("before", "after", "tracked")
COUNTS = ("calls", "slot_work", "new_pages", "locked_slot_tests", "locked_pages")


@dataclass(frozen=True, repr=False)
class PatchByKernel:
    """What the patch does in each kernel.

    Attributes:
        rows: One dict for each input, form and kernel: `caller`, `input`, `form`, `kernel`, `calls` (bulk calls),
            `slot_work` (slots read, stored and cleared, in the call and in the caller) and `new_pages`.
            `locked_slot_tests` and `locked_pages` are medians of 64 fills, under the lock of the per-CPU lists; None
            where they are not counted.
        marks: One dict for each caller, form and kernel: the `slots` passed to its first call, and the `mark` that the
            zone must be above for the batch path, in pages above LOW.
    """

    rows: Sequence[dict[str, Any]]
    marks: Sequence[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"schema": "bulkpages.patch-by-kernel/1", "rows": list(self.rows), "marks": list(self.marks)}

    def __repr__(self) -> str:
        return f"<PatchByKernel {', '.join(dict.fromkeys(row['kernel'] for row in self.rows))}: {len(self.rows)} rows>"

    def text(self) -> str:
        """The two tables as text. Kernels with the same values share a line."""
        lines = [
            'One fill on a freshly booted machine. Columns "locked" are medians of 64 fills, under the lock of the '
            "per-CPU lists.",
            "",
            _folded(
                self.rows,
                ("caller", "input", "form"),
                COUNTS,
                ["caller", "input", "form", "kernel", "calls", "slot work", "pages", "locked tests", "locked pages"],
            ),
            "",
            "Pages above LOW that a zone must have for the first call to take the batch path:",
            "",
            _folded(
                self.marks,
                ("caller", "input", "form"),
                ("slots", "mark"),
                ["caller", "input", "form", "kernel", "slots passed", "mark"],
            ),
        ]
        return "\n".join(lines)


def _folded(rows: Sequence[dict[str, Any]], keys: Sequence[str], values: Sequence[str], head: Sequence[str]) -> str:
    """A table in which kernels with the same values share a line."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for row in rows:
        shown = ("-" if row[value] is None else row[value] for value in values)
        found.setdefault((*(row[key] for key in keys), *shown), []).append(row["kernel"])
    every = len(dict.fromkeys(row["kernel"] for row in rows))
    n = len(keys)
    lines = [
        [*line[:n], "all" if len(kernels) == every > 1 else ", ".join(kernels), *line[n:]]
        for line, kernels in found.items()
    ]
    order = {key: at for at, key in enumerate(dict.fromkeys(tuple(line[:n]) for line in lines))}
    return table(head, sorted(lines, key=lambda line: order[tuple(line[:n])]))


def _locked(given: _Input, form: str, kernel: str) -> tuple[int | None, int | None]:
    """Slots tested and pages taken under the lock of the per-CPU lists."""
    if form not in dict(_core.fillers()).get(given.caller, ()):
        return None, None
    shape = given.shape or "x" * given.have + "." * (given.pages - given.have)
    machine = Machine(MEMORY, kernel=kernel)
    seen = _core.window_fill(machine, given.caller, form, shape, FILLS, cold=False)
    return round(median(seen["pcp_tests"])), round(median(seen["pcp_pages"]))


def _row(given: _Input, form: str, kernel: str) -> dict[str, Any]:
    machine = Machine(MEMORY, kernel=kernel)
    array = fill_shape(machine, given.shape) if given.shape else None
    pages = len(given.shape) or given.pages
    had = sum(slot == "x" for slot in given.shape) + given.have
    done = run(machine, given.caller, array, pages=pages, have=given.have, form=form)
    locked_tests, locked_pages = _locked(given, form, kernel)
    return {
        "caller": given.caller,
        "input": given.what,
        "form": form,
        "kernel": kernel,
        "calls": len(done.bulk_calls),
        "slot_work": done.slot_tests + done.slot_writes + done.slot_clears,
        "new_pages": sum(page != 0 for page in done.array) - had,
        "locked_slot_tests": locked_tests,
        "locked_pages": locked_pages,
    }


def _rows(kernels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for given in INPUTS:
        for form in FORMS:
            if form in port(given.caller).forms:
                yield from (_row(given, form, kernel) for kernel in kernels)


def patch(kernels: str | Sequence[str] = ()) -> PatchByKernel:
    """Runs callers with and without the patch of February 2025, on machines of each kernel.

    The callers are those of the patch. sunrpc also runs in its later forms, which remember their holes: one array
    (`tracked`) and two ranges (`svc_fill_pages`). The result has no times, so it is the same on every machine.

    Args:
        kernels: One or several eras; all of them if empty.

    Raises:
        InvalidArgument: An unknown kernel.

    Example:
        >>> import bulkpages as bp
        >>> found = bp.eras.patch("7.3")
        >>> {row["slot_work"] for row in found.rows if row["caller"] == "svc_fill_pages" and row["form"] == "after"}
        {2, 518}
    """
    wanted = names("a kernel", kernels) or list(ERAS)
    for kernel in wanted:
        if kernel not in ERAS:
            raise InvalidArgument(f"kernel {kernel!r} is not one of {', '.join(ERAS)}")
    passed = [{"kernel": kernel, **row} for kernel in wanted for row in marks(kernel)]
    return PatchByKernel(list(_rows(wanted)), passed)
