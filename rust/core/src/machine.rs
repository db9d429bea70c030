//! Kernel: `pg_data_t`, `struct per_cpu_pageset` and the rest of `mm/mm_init.c` that puts nodes, zones and CPUs together
//! (v6.12).
//!
//! A machine: zones, their lists, the CPUs, and what is configured for all of them.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use crate::era::{Era, Rules};
use crate::error::{Error, Result};
use crate::fallback::FallbackRules;
use crate::gfp::{Gfp, Migratetype};
use crate::kswapd::Kswapd;
use crate::page::{Block, PageMap, PageState};
use crate::pfn::Pfn;
use crate::reclaim::Reclaim;
use crate::slowpath::Task;
use crate::snapshot::Facts;
use crate::sync::{Local, Lock, Locking};
use crate::zone::{Events, Zone};
use crate::zone_type::{MAX_NR_ZONES, ZoneTypes};
use crate::zonelist::NodeZonelists;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) node: usize,
    /// `numa_mem_id()`: the nearest node with memory.
    pub(crate) mem_node: usize,
}

/// What holds for the whole machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) gfp_allowed: Gfp,
    pub(crate) rules: FallbackRules,
    /// All ones where `bulk_mark_excludes_prefix` holds, else 0.
    pub(crate) gate_prefix_mask: usize,
    /// kswapd looks at PROMO in place of HIGH (`NUMA_BALANCING_MEMORY_TIERING`).
    pub(crate) memory_tiering: bool,
    pub(crate) online_nodes: usize,
    /// `memcg_kmem_online()`.
    pub(crate) memcg: bool,
    /// Page owner tracking is active.
    pub(crate) page_owner: bool,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub struct Machine<L: Locking = Local> {
    pub(crate) pages: PageMap,
    pub(crate) zones: Box<[Zone<L>]>,
    /// Which zones its nodes can have.
    pub(crate) zone_types: ZoneTypes,
    pub(crate) zonelists: Box<[NodeZonelists]>,
    pub(crate) cpus: Box<[Cpu]>,
    pub(crate) config: Config,
    pub(crate) era: Era,
    /// How it works: the era's rules, except where one was set otherwise.
    pub(crate) rules: Rules,
    /// kswapd of each node.
    pub(crate) kswapd: Box<[Arc<Kswapd>]>,
    /// `ALLOCSTALL` by zone index of the request.
    pub(crate) allocstall: [AtomicU64; MAX_NR_ZONES],
    /// What there is to reclaim, and kswapd.
    pub(crate) reclaim: L::Lock<Reclaim>,
    /// What the emulator takes from a snapshot only to save it again.
    pub(crate) facts: Facts,
}

impl<L: Locking> Machine<L> {
    /// The kernel series that it works like.
    pub fn era(&self) -> Era {
        self.era
    }

    /// What holds in it: the era's rules, except where one was set otherwise.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// Number of nodes that have a zonelist.
    pub fn nodes(&self) -> usize {
        self.zonelists.len()
    }

    /// The zones, in snapshot order.
    pub fn zones(&self) -> &[Zone<L>] {
        &self.zones
    }

    /// Which zones its nodes can have.
    pub fn zone_types(&self) -> &ZoneTypes {
        &self.zone_types
    }

    /// The page tables.
    pub fn pages(&self) -> &PageMap {
        &self.pages
    }

    /// Sends bulk calls with `__GFP_ACCOUNT` to the single-page path, as an online memory cgroup does.
    pub fn set_memcg(&mut self, on: bool) {
        self.config.memcg = on;
    }

    pub fn memcg(&self) -> bool {
        self.config.memcg
    }

    /// Sends bulk calls to the single-page path, as page owner tracking does.
    pub fn set_page_owner(&mut self, on: bool) {
        self.config.page_owner = on;
    }

    /// The task on whose behalf requests are made.
    pub fn set_task(&mut self, task: Task) {
        self.config.task = task;
    }

    #[inline]
    pub(crate) fn check_cpu(&self, cpu: usize) -> Result<()> {
        if cpu < self.cpus.len() { Ok(()) } else { Err(does_not_exist("cpu", cpu, self.cpus.len())) }
    }

    #[inline]
    pub(crate) fn check_nid(&self, nid: Option<usize>, cpu: usize) -> Result<usize> {
        match nid {
            None => Ok(self.cpus[cpu].mem_node),
            Some(nid) if nid < self.zonelists.len() => Ok(nid),
            Some(nid) => Err(does_not_exist("node", nid, self.zonelists.len())),
        }
    }

    pub(crate) fn check_zone(&self, index: usize) -> Result<&Zone<L>> {
        self.zones.get(index).ok_or_else(|| does_not_exist("zone", index, self.zones.len()))
    }

