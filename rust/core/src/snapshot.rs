//! Kernel: the state of `mm/page_alloc.c` (v6.1, v6.12, v7.3) as the recorder saves it; no kernel function does this.
//!
//! Snapshots are read and written in the form of each era. A snapshot that contradicts itself is refused. A loaded
//! state is saved unchanged.

use core::sync::atomic::{AtomicU8, AtomicU64};
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::era::{Era, Rules};
use crate::error::{Error, Result};
use crate::fallback::FallbackRules;
use crate::gfp::{Gfp, MIGRATE_TYPES, Migratetype};
use crate::kswapd::Kswapd;
use crate::list::{FreeList, PfnDeque};
use crate::machine::{Config, Cpu, Machine};
use crate::page::{OfBlock, OfPage, PageMap};
use crate::pcp::{NR_PCP_LISTS, PerCpuPages, pindex_to_order};
use crate::pfn::{MAX_PAGE_ORDER, NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::reclaim::Reclaim;
use crate::slowpath::Task;
use crate::sync::{Lock, Locking};
use crate::zone::{Diff, Events, FreeArea, LISTS, Padded, Word, Zone, by_list_type, zflag};
use crate::zone_type::{ZoneType, ZoneTypes};
use crate::zonelist::{NodeZonelists, ZoneRef};

/// Frames that a machine may span: 4 TiB.
pub const MAX_PFN: u64 = 1 << 30;
/// CPUs that a machine may have.
pub const MAX_CPUS: usize = 256;
/// Nodes that a machine may have.
pub const MAX_NODES: usize = 64;

/// The whole state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Populated zones, by node and index.
    pub zones: Vec<ZoneState>,
    /// Per node, the fallback list as (node, zone index).
    pub zonelists: BTreeMap<usize, Vec<(usize, u8)>>,
    /// Node of each CPU.
    pub cpu_node: BTreeMap<usize, usize>,
    /// What holds for the whole machine.
    pub facts: Facts,
    /// kswapd of each node, where the kernel's requests look at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeState>,
}

/// kswapd of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    pub nid: usize,
    /// 1: asleep.
    pub kswapd_waiting: u8,
    /// Runs in a row that freed nothing.
    pub kswapd_failures: u32,
    /// Largest order that it was woken for.
    pub kswapd_order: u8,
    /// Highest zone that it was woken for; the number of zones for none.
    pub kswapd_highest_zoneidx: u8,
}

/// Facts about the recorded machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The kernel series; absent for 6.12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Rules that are set otherwise than the series has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, bool>,
    /// `vm.defrag_mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defrag_mode: Option<bool>,
    /// `vm.zone_reclaim_mode`: only 0 is modelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_reclaim: Option<u64>,
    /// kswapd looks at PROMO in place of HIGH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_tiering: Option<u64>,
    pub pageblock_order: u64,
    pub nr_pcp_lists: u64,
    /// `page_group_by_mobility_disabled`.
    pub mobility_disabled: u64,
    /// `gfp_allowed_mask`.
    pub gfp_allowed: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_boost_factor: Option<u64>,
    /// The recorded operations ran in a realtime task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime_task: Option<bool>,
    /// The zones of the kernel's build by index; absent for those of a 64-bit PC. An empty name is no zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// Facts that the emulator hands on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneState {
    pub nid: usize,
    /// Zone index.
    pub idx: u8,
    /// Its name. The index decides, so that a name is only written.
    pub name: String,
    /// First frame.
    pub start: u64,
    /// Frames from the first to the last.
    pub spanned: u64,
    /// Frames with memory.
    pub present: u64,
    /// Frames that the allocator manages.
    pub managed: u64,
    /// MIN, pages, without boost.
    pub min: i64,
    pub low: i64,
    pub high: i64,
    pub promo: i64,
    /// Boost added to every mark.
    pub boost: i64,
    /// Free counter without per-CPU differences.
    pub nr_free: i64,
    /// Pages in high-atomic blocks.
    pub reserved_highatomic: u64,
    /// Free pages in high-atomic blocks.
    pub free_highatomic: i64,
    /// Per-CPU difference threshold.
    pub thresh: i64,
    /// `percpu_drift_mark`.
    pub drift_mark: u64,
    pub flags: u32,
    /// Free pages in blocks of a pageblock and more, where the kernel counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nr_free_blocks: Option<i64>,
    /// `NR_FREE_CMA_PAGES` without per-CPU differences, where the kernel has CMA blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nr_free_cma: Option<i64>,
    /// Whether blocks wait that somebody freed who could not take a lock: always 0 here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trylock_free: Option<u64>,
    /// Free blocks: first frames by order and type, in list order.
    pub free: BTreeMap<u8, BTreeMap<u8, Vec<u64>>>,
    pub pcp: BTreeMap<usize, PcpState>,
    /// `lowmem_reserve`, by highest zone index.
    pub lowmem_reserve: Vec<i64>,
    /// Pageblock types as runs of (type, count).
    pub pageblocks: Vec<(u32, u64)>,
    /// Movable allocated pages as (first frame of the block, pages).
    pub movable: Vec<(u32, u32)>,
}

