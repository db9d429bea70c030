//! Rules that no recording shows, each on a machine made to show it.

use crate::kit::{
    ATOMIC, KERNEL, MOVABLE, NOTHING, NOWAIT, add_free, block_type, bulk, count, dma32, failing, frames, free_list,
    kswapd_wakes, machine, no_free, on_pcp, page, refills, snapshot, watched, with_free, with_marks, zone,
};
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::gfp::{Gfp, Migratetype};
use bulkpages_core::probe::Event;
use bulkpages_core::slowpath::Task;
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::sync::Local;
use bulkpages_core::watermark::{Marks, setup_per_zone_lowmem_reserve, setup_per_zone_wmarks};
use bulkpages_core::zone_type::{MAX_NR_ZONES, ZoneType, ZoneTypes};
use bulkpages_core::zonelist::build_zonelists;
use bulkpages_core::{Ctx, Machine, Pfn, Slot};

fn load(snapshot: &Snapshot) -> Machine<Local> {
    Machine::from_snapshot(snapshot).unwrap()
}

fn alloc(m: &Machine<Local>, gfp: Gfp, order: u8) -> (Option<Pfn>, Vec<Event>) {
    let mut cx = watched();
    (m.alloc_pages(&mut cx, gfp, order, None).unwrap(), cx.probe)
}

fn claimed(events: &[Event]) -> Vec<(u8, bool)> {
    let claim = |e: &Event| match e {
        Event::Extfrag { fallback_order, change_ownership, .. } => Some((*fallback_order, *change_ownership)),
        _ => None,
    };
    events.iter().filter_map(claim).collect()
}

/// A zone of eight pageblocks of `mt`, each with its first `n` pages free.
fn scattered(nid: usize, idx: u8, start: u64, mt: u8, n: u64) -> ZoneState {
    let mut zone = zone(nid, idx, start, 4096);
    no_free(&mut zone);
    zone.pageblocks = vec![(u32::from(mt), 8)];
    for at in (start..start + 4096).step_by(512) {
        add_free(&mut zone, at, at + n, mt);
    }
    zone
}

#[test]
fn nofragment_goes_to_another_zone_of_the_node_first() {
    // Both zones have movable blocks with 64 free pages each, DMA32 also an unmovable block: NORMAL would have to mix.
    let normal = scattered(0, 2, 8192, 1, 64);
    let mut low = scattered(0, 1, 4096, 1, 64);
    low.pageblocks = vec![(0, 1), (1, 7)];
    low.free.get_mut(&6).unwrap().insert(0, vec![4096]);
    low.free.get_mut(&6).unwrap().get_mut(&1).unwrap().retain(|&pfn| pfn != 4096);
    let m = machine(vec![normal.clone(), low.clone()]);
    assert_eq!(alloc(&m, KERNEL, 0).0, Some(Pfn(4096)));
    // A bulk call does not carry the flag.
    let m = machine(vec![normal.clone(), low]);
    let slots = Slot::array(4);
    bulk::<OutputOnly>(&m, &mut watched(), KERNEL, &slots);
    assert!(frames(&slots).iter().all(|&pfn| pfn >= 8192));
    // Where DMA32 would have to mix as well, the second pass does without the flag.
    let m = machine(vec![normal, scattered(0, 1, 4096, 1, 64)]);
    let (page, events) = alloc(&m, KERNEL, 0);
    assert!(page.is_some_and(|pfn| pfn.0 >= 8192));
    assert_eq!(claimed(&events)[0], (6, true), "what is neither free nor movable is alike: the block is claimed");
    assert_eq!(kswapd_wakes(&events), 0, "the second pass is part of the fast attempt");
}

#[test]
fn nofragment_claims_whole_pageblocks() {
    let mut normal = scattered(0, 2, 8192, 1, 64);
    no_free(&mut normal);
    add_free(&mut normal, 8192 + 512, 8192 + 1024, 1);
    let m = machine(vec![normal, scattered(0, 1, 4096, 1, 64)]);
    let (page, events) = alloc(&m, KERNEL, 0);
    assert_eq!((page, claimed(&events)), (Some(Pfn(8704)), vec![(9, true)]));
    assert_eq!(m.zone_info(1).unwrap().boost, 0, "a whole pageblock does not fragment");
}

