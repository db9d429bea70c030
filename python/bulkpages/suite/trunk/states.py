"""The states of a machine in which workloads run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bulkpages.machine import Machine
from bulkpages.states import kernel_of_state, take_down

__all__ = ["AS_RECORDED", "Conditions", "make_machine", "make_machines"]


@dataclass(frozen=True)
class Conditions:
    """The state of the machine.

    Attributes:
        cold: Per-CPU lists are drained before each fill.
        trylock_loss: Share of per-CPU trylocks that fail during fills.
        page_owner: CONFIG_PAGE_OWNER.
        nodes: A booted machine of so many nodes instead of the snapshot; 0 for the snapshot.
        above_low: Free pages of the highest zone are brought to about this much above its LOW mark; None to leave them.
    """

    cold: bool = False
    trylock_loss: float = 0.0
    page_owner: bool = False
    nodes: int = 0
    above_low: int | None = None

    def __str__(self) -> str:
        words = []
        if self.cold:
            words.append("cold lists")
        if self.trylock_loss:
            words.append(f"{self.trylock_loss:.0%} of trylocks lost")
        if self.page_owner:
            words.append("page owner")
        if self.nodes:
            words.append(f"{self.nodes} nodes")
        if self.above_low is not None:
            words.append(f"{self.above_low} pages above LOW")
        return ", ".join(words) or "as recorded"


#: The state as it was recorded, lists warm.
AS_RECORDED = Conditions()


def make_machine(snapshot: str, conditions: Conditions) -> Machine:
    """A machine in this state; `snapshot` is the path of a kernel state.

    Raises:
        SnapshotError: The state cannot be loaded.
    """
    if conditions.nodes:
        kernel = kernel_of_state(snapshot)
        machine = Machine("1GiB", cpus=2, nodes=conditions.nodes, page_owner=conditions.page_owner, kernel=kernel)
    else:
        machine = Machine.from_snapshot(snapshot, page_owner=conditions.page_owner)
    if conditions.above_low is not None:
        take_down(machine, conditions.above_low)
    return machine


def make_machines(snapshot: Path, wanted: list[Conditions]) -> dict[Conditions, Machine]:
    """A machine for each state; what differs from fill to fill shares one."""
    made: dict[tuple[object, ...], Machine] = {}
    found = {}
    for state in dict.fromkeys(wanted):
        key = (state.page_owner, state.nodes, state.above_low)
        if key not in made:
            made[key] = make_machine(str(snapshot), state)
        found[state] = made[key]
    return found