/// The lists of one CPU in one zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "pcp_form::PcpForm", into = "pcp_form::PcpForm")]
pub struct PcpState {
    /// Pages on all lists.
    pub count: i32,
    /// Limit in force.
    pub high: i32,
    /// Its lower bound.
    pub high_min: i32,
    /// Its upper bound.
    pub high_max: i32,
    /// Smallest refill.
    pub batch: i32,
    /// `PCPF_*`.
    pub flags: u32,
    /// Shift of the next refill.
    pub alloc_factor: u32,
    /// Rounds left on a remote node.
    pub expire: u32,
    /// Pages freed in a row.
    pub free_count: i32,
    /// Part of the free counter that is not folded yet.
    pub diff_free: i32,
    /// Bound on it.
    pub thresh: i32,
    /// Lists by index: (first frame, type of its block), in list order.
    pub lists: BTreeMap<usize, Vec<(u64, u32)>>,
    /// With fixed limits, the left shift of `batch` for the next drain. A text then has it in place of `high_min`,
    /// `high_max`, `flags`, `alloc_factor` and `free_count`.
    pub free_factor: Option<u32>,
    /// The types that the pages on the lists carry, in their order, where pages carry one.
    pub carried: Option<BTreeMap<usize, Vec<u32>>>,
    /// Part of `nr_free_blocks` that is not folded yet, where the kernel counts them.
    pub diff_free_blocks: Option<i32>,
    /// Part of `nr_free_cma` that is not folded yet, where the kernel has CMA blocks.
    pub diff_free_cma: Option<i32>,
}

fn bad<T>(text: String) -> Result<T> {
    Err(Error::Snapshot(text))
}

/// A frame number of a snapshot, within `zone`, aligned to `order`.
fn frame(zone: &ZoneState, what: &str, raw: u64, order: u8) -> Result<Pfn> {
    if raw < zone.start || raw + (1 << order) > zone.start + zone.spanned {
        return bad(format!(
            "zone {}.{} {what}: pfn {raw} of order {order} is outside {} to {}",
            zone.nid,
            zone.idx,
            zone.start,
            zone.start + zone.spanned - 1
        ));
    }
    let pfn = Pfn(raw as u32);
    if !pfn.is_aligned(order) {
        return bad(format!("zone {}.{} {what}: pfn {raw} is not aligned to order {order}", zone.nid, zone.idx));
    }
    Ok(pfn)
}

