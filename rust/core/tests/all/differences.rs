//! Every difference between v1 and v2 that a caller can observe, one test for each, and what does not differ. Differences
//! of the callers are tested with the callers.

use crate::kit::{
    DMA32, array, booted, compact, count, failing, page, page_allocs, pages, set_marks, shape, single_reason, watched,
};
use bulkpages_core::bulk::{NullOnly, OutputOnly, Semantics};
use bulkpages_core::fault::{Fault, FaultPlan};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, SingleReason};
use bulkpages_core::sync::Local;
use bulkpages_core::{Context, Ctx, Machine, Pfn, Slot};

const GFP: Gfp = Gfp::KERNEL;

fn plain() -> Machine<Local> {
    booted(64, |_| {})
}

fn bulk<S: Semantics>(m: &Machine<Local>, cx: &mut impl Context, slots: &[Slot]) -> usize {
    m.alloc_pages_bulk::<S>(cx, GFP, None, slots).unwrap()
}

fn v1(m: &Machine<Local>, cx: &mut impl Context, slots: &[Slot]) -> usize {
    bulk::<NullOnly>(m, cx, slots)
}

fn v2(m: &Machine<Local>, cx: &mut impl Context, slots: &[Slot]) -> usize {
    bulk::<OutputOnly>(m, cx, slots)
}

/// Slot tests of a call, and how many of them happened while the per-CPU lock was held.
fn slot_tests<F: Fault>(cx: &Ctx<Vec<Event>, F>) -> (usize, usize) {
    let (mut all, mut locked, mut held) = (0, 0, false);
    for event in &cx.probe {
        match event {
            Event::PcpTrylock { locked, .. } => held = *locked,
            Event::PcpUnlock { .. } => held = false,
            Event::SlotTest { .. } => {
                all += 1;
                locked += usize::from(held);
            }
            _ => {}
        }
    }
    (all, locked)
}

/// A machine in which LOW is so that `free_above_low` pages can be used, the CPU's list being full.
fn near_low(free_above_low: i64) -> Machine<Local> {
    let m = booted(64, |s| {
        set_marks(&mut s.zones[DMA32], 1, 2, 3);
        crate::kit::set_pcp(&mut s.zones[DMA32], 63, 300, 300);
        s.zonelists.insert(0, vec![(0, 1)]);
    });
    let held: Vec<Pfn> = (0..60).map(|_| page(&m, GFP).unwrap()).collect();
    for page in held {
        m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
    }
    let mut snapshot = m.snapshot();
    let low = snapshot.zones[DMA32].nr_free - free_above_low;
    set_marks(&mut snapshot.zones[DMA32], 1, low, low + 1000);
    Machine::from_snapshot(&snapshot).unwrap()
}

#[test]
fn on_an_all_null_array_only_the_loads_differ() {
    let (a, b) = (plain(), plain());
    let (mut one, mut two) = (watched(), watched());
    let (s1, s2) = (Slot::array(100), Slot::array(100));
    assert_eq!(v1(&a, &mut one, &s1), v2(&b, &mut two, &s2));
    assert!(s1.iter().map(Slot::get).eq(s2.iter().map(Slot::get)));
    assert_eq!(slot_tests(&one), (101, 100), "one load in the prefix scan, one for each slot of the loop");
    assert_eq!(slot_tests(&two), (0, 0));
    one.probe.retain(|e| !matches!(e, Event::SlotTest { .. }));
    assert_eq!(one.probe, two.probe, "traces and locks");
    assert_eq!(a.snapshot(), b.snapshot());
    assert_eq!(a.vm_events(), b.vm_events());
}

#[test]
fn garbage_counts_as_pages_for_v1() {
    let m = plain();
    let slots = Slot::array(4);
    slots[0].set_raw(0xdead);
    slots[2].set_raw(0xbeef);
    assert_eq!(v1(&m, &mut watched(), &slots), 4, "it returns more than it allocated");
    assert_eq!((slots[0].raw(), slots[2].raw()), (0xdead, 0xbeef));
    assert_eq!(v2(&m, &mut watched(), &slots), 4);
    assert!(slots.iter().all(|s| m.pages().ref_count(s.get()) == 1));
}

#[test]
fn populated_slots_are_kept_by_v1_and_leaked_by_v2() {
    let m = plain();
    let slots = array(&m, "x.x.");
    let old: Vec<Pfn> = slots.iter().map(Slot::get).collect();
    v1(&m, &mut watched(), &slots);
    assert_eq!((slots[0].get(), slots[2].get()), (old[0], old[2]));
    assert_eq!(m.audit().unwrap().allocated, 4);
    let m = plain();
    let slots = array(&m, "x.x.");
    v2(&m, &mut watched(), &slots);
    assert_eq!(m.audit().unwrap().allocated, 6, "two pages are owned by nobody who could free them");
}

