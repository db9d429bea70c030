//! Kernel: `mm/vmscan.c`, `try_to_free_pages()`, `balance_pgdat()`, `wakeup_kswapd()`; `mm/oom_kill.c`,
//! `out_of_memory()` (v6.12), as a **declared model**.
//!
//! A booted machine, or one from a snapshot, has nothing to reclaim and no task to kill. Direct reclaim then finds nothing
//! and updates the counters of a fruitless attempt; waking kswapd is only an event. A [`ReclaimModel`] gives the machine
//! clean page cache, in the order in which it was filled, and tasks to kill. Both are ordinary owned pages, so every page
//! stays accounted for. Time is virtual: it passes when direct reclaim runs, when a caller waits, and in
//! [`Machine::advance`].
//!
//! Not modelled: dirty and mapped pages, anonymous pages outside the tasks, swap, slab, throttling, cgroups' own limits.

use core::sync::atomic::Ordering::Relaxed;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::alloc::AllocContext;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::gfp::Gfp;
use crate::kswapd::MAX_RECLAIM_RETRIES;
use crate::machine::Machine;
use crate::pfn::Pfn;
use crate::probe::Event;
use crate::sync::{Lock, Locking};
use crate::zone::{Zone, wmark, zflag};

/// `SWAP_CLUSTER_MAX`: pages that one direct reclaim is after.
pub const SWAP_CLUSTER_MAX: u64 = 32;
/// Virtual time between two failure reports, at least.
const REPORT_INTERVAL_NS: u64 = 10_000_000_000;

/// What the machine can reclaim, and how fast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimModel {
    /// Pages of clean page cache to allocate now.
    pub file_pages: u64,
    /// Pages reclaimed of 100 scanned, 1 to 100.
    pub efficiency: u32,
    /// Virtual time that one direct reclaim takes.
    pub latency_ns: u64,
    /// Virtual time from a wake of kswapd to its run; `None`: it never runs.
    pub kswapd_delay_ns: Option<u64>,
    /// Pages of each task that the OOM killer may kill; none: there is nobody to kill.
    pub tasks: Vec<u64>,
}

impl Default for ReclaimModel {
    /// No page cache, no tasks; all that is scanned is reclaimed, at once; kswapd runs as soon as it is woken.
    fn default() -> ReclaimModel {
        ReclaimModel { file_pages: 0, efficiency: 100, latency_ns: 0, kswapd_delay_ns: Some(0), tasks: Vec::new() }
    }
}

/// Counters of the model, by their names in `/proc/vmstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimEvents {
    pub pgscan_kswapd: u64,
    pub pgscan_direct: u64,
    pub pgsteal_kswapd: u64,
    pub pgsteal_direct: u64,
    pub pageoutrun: u64,
    pub oom_kill: u64,
}

/// Where the model stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimInfo {
    /// Pages of page cache left (`nr_inactive_file`).
    pub file_pages: u64,
    /// Tasks left to kill.
    pub tasks: usize,
    pub now_ns: u64,
    /// Nodes whose kswapd was woken and has not run yet.
    pub kswapd_pending: usize,
    /// Nodes that kswapd has given up on.
    pub unreclaimable_nodes: usize,
    /// Failure reports, one in 10 s of virtual time at most.
    pub failure_reports: u64,
    pub events: ReclaimEvents,
}

/// kswapd of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kswapd {
    wake_at: Option<u64>,
    failures: u32,
}

/// State of the model.
///
/// # Invariants
///
/// `lru` has a queue per zone; every page in it and every page of a task is owned with order 0, by the model alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reclaim {
    model: Option<ReclaimModel>,
    lru: Vec<VecDeque<Pfn>>,
    tasks: Vec<Vec<Pfn>>,
    now_ns: u64,
    kswapd: Vec<Kswapd>,
    last_report: Option<u64>,
    failure_reports: u64,
    events: ReclaimEvents,
}

