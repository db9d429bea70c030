//! The rules in which kernels differ, each alone: examples worked out by hand, and every mixture of them kept sound.

use crate::kit::{
    ATOMIC, KERNEL, MOVABLE, NOTHING, NOWAIT, add_free, block_type, booted_as, bulk, count, dma32, drains, failing,
    free_list, kswapd_wakes, no_free, on_pcp, page, pages, refills, snapshot, watched, with_cma, with_free, with_marks,
    zone,
};
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::era::{Era, Rules};
use bulkpages_core::fault::{FaultPlan, When};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Event;
use bulkpages_core::snapshot::ZoneState;
use bulkpages_core::sync::Local;
use bulkpages_core::watermark::{setup_per_zone_wmarks, setup_per_zone_wmarks_movable_alike};
use bulkpages_core::zone_type::ZoneType;
use bulkpages_core::{Ctx, Machine, Pfn, Slot};
use proptest::prelude::*;

/// A machine of these zones on the default kernel, one rule set.
fn with_rule(zones: Vec<ZoneState>, rule: &str, holds: bool) -> Machine<Local> {
    with_rules(zones, &[(rule, holds)])
}

fn with_rules(zones: Vec<ZoneState>, rules: &[(&str, bool)]) -> Machine<Local> {
    let mut snapshot = snapshot(zones, &[0]);
    snapshot.facts.rules = rules.iter().map(|&(name, holds)| (name.to_owned(), holds)).collect();
    Machine::from_snapshot(&snapshot).unwrap()
}

fn alloc(m: &Machine<Local>, gfp: Gfp, order: u8) -> (Option<Pfn>, Vec<Event>) {
    let mut cx = watched();
    let page = m.alloc_pages(&mut cx, gfp, order, None).unwrap();
    m.audit().unwrap();
    (page, cx.probe)
}

fn reserved(m: &Machine<Local>) -> u64 {
    m.zone_info(0).unwrap().reserved_highatomic
}

/// A zone of 200 pageblocks in which the slow path serves atomic requests: above 3/8 of MIN and below LOW.
fn starving() -> ZoneState {
    with_marks(zone(0, 1, 4096, 102_400), 150_000, 200_000, 200_000)
}

#[test]
fn eras_are_found_by_name_and_rules_too() {
    assert_eq!(Era::ALL.map(|era| Era::parse(era.name()).unwrap()), Era::ALL);
    assert!(Era::parse("6.6").unwrap_err().to_string().contains("6.1, 6.12, 7.3"));
    let rules = Era::V6_1.rules();
    assert_eq!(rules.with("smp", false).unwrap().differences(&rules).collect::<Vec<_>>(), [("smp", false)]);
    assert!(rules.with("no_such_rule", true).unwrap_err().to_string().contains("pcp_high_tuned"));
    assert_eq!(Rules::ALL.len(), rules.all().count());
    for (older, newer) in [(Era::V6_1, Era::V6_12), (Era::V6_12, Era::V7_3)] {
        let changed: Vec<_> = newer.rules().differences(&older.rules()).collect();
        assert!(!changed.is_empty() && changed.iter().all(|&(_, holds)| holds), "newer kernels only take rules up");
    }
}

#[test]
fn what_is_in_the_array_already_is_asked_for_again_or_not() {
    // 64 of 128 slots hold a page. The gate needs more than LOW + 128 pages, or more than LOW + 64.
    let call = |free: u64, holds: bool| {
        let m =
            with_rule(vec![with_marks(with_free(dma32(4096), free), 0, 100, 0)], "bulk_mark_excludes_prefix", holds);
        let slots = Slot::array(128);
        slots[..64].iter().enumerate().for_each(|(i, slot)| slot.set_raw(1 + i as u64));
        bulk::<NullOnly>(&m, &mut Ctx::on(0), NOTHING, &slots)
    };
    assert_eq!((call(229, false), call(228, false)), (128, 65));
    assert_eq!((call(165, true), call(164, true)), (128, 65));
}

#[test]
fn an_atomic_request_takes_a_reserved_block_at_its_first_attempt_or_not() {
    // Only the reserve has a block of order 2; the marks are no hindrance.
    let m = |holds| {
        let mut z = zone(0, 1, 4096, 1024);
        no_free(&mut z);
        z.pageblocks = vec![(3, 1), (1, 1)];
        add_free(&mut z, 4096, 4100, 3);
        (z.free_highatomic, z.reserved_highatomic) = (4, 512);
        with_rule(vec![z], "highatomic_at_first_attempt", holds)
    };
    let gfp = Gfp(ATOMIC.0 & !Gfp::KSWAPD_RECLAIM.0);
    for holds in [false, true] {
        let m = m(holds);
        let (page, _) = alloc(&m, gfp, 2);
        assert_eq!(page, Some(Pfn(4096)), "the slow path finds it too");
        // A request that fails at the HIGH mark leaves a note of it first.
        assert_eq!(m.zone_info(0).unwrap().flags & 4 != 0, !holds);
    }
}