impl<L: Locking> Machine<L> {
    /// A machine in this state.
    ///
    /// # Errors
    ///
    /// When the snapshot contradicts itself, or describes a machine that the emulator does not model.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Machine<L>> {
        let machine = Machine::from_snapshot_unaudited(snapshot)?;
        machine.audit().map_err(|e| Error::Snapshot(format!("the state is not sound: {e}")))?;
        Ok(machine)
    }

    /// The same for a state whose free lists are still to be filled.
    pub(crate) fn from_snapshot_unaudited(snapshot: &Snapshot) -> Result<Machine<L>> {
        let facts = &snapshot.facts;
        check_facts(facts)?;
        let (era, rules) = facts.era()?;
        let types = facts.zone_types()?;
        let cpus = cpus(snapshot)?;
        if snapshot.zones.is_empty() {
            return bad("a machine has at least one zone, this one has none".into());
        }
        let mut end = 0;
        for zone in &snapshot.zones {
            check_zone(zone, &types, cpus.len(), &rules)?;
            end = end.max(zone.start + zone.spanned);
        }
        let mut spans: Vec<_> = snapshot.zones.iter().map(|z| (z.start, z.start + z.spanned, z.nid, z.idx)).collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            if pair[1].0 < pair[0].1 {
                return bad(format!(
                    "zone {}.{} begins at pfn {}, before zone {}.{} ends at {}",
                    pair[1].2, pair[1].3, pair[1].0, pair[0].2, pair[0].3, pair[0].1
                ));
            }
        }
        let pages = PageMap::new(Pfn(end as u32));
        for (index, zone) in snapshot.zones.iter().enumerate() {
            pages.set_zone(Pfn(zone.start as u32), Pfn((zone.start + zone.spanned) as u32), index);
        }
        let has_cma = snapshot.has_cma();
        let zonelists = zonelists(snapshot, &types, &rules)?;
        let kswapd = kswapds(snapshot, zonelists.len(), types.len())?;
        let zones = snapshot
            .zones
            .iter()
            .enumerate()
            .map(|(index, state)| {
                let has_next_node = snapshot.zones.iter().any(|other| other.nid > state.nid);
                let common = ZoneCommon {
                    rules,
                    movable_idx: types.movable(),
                    kswapd: kswapd[state.nid].clone(),
                    has_next_node,
                    has_cma,
                };
                load_zone::<L>(index, state, common, &pages, &cpus)
            })
            .collect::<Result<Box<[_]>>>()?;
        let mem_node = |node: usize| zonelists.get(node).and_then(|z| z.all().first()).map(|z| z.nid);
        let cpus = cpus
            .into_iter()
            .enumerate()
            .map(|(cpu, node)| match mem_node(node) {
                Some(mem_node) => Ok(Cpu { node, mem_node }),
                None => bad(format!("cpu {cpu} is on node {node}, which has no zonelist")),
            })
            .collect::<Result<Box<[_]>>>()?;
        let machine = Machine {
            pages,
            zones,
            cpus,
            config: Config {
                gfp_allowed: Gfp(facts.gfp_allowed),
                rules: FallbackRules {
                    boost_factor: facts.watermark_boost_factor.unwrap_or(15_000),
                    mobility_disabled: facts.mobility_disabled != 0,
                },
                gate_prefix_mask: if rules.bulk_mark_excludes_prefix { usize::MAX } else { 0 },
                memory_tiering: facts.memory_tiering.unwrap_or(0) != 0,
                online_nodes: zonelists.len(),
                memcg: false,
                page_owner: false,
                task: Task { realtime: facts.realtime_task.unwrap_or(false), ..Task::default() },
            },
            zone_types: types,
            zonelists,
            era,
            rules,
            kswapd,
            allocstall: Default::default(),
            reclaim: Lock::new(Reclaim::default()),
            facts: facts.clone(),
        };
        if machine.first_pass_skips() {
            for zone in &machine.zones {
                zone.set_flag(zflag::KSWAPD_AWAKE, zone.kswapd.awake());
            }
        }
        Ok(machine)
    }

    /// The state, as the recorder writes it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            zones: self.zones.iter().map(|zone| self.zone_state(zone)).collect(),
            zonelists: self
                .zonelists
                .iter()
                .enumerate()
                .map(|(nid, lists)| (nid, lists.all().iter().map(|z| (z.nid, z.idx)).collect()))
                .collect(),
            cpu_node: self.cpus.iter().enumerate().map(|(cpu, c)| (cpu, c.node)).collect(),
            facts: self.facts.clone(),
            nodes: if self.rules.first_pass_skips_awake_kswapd {
                self.kswapd.iter().enumerate().map(|(nid, kswapd)| kswapd.state(nid, self.zone_types.len())).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn zone_state(&self, zone: &Zone<L>) -> ZoneState {
        let area = zone.area.0.lock();
        let mut free: BTreeMap<u8, BTreeMap<u8, Vec<u64>>> = BTreeMap::new();
        for order in 0..NR_PAGE_ORDERS as u8 {
            for mt in 0..MIGRATE_TYPES as u8 {
                let list = &area.lists[usize::from(order)][usize::from(mt)];
                if !list.is_empty() {
                    let frames = list.iter(&self.pages, order).map(|pfn| u64::from(pfn.0)).collect();
                    free.entry(order).or_default().insert(mt, frames);
                }
            }
        }
        let mut pageblocks: Vec<(u32, u64)> = Vec::new();
        let first = zone.start.index() >> PAGEBLOCK_ORDER;
        for block in first..zone.end().index().div_ceil(PAGEBLOCK_NR_PAGES as usize) {
            let mt = self.pages.block_type_raw(block);
            match pageblocks.last_mut() {
                Some(run) if run.0 == mt => run.1 += 1,
                _ => pageblocks.push((mt, 1)),
            }
        }
        ZoneState {
            nid: zone.nid,
            idx: zone.idx,
            name: self.zone_types.name(zone.idx.into()).into(),
            start: u64::from(zone.start.0),
            spanned: zone.spanned,
            present: zone.present,
            managed: zone.managed,
            min: zone.watermark[0].get(),
            low: zone.watermark[1].get(),
            high: zone.watermark[2].get(),
            promo: zone.watermark[3].get(),
            boost: zone.watermark_boost.get(),
            nr_free: zone.nr_free_pages.get(),
            reserved_highatomic: area.reserved_highatomic,
            free_highatomic: zone.nr_free_highatomic(),
            nr_free_blocks: zone.rules.free_blocks_counted.then(|| area.free_blocks()),
            nr_free_cma: zone.has_cma.then(|| zone.nr_free_cma.get()),
            trylock_free: zone.rules.free_blocks_counted.then_some(0),
            thresh: zone.thresh.get(),
            drift_mark: zone.drift_mark,
            flags: zone.flags(),
            free,
            pcp: (0..self.cpus.len())
                .map(|cpu| (cpu, self.pcp_state(zone, cpu, area.diff[cpu], area.diff_cma[cpu])))
                .collect(),
            lowmem_reserve: zone.lowmem_reserve[..self.zone_types.len()].to_vec(),
            pageblocks,
            movable: area.movable.clone(),
        }
    }

    fn pcp_state(&self, zone: &Zone<L>, cpu: usize, diff: Diff, diff_cma: i32) -> PcpState {
        let pcp = zone.pcp[cpu].0.lock();
        let lists = pcp
            .lists
            .iter()
            .enumerate()
            .filter(|(_, list)| !list.is_empty())
            .map(|(i, list)| {
                (i, list.iter().map(|pfn| (u64::from(pfn.0), self.pages.migratetype(pfn) as u32)).collect())
            })
            .collect();
        let carried = |(i, list): (usize, &PfnDeque)| {
            let order = pindex_to_order(i);
            (i, list.iter().map(|pfn| self.pages.list_type::<OfPage>(pfn, order) as u32).collect())
        };
        let filled = pcp.lists.iter().enumerate().filter(|(_, list)| !list.is_empty());
        let fixed = !zone.rules.pcp_high_tuned;
        PcpState {
            count: pcp.count,
            high: pcp.high,
            high_min: pcp.high_min,
            high_max: pcp.high_max,
            batch: pcp.batch,
            flags: pcp.flags,
            alloc_factor: pcp.alloc_factor,
            expire: pcp.expire,
            free_count: if fixed { 0 } else { pcp.free_count },
            diff_free: diff.diff,
            thresh: diff.threshold,
            lists,
            free_factor: fixed.then_some(pcp.free_count as u32),
            carried: (!zone.rules.list_type_is_block_type).then(|| filled.map(carried).collect()),
            diff_free_blocks: zone.rules.free_blocks_counted.then_some(0),
            diff_free_cma: zone.has_cma.then_some(diff_cma),
        }
    }
}

