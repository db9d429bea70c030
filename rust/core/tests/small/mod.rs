//! Machines of a few pageblocks, made to measure, and what tests ask of them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use bulkpages_core::bulk::Semantics;
use bulkpages_core::fault::{FaultPlan, NoFault};
use bulkpages_core::gfp::{Gfp, MAX_NR_ZONES, ZONE_NAMES};
use bulkpages_core::probe::Event;
use bulkpages_core::snapshot::{Facts, PcpState, Snapshot, ZoneState};
use bulkpages_core::sync::{Local, Locking};
use bulkpages_core::zonelist::build_zonelists;
use bulkpages_core::{Context, Ctx, Machine, Pfn, Slot};

/// The flag words that the tests ask with.
pub(crate) const KERNEL: Gfp = Gfp(0xcc0);
pub(crate) const ATOMIC: Gfp = Gfp(0x820);
pub(crate) const NOWAIT: Gfp = Gfp(0x2800);
pub(crate) const MOVABLE: Gfp = Gfp(0x0010_0cca);
pub(crate) const KERNEL_ACCOUNT: Gfp = Gfp(0x40_0cc0);
/// Neither blocks, nor wakes kswapd, nor touches a reserve.
pub(crate) const NOTHING: Gfp = Gfp(0x8_0000);

/// A range of frames, cut greedily into naturally aligned blocks of at most `max` order, in ascending order.
pub(crate) fn cut(start: u64, end: u64, max: u8) -> Vec<(u64, u8)> {
    let mut blocks = Vec::new();
    let mut at = start;
    while at < end {
        let mut order = (at.trailing_zeros() as u8).min(max);
        while at + (1 << order) > end {
            order -= 1;
        }
        blocks.push((at, order));
        at += 1 << order;
    }
    blocks
}

/// A zone whose frames are all free, in MOVABLE pageblocks. Marks, reserves and thresholds are 0, so that every test of
/// a mark passes while a page is free and the free counter is exact; limits are those of spec A.4.
pub(crate) fn zone(nid: usize, idx: u8, start: u64, pages: u64) -> ZoneState {
    let blocks = (start + pages).div_ceil(512) - start / 512;
    let mut zone = ZoneState {
        nid,
        idx,
        name: ZONE_NAMES[usize::from(idx)].into(),
        start,
        spanned: pages,
        present: pages,
        managed: pages,
        min: 0,
        low: 0,
        high: 0,
        promo: 0,
        boost: 0,
        nr_free: 0,
        reserved_highatomic: 0,
        free_highatomic: 0,
        thresh: 0,
        drift_mark: 0,
        flags: 0,
        free: BTreeMap::new(),
        pcp: BTreeMap::from([(0, pcp())]),
        lowmem_reserve: vec![0; MAX_NR_ZONES],
        pageblocks: vec![(1, blocks)],
        ..ZoneState::default()
    };
    add_free(&mut zone, start, start + pages, 1);
    zone
}

/// Empty lists with the limits of spec A.4.
pub(crate) fn pcp() -> PcpState {
    PcpState { high_min: 300, high_max: 30_000, batch: 63, ..PcpState::default() }
}

/// DMA32 from frame 4096 on, everything free. Its requests never carry NOFRAGMENT.
pub(crate) fn dma32(pages: u64) -> ZoneState {
    zone(0, 1, 4096, pages)
}

/// Takes every free block away.
pub(crate) fn no_free(zone: &mut ZoneState) {
    zone.free.clear();
    zone.nr_free = 0;
}

/// Frames `start..end` become free, on the lists of `mt`.
pub(crate) fn add_free(zone: &mut ZoneState, start: u64, end: u64, mt: u8) {
    for (pfn, order) in cut(start, end, 10) {
        zone.free.entry(order).or_default().entry(mt).or_default().push(pfn);
    }
    zone.nr_free += (end - start) as i64;
}

/// A zone of which only the first `free` frames are free; the kernel owns the others.
pub(crate) fn with_free(mut zone: ZoneState, free: u64) -> ZoneState {
    no_free(&mut zone);
    let start = zone.start;
    add_free(&mut zone, start, start + free, 1);
    zone
}