#[test]
fn a_full_array_costs_v1_nothing_and_v2_all_its_pages() {
    let m = plain();
    let slots = array(&m, "xxxx");
    let before = m.snapshot();
    let mut cx = watched();
    assert_eq!(v1(&m, &mut cx, &slots), 4);
    assert_eq!(m.snapshot(), before);
    assert!(cx.probe.iter().all(|e| matches!(e, Event::SlotTest { .. })), "no lock, no counter");
    assert_eq!(v2(&m, &mut watched(), &slots), 4);
    assert_eq!(m.audit().unwrap().allocated, 8);
}

#[test]
fn summing_up_return_values_counts_the_prefix_twice_with_v1() {
    let m = plain();
    let slots = array(&m, "xx..");
    let mut total = 2;
    total += v1(&m, &mut watched(), &slots);
    assert_eq!(total, 6, "of 4 slots");
    let m = plain();
    let slots = array(&m, "xx..");
    assert_eq!(2 + v2(&m, &mut watched(), &slots[2..]), 4);
}

#[test]
fn progress_is_a_larger_value_for_v1_and_any_value_for_v2() {
    let m = plain();
    let slots = array(&m, "xx..");
    assert_eq!(v1(&m, &mut failing(pages(0)), &slots), 2, "no progress, and not 0");
    assert_eq!(v2(&m, &mut failing(pages(0)), &slots[2..]), 0);
}

#[test]
fn the_single_page_goes_to_the_first_hole_or_to_slot_0() {
    let trylock = || FaultPlan { trylock: true.into(), ..FaultPlan::default() };
    let m = plain();
    let slots = array(&m, "xx.x.");
    v1(&m, &mut failing(trylock()), &slots);
    assert_eq!(shape(&slots), "xxxx.");
    let slots = array(&m, "xx.x.");
    let first = slots[0].get();
    assert_eq!(v2(&m, &mut failing(trylock()), &slots), 1);
    assert_ne!(slots[0].get(), first);
}

#[test]
fn after_a_single_page_v1_reports_less_than_the_prefix_and_one_more_call_allocates_nothing() {
    let m = plain();
    let slots = array(&m, "x.xxx...");
    let trylock = FaultPlan { trylock: true.into(), ..FaultPlan::default() };
    assert_eq!(v1(&m, &mut failing(trylock), &slots), 2);
    assert_eq!(shape(&slots), "xxxxx...", "the true prefix is 5");
    let before = m.audit().unwrap().allocated;
    assert_eq!(v1(&m, &mut failing(FaultPlan { prepare: true.into(), ..FaultPlan::default() }), &slots), 5);
    assert_eq!(m.audit().unwrap().allocated, before, "5 > 2 looks like progress");
}

#[test]
fn one_hole_is_a_batch_for_v1_unless_it_is_the_last_slot() {
    for (shape, reason) in [(".xxx", None), ("xx.x", None), ("xxx.", Some(SingleReason::OnePage))] {
        let m = plain();
        let slots = array(&m, shape);
        let mut cx = watched();
        assert_eq!(v1(&m, &mut cx, &slots), 4);
        assert_eq!(single_reason(&cx.probe), reason, "{shape}");
        assert_eq!(page_allocs(&cx.probe), usize::from(reason.is_some()), "mm_page_alloc for {shape}");
        let m = plain();
        let slots = array(&m, shape);
        let filled = compact(&slots);
        let mut cx = watched();
        assert_eq!(v2(&m, &mut cx, &slots[filled..]), 1);
        assert_eq!(single_reason(&cx.probe), Some(SingleReason::OnePage), "{shape} compacted");
    }
    // The batch leaves free_count alone, the single path halves it.
    for (batch, expected) in [(true, 8), (false, 4)] {
        let m = plain();
        for page in (0..8).map(|_| page(&m, GFP).unwrap()).collect::<Vec<_>>() {
            m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
        }
        let slots = Slot::array(2);
        slots[1].set_raw(1);
        let n = if batch { v1(&m, &mut watched(), &slots) } else { v2(&m, &mut watched(), &slots[..1]) };
        assert!(n > 0);
        assert_eq!(m.pcp_info(DMA32, 0).unwrap().free_count, expected);
    }
}

#[test]
fn an_empty_array_gets_nothing_from_either() {
    let m = plain();
    let before = m.snapshot();
    assert_eq!(v1(&m, &mut watched(), &[]), 0);
    assert_eq!(v2(&m, &mut watched(), &[]), 0);
    assert_eq!(m.snapshot(), before);
}

