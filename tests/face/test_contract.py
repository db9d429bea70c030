"""The names of the public contract, used as a user would."""

import json
from pathlib import Path

import numpy as np
import pytest

import bulkpages as bp


def test_bulk_fills_an_array_and_free_bulk_empties_it(m: bp.Machine) -> None:
    a = bp.PageArray(64)
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2") == 64
    assert len(set(a)) == 64
    assert 0 not in a
    assert m.audit().allocated == 64
    assert m.free_bulk(a) == 64
    assert list(a) == [0] * 64
    assert m.audit().allocated == 0


def test_v1_keeps_what_is_there_and_v2_overwrites_it(m: bp.Machine) -> None:
    a = bp.PageArray(8)
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, a) == 8
    before = list(a)
    for i in (1, 4):
        m.free_pages(a[i])
        a[i] = 0
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v1") == 8
    assert [a[i] for i in (0, 2, 3, 5, 6, 7)] == [before[i] for i in (0, 2, 3, 5, 6, 7)]
    kept = list(a)
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2") == 8
    assert not set(kept) & set(a)
    assert m.audit().allocated == 16


def test_nr_pages_limits_the_call(m: bp.Machine) -> None:
    a = bp.PageArray(8)
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, 0) == 0
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, a, 3, api="v2") == 3
    assert [page != 0 for page in a] == [True] * 3 + [False] * 5


@pytest.mark.parametrize("order", range(11))
def test_every_order_comes_and_goes(m: bp.Machine, order: int) -> None:
    pfn = m.alloc_pages(bp.GFP_KERNEL, order, cpu=1)
    assert isinstance(pfn, int)
    assert pfn % (1 << order) == 0
    assert m.audit().allocated == 1 << order
    m.free_pages(pfn, order, cpu=1)
    assert m.audit().allocated == 0


def test_an_exhausted_machine_gives_none() -> None:
    m = bp.Machine("8MiB", cpus=1)
    while m.alloc_pages(bp.GFP_NOWAIT) is not None:
        pass
    assert m.alloc_pages(bp.GFP_KERNEL) is None
    assert m.vmstat["allocstall_normal"] > 0
    m.audit()


def test_vmstat_counts(m: bp.Machine) -> None:
    before = m.vmstat
    a = bp.PageArray(10)
    m.alloc_pages_bulk(bp.GFP_KERNEL, a)
    assert before["pgalloc_dma32"] == 0
    assert m.vmstat["pgalloc_dma32"] == 10
    assert dict(m.vmstat)["numa_hit"] == 10
    m.free_bulk(a)
    assert m.vmstat["pgfree"] == 10


def test_zones(m: bp.Machine) -> None:
    zone = m.zones[1]
    assert (zone.nid, zone.idx, zone.name) == (0, 1, "DMA32")
    assert zone.watermark["min"] < zone.watermark["low"] < zone.watermark["high"] < zone.watermark["promo"]
    assert zone.managed == zone.free_pages == zone.nr_free
    assert zone.pcp(0).count == 0
    m.alloc_pages(bp.GFP_KERNEL)
    assert zone.pcp(0).count > 0
    assert sum(map(len, zone.pcp(0).lists.values())) == zone.pcp(0).count
    assert "DMA32" in repr(zone)


def test_drain_gives_the_lists_back(m: bp.Machine) -> None:
    free = m.zones[1].free_pages
    m.alloc_pages(bp.GFP_KERNEL, cpu=1)
    assert m.zones[1].pcp(1).count > 0
    m.drain_local_pages(cpu=0)
    assert m.zones[1].pcp(1).count > 0
    m.drain_local_pages(cpu=1)
    assert m.zones[1].pcp(1).count == 0
    assert m.zones[1].free_pages == free - 1


def test_snapshot_goes_out_and_in(m: bp.Machine, tmp_path: Path) -> None:
    m.alloc_pages(bp.GFP_KERNEL)
    snapshot = m.snapshot()
    assert bp.Machine.from_snapshot(snapshot).snapshot() == snapshot
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"before": snapshot, "after": snapshot}))
    assert bp.Machine.from_snapshot(path, which="after").snapshot() == snapshot
    path.write_text(json.dumps(snapshot))
    assert bp.Machine.from_snapshot(str(path)).snapshot() == snapshot


def test_before_and_after_of_a_recording(first: Path) -> None:
    assert bp.Machine.from_snapshot(first).snapshot() != bp.Machine.from_snapshot(first, which="after").snapshot()


def test_memory_sizes() -> None:
    for size in ("64MiB", "64M", "64 mib", 64 << 20):
        assert sum(z.present for z in bp.Machine(size).zones) == 16384 - 98
    machine = bp.Machine("5GiB", nodes=2, cpus=4, movablecore="512MiB")
    assert {zone.name for zone in machine.zones} == {"DMA", "DMA32", "Normal", "Movable"}
    assert (machine.cpus, machine.nodes) == (4, 2)


def test_memcg_and_page_owner_send_bulk_calls_to_the_single_path() -> None:
    a = bp.PageArray(16)
    assert bp.Machine("64MiB", page_owner=True).alloc_pages_bulk(bp.GFP_KERNEL, a, api="v2") == 1
    m = bp.Machine("64MiB", memcg=True)
    assert m.alloc_pages_bulk(bp.GFP_KERNEL_ACCOUNT, bp.PageArray(16), api="v1") == 1
    assert m.alloc_pages_bulk(bp.GFP_KERNEL, bp.PageArray(16), api="v1") == 16


def test_page_array_is_a_view_without_a_copy() -> None:
    a = bp.PageArray(4)
    view = np.asarray(a)
    assert view.dtype == np.uint64
    assert view.flags.writeable
    a[1] = 7
    assert view[1] == 7
    view[2] = 9
    assert a[2] == 9
    assert np.shares_memory(view, np.asarray(a))
    del a
    view[3] = 1
    assert list(view) == [0, 7, 9, 1]


def test_page_array_is_a_sequence() -> None:
    a = bp.PageArray([5, 6, 7])
    assert (len(a), a[0], a[-1], a[1:], list(a)) == (3, 5, 7, [6, 7], [5, 6, 7])
    assert a == bp.PageArray([5, 6, 7])
    assert a != bp.PageArray([5, 6])
    assert repr(a) == "PageArray([5, 6, 7])"
    assert len(bp.PageArray(0)) == 0
    with pytest.raises(IndexError, match="slot 3 of an array of 3"):
        a[3]
    with pytest.raises(IndexError):
        a[-4] = 1


def test_gfp_values_are_the_kernels() -> None:
    assert (bp.GFP_KERNEL, bp.GFP_NOFS, bp.GFP_ATOMIC, bp.GFP_NOWAIT) == (0xCC0, 0xC40, 0x820, 0x2800)
    assert (bp.GFP_HIGHUSER_MOVABLE, bp.GFP_KERNEL_ACCOUNT) == (0x100CCA, 0x400CC0)