#[test]
fn a_remote_page_is_worse_than_a_mixed_pageblock() {
    // The local zones would have to mix; the remote one has unmovable pages.
    let zones = vec![scattered(0, 1, 4096, 1, 64), scattered(0, 2, 8192, 1, 64), scattered(1, 2, 16_384, 0, 512)];
    let m = load(&snapshot(zones, &[0, 1]));
    let (page, events) = alloc(&m, KERNEL, 0);
    assert!(page.is_some_and(|pfn| (8192..12_288).contains(&pfn.0)), "{page:?}");
    assert_eq!(claimed(&events)[0], (6, true));
    assert_eq!(m.vm_events().numa_miss, 0);
}

#[test]
fn nofragment_needs_dma32_beside_normal_where_there_are_nodes() {
    // Node 1 has NORMAL alone, so its requests may mix at once instead of going to node 0 for an unmovable page.
    let zones = vec![scattered(0, 2, 8192, 0, 64), scattered(1, 2, 16_384, 1, 64)];
    let state = snapshot(zones.clone(), &[1]);
    let m = load(&state);
    let (page, events) = alloc(&m, KERNEL, 0);
    assert!(page.is_some_and(|pfn| pfn.0 >= 16_384));
    // One trylock: no pass was made with the flag.
    assert_eq!(count(&events, |e| matches!(e, Event::PcpTrylock { .. })), 1);
    // With DMA32 beside it the first pass fails, and the flag is dropped before the remote node.
    let mut both = zones;
    both.push(with_free(zone(1, 1, 4096, 4096), 0));
    let m = load(&snapshot(both, &[1]));
    let (page, events) = alloc(&m, KERNEL, 0);
    assert!(page.is_some_and(|pfn| pfn.0 >= 16_384));
    assert!(count(&events, |e| matches!(e, Event::PcpTrylock { .. })) > 1);
}

#[test]
fn while_grouping_is_disabled_everything_is_unmovable() {
    let mut zone = dma32(1024);
    no_free(&mut zone);
    zone.pageblocks = vec![(0, 1), (2, 1)];
    add_free(&mut zone, 4608, 4808, 2);
    on_pcp(&mut zone, 0, 0, 4096, 2);
    let mut state = snapshot(vec![zone], &[0]);
    state.facts.mobility_disabled = 1;
    let m = load(&state);
    // A movable request takes from the UNMOVABLE list.
    assert_eq!(page(&m, MOVABLE), Some(Pfn(4096)));
    assert_eq!(page(&m, KERNEL), Some(Pfn(4097)));
    // And a block is claimed however little of it is free.
    let (page, events) = alloc(&m, MOVABLE, 0);
    assert_eq!((page, &claimed(&events)[..]), (Some(Pfn(4800)), &[(7, true)][..]));
    // Slots of a bulk call are filled from the same list.
    let slots = Slot::array(2);
    assert_eq!(bulk::<NullOnly>(&m, &mut watched(), MOVABLE, &slots), 2);
    assert_eq!(frames(&slots), [4801, 4802]);
}

#[test]
fn movable_requests_claim_from_order_4_on() {
    // Half a block free in pieces of one order.
    for (order, whole) in [(3, false), (4, true)] {
        let mut zone = dma32(512);
        no_free(&mut zone);
        zone.pageblocks = vec![(2, 1)];
        for at in (4096..4608).step_by(2 << order) {
            add_free(&mut zone, at, at + (1 << order), 2);
        }
        let m = machine(vec![zone]);
        assert_eq!(claimed(&alloc(&m, MOVABLE, 0).1)[0], (order, whole));
    }
}