impl Reclaim {
    /// Whether the kswapd of each node is awake, and its fruitless runs; nothing without a model.
    pub(crate) fn kswapds(&self) -> impl Iterator<Item = (bool, u32)> + '_ {
        self.kswapd.iter().map(|kswapd| (kswapd.wake_at.is_some(), kswapd.failures))
    }

    /// Refuses a state that does not belong to a machine of so many zones and nodes; `owned` knows pages of order 0.
    pub(crate) fn check(&self, zones: usize, nodes: usize, owned: impl Fn(Pfn) -> bool) -> Result<()> {
        let pages = || self.lru.iter().flatten().chain(self.tasks.iter().flatten()).copied();
        let mut all: Vec<Pfn> = pages().collect();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(pfn) = twice.or_else(|| pages().find(|&pfn| !owned(pfn))) {
            return Err(Error::Snapshot(format!("pfn {pfn} of the reclaim model is not owned once, with order 0")));
        }
        if !matches!(self.lru.len(), n if n == 0 || n == zones)
            || !matches!(self.kswapd.len(), n if n == 0 || n == nodes)
        {
            let (lru, kswapd) = (self.lru.len(), self.kswapd.len());
            return Err(Error::Snapshot(format!("the reclaim model has {lru} queues and {kswapd} daemons")));
        }
        Ok(())
    }
}

/// Why a request of the slow path that the kernel would not let fail ends with NULL here all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadEnd {
    /// No task is left to kill: the kernel panics.
    Panic,
    /// The request may not enter file systems, so nobody is killed for it: the kernel retries for ever.
    NoFs,
    /// `__GFP_NOFAIL` with everything used up: the kernel retries for ever.
    NoFail,
}

impl<L: Locking> Machine<L> {
    /// Gives the machine page cache and tasks, in place of what an earlier model gave it, which is freed first.
    ///
    /// # Errors
    ///
    /// For an efficiency outside 1 to 100, and when the machine has not enough pages; nothing
    /// is kept then.
    pub fn set_reclaim<C: Context>(&self, cx: &mut C, model: ReclaimModel) -> Result<()> {
        self.check_cpu(cx.cpu())?;
        if !(1..=100).contains(&model.efficiency) {
            return Err(Error::invalid(format!("efficiency {} is outside 1 to 100", model.efficiency)));
        }
        self.clear_reclaim(cx)?;
        let mut lru: Vec<VecDeque<Pfn>> = vec![VecDeque::new(); self.zones.len()];
        let mut tasks = Vec::new();
        let mut short = None;
        // Page cache and anonymous pages are movable, and whoever reads ahead does not reclaim for it.
        let gfp = Gfp(Gfp::HIGHUSER_MOVABLE.0 & !(Gfp::DIRECT_RECLAIM.0 | Gfp::KSWAPD_RECLAIM.0) | Gfp::NOWARN.0);
        let mut take = |cx: &mut C, want: u64, what: &str| -> Result<Vec<Pfn>> {
            let mut pages = Vec::new();
            for i in 0..want {
                match self.alloc_pages(cx, gfp, 0, None)? {
                    Some(page) => pages.push(page),
                    None => {
                        short = Some(format!("{what} {want}: the machine has only {i} pages for it"));
                        break;
                    }
                }
            }
            Ok(pages)
        };
        let file = take(cx, model.file_pages, "file_pages")?;
        for &pages in &model.tasks {
            tasks.push(take(cx, pages, "task of pages")?);
        }
        if let Some(text) = short {
            for page in file.into_iter().chain(tasks.into_iter().flatten()) {
                self.free_pages(cx, page, 0)?;
            }
            return Err(Error::invalid(text));
        }
        for page in file {
            if let Some(zone) = self.zone_of(page) {
                lru[zone.index].push_back(page);
            }
        }
        let mut reclaim = self.reclaim.lock();
        reclaim.lru = lru;
        reclaim.tasks = tasks;
        reclaim.kswapd = vec![Kswapd::default(); self.zonelists.len()];
        reclaim.model = Some(model);
        drop(reclaim);
        for nid in 0..self.zonelists.len() {
            self.kswapd_ran(nid, true);
            self.set_kswapd_awake(nid, false);
        }
        Ok(())
    }

    /// Frees what the model owns; the machine has nothing to reclaim afterwards. Counters and time stay.
    ///
    /// # Errors
    ///
    /// When somebody else freed pages of the model.
    pub fn clear_reclaim(&self, cx: &mut impl Context) -> Result<()> {
        let (lru, tasks) = {
            let mut reclaim = self.reclaim.lock();
            reclaim.model = None;
            (core::mem::take(&mut reclaim.lru), core::mem::take(&mut reclaim.tasks))
        };
        for page in lru.into_iter().flatten().chain(tasks.into_iter().flatten()) {
            self.free_pages(cx, page, 0)?;
        }
        Ok(())
    }

