//! Kernel: `mm/mm_init.c` (`free_area_init()`, `find_zone_movable_pfns_for_nodes()`), `mm/memblock.c`
//! (`memblock_free_all()`), `arch/x86/kernel/e820.c`, `mm/page_alloc.c` (`build_all_zonelists()`,
//! `init_per_zone_wmark_min()`), `mm/khugepaged.c` (`set_recommended_min_free_kbytes()`) (v6.12).
//!
//! A machine right after boot: RAM laid out as in an x86 PC, divided into zones, with marks and limits computed in the
//! kernel's order, and every page free.

use std::collections::BTreeMap;

use crate::era::{Era, Rules};
use crate::error::{Error, Result};
use crate::gfp::{MIGRATE_TYPES_WITHOUT_CMA, Migratetype};
use crate::machine::Machine;
use crate::pcp::{NR_PCP_LISTS, PCPF_FREE_HIGH_BATCH, zone_batchsize, zone_highsize};
use crate::pfn::{MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::snapshot::{Facts, MAX_CPUS, MAX_PFN, PcpState, Snapshot, ZoneState};
use crate::sync::Locking;
use crate::watermark::{
    Marks, THP_MIN_PAGES, calculate_min_free_kbytes, calculate_normal_threshold, set_recommended_min_free_kbytes,
    setup_per_zone_lowmem_reserve, setup_per_zone_wmarks, setup_per_zone_wmarks_movable_alike,
};
use crate::zone::by_list_type;
use crate::zone_type::{ZoneType, ZoneTypes};
use crate::zonelist::build_zonelists;

/// The zones of a PC.
const ZONE_TYPES: ZoneTypes = ZoneTypes::PC;
/// First frame of ZONE_DMA32: 16 MiB.
const DMA_END: u64 = 4096;
/// First frame of ZONE_NORMAL: 4 GiB.
const DMA32_END: u64 = 1 << 20;
/// Below this much RAM (3.5 GiB) there is no hole under 4 GiB.
const ALL_LOW: u64 = 7 << 17;
/// RAM below 4 GiB on larger machines: 3 GiB.
const LOW_RAM: u64 = 3 << 18;
/// The legacy hole of a PC: 636 KiB to 1 MiB have no RAM.
const LEGACY_HOLE: core::ops::Range<u64> = 159..256;
/// The kernel keeps the first MiB for itself.
const RESERVED: u64 = 256;
/// Largest number of nodes of a booted machine.
pub const MAX_BOOT_NODES: usize = 16;
/// Least RAM of a node: 4 MiB.
const MIN_NODE_PAGES: u64 = 1024;
/// `watermark_scale_factor`: 0.1 % of a zone between its marks.
const WATERMARK_SCALE_FACTOR: u64 = 10;
/// Alignment of the start of ZONE_MOVABLE.
const MAX_ORDER_NR_PAGES: u64 = 1 << MAX_PAGE_ORDER;

/// What a machine is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSpec {
    /// RAM, pages.
    pub memory_pages: u64,
    /// CPUs, spread over the nodes in order.
    pub cpus: usize,
    /// Nodes, with equal shares of RAM.
    pub nodes: usize,
    /// `movablecore=`, pages.
    pub movablecore_pages: Option<u64>,
    /// Transparent huge pages are enabled (`always` or `madvise`): raises the marks of machines of 512 MiB and more.
    pub thp: bool,
    pub era: Era,
    /// How it works: the series' rules, except where one is set otherwise.
    pub rules: Rules,
}

/// A zone while it is put together.
#[derive(Clone, Debug)]
struct BootZone {
    nid: usize,
    zone: ZoneType,
    idx: u8,
    start: u64,
    end: u64,
    present: u64,
    /// Ranges with RAM.
    ram: Vec<(u64, u64)>,
    /// Ranges that become free.
    free: Vec<(u64, u64)>,
}

impl BootZone {
    fn managed(&self) -> u64 {
        self.free.iter().map(|r| r.1 - r.0).sum()
    }
}