#[test]
fn a_request_from_a_list_reserves_or_not() {
    for (holds, expected) in [(false, 512), (true, 0)] {
        let mut z = starving();
        no_free(&mut z);
        add_free(&mut z, 4608, 4096 + 102_400, 1);
        let list = 3; // order 1, UNMOVABLE
        let pcp = z.pcp.get_mut(&0).unwrap();
        pcp.lists.insert(list, vec![(4096, 1)]);
        pcp.count = 2;
        let m = with_rule(vec![z], "highatomic_reserves_at_min", holds);
        assert_eq!(alloc(&m, ATOMIC, 1).0, Some(Pfn(4096)));
        assert_eq!(reserved(&m), expected);
    }
    // From the buddy lists, at MIN: as before.
    let m = with_rules(vec![starving()], &[("highatomic_reserves_at_min", true), ("highatomic_refills_no_list", true)]);
    assert!(alloc(&m, ATOMIC, 1).0.is_some());
    assert_eq!(reserved(&m), 512);
}

#[test]
fn a_high_atomic_request_refills_a_list_or_not() {
    for (holds, expected) in [(false, 1), (true, 0)] {
        let m = with_rule(vec![starving()], "highatomic_refills_no_list", holds);
        let (page, events) = alloc(&m, ATOMIC, 1);
        assert!(page.is_some());
        assert_eq!(refills(&events).len(), expected);
        assert_eq!(m.pcp_info(0, 0).unwrap().high, 300, "the limit was set all the same");
    }
}

#[test]
fn the_slow_path_attempts_twice_or_only_where_more_is_allowed() {
    let wakes = |gfp, holds| {
        let m = with_rule(
            vec![with_marks(with_free(dma32(4096), 100), 1000, 1000, 1000)],
            "slow_path_attempts_once",
            holds,
        );
        let (page, events) = alloc(&m, gfp, 0);
        assert_eq!(page, None);
        kswapd_wakes(&events)
    };
    assert_eq!((wakes(NOWAIT, false), wakes(NOWAIT, true)), (2, 1));
    // Cpusets are ignored for it: it may do more than at first.
    assert_eq!((wakes(ATOMIC, false), wakes(ATOMIC, true)), (2, 2));
    assert_eq!((wakes(Gfp(NOWAIT.0 | Gfp::MEMALLOC.0 | Gfp::NOMEMALLOC.0), true)), 1, "NOMEMALLOC beats MEMALLOC");
}

#[test]
fn gfp_high_or_gfp_atomic_sees_through_a_boost() {
    // 3/8 of the boosted MIN are out of reach, 3/8 of MIN are not.
    let got = |gfp, holds| {
        let mut z = with_marks(with_free(dma32(8192), 500), 800, 8000, 8000);
        z.boost = 4000;
        let m = with_rule(vec![z], "gfp_high_sees_through_boost", holds);
        alloc(&m, gfp, 0).0.is_some()
    };
    let with_atomic_bit = Gfp(ATOMIC.0 | Gfp::ATOMIC_BIT.0);
    assert!(got(ATOMIC, true) && !got(ATOMIC, false));
    assert!(got(with_atomic_bit, true) && got(with_atomic_bit, false));
    let may_block = Gfp(Gfp::DIRECT_RECLAIM.0 | Gfp::HIGH.0 | Gfp::ATOMIC_BIT.0 | Gfp::NORETRY.0);
    assert!(!got(may_block, false), "together with direct reclaim the bit is dropped");
}

#[test]
fn reserved_pages_in_use_count_as_out_of_reach_or_not() {
    for (holds, passes) in [(true, true), (false, false)] {
        let mut z = with_marks(with_free(dma32(4096), 600), 100, 100, 100);
        z.pageblocks = vec![(1, 7), (3, 1)];
        z.reserved_highatomic = 512;
        let m = with_rule(vec![z], "highatomic_free_counted", holds);
        assert_eq!(alloc(&m, NOTHING, 0).0.is_some(), passes);
        assert_eq!(m.snapshot().zones[0].free_highatomic, 0);
    }
}