impl Snapshot {
    /// Whether the kernel has CMA blocks.
    fn has_cma(&self) -> bool {
        let of_cma = |zone: &ZoneState| zone.pageblocks.iter().any(|&(mt, _)| mt == Migratetype::Cma as u32);
        self.zones.iter().any(|zone| zone.nr_free_cma.is_some() || of_cma(zone))
    }
}

impl Facts {
    /// The series that is meant, and its rules with what is set otherwise.
    ///
    /// # Errors
    ///
    /// For a series or a rule that is not known.
    pub fn era(&self) -> Result<(Era, Rules)> {
        let era = match &self.kernel {
            None => Era::default(),
            Some(name) => Era::parse(name).map_err(|e| Error::Snapshot(e.to_string()))?,
        };
        let mut rules = era.rules();
        rules.defrag_mode = self.defrag_mode.unwrap_or(false);
        for (name, &holds) in &self.rules {
            rules = rules.with(name, holds).map_err(|e| Error::Snapshot(e.to_string()))?;
        }
        Ok((era, rules))
    }

    /// Which zones the nodes can have.
    ///
    /// # Errors
    ///
    /// For zones that no kernel has, in this order or at all.
    pub fn zone_types(&self) -> Result<ZoneTypes> {
        match &self.zones {
            None => Ok(ZoneTypes::PC),
            Some(names) => ZoneTypes::from_names(names).map_err(|e| Error::Snapshot(format!("facts.zones: {e}"))),
        }
    }
}

/// kswapd of each node: as the snapshot says, or asleep.
fn kswapds(snapshot: &Snapshot, nodes: usize, nr_zones: usize) -> Result<Box<[Arc<Kswapd>]>> {
    let highest = snapshot.zones.iter().map(|z| z.nid + 1).max().unwrap_or(0).max(nodes);
    if let Some(node) = snapshot.nodes.iter().find(|node| node.nid >= highest) {
        return bad(format!("nodes names node {}, but the machine has {highest}", node.nid));
    }
    (0..highest)
        .map(|nid| {
            let mut states = snapshot.nodes.iter().filter(|node| node.nid == nid);
            let kswapd = states.next().map(|state| Kswapd::load(state, nr_zones)).transpose()?.unwrap_or_default();
            match states.next() {
                Some(_) => bad(format!("nodes names node {nid} twice")),
                None => Ok(Arc::new(kswapd)),
            }
        })
        .collect()
}

/// What a zone has in common with others.
struct ZoneCommon {
    rules: Rules,
    movable_idx: u8,
    kswapd: Arc<Kswapd>,
    has_next_node: bool,
    has_cma: bool,
}

fn check_facts(facts: &Facts) -> Result<()> {
    if let Some(mode) = facts.node_reclaim
        && mode != 0
    {
        return bad(format!("node_reclaim is {mode}; only 0 is modelled"));
    }
    if facts.pageblock_order != u64::from(PAGEBLOCK_ORDER) {
        return bad(format!("pageblock_order is {}; only {PAGEBLOCK_ORDER} is modelled", facts.pageblock_order));
    }
    if facts.nr_pcp_lists != NR_PCP_LISTS as u64 {
        return bad(format!("nr_pcp_lists is {}; only {NR_PCP_LISTS} is modelled", facts.nr_pcp_lists));
    }
    if facts.watermark_boost_factor.is_some_and(|f| f > 1_000_000) {
        return bad(format!(
            "watermark_boost_factor is {}; at most 1000000 is accepted",
            facts.watermark_boost_factor.unwrap_or_default()
        ));
    }
    Ok(())
}

