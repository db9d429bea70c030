"""The steps that a fill is made of, and how often each is taken, from the emulator's counts.

Kernel: `mm/page_alloc.c`, `alloc_pages_bulk_noprof()` in its array form and what it calls (v6.12); the compaction loop
that the patch adds to callers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["COUNTS", "KINDS", "Kind", "Step", "amounts"]

PCP, ZONE = "pcp lock", "zone lock"

#: Names of the counts that steps are made of.
COUNTS = frozenset(
    {
        "batches",
        "bulk_singles",
        "caller_clears",
        "caller_nulls",
        "caller_pages",
        "caller_stores",
        "calls",
        "fallbacks",
        "gates",
        "looking_calls",
        "lost",
        "narrow_stores",
        "pages",
        "refilled",
        "refills",
        "singles",
        "singles_listed",
        "skipped_first",
        "skipped_locked",
        "slot_clears",
        "split_blocks",
        "split_halves",
        "tested_locked",
    }
)


@dataclass(frozen=True)
class Kind:
    """A step without its cost: what it is, and how often it is taken.

    Attributes:
        meaning: What the kernel does in this step.
        unit: What the step is counted per.
        inside: Locks that are held while it runs.
        amount: How often, from the counts of `_core.count_steps`.
    """

    meaning: str
    unit: str
    inside: frozenset[str]
    amount: Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Step:
    """A step of the model.

    Attributes:
        name: Its name.
        meaning: What the kernel does in this step.
        unit: What the step is counted per.
        instructions: Kernel instructions per unit: the fitted coefficient.
        error: Standard error of that number.
        inside: Locks held while it runs: "pcp lock" (of the executing CPU's lists), "zone lock".
    """

    name: str
    meaning: str
    unit: str
    instructions: float
    error: float
    inside: frozenset[str]


def _kind(meaning: str, unit: str, amount: str | Callable[[Mapping[str, float]], float], *inside: str) -> Kind:
    count = (lambda counts: counts[amount]) if isinstance(amount, str) else amount
    return Kind(meaning, unit, frozenset(inside), count)


#: The steps, by name, in the order of a fill.
KINDS: Mapping[str, Kind] = {
    "fill": _kind("the caller's function around its calls: entry, exit, comparing results", "fill", lambda _: 1.0),
    "clear call": _kind(
        "memset() of the array: entry and exit", "memset", lambda c: float(math.ceil(c["slot_clears"] / 512))
    ),
    "clear": _kind("one slot cleared by memset()", "slot", "slot_clears"),
    "compact page": _kind("the caller's compaction: a slot with a page is tested and stored", "slot", "caller_pages"),
    "compact move": _kind(
        "the caller's compaction: a page came from another slot, which becomes NULL", "page moved", "caller_clears"
    ),
    "compact hole": _kind("the caller's compaction: a NULL slot is skipped", "slot", "caller_nulls"),
    "narrow index": _kind(
        "the caller's compaction: a 32-bit counter is widened to serve as an index",
        "slot with a page",
        "narrow_stores",
    ),
    "call": _kind("a bulk call: arguments, frame, return", "call", "calls"),
    "first look": _kind(
        "a mainline call: starting and ending the search for the first NULL slot", "call", "looking_calls"
    ),
    "prefix slot": _kind("a slot with a page is skipped before the zone is chosen", "slot", "skipped_first"),
    "batch": _kind("choosing the zone, taking and releasing the lists' lock, counting the pages", "call", "batches"),
    "page": _kind("a page is taken from the list, prepared and stored", "page", "pages", PCP),
    "slot test": _kind("mainline's loop finds a slot NULL", "page", "tested_locked", PCP),
    "loop slot": _kind("mainline's loop skips a slot with a page", "slot", "skipped_locked", PCP),
    "refill": _kind(
        "refilling an empty list: choosing the number of pages, taking and releasing the zone lock",
        "refill",
        "refills",
        PCP,
        ZONE,
    ),
    "refill page": _kind("a page moves from the buddy lists to the list", "page", "refilled", PCP, ZONE),
    "split": _kind("finding a block one order higher and halving it", "half given back", "split_halves", ZONE),
    "lost lock": _kind(
        "choosing the zone, then failing to get the lists' lock", "call", lambda c: c["gates"] - c["batches"]
    ),
    "single page": _kind("a page by the single-page path, where a call for one page ends up", "page", "singles"),
    "buddy page": _kind(
        "extra cost when that page comes from the buddy lists because the lists' lock is lost again",
        "page",
        lambda c: c["singles"] - c["singles_listed"],
        ZONE,
    ),
}


def amounts(counts: Mapping[str, float]) -> dict[str, float]:
    """How often each step is taken.

    Args:
        counts: As `_core.count_steps` gives them, of one fill. "narrow_stores" may be left out.
    """
    whole = {"narrow_stores": 0, **counts}
    return {name: float(kind.amount(whole)) for name, kind in KINDS.items()}