#[test]
fn a_disabled_pageset_moves_one_page_at_a_time() {
    let mut zone = dma32(1024);
    let pcp = zone.pcp.get_mut(&0).unwrap();
    (pcp.batch, pcp.high_min, pcp.high_max) = (1, 0, 0);
    let m = machine(vec![zone]);
    let (page, events) = alloc(&m, KERNEL, 0);
    assert_eq!(refills(&events), [1]);
    let mut cx = watched();
    m.free_pages(&mut cx, page.unwrap(), 0).unwrap();
    assert_eq!((crate::kit::drains(&cx.probe), m.pcp_info(0, 0).unwrap().count), (vec![1], 0));
    // With pages left over from before it was disabled, a free drains one.
    let mut zone = with_free(dma32(1024), 512);
    let pcp = zone.pcp.get_mut(&0).unwrap();
    (pcp.batch, pcp.high_min, pcp.high_max, pcp.free_count) = (1, 0, 0, 9);
    on_pcp(&mut zone, 0, 0, 5000, 10);
    let m = machine(vec![zone]);
    let page = alloc(&m, KERNEL, 0).0.unwrap();
    let mut cx = watched();
    m.free_pages(&mut cx, page, 0).unwrap();
    assert_eq!((crate::kit::drains(&cx.probe), m.pcp_info(0, 0).unwrap().count), (vec![1], 9));
}

#[test]
fn blocks_of_the_high_atomic_reserve_merge_with_their_own_kind_only() {
    // Two pageblocks that are buddies. Freed whole, they merge if both types are mergeable, or equal.
    let merged = |first: u32, second: u32| {
        let mut zone = dma32(1024);
        no_free(&mut zone);
        zone.pageblocks = vec![(first, 1), (second, 1)];
        add_free(&mut zone, 4096, 4608, first as u8);
        let high = |mt| if mt == 3 { 512 } else { 0 };
        (zone.free_highatomic, zone.reserved_highatomic) = (high(first), (high(first) + high(second)) as u64);
        let pcp = zone.pcp.get_mut(&0).unwrap();
        pcp.count = 512;
        pcp.lists.insert(12, vec![(4608, second)]);
        let m = machine(vec![zone]);
        m.drain_local_pages(&mut Ctx::on(0)).unwrap();
        m.audit().unwrap();
        free_list(&m, 0, 10, second as u8) == [4096]
    };
    assert!(merged(0, 1) && merged(2, 0) && merged(1, 1));
    assert!(!merged(3, 1) && !merged(0, 3));
    assert!(merged(3, 3));
}

#[test]
fn zones_that_share_a_pageblock_do_not_merge_across_the_border() {
    let first = with_free(zone(0, 1, 4096, 4), 0);
    let mut second = with_free(zone(0, 2, 4100, 508), 0);
    add_free(&mut second, 4100, 4104, 1);
    let mut state = snapshot(vec![first, second], &[0]);
    let pcp = state.zones[0].pcp.get_mut(&0).unwrap();
    pcp.count = 4;
    pcp.lists.insert(7, vec![(4096, 1)]);
    let m = load(&state);
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    m.audit().unwrap();
    assert_eq!((free_list(&m, 0, 2, 1), free_list(&m, 1, 2, 1)), (vec![4096], vec![4100]));
}

