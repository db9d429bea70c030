//! Traps: rules that a first implementation gets wrong.

use crate::kit::{
    DMA32, MIB, booted, booted_as, count, failing, page, page_allocs, set_marks, set_pcp, single_reason, watched,
};
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::math::kernel_clamp;
use bulkpages_core::probe::{Event, SingleReason};
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::Local;
use bulkpages_core::zone_type::ZoneType;
use bulkpages_core::{Ctx, Machine, Pfn, Slot};

const GFP: Gfp = Gfp::KERNEL;

fn free(m: &Machine<Local>, page: Pfn) {
    m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
}

fn trylock() -> FaultPlan {
    FaultPlan { trylock: true.into(), ..FaultPlan::default() }
}

/// Only ZONE_DMA32 serves, with one CPU, exact counters, and these limits.
fn one_zone(edit: impl FnOnce(&mut Snapshot)) -> Machine<Local> {
    booted(64, |s| {
        s.zonelists.insert(0, vec![(0, 1)]);
        set_marks(&mut s.zones[DMA32], 1, 2, 3);
        set_pcp(&mut s.zones[DMA32], 63, 300, 300);
        edit(s);
    })
}

#[test]
fn pages_on_per_cpu_lists_are_not_free() {
    let m = one_zone(|_| {});
    let before = m.zone_info(DMA32).unwrap().free_pages;
    let page = page(&m, GFP).unwrap();
    assert_eq!(m.zone_info(DMA32).unwrap().free_pages, before - 63, "the refill took them");
    free(&m, page);
    assert_eq!(m.zone_info(DMA32).unwrap().free_pages, before - 63);
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    assert_eq!(m.zone_info(DMA32).unwrap().free_pages, before);
}

#[test]
fn the_counter_that_tests_read_drifts_from_the_lists() {
    let m = one_zone(|s| s.zones[DMA32].pcp.get_mut(&0).unwrap().thresh = 10);
    let mut cx = failing(trylock());
    // The first request claims a block, which moves the counter by more than any threshold.
    m.alloc_pages(&mut cx, GFP, 0, None).unwrap();
    let before = m.zone_info(DMA32).unwrap();
    for _ in 0..10 {
        m.alloc_pages(&mut cx, GFP, 0, None).unwrap();
    }
    let now = m.zone_info(DMA32).unwrap();
    assert_eq!((now.nr_free, now.free_pages), (before.nr_free, before.free_pages - 10));
    m.alloc_pages(&mut cx, GFP, 0, None).unwrap();
    assert_eq!(m.zone_info(DMA32).unwrap().nr_free, before.nr_free - 11, "beyond the threshold all of it is folded");
}

#[test]
fn the_v1_mark_uses_the_whole_array_even_for_one_hole() {
    let m = one_zone(|_| {});
    free(&m, page(&m, GFP).unwrap());
    let slots = Slot::array(100);
    slots.iter().skip(1).for_each(|s| s.set_raw(1));
    let mut snapshot = m.snapshot();
    let low = snapshot.zones[DMA32].nr_free - 100;
    set_marks(&mut snapshot.zones[DMA32], 1, low, low + 1000);
    let m = Machine::<Local>::from_snapshot(&snapshot).unwrap();
    let mut cx = watched();
    m.alloc_pages_bulk::<NullOnly>(&mut cx, GFP, None, &slots).unwrap();
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::Watermark));
}

#[test]
fn one_page_is_about_position_not_about_holes() {
    for (holes, reason) in [([0usize; 1], None), ([7], Some(SingleReason::OnePage))] {
        let m = one_zone(|_| {});
        let slots = Slot::array(8);
        for (i, slot) in slots.iter().enumerate() {
            slot.set_raw(u64::from(!holes.contains(&i)));
        }
        let mut cx = watched();
        assert_eq!(m.alloc_pages_bulk::<NullOnly>(&mut cx, GFP, None, &slots).unwrap(), 8);
        assert_eq!(single_reason(&cx.probe), reason);
    }
}