impl BootSpec {
    /// A machine with this much RAM, without `movablecore=`, with huge pages enabled.
    pub fn new(memory_pages: u64, cpus: usize, nodes: usize) -> BootSpec {
        let era = Era::default();
        BootSpec { memory_pages, cpus, nodes, movablecore_pages: None, thp: true, era, rules: era.rules() }
    }

    fn check(&self) -> Result<()> {
        if self.cpus == 0 || self.cpus > MAX_CPUS {
            return Err(Error::invalid(format!("cpus {} is outside 1 to {MAX_CPUS}", self.cpus)));
        }
        if self.nodes == 0 || self.nodes > MAX_BOOT_NODES {
            return Err(Error::invalid(format!("nodes {} is outside 1 to {MAX_BOOT_NODES}", self.nodes)));
        }
        let max = MAX_PFN - (DMA32_END - LOW_RAM);
        let min = MIN_NODE_PAGES * self.nodes as u64;
        if !(min..=max).contains(&self.memory_pages) {
            return Err(Error::invalid(format!(
                "memory of {} pages (4 KiB each) is outside {min} to {max} for {} node{}",
                self.memory_pages,
                self.nodes,
                if self.nodes == 1 { "" } else { "s" }
            )));
        }
        if let Some(movable) = self.movablecore_pages
            && movable >= self.memory_pages
        {
            return Err(Error::invalid(format!(
                "movablecore of {movable} pages leaves nothing of {} pages for the kernel",
                self.memory_pages
            )));
        }
        Ok(())
    }

    /// Ranges with RAM of each node, in ascending order.
    fn node_ranges(&self) -> Vec<Vec<(u64, u64)>> {
        let ram = if self.memory_pages < ALL_LOW {
            vec![(0, self.memory_pages)]
        } else {
            vec![(0, LOW_RAM), (DMA32_END, DMA32_END + self.memory_pages - LOW_RAM)]
        };
        let nodes = self.nodes as u64;
        // Shares are whole blocks of the largest order; the last node takes what is left.
        let share = self.memory_pages / nodes / MAX_ORDER_NR_PAGES * MAX_ORDER_NR_PAGES;
        let mut out: Vec<Vec<(u64, u64)>> = vec![Vec::new(); self.nodes];
        let (mut nid, mut left) = (0, share);
        for (mut start, end) in ram {
            while start < end {
                let last = nid + 1 == self.nodes;
                let take = if last { end - start } else { left.min(end - start) };
                out[nid].push((start, start + take));
                start += take;
                if !last {
                    left -= take;
                    if left == 0 {
                        nid += 1;
                        left = share;
                    }
                }
            }
        }
        out
    }

    /// `find_zone_movable_pfns_for_nodes()`: where ZONE_MOVABLE begins in each node, 0 for nowhere.
    fn find_zone_movable_pfns_for_nodes(&self, ranges: &[Vec<(u64, u64)>]) -> Vec<u64> {
        let mut starts = vec![0; ranges.len()];
        let Some(movable) = self.movablecore_pages else { return starts };
        let total: u64 = ranges.iter().flatten().map(|r| r.1 - r.0).sum();
        let mut required = total - movable.next_multiple_of(MAX_ORDER_NR_PAGES).min(total);
        if required == 0 || required >= total {
            return starts;
        }
        // Only the highest zone below MOVABLE gives memory to it.
        let highest = ranges.iter().flatten().map(|r| r.1).max().unwrap_or(0);
        let usable_start = if highest > DMA32_END {
            DMA32_END
        } else if highest > DMA_END {
            DMA_END
        } else {
            1
        };
        let mut usable_nodes = ranges.iter().filter(|r| !r.is_empty()).count() as u64;
        while usable_nodes > 0 && required > 0 {
            let mut per_node = required / usable_nodes;
            for (nid, node) in ranges.iter().enumerate() {
                if required < per_node {
                    per_node = required / usable_nodes;
                }
                let mut left = per_node;
                for &(start, end) in node {
                    let mut start = start.max(starts[nid]);
                    if start >= end {
                        continue;
                    }
                    if start < usable_start {
                        let kernel = end.min(usable_start) - start;
                        left -= kernel.min(left);
                        required -= kernel.min(required);
                        if end <= usable_start {
                            starts[nid] = end;
                            continue;
                        }
                        start = usable_start;
                    }
                    let size = (end - start).min(left);
                    starts[nid] = start + size;
                    required -= required.min(size);
                    left -= size;
                    if left == 0 {
                        break;
                    }
                }
            }
            usable_nodes -= 1;
            if required <= usable_nodes {
                break;
            }
        }
        for (start, node) in starts.iter_mut().zip(ranges) {
            *start = start.next_multiple_of(MAX_ORDER_NR_PAGES);
            if node.last().is_none_or(|r| *start >= r.1) {
                *start = 0;
            }
        }
        starts
    }