/// Node of each CPU.
fn cpus(snapshot: &Snapshot) -> Result<Vec<usize>> {
    let n = snapshot.cpu_node.len();
    if n == 0 || n > MAX_CPUS {
        return bad(format!("cpu_node names {n} CPUs; 1 to {MAX_CPUS} are accepted"));
    }
    if let Some(cpu) = (0..n).find(|cpu| !snapshot.cpu_node.contains_key(cpu)) {
        return bad(format!("cpu_node names {n} CPUs but not cpu {cpu}"));
    }
    Ok(snapshot.cpu_node.values().copied().collect())
}

fn zonelists(snapshot: &Snapshot, types: &ZoneTypes, rules: &Rules) -> Result<Box<[NodeZonelists]>> {
    let n = snapshot.zonelists.len();
    if n == 0 || n > MAX_NODES {
        return bad(format!("zonelists has {n} nodes; 1 to {MAX_NODES} are accepted"));
    }
    (0..n)
        .map(|nid| {
            let Some(list) = snapshot.zonelists.get(&nid) else {
                return bad(format!("zonelists has {n} nodes but not node {nid}"));
            };
            let mut refs = Vec::new();
            for &(znid, idx) in list {
                let zone = snapshot.zones.iter().position(|z| z.nid == znid && z.idx == idx);
                let Some(zone) = zone else {
                    return bad(format!("zonelists[{nid}] names zone {znid}.{idx}, which does not exist"));
                };
                let entry = ZoneRef { zone, nid: znid, idx };
                if refs.contains(&entry) {
                    return bad(format!("zonelists[{nid}] names zone {znid}.{idx} twice"));
                }
                refs.push(entry);
            }
            Ok(NodeZonelists::new(types, nid, &refs, n, rules.defrag_mode))
        })
        .collect()
}

fn check_zone(zone: &ZoneState, types: &ZoneTypes, cpus: usize, rules: &Rules) -> Result<()> {
    let name = format!("zone {}.{}", zone.nid, zone.idx);
    match types.get(zone.idx.into()) {
        Some(ZoneType::Device) => return bad(format!("{name}: memory of a Device zone is not modelled")),
        Some(_) => {}
        None if usize::from(zone.idx) >= types.len() => {
            return bad(format!("{name}: zone index is above {}", types.len() - 1));
        }
        None => return bad(format!("{name}: the kernel has no zone of this index, only {}", types.names().join(", "))),
    }
    if zone.nid >= MAX_NODES {
        return bad(format!("{name}: node is above {}", MAX_NODES - 1));
    }
    if zone.start == 0 || zone.spanned == 0 || zone.start.saturating_add(zone.spanned) > MAX_PFN {
        return bad(format!("{name}: frames {} and {} more are outside 1 to {MAX_PFN}", zone.start, zone.spanned));
    }
    if zone.managed > zone.present || zone.present > zone.spanned {
        return bad(format!(
            "{name}: managed {} <= present {} <= spanned {} does not hold",
            zone.managed, zone.present, zone.spanned
        ));
    }
    let limit = 1i64 << 40;
    let words = [zone.min, zone.low, zone.high, zone.promo, zone.boost];
    if let Some(word) = words.into_iter().chain(zone.lowmem_reserve.iter().copied()).find(|w| !(0..limit).contains(w)) {
        return bad(format!("{name}: a mark, boost or reserve is {word}, outside 0 to {}", limit - 1));
    }
    if zone.nr_free.abs() >= limit {
        return bad(format!("{name}: nr_free {} is outside -{} to {}", zone.nr_free, limit - 1, limit - 1));
    }
    if let Some(cma) = zone.nr_free_cma
        && cma.abs() >= limit
    {
        return bad(format!("{name}: nr_free_cma {cma} is outside -{} to {}", limit - 1, limit - 1));
    }
    if zone.lowmem_reserve.len() != types.len() {
        return bad(format!("{name}: lowmem_reserve has {} entries, not {}", zone.lowmem_reserve.len(), types.len()));
    }
    let known = if rules.below_high_noted { zflag::KERNEL } else { zflag::RECLAIM_ACTIVE };
    if zone.flags & !u32::from(known) != 0 {
        return bad(format!(
            "{name}: flags {:#x} has bits other than 1 (reclaim active) and 2 (below high{})",
            zone.flags,
            if rules.below_high_noted { "" } else { ", which this kernel does not have" }
        ));
    }
    if let Some(waiting) = zone.trylock_free
        && waiting != 0
    {
        return bad(format!("{name}: trylock_free is {waiting}; frees that wait for a lock are not modelled"));
    }
    if zone.pcp.len() != cpus || !zone.pcp.keys().copied().eq(0..cpus) {
        return bad(format!("{name}: pcp has entries for {:?}, not for the {cpus} CPUs", zone.pcp.keys()));
    }
    for (cpu, pcp) in &zone.pcp {
        let sane = 0..=1 << 28;
        for (what, value) in
            [("high", pcp.high), ("high_min", pcp.high_min), ("high_max", pcp.high_max), ("free_count", pcp.free_count)]
        {
            if !sane.contains(&value) {
                return bad(format!("{name} cpu {cpu}: {what} {value} is outside 0 to {}", sane.end()));
            }
        }
        if !(1..=1 << 16).contains(&pcp.batch) {
            return bad(format!("{name} cpu {cpu}: batch {} is outside 1 to 65536", pcp.batch));
        }
        if pcp.count != 0 && !rules.has_pcp_lists() {
            return bad(format!(
                "{name} cpu {cpu}: {} pages on lists, which a build without SMP does not have",
                pcp.count
            ));
        }
        if pcp.alloc_factor > 6 {
            return bad(format!("{name} cpu {cpu}: alloc_factor {} is above 6", pcp.alloc_factor));
        }
        if pcp.free_factor.is_some_and(|factor| factor > 6) {
            return bad(format!("{name} cpu {cpu}: free_factor {} is above 6", pcp.free_factor.unwrap_or_default()));
        }
        if pcp.diff_free_blocks.is_some_and(|diff| diff != 0) {
            return bad(format!(
                "{name} cpu {cpu}: diff_free_blocks is {}; whole pageblocks are more than any difference can hold",
                pcp.diff_free_blocks.unwrap_or_default()
            ));
        }
        if !(0..=127).contains(&pcp.thresh) || pcp.diff_free.abs() > 128 {
            return bad(format!(
                "{name} cpu {cpu}: diff_free {} or thresh {} does not fit in 8 bits",
                pcp.diff_free, pcp.thresh
            ));
        }
        if let Some(diff) = pcp.diff_free_cma
            && diff.abs() > 128
        {
            return bad(format!("{name} cpu {cpu}: diff_free_cma {diff} does not fit in 8 bits"));
        }
    }
    Ok(())
}

