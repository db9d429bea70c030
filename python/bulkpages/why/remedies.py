"""What would let a request succeed: small changes, each made on a copy of the machine and the request made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bulkpages import _core
from bulkpages import gfp as flags
from bulkpages.formats.state.place import ORDERS
from bulkpages.why.state import Change, State, lend, lower_min_free, lower_reserve, merge, without_boost

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = ["Ask", "Remedy", "remedies"]

#: Most pages that are looked at as "so many more free pages".
MOST_PAGES = 1 << 20


@dataclass(frozen=True)
class Remedy:
    """A change that was tried.

    Attributes:
        kind: "block", "pages", "sysctl", "flag", "order", "lists" or "bulk".
        what: The change in words.
        works: Whether the request succeeded with it.
        got: The result: the zone of the block, or "N of M pages".
    """

    kind: str
    what: str
    works: bool
    got: str

    def as_dict(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)


@dataclass(frozen=True)
class Ask:
    """A request that can be made on any copy; of a block, or with `bulk` of so many pages."""

    gfp: int
    order: int
    nid: int | None
    cpu: int
    bulk: int | None

    def make(self, machine: Machine) -> tuple[bool, str]:
        """Whether it succeeds, and what it brings."""
        if self.bulk is not None:
            array = _core.PageArray(self.bulk)
            got = machine.alloc_pages_bulk(self.gfp, array, api="v2", nid=self.nid, cpu=self.cpu)
            return got == self.bulk, f"{got} of {self.bulk} pages"
        pfn = machine.alloc_pages(self.gfp, self.order, nid=self.nid, cpu=self.cpu)
        if pfn is None:
            return False, "nothing"
        zone = next(z for z in machine.zones if z.start <= pfn < z.start + z.spanned)
        return True, f"a block from {zone.nid}.{zone.name}"


def _with(ask: Ask, **changes: Any) -> Ask:
    return Ask(**(asdict(ask) | changes))


def _other_flags(gfp: int, movable: bool) -> dict[str, int]:
    """Flags that go further, by what is different; `movable`: there is memory that serves movable pages only."""
    others = {
        "without __GFP_THISNODE": gfp & ~flags.__GFP_THISNODE,
        "without __GFP_DMA": gfp & ~flags.__GFP_DMA,
        "without __GFP_DMA32": gfp & ~flags.__GFP_DMA32,
        "with __GFP_HIGH": gfp | flags.__GFP_HIGH,
        "as GFP_ATOMIC": (gfp & ~flags.__GFP_DIRECT_RECLAIM) | flags.GFP_ATOMIC,
        "with __GFP_MEMALLOC": gfp | flags.__GFP_MEMALLOC,
    }
    if not gfp & flags.__GFP_RECLAIMABLE and movable:
        others["as a movable user page (__GFP_HIGHMEM | __GFP_MOVABLE)"] = (
            gfp & ~(flags.__GFP_DMA | flags.__GFP_DMA32) | flags.__GFP_HIGHMEM | flags.__GFP_MOVABLE
        )
    return others


class _Tries:
    """Tries of one request on one state."""

    def __init__(self, state: State, ask: Ask, zones: Sequence[Mapping[str, Any]]) -> None:
        self.state, self.ask, self.zones = state, ask, zones

    def attempt(self, kind: str, what: str, *changes: Change, ask: Ask | None = None) -> Remedy | None:
        """One change, tried; None where it cannot be made."""
        ask = ask or self.ask
        machine = self.state.copy(*changes)
        if machine is None:
            return None
        works, got = ask.make(machine)
        return Remedy(kind, what, works, got)

    def least(self, most: int, change: Callable[[int], Change]) -> int | None:
        """The smallest number up to `most` with which the request succeeds; None when there is none."""

        def works(number: int) -> bool:
            machine = self.state.copy(change(number))
            return machine is not None and self.ask.make(machine)[0]

        high = 1
        while high < most and not works(high):
            high *= 2
        high = min(high, most)
        if not works(high):
            return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if works(middle) else (middle, high)
        return high

    def blocks(self) -> Iterator[Remedy | None]:
        """A larger block out of the pages that are free."""
        if not self.ask.order:
            return
        failed = None
        for zone in self.zones:
            what = f"one free block of order {self.ask.order} in {_title(zone)} made from smaller ones (compaction)"
            tried = self.attempt("block", what, merge(zone["index"], self.ask.order))
            if tried is not None and tried.works:
                yield tried
                return
            failed = failed or tried
        yield failed

    def pages(self) -> Iterator[Remedy | None]:
        """More free pages in the zone that needs the fewest."""
        found: list[tuple[int, Mapping[str, Any]]] = []
        order = ORDERS - 1 if self.ask.bulk is not None else self.ask.order
        for zone in self.zones:
            most = min(zone["managed"], MOST_PAGES, found[0][0] if found else MOST_PAGES)
            number = self.least(most, lambda n, zone=zone: lend(zone["index"], n, order))  # type: ignore[misc]
            if number is not None and (not found or number < found[0][0]):
                found = [(number, zone)]
        for number, zone in found:
            block = f", a block of order {order} among them" if self.ask.order else ""
            what = f"{number} more free page{'s' * (number != 1)} in {_title(zone)}{block}"
            yield self.attempt("pages", what, lend(zone["index"], number, order))

    def sysctls(self) -> Iterator[Remedy | None]:
        """Lower marks and reserves, as far as needed."""
        names = self.state.names
        low = [z for z in self.state.snapshot["zones"] if names[z["idx"]] not in ("Movable", "HighMem")]
        now = 4 * sum(zone["min"] for zone in low)
        if now:
            steps = self.least(64, lambda n: lower_min_free(1 - n / 64, names))
            factor = 0.0 if steps is None else 1 - steps / 64
            what = f"vm.min_free_kbytes {int(now * factor)} instead of about {now}"
            yield self.attempt("sysctl", what, lower_min_free(factor, names))
        if any(any(zone["lowmem_reserve"]) for zone in self.zones):
            doublings = self.least(8, lambda n: lower_reserve(0.5**n))
            if doublings is None:
                yield self.attempt(
                    "sysctl", "vm.lowmem_reserve_ratio so high that nothing is reserved", lower_reserve(0)
                )
            else:
                what = f"vm.lowmem_reserve_ratio {2**doublings} times as high"
                yield self.attempt("sysctl", what, lower_reserve(0.5**doublings))
        if any(zone["boost"] for zone in self.zones):
            yield self.attempt("sysctl", "no boost (vm.watermark_boost_factor 0)", without_boost)

    def flags(self) -> Iterator[Remedy | None]:
        """Other flags."""
        normal = self.state.names.index("Normal")
        all_zones = self.state.snapshot["zones"]
        movable = any(zone["idx"] > normal or self.state.free_cma(zone) for zone in all_zones)
        for name, other in _other_flags(self.ask.gfp, movable).items():
            if other != self.ask.gfp:
                yield self.attempt("flag", name, ask=_with(self.ask, gfp=other))

    def smaller(self) -> Iterator[Remedy | None]:
        """Less at once."""
        for order in reversed(range(self.ask.order)):
            tried = self.attempt("order", f"order {order}", ask=_with(self.ask, order=order))
            if tried is not None and (tried.works or not order):
                yield tried
                break
        if self.ask.bulk is not None and self.ask.bulk > 2:
            # One page takes the single-page path and says nothing of the batch.
            low, high = 1, self.ask.bulk
            while high - low > 1:
                middle = (low + high) // 2
                machine = self.state.copy()
                works = machine is not None and _with(self.ask, bulk=middle).make(machine)[0]
                low, high = (middle, high) if works else (low, middle)
            if low > 1:
                yield self.attempt("bulk", f"{low} pages in one call", ask=_with(self.ask, bulk=low))

    def drained(self) -> Iterator[Remedy | None]:
        """What the lists of all CPUs hold, given back."""
        if any(pcp["count"] for zone in self.zones for pcp in zone["pcp"].values()):
            machine = self.state.copy()
            assert machine is not None
            for cpu in range(machine.cpus):
                machine.drain_local_pages(cpu)
            works, got = self.ask.make(machine)
            yield Remedy("lists", "the per-CPU lists of all CPUs drained", works, got)


def _title(zone: Mapping[str, Any]) -> str:
    return f"{zone['nid']}.{zone['name']}"


def remedies(state: State, ask: Ask, zones: Sequence[Mapping[str, Any]]) -> list[Remedy]:
    """The changes that were tried, those that work first.

    Args:
        state: The state.
        ask: The request.
        zones: The zones that may serve the request, in order.
    """
    tries = _Tries(state, ask, zones)
    found: list[Remedy] = []
    for kind in (tries.drained, tries.blocks, tries.pages, tries.sysctls, tries.flags, tries.smaller):
        found += [remedy for remedy in kind() if remedy is not None]
    return sorted(found, key=lambda remedy: not remedy.works)