#[test]
fn bulk_refills_ignore_nofragment() {
    // ZONE_NORMAL prefers to leave pageblocks alone; the single path looks at DMA32 first, a batch does not.
    let spec = BootSpec::new(3600 * MIB, 1, 1);
    let zone_of = |page: Pfn, m: &Machine<Local>| m.zone_of(page).unwrap().idx();
    let shredded = |s: &mut Snapshot| {
        // Only small movable blocks are left in ZONE_NORMAL: claiming one would mix a pageblock.
        let zone = &mut s.zones[2];
        set_marks(zone, 1, 2, 3);
        let blocks: Vec<u64> = (0..40).map(|i| zone.start + i * 512).collect();
        zone.free = [(8, [(1, blocks.clone())].into())].into();
        zone.nr_free = blocks.len() as i64 * 256;
    };
    let m = booted_as(&spec, shredded);
    assert_eq!(zone_of(page(&m, GFP).unwrap(), &m), 1, "single: the page of another zone");
    let m = booted_as(&spec, shredded);
    let slots = Slot::array(4);
    m.alloc_pages_bulk::<OutputOnly>(&mut Ctx::on(0), GFP, None, &slots).unwrap();
    assert_eq!(zone_of(slots[0].get(), &m), 2, "batch: a mixed pageblock");
}

#[test]
fn bulk_does_not_decay_free_count() {
    let m = one_zone(|s| set_pcp(&mut s.zones[DMA32], 7, 3000, 9000));
    let slots = Slot::array(64);
    for _ in 0..40 {
        m.alloc_pages_bulk::<NullOnly>(&mut Ctx::on(0), GFP, None, &slots).unwrap();
        m.free_bulk(&mut Ctx::on(0), &slots).unwrap();
    }
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().free_count, 7 << 5, "it climbs to its cap");
    free(&m, page(&m, GFP).unwrap());
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().free_count, (7 << 5) / 2 + 1, "a single request halves it");
}

#[test]
fn alloc_factor_falls_with_every_free_to_a_list_and_with_no_other() {
    let m = one_zone(|s| set_pcp(&mut s.zones[DMA32], 7, 3000, 9000));
    let pages: Vec<Pfn> = (0..200).map(|_| page(&m, GFP).unwrap()).collect();
    let factor = || m.pcp_info(DMA32, 0).unwrap().alloc_factor;
    assert_eq!(factor(), 5);
    m.free_pages(&mut failing(trylock()), pages[0], 0).unwrap();
    assert_eq!(factor(), 5, "straight to the buddy lists");
    free(&m, pages[1]);
    assert_eq!(factor(), 2);
}

#[test]
fn high_starts_at_0_and_is_raised_before_room_is_computed() {
    let m = one_zone(|s| set_pcp(&mut s.zones[DMA32], 63, 300, 30_000));
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().high, 0);
    page(&m, GFP).unwrap();
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().high, 363);
}

#[test]
fn a_raise_of_high_counts_from_the_next_free_on() {
    let m = one_zone(|s| {
        set_pcp(&mut s.zones[DMA32], 7, 28, 5000);
        s.zones[DMA32].pcp.get_mut(&0).unwrap().free_count = 100;
    });
    let pages: Vec<Pfn> = {
        let mut cx = failing(trylock());
        (0..40).map(|_| m.alloc_pages(&mut cx, GFP, 0, None).unwrap().unwrap()).collect()
    };
    let mut cx = watched();
    for page in &pages[..28] {
        m.free_pages(&mut cx, *page, 0).unwrap();
    }
    // The 28th free meets the old limit of 28, raises `high`, and drains all the same.
    assert!(count(&cx.probe, |e| matches!(e, Event::PcpuDrain { .. })) > 0);
    assert!(m.pcp_info(DMA32, 0).unwrap().high > 100);
}

