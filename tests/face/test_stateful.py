"""Random operations on a small machine: every step leaves a sound machine, and what is freed comes back."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import bulkpages as bp

GFPS = st.sampled_from(
    [bp.GFP_KERNEL, bp.GFP_ATOMIC, bp.GFP_NOWAIT, bp.GFP_HIGHUSER_MOVABLE, bp.GFP_DMA | 0x2800, bp.GFP_KERNEL | 0x10]
)
CPUS = st.integers(0, 1)


class Allocator(RuleBasedStateMachine):
    """The machine beside the simplest model of it: the set of what was handed out."""

    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.m = bp.Machine("24MiB", cpus=2)
        self.managed = self.m.audit().managed
        self.owned: dict[int, int] = {}

    def _own(self, pfn: int, order: int) -> None:
        for other, other_order in self.owned.items():
            assert pfn + (1 << order) <= other or other + (1 << other_order) <= pfn, "handed out twice"
        self.owned[pfn] = order

    @rule(target=blocks, gfp=GFPS, order=st.integers(0, 10), cpu=CPUS)
    def alloc(self, gfp: int, order: int, cpu: int) -> object:
        pfn = self.m.alloc_pages(gfp, order, cpu=cpu)
        if pfn is None:
            return multiple()
        self._own(pfn, order)
        return pfn

    @rule(target=blocks, gfp=GFPS, nr=st.integers(0, 300), api=st.sampled_from(["v1", "v2"]), cpu=CPUS)
    def bulk(self, gfp: int, nr: int, api: str, cpu: int) -> object:
        a = bp.PageArray(nr)
        n = self.m.alloc_pages_bulk(gfp, a, api=api, cpu=cpu)
        pages = [page for page in a if page]
        assert n == len(pages)
        for page in pages:
            self._own(page, 0)
        return multiple(*pages)

    @rule(pfn=consumes(blocks), cpu=CPUS)
    def free(self, pfn: int, cpu: int) -> None:
        self.m.free_pages(pfn, self.owned.pop(pfn), cpu=cpu)

    @rule(cpu=CPUS)
    def drain(self, cpu: int) -> None:
        self.m.drain_local_pages(cpu)

    @rule(pages=st.integers(0, 3), trylock=st.booleans(), gfp=GFPS, target=blocks)
    def faulty_bulk(self, pages: int, trylock: bool, gfp: int) -> object:
        a = bp.PageArray(8)
        with self.m.faults(pages=pages, trylock=trylock):
            self.m.alloc_pages_bulk(gfp, a, api="v2")
        got = [page for page in a if page]
        assert len(got) <= pages
        for page in got:
            self._own(page, 0)
        return multiple(*got)

    @invariant()
    def sound(self) -> None:
        audit = self.m.audit()
        assert audit.allocated == sum(1 << order for order in self.owned.values())
        assert audit.managed == self.managed

    def teardown(self) -> None:
        for pfn, order in self.owned.items():
            self.m.free_pages(pfn, order)
        for cpu in (0, 1):
            self.m.drain_local_pages(cpu)
        assert self.m.audit().free == self.managed


TestAllocator = Allocator.TestCase
TestAllocator.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