    fn zones(&self) -> Vec<BootZone> {
        let ranges = self.node_ranges();
        let movable = self.find_zone_movable_pfns_for_nodes(&ranges);
        let mut zones = Vec::new();
        for (nid, node) in ranges.iter().enumerate() {
            let split = if movable[nid] == 0 { u64::MAX } else { movable[nid] };
            let bounds = [
                (ZoneType::Dma, 1, DMA_END.min(split)),
                (ZoneType::Dma32, DMA_END, DMA32_END.min(split)),
                (ZoneType::Normal, DMA32_END, split),
                (ZoneType::Movable, split, u64::MAX),
            ];
            for (idx, (zone, low, high)) in (0..).zip(bounds) {
                let mut zone =
                    BootZone { nid, zone, idx, start: 0, end: 0, present: 0, ram: Vec::new(), free: Vec::new() };
                for &(start, end) in node {
                    let (start, end) = (start.max(low), end.min(high));
                    if start >= end {
                        continue;
                    }
                    if zone.present == 0 {
                        zone.start = start;
                    }
                    zone.end = end;
                    zone.ram.push((start, end));
                    let hole = LEGACY_HOLE.end.min(end).saturating_sub(LEGACY_HOLE.start.max(start));
                    zone.present += end - start - hole;
                    if end > RESERVED {
                        zone.free.push((start.max(RESERVED), end));
                    }
                }
                if zone.present != 0 {
                    zones.push(zone);
                }
            }
        }
        zones
    }
}

/// Marks, limits and thresholds in the order in which boot computes them.
struct Limits {
    marks: Vec<Marks>,
    drift: Vec<u64>,
    thresholds: Vec<u64>,
}

fn limits(spec: &BootSpec, zones: &[BootZone], fallback: &[Vec<usize>]) -> Limits {
    let sizes: Vec<(ZoneType, u64)> = zones.iter().map(|z| (z.zone, z.managed())).collect();
    let cpus = spec.cpus as u64;
    let thresholds: Vec<u64> = sizes.iter().map(|s| calculate_normal_threshold(cpus, s.1)).collect();
    // Free memory of the local node's zonelist up to Normal, above HIGH.
    let above_high = |marks: &[Marks]| -> u64 {
        fallback[0]
            .iter()
            .filter(|&&z| zones[z].zone.is_lowmem())
            .map(|&z| sizes[z].1.saturating_sub(marks.get(z).map_or(0, |m| m.high)))
            .sum()
    };
    // Early initcall: the marks that the square root gives.
    let mut kbytes = calculate_min_free_kbytes(above_high(&[]));
    let setup_per_zone_wmarks =
        if spec.rules.movable_min_capped { setup_per_zone_wmarks } else { setup_per_zone_wmarks_movable_alike };
    let mut marks = setup_per_zone_wmarks(&sizes, kbytes, WATERMARK_SCALE_FACTOR);
    // The second CPU came up before any mark existed, so its refresh set a drift mark everywhere; this one overwrites
    // it where the band between MIN and LOW is narrow.
    let drift = (0..zones.len())
        .map(|z| {
            let max_drift = cpus * thresholds[z];
            if max_drift > marks[z].low - marks[z].min {
                marks[z].high + max_drift
            } else if cpus > 1 {
                max_drift
            } else {
                0
            }
        })
        .collect();
    // Starting khugepaged raises them.
    let total: u64 = sizes.iter().map(|s| s.1).sum();
    if spec.thp && total >= THP_MIN_PAGES {
        let populated = zones.iter().filter(|z| z.zone.is_lowmem()).count() as u64;
        kbytes = kbytes.max(set_recommended_min_free_kbytes(populated, above_high(&marks)));
        marks = setup_per_zone_wmarks(&sizes, kbytes, WATERMARK_SCALE_FACTOR);
    }
    Limits { marks, drift, thresholds }
}