#[test]
fn kswapd_of_each_node_is_woken_twice_before_a_request_fails() {
    let dry = |nid, idx, start| with_marks(with_free(zone(nid, idx, start, 512), 0), 10, 20, 30);
    let zones = vec![dry(0, 0, 512), dry(0, 1, 4096), dry(1, 1, 8192), dry(2, 1, 16_384)];
    let m = load(&snapshot(zones, &[0, 1, 2]));
    let woken = |gfp| {
        let (page, events) = alloc(&m, gfp, 0);
        assert_eq!(page, None);
        let nodes = events.iter().filter_map(|e| if let Event::WakeKswapd { nid } = e { Some(*nid) } else { None });
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(woken(ATOMIC), [0, 1, 2, 0, 1, 2]);
    assert!(woken(NOTHING).is_empty());
    assert_eq!(woken(Gfp(ATOMIC.0 | Gfp::THISNODE.0)), [0, 0]);
}

#[test]
fn who_boosts_and_may_wake_kswapd_wakes_it_once() {
    // Every pageblock of the other type has less than half of its pages free, so each take boosts, then steals.
    let zone = || {
        let mut zone = scattered(0, 1, 4096, 2, 64);
        zone.high = 0;
        with_marks(zone, 1, 2, 1000)
    };
    let run = |gfp| {
        let m = machine(vec![zone()]);
        let (page, events) = alloc(&m, gfp, 0);
        assert!(page.is_some());
        (kswapd_wakes(&events), m.zone_info(0).unwrap().boost)
    };
    assert_eq!(run(KERNEL), (1, 512), "one claim fails; from then on this refill only steals");
    assert_eq!(run(NOTHING), (0, 512));
    let m = machine(vec![zone()]);
    let mut cx = watched();
    bulk::<OutputOnly>(&m, &mut cx, KERNEL, &Slot::array(8));
    assert_eq!((kswapd_wakes(&cx.probe), m.zone_info(0).unwrap().boost), (0, 512), "bulk boosts and wakes nobody");
}

#[test]
fn boost_is_bounded_by_high_and_by_a_pageblock() {
    let boost = |pages: u64, high: i64, factor| {
        let mut zone = zone(0, 1, 4096, pages);
        no_free(&mut zone);
        zone.pageblocks = vec![(2, pages / 512)];
        for at in (4096..4096 + pages).step_by(512) {
            add_free(&mut zone, at, at + 8, 2);
            add_free(&mut zone, at + 64, at + 80, 2);
            add_free(&mut zone, at + 128, at + 160, 2);
        }
        zone.high = high;
        let mut state = snapshot(vec![zone], &[0]);
        state.facts.watermark_boost_factor = Some(factor);
        let m = load(&state);
        assert!(page(&m, KERNEL).is_some());
        m.zone_info(0).unwrap().boost
    };
    // Three orders fail to be claimed before one page is stolen.
    assert_eq!(boost(4096, 100_000, 15_000), 3 * 512);
    assert_eq!(boost(4096, 500, 15_000), 750, "one and a half of HIGH");
    assert_eq!(boost(4096, 500, 20_000), 1000);
    assert_eq!(boost(4096, 100, 15_000), 512, "a pageblock at least");
    assert_eq!(boost(4096, 0, 15_000), 0);
    assert_eq!(boost(4096, 100_000, 0), 0);
    assert_eq!(boost(2048, 100_000, 15_000), 3 * 512);
    assert_eq!(boost(1536, 100_000, 15_000), 0, "zones of less than four pageblocks do not boost");
}

#[test]
fn a_claim_at_the_edge_of_a_zone_fails_and_has_boosted() {
    // The zone begins in the middle of a pageblock, and ends in the middle of another; all of each half is free.
    for (start, pages, block) in [(4352, 256 + 2048, 4352), (4096, 2048 + 256, 6144)] {
        let mut zone = zone(0, 1, start, pages);
        no_free(&mut zone);
        let full = if block == 4352 { (2, 1) } else { (1, 4) };
        zone.pageblocks = if block == 4352 { vec![full, (1, 4)] } else { vec![full, (2, 1)] };
        add_free(&mut zone, block, block + 256, 2);
        zone.high = 1000;
        let m = machine(vec![zone]);
        let (page, events) = alloc(&m, KERNEL, 0);
        assert_eq!((page, claimed(&events)[0]), (Some(Pfn(block as u32)), (8, false)), "stolen, not claimed");
        assert_eq!((block_type(&m, block as u32), m.zone_info(0).unwrap().boost), (2, 512));
    }
}

#[test]
fn reserves_of_the_slow_path_are_asked_in_their_order() {
    let m = |task| {
        let mut m = machine(vec![with_marks(with_free(dma32(1024), 512), 600, 700, 800)]);
        m.set_task(task);
        m
    };
    let memalloc = Gfp(NOTHING.0 & !Gfp::NOMEMALLOC.0 | Gfp::MEMALLOC.0);
    let plain = Task::default();
    assert!(page(&m(plain), memalloc).is_some(), "MEMALLOC heeds no mark");
    assert_eq!(page(&m(plain), Gfp(memalloc.0 | Gfp::NOMEMALLOC.0)), None, "NOMEMALLOC beats it");
    let pf = Task { memalloc: true, ..plain };
    assert!(page(&m(pf), NOWAIT).is_some(), "so does PF_MEMALLOC");
    assert_eq!(page(&m(pf), Gfp(NOWAIT.0 | Gfp::NOMEMALLOC.0)), None);
    assert_eq!(page(&m(plain), NOWAIT), None);
}

#[test]
fn a_task_that_frees_memory_does_not_reclaim() {
    let mut m = machine(vec![with_marks(with_free(dma32(1024), 0), 10, 20, 30)]);
    m.set_task(Task { memalloc: true, ..Task::default() });
    let (page, events) = alloc(&m, KERNEL, 0);
    assert_eq!((page, count(&events, |e| matches!(e, Event::DirectReclaim { .. }))), (None, 0));
    assert_eq!(m.vm_events().allocstall, [0; MAX_NR_ZONES]);
}

#[test]
fn fruitless_reclaim_counts_two_stalls_in_the_zone_of_the_request() {
    let dry = || machine(vec![with_marks(with_free(dma32(1024), 0), 10, 20, 30)]);
    for (gfp, zone) in
        [(KERNEL.0, ZoneType::Normal), (MOVABLE.0, ZoneType::Movable), (KERNEL.0 | Gfp::DMA32.0, ZoneType::Dma32)]
    {
        let m = dry();
        let (page, events) = alloc(&m, Gfp(gfp | Gfp::NORETRY.0), 0);
        assert_eq!((page, count(&events, |e| matches!(e, Event::DirectReclaim { .. }))), (None, 1), "NORETRY: once");
        let mut stalls = [0; MAX_NR_ZONES];
        stalls[zone as usize] = 2;
        assert_eq!(m.vm_events().allocstall, stalls);
    }
    // Nobody else stalls.
    let m = dry();
    assert_eq!((page(&m, ATOMIC), page(&m, NOWAIT), m.vm_events().allocstall), (None, None, [0; MAX_NR_ZONES]));
}

/// A zone of 200 pageblocks in which the slow path serves atomic requests: above 3/8 of MIN and below LOW.
fn starving(edit: impl FnOnce(&mut ZoneState)) -> ZoneState {
    let mut zone = with_marks(zone(0, 1, 4096, 102_400), 150_000, 200_000, 200_000);
    zone.pcp.get_mut(&0).unwrap().high_max = 300;
    edit(&mut zone);
    zone
}

fn reserved_by(zone: ZoneState, gfp: Gfp, order: u8) -> u64 {
    let m = machine(vec![zone]);
    assert!(alloc(&m, gfp, order).0.is_some());
    m.audit().unwrap();
    m.zone_info(0).unwrap().reserved_highatomic
}

#[test]
fn the_high_atomic_reserve_is_about_one_percent() {
    let plain = || starving(|_| ());
    assert_eq!(reserved_by(plain(), ATOMIC, 1), 512);
    assert_eq!(reserved_by(plain(), ATOMIC, 0), 0, "order 0 reserves nothing");
    assert_eq!(
        reserved_by(starving(|z| (z.min, z.low) = (90_000, 200_000)), NOWAIT, 1),
        0,
        "only requests with __GFP_HIGH"
    );
    assert_eq!(reserved_by(starving(|z| z.min = 0), Gfp(ATOMIC.0 | Gfp::NOMEMALLOC.0), 1), 0);
    // 1024 are one percent, exactly the limit; what is reserved already counts.
    let holding = |reserved| {
        starving(|z| {
            z.reserved_highatomic = reserved;
            z.pageblocks = vec![(1, 1), (3, reserved / 512), (1, 199 - reserved / 512)];
            z.free.get_mut(&10).unwrap().get_mut(&1).unwrap().retain(|&pfn| pfn > 4096 + 2048);
            z.nr_free = 102_400 - 3 * 1024;
        })
    };
    assert_eq!(reserved_by(holding(512), ATOMIC, 1), 1024);
    assert_eq!(reserved_by(holding(1024), ATOMIC, 1), 1024, "the limit is reached");
    // A larger zone has its percent rounded up; one of less than a pageblock per cent has none.
    let small = with_marks(zone(0, 1, 4096, 51_199), 70_000, 90_000, 90_000);
    assert_eq!(reserved_by(small, ATOMIC, 1), 0);
    assert_eq!(reserved_by(starving(|_| ()), ATOMIC, 9), 512, "a huge block reserves itself");
    assert_eq!(reserved_by(starving(|_| ()), ATOMIC, 10), 1024);
}

#[test]
fn reserves_in_a_zone_whose_percent_is_not_whole_pageblocks() {
    // 60000 pages: 600 is more than a block and less than two, so the limit is two.
    let zone = with_marks(zone(0, 1, 4096, 60_000), 90_000, 120_000, 120_000);
    let m = machine(vec![zone]);
    assert!(alloc(&m, ATOMIC, 9).0.is_some());
    assert!(alloc(&m, ATOMIC, 9).0.is_some());
    assert!(alloc(&m, ATOMIC, 9).0.is_some());
    assert_eq!(m.zone_info(0).unwrap().reserved_highatomic, 1024);
}

#[test]
fn a_block_at_the_edge_of_a_zone_is_not_reserved() {
    // The zone begins in the middle of a pageblock, and its first page is the first to go.
    let mut edge = zone(0, 1, 4096 + 256, 102_400);
    no_free(&mut edge);
    add_free(&mut edge, 4352, 4608, 0);
    add_free(&mut edge, 5120, 4096 + 102_400, 1);
    edge.pageblocks = vec![(0, 1), (1, 200)];
    let m = machine(vec![with_marks(edge, 150_000, 200_000, 200_000)]);
    assert_eq!(alloc(&m, ATOMIC, 1).0, Some(Pfn(4352)));
    assert_eq!((m.zone_info(0).unwrap().reserved_highatomic, block_type(&m, 4352)), (0, 0));
}

#[test]
fn only_who_may_gets_pages_of_the_reserve() {
    // A zone that has nothing but high-atomic blocks, and their pages are counted as such.
    let reserve = || {
        let mut zone = zone(0, 1, 4096, 4096);
        no_free(&mut zone);
        zone.pageblocks = vec![(3, 8)];
        add_free(&mut zone, 4096, 8192, 3);
        (zone.free_highatomic, zone.reserved_highatomic) = (4096, 4096);
        zone
    };
    let get = |gfp, order, task| {
        let mut m = machine(vec![reserve()]);
        m.set_task(task);
        alloc(&m, gfp, order).0.is_some()
    };
    let plain = Task::default();
    assert!(!get(NOTHING, 0, plain));
    assert!(get(NOWAIT, 0, plain), "order 0 that cannot block takes them last");
    assert!(get(ATOMIC, 0, plain) && get(ATOMIC, 3, plain) && get(ATOMIC, 6, plain));
    assert!(!get(NOWAIT, 3, plain), "no HIGH, so no high-atomic block is seen");
    let memalloc = Gfp(KERNEL.0 | Gfp::MEMALLOC.0 | Gfp::NORETRY.0);
    assert!(!get(memalloc, 0, plain), "ignores marks, but has no right to the reserve");
    let victim = Task { oom_victim: true, ..plain };
    let noretry = Gfp(KERNEL.0 | Gfp::NORETRY.0);
    assert!(get(noretry, 0, victim) && get(noretry, 3, victim));
    assert!(!get(noretry, 0, plain));
}

#[test]
fn atomic_requests_of_higher_order_take_the_reserve_first() {
    // Order 4 has no per-CPU list. Both an ordinary and a reserved block are free.
    let m = machine(vec![starving(|z| {
        z.pageblocks = vec![(1, 2), (3, 1), (1, 197)];
        no_free(z);
        add_free(z, 4096, 5120, 1);
        add_free(z, 5120, 5632, 3);
        add_free(z, 6144, 4096 + 102_400, 1);
        (z.free_highatomic, z.reserved_highatomic) = (512, 512);
    })]);
    assert_eq!(alloc(&m, ATOMIC, 4).0, Some(Pfn(5120)));
}

#[test]
fn pages_of_the_reserve_wait_on_the_movable_list() {
    let m = machine(vec![starving(|z| {
        z.pageblocks = vec![(3, 1), (1, 199)];
        no_free(z);
        add_free(z, 4096, 4608, 3);
        add_free(z, 5120, 4096 + 102_400, 1);
        (z.free_highatomic, z.reserved_highatomic) = (512, 512);
    })]);
    let pfn = alloc(&m, ATOMIC, 4).0.unwrap();
    let one = alloc(&m, Gfp(ATOMIC.0), 1).0.unwrap();
    m.free_pages(&mut Ctx::on(0), one, 1).unwrap();
    let lists = m.pcp_info(0, 0).unwrap().lists;
    let of = |pfn: Pfn| if block_type(&m, pfn.0) == 3 { 4 } else { 3 + usize::from(block_type(&m, pfn.0)) };
    assert!(lists[of(one)].contains(&one));
    // A drain takes them back to where their block belongs.
    m.free_pages(&mut Ctx::on(0), pfn, 4).unwrap();
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    assert!(free_list(&m, 0, 9, 3).contains(&4096));
}

#[test]
fn an_order_needs_a_block_that_is_large_enough() {
    // 2048 free pages, none in a block above order 2.
    let mut zone = with_free(dma32(4096), 0);
    for at in (4096..8192).step_by(8) {
        add_free(&mut zone, at, at + 4, 1);
    }
    let m = machine(vec![zone]);
    assert!(alloc(&m, NOTHING, 2).0.is_some());
    assert_eq!(alloc(&m, NOTHING, 3).0, None);
    assert_eq!(m.pcp_info(0, 0).unwrap().high, 363, "the test failed, so no list was asked a second time");
}

#[test]
fn the_pages_of_the_block_itself_do_not_count() {
    // Order 4 needs more than LOW + 15 free pages.
    for (free, served) in [(720 + 15, false), (720 + 16, true)] {
        let m = machine(vec![with_marks(with_free(dma32(4096), free), 720, 720, 720)]);
        assert_eq!(alloc(&m, NOTHING, 4).0.is_some(), served, "{free}");
    }
}

#[test]
fn only_atomic_order_0_sees_through_the_boost() {
    // 3/8 of MIN + boost is too much, 3/8 of MIN is not.
    let served = |gfp, order| {
        let mut zone = with_marks(with_free(dma32(4096), 500), 1000, 3000, 3000);
        zone.boost = 512;
        alloc(&machine(vec![zone]), gfp, order).0.is_some()
    };
    assert!(served(ATOMIC, 0));
    assert!(!served(ATOMIC, 1));
    assert!(!served(NOWAIT, 0));
}

#[test]
fn requests_stay_within_their_node_and_zones() {
    let zones = vec![zone(0, 0, 512, 512), zone(0, 1, 4096, 512), zone(0, 2, 8192, 512), zone(1, 2, 16_384, 512)];
    let m = load(&snapshot(zones, &[0, 1]));
    let at = |gfp: u32, nid| {
        m.alloc_pages(&mut Ctx::on(0), Gfp(gfp), 0, Some(nid)).unwrap().map(|p| m.zone_of(p).unwrap().idx())
    };
    assert_eq!(at(KERNEL.0, 0), Some(2));
    assert_eq!(at(KERNEL.0 | Gfp::DMA32.0, 0), Some(1));
    assert_eq!(at(KERNEL.0 | Gfp::DMA.0, 0), Some(0));
    let this = NOTHING.0 | Gfp::THISNODE.0;
    assert_eq!(at(this | Gfp::DMA.0, 1), None, "node 1 has no DMA");
    assert_eq!(at(NOTHING.0 | Gfp::DMA.0, 1), Some(0), "node 0 has");
    let mut served = 0;
    while at(this, 1).is_some() {
        served += 1;
    }
    // Pages on the list do not count as free, so the last ones cannot be had.
    assert_eq!(served + m.pcp_info(3, 0).unwrap().count, 512, "all of node 1 and nothing else");
}

#[test]
fn numa_counters_count_requests() {
    let zones = vec![zone(0, 1, 4096, 2048), with_free(zone(1, 1, 8192, 2048), 0)];
    let m = load(&snapshot(zones, &[0, 1]));
    let run = |cpu, nid, order| {
        let before = m.vm_events();
        m.alloc_pages(&mut Ctx::on(cpu), KERNEL, order, Some(nid)).unwrap().unwrap();
        let e = m.vm_events();
        let by = |f: fn(&bulkpages_core::vmstat::VmEvents) -> u64| f(&e) - f(&before);
        let foreign = (by(|e| e.numa_miss), by(|e| e.numa_foreign));
        (by(|e| e.numa_hit), foreign, by(|e| e.numa_local), by(|e| e.numa_other), by(|e| e.pgalloc[1]))
    };
    assert_eq!(run(0, 0, 3), (1, (0, 0), 1, 0, 8));
    assert_eq!(run(1, 0, 4), (1, (0, 0), 0, 1, 16));
    assert_eq!(run(0, 1, 0), (0, (1, 1), 1, 0, 1));
    assert_eq!(run(1, 1, 0), (0, (1, 1), 0, 1, 1));
}

#[test]
fn a_free_is_told_before_it_is_decided() {
    let m = machine(vec![dma32(4096)]);
    let page = page(&m, KERNEL).unwrap();
    let mut cx = failing(FaultPlan { trylock: true.into(), ..FaultPlan::default() });
    m.free_pages(&mut cx, page, 0).unwrap();
    assert!(matches!(cx.probe[0], Event::PageFree { page: p, order: 0 } if p == page));
    assert_eq!(m.vm_events().pgfree, 1);
    assert_eq!(m.pcp_info(0, 0).unwrap().free_count, 0, "it went to the buddy lists");
}

#[test]
fn a_memory_cgroup_is_asked_only_for_accounted_pages() {
    let mut m = machine(vec![dma32(4096)]);
    m.set_memcg(true);
    let alone = |gfp| {
        let mut cx = watched();
        bulk::<NullOnly>(&m, &mut cx, gfp, &Slot::array(8));
        count(&cx.probe, |e| matches!(e, Event::BulkSingle { .. }))
    };
    assert_eq!((alone(crate::kit::KERNEL_ACCOUNT), alone(KERNEL)), (1, 0));
}

#[test]
fn node_order_weighs_cpus_and_load() {
    // Node 1 has no CPUs. A node below costs one more, a node with CPUs costs one more, and among equals the one that
    // began another node's remote group costs more: that decides between 1 and 3 for node 2.
    let order = build_zonelists(&[true; 4], &[true, false, true, true]);
    assert_eq!(order, [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 1, 0], [3, 1, 0, 2]]);
}