#[test]
fn a_small_zone_has_a_high_atomic_reserve_or_not() {
    let m = |holds| {
        let zone = with_marks(zone(0, 1, 4096, 51_199), 70_000, 90_000, 90_000);
        with_rule(vec![zone], "highatomic_limit_rounded", holds)
    };
    for (holds, expected) in [(true, 0), (false, 512)] {
        let m = m(holds);
        assert!(alloc(&m, ATOMIC, 1).0.is_some());
        assert_eq!(reserved(&m), expected);
    }
    // 511 pages are a percent: below 511 + 512 a second block may follow, not a third.
    let m = m(false);
    for _ in 0..3 {
        assert!(alloc(&m, ATOMIC, 9).0.is_some());
    }
    assert_eq!(reserved(&m), 1024);
}

#[test]
fn fixed_limits_refill_by_batches_and_double_what_a_drain_takes() {
    let mut z = dma32(8192);
    let pcp = z.pcp.get_mut(&0).unwrap();
    (pcp.high, pcp.free_factor) = (300, Some(0));
    let m = with_rule(vec![z], "pcp_high_tuned", false);
    let mut cx = watched();
    let pages: Vec<Pfn> = (0..1000).map(|_| m.alloc_pages(&mut cx, NOTHING, 0, None).unwrap().unwrap()).collect();
    assert_eq!(refills(&cx.probe), [63; 16]);
    let mut cx = watched();
    pages.into_iter().for_each(|page| m.free_pages(&mut cx, page, 0).unwrap());
    // high - batch = 237 is the most that a drain takes.
    assert_eq!(drains(&cx.probe), [63, 126, 237, 237, 237]);
    assert_eq!(m.snapshot().zones[0].pcp[&0].free_factor, Some(2));
    // An allocation halves the factor; a bulk call does not.
    bulk::<OutputOnly>(&m, &mut Ctx::on(0), NOTHING, &Slot::array(8));
    assert_eq!(m.snapshot().zones[0].pcp[&0].free_factor, Some(2));
    page(&m, NOTHING).unwrap();
    assert_eq!(m.snapshot().zones[0].pcp[&0].free_factor, Some(1));
    // While the factor is not 0, a free of an order above 0 empties the lists.
    let block = alloc(&m, NOTHING, 1).0.unwrap();
    let m_factor = m.snapshot().zones[0].pcp[&0].free_factor;
    assert_eq!(m_factor, Some(0));
    m.free_pages(&mut Ctx::on(0), block, 1).unwrap();
    assert!(m.pcp_info(0, 0).unwrap().count > 0, "the factor was 0");
}

#[test]
fn fixed_limits_while_kswapd_reclaims_are_four_batches() {
    let mut z = dma32(8192);
    z.flags = 2;
    let pcp = z.pcp.get_mut(&0).unwrap();
    (pcp.high, pcp.free_factor, pcp.batch) = (300, Some(0), 7);
    let m = with_rules(vec![z], &[("pcp_high_tuned", false)]);
    let pages: Vec<Pfn> = (0..40).map(|_| page(&m, NOTHING).unwrap()).collect();
    let mut cx = watched();
    pages.into_iter().for_each(|page| m.free_pages(&mut cx, page, 0).unwrap());
    // 2 pages are left of the refills; at 28 the drains begin: 7, then 14, then 21.
    assert_eq!(drains(&cx.probe), [7, 14]);
}

#[test]
fn a_run_of_larger_frees_drains_after_a_batch_or_later() {
    let drained = |holds| {
        let m = with_rule(vec![dma32(8192)], "free_high_counts_high_min", holds);
        let blocks: Vec<Pfn> = (0..120).map(|_| alloc(&m, NOTHING, 1).0.unwrap()).collect();
        let mut cx = watched();
        let freed = |(i, block): (usize, Pfn)| {
            m.free_pages(&mut cx, block, 1).unwrap();
            (!drains(&cx.probe).is_empty()).then_some(2 * (i + 1))
        };
        blocks.into_iter().enumerate().find_map(freed)
    };
    // More than a batch of 63 was freed before; or than 63 and half of 300.
    assert_eq!((drained(false), drained(true)), (Some(66), Some(216)));
}