/// The zone as a snapshot, nothing free yet.
fn zone_state(
    spec: &BootSpec,
    zones: &[BootZone],
    z: usize,
    limits: &Limits,
    cpu_node: &BTreeMap<usize, usize>,
    mobility_disabled: bool,
) -> ZoneState {
    let zone = &zones[z];
    let mut managed = [0; ZONE_TYPES.len()];
    for other in zones.iter().filter(|o| o.nid == zone.nid) {
        managed[usize::from(other.idx)] = other.managed();
    }
    let reserve = &setup_per_zone_lowmem_reserve(&ZONE_TYPES, &managed)[usize::from(zone.idx)];
    let batch = zone_batchsize(zone.managed());
    let local = cpu_node.values().filter(|&&node| node == zone.nid).count() as u64;
    let cpus = if local == 0 { spec.cpus as u64 } else { local };
    let marks = limits.marks[z];
    let (high_min, high_max) = zone_highsize(zone.managed(), marks.low, cpus, batch, 0);
    let pcp = if spec.rules.pcp_high_tuned {
        // The flag is set where a CPU's cache slice holds more than three batches, as every slice of 1 MiB and more does.
        PcpState { high_min, high_max, batch, flags: PCPF_FREE_HIGH_BATCH, ..PcpState::default() }
    } else {
        PcpState { high: high_min, high_min, high_max: high_min, batch, free_factor: Some(0), ..PcpState::default() }
    };
    ZoneState {
        nid: zone.nid,
        idx: zone.idx,
        name: zone.zone.name().into(),
        start: zone.start,
        spanned: zone.end - zone.start,
        present: zone.present,
        managed: zone.managed(),
        min: marks.min as i64,
        low: marks.low as i64,
        high: marks.high as i64,
        promo: marks.promo as i64,
        boost: 0,
        nr_free: 0,
        reserved_highatomic: 0,
        free_highatomic: 0,
        thresh: limits.thresholds[z] as i64,
        drift_mark: limits.drift[z],
        flags: 0,
        free: BTreeMap::new(),
        pcp: cpu_node.keys().map(|&cpu| (cpu, pcp.clone())).collect(),
        lowmem_reserve: reserve.iter().map(|&r| r as i64).collect(),
        pageblocks: pageblocks(zone, mobility_disabled),
        ..ZoneState::default()
    }
}

/// `build_all_zonelists()`: the zones that each node falls back to, best first, and whether there is too little memory to
/// keep pages apart by mobility (`page_group_by_mobility_disabled`).
fn build_all_zonelists(
    spec: &BootSpec,
    zones: &[BootZone],
    cpu_node: &BTreeMap<usize, usize>,
) -> (Vec<Vec<usize>>, bool) {
    let with_cpus: Vec<bool> = (0..spec.nodes).map(|n| cpu_node.values().any(|&node| node == n)).collect();
    // Within a node zones come in descending index.
    let of_node = |nid: usize| (0..zones.len()).rev().filter(move |&z| zones[z].nid == nid);
    let fallback = build_zonelists(&vec![true; spec.nodes], &with_cpus)
        .into_iter()
        .map(|order| order.into_iter().flat_map(of_node).collect())
        .collect();
    let present: u64 = zones.iter().map(|z| z.present).sum();
    (fallback, present < u64::from(PAGEBLOCK_NR_PAGES) * MIGRATE_TYPES_WITHOUT_CMA as u64)
}