fn load_zone<L: Locking>(
    index: usize,
    state: &ZoneState,
    common: ZoneCommon,
    pages: &PageMap,
    cpu_node: &[usize],
) -> Result<Zone<L>> {
    let ZoneCommon { rules, movable_idx, kswapd, has_next_node, has_cma } = common;
    let name = format!("zone {}.{}", state.nid, state.idx);
    load_pageblocks(state, pages, &name)?;
    let mut movable = state.movable.clone();
    movable.sort_unstable();
    let diff = state.pcp.values().map(|p| Diff { diff: p.diff_free, threshold: p.thresh }).collect();
    let zone = Zone {
        index,
        nid: state.nid,
        idx: state.idx,
        movable_idx,
        start: Pfn(state.start as u32),
        spanned: state.spanned,
        present: state.present,
        managed: state.managed,
        watermark: [state.min, state.low, state.high, state.promo].map(Word::new),
        watermark_boost: Word::new(state.boost),
        lowmem_reserve: core::array::from_fn(|i| state.lowmem_reserve.get(i).copied().unwrap_or(0)),
        drift_mark: state.drift_mark,
        thresh: Word::new(state.thresh),
        nr_free_pages: Word::new(state.nr_free),
        nr_free_highatomic: Word::new(if rules.highatomic_free_counted {
            state.free_highatomic
        } else {
            state.reserved_highatomic as i64
        }),
        nr_free_cma: Word::new(state.nr_free_cma.unwrap_or_else(|| free_cma(state))),
        out_of_reach: Word::default(),
        has_cma,
        flags: AtomicU8::new(
            state.flags as u8
                | if has_cma { zflag::HAS_CMA } else { 0 }
                | if rules.below_high_noted { 0 } else { zflag::HIGH_NOT_TESTED }
                | if rules.pcp_high_tuned && rules.list_type_is_block_type { 0 } else { zflag::OLDER_FREE },
        ),
        rules,
        kswapd,
        has_next_node,
        nonempty: Default::default(),
        numa_foreign: AtomicU64::new(0),
        kernel_pages: 0,
        area: Padded(Lock::new(FreeArea {
            lists: [[FreeList::default(); LISTS]; NR_PAGE_ORDERS],
            nr_free: [0; NR_PAGE_ORDERS],
            diff,
            diff_cma: state.pcp.values().map(|p| p.diff_free_cma.unwrap_or(0)).collect(),
            reserved_highatomic: state.reserved_highatomic,
            movable,
            direct: vec![Events::default(); cpu_node.len()].into(),
        })),
        pcp: cpu_node
            .iter()
            .map(|&nid| Padded(Lock::new(PerCpuPages { local: nid == state.nid, ..PerCpuPages::default() })))
            .collect(),
    };
    zone.sum_out_of_reach();
    // Every block is noted, to find two that overlap before their links are mixed up.
    let mut blocks: Vec<(Pfn, u8)> = Vec::new();
    for (&order, lists) in &state.free {
        if order > MAX_PAGE_ORDER {
            return bad(format!("{name}: free order {order} is above {MAX_PAGE_ORDER}"));
        }
        for (&mt, frames) in lists {
            if usize::from(mt) >= MIGRATE_TYPES {
                return bad(format!("{name}: free type {mt} is above {}", MIGRATE_TYPES - 1));
            }
            for &raw in frames {
                blocks.push((frame(state, "free list", raw, order)?, order));
            }
        }
    }
    for (&cpu, pcp) in &state.pcp {
        for (&list, entries) in &pcp.lists {
            if list >= NR_PCP_LISTS {
                return bad(format!("{name} cpu {cpu}: list {list} is above {}", NR_PCP_LISTS - 1));
            }
            let order = pindex_to_order(list);
            for &(raw, mt) in entries {
                let pfn = frame(state, "per-CPU list", raw, order)?;
                if pages.migratetype(pfn) as u32 != mt {
                    return bad(format!(
                        "{name} cpu {cpu} list {list}: pfn {raw} is said to be in a block of type {mt}, \
                         but pageblocks says {}",
                        pages.migratetype(pfn) as u32
                    ));
                }
                blocks.push((pfn, order));
            }
        }
    }
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        if pair[0].0.0 + (1 << pair[0].1) > pair[1].0.0 {
            return bad(format!(
                "{name}: the blocks at pfn {} (order {}) and {} (order {}) overlap",
                pair[0].0, pair[0].1, pair[1].0, pair[1].1
            ));
        }
    }
    link_blocks(&zone, state, pages)?;
    let listed: u64 = blocks.iter().map(|b| 1u64 << b.1).sum();
    if listed > state.managed {
        return bad(format!("{name}: {listed} pages are on lists, but only {} are managed", state.managed));
    }
    Ok(Zone { kernel_pages: state.managed - listed, ..zone })
}