#[test]
fn ends_of_the_lists() {
    let m = one_zone(|_| {});
    let a = page(&m, GFP).unwrap();
    let b = page(&m, GFP).unwrap();
    assert_eq!(b, a.add(1), "a refill is handed out ascending: taken from the head, refilled at the tail");
    free(&m, a);
    free(&m, b);
    assert_eq!(page(&m, GFP), Some(b), "the page freed last comes first");
    // A drain takes the tail: what was refilled last.
    let mut cx = watched();
    m.drain_local_pages(&mut cx).unwrap();
    let first = cx.probe.iter().find_map(|e| if let Event::PcpuDrain { page, .. } = e { Some(*page) } else { None });
    assert_eq!(first, Some(a.add(62)));
}

#[test]
fn a_drain_empties_list_after_list() {
    let m = one_zone(|_| {});
    for gfp in [GFP, GFP | Gfp::RECLAIMABLE, Gfp(0x10_0cca)] {
        free(&m, m.alloc_pages(&mut Ctx::on(0), gfp, 0, None).unwrap().unwrap());
    }
    let mut cx = watched();
    m.drain_local_pages(&mut cx).unwrap();
    let types: Vec<u8> = cx
        .probe
        .iter()
        .filter_map(|e| if let Event::PcpuDrain { migratetype, .. } = e { Some(*migratetype as u8) } else { None })
        .collect();
    assert!(types.is_sorted(), "not page by page in turn: {types:?}");
    assert_eq!(types.len(), 3 * 63);
}

#[test]
fn the_block_decides_where_a_page_returns_to() {
    // The only free memory is movable and cannot be claimed: an unmovable request steals a page.
    let m = unclaimable(0);
    let mut cx = watched();
    let page = m.alloc_pages(&mut cx, GFP, 0, None).unwrap().unwrap();
    assert!(cx.probe.iter().any(|e| matches!(e, Event::Extfrag { change_ownership: false, .. })));
    free(&m, page);
    let lists = m.pcp_info(DMA32, 0).unwrap().lists;
    assert_eq!(lists[1].first(), Some(&page), "freed to the list of its block's type");
}

#[test]
fn the_smallest_zones_have_batch_1() {
    let snapshot = booted(64, |_| {}).snapshot();
    let pcp = &snapshot.zones[0].pcp[&0];
    assert_eq!((pcp.batch, pcp.high_min >= 4), (1, true));
}

#[test]
fn a_failed_trylock_goes_to_the_buddy_lists_and_its_trace_says_percpu_refill() {
    let m = one_zone(|_| {});
    free(&m, page(&m, GFP).unwrap());
    let count_before = m.pcp_info(DMA32, 0).unwrap().count;
    let mut cx = failing(trylock());
    let page = m.alloc_pages(&mut cx, GFP, 0, None).unwrap().unwrap();
    assert_eq!(count(&cx.probe, |e| matches!(e, Event::ZoneLocked { percpu_refill: true, .. })), 1);
    m.free_pages(&mut cx, page, 0).unwrap();
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().count, count_before, "neither way touched the list");
}

#[test]
fn pages_of_a_batch_leave_no_mm_page_alloc() {
    let m = one_zone(|_| {});
    let mut cx = watched();
    m.alloc_pages_bulk::<NullOnly>(&mut cx, GFP, None, &Slot::array(20)).unwrap();
    assert_eq!(page_allocs(&cx.probe), 0);
    m.alloc_pages_bulk::<NullOnly>(&mut cx, GFP, None, &Slot::array(1)).unwrap();
    assert_eq!(page_allocs(&cx.probe), 1);
}