#[test]
fn a_drain_goes_at_once_or_in_pieces_between_which_the_lock_can_be_lost() {
    let lists = || {
        let mut z = dma32(8192);
        no_free(&mut z);
        add_free(&mut z, 8192, 12_288, 1);
        let pcp = z.pcp.get_mut(&0).unwrap();
        (pcp.high, pcp.high_min, pcp.high_max, pcp.free_count) = (300, 300, 300, 2000);
        on_pcp(&mut z, 0, 0, 4096, 300);
        z
    };
    let freed = |holds, fault: FaultPlan| {
        let m = with_rule(vec![lists()], "drain_in_batches", holds);
        let page = page(&m, NOTHING).unwrap();
        let mut cx = failing(fault);
        m.free_pages(&mut cx, page, 0).unwrap();
        m.audit().unwrap();
        (drains(&cx.probe), count(&cx.probe, |e| matches!(e, Event::PcpTrylock { .. })))
    };
    assert_eq!(freed(false, FaultPlan::default()), (vec![237], 1));
    assert_eq!(freed(true, FaultPlan::default()), (vec![63, 63, 63, 48], 4));
    let lost = FaultPlan { trylock: When::after(2), ..FaultPlan::default() };
    assert_eq!(freed(true, lost), (vec![63, 63], 3), "what another CPU holds is left as it is");
}

/// 8 pageblocks of MOVABLE; the third has its first 100 pages free, nothing else is.
fn one_ragged_block(movable: u32) -> ZoneState {
    let mut z = zone(0, 1, 4096, 4096);
    no_free(&mut z);
    add_free(&mut z, 5120, 5220, 1);
    z.movable = vec![(5120, movable)];
    z
}

#[test]
fn before_claims_the_free_pages_of_a_block_came_along_even_if_the_block_did_not() {
    let rules = [("claim_then_steal", false), ("list_type_is_block_type", false)];
    // The largest free block is of order 6, the 412 pages in use are movable: 100 free pages are less than half.
    let m = with_rules(vec![one_ragged_block(412)], &rules);
    let (page, events) = alloc(&m, NOTHING, 5);
    assert_eq!((page, block_type(&m, 5120)), (Some(Pfn(5184)), 1), "the smallest of what came");
    assert_eq!((free_list(&m, 0, 6, 0), free_list(&m, 0, 2, 0)), (vec![5120], vec![5216]), "they are UNMOVABLE now");
    let page_is_named = |e: &Event| matches!(e, Event::Extfrag { page: Pfn(5120), fallback_order: 6, .. });
    assert_eq!(count(&events, page_is_named), 1);
    // With as much in use that cannot move, the block comes too.
    let m = with_rules(vec![one_ragged_block(255)], &rules);
    alloc(&m, NOTHING, 5);
    assert_eq!(block_type(&m, 5120), 0);
    let m = with_rules(vec![one_ragged_block(257)], &rules);
    alloc(&m, NOTHING, 5);
    assert_eq!(block_type(&m, 5120), 1);
    // A page goes back to the list of its block.
    let (page, _) = alloc(&m, NOTHING, 4);
    m.free_pages(&mut Ctx::on(0), page.unwrap(), 4).unwrap();
    assert_eq!(free_list(&m, 0, 6, 1), [5120], "together with its buddies, whose lists were others");
}

#[test]
fn since_the_lists_agree_with_the_blocks_only_whole_blocks_came() {
    let m = with_rule(vec![one_ragged_block(412)], "claim_then_steal", false);
    let (page, _) = alloc(&m, NOTHING, 5);
    assert_eq!((page, block_type(&m, 5120)), (Some(Pfn(5120)), 1));
    assert_eq!((free_list(&m, 0, 5, 1), free_list(&m, 0, 5, 0)), (vec![5152, 5184], vec![]), "MOVABLE as before");
}

#[test]
fn a_movable_request_took_the_smallest_block_where_it_could_not_have_the_whole() {
    let mut z = zone(0, 1, 4096, 4096);
    no_free(&mut z);
    z.pageblocks = vec![(0, 8)];
    add_free(&mut z, 4096, 4104, 0);
    add_free(&mut z, 4608, 4609, 0);
    let rules = [("claim_then_steal", false), ("list_type_is_block_type", false)];
    let m = with_rules(vec![z.clone()], &rules);
    let got = alloc(&m, MOVABLE, 0).0;
    assert_eq!(got, Some(Pfn(4608)), "order 0 rather than order 3");
    // Not so for one that the whole block would do good.
    z.pageblocks = vec![(1, 8)];
    let lists = std::mem::take(&mut z.free);
    z.free = lists.into_iter().map(|(order, types)| (order, types.into_values().map(|l| (1, l)).collect())).collect();
    z.movable = vec![(4096, 504), (4608, 511)];
    let m = with_rules(vec![z], &rules);
    assert_eq!(alloc(&m, NOTHING, 0).0, Some(Pfn(4096)));
}