/// Types of the pageblocks: MOVABLE, but UNMOVABLE for a first block that the zone does not begin with, and 9 where a
/// block lies in a hole between ranges of RAM.
fn pageblocks(zone: &BootZone, mobility_disabled: bool) -> Vec<(u32, u64)> {
    let block = u64::from(PAGEBLOCK_NR_PAGES);
    let movable = if mobility_disabled { Migratetype::Unmovable } else { Migratetype::Movable } as u32;
    let mut runs: Vec<(u32, u64)> = Vec::new();
    for at in zone.start / block..zone.end.div_ceil(block) {
        let (first, end) = (at * block, (at + 1) * block);
        // Memory is described in sections of 128 MiB, so a block counts as memory if its section holds any.
        let section = |pfn: u64| pfn >> 15;
        let valid = zone.ram.iter().any(|r| section(first) >= section(r.0) && section(end - 1) <= section(r.1 - 1));
        let mt = match (valid, first >= zone.start) {
            (false, _) => 9,
            (true, true) => movable,
            (true, false) => Migratetype::Unmovable as u32,
        };
        match runs.last_mut() {
            Some(run) if run.0 == mt => run.1 += 1,
            _ => runs.push((mt, 1)),
        }
    }
    runs
}

impl<L: Locking> Machine<L> {
    /// A machine right after boot.
    ///
    /// # Errors
    ///
    /// For sizes outside what the emulator models.
    pub fn boot(spec: &BootSpec) -> Result<Machine<L>> {
        spec.check()?;
        let zones = spec.zones();
        let cpu_node: BTreeMap<usize, usize> = (0..spec.cpus).map(|c| (c, c * spec.nodes / spec.cpus)).collect();
        let (fallback, mobility_disabled) = build_all_zonelists(spec, &zones, &cpu_node);
        let limits = limits(spec, &zones, &fallback);
        let states =
            (0..zones.len()).map(|z| zone_state(spec, &zones, z, &limits, &cpu_node, mobility_disabled)).collect();
        let snapshot = Snapshot {
            zones: states,
            zonelists: fallback
                .iter()
                .enumerate()
                .map(|(nid, list)| (nid, list.iter().map(|&z| (zones[z].nid, zones[z].idx)).collect()))
                .collect(),
            cpu_node,
            nodes: Vec::new(),
            facts: Facts {
                kernel: (spec.era != Era::default()).then(|| spec.era.name().to_owned()),
                rules: spec.rules.differences(&spec.era.rules()).map(|(name, on)| (name.to_owned(), on)).collect(),
                pageblock_order: u64::from(PAGEBLOCK_ORDER),
                nr_pcp_lists: NR_PCP_LISTS as u64,
                mobility_disabled: u64::from(mobility_disabled),
                gfp_allowed: if spec.era == Era::V6_1 { 0x07ff_ffff } else { 0x00ff_ffff },
                watermark_boost_factor: Some(15_000),
                realtime_task: Some(false),
                other: BTreeMap::from([
                    ("zone_count".to_owned(), ZONE_TYPES.len().into()),
                    ("zonelists_nodes".to_owned(), spec.nodes.into()),
                ]),
                ..Facts::default()
            },
        };
        let mut machine = Machine::from_snapshot_unaudited(&snapshot)?;
        machine.memblock_free_all(&zones, &limits);
        Ok(machine)
    }

    /// `memblock_free_all()`: every range, cut greedily into aligned blocks, to the tails of the lists.
    fn memblock_free_all(&mut self, zones: &[BootZone], limits: &Limits) {
        for (zone, from) in self.zones.iter_mut().zip(zones) {
            zone.kernel_pages = 0;
            by_list_type!(zone, T => {
            let mut locked = zone.lock_untold::<T>(&self.pages, 0);
            for &(start, end) in &from.free {
                let mut at = start;
                while at < end {
                    let mut order = (at.trailing_zeros() as u8).min(MAX_PAGE_ORDER);
                    while at + (1 << order) > end {
                        order -= 1;
                    }
                    let pfn = Pfn(at as u32);
                    locked.__free_one_page(pfn, order, self.pages.migratetype(pfn), true);
                    at += 1 << order;
                }
            }
            // Until now every update was flushed: no threshold had been computed yet.
            for diff in &mut locked.area.diff {
                diff.threshold = limits.thresholds[zone.index] as i32;
            }
            });
        }
    }
}