/// The same with MIN, LOW and HIGH.
pub(crate) fn with_marks(mut zone: ZoneState, min: i64, low: i64, high: i64) -> ZoneState {
    (zone.min, zone.low, zone.high, zone.promo) = (min, low, high, high);
    zone
}

/// Frames `start..start + n` go to list `list` of `cpu`, in this order. They must be nobody's.
pub(crate) fn on_pcp(zone: &mut ZoneState, cpu: usize, list: usize, start: u64, n: u64) {
    let block_type = |pfn: u64| {
        let mut at = (pfn / 512) - zone.start / 512;
        zone.pageblocks.iter().find(|&&(_, count)| {
            let found = at < count;
            at = at.saturating_sub(count);
            found
        })
    };
    let entries: Vec<_> = (start..start + n).map(|pfn| (pfn, block_type(pfn).unwrap().0)).collect();
    let pcp = zone.pcp.get_mut(&cpu).unwrap();
    pcp.count += n as i32;
    pcp.lists.entry(list).or_default().extend(entries);
}

/// A machine of these zones; `cpu_node` is the node of each CPU. CPUs that a zone says nothing of get lists like those
/// of its CPU 0, but empty.
pub(crate) fn snapshot(mut zones: Vec<ZoneState>, cpu_node: &[usize]) -> Snapshot {
    zones.sort_by_key(|z| (z.nid, z.idx));
    let nodes = 1 + zones.iter().map(|z| z.nid).chain(cpu_node.iter().copied()).max().unwrap();
    for zone in &mut zones {
        let empty = PcpState { count: 0, lists: BTreeMap::new(), diff_free: 0, ..zone.pcp[&0].clone() };
        for cpu in 0..cpu_node.len() {
            zone.pcp.entry(cpu).or_insert_with(|| empty.clone());
        }
    }
    let memory: Vec<bool> = (0..nodes).map(|n| zones.iter().any(|z| z.nid == n)).collect();
    let cpus: Vec<bool> = (0..nodes).map(|n| cpu_node.contains(&n)).collect();
    let zonelists = build_zonelists(&memory, &cpus)
        .into_iter()
        .map(|order| {
            let of = |nid| zones.iter().rev().filter(move |z: &&ZoneState| z.nid == nid).map(|z| (z.nid, z.idx));
            order.into_iter().flat_map(of).collect()
        })
        .enumerate()
        .collect();
    Snapshot {
        zones,
        zonelists,
        cpu_node: cpu_node.iter().copied().enumerate().collect(),
        facts: Facts {
            pageblock_order: 9,
            nr_pcp_lists: 14,
            mobility_disabled: 0,
            gfp_allowed: 0x00ff_ffff,
            watermark_boost_factor: Some(15_000),
            realtime_task: Some(false),
            ..Facts::default()
        },
        nodes: Vec::new(),
    }
}

/// A machine of one node with one CPU.
pub(crate) fn machine(zones: Vec<ZoneState>) -> Machine<Local> {
    Machine::from_snapshot(&snapshot(zones, &[0])).unwrap()
}

/// A call on CPU 0 whose events are kept.
pub(crate) fn watched() -> Ctx<Vec<Event>, NoFault> {
    Ctx { cpu: 0, probe: Vec::new(), fault: NoFault }
}

/// The same with failures.
pub(crate) fn failing(fault: FaultPlan) -> Ctx<Vec<Event>, FaultPlan> {
    Ctx { cpu: 0, probe: Vec::new(), fault }
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

/// The free lists of a zone: frames by order and type.
pub(crate) fn free_lists<L: Locking>(machine: &Machine<L>, zone: usize) -> BTreeMap<u8, BTreeMap<u8, Vec<u64>>> {
    machine.snapshot().zones[zone].free.clone()
}

/// One free list.
pub(crate) fn free_list<L: Locking>(machine: &Machine<L>, zone: usize, order: u8, mt: u8) -> Vec<u64> {
    free_lists(machine, zone).get(&order).and_then(|l| l.get(&mt)).cloned().unwrap_or_default()
}

/// Type of the pageblock of a frame.
pub(crate) fn block_type<L: Locking>(machine: &Machine<L>, pfn: u32) -> u8 {
    machine.pages().migratetype(Pfn(pfn)) as u8
}