#[test]
fn a_page_went_back_by_the_type_it_carried() {
    // Two pages of one MOVABLE block on a list, one carrying RECLAIMABLE.
    let mut z = zone(0, 1, 4096, 4096);
    no_free(&mut z);
    on_pcp(&mut z, 0, 1, 4096, 1);
    on_pcp(&mut z, 0, 1, 4100, 1);
    let pcp = z.pcp.get_mut(&0).unwrap();
    pcp.carried = Some([(1, vec![1, 2])].into());
    let m = with_rule(vec![z], "list_type_is_block_type", false);
    let before = m.snapshot();
    assert_eq!(before.zones[0].pcp[&0].carried, Some([(1, vec![1, 2])].into()));
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    m.audit().unwrap();
    assert_eq!((free_list(&m, 0, 0, 1), free_list(&m, 0, 0, 2)), (vec![4096], vec![4100]));
}

#[test]
fn a_free_page_of_the_reserve_that_merges_on_another_list_is_counted_out_of_it() {
    // Frame 4096 was taken before its block was reserved, and goes back to the MOVABLE list next to 4097 on that of the reserve.
    let mut z = zone(0, 1, 4096, 1024);
    no_free(&mut z);
    z.pageblocks = vec![(3, 1), (1, 1)];
    add_free(&mut z, 4097, 4098, 3);
    on_pcp(&mut z, 0, 1, 4096, 1);
    z.pcp.get_mut(&0).unwrap().carried = Some([(1, vec![1])].into());
    (z.free_highatomic, z.reserved_highatomic) = (1, 512);
    let m = with_rule(vec![z], "list_type_is_block_type", false);
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    m.audit().unwrap();
    assert_eq!((free_list(&m, 0, 1, 1), m.snapshot().zones[0].free_highatomic), (vec![4096], 0));
}

#[test]
fn a_free_past_held_lists_is_counted_or_not() {
    for (holds, expected) in [(true, 1), (false, 0)] {
        let m = with_rule(vec![dma32(4096)], "free_past_lists_counted", holds);
        let pages = [page(&m, NOTHING).unwrap(), alloc(&m, NOTHING, 5).0.unwrap()];
        m.hold_pcp_lock(0, 1, 0, true).unwrap();
        m.free_pages(&mut Ctx::on(0), pages[0], 0).unwrap();
        assert_eq!(m.vm_events().pgfree, expected);
        m.free_pages(&mut Ctx::on(0), pages[1], 5).unwrap();
        assert_eq!(m.vm_events().pgfree, expected + 32, "an order without lists always is");
    }
}

#[test]
fn a_movable_zone_has_marks_of_its_own_or_not() {
    let zones = [(ZoneType::Dma32, 100_000), (ZoneType::Movable, 100_000)];
    assert_eq!(setup_per_zone_wmarks(&zones, 40_000, 10).iter().map(|m| m.min).collect::<Vec<_>>(), [10_000, 97]);
    let alike = setup_per_zone_wmarks_movable_alike(&zones, 40_000, 10);
    assert_eq!(alike.iter().map(|m| m.min).collect::<Vec<_>>(), [5000, 5000]);
}

fn two_nodes(rule: (&str, bool), boosted: bool) -> Machine<Local> {
    let node = |nid: usize, start| {
        let mut z = with_marks(with_free(zone(nid, 1, start, 4096), 2000), 100, 300, 3000);
        z.boost = if boosted { 1 } else { 0 };
        z
    };
    let mut snapshot = snapshot(vec![node(0, 4096), node(1, 8192)], &[0]);
    snapshot.facts.rules.insert(rule.0.to_owned(), rule.1);
    Machine::from_snapshot(&snapshot).unwrap()
}

#[test]
fn a_request_passes_over_nodes_whose_kswapd_is_awake() {
    let m = two_nodes(("first_pass_skips_awake_kswapd", true), false);
    let nid = |page: Option<Pfn>| page.map(|pfn| usize::from(pfn >= Pfn(8192)));
    let waiting = |m: &Machine<Local>| m.snapshot().nodes.iter().map(|n| n.kswapd_waiting).collect::<Vec<_>>();
    let node_0_only = Gfp(NOWAIT.0 | Gfp::THISNODE.0);
    assert_eq!((nid(page(&m, NOWAIT)), waiting(&m)), (Some(0), vec![1, 1]));
    // Both nodes are below HIGH: a request that finds node 0 short wakes it, and others go to node 1.
    let mut pages = Vec::new();
    while let Some(page) = page(&m, Gfp(node_0_only.0 | Gfp::NOMEMALLOC.0)) {
        pages.push(page);
    }
    assert_eq!(waiting(&m), [0, 1]);
    m.free_pages(&mut Ctx::on(0), pages.pop().unwrap(), 0).unwrap();
    for page in pages {
        m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
    }
    assert_eq!(nid(page(&m, NOWAIT)), Some(1), "node 0 has memory again, but its kswapd is awake");
    // Where no other node is left, the preferred one serves.
    assert_eq!(nid(page(&m, node_0_only)), Some(0));
    m.audit().unwrap();
    // Without the rule nobody looks, and a snapshot does not say.
    let m = two_nodes(("first_pass_skips_awake_kswapd", false), false);
    while page(&m, Gfp(node_0_only.0 | Gfp::NOMEMALLOC.0)).is_some() {}
    assert!(m.snapshot().nodes.is_empty());
}

