"""Arrays as callers find them: which slots hold a page and which are NULL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkpages import _core
from bulkpages._core import PageArray
from bulkpages.errors import InvalidArgument
from bulkpages.gfp import GFP_KERNEL
from bulkpages.kinds import need, need_within

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["REQUESTS", "fill_shape", "hole_shape"]

#: What a sunrpc request may be, by the names that `hole_shape` takes.
REQUESTS = ("small RPC", "READ by splice", "READ by iterator", "WRITE", "partial TCP record", "deferred replay")


def hole_shape(
    kind: str,
    slots: int,
    a: int | None = None,
    b: int | None = None,
    *,
    fraction: float | None = None,
    seed: int = 0,
) -> str:
    """A hole pattern as a picture: `x` is a page, `.` a hole.

    Args:
        kind: "empty", "full"; "prefix" (`a` pages in front); "periodic" (every `a`-th slot is a hole, starting with the
            first); "scattered" (`a` holes anywhere); "clustered" (`a` holes in `b` runs); "fraction" (a fraction of
            holes, anywhere); or what a sunrpc request leaves: "small RPC", "READ by splice", "READ by iterator",
            "WRITE", "partial TCP record", "deferred replay" (payloads of 1 MiB).
        slots: Slots of the array.
        a: First number, see `kind`.
        b: Second number, see `kind`.
        fraction: Fraction of holes, 0 to 1.
        seed: Seed of random patterns. The same seed gives the same pattern everywhere.

    Raises:
        InvalidArgument: An unknown kind, a missing number, or more pages or holes than slots.

    Example:
        >>> import bulkpages as bp
        >>> bp.callers.hole_shape("periodic", 8, 3)
        '.xx.xx.x'
    """
    if kind in ("prefix", "scattered") and a is not None:
        need_within(f"pages of a {kind} shape" if kind == "prefix" else f"holes of a {kind} shape", a, 0, slots)
    return _core.hole_shape(kind, slots, a, b, fraction=fraction, seed=seed)


def fill_shape(machine: Machine, shape: str, *, cpu: int = 0) -> PageArray:
    """An array of this shape, with pages taken from the machine one by one.

    Args:
        machine: The machine.
        shape: A picture: `x` is a page, `.` a hole.
        cpu: CPU that executes.

    Raises:
        InvalidArgument: Another character, or the machine has too few pages. No page stays allocated.
    """
    need("machine", machine, _core.Machine)
    need("shape", shape, str)
    if wrong := set(shape) - {"x", "."}:
        at = min(shape.index(c) for c in wrong)
        raise InvalidArgument(f"slot {at} of a shape is {shape[at]!r}, neither 'x' nor '.'")
    array = PageArray(len(shape))
    for i, mark in enumerate(shape):
        if mark == "x":
            pfn = machine.alloc_pages(GFP_KERNEL, cpu=cpu)
            if pfn is None:
                machine.free_bulk(array, cpu=cpu)
                raise InvalidArgument(f"the machine has no page for slot {i} of {len(shape)}")
            array[i] = pfn
    return array
