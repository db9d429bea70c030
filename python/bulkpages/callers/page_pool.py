"""`net/core/page_pool.c`: a working page_pool, and the three loops of `bench_page_pool_simple`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from bulkpages import _core

if TYPE_CHECKING:
    from bulkpages.machine import Machine

__all__ = [
    "PagePool",
    "TimeBench",
    "time_bench_page_pool01_fast_path",
    "time_bench_page_pool02_ptr_ring",
    "time_bench_page_pool03_slow",
]


class PagePool(_core.PagePool):
    """A page_pool without a device: a cache of 128 slots, a ring, and hold and release counts.

    The slow path refills the cache with one bulk call for 64 pages (`GFP_ATOMIC | __GFP_NOWARN`, nearest node).
    "before" clears these 64 slots first and calls v1; "after" and "v3" call v2.

    Args:
        machine: The machine.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
        pool_size: Slots of the ring, 1 to 32768.

    Pages that are not put back stay with the driver. When the pool is destroyed or garbage-collected, the pages in its
    cache and ring return to the machine.
    """

    def __new__(cls, machine: Machine, *, form: str, cpu: int = 0, pool_size: int = 1024) -> Self:
        """Makes the pool; nothing is allocated yet."""
        return super().__new__(cls, machine, form_name=form, pool_size=pool_size, cpu=cpu)

    def _get(self, name: str, default: Any) -> Any:
        return self._info().get(name, default)

    @property
    def cache(self) -> Sequence[int]:
        """Frame numbers in the cache; the last is handed out first."""
        return cast("list[int]", self._get("cache", []))

    @property
    def hold_cnt(self) -> int:
        """Pages that entered the pool."""
        return cast("int", self._get("hold_cnt", 0))

    @property
    def release_cnt(self) -> int:
        """Pages that left it."""
        return cast("int", self._get("release_cnt", 0))

    @property
    def inflight(self) -> int:
        """Pages that entered the pool and have not left it: in the cache, in the ring or with drivers."""
        return cast("int", self._get("inflight", 0))

    @property
    def stats(self) -> Mapping[str, int]:
        """Counters under the kernel's names: fast, slow, empty, refill, waive, cached, ring, ..."""
        return cast("dict[str, int]", self._get("stats", {}))

    @property
    def bulk_calls(self) -> Sequence[tuple[int, int]]:
        """(slots passed, pages returned) of each bulk call so far."""
        return cast("list[tuple[int, int]]", self._get("bulk_calls", []))

    @property
    def trace(self) -> Sequence[str]:
        """`page_pool_state_hold` and `page_pool_state_release` lines so far."""
        return cast("list[str]", self._get("trace", []))

    @property
    def slot_tests(self) -> int:
        """Slots read so far to see whether they are NULL."""
        return cast("int", self._get("slot_tests", 0))

    @property
    def slot_writes(self) -> int:
        """Slots stored so far."""
        return cast("int", self._get("slot_writes", 0))

    @property
    def slot_clears(self) -> int:
        """Slots cleared so far by memset."""
        return cast("int", self._get("slot_clears", 0))

    @property
    def counts(self) -> Mapping[str, int]:
        """What the allocator did so far for the pool; names as in `CallerResult.counts`."""
        return cast("dict[str, int]", self._get("counts", {}))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a page_pool cannot be copied or pickled: its pages are its machine's")

    def _repr_html_(self) -> str:
        from bulkpages import draw

        return draw.pool(self)

    def __repr__(self) -> str:
        return f"<PagePool form={self.form} inflight={self.inflight} cached={len(self.cache)}>"


@dataclass(frozen=True)
class TimeBench:
    """How long a loop of the benchmark took in the emulator on this processor, not in a kernel.

    Attributes:
        name: The loop.
        form: The form of the refill.
        loops: Iterations.
        counts: Clock counts: cycles of the time stamp counter where there is one.
        ns: Nanoseconds.
    """

    name: str
    form: str
    loops: int
    counts: int
    ns: float

    @property
    def counts_per_loop(self) -> float:
        """Clock counts of one iteration."""
        return self.counts / self.loops

    @property
    def ns_per_loop(self) -> float:
        """Nanoseconds of one iteration."""
        return self.ns / self.loops


def _time_bench(machine: Machine, bench: str, loops: int, form: str, cpu: int) -> TimeBench:
    done, _, counts = _core.time_bench_page_pool(machine, form, bench, loops, cpu=cpu)
    return TimeBench(bench, form, done, counts, counts * _core.ns_per_count())


def time_bench_page_pool01_fast_path(machine: Machine, loops: int, *, form: str, cpu: int = 0) -> TimeBench:
    """Loop 01: allocate, then recycle directly into the cache. The page allocator is used only for the first pages.

    Args:
        machine: The machine.
        loops: Iterations, all inside Rust.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
    """
    return _time_bench(machine, "page_pool01_fast_path", loops, form, cpu)


def time_bench_page_pool02_ptr_ring(machine: Machine, loops: int, *, form: str, cpu: int = 0) -> TimeBench:
    """Loop 02: allocate, then put into the ring.

    Args:
        machine: The machine.
        loops: Iterations, all inside Rust.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
    """
    return _time_bench(machine, "page_pool02_ptr_ring", loops, form, cpu)


def time_bench_page_pool03_slow(machine: Machine, loops: int, *, form: str, cpu: int = 0) -> TimeBench:
    """Loop 03: allocate, then free. A bulk call for 64 pages is made every 64 iterations.

    Args:
        machine: The machine.
        loops: Iterations, all inside Rust.
        form: "before", "after" or "v3".
        cpu: CPU that executes.
    """
    return _time_bench(machine, "page_pool03_slow", loops, form, cpu)