    /// Where the model stands.
    pub fn reclaim_info(&self) -> ReclaimInfo {
        let reclaim = self.reclaim.lock();
        ReclaimInfo {
            file_pages: reclaim.lru.iter().map(|l| l.len() as u64).sum(),
            tasks: reclaim.tasks.len(),
            now_ns: reclaim.now_ns,
            kswapd_pending: reclaim.kswapd.iter().filter(|k| k.wake_at.is_some()).count(),
            unreclaimable_nodes: reclaim.kswapd.iter().filter(|k| k.failures >= MAX_RECLAIM_RETRIES).count(),
            failure_reports: reclaim.failure_reports,
            events: reclaim.events,
        }
    }

    /// Lets virtual time pass; whichever kswapd is due runs on the executing CPU.
    pub fn advance(&self, cx: &mut impl Context, ns: u64) {
        let due: Vec<usize> = {
            let mut reclaim = self.reclaim.lock();
            reclaim.now_ns = reclaim.now_ns.saturating_add(ns);
            let now = reclaim.now_ns;
            let due = |k: &Kswapd| k.wake_at.is_some_and(|at| at <= now);
            (0..reclaim.kswapd.len()).filter(|&nid| due(&reclaim.kswapd[nid])).collect()
        };
        for nid in due {
            self.balance_pgdat(cx, nid);
        }
    }

    /// A task that would wait without end waits until every kswapd that was woken has run. Pages that this freed.
    pub(crate) fn wait_for_kswapd(&self, cx: &mut impl Context) -> u64 {
        let (now, last) = {
            let reclaim = self.reclaim.lock();
            (reclaim.now_ns, reclaim.kswapd.iter().filter_map(|k| k.wake_at).max())
        };
        let before = self.reclaim_info().events.pgsteal_kswapd;
        if let Some(at) = last {
            self.advance(cx, at.saturating_sub(now));
        }
        self.reclaim_info().events.pgsteal_kswapd - before
    }

    /// Takes up to `want` pages off the page cache of zones that `wanted` names, oldest first within a zone.
    fn isolate_lru(&self, want: u64, by_kswapd: bool, mut wanted: impl FnMut(&Zone<L>) -> bool) -> Vec<Pfn> {
        let mut reclaim = self.reclaim.lock();
        let reclaim = &mut *reclaim;
        let Some(model) = &reclaim.model else { return Vec::new() };
        let mut pages = Vec::new();
        for (zone, lru) in self.zones.iter().zip(&mut reclaim.lru).rev() {
            if !wanted(zone) {
                continue;
            }
            let n = lru.len().min(want as usize - pages.len());
            pages.extend(lru.drain(..n));
        }
        let stolen = pages.len() as u64;
        let scanned = (stolen * 100).div_ceil(u64::from(model.efficiency));
        let events = &mut reclaim.events;
        if by_kswapd {
            events.pgscan_kswapd += scanned;
            events.pgsteal_kswapd += stolen;
        } else {
            events.pgscan_direct += scanned;
            events.pgsteal_direct += stolen;
        }
        pages
    }

    /// `__alloc_pages_direct_reclaim()`: pages freed.
    pub(crate) fn try_to_free_pages(&self, cx: &mut impl Context, gfp: Gfp, ac: AllocContext<'_>) -> u64 {
        let stall = &self.allocstall[usize::from(self.zone_types.gfp_zone(gfp))];
        stall.fetch_add(1, Relaxed);
        let latency = self.reclaim.lock().model.as_ref().map_or(0, |m| m.latency_ns);
        self.advance(cx, latency);
        let pages =
            self.isolate_lru(SWAP_CLUSTER_MAX, false, |zone| ac.zonelist().iter().any(|zref| zref.zone == zone.index));
        let progress = pages.len() as u64;
        if progress == 0 {
            // A fruitless run sweeps the priorities twice and counts each sweep, by the request's zone.
            stall.fetch_add(1, Relaxed);
        }
        self.free_unref_folios(cx, &pages);
        cx.tell(|| Event::DirectReclaim { progress });
        progress
    }

    pub(crate) fn zone_reclaimable_pages(&self, zone: &Zone<L>) -> i64 {
        self.reclaim.lock().lru.get(zone.index).map_or(0, |lru| lru.len() as i64)
    }

