//! Micro-examples, each on a machine of a few pageblocks: what the bulk call does with small arrays, row by row for both
//! versions; splitting, merging and falling back; how far each kind of request may go.

use crate::kit::{
    ATOMIC, KERNEL, MOVABLE, NOTHING, NOWAIT, add_free, array, block_type, bulk, compact, count, dma32, failing,
    frames, free_list, free_lists, machine, no_free, on_pcp, page, shape, slot_tests, slot_writes, watched, with_free,
    with_marks, zone,
};
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::{FaultPlan, NoFault};
use bulkpages_core::gfp::{Gfp, Migratetype};
use bulkpages_core::pcp::{zone_batchsize, zone_highsize};
use bulkpages_core::probe::{Event, SingleReason};
use bulkpages_core::slowpath::Task;
use bulkpages_core::snapshot::ZoneState;
use bulkpages_core::sync::Local;
use bulkpages_core::watermark::{
    calculate_min_free_kbytes, calculate_normal_threshold, calculate_pressure_threshold,
    set_recommended_min_free_kbytes,
};
use bulkpages_core::{Ctx, Machine, Pfn, Slot};

#[test]
fn bounds_of_min_free_kbytes() {
    assert_eq!(calculate_min_free_kbytes(100), 128);
    assert_eq!(calculate_min_free_kbytes(1 << 32), 262_144);
    // What khugepaged asks for is bounded by a twentieth of what is free above HIGH.
    assert_eq!(set_recommended_min_free_kbytes(2, 100_000), 20_000);
}

#[test]
fn batches_between_the_smallest_and_the_largest() {
    let sizes = [1024, 12_287, 12_288, 24_040, 56_248, 112_472, 176_127, 176_128, 10_000_000];
    assert_eq!(sizes.map(zone_batchsize), [1, 1, 3, 3, 15, 31, 31, 63, 63]);
}

#[test]
fn fixed_limits_follow_the_fraction() {
    // A fraction of 50 makes both bounds one fiftieth, shared by two CPUs, but never less than four batches.
    assert_eq!(zone_highsize(33_720, 5610, 2, 7, 50), (337, 337));
    assert_eq!(zone_highsize(3840, 638, 2, 1, 50), (38, 38));
    assert_eq!(zone_highsize(3840, 638, 2, 63, 50), (252, 252));
}

#[test]
fn thresholds_have_bounds() {
    assert_eq!(calculate_normal_threshold(256, 1 << 30), 125);
    assert_eq!(calculate_pressure_threshold(2, 243, 195), 24);
    assert_eq!(calculate_pressure_threshold(2, 1630, 1304), 125);
    assert_eq!(calculate_pressure_threshold(8, 4, 1), 1);
}

fn take(m: &Machine<Local>, cx: &mut Ctx<Vec<Event>, NoFault>, n: usize) -> Vec<Pfn> {
    (0..n).map(|_| m.alloc_pages(cx, KERNEL, 0, None).unwrap().unwrap()).collect()
}

/// Whether a bulk call of `n` goes through the batch path.
fn batched(m: &Machine<Local>, n: usize) -> bool {
    let mut cx = watched();
    assert!(bulk::<OutputOnly>(m, &mut cx, KERNEL, &Slot::array(n)) > 0);
    let single = count(&cx.probe, |e| matches!(e, Event::BulkSingle { .. })) > 0;
    let zone = count(&cx.probe, |e| matches!(e, Event::BulkZone { .. })) > 0;
    assert_ne!(single, zone);
    zone
}

#[test]
fn boost_highatomic_and_reserve_raise_the_gate() {
    let gate = |change: fn(&mut ZoneState)| {
        let mut zone = with_marks(with_free(dma32(8192), 2048), 477, 717, 957);
        change(&mut zone);
        machine(vec![zone])
    };
    // 2048 free pages: bulk iff LOW + boost + n + reserve + high-atomic < 2048.
    assert!(batched(&gate(|_| ()), 1330) && !batched(&gate(|_| ()), 1331));
    let boosted = || gate(|z| z.boost = 512);
    assert!(batched(&boosted(), 818) && !batched(&boosted(), 819));
    let reserved = || gate(|z| z.lowmem_reserve = vec![0, 100, 0, 0]);
    assert!(batched(&reserved(), 1230) && !batched(&reserved(), 1231), "the preferred zone's index counts");
    let atomic = || {
        gate(|z| {
            no_free(z);
            add_free(z, 4096, 4608, 3);
            add_free(z, 4608, 6144, 1);
            (z.free_highatomic, z.reserved_highatomic) = (512, 512);
            z.pageblocks = vec![(3, 1), (1, 15)];
        })
    };
    assert!(batched(&atomic(), 818) && !batched(&atomic(), 819));
}