#[test]
fn marks_and_reserves_of_odd_machines() {
    // MOVABLE has a clamped MIN, an unclamped step, and no part in what the others share.
    let marks = setup_per_zone_wmarks(&[(ZoneType::Dma32, 100_000), (ZoneType::Movable, 100_000)], 40_000, 10);
    assert_eq!(marks[0], Marks { min: 10_000, low: 12_500, high: 15_000, promo: 17_500 });
    assert_eq!(marks[1], Marks { min: 97, low: 2597, high: 5097, promo: 7597 });
    // A large scale factor outweighs the quarter.
    assert_eq!(setup_per_zone_wmarks(&[(ZoneType::Dma32, 100_000)], 4000, 3000)[0].low, 1000 + 30_000);
    let reserve = setup_per_zone_lowmem_reserve(&ZoneTypes::PC, &[0, 256_000, 32_000, 32_000]);
    assert_eq!(reserve, [[0; 4], [0, 0, 125, 250], [0, 0, 0, 1000], [0; 4]]);
}

#[test]
fn drift_marks_of_a_booted_machine() {
    // Where the band between MIN and LOW is narrower than two thresholds, the drift mark lies above HIGH. Elsewhere it
    // stays as the second CPU left it; with one CPU there is none.
    let boot = |mib: u64, cpus| Machine::<Local>::boot(&BootSpec::new(mib * 256, cpus, 1)).unwrap().snapshot();
    let small = &boot(256, 2).zones;
    assert_eq!(small[0].drift_mark as i64, small[0].high + 2 * 4);
    assert_eq!(small[1].drift_mark as i64, 2 * small[1].thresh);
    assert_eq!(boot(256, 1).zones[1].drift_mark, 0);
}

#[test]
fn types_of_the_pages_that_a_trace_names() {
    let m = machine(vec![dma32(4096)]);
    let (_, events) = alloc(&m, Gfp(KERNEL.0 | Gfp::RECLAIMABLE.0), 0);
    let types: Vec<Migratetype> = events
        .iter()
        .filter_map(|e| if let Event::PageAlloc { migratetype, .. } = e { Some(*migratetype) } else { None })
        .collect();
    assert_eq!(types, [Migratetype::Reclaimable]);
}
