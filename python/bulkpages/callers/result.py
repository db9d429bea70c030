"""What a run of a caller left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulkpages._core import PageArray
    from bulkpages.cost import Instructions

__all__ = ["CallerResult"]

#: Bulk calls that a result shows of itself.
SHOWN_CALLS = 16


@dataclass(frozen=True)
class CallerResult:
    """The result of running a caller. Two results are equal if everything except `events` is equal.

    Attributes:
        ret: What the kernel function returned: 0 or a negative errno; True or False for `svc_alloc_arg`. None if the
            run ended because it used up its waits.
        gave_up: Whether the run ended because it used up its waits.
        array: The array that was filled; for erofs, xfs and vfio, the caller's own array. You own its pages and must
            free them.
        bulk_calls: (slots passed, value returned) of each bulk call, in order.
        bases: Index in the array of the first slot passed, for each bulk call.
        waits: Number of times that the caller slept.
        wait_ns: Virtual time slept, in nanoseconds.
        freed: Pages that the caller freed.
        trace: Trace lines of the caller, as the kernel formats them.
        slot_tests: Slots read to see whether they are NULL, in the API and in the caller.
        slot_writes: Slots stored, including compaction's self-stores and NULL stores.
        slot_clears: Slots cleared by memset.
        counts: Counts of what the allocator did: list_takes, refills, zone_locks, longest_hold_pages (pages moved
            under one zone lock hold), trylocks, trylock_failures, bulk_singles (bulk calls that ended in the
            single-page path), single_calls.
        stats: The caller's own statistics, by their kernel names.
        steps: The same counts, split by where in the kernel the work is done, because instructions depend on that; see
            `cost()`.
        events: What the allocator did, step by step, if requested.
    """

    ret: int | bool | None
    gave_up: bool
    array: PageArray
    bulk_calls: Sequence[tuple[int, int]]
    bases: Sequence[int]
    waits: int
    wait_ns: int
    freed: int
    trace: Sequence[str]
    slot_tests: int
    slot_writes: int
    slot_clears: int
    counts: Mapping[str, int]
    stats: Mapping[str, int]
    steps: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    events: Sequence[Mapping[str, Any]] = field(default=(), repr=False, compare=False)

    __hash__ = None  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able values, with the array as a list of frame numbers."""
        values = {name: value for name, value in vars(self).items() if name != "array"}
        return {**values, "array": list(self.array)}

    def cost(self) -> Instructions:
        """Kernel instructions of this run, predicted from its counts; see `bulkpages.cost`."""
        from bulkpages import cost

        return cost.of(self.steps)

    def _repr_html_(self) -> str:
        from bulkpages import draw

        return draw.result(self)

    def __repr__(self) -> str:
        calls = [str(call) for call in self.bulk_calls[:SHOWN_CALLS]]
        if len(self.bulk_calls) > SHOWN_CALLS:
            calls.append(f"... {len(self.bulk_calls)} calls")
        parts = [f"ret={self.ret}", f"bulk_calls=[{', '.join(calls)}]"]
        for name in ("waits", "freed", "slot_tests", "slot_writes", "slot_clears"):
            if value := getattr(self, name):
                parts.append(f"{name}={value}")
        if self.gave_up:
            parts.append("gave_up=True")
        return f"CallerResult({', '.join(parts)})"