#[test]
fn the_mark_is_low_plus_the_whole_array_or_plus_the_rest() {
    // 8 slots, 2 of them holes: with 5 usable pages v1 goes single, a v2 caller's remainder of 2 goes batch.
    let m = near_low(5);
    let slots = array(&m, "xxxxxx..");
    let mut cx = watched();
    v1(&m, &mut cx, &slots);
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::Watermark));
    let m = near_low(5);
    let slots = array(&m, "xxxxxx..");
    let mut cx = watched();
    assert_eq!(v2(&m, &mut cx, &slots[6..]), 2);
    assert_eq!(single_reason(&cx.probe), None);
}

#[test]
fn in_the_band_v1_gets_one_page_a_call() {
    for f in [1, 2, 3, 9, 16] {
        let n = 16;
        let m = near_low(f);
        let slots = Slot::array(n);
        let (mut calls, mut filled, mut tests) = (0, 0, 0);
        while filled < n {
            let mut cx = watched();
            filled = v1(&m, &mut cx, &slots);
            tests += slot_tests(&cx).0;
            calls += 1;
        }
        assert_eq!(calls, n, "f = {f}");
        assert_eq!(tests, n * (n + 1) / 2, "each call walks the prefix again");
        let m = near_low(f);
        let (mut singles, mut batches, mut filled) = (0, 0, 0);
        while filled < n {
            let mut cx = watched();
            filled += v2(&m, &mut cx, &slots[filled..]);
            match single_reason(&cx.probe) {
                Some(_) => singles += 1,
                None => batches += 1,
            }
            assert_eq!(count(&cx.probe, |e| matches!(e, Event::WakeKswapd { .. })), 0);
        }
        let f = f as usize;
        // Down to a remainder below f one page each; then the rest at once, if it is more than one page.
        let (want_singles, want_batches) = match f - 1 {
            0 => (n, 0),
            1 => (n - f + 2, 0),
            _ => (n - f + 1, 1),
        };
        assert_eq!((singles, batches), (want_singles, want_batches), "f = {f}");
    }
}

#[test]
fn v1_skips_populated_slots_with_the_lock_held() {
    let m = plain();
    let slots = array(&m, ".xxxxxxxxx");
    let mut cx = watched();
    v1(&m, &mut cx, &slots);
    assert_eq!(slot_tests(&cx), (11, 10), "one test before the lock, ten under it, for one page");
    let m = plain();
    let slots = array(&m, "x.x.x.x.x.");
    let filled = compact(&slots);
    let mut cx = watched();
    v2(&m, &mut cx, &slots[filled..]);
    assert_eq!(slot_tests(&cx), (0, 0));
}

#[test]
fn v1_reads_slots_twice() {
    // The prefix scan stops at the first hole and the loop reads that slot again.
    let m = plain();
    let slots = array(&m, "xx..");
    let mut cx = watched();
    v1(&m, &mut cx, &slots);
    let tested: Vec<usize> = cx
        .probe
        .iter()
        .filter_map(|e| if let Event::SlotTest { index, .. } = e { Some(*index) } else { None })
        .collect();
    assert_eq!(tested, [0, 1, 2, 2, 3]);
}

#[test]
fn a_failing_first_take_targets_the_first_hole() {
    let m = plain();
    let slots = array(&m, "x.x.x.x.");
    let plan = FaultPlan { pages: Some(0.into()), ..FaultPlan::default() };
    let mut cx = failing(plan);
    assert_eq!(v1(&m, &mut cx, &slots), 1);
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::FirstTake));
    assert_eq!(shape(&slots), "x.x.x.x.");
}

#[test]
fn a_dry_list_in_the_middle() {
    let m = plain();
    let slots = array(&m, "x.x.x.x.");
    assert_eq!(v1(&m, &mut failing(pages(2)), &slots), 5, "index of the first hole that is left");
    assert_eq!(shape(&slots), "xxxxx.x.");
    let slots = array(&m, "xxxx....");
    assert_eq!(v2(&m, &mut failing(pages(2)), &slots[4..]), 2, "pages taken");
}

#[test]
fn failed_preparation_returns_what_was_there() {
    let prepare = || FaultPlan { prepare: true.into(), ..FaultPlan::default() };
    let m = plain();
    let slots = array(&m, "xx....");
    assert_eq!(v1(&m, &mut failing(prepare()), &slots), 2, "which looks like success");
    assert_eq!(v2(&m, &mut failing(prepare()), &slots[2..]), 0);
}