#[test]
fn nowait_sees_highatomic_pages_but_no_smaller_minimum() {
    // All that is free lies in a high-atomic block.
    let state = |s: &mut Snapshot| {
        let zone = &mut s.zones[DMA32];
        zone.pageblocks = vec![(3, 1), (1, (zone.spanned / 512) - 1)];
        zone.free = [(9, [(3, vec![zone.start])].into())].into();
        (zone.nr_free, zone.free_highatomic, zone.reserved_highatomic) = (512, 512, 512);
        set_marks(zone, 100, 1 << 30, 1 << 30);
    };
    let m = one_zone(state);
    assert!(page(&m, Gfp::NOWAIT).is_some(), "NON_BLOCK is a reserve flag");
    let mut m = one_zone(|s| {
        state(s);
        set_marks(&mut s.zones[DMA32], 511, 1 << 30, 1 << 30);
    });
    assert!(page(&m, Gfp::NOWAIT).is_some());
    m = one_zone(|s| {
        state(s);
        set_marks(&mut s.zones[DMA32], 512, 1 << 30, 1 << 30);
    });
    assert_eq!(page(&m, Gfp::NOWAIT), None, "the comparison is strict, and MIN is whole");
    m = one_zone(state);
    assert_eq!(page(&m, Gfp(0x400 | 0x1_0000)), None, "without reserve flags these pages cannot be used");
}

#[test]
fn the_watermark_comparison_is_strict() {
    for (extra, expected) in [(0, None), (1, Some(()))] {
        let m = one_zone(|s| {
            let zone = &mut s.zones[DMA32];
            let min = zone.nr_free - extra;
            set_marks(zone, min, 1 << 30, 1 << 30);
        });
        assert_eq!(page(&m, Gfp(0x800 | 0x8_0000)).map(|_| ()), expected);
    }
}

#[test]
fn the_movable_zone_has_a_clamped_minimum_and_an_unclamped_step() {
    let marks = bulkpages_core::watermark::setup_per_zone_wmarks(
        &[(ZoneType::Dma32, 100_000), (ZoneType::Movable, 100_000)],
        40_000,
        10,
    );
    assert_eq!((marks[1].min, marks[1].low - marks[1].min), (97, 2500));
}

#[test]
fn a_claim_at_order_10_takes_two_pageblocks() {
    let m = one_zone(|_| {});
    page(&m, GFP).unwrap();
    assert_eq!(m.snapshot().zones[DMA32].pageblocks[0], (0, 2));
}

/// A zone in which a claim attempt below pageblock order cannot succeed: few free pages in each movable block.
fn unclaimable(boost_factor: u64) -> Machine<Local> {
    unclaimable_of(boost_factor, 8192)
}

fn unclaimable_of(boost_factor: u64, managed: u64) -> Machine<Local> {
    one_zone(|s| {
        s.facts.watermark_boost_factor = Some(boost_factor);
        let zone = &mut s.zones[DMA32];
        let blocks: Vec<u64> = (0..20).map(|i| zone.start + i * 512).collect();
        zone.free = [(5, [(1, blocks.clone())].into())].into();
        zone.nr_free = 20 * 32;
        // Most of each block is movable, so it can neither be claimed nor left empty.
        zone.movable = blocks.iter().map(|&b| (b as u32, 400)).collect();
        set_marks(zone, 1, 2, 1000);
        zone.managed = managed;
    })
}

#[test]
fn zones_below_four_pageblocks_are_not_boosted() {
    for (managed, boost) in [(2047, 0), (2048, 512)] {
        let m = unclaimable_of(15_000, managed);
        m.alloc_pages_bulk::<OutputOnly>(&mut Ctx::on(0), GFP, None, &Slot::array(2)).unwrap();
        assert_eq!(m.zone_info(DMA32).unwrap().boost, boost, "{managed} managed pages");
    }
}