    /// A kswapd that was woken runs after the model's delay, if there is a model and it runs at all.
    pub(crate) fn schedule_kswapd(&self, cx: &mut impl Context, nid: usize) {
        {
            let mut reclaim = self.reclaim.lock();
            let now = reclaim.now_ns;
            let Some(delay) = reclaim.model.as_ref().and_then(|m| m.kswapd_delay_ns) else { return };
            reclaim.kswapd[nid].wake_at = Some(now.saturating_add(delay));
        }
        self.advance(cx, 0);
    }

    /// `balance_pgdat()`, one run.
    fn balance_pgdat(&self, cx: &mut impl Context, nid: usize) {
        let zones = || self.zones.iter().filter(move |z| z.nid == nid && z.managed > 0);
        {
            let mut reclaim = self.reclaim.lock();
            reclaim.events.pageoutrun += 1;
            // Awake: further wakes do nothing, and the run does not start another.
            reclaim.kswapd[nid].wake_at = Some(u64::MAX);
        }
        let boosts: Vec<i64> = zones().map(|z| z.watermark_boost.get()).collect();
        let mut boost_left = boosts.iter().sum::<i64>() as u64;
        let target: u64 = zones().map(|z| z.wmark_pages(wmark::HIGH).max(SWAP_CLUSTER_MAX as i64) as u64).sum();
        for zone in zones() {
            zone.set_flag(zflag::RECLAIM_ACTIVE, true);
        }
        let mut reclaimed = 0;
        loop {
            let balanced = self.pgdat_balanced(nid, 0, self.zone_types.movable());
            if !balanced {
                boost_left = 0;
            } else if boost_left == 0 {
                break;
            }
            let pages = self.isolate_lru(target, true, |zone| zone.nid == nid);
            if pages.is_empty() {
                break;
            }
            self.free_unref_folios(cx, &pages);
            reclaimed += pages.len() as u64;
            boost_left = boost_left.saturating_sub(pages.len() as u64);
        }
        for (zone, seen) in zones().zip(boosts) {
            zone.set_flag(zflag::RECLAIM_ACTIVE, false);
            zone.watermark_boost.set((zone.watermark_boost.get() - seen).max(0));
        }
        {
            let mut reclaim = self.reclaim.lock();
            let kswapd = &mut reclaim.kswapd[nid];
            kswapd.wake_at = None;
            kswapd.failures = if reclaimed > 0 { 0 } else { kswapd.failures + 1 };
        }
        self.kswapd_ran(nid, reclaimed > 0);
        self.set_kswapd_awake(nid, false);
        cx.tell(|| Event::KswapdRun { nid, reclaimed });
    }

    /// `out_of_memory()`: kills the task with the most pages. Whether there was one.
    pub(crate) fn out_of_memory(&self, cx: &mut impl Context) -> bool {
        let victim = {
            let mut reclaim = self.reclaim.lock();
            let Some(i) = (0..reclaim.tasks.len()).max_by_key(|&i| reclaim.tasks[i].len()) else { return false };
            reclaim.events.oom_kill += 1;
            reclaim.tasks.swap_remove(i)
        };
        self.free_unref_folios(cx, &victim);
        cx.tell(|| Event::OomKill { pages: victim.len() as u64 });
        true
    }

    /// `warn_alloc()`: a failure report, unless the request wants none or the last one is too recent.
    pub(crate) fn warn_alloc(&self, cx: &mut impl Context, gfp: Gfp, order: u8) {
        if gfp.has(Gfp::NOWARN) {
            return;
        }
        {
            let mut reclaim = self.reclaim.lock();
            if reclaim.last_report.is_some_and(|at| reclaim.now_ns - at < REPORT_INTERVAL_NS) {
                return;
            }
            reclaim.last_report = Some(reclaim.now_ns);
            reclaim.failure_reports += 1;
        }
        cx.tell(|| Event::FailureReport { order, gfp });
    }

    /// `drain_all_pages()`: the caller empties every CPU's lists by taking their locks; a list that somebody else
    /// holds is left alone.
    pub(crate) fn drain_all_pages(&self, cx: &mut impl Context) {
        for cpu in 0..self.cpus.len() {
            for zone in &self.zones {
                let wanted = {
                    let pcp = zone.pcp[cpu].0.lock();
                    !pcp.held && pcp.count > 0
                };
                if wanted {
                    zone.drain_pages_zone(cx, &self.pages, cpu);
                }
            }
        }
    }
}
