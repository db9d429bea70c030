//! Calls whose events are kept, and arrays as patterns: `x` is a page, `.` is NULL.

use bulkpages_core::bulk::Semantics;
use bulkpages_core::fault::{FaultPlan, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, SingleReason};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Context, Ctx, Machine, Pfn, Slot};

/// The flag words that the tests ask with.
pub(crate) const KERNEL: Gfp = Gfp(0xcc0);
pub(crate) const ATOMIC: Gfp = Gfp(0x820);
pub(crate) const NOWAIT: Gfp = Gfp(0x2800);
pub(crate) const MOVABLE: Gfp = Gfp(0x0010_0cca);
pub(crate) const KERNEL_ACCOUNT: Gfp = Gfp(0x40_0cc0);
/// Neither blocks, nor wakes kswapd, nor touches a reserve.
pub(crate) const NOTHING: Gfp = Gfp(0x8_0000);

/// A call on CPU 0 whose events are kept.
pub(crate) fn watched() -> Ctx<Vec<Event>, NoFault> {
    Ctx { cpu: 0, probe: Vec::new(), fault: NoFault }
}

/// The same with failures.
pub(crate) fn failing(fault: FaultPlan) -> Ctx<Vec<Event>, FaultPlan> {
    Ctx { cpu: 0, probe: Vec::new(), fault }
}

/// So many pages can be had.
pub(crate) fn pages(n: i64) -> FaultPlan {
    FaultPlan { pages: Some(n.into()), ..FaultPlan::default() }
}

/// `alloc_pages_bulk()` for the executing CPU's node.
pub(crate) fn bulk<S: Semantics>(
    machine: &Machine<impl Locking>,
    cx: &mut impl Context,
    gfp: Gfp,
    slots: &[Slot],
) -> usize {
    machine.alloc_pages_bulk::<S>(cx, gfp, None, slots).unwrap()
}

/// One page by the single-page path, unseen.
pub(crate) fn page<L: Locking>(machine: &Machine<L>, gfp: Gfp) -> Option<Pfn> {
    machine.alloc_pages(&mut Ctx::on(0), gfp, 0, None).unwrap()
}

/// An array after a pattern: `x` holds a fresh page, `.` is NULL.
pub(crate) fn array<L: Locking>(machine: &Machine<L>, pattern: &str) -> Box<[Slot]> {
    let slots = Slot::array(pattern.len());
    for (slot, c) in slots.iter().zip(pattern.chars()) {
        if c == 'x' {
            slot.set(page(machine, KERNEL).unwrap());
        }
    }
    slots
}

/// What the array holds, as a pattern.
pub(crate) fn shape(slots: &[Slot]) -> String {
    slots.iter().map(|s| if s.raw() == 0 { '.' } else { 'x' }).collect()
}

pub(crate) fn frames(slots: &[Slot]) -> Vec<u64> {
    slots.iter().map(Slot::raw).collect()
}

/// The compaction of the patched callers: pages move to the front, in order. Returns how many there are.
pub(crate) fn compact(slots: &[Slot]) -> usize {
    let pages: Vec<u64> = slots.iter().map(Slot::raw).filter(|&raw| raw != 0).collect();
    for (i, slot) in slots.iter().enumerate() {
        slot.set_raw(pages.get(i).copied().unwrap_or(0));
    }
    pages.len()
}

pub(crate) fn count(events: &[Event], wanted: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|e| wanted(e)).count()
}

pub(crate) fn slot_tests(events: &[Event]) -> usize {
    count(events, |e| matches!(e, Event::SlotTest { .. }))
}

pub(crate) fn slot_writes(events: &[Event]) -> usize {
    count(events, |e| matches!(e, Event::SlotWrite { .. }))
}

pub(crate) fn kswapd_wakes(events: &[Event]) -> usize {
    count(events, |e| matches!(e, Event::WakeKswapd { .. }))
}

/// Entries asked for by each refill.
pub(crate) fn refills(events: &[Event]) -> Vec<u32> {
    events.iter().filter_map(|e| if let Event::Refill { want, .. } = e { Some(*want) } else { None }).collect()
}

/// Pages of each drain, told by the zone lock windows in which pages left a per-CPU list.
pub(crate) fn drains(events: &[Event]) -> Vec<u32> {
    let (mut drains, mut drained) = (Vec::new(), 0);
    for event in events {
        match event {
            Event::PcpuDrain { order, .. } => drained += 1 << order,
            Event::ZoneUnlock { .. } if drained > 0 => drains.push(std::mem::take(&mut drained)),
            _ => {}
        }
    }
    drains
}

/// Frames that left a per-CPU list, in order.
pub(crate) fn taken(events: &[Event]) -> Vec<u32> {
    events.iter().filter_map(|e| if let Event::ListTake { page, .. } = e { Some(page.0) } else { None }).collect()
}

/// Why a bulk call took the single-page path, if it did.
pub(crate) fn single_reason(events: &[Event]) -> Option<SingleReason> {
    events.iter().find_map(|e| if let Event::BulkSingle { reason } = e { Some(*reason) } else { None })
}

/// `mm_page_alloc` events.
pub(crate) fn page_allocs(events: &[Event]) -> usize {
    count(events, |e| matches!(e, Event::PageAlloc { .. }))
}