#[test]
fn a_claim_attempt_boosts_even_if_it_fails_and_a_steal_does_not() {
    let m = unclaimable(15_000);
    let mut cx = watched();
    m.alloc_pages_bulk::<OutputOnly>(&mut cx, GFP, None, &Slot::array(2)).unwrap();
    assert!(count(&cx.probe, |e| matches!(e, Event::Extfrag { change_ownership: false, .. })) > 0, "stolen in the end");
    let boost = m.zone_info(DMA32).unwrap().boost;
    assert_eq!(boost, 512, "one attempt adds a pageblock");
    // Stealing went on without attempts: the refill remembers that claiming failed.
    assert!(count(&cx.probe, |e| matches!(e, Event::Extfrag { .. })) > 1);
    assert_eq!(unclaimable(0).zone_info(DMA32).unwrap().boost, 0);
    let m = one_zone(|_| {});
    page(&m, GFP).unwrap();
    assert_eq!(m.zone_info(DMA32).unwrap().boost, 0, "whole blocks are claimed without a boost");
}

#[test]
fn below_high_freezes_growth_and_is_cleared_by_a_drain_on_the_free_path() {
    let m = one_zone(|s| {
        let zone = &mut s.zones[DMA32];
        let high = zone.nr_free + 10;
        set_marks(zone, 1, 2, high);
        set_pcp(zone, 7, 28, 5000);
    });
    let pages: Vec<Pfn> = (0..20).map(|_| page(&m, GFP).unwrap()).collect();
    let zone = m.zone_info(DMA32).unwrap();
    assert_eq!(zone.flags & 4, 4, "the fast attempt at HIGH failed");
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().high, 28, "no growth");
    let mut snapshot = m.snapshot();
    set_marks(&mut snapshot.zones[DMA32], 1, 2, 3);
    // What the first machine handed out, the second knows as the kernel's own pages.
    let m = Machine::<Local>::from_snapshot(&snapshot).unwrap();
    drop(pages);
    let again: Vec<Pfn> = (0..60).map(|_| page(&m, GFP).unwrap()).collect();
    for page in again {
        free(&m, page);
    }
    assert_eq!(m.zone_info(DMA32).unwrap().flags & 4, 0);
}

fn two_nodes(edit: impl FnOnce(&mut Snapshot)) -> Machine<Local> {
    booted_as(&BootSpec::new(128 * MIB, 2, 2), edit)
}

#[test]
fn a_batch_stays_on_its_node() {
    // Node 0 is short: the next zone of the list is on node 1, and ends the search.
    let m = two_nodes(|s| {
        for zone in s.zones.iter_mut().filter(|z| z.nid == 0) {
            set_marks(zone, 1, 1 << 30, 1 << 30);
        }
    });
    let mut cx = watched();
    let slots = Slot::array(8);
    assert_eq!(m.alloc_pages_bulk::<OutputOnly>(&mut cx, GFP, Some(0), &slots).unwrap(), 1);
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::RemoteNode));
    let events = m.vm_events();
    assert_eq!(
        (events.numa_miss, events.numa_foreign, events.numa_other),
        (1, 1, 1),
        "the single page came from there"
    );
    // Another zone of the same node may serve a batch.
    let m = two_nodes(|s| {
        let dma32 = s.zones.iter_mut().find(|z| z.nid == 0 && z.idx == 1).unwrap();
        set_marks(dma32, 1, 1 << 30, 1 << 30);
    });
    let mut cx = watched();
    assert_eq!(m.alloc_pages_bulk::<OutputOnly>(&mut cx, GFP, Some(0), &slots).unwrap(), 8);
    assert_eq!(m.vm_events().pgalloc[0], 8);
}

#[test]
fn zero_pages_return_zero_even_with_a_populated_array() {
    let m = one_zone(|_| {});
    assert_eq!(m.alloc_pages_bulk::<NullOnly>(&mut watched(), GFP, None, &[]).unwrap(), 0);
}