#[test]
fn counters_count_pages_taken_not_the_return_value() {
    let m = plain();
    let slots = array(&m, "x.x.x.x.");
    let before = m.vm_events();
    assert_eq!(v1(&m, &mut watched(), &slots), 8);
    let after = m.vm_events();
    assert_eq!((after.pgalloc[1] - before.pgalloc[1], after.numa_hit - before.numa_hit), (4, 4));
    let before = after;
    assert_eq!(v2(&m, &mut watched(), &slots), 8);
    let after = m.vm_events();
    assert_eq!((after.pgalloc[1] - before.pgalloc[1], after.numa_local - before.numa_local), (8, 8));
}

#[test]
fn with_page_owner_v1_is_quadratic() {
    let fill = |v1_form: bool| {
        let mut m = plain();
        m.set_page_owner(true);
        let slots = Slot::array(259);
        let (mut filled, mut tests, mut calls) = (0, 0, 0);
        while filled < 259 {
            let mut cx = watched();
            filled = if v1_form { v1(&m, &mut cx, &slots) } else { filled + v2(&m, &mut cx, &slots[filled..]) };
            tests += slot_tests(&cx).0;
            calls += 1;
        }
        (tests, calls)
    };
    assert_eq!(fill(true), (259 * 260 / 2, 259), "33,670 slot tests to fill 259 slots");
    assert_eq!(fill(false), (0, 259));
}

#[test]
fn memcg_forces_single_pages_in_both() {
    let mut m = plain();
    m.set_memcg(true);
    let slots = Slot::array(8);
    let mut cx = watched();
    assert_eq!(m.alloc_pages_bulk::<NullOnly>(&mut cx, Gfp::KERNEL_ACCOUNT, None, &slots).unwrap(), 1);
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::Memcg));
    let mut cx = watched();
    assert_eq!(m.alloc_pages_bulk::<OutputOnly>(&mut cx, Gfp::KERNEL_ACCOUNT, None, &slots).unwrap(), 1);
    assert_eq!(single_reason(&cx.probe), Some(SingleReason::Memcg));
}

#[test]
fn v2_only_writes_the_array() {
    let m = plain();
    let slots = Slot::array(64);
    let (mut one, mut two) = (watched(), watched());
    v1(&m, &mut one, &slots);
    m.free_bulk(&mut Ctx::on(0), &slots).unwrap();
    v2(&m, &mut two, &slots);
    let writes = |e: &Event| matches!(e, Event::SlotWrite { .. });
    assert_eq!((count(&one.probe, writes), count(&two.probe, writes)), (64, 64));
    assert_eq!((slot_tests(&one).0, slot_tests(&two).0), (65, 0));
}

#[test]
fn a_caller_that_relies_on_refill_leaks_silently_with_v2() {
    let m = plain();
    let slots = array(&m, "xxx.");
    assert_eq!(v2(&m, &mut watched(), &slots), 4, "the value that such a caller waits for");
    m.free_bulk(&mut Ctx::on(0), &slots).unwrap();
    assert_eq!(m.audit().unwrap().allocated, 3);
}

#[test]
fn pages_leave_in_one_order_and_under_the_same_zone_locks() {
    let (a, b) = (plain(), plain());
    let holes = array(&a, "x.x.x.x.x.x.");
    let compacted = array(&b, "x.x.x.x.x.x.");
    let filled = compact(&compacted);
    let (mut one, mut two) = (watched(), watched());
    v1(&a, &mut one, &holes);
    v2(&b, &mut two, &compacted[filled..]);
    let allocator = |cx: &Ctx<Vec<Event>, bulkpages_core::fault::NoFault>| {
        cx.probe
            .iter()
            .filter(|e| !matches!(e, Event::SlotTest { .. } | Event::SlotWrite { .. }))
            .copied()
            .collect::<Vec<_>>()
    };
    assert_eq!(allocator(&one), allocator(&two));
    assert_eq!(a.snapshot(), b.snapshot());
}

#[test]
fn the_batch_never_fragments_less_nor_wakes_kswapd() {
    // A refill inside a bulk call may mix pageblocks at once: it never carries NOFRAGMENT, and never KSWAPD.
    let m = booted(64, |s| set_marks(&mut s.zones[DMA32], 1, 2, 3));
    let slots = Slot::array(8);
    let mut cx = watched();
    v1(&m, &mut cx, &slots);
    assert_eq!(count(&cx.probe, |e| matches!(e, Event::Extfrag { .. })), 1);
    assert_eq!(count(&cx.probe, |e| matches!(e, Event::WakeKswapd { .. })), 0);
    assert_eq!(page_allocs(&cx.probe), 0, "pages of a batch leave no mm_page_alloc");
}