/// Free pages on the lists of CMA, less what the CPUs have not folded.
fn free_cma(state: &ZoneState) -> i64 {
    let pages = |(&order, lists): (&u8, &BTreeMap<u8, Vec<u64>>)| {
        lists.get(&(Migratetype::Cma as u8)).map_or(0, |frames| (frames.len() as i64) << order.min(MAX_PAGE_ORDER))
    };
    let listed: i64 = state.free.iter().map(pages).sum();
    listed - state.pcp.values().map(|p| i64::from(p.diff_free_cma.unwrap_or(0))).sum::<i64>()
}

fn load_pageblocks(state: &ZoneState, pages: &PageMap, name: &str) -> Result<()> {
    let first = state.start as usize >> PAGEBLOCK_ORDER;
    let end = ((state.start + state.spanned) as usize).div_ceil(PAGEBLOCK_NR_PAGES as usize);
    let mut at = first;
    for &(mt, count) in &state.pageblocks {
        if count > (end - at) as u64 {
            return bad(format!("{name}: pageblocks goes beyond the zone's {} blocks", end - first));
        }
        for _ in 0..count {
            if !pages.set_block_type_raw(at, mt) {
                return bad(format!("{name}: pageblock type {mt} is neither 0 to 4 nor 9 (no memory)"));
            }
            at += 1;
        }
    }
    if at != end {
        return bad(format!("{name}: pageblocks covers {} blocks of {}", at - first, end - first));
    }
    Ok(())
}

/// Puts the checked blocks on their lists.
fn link_blocks<L: Locking>(zone: &Zone<L>, state: &ZoneState, pages: &PageMap) -> Result<()> {
    by_list_type!(zone, T => {
        let mut locked = zone.lock_untold::<T>(pages, 0);
        for (&order, lists) in &state.free {
            for (&mt, frames) in lists {
                for &raw in frames {
                    locked.add_to_free_list(Pfn(raw as u32), order, Migratetype::from_bits(u16::from(mt)), true);
                }
            }
        }
        if let Some(said) = state.nr_free_blocks
            && said != locked.area.free_blocks()
        {
            let listed = locked.area.free_blocks();
            return bad(format!(
                "zone {}.{}: nr_free_blocks is {said}, the lists hold {listed} pages in whole pageblocks",
                state.nid, state.idx
            ));
        }
    });
    for (&cpu, from) in &state.pcp {
        let mut pcp = zone.pcp[cpu].0.lock();
        let fixed = !zone.rules.pcp_high_tuned;
        *pcp = PerCpuPages {
            count: from.count,
            high: from.high,
            high_min: from.high_min,
            high_max: from.high_max,
            batch: from.batch,
            flags: if fixed { 0 } else { from.flags },
            alloc_factor: if fixed { 0 } else { from.alloc_factor },
            expire: from.expire,
            free_count: match (fixed, from.free_factor) {
                (true, factor) => factor.unwrap_or(0) as i32,
                (false, _) => from.free_count,
            },
            held: !zone.rules.has_pcp_lists(),
            local: pcp.local,
            ..PerCpuPages::default()
        };
        for (&list, entries) in &from.lists {
            let order = pindex_to_order(list);
            let carried = from.carried.as_ref().and_then(|types| types.get(&list));
            for (i, &(raw, mt)) in entries.iter().enumerate() {
                let pfn = Pfn(raw as u32);
                if zone.rules.list_type_is_block_type {
                    pages.set_pcp::<OfBlock>(pfn, order, Migratetype::from_bits(mt as u16));
                } else {
                    let mt = carried.and_then(|types| types.get(i)).map_or(mt, |&mt| mt);
                    pages.set_pcp::<OfPage>(pfn, order, Migratetype::from_bits(mt as u16));
                }
                pcp.lists[list].push_back(pfn);
            }
        }
    }
    Ok(())
}

