//! Kernel: `mm/vmscan.c`, `wakeup_kswapd()`, `pgdat_balanced()`, `pgdat_watermark_boosted()`, `kswapd_test_hopeless()`;
//! `mm/page_alloc.c`, `wake_all_kswapds()` (v7.3; the same decisions in v6.1 and v6.12).
//!
//! What the allocator knows about kswapd: whether it sleeps, what it was woken for, and whether it has given up. What it
//! does when it runs is the declared model of [`crate::reclaim`]. Without the model, a woken kswapd stays awake.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::alloc::AllocContext;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::gfp::AllocFlags;
use crate::machine::Machine;
use crate::pfn::{NR_PAGE_ORDERS, PAGEBLOCK_ORDER};
use crate::probe::Event;
use crate::snapshot::NodeState;
use crate::sync::{Lock, Locking};
use crate::zone::{Zone, wmark, zflag};

/// Fruitless runs after which a node counts as hopeless.
pub(crate) const MAX_RECLAIM_RETRIES: u32 = 16;

/// kswapd was not woken for any zone.
const NO_ZONE: u8 = u8::MAX;

/// kswapd of one node.
#[derive(Debug)]
pub(crate) struct Kswapd {
    /// It does not wait to be woken.
    awake: AtomicBool,
    /// Runs in a row that freed nothing.
    failures: AtomicU32,
    /// Largest order that it was woken for since it slept.
    order: AtomicU8,
    /// Highest zone that it was woken for; [`NO_ZONE`] for none.
    highest_zoneidx: AtomicU8,
}

impl Default for Kswapd {
    fn default() -> Kswapd {
        Kswapd {
            awake: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            order: AtomicU8::new(0),
            highest_zoneidx: AtomicU8::new(NO_ZONE),
        }
    }
}

impl Kswapd {
    /// In this state; a kernel with `nr_zones` zones says that number where there is no zone.
    ///
    /// # Errors
    ///
    /// For an order or zone that no kernel has.
    pub(crate) fn load(state: &NodeState, nr_zones: usize) -> Result<Kswapd> {
        let highest = usize::from(state.kswapd_highest_zoneidx);
        if usize::from(state.kswapd_order) >= NR_PAGE_ORDERS || highest > nr_zones {
            return Err(Error::Snapshot(format!(
                "node {}: kswapd_order {} is above {}, or kswapd_highest_zoneidx {highest} above {nr_zones}",
                state.nid,
                state.kswapd_order,
                NR_PAGE_ORDERS - 1,
            )));
        }
        Ok(Kswapd {
            awake: AtomicBool::new(state.kswapd_waiting == 0),
            failures: AtomicU32::new(state.kswapd_failures),
            order: AtomicU8::new(state.kswapd_order),
            highest_zoneidx: AtomicU8::new(if highest == nr_zones { NO_ZONE } else { highest as u8 }),
        })
    }

    /// As a snapshot says it.
    pub(crate) fn state(&self, nid: usize, nr_zones: usize) -> NodeState {
        NodeState {
            nid,
            kswapd_waiting: u8::from(!self.awake.load(Relaxed)),
            kswapd_failures: self.failures.load(Relaxed),
            kswapd_order: self.order.load(Relaxed),
            kswapd_highest_zoneidx: self.highest_zoneidx.load(Relaxed).min(nr_zones as u8),
        }
    }

    /// `kswapd_test_hopeless()`.
    pub(crate) fn hopeless(&self) -> bool {
        self.failures.load(Relaxed) >= MAX_RECLAIM_RETRIES
    }

    /// `kswapd_clear_hopeless()`.
    pub(crate) fn clear_hopeless(&self) {
        self.set_failures(0);
    }

    /// Sets the number of runs in a row that freed nothing.
    pub(crate) fn set_failures(&self, failures: u32) {
        self.failures.store(failures, Relaxed);
    }

    /// Whether it does not wait to be woken.
    pub(crate) fn awake(&self) -> bool {
        self.awake.load(Relaxed)
    }
}

