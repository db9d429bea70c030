"""How long others are kept out, in instructions: which steps run under a lock or with interrupts off."""

from __future__ import annotations

from bulkpages.cost.answers import Instructions
from bulkpages.cost.steps import KINDS, PCP, ZONE
from bulkpages.errors import InvalidArgument
from bulkpages.kinds import need

__all__ = ["LOCKINGS", "inside", "interrupts_off"]

#: Builds of the kernel: which lock keeps interrupts off.
LOCKINGS = {"SMP": frozenset({ZONE}), "UP": frozenset({PCP, ZONE}), "PREEMPT_RT": frozenset[str]()}


def _under(cost: Instructions, locks: frozenset[str]) -> float:
    need("cost", cost, Instructions)
    return sum(n for name, n in cost.steps.items() if KINDS[name].inside & locks)


def inside(cost: Instructions, lock: str) -> float:
    """Instructions of a fill that run under a lock, in total.

    Args:
        cost: A cost, as returned by `fill` or another function.
        lock: "pcp lock" (of the executing CPU's lists) or "zone lock". Refills run under both.

    Raises:
        InvalidArgument: No such lock.
    """
    if lock not in (PCP, ZONE):
        raise InvalidArgument(f"lock {lock!r} is not one of {PCP}, {ZONE}")
    return _under(cost, frozenset({lock}))


def interrupts_off(cost: Instructions, locking: str) -> float:
    """Instructions of a fill that run with interrupts off, in total.

    Args:
        cost: A cost, as returned by `fill` or another function.
        locking: "SMP" (the zone lock disables interrupts), "UP" (both locks do) or "PREEMPT_RT" (neither does: both
            sleep).

    Raises:
        InvalidArgument: No such locking.
    """
    need("locking", locking, str)
    if locking not in LOCKINGS:
        raise InvalidArgument(f"locking {locking!r} is not one of {', '.join(LOCKINGS)}")
    return _under(cost, LOCKINGS[locking])