#[test]
fn only_frees_drain() {
    let m = one_zone(|s| {
        set_pcp(&mut s.zones[DMA32], 63, 300, 300);
    });
    let pages: Vec<Pfn> = (0..1000).map(|_| page(&m, GFP).unwrap()).collect();
    for page in &pages[..299] {
        free(&m, *page);
    }
    let mut snapshot = m.snapshot();
    set_pcp(&mut snapshot.zones[DMA32], 63, 126, 126);
    let m = Machine::<Local>::from_snapshot(&snapshot).unwrap();
    let before = m.pcp_info(DMA32, 0).unwrap().count;
    assert!(before > 126);
    let page = page(&m, GFP).unwrap();
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().count, before - 1, "far above `high`, and nothing happens");
    free(&m, page);
    assert!(m.pcp_info(DMA32, 0).unwrap().count < before);
}

#[test]
fn threshold_0_flushes_every_update() {
    let m = one_zone(|_| {});
    page(&m, GFP).unwrap();
    let zone = m.zone_info(DMA32).unwrap();
    assert_eq!(zone.nr_free, zone.free_pages);
}

#[test]
fn boost_is_added_to_every_mark_and_its_flag_is_never_seen() {
    let m = unclaimable(15_000);
    let mut cx = watched();
    let gfp = Gfp(0x800);
    m.alloc_pages(&mut cx, gfp, 0, None).unwrap();
    assert_eq!(m.zone_info(DMA32).unwrap().boost, 512);
    assert_eq!(m.zone_info(DMA32).unwrap().watermark[0], 1, "stored without boost");
    assert_eq!(m.zone_info(DMA32).unwrap().flags & 1, 0);
    assert!(count(&cx.probe, |e| matches!(e, Event::WakeKswapd { .. })) > 0);
}

#[test]
fn the_upper_bound_is_tested_first() {
    assert_eq!(kernel_clamp(0, 334, 240), 334);
    assert_eq!(kernel_clamp(334, 334, 240), 240);
    assert_eq!(kernel_clamp(240, 334, 240), 240);
    let m = one_zone(|s| set_pcp(&mut s.zones[DMA32], 7, 334, 240));
    let mut cx = failing(trylock());
    let pages: Vec<Pfn> = (0..3).map(|_| m.alloc_pages(&mut cx, GFP, 0, None).unwrap().unwrap()).collect();
    let highs: Vec<i32> = pages
        .into_iter()
        .map(|page| {
            free(&m, page);
            m.pcp_info(DMA32, 0).unwrap().high
        })
        .collect();
    assert_eq!(highs, [334, 240, 240]);
}

#[test]
fn the_first_pageblock_of_the_dma_zone_cannot_be_claimed() {
    // Only the movable request finds nothing of its own there: block 0 begins at pfn 0, outside the zone.
    let m = booted(64, |s| {
        s.zonelists.insert(0, vec![(0, 0)]);
        let zone = &mut s.zones[0];
        zone.free = [(8, [(0, vec![256])].into())].into();
        zone.nr_free = 256;
        set_marks(zone, 1, 2, 3);
    });
    let page = m.alloc_pages(&mut Ctx::on(0), Gfp(0x2809), 0, None).unwrap().unwrap();
    assert_eq!(page, Pfn(256), "stolen");
    assert_eq!(m.snapshot().zones[0].pageblocks[0], (0, 1), "and the block keeps its type");
    assert_eq!(m.zone_info(0).unwrap().boost, 512, "the attempt boosted before it met the zone's edge");
}

/// The counter overstates: the difference that is not folded yet says that nothing is free.
fn overstated() -> Machine<Local> {
    one_zone(|s| {
        let zone = &mut s.zones[DMA32];
        zone.free.clear();
        zone.nr_free = 100;
        let pcp = zone.pcp.get_mut(&0).unwrap();
        (pcp.diff_free, pcp.thresh, pcp.free_count) = (-100, 125, 1024);
        (zone.min, zone.low, zone.high) = (0, 1, 2);
    })
}