impl<L: Locking> Machine<L> {
    /// `wake_all_kswapds()`: once for each node of the zonelist.
    pub(crate) fn wake_all_kswapds(&self, cx: &mut impl Context, order: u8, ac: AllocContext<'_>) {
        // With defrag_mode kswapd is to make whole pageblocks.
        let order = if self.rules.defrag_mode { order.max(PAGEBLOCK_ORDER) } else { order };
        let mut last = None;
        for zref in ac.zonelist() {
            if last == Some(zref.nid) {
                continue;
            }
            let zone = &self.zones[zref.zone];
            if zone.managed > 0 {
                self.wakeup_kswapd(cx, zone, order, ac.highest_zoneidx());
                last = Some(zref.nid);
            }
        }
    }

    /// `wakeup_kswapd()`: wakes the zone's kswapd, unless its node has enough memory or it has given up.
    pub(crate) fn wakeup_kswapd(&self, cx: &mut impl Context, zone: &Zone<L>, order: u8, highest_zoneidx: u8) {
        let nid = zone.nid;
        cx.tell(|| Event::WakeKswapd { nid });
        let kswapd = &self.kswapd[nid];
        let highest = kswapd.highest_zoneidx.load(Relaxed);
        if highest == NO_ZONE || highest < highest_zoneidx {
            kswapd.highest_zoneidx.store(highest_zoneidx, Relaxed);
        }
        kswapd.order.fetch_max(order, Relaxed);
        if kswapd.awake()
            || kswapd.hopeless()
            || self.pgdat_balanced(nid, order, highest_zoneidx) && !self.watermark_boosted(nid, highest_zoneidx)
        {
            return;
        }
        self.set_kswapd_awake(nid, true);
        self.schedule_kswapd(cx, nid);
    }

    /// kswapd of a node wakes up or goes to sleep.
    pub(crate) fn set_kswapd_awake(&self, nid: usize, awake: bool) {
        self.kswapd[nid].awake.store(awake, Relaxed);
        if !awake {
            self.kswapd[nid].order.store(0, Relaxed);
            self.kswapd[nid].highest_zoneidx.store(NO_ZONE, Relaxed);
        }
        if self.first_pass_skips() {
            for zone in self.zones.iter().filter(|zone| zone.nid == nid) {
                zone.set_flag(zflag::KSWAPD_AWAKE, awake);
            }
        }
    }

    /// Whether requests pass over nodes whose kswapd is awake: only where there are others.
    pub(crate) fn first_pass_skips(&self) -> bool {
        self.rules.first_pass_skips_awake_kswapd && self.config.online_nodes > 1
    }

    /// A run of kswapd ended: `reclaimed` says whether it freed anything.
    pub(crate) fn kswapd_ran(&self, nid: usize, reclaimed: bool) {
        let kswapd = &self.kswapd[nid];
        kswapd.set_failures(if reclaimed { 0 } else { kswapd.failures.load(Relaxed).saturating_add(1) });
    }

    /// `pgdat_balanced()`: some zone of the node, up to the highest that is asked for, is above HIGH for `order`.
    pub(crate) fn pgdat_balanced(&self, nid: usize, order: u8, highest_zoneidx: u8) -> bool {
        let mark = if self.config.memory_tiering { wmark::PROMO } else { wmark::HIGH };
        let mut managed =
            self.zones.iter().filter(|z| z.nid == nid && z.idx <= highest_zoneidx && z.managed > 0).peekable();
        managed.peek().is_none()
            || managed.any(|zone| {
                let free = if self.rules.defrag_mode && order > 0 {
                    zone.area.0.lock().free_blocks()
                } else {
                    // Near the mark the differences that CPUs have not told yet count.
                    let free = zone.free_for_tests();
                    let drifted = zone.drift_mark != 0 && free < zone.drift_mark as i64;
                    if drifted { self.free_pages_exact(zone).max(0) } else { free }
                };
                zone.__zone_watermark_ok(free, order, zone.wmark_pages(mark), highest_zoneidx, AllocFlags::default())
            })
    }

    /// `pgdat_watermark_boosted()`.
    fn watermark_boosted(&self, nid: usize, highest_zoneidx: u8) -> bool {
        self.zones.iter().any(|z| z.nid == nid && z.idx <= highest_zoneidx && z.watermark_boost.get() > 0)
    }
}
