//! Machines of a few pageblocks, zone by zone.

use std::collections::BTreeMap;

use bulkpages_core::snapshot::{Facts, PcpState, Snapshot, ZoneState};
use bulkpages_core::sync::{Local, Locking};
use bulkpages_core::zone_type::ZoneTypes;
use bulkpages_core::zonelist::build_zonelists;
use bulkpages_core::{Machine, Pfn};

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
/// a mark passes while a page is free and the free counter is exact; limits are those of a zone of about a GiB.
pub(crate) fn zone(nid: usize, idx: u8, start: u64, pages: u64) -> ZoneState {
    let blocks = (start + pages).div_ceil(512) - start / 512;
    let mut zone = ZoneState {
        nid,
        idx,
        name: ZoneTypes::PC.name(idx.into()).into(),
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
        lowmem_reserve: vec![0; ZoneTypes::PC.len()],
        pageblocks: vec![(1, blocks)],
        ..ZoneState::default()
    };
    add_free(&mut zone, start, start + pages, 1);
    zone
}

/// Empty lists with the limits of a zone of about a GiB.
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