#[test]
fn a_kswapd_that_gave_up_is_not_woken_until_a_free_finds_the_zone_above_high() {
    let m = two_nodes(("first_pass_skips_awake_kswapd", true), false);
    let mut snapshot = m.snapshot();
    snapshot.nodes[0].kswapd_failures = 16;
    snapshot.facts.rules.insert("free_revives_kswapd".into(), true);
    // Without it the first request of another type would lift HIGH out of reach.
    snapshot.facts.watermark_boost_factor = Some(0);
    snapshot.zones[0].high = 1900;
    let pcp = snapshot.zones[0].pcp.get_mut(&0).unwrap();
    (pcp.batch, pcp.high_min, pcp.high_max) = (7, 28, 28);
    let m: Machine<Local> = Machine::from_snapshot(&snapshot).unwrap();
    let this_node = Gfp(NOWAIT.0 | Gfp::THISNODE.0 | Gfp::NOMEMALLOC.0);
    let mut pages = Vec::new();
    while let Some(page) = page(&m, this_node) {
        pages.push(page);
    }
    assert_eq!((m.snapshot().nodes[0].kswapd_waiting, m.snapshot().nodes[0].kswapd_failures), (1, 16));
    pages.into_iter().for_each(|page| m.free_pages(&mut Ctx::on(0), page, 0).unwrap());
    assert_eq!(m.snapshot().nodes[0].kswapd_failures, 0);
    // Node 1 has nobody behind it, so its free path leaves it alone.
    snapshot.nodes[1].kswapd_failures = 16;
    snapshot.cpu_node = [(0, 1)].into();
    snapshot.zones[1].high = 1900;
    let pcp = snapshot.zones[1].pcp.get_mut(&0).unwrap();
    (pcp.batch, pcp.high_min, pcp.high_max) = (7, 28, 28);
    let m: Machine<Local> = Machine::from_snapshot(&snapshot).unwrap();
    let mut pages = Vec::new();
    while let Some(page) = page(&m, this_node) {
        pages.push(page);
    }
    pages.into_iter().for_each(|page| m.free_pages(&mut Ctx::on(0), page, 0).unwrap());
    assert_eq!(m.snapshot().nodes[1].kswapd_failures, 16);
}

#[test]
fn kswapd_of_a_node_above_high_sleeps_on() {
    // The request fails by a fault, so that it asks for kswapd whatever is free.
    for (free, waiting) in [(3500, 1), (500, 0)] {
        let zone = with_marks(with_free(dma32(4096), free), 10, 20, 1000);
        let m = with_rule(vec![zone], "first_pass_skips_awake_kswapd", true);
        assert_eq!(m.alloc_pages(&mut failing(pages(0)), NOWAIT, 0, None).unwrap(), None);
        assert_eq!(m.snapshot().nodes[0].kswapd_waiting, waiting, "{free} pages free, HIGH is 1000");
    }
}

#[test]
fn with_defrag_mode_types_stay_apart_until_nothing_else_helps() {
    let m = |holds| with_rule(vec![one_ragged_block(412)], "defrag_mode", holds);
    // 100 MOVABLE pages are free; NORMAL's rule does not reach DMA32.
    assert!(page(&m(false), NOTHING).is_some());
    assert_eq!(page(&m(true), NOTHING), None, "it may neither reclaim nor wake kswapd");
    assert!(page(&m(true), Gfp(NOTHING.0 | Gfp::KSWAPD_RECLAIM.0)).is_some(), "better mixed than failed");
    // What kswapd is woken for: whole pageblocks with the rule, the order asked without it.
    for (holds, order) in [(true, 9), (false, 0)] {
        let rules = [("defrag_mode", holds), ("first_pass_skips_awake_kswapd", true)];
        let m = with_rules(vec![with_free(dma32(4096), 0)], &rules);
        assert_eq!(page(&m, NOWAIT), None);
        assert_eq!(m.snapshot().nodes[0].kswapd_order, order);
    }
    assert!(page(&m(true), MOVABLE).is_some(), "its own type has pages");
    // One that reclaims tries in vain first.
    let m = m(true);
    assert!(page(&m, KERNEL).is_some());
    assert!(m.vm_events().allocstall[2] > 0);
}

