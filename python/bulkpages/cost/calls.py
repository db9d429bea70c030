"""What a page costs in the loops around the bare calls, and an operation in those around a page_pool.

The loops are those that `data/timings.json` was measured with: fill an array, free it, again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bulkpages.cost import data, model
from bulkpages.cost.answers import Difference, Instructions
from bulkpages.cost.emulate import MAX_SLOTS
from bulkpages.cost.fills import _taken, beyond
from bulkpages.cost.steps import KINDS
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need_within

__all__ = ["call", "call_difference", "pool", "pool_difference"]

APIS = ("single", "v1", "v2")


def _pattern(nr_pages: int, hole_period: int) -> str:
    return "".join("x" if hole_period and i % hole_period else "." for i in range(nr_pages))


def _steps(api: str, pattern: str) -> Mapping[str, float]:
    if api != "single":
        return _taken("core", api, pattern, "warm")
    # One call for each hole, from the lists; the loop passes slots as the bulk call does.
    return {
        **dict.fromkeys(KINDS, 0.0),
        "single page": float(pattern.count(".")),
        "prefix slot": float(pattern.count("x")),
    }


def call(
    api: str, nr_pages: int, hole_period: int = 0, *, kernel: str = data.KERNEL, predicted_only: bool = False
) -> Instructions:
    """Kernel instructions per page, allocated into an array of `nr_pages` slots.

    Args:
        api: "single" (one call for each page), "v1" or "v2".
        nr_pages: Slots of the array.
        hole_period: 0 if all slots are NULL; k if every k-th slot is NULL and the others hold a page.
        kernel: The kernel series. For 6.1 and 7.3 some loops were measured, but nothing is predicted.
        predicted_only: Whether to predict even what was measured.

    Returns:
        The cost per page, including clearing (v1 on NULL slots) and compaction (v2 on others).

    Raises:
        InvalidArgument: An unknown api or kernel, a size out of range, or a size that was not measured in a kernel
            without predictions.
    """
    if api not in APIS:
        raise InvalidArgument(f"api {api!r} is not one of {', '.join(APIS)}")
    need_within("nr_pages", nr_pages, 1, MAX_SLOTS)
    need_within("hole_period", hole_period, 0, MAX_SLOTS)
    pattern = _pattern(nr_pages, hole_period)
    pages = pattern.count(".")
    if kernel != data.KERNEL:
        return _elsewhere(api, nr_pages, hole_period, pages, kernel, predicted_only)
    taken = _steps(api, pattern)
    kind = "single" if api == "single" else "call"
    value = None if predicted_only else data.measured_pages().get((api, nr_pages, hole_period))
    if value is not None:
        return model.measured(value * pages, taken, kind, unit="page", units=pages)
    return model.predict(taken, kind, unit="page", units=pages, extrapolated=beyond(api, pattern))


def _elsewhere(
    api: str, nr_pages: int, hole_period: int, pages: int, kernel: str, predicted_only: bool
) -> Instructions:
    """What was measured in a kernel for which nothing is predicted."""
    found = data.loops_of(kernel).get((api, nr_pages, hole_period))
    if found is None or predicted_only:
        holes = f"every {hole_period}th slot a hole" if hole_period else "all slots NULL"
        raise InvalidArgument(
            f"{api} on {nr_pages} slots, {holes}, was not counted in {kernel}; "
            f"costs are predicted for {data.KERNEL} alone"
        )
    value = found * pages
    return replace(model.measured(value, {}, "call", unit="page", units=pages, fewest=value), kernel=kernel)


def call_difference(
    nr_pages: int,
    hole_period: int = 0,
    base: str = "v1",
    form: str = "v2",
    *,
    kernel: str = data.KERNEL,
    predicted_only: bool = False,
) -> Difference:
    """One API compared with another in the same loop; arguments as for `call`."""
    one = call(base, nr_pages, hole_period, kernel=kernel, predicted_only=predicted_only)
    other = call(form, nr_pages, hole_period, kernel=kernel, predicted_only=predicted_only)
    kind = "single" if "single" in (base, form) else "call"
    return model.difference(one, other, kind, units=_pattern(nr_pages, hole_period).count("."))


def pool(bench: str, api: str, *, kernel: str = data.KERNEL) -> Instructions:
    """Kernel instructions of one operation of a page_pool loop, as measured.

    Args:
        bench: "page_pool01_fast_path", "page_pool02_ptr_ring" or "page_pool03_slow".
        api: "v1" or "v2".
        kernel: The kernel's version.

    Raises:
        InvalidArgument: No such bench, api or kernel.
    """
    data.need_kernel(kernel)
    rows = data.measured_operations()
    if (bench, api) not in rows:
        benches, apis = (", ".join(sorted({key[i] for key in rows})) for i in (0, 1))
        raise InvalidArgument(f"bench {bench!r} with api {api!r}: there are {benches}, with {apis}")
    return model.measured(rows[bench, api], {}, "pool", unit="op")


def pool_difference(bench: str, *, kernel: str = data.KERNEL) -> Difference:
    """v2 compared with v1 in a page_pool loop; arguments as for `pool`."""
    return model.difference(pool(bench, "v1", kernel=kernel), pool(bench, "v2", kernel=kernel), "pool")
