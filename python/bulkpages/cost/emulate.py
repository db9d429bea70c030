"""How often each step is taken in a fill: the emulator does what the kernel did when it was measured.

A fill is made again and again on the state of the measured kernel: the array keeps its pages, the holes are made anew
by freeing what stands in them, slot by slot. The counts are the mean of the fills alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bulkpages import _core
from bulkpages.cost import data
from bulkpages.cost.steps import amounts
from bulkpages.errors import InvalidArgument
from bulkpages.machine import Machine

__all__ = ["CONDITIONS", "FORMS", "Series", "check_fill"]

#: Conditions of a fill: lists as the fill before left them; emptied before each; their lock held by somebody else.
CONDITIONS = ("warm", "cold", "trylock lost")
#: Callers and their forms.
FORMS: dict[str, tuple[str, ...]] = {
    name: tuple("v1" if f == "before" else "v2" if f == "after" else f for f in forms)
    if name == "core"
    else tuple(forms)
    for name, forms in _core.fillers()
}
#: Slots of the largest array that is answered for, beyond what was measured.
MAX_SLOTS = 1 << 16
#: Slots of `rq_pages`: `svc_alloc_arg()` fills no more.
SVC_SLOTS = 259
# Fills of a row, as in the kernel, and slots of all of them for arrays that were never measured.
FILLS, SLOTS = 100, 51200
# Code that compacts and counts its slots in 32 bits.
NARROW = frozenset({"btrfs_alloc_page_array", "core"})


def check_fill(caller: str, form: str, pattern: str, condition: str) -> None:
    """Refuses what is no fill.

    Raises:
        InvalidArgument: Unknown caller, form or condition, a character that is neither x nor `.`, an array that is too
            large, or one that the caller never has.
    """
    for name, value in (("caller", caller), ("form", form), ("pattern", pattern), ("condition", condition)):
        if not isinstance(value, str):
            raise InvalidArgument(f"{name} must be a text, not {value!r}")
    if caller not in FORMS:
        raise InvalidArgument(f"caller {caller!r} is not one of {', '.join(FORMS)}")
    if form not in FORMS[caller]:
        raise InvalidArgument(f"form {form!r} of {caller} is not one of {', '.join(FORMS[caller])}")
    if condition not in CONDITIONS:
        raise InvalidArgument(f"condition {condition!r} is not one of {', '.join(CONDITIONS)}")
    if not 1 <= len(pattern) <= MAX_SLOTS:
        raise InvalidArgument(f"a pattern of {len(pattern)} slots is outside 1..={MAX_SLOTS}")
    for at, slot in enumerate(pattern):
        if slot not in "x.":
            raise InvalidArgument(f"slot {at} of the pattern is {slot!r}: x is a page, . a hole")
    if caller == "svc_alloc_arg" and len(pattern) > SVC_SLOTS:
        raise InvalidArgument(f"a pattern of {len(pattern)} slots: svc_alloc_arg fills {SVC_SLOTS} at most")


class Series:
    """Fills on one machine, one after the other, as a measurement makes them: each begins where the last one ended.

    Args:
        state: Of a kernel before the first fill; that of the kernel that the stored rows are of when None.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._machine = Machine.from_snapshot(data.start_state() if state is None else state)

    def amounts(self, caller: str, form: str, pattern: str, condition: str) -> dict[str, float]:
        """How often each step is taken in one fill, on average.

        Raises:
            InvalidArgument: As `check_fill`, or the machine of 512 MB has not the pages.
        """
        check_fill(caller, form, pattern, condition)
        fills = min(FILLS, max(3, SLOTS // len(pattern)))
        counts = _core.count_steps(
            self._machine,
            caller,
            {"v1": "before", "v2": "after"}.get(form, form),
            pattern,
            fills,
            cold=condition == "cold",
            trylock_loss=1.0 if condition == "trylock lost" else 0.0,
        )
        mean = {name: count / fills for name, count in counts.items()}
        if caller in NARROW:
            mean["narrow_stores"] = mean["caller_pages"]
        return amounts(mean)
