"""How fragmented free memory is: the kernel's two indices, `extfrag_index` and `unusable_index`.

Both are those of /sys/kernel/debug/extfrag (`mm/vmstat.c`, v6.12), which has them for each zone and order with three
decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkpages.kinds import need_within
from bulkpages.tables import Table, Tabular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fragmentation", "extfrag_index", "unusable_index"]

ORDERS = 11


def unusable_index(blocks: Sequence[int], order: int) -> float:
    """The fraction of free memory that requests of this order cannot use: 0 for none, 1 for all.

    Args:
        blocks: Free blocks of each order, from 0.
        order: Order of the request, 0 to 10.

    Raises:
        InvalidArgument: The order is out of range.
    """
    need_within("order", order, 0, ORDERS - 1)
    free = sum(count << at for at, count in enumerate(blocks))
    suitable = sum(count << at for at, count in enumerate(blocks) if at >= order)
    return 1.0 if free == 0 else (free - suitable) * 1000 // free / 1000


def extfrag_index(blocks: Sequence[int], order: int) -> float:
    """Why a request of this order would fail: near 0 for lack of memory, near 1 because of fragmentation.

    Args:
        blocks: Free blocks of each order, from 0.
        order: Order of the request, 0 to 10.

    Returns:
        -1 if a block that would satisfy it is free; 0 if nothing is free.

    Raises:
        InvalidArgument: The order is out of range.
    """
    need_within("order", order, 0, ORDERS - 1)
    total = sum(blocks)
    if total == 0:
        return 0.0
    if any(blocks[order:]):
        return -1.0
    free = sum(count << at for at, count in enumerate(blocks))
    return (1000 - (1000 + free * 1000 // (1 << order)) // total) / 1000


@dataclass(frozen=True, repr=False)
class Fragmentation(Tabular):
    """The free blocks of each zone by order, and the indices.

    Attributes:
        zones: The free blocks of each order, from 0, by zone names such as "Node 0 Normal".
    """

    zones: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Fragmentation:
        """The fragmentation of a snapshot."""
        zones = {}
        for zone in state["zones"]:
            lists = {int(order): by_type for order, by_type in zone["free"].items()}
            counts = [sum(map(len, lists.get(order, {}).values())) for order in range(ORDERS)]
            zones[f"Node {zone['nid']} {zone['name']}"] = counts
        return cls(zones)

    def to_table(self) -> Table:
        """A row for each zone and order: `zone`, `order`, `free_blocks`, `unusable_index`, `extfrag_index`."""
        return Table.from_rows(
            [
                {
                    "zone": zone,
                    "order": order,
                    "free_blocks": blocks[order],
                    "unusable_index": unusable_index(blocks, order),
                    "extfrag_index": extfrag_index(blocks, order),
                }
                for zone, blocks in self.zones.items()
                for order in range(ORDERS)
            ],
            title="fragmentation",
        )

    def plot(self, path: str | Path) -> None:
        """Plots the unusable fraction by order, with a line for each zone.

        Raises:
            InvalidArgument: matplotlib does not know the extension.
        """
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        from bulkpages.files import save_figure

        figure, axis = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
        for zone, blocks in self.zones.items():
            axis.plot(range(ORDERS), [unusable_index(blocks, order) for order in range(ORDERS)], marker="o", label=zone)
        axis.set(xlabel="order of the request", ylabel="share of free memory it cannot use", ylim=(-0.02, 1.02))
        axis.legend()
        try:
            save_figure(figure, path)
        finally:
            pyplot.close(figure)

    def _repr_html_(self) -> str:
        return self.to_table()._repr_html_()

    def __repr__(self) -> str:
        return f"<Fragmentation of {', '.join(self.zones)}>"

    def __str__(self) -> str:
        lines = [f"{'':16}" + "".join(f"{order:>8}" for order in range(ORDERS))]
        for zone, blocks in self.zones.items():
            rows = (
                ("free blocks", [f"{count}" for count in blocks]),
                ("unusable index", [f"{unusable_index(blocks, order):.3f}" for order in range(ORDERS)]),
                ("extfrag index", [f"{extfrag_index(blocks, order):.3f}" for order in range(ORDERS)]),
            )
            lines.append(zone)
            lines += [f"  {name:14}" + "".join(f"{value:>8}" for value in values) for name, values in rows]
        return "\n".join(lines)