#[test]
fn without_smp_a_bulk_call_brings_one_page_since_there_are_no_lists() {
    let m = with_rules(vec![dma32(4096)], &[("smp", false), ("up_without_lists", true)]);
    let slots = Slot::array(64);
    assert_eq!(bulk::<NullOnly>(&m, &mut Ctx::on(0), KERNEL, &slots), 1);
    assert_eq!(bulk::<OutputOnly>(&m, &mut Ctx::on(0), KERNEL, &slots), 1);
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    assert!(m.hold_pcp_lock(0, 1, 0, true).unwrap_err().to_string().contains("SMP"));
    assert!(m.held_pcp_locks().is_empty());
    let saved = m.save();
    assert_eq!(Machine::<Local>::restore(&saved).unwrap().snapshot(), m.snapshot());
    // Before v7.1 such a build had lists.
    let m = with_rules(vec![dma32(4096)], &[("smp", false)]);
    assert_eq!(bulk::<OutputOnly>(&m, &mut Ctx::on(0), KERNEL, &slots), 64);
}

#[test]
fn a_snapshot_of_an_era_says_so_and_comes_out_as_it_went_in() {
    for era in Era::ALL {
        let spec = BootSpec { era, rules: era.rules(), ..BootSpec::new(256 * 256, 2, 2) };
        let m = Machine::<Local>::boot(&spec).unwrap();
        let pages: Vec<_> = (0..200).map(|i| alloc(&m, if i % 3 == 0 { MOVABLE } else { KERNEL }, i % 4)).collect();
        for (i, (page, _)) in pages.into_iter().enumerate() {
            m.free_pages(&mut Ctx::on(0), page.unwrap(), i as u8 % 4).unwrap();
        }
        let snapshot = m.snapshot();
        assert_eq!(snapshot.facts.kernel.as_deref().unwrap_or("6.12"), era.name());
        let again = Machine::<Local>::from_snapshot(&snapshot).unwrap();
        assert_eq!((again.era(), again.rules()), (era, era.rules()));
        assert_eq!(again.snapshot(), snapshot);
        let text = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<bulkpages_core::snapshot::Snapshot>(&text).unwrap(), snapshot);
    }
}

#[test]
fn what_contradicts_an_era_is_refused() {
    let refused = |edit: fn(&mut bulkpages_core::snapshot::Snapshot)| {
        let mut s = snapshot(vec![dma32(4096)], &[0]);
        edit(&mut s);
        Machine::<Local>::from_snapshot(&s).unwrap_err().to_string()
    };
    assert!(refused(|s| s.facts.kernel = Some("5.10".into())).contains("\"5.10\""));
    assert!(refused(|s| s.facts.rules = [("nonsense".into(), true)].into()).contains("nonsense"));
    assert!(refused(|s| s.facts.node_reclaim = Some(1)).contains("node_reclaim is 1"));
    assert!(refused(|s| s.zones[0].trylock_free = Some(1)).contains("trylock_free is 1"));
    assert!(refused(|s| s.zones[0].nr_free_blocks = Some(512)).contains("nr_free_blocks is 512"));
    assert!(refused(|s| (s.facts.kernel, s.zones[0].flags) = (Some("6.1".into()), 4)).contains("does not have"));
}