/// The text form of a CPU's lists, which is not the same in every era.
mod pcp_form {
    use super::{BTreeMap, Deserialize, PcpState, Serialize};

    /// The fields that a text may have.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct PcpForm {
        count: i32,
        high: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        high_min: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        high_max: Option<i32>,
        batch: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flags: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alloc_factor: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free_factor: Option<u32>,
        expire: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free_count: Option<i32>,
        diff_free: i32,
        thresh: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff_free_blocks: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff_free_cma: Option<i32>,
        lists: BTreeMap<usize, Vec<Listed>>,
    }

    /// A block on a list: first frame, type of its pageblock, type that it carries.
    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Listed {
        Plain(u64, u32),
        Carrying(u64, u32, u32),
    }

    impl TryFrom<PcpForm> for PcpState {
        type Error = String;

        fn try_from(form: PcpForm) -> Result<PcpState, String> {
            let fixed = form.free_factor.is_some();
            let needed = |name: &str, there: bool| match there || fixed {
                true => Ok(()),
                false => Err(format!("missing field `{name}`")),
            };
            needed("high_min", form.high_min.is_some())?;
            needed("high_max", form.high_max.is_some())?;
            needed("flags", form.flags.is_some())?;
            needed("alloc_factor", form.alloc_factor.is_some())?;
            needed("free_count", form.free_count.is_some())?;
            let mut lists = BTreeMap::new();
            let mut carried: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
            for (i, list) in form.lists {
                let mut blocks = Vec::with_capacity(list.len());
                for block in list {
                    match block {
                        Listed::Plain(pfn, mt) => blocks.push((pfn, mt)),
                        Listed::Carrying(_, _, other) if other > 4 => {
                            return Err(format!("list {i}: a page carries type {other}, above 4"));
                        }
                        Listed::Carrying(pfn, mt, other) => {
                            blocks.push((pfn, mt));
                            carried.entry(i).or_default().push(other);
                        }
                    }
                }
                if carried.get(&i).is_some_and(|types| types.len() != blocks.len()) {
                    return Err(format!("list {i}: only some of its pages carry a type"));
                }
                lists.insert(i, blocks);
            }
            Ok(PcpState {
                count: form.count,
                high: form.high,
                high_min: form.high_min.unwrap_or(form.high),
                high_max: form.high_max.unwrap_or(form.high),
                batch: form.batch,
                flags: form.flags.unwrap_or(0),
                alloc_factor: form.alloc_factor.unwrap_or(0),
                expire: form.expire,
                free_count: form.free_count.unwrap_or(0),
                diff_free: form.diff_free,
                thresh: form.thresh,
                lists,
                free_factor: form.free_factor,
                carried: (fixed || !carried.is_empty()).then_some(carried),
                diff_free_blocks: form.diff_free_blocks,
                diff_free_cma: form.diff_free_cma,
            })
        }
    }

    impl From<PcpState> for PcpForm {
        fn from(state: PcpState) -> PcpForm {
            let fixed = state.free_factor.is_some();
            let carried = state.carried.unwrap_or_default();
            let lists = state.lists.into_iter().map(|(i, blocks)| {
                let types = carried.get(&i);
                let listed = |(at, (pfn, mt)): (usize, (u64, u32))| match types.and_then(|types| types.get(at)) {
                    Some(&other) => Listed::Carrying(pfn, mt, other),
                    None => Listed::Plain(pfn, mt),
                };
                (i, blocks.into_iter().enumerate().map(listed).collect())
            });
            PcpForm {
                count: state.count,
                high: state.high,
                high_min: (!fixed).then_some(state.high_min),
                high_max: (!fixed).then_some(state.high_max),
                batch: state.batch,
                flags: (!fixed).then_some(state.flags),
                alloc_factor: (!fixed).then_some(state.alloc_factor),
                free_factor: state.free_factor,
                expire: state.expire,
                free_count: (!fixed).then_some(state.free_count),
                diff_free: state.diff_free,
                thresh: state.thresh,
                diff_free_blocks: state.diff_free_blocks,
                diff_free_cma: state.diff_free_cma,
                lists: lists.collect(),
            }
        }
    }
}