#[test]
fn how_far_each_request_may_go_below_min() {
    // MIN 4019: (flags, task, least free pages that serve the request).
    let task = Task { oom_victim: true, ..Task::default() };
    let realtime = Task { realtime: true, ..Task::default() };
    let high = NOTHING | Gfp::HIGH;
    let norw = Gfp(KERNEL.0 | Gfp::NORETRY.0);
    for (what, gfp, task, mark) in [
        ("nobody's friend", NOTHING, Task::default(), 4019),
        ("NOWAIT", NOWAIT, Task::default(), 4019),
        ("HIGH", high, Task::default(), 2010),
        ("ATOMIC", ATOMIC, Task::default(), 1508),
        ("OOM victim", norw, task, 2010),
        ("realtime", norw, realtime, 2010),
        ("ordinary", norw, Task::default(), 4019),
    ] {
        let served = |free| {
            let mut m = machine(vec![with_marks(with_free(dma32(16_384), free), 4019, 9000, 9001)]);
            m.set_task(task);
            page(&m, gfp).is_some()
        };
        assert!(!served(mark), "{what}: exactly {mark} free pages are too few");
        assert!(served(mark + 1), "{what}: {} free pages suffice", mark + 1);
    }
}

/// One call on one array.
struct Row {
    before: &'static str,
    fault: fn() -> FaultPlan,
    /// What v1 returns, the array afterwards, pages taken in the batch, single-page requests.
    v1: (usize, &'static str, usize, usize),
    /// The same of the patched caller: compaction, then v2 on the rest; `None` where it does not call.
    v2: Option<(usize, &'static str, usize, usize)>,
}

fn rows() -> Vec<Row> {
    let ok = || FaultPlan::default();
    vec![
        Row { before: "........", fault: ok, v1: (8, "xxxxxxxx", 8, 0), v2: Some((8, "xxxxxxxx", 8, 0)) },
        Row { before: "xxxxxxxx", fault: ok, v1: (8, "xxxxxxxx", 0, 0), v2: None },
        Row { before: "xxxxxxx.", fault: ok, v1: (8, "xxxxxxxx", 0, 1), v2: Some((1, "xxxxxxxx", 0, 1)) },
        Row { before: ".xxxxxxx", fault: ok, v1: (8, "xxxxxxxx", 1, 0), v2: Some((1, "xxxxxxxx", 0, 1)) },
        Row { before: "x.x.x.x.", fault: ok, v1: (8, "xxxxxxxx", 4, 0), v2: Some((4, "xxxxxxxx", 4, 0)) },
        Row {
            before: "x.x.x.x.",
            fault: || FaultPlan { trylock: true.into(), ..FaultPlan::default() },
            v1: (2, "xxx.x.x.", 0, 1),
            v2: Some((1, "xxxxx...", 0, 1)),
        },
        Row {
            before: "x.x.x.x.",
            fault: || FaultPlan { pages: Some(2.into()), ..FaultPlan::default() },
            v1: (5, "xxxxx.x.", 2, 0),
            v2: Some((2, "xxxxxx..", 2, 0)),
        },
        Row {
            before: "x.x.x.x.",
            fault: || FaultPlan { pages: Some(0.into()), single: true.into(), ..FaultPlan::default() },
            v1: (1, "x.x.x.x.", 0, 1),
            v2: Some((0, "xxxx....", 0, 1)),
        },
        Row {
            before: "x.x.x.x.",
            fault: || FaultPlan { prepare: true.into(), ..FaultPlan::default() },
            v1: (1, "x.x.x.x.", 0, 0),
            v2: Some((0, "xxxx....", 0, 0)),
        },
        Row { before: ".x", fault: ok, v1: (2, "xx", 1, 0), v2: Some((1, "xx", 0, 1)) },
        Row { before: "x.", fault: ok, v1: (2, "xx", 0, 1), v2: Some((1, "xx", 0, 1)) },
    ]
}

fn in_batch_and_single(events: &[Event]) -> (usize, usize) {
    let zone = count(events, |e| matches!(e, Event::BulkZone { .. }));
    let single = count(events, |e| matches!(e, Event::BulkSingle { .. }));
    // What was written and did not come from a single-page request came from the batch.
    let by_single = count(events, |e| matches!(e, Event::PageAlloc { page, .. } if !page.is_null()));
    let pages = if zone > 0 { slot_writes(events) - by_single } else { 0 };
    (pages, single)
}

#[test]
fn every_row_of_v1() {
    for Row { before, fault, v1, .. } in rows() {
        let m = machine(vec![dma32(4096)]);
        let slots = array(&m, before);
        let kept = frames(&slots);
        let mut cx = failing(fault());
        let ret = bulk::<NullOnly>(&m, &mut cx, KERNEL, &slots);
        let (batch, single) = in_batch_and_single(&cx.probe);
        assert_eq!((ret, &*shape(&slots), batch, single), v1, "{before}");
        for (before, after) in kept.iter().zip(frames(&slots)) {
            assert!(*before == 0 || *before == after, "v1 moves nothing");
        }
    }
}

#[test]
fn every_row_of_v2_after_compaction() {
    for Row { before, fault, v2, .. } in rows() {
        let m = machine(vec![dma32(4096)]);
        let slots = array(&m, before);
        let had = compact(&slots);
        let Some(want) = v2 else {
            assert_eq!(had, slots.len(), "only a full array needs no call");
            continue;
        };
        let mut cx = failing(fault());
        let ret = bulk::<OutputOnly>(&m, &mut cx, KERNEL, &slots[had..]);
        let (batch, single) = in_batch_and_single(&cx.probe);
        assert_eq!((ret, &*shape(&slots), batch, single), want, "{before}");
    }
}

#[test]
fn marks_of_every_row() {
    // ".xxxxxxx" is tested against LOW + 8 in v1; the patched caller asks for one page, so for LOW alone.
    let single_reason = |free, before: &str, v2: bool| {
        let mut zone = with_marks(with_free(dma32(4096), free), 477, 717, 957);
        on_pcp(&mut zone, 0, 0, 8192 - 64, 64);
        let m = machine(vec![zone]);
        let slots = array(&m, before);
        let mut cx = watched();
        if v2 {
            let had = compact(&slots);
            bulk::<OutputOnly>(&m, &mut cx, KERNEL, &slots[had..]);
        } else {
            bulk::<NullOnly>(&m, &mut cx, KERNEL, &slots);
        }
        cx.probe.iter().find_map(|e| if let Event::BulkSingle { reason } = e { Some(*reason) } else { None })
    };
    assert_eq!(single_reason(717 + 8, ".xxxxxxx", false), Some(SingleReason::Watermark));
    assert_eq!(single_reason(717 + 9, ".xxxxxxx", false), None);
    assert_eq!(single_reason(717 + 9, ".xxxxxxx", true), Some(SingleReason::OnePage));
    assert_eq!(single_reason(717 + 8, "x.x.x.x.", false), Some(SingleReason::Watermark));
    assert_eq!(single_reason(717 + 5, "x.x.x.x.", true), None);
    assert_eq!(single_reason(717 + 4, "x.x.x.x.", true), Some(SingleReason::Watermark));
}

#[test]
fn array_accesses_of_both() {
    // Sunrpc's example: 259 slots, one hole at 1.
    let m = machine(vec![dma32(8192)]);
    let mut pattern = vec!['x'; 259];
    pattern[1] = '.';
    let slots = array(&m, &pattern.iter().collect::<String>());
    let mut cx = watched();
    assert_eq!(bulk::<NullOnly>(&m, &mut cx, KERNEL, &slots), 259);
    let lock = cx.probe.iter().position(|e| matches!(e, Event::PcpTrylock { .. })).unwrap();
    assert_eq!((slot_tests(&cx.probe[..lock]), slot_tests(&cx.probe[lock..]), slot_writes(&cx.probe)), (2, 258, 1));
}

#[test]
fn buddies_meet_at_xor() {
    for order in 0..10 {
        let pfn = Pfn(5 << 10);
        assert_eq!(pfn.buddy(order).0, pfn.0 ^ (1 << order));
        assert_eq!(pfn.buddy(order).buddy(order), pfn);
    }
}

/// Frees everything and drains, so that blocks merge as far as they can.
fn give_back(m: &Machine<Local>, pages: impl IntoIterator<Item = Pfn>) {
    for pfn in pages {
        m.free_pages(&mut Ctx::on(0), pfn, 0).unwrap();
    }
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
}

#[test]
fn blocks_merge_up_to_order_10_and_no_further() {
    let m = machine(vec![dma32(4096)]);
    let pages = take(&m, &mut watched(), 2000);
    give_back(&m, pages);
    // All is whole again. The types that claiming left behind stay.
    let lists = free_lists(&m, 0);
    assert_eq!(lists.keys().copied().collect::<Vec<_>>(), [10]);
    assert_eq!(lists[&10].values().map(Vec::len).sum::<usize>(), 4);
}

#[test]
fn a_block_waits_at_the_tail_where_its_merge_is_likely() {
    // Frames 4104 and 4106 are free already. Freeing 4112, nothing beside it being free, goes to the head; freeing
    // 4105 while 4106..4108 is free goes to the tail, since the next merge would make four pages.
    let mut zone = with_free(dma32(4096), 0);
    add_free(&mut zone, 4106, 4108, 1);
    add_free(&mut zone, 4200, 4201, 1);
    add_free(&mut zone, 5120, 6144, 1);
    on_pcp(&mut zone, 0, 1, 4104, 1);
    on_pcp(&mut zone, 0, 1, 4112, 1);
    let m = machine(vec![zone]);
    m.drain_local_pages(&mut Ctx::on(0)).unwrap();
    // Tails are drained first: 4112 to the head, then 4104 to the tail.
    assert_eq!(free_list(&m, 0, 0, 1), [4112, 4200, 4104]);
}

#[test]
fn splits_leave_upper_halves() {
    let m = machine(vec![dma32(1024)]);
    let mut cx = watched();
    let pfn = m.alloc_pages(&mut cx, KERNEL, 4, None).unwrap().unwrap();
    assert_eq!(pfn, Pfn(4096));
    for (order, upper) in [(4, 4112), (5, 4128), (6, 4160), (7, 4224), (8, 4352), (9, 4608)] {
        assert_eq!(free_list(&m, 0, order, 0), [upper]);
    }
}

#[test]
fn the_first_entry_of_the_smallest_order_leaves() {
    let mut zone = with_free(dma32(4096), 0);
    for pfn in [4500, 4300, 4400] {
        add_free(&mut zone, pfn, pfn + 1, 1);
    }
    add_free(&mut zone, 5120, 6144, 1);
    let m = machine(vec![zone]);
    let mut cx = watched();
    let slots = Slot::array(4);
    bulk::<OutputOnly>(&m, &mut cx, MOVABLE, &slots);
    // List order, not address order; only then the large block is split.
    assert_eq!(frames(&slots), [4500, 4300, 4400, 5120]);
    let percpu: Vec<bool> = cx
        .probe
        .iter()
        .filter_map(|e| if let Event::ZoneLocked { percpu_refill, .. } = e { Some(*percpu_refill) } else { None })
        .collect();
    assert!(percpu.iter().all(|&p| p));
}

#[test]
fn percpu_refill_is_told_by_order_and_type() {
    let m = machine(vec![dma32(8192)]);
    let flag = |order| {
        let mut cx = watched();
        m.alloc_pages(&mut cx, MOVABLE, order, None).unwrap().unwrap();
        cx.probe
            .iter()
            .find_map(|e| if let Event::ZoneLocked { percpu_refill, .. } = e { Some(*percpu_refill) } else { None })
    };
    let flags: Vec<_> = (0..11).map(|order| flag(order).unwrap()).collect();
    let allowed = [true, true, true, true, false, false, false, false, false, true, false];
    assert_eq!(flags, allowed);
}

/// A zone whose first pageblocks have these types, each with one free block of `order` at its start.
fn typed(types: &[(u8, u8)]) -> ZoneState {
    let mut zone = zone(0, 1, 4096, 4096);
    no_free(&mut zone);
    zone.pageblocks = types.iter().map(|&(mt, _)| (u32::from(mt), 1)).collect();
    zone.pageblocks.push((1, 8 - types.len() as u64));
    for (i, &(mt, order)) in types.iter().enumerate() {
        let start = 4096 + 512 * i as u64;
        add_free(&mut zone, start, start + (1 << order), mt);
    }
    zone
}

/// Where a request of this flag word finds a page: type of the list and whether the block became its own.
fn falls_back_to(zone: ZoneState, gfp: Gfp) -> (Migratetype, bool, u8) {
    let m = machine(vec![zone]);
    let mut cx = watched();
    m.alloc_pages(&mut cx, gfp, 0, None).unwrap().unwrap();
    cx.probe
        .iter()
        .find_map(|e| match e {
            Event::Extfrag { fallback_migratetype, change_ownership, fallback_order, .. } => {
                Some((*fallback_migratetype, *change_ownership, *fallback_order))
            }
            _ => None,
        })
        .unwrap()
}

#[test]
fn order_of_fallback_types() {
    use Migratetype::{Movable, Reclaimable, Unmovable};
    let reclaimable = Gfp(KERNEL.0 | Gfp::RECLAIMABLE.0);
    let whole = |a, b| typed(&[(a, 9), (b, 9)]);
    assert_eq!(falls_back_to(whole(1, 2), KERNEL).0, Reclaimable);
    assert_eq!(falls_back_to(whole(1, 1), KERNEL).0, Movable);
    assert_eq!(falls_back_to(whole(0, 2), MOVABLE).0, Reclaimable);
    assert_eq!(falls_back_to(whole(0, 0), MOVABLE).0, Unmovable);
    assert_eq!(falls_back_to(whole(1, 0), reclaimable).0, Unmovable);
    assert_eq!(falls_back_to(whole(1, 1), reclaimable).0, Movable);
}

#[test]
fn claims_look_from_above_and_steals_from_below() {
    // Two blocks that cannot be claimed, since less than half of them is free: the smaller entry is stolen from.
    assert_eq!(falls_back_to(typed(&[(2, 6), (2, 3)]), KERNEL), (Migratetype::Reclaimable, false, 3));
    // One that can: the larger entry decides.
    assert_eq!(falls_back_to(typed(&[(2, 8), (2, 3)]), KERNEL), (Migratetype::Reclaimable, true, 8));
}

#[test]
fn half_a_block_is_enough_to_claim_it() {
    // 256 free pages of 512 are enough, 255 are not; free buddies move to the tails of the new lists.
    let zone = |free: u64| {
        let mut zone = typed(&[(2, 0)]);
        no_free(&mut zone);
        add_free(&mut zone, 4096, 4096 + free, 2);
        zone
    };
    assert!(falls_back_to(zone(256), KERNEL).1);
    assert!(!falls_back_to(zone(255), KERNEL).1);
    // Movable pages of a movable block do not count as alike for an unmovable request: what is neither free nor
    // movable does.
    let alike = |movable: u32, gfp| {
        let mut zone = typed(&[(1, 7)]);
        zone.movable = vec![(4096, movable)];
        falls_back_to(zone, gfp)
    };
    assert!(alike(256, KERNEL).1, "128 free and 128 of the kernel's own are half");
    assert!(!alike(257, KERNEL).1);
    // For a movable request movable pages are what counts.
    let movable = |movable: u32| {
        let mut zone = typed(&[(2, 7)]);
        zone.movable = vec![(4096, movable)];
        falls_back_to(zone, MOVABLE)
    };
    assert!(movable(128).1);
    assert!(!movable(127).1);
}

#[test]
fn only_movable_requests_leave_small_blocks_alone() {
    // Order 3 and less in a block that is free by half: an unmovable request claims it, a movable one steals.
    let zone = || {
        let mut zone = typed(&[(2, 0)]);
        no_free(&mut zone);
        for at in (4096..4608).step_by(16) {
            add_free(&mut zone, at, at + 8, 2);
        }
        zone
    };
    assert_eq!(falls_back_to(zone(), KERNEL), (Migratetype::Reclaimable, true, 3));
    assert_eq!(falls_back_to(zone(), MOVABLE), (Migratetype::Reclaimable, false, 3));
}

#[test]
fn high_atomic_blocks_are_a_reserve_and_not_a_fallback() {
    // 102400 managed pages: one percent is two blocks. An atomic request of order 2 that the slow path serves reserves
    // the block it came from.
    let mut big = zone(0, 1, 4096, 102_400);
    // An atomic request gets down to 3/8 of MIN: 105000 here, more than there is.
    big = with_marks(big, 280_000, 300_000, 300_000);
    let m = machine(vec![big]);
    assert_eq!(m.alloc_pages(&mut Ctx::on(0), ATOMIC, 2, None).unwrap(), None);
    assert_eq!(m.zone_info(0).unwrap().reserved_highatomic, 0, "what fails reserves nothing");
    let mut big = with_marks(zone(0, 1, 4096, 102_400), 150_000, 200_000, 200_000);
    big.pcp.get_mut(&0).unwrap().high_max = 300;
    let m = machine(vec![big]);
    let pfn = m.alloc_pages(&mut Ctx::on(0), ATOMIC, 2, None).unwrap().unwrap();
    assert_eq!(block_type(&m, pfn.0), 3);
    let info = m.zone_info(0).unwrap();
    assert_eq!(info.reserved_highatomic, 512);
    // The refill took the block's first pages; what was left of it moved to the reserve.
    assert_eq!(info.free_highatomic as u64 + m.pcp_info(0, 0).unwrap().count as u64 + 4, 512);
    m.audit().unwrap();
}
