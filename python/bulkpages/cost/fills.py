"""What a fill costs in the kernel: measured where it was, predicted everywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from bulkpages.cost import data, model
from bulkpages.cost.answers import Difference, Instructions
from bulkpages.cost.emulate import CONDITIONS, Series, check_fill
from bulkpages.errors import InvalidArgument

__all__ = ["answer", "fill", "fill_difference", "of"]


@lru_cache(maxsize=4096)
def _taken(caller: str, form: str, pattern: str, condition: str) -> Mapping[str, float]:
    return Series().amounts(caller, form, pattern, condition)


def beyond(form: str, pattern: str) -> bool:
    """Whether a fill is beyond what was fitted: a larger array, or a form that no measured kernel has."""
    return len(pattern) > data.costs()["largest"] or form == "v3"


def answer(key: data.Key, taken: Mapping[str, float], kind: str, *, predicted_only: bool) -> Instructions:
    """The cost of a fill from what is known of it: the measurement, if there is one and it may be used."""
    _caller, form, condition, pattern = key
    if not predicted_only and (values := data.measured_fills().get(key)):
        return model.measured(values[0], taken, condition, fewest=data.fewest().get(key))
    return model.predict(taken, kind, extrapolated=beyond(form, pattern))


def fill(
    caller: str,
    form: str,
    pattern: str,
    condition: str = "warm",
    *,
    kernel: str = data.KERNEL,
    predicted_only: bool = False,
) -> Instructions:
    """Kernel instructions of one fill: the mean over many.

    Args:
        caller: A kernel function ("svc_alloc_arg", ...) or "core", the bulk API alone.
        form: "before", "after", "tracked" and so on; "v1", "v2" and "v3" for "core".
        pattern: The array before the fill: `x` is a page, `.` a hole.
        condition: "warm", "cold" (the lists are drained before each fill) or "trylock lost" (their lock is held).
        kernel: The kernel's version.
        predicted_only: Whether to predict even what was measured.

    Returns:
        The cost per fill; `source` says whether it was measured. A cold fill depends on which blocks earlier fills left
        free. `rows` knows these fills. This function does not, so its interval is wider.

    Raises:
        InvalidArgument: An unknown caller, form, condition, character or kernel, or an array that this caller never
            has.
    """
    data.need_kernel(kernel)
    check_fill(caller, form, pattern, condition)
    key = (caller, form, condition, pattern)
    return answer(key, _taken(caller, form, pattern, condition), f"{condition} alone", predicted_only=predicted_only)


def fill_difference(
    caller: str,
    base: str,
    form: str,
    pattern: str,
    condition: str = "warm",
    *,
    kernel: str = data.KERNEL,
    predicted_only: bool = False,
) -> Difference:
    """One form of a caller compared with another on the same array; arguments as for `fill`."""
    one = fill(caller, base, pattern, condition, kernel=kernel, predicted_only=predicted_only)
    other = fill(caller, form, pattern, condition, kernel=kernel, predicted_only=predicted_only)
    return model.difference(one, other, f"{condition} alone")


def of(counts: Mapping[str, float], *, kernel: str = data.KERNEL) -> Instructions:
    """Kernel instructions of one run, from its counts. Works for your own callers too.

    Args:
        counts: `CallerResult.steps`; `CallerResult.cost()` is the same.
        kernel: The kernel's version.

    Returns:
        The cost of the run. It includes only the steps of the model, not other work of a caller such as mapping or
        waiting.

    Raises:
        InvalidArgument: A count is missing, unknown, negative or not a number.
    """
    from bulkpages.cost.steps import COUNTS, amounts

    data.need_kernel(kernel)
    if not isinstance(counts, Mapping):
        raise TypeError(f"counts must be a mapping of names to numbers, not {type(counts).__name__}")
    for name in counts:
        if name not in COUNTS:
            raise InvalidArgument(f"count {name!r} is not one of {', '.join(sorted(COUNTS))}")
    for name in COUNTS:
        if name not in counts and name != "narrow_stores":
            raise InvalidArgument(f"count {name!r} is missing")
        value = counts.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
            raise InvalidArgument(f"count {name!r} is {value!r}: a number of 0 or more is needed")
    warm, cold, lost = CONDITIONS
    condition = lost if counts["lost"] else cold if counts["refills"] else warm
    return model.predict(amounts(counts), f"{condition} alone")
