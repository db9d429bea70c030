"""The state of a machine as an explanation needs it, and changed copies of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkpages import _core
from bulkpages import gfp as flags
from bulkpages.errors import BulkpagesError
from bulkpages.formats.state.place import BLOCK, ORDERS
from bulkpages.formats.state.zones import zones_of

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["State", "lend", "lower_min_free", "lower_reserve", "merge", "without_boost"]

#: A change of a saved machine; False when it cannot be made.
Change = Callable[[dict[str, Any]], bool]


def _movable(gfp: int) -> bool:
    return bool(gfp & flags.__GFP_MOVABLE)


@dataclass
class State:
    """A machine at one moment, saved.

    Attributes:
        machine: The machine itself, which is only read.
        saved: What `Machine._save` gave, as objects.
        slots: The slots of `replay`, which travel along.
    """

    machine: Machine
    saved: dict[str, Any]
    slots: list[tuple[int, int]]

    @classmethod
    def of(cls, machine: Machine) -> State:
        """The state of a machine, which is not changed."""
        text, slots = machine._save()
        saved = json.loads(text)
        for owned in saved["owned"]:
            # A pool stays with the machine; in copies its pages are the user's.
            owned["pool"] = 0
        return cls(machine, saved, slots)

    @property
    def snapshot(self) -> dict[str, Any]:
        """The snapshot."""
        found: dict[str, Any] = self.saved["snapshot"]
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Zone names by index."""
        return zones_of(self.snapshot)

    def may_use_cma(self, gfp: int) -> bool:
        """`gfp_to_alloc_flags_cma()`: only movable pages may lie in CMA blocks."""
        return _movable(gfp) and not self.snapshot["facts"].get("mobility_disabled")

    def free_cma(self, zone: Mapping[str, Any]) -> dict[int, int]:
        """Free blocks of CMA in a zone, by order."""
        return {int(order): len(lists["4"]) for order, lists in zone["free"].items() if lists.get("4")}

    def zonelist(self, nid: int) -> list[dict[str, Any]]:
        """The zones of a node's zonelist, in order, with the place of each in the machine as "index"."""
        zones = {(z["nid"], z["idx"]): z | {"index": i} for i, z in enumerate(self.snapshot["zones"])}
        return [zones[n, idx] for n, idx in self.snapshot["zonelists"][str(nid)]]

    def copy(self, *changes: Change) -> Machine | None:
        """A machine of its own with the changes made; None if one cannot be made."""
        saved = copy.deepcopy(self.saved) if changes else self.saved
        for change in changes:
            if not change(saved):
                return None
        try:
            return _core.Machine.__new__(
                type(self.machine), saved=json.dumps(saved), saved_slots=self.slots, threads=self.machine.threads
            )
        except BulkpagesError:
            return None


def _taken(saved: Mapping[str, Any], zone: Mapping[str, Any]) -> list[tuple[int, int]]:
    """First frame and length of what is free, on a per-CPU list, or owned by the machine's user."""
    taken = [(at, 1 << int(order)) for order, lists in zone["free"].items() for heads in lists.values() for at in heads]
    for pcp in zone["pcp"].values():
        for index, pages in pcp["lists"].items():
            order = 9 if int(index) >= 12 else int(index) // 3
            # A page has its list's type behind it where pages keep one.
            taken += [(page[0], 1 << order) for page in pages]
    taken += [(owned["first"], 1 << owned["order"]) for owned in saved["owned"]]
    return sorted(taken)


def _gaps(saved: Mapping[str, Any], zone: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Ranges of managed frames that somebody else uses, as (first, end)."""
    end = zone["start"] + zone["spanned"]
    at = end - zone["managed"]
    for first, length in _taken(saved, zone):
        if first > at:
            yield at, min(first, end)
        at = max(at, first + length)
    if at < end:
        yield at, end


def _types(zone: Mapping[str, Any]) -> Callable[[int], int]:
    """The type of the pageblock of a frame."""
    first = zone["start"] // BLOCK
    types = [kind for kind, number in zone["pageblocks"] for _ in range(number)]
    return lambda frame: types[frame // BLOCK - first]


def _spots(saved: Mapping[str, Any], zone: Mapping[str, Any], order: int) -> Iterator[tuple[int, int]]:
    """Type and frame of blocks that could become free without merging: beside each, a used one of the same order."""
    kind_of = _types(zone)
    size = 1 << min(order + 1, ORDERS - 1)
    for first, end in _gaps(saved, zone):
        for at in range(-(-first // size) * size, end - size + 1, size):
            kinds = {kind_of(frame) for frame in range(at, at + (1 << order), BLOCK)}
            if len(kinds) == 1 and max(kinds) <= 2:
                yield kinds.pop(), at


def _put(zone: dict[str, Any], order: int, kind: int, at: int) -> None:
    heads = zone["free"].setdefault(str(order), {}).setdefault(str(kind), [])
    heads.append(at)
    heads.sort()


def lend(zone: int, pages: int, order: int = 0) -> Change:
    """`pages` more free pages in a zone, as if somebody gave them back, in blocks of this order and below."""

    def change(saved: dict[str, Any]) -> bool:
        of = saved["snapshot"]["zones"][zone]
        left = pages
        for size in reversed(range(order + 1)):
            if not left >> size:
                continue
            for kind, at in list(_spots(saved, of, size)):
                if not left >> size:
                    break
                _put(of, size, kind, at)
                left -= 1 << size
        of["nr_free"] += pages - left
        return left == 0

    return change


def merge(zone: int, order: int) -> Change:
    """One more free block of this order out of smaller ones, as compaction makes it; no more pages are free."""

    def change(saved: dict[str, Any]) -> bool:
        of = saved["snapshot"]["zones"][zone]
        spot = next(_spots(saved, of, order), None)
        if spot is None:
            return False
        left = 1 << order
        for size in reversed(range(order)):
            for kind in ("1", "2", "0"):
                heads = of["free"].get(str(size), {}).get(kind, [])
                while heads and left >> size:
                    heads.pop()
                    left -= 1 << size
        _put(of, order, *spot)
        return left == 0

    return change


def lower_min_free(factor: float, names: tuple[str, ...]) -> Change:
    """Marks as with a smaller `vm.min_free_kbytes`; what `vm.watermark_scale_factor` holds up stays."""

    def change(saved: dict[str, Any]) -> bool:
        for zone in saved["snapshot"]["zones"]:
            if names[zone["idx"]] in ("Movable", "HighMem"):
                continue
            step = zone["low"] - zone["min"]
            least = int(zone["min"] * factor)
            if step <= zone["min"] // 4 + 1:
                step = max(least // 4, zone["managed"] // 1000)
            zone.update(min=least, low=least + step, high=least + 2 * step, promo=least + 3 * step)
        return True

    return change


def lower_reserve(factor: float) -> Change:
    """Reserves as with larger `vm.lowmem_reserve_ratio`."""

    def change(saved: dict[str, Any]) -> bool:
        for zone in saved["snapshot"]["zones"]:
            zone["lowmem_reserve"] = [int(pages * factor) for pages in zone["lowmem_reserve"]]
        return True

    return change


def without_boost(saved: dict[str, Any]) -> bool:
    """No zone's marks are boosted, as with `vm.watermark_boost_factor` 0."""
    for zone in saved["snapshot"]["zones"]:
        zone["boost"] = 0
    return True