    /// The node that a request for `nid` prefers: the nearest one with memory when `None`.
    ///
    /// # Errors
    ///
    /// For a CPU or node that the machine does not have.
    pub fn nearest_node(&self, nid: Option<usize>, cpu: usize) -> Result<usize> {
        self.check_cpu(cpu)?;
        self.check_nid(nid, cpu)
    }

    /// Index of a zone.
    ///
    /// # Errors
    ///
    /// When the node has no such zone.
    pub fn zone_index(&self, nid: usize, idx: usize) -> Result<usize> {
        self.zones.iter().position(|z| z.nid == nid && usize::from(z.idx) == idx).ok_or_else(|| {
            let known: Vec<_> = self.zones.iter().map(|z| format!("{}.{}", z.nid, z.idx)).collect();
            Error::invalid(format!("zone {nid}.{idx} does not exist: the machine has {}", known.join(", ")))
        })
    }

    /// The zone of a frame whose block was looked up.
    #[inline]
    pub(crate) fn zone_of_block(&self, block: Block, pfn: Pfn) -> &Zone<L> {
        match block.zone() {
            Some(zone) => &self.zones[zone],
            None => self.zone_of_shared(pfn),
        }
    }

    #[cold]
    fn zone_of_shared(&self, pfn: Pfn) -> &Zone<L> {
        // INVARIANT: only frames of owned or listed blocks get here, and each of those lies in a zone.
        self.zones.iter().find(|z| z.spans(pfn)).unwrap_or(&self.zones[0])
    }

    /// Index of the zone that a frame lies in.
    pub fn zone_index_of(&self, pfn: Pfn) -> Option<usize> {
        self.zones.iter().position(|z| z.spans(pfn))
    }

    /// Type of the frame's pageblock.
    pub fn block_type(&self, pfn: Pfn) -> Migratetype {
        self.pages.migratetype(pfn)
    }

    /// The zone that a frame lies in.
    pub fn zone_of(&self, pfn: Pfn) -> Option<&Zone<L>> {
        self.zones.iter().find(|z| z.spans(pfn))
    }

    /// Where the block at a frame is.
    pub fn page_state(&self, pfn: Pfn) -> PageState {
        self.pages.state(pfn)
    }

    /// Another CPU takes (`held`) or gives back the lock of one CPU's lists in one zone, as a parallel drain would.
    ///
    /// # Errors
    ///
    /// For a zone or CPU that does not exist, a lock that is held already, or one that is not held.
    pub fn hold_pcp_lock(&self, nid: usize, idx: usize, cpu: usize, held: bool) -> Result<()> {
        self.check_cpu(cpu)?;
        let zone = &self.zones[self.zone_index(nid, idx)?];
        if !self.rules.has_pcp_lists() {
            return Err(Error::misuse("a build without SMP has no per-CPU lists whose lock could be held"));
        }
        let mut pcp = zone.pcp[cpu].0.lock();
        if pcp.held == held {
            let state = if held { "held already" } else { "not held" };
            return Err(Error::misuse(format!("the per-CPU lists of cpu {cpu} in zone {nid}.{idx} are {state}")));
        }
        pcp.held = held;
        Ok(())
    }

    /// Locks of per-CPU lists that another CPU holds: (node, zone index, CPU of the lists).
    pub fn held_pcp_locks(&self) -> Vec<(usize, usize, usize)> {
        let mut held = Vec::new();
        if !self.rules.has_pcp_lists() {
            return held;
        }
        for zone in &self.zones {
            for (cpu, pcp) in zone.pcp.iter().enumerate() {
                if pcp.0.lock().held {
                    held.push((zone.nid, usize::from(zone.idx), cpu));
                }
            }
        }
        held
    }

    /// Events of one zone, summed over CPUs.
    pub(crate) fn zone_events(&self, zone: &Zone<L>) -> Events {
        let mut sum = Events::default();
        for pcp in &zone.pcp {
            sum += pcp.0.lock().events;
        }
        for direct in &zone.area.0.lock().direct {
            sum += *direct;
        }
        sum
    }

    /// Free pages of a zone, per-CPU differences included.
    pub fn free_pages_exact(&self, zone: &Zone<L>) -> i64 {
        let area = zone.area.0.lock();
        zone.nr_free_pages.get() + area.diff.iter().map(|d| i64::from(d.diff)).sum::<i64>()
    }

    /// `numa_foreign` of one zone.
    pub(crate) fn numa_foreign(&self, zone: &Zone<L>) -> u64 {
        zone.numa_foreign.load(Relaxed)
    }
}

#[cold]
fn does_not_exist(what: &str, index: usize, count: usize) -> Error {
    Error::invalid(format!("{what} {index} does not exist: the machine has {count}"))
}