/// A step of a random stream.
#[derive(Clone, Debug)]
enum Step {
    Alloc(Gfp, u8),
    Bulk(Gfp, usize, bool),
    Free(usize),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let gfp =
        prop::sample::select(vec![KERNEL, ATOMIC, NOWAIT, MOVABLE, NOTHING, Gfp(0xcd0), Gfp(0xa20), Gfp(0x2_0820)]);
    prop_oneof![
        6 => (gfp.clone(), prop::sample::select(vec![0, 0, 0, 1, 2, 3, 5, 9, 10])).prop_map(|(g, o)| Step::Alloc(g, o)),
        3 => (gfp, 0..300usize, any::<bool>()).prop_map(|(g, n, v1)| Step::Bulk(g, n, v1)),
        6 => any::<usize>().prop_map(Step::Free),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_mixture_of_rules_is_sound(
        era in prop::sample::select(Era::ALL.to_vec()),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        cma in 0..4u64,
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut rules = era.rules();
        for flip in flips {
            let name = Rules::ALL[flip.index(Rules::ALL.len())].name;
            rules = rules.with(name, !rules.get(name).unwrap()).unwrap();
        }
        let spec = BootSpec { era, rules, ..BootSpec::new(32 * 256, 2, 1) };
        let m = booted_as(&spec, |s| if cma > 0 { with_cma(s, 1, cma) });
        let mut owned: Vec<(Pfn, u8)> = Vec::new();
        for (i, step) in steps.into_iter().enumerate() {
            let mut cx = Ctx::on(i % 2);
            match step {
                Step::Alloc(gfp, order) => owned.extend(m.alloc_pages(&mut cx, gfp, order, None).unwrap().map(|p| (p, order))),
                Step::Bulk(gfp, n, v1) => {
                    let slots = Slot::array(n);
                    let got = if v1 { bulk::<NullOnly>(&m, &mut cx, gfp, &slots) } else { bulk::<OutputOnly>(&m, &mut cx, gfp, &slots) };
                    owned.extend(slots[..got].iter().map(|slot| (slot.get(), 0)));
                }
                Step::Free(at) => if !owned.is_empty() {
                    let (page, order) = owned.swap_remove(at % owned.len());
                    m.free_pages(&mut cx, page, order).unwrap();
                },
                Step::Drain => m.drain_local_pages(&mut cx).unwrap(),
            }
            let audit = m.audit();
            prop_assert!(audit.is_ok(), "step {i}: {audit:?}");
        }
        let snapshot = m.snapshot();
        let again = Machine::<Local>::restore(&m.save()).unwrap();
        prop_assert_eq!(again.snapshot(), snapshot);
    }
}

#[test]
fn pages_freed_together_go_in_their_order_or_from_the_last_on() {
    for (holds, in_order, batch) in [(true, true, 31), (false, false, 32)] {
        let m = with_rule(vec![dma32(1024)], "folios_freed_in_batches", holds);
        let pages = singly(&m, 80);
        let mut cx = watched();
        assert_eq!(m.free_unref_folios(&mut cx, &pages), 80);
        m.audit().unwrap();
        let of = |wanted: fn(&Event) -> Option<Pfn>| cx.probe.iter().filter_map(wanted).collect::<Vec<_>>();
        let freed = of(|e| if let Event::PageFree { page, .. } = e { Some(*page) } else { None });
        let batched = of(|e| if let Event::PageFreeBatched { page } = e { Some(*page) } else { None });
        let expected: Vec<Pfn> = if in_order { pages.clone() } else { pages.iter().rev().copied().collect() };
        assert_eq!((&freed, &batched), (&expected, &expected));
        // The lock is let go after each batch.
        let mut holds = Vec::new();
        for event in &cx.probe {
            match event {
                Event::PcpTrylock { .. } => holds.push(0),
                Event::PageFreeBatched { .. } => *holds.last_mut().unwrap() += 1,
                _ => {}
            }
        }
        assert_eq!(holds, [batch, batch, 80 - 2 * batch]);
        // Before v6.9 all pages were prepared before the first went.
        let first_batched = cx.probe.iter().position(|e| matches!(e, Event::PageFreeBatched { .. })).unwrap();
        let prepared = count(&cx.probe[..first_batched], |e| matches!(e, Event::PageFree { .. }));
        assert_eq!(prepared, if in_order { 31 } else { 80 });
    }
}

#[test]
fn pages_freed_past_locked_lists_are_no_part_of_a_batch() {
    for holds in [true, false] {
        let m = with_rule(vec![dma32(1024)], "folios_freed_in_batches", holds);
        let pages = singly(&m, 3);
        m.hold_pcp_lock(0, 1, 0, true).unwrap();
        let mut cx = watched();
        assert_eq!(m.free_unref_folios(&mut cx, &pages), 3);
        assert_eq!(count(&cx.probe, |e| matches!(e, Event::PageFreeBatched { .. })), 0);
        assert_eq!(count(&cx.probe, |e| matches!(e, Event::PcpTrylock { .. })), 3, "each page tries again");
        m.hold_pcp_lock(0, 1, 0, false).unwrap();
        m.audit().unwrap();
    }
}

/// Pages of the machine, one request each.
fn singly(m: &Machine<Local>, n: usize) -> Vec<Pfn> {
    (0..n).map(|_| m.alloc_pages(&mut Ctx::on(0), KERNEL, 0, None).unwrap().unwrap()).collect()
}