#[test]
fn a_failing_request_attempts_twice_in_the_slow_path() {
    let m = overstated();
    assert_eq!(page(&m, Gfp::NOWAIT), None);
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().free_count, 1024 >> 3, "once fast, twice slow");
}

#[test]
fn a_realtime_task_sees_half_of_min() {
    for (realtime, expected) in [(false, None), (true, Some(()))] {
        let m = one_zone(|s| {
            s.facts.realtime_task = Some(realtime);
            let zone = &mut s.zones[DMA32];
            let min = zone.nr_free;
            set_marks(zone, min, 1 << 30, 1 << 30);
        });
        assert_eq!(page(&m, Gfp(0x400 | 0x1_0000)).map(|_| ()), expected);
    }
}

#[test]
fn a_batch_may_pass_the_gate_and_find_nothing() {
    let m = overstated();
    let mut cx = watched();
    assert_eq!(m.alloc_pages_bulk::<OutputOnly>(&mut cx, Gfp::NOWAIT, None, &Slot::array(8)).unwrap(), 0);
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::FirstTake));
}

#[test]
fn free_count_may_exceed_its_cap_after_frees_of_higher_orders() {
    let m = one_zone(|s| {
        set_pcp(&mut s.zones[DMA32], 7, 3000, 9000);
        s.zones[DMA32].pcp.get_mut(&0).unwrap().free_count = (7 << 5) - 1;
    });
    let page = m.alloc_pages(&mut failing(trylock()), GFP, 3, None).unwrap().unwrap();
    m.free_pages(&mut Ctx::on(0), page, 3).unwrap();
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().free_count, (7 << 5) - 1 + 8);
}

#[test]
fn a_high_atomic_block_merges_with_no_other() {
    // Two neighbouring pageblocks, one of them reserved; nothing else is free.
    let m = one_zone(|s| {
        let zone = &mut s.zones[DMA32];
        let (first, second) = (zone.start, zone.start + 512);
        zone.pageblocks = vec![(3, 1), (1, zone.spanned / 512 - 1)];
        zone.free = [(9, [(1, vec![second]), (3, vec![first])].into())].into();
        (zone.nr_free, zone.free_highatomic, zone.reserved_highatomic) = (1024, 512, 512);
    });
    let before = m.snapshot().zones[DMA32].free.clone();
    let huge = m.alloc_pages(&mut Ctx::on(0), Gfp(0x14_280a), 9, None).unwrap().unwrap();
    m.free_pages(&mut Ctx::on(0), huge, 9).unwrap();
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    assert_eq!(m.snapshot().zones[DMA32].free, before);
}

#[test]
fn a_request_that_must_fragment_does_so_in_the_fast_attempt() {
    // ZONE_NORMAL alone, with nothing but small movable blocks: the attempt without NOFRAGMENT follows at once.
    let m = booted_as(&BootSpec::new(3600 * MIB, 1, 1), |s| {
        s.zonelists.insert(0, vec![(0, 2)]);
        s.facts.watermark_boost_factor = Some(0);
        let zone = &mut s.zones[2];
        set_marks(zone, 1, 2, 3);
        let blocks: Vec<u64> = (0..40).map(|i| zone.start + i * 512).collect();
        zone.free = [(8, [(1, blocks.clone())].into())].into();
        zone.nr_free = blocks.len() as i64 * 256;
    });
    let mut cx = watched();
    assert!(m.alloc_pages(&mut cx, GFP, 0, None).unwrap().is_some());
    assert_eq!(count(&cx.probe, |e| matches!(e, Event::WakeKswapd { .. })), 0, "the slow path would have woken kswapd");
}

#[test]
fn nodes_with_cpus_come_later() {
    use bulkpages_core::zonelist::build_zonelists;
    assert_eq!(build_zonelists(&[true; 3], &[true, true, false])[0], [0, 2, 1]);
    assert_eq!(build_zonelists(&[true; 3], &[true, false, true])[0], [0, 1, 2]);
}
