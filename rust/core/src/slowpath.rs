//! Kernel: `mm/page_alloc.c`, `__alloc_pages_slowpath()`, `gfp_to_alloc_flags()`, `__gfp_pfmemalloc_flags()`,
//! `should_reclaim_retry()`, `__alloc_pages_may_oom()` (v6.12).
//!
//! The slow path, entered when no zone passed LOW. Its attempts are exact; what reclaim frees is a model
//! ([`crate::reclaim`]). Where the kernel would panic or retry forever, the request returns NULL and reports a
//! [`DeadEnd`].

use crate::alloc::{AllocContext, alloc_flags_nonblocking};
use crate::context::Context;
use crate::gfp::{AllocFlags, Gfp, Migratetype};
use crate::machine::Machine;
use crate::pfn::{PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, Pfn};
use crate::probe::Event;
use crate::reclaim::DeadEnd;
use crate::sync::Locking;

const MAX_RECLAIM_RETRIES: u32 = 16;

/// What is known of the task that asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Runs in a realtime, deadline or stop class: may use half of MIN.
    pub realtime: bool,
    /// `PF_MEMALLOC`: ignores watermarks.
    pub memalloc: bool,
    /// Was chosen by the OOM killer.
    pub oom_victim: bool,
}

/// How an attempt to get memory by killing ended.
enum Oom {
    /// A page was there after all.
    Page(Pfn),
    /// Memory was freed: try again.
    Progress,
    /// The request is not one to kill for.
    NoProgress,
    /// The kernel would not return.
    DeadEnd(DeadEnd),
}

/// Whether a request tries compaction before it reclaims (v7.3, one round of the loop).
fn compacts_first(gfp: Gfp, order: u8, ac: AllocContext<'_>) -> bool {
    gfp.has(Gfp::DIRECT_RECLAIM)
        && gfp.has(Gfp::IO)
        && (order > PAGE_ALLOC_COSTLY_ORDER || order > 0 && ac.migratetype != Migratetype::Movable)
}

impl<L: Locking> Machine<L> {
    fn gfp_to_alloc_flags(&self, gfp: Gfp, order: u8) -> AllocFlags {
        let mut flags = AllocFlags(
            AllocFlags::WMARK_MIN.0
                | AllocFlags::CPUSET.0
                | gfp.0 & AllocFlags::MIN_RESERVE.0
                | gfp.0 & AllocFlags::KSWAPD.0,
        );
        if self.rules.defrag_mode {
            flags = flags.with(AllocFlags::NOFRAGMENT);
        }
        // Together with direct reclaim `__GFP_ATOMIC` made no sense, and was dropped.
        if !self.rules.gfp_high_sees_through_boost && gfp.has(Gfp::ATOMIC_BIT) && !gfp.has(Gfp::DIRECT_RECLAIM) {
            flags = flags.with(AllocFlags::ATOMIC);
        }
        if gfp.has(Gfp::DIRECT_RECLAIM) {
            if self.config.task.realtime {
                flags = flags.with(AllocFlags::MIN_RESERVE);
            }
            return flags;
        }
        flags = flags.with(alloc_flags_nonblocking(gfp, order));
        if flags.has(AllocFlags::MIN_RESERVE) {
            flags = flags.without(AllocFlags::CPUSET);
        }
        flags
    }

    /// `__gfp_pfmemalloc_flags()`.
    fn gfp_pfmemalloc_flags(&self, gfp: Gfp) -> AllocFlags {
        if gfp.has(Gfp::NOMEMALLOC) {
            AllocFlags::default()
        } else if gfp.has(Gfp::MEMALLOC) || self.config.task.memalloc {
            AllocFlags::NO_WATERMARKS
        } else if self.config.task.oom_victim {
            AllocFlags::OOM
        } else {
            AllocFlags::default()
        }
    }

    /// `__alloc_pages_slowpath()`.
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_pages_slowpath(
        &self,
        cx: &mut impl Context,
        gfp: Gfp,
        order: u8,
        ac: AllocContext<'_>,
    ) -> Option<Pfn> {
        if ac.zonelist().is_empty() {
            return self.nopage(cx, gfp, order, ac);
        }
        let may_reclaim = gfp.has(Gfp::DIRECT_RECLAIM);
        let mut flags = self.gfp_to_alloc_flags(gfp, order);
        let reserve = self.gfp_pfmemalloc_flags(gfp);
        let open_reserve = |flags: AllocFlags| match reserve {
            AllocFlags(0) => flags,
            _ => reserve.with(flags.and(AllocFlags(AllocFlags::KSWAPD.0 | AllocFlags::ATOMIC.0))),
        };
        if !self.rules.slow_path_attempts_once {
            if flags.has(AllocFlags::KSWAPD) {
                self.wake_all_kswapds(cx, order, ac);
            }
            if let Some(page) = self.attempt(cx, order, flags, ac) {
                return Some(page);
            }
            flags = open_reserve(flags);
        }
        let mut may_retry_reserves = self.rules.slow_path_attempts_once;
        let mut compact_first = self.rules.slow_path_attempts_once && compacts_first(gfp, order, ac);
        let mut no_progress_loops = 0;
        loop {
            if flags.has(AllocFlags::KSWAPD) {
                self.wake_all_kswapds(cx, order, ac);
            }
            if let Some(page) = self.attempt(cx, order, flags, ac) {
                return Some(page);
            }
            if self.rules.slow_path_attempts_once {
                flags = open_reserve(flags);
                // v7.3: only a request that may do more than at the first attempt tries again at once.
                let may_more = !flags.has(AllocFlags::CPUSET) || reserve != AllocFlags::default();
                if core::mem::take(&mut may_retry_reserves) && may_more {
                    continue;
                }
            }
            if !may_reclaim
                && self.rules.defrag_mode
                && flags.has(AllocFlags::NOFRAGMENT)
                && gfp.has(Gfp::KSWAPD_RECLAIM)
            {
                // Without reclaim no pageblock becomes free: rather mix types than fail.
                flags = flags.without(AllocFlags::NOFRAGMENT);
                continue;
            }
            if !may_reclaim || self.config.task.memalloc {
                break;
            }
            if core::mem::take(&mut compact_first) {
                // Compaction finds nothing here, and the next round reclaims.
                if gfp.has(Gfp::NORETRY) && gfp.has(Gfp::THISNODE) {
                    break;
                }
                continue;
            }
            let progress = self.try_to_free_pages(cx, gfp, ac);
            if progress > 0 {
                if let Some(page) = self.attempt(cx, order, flags, ac) {
                    return Some(page);
                }
                self.unreserve_highatomic_pageblock(cx, ac, false);
                self.drain_all_pages(cx);
                if let Some(page) = self.attempt(cx, order, flags, ac) {
                    return Some(page);
                }
            }
            if gfp.has(Gfp::NORETRY) {
                break;
            }
            // Reclaim for whole pageblocks reports progress also when it only made room for compaction.
            let for_pageblocks = self.rules.defrag_mode
                && flags.has(AllocFlags::NOFRAGMENT)
                && ac.migratetype != Migratetype::Movable
                && order < PAGEBLOCK_ORDER;
            no_progress_loops = if progress > 0 && !for_pageblocks { 0 } else { no_progress_loops + 1 };
            if self.should_reclaim_retry(cx, order, flags, ac, no_progress_loops) {
                continue;
            }
            if self.rules.defrag_mode && flags.has(AllocFlags::NOFRAGMENT) {
                // Reclaim made no pageblock free either.
                flags = flags.without(AllocFlags::NOFRAGMENT);
                if for_pageblocks {
                    no_progress_loops = 0;
                }
                continue;
            }
            match self.alloc_pages_may_oom(cx, gfp, order, ac) {
                Oom::Page(page) => return Some(page),
                Oom::Progress => no_progress_loops = 0,
                Oom::NoProgress => break,
                Oom::DeadEnd(why) => {
                    cx.tell(|| Event::DeadEnd { why });
                    return None;
                }
            }
        }
        self.nopage(cx, gfp, order, ac)
    }

    /// What follows when nothing helps.
    fn nopage(&self, cx: &mut impl Context, gfp: Gfp, order: u8, ac: AllocContext<'_>) -> Option<Pfn> {
        if gfp.has(Gfp::NOFAIL) && gfp.has(Gfp::DIRECT_RECLAIM) {
            let page = self.attempt(cx, order, AllocFlags::MIN_RESERVE.with(AllocFlags::NO_CMA), ac);
            if page.is_none() {
                cx.tell(|| Event::DeadEnd { why: DeadEnd::NoFail });
            }
            return page;
        }
        self.warn_alloc(cx, gfp, order);
        None
    }

    /// `__alloc_pages_may_oom()`.
    fn alloc_pages_may_oom(&self, cx: &mut impl Context, gfp: Gfp, order: u8, ac: AllocContext<'_>) -> Oom {
        let flags = AllocFlags(AllocFlags::WMARK_HIGH.0 | AllocFlags::CPUSET.0 | AllocFlags::NO_CMA.0);
        if let Some(page) = self.attempt(cx, order, flags, ac) {
            return Oom::Page(page);
        }
        if gfp.has(Gfp::RETRY_MAYFAIL) || gfp.has(Gfp::THISNODE) || ac.highest_zoneidx() < self.zone_types.normal() {
            return Oom::NoProgress;
        }
        // Without file systems nobody is killed, and the request goes on as if somebody had been.
        let killed = gfp.has(Gfp::FS) && self.out_of_memory(cx);
        if gfp.has(Gfp::NOFAIL)
            && let Some(page) = self.attempt(cx, order, AllocFlags::NO_WATERMARKS.with(AllocFlags::NO_CMA), ac)
        {
            return Oom::Page(page);
        }
        // Whoever goes on for ever sees kswapd run in the end.
        if killed || self.wait_for_kswapd(cx) > 0 {
            return Oom::Progress;
        }
        Oom::DeadEnd(match gfp {
            gfp if gfp.has(Gfp::NOFAIL) => DeadEnd::NoFail,
            gfp if gfp.has(Gfp::FS) => DeadEnd::Panic,
            _ => DeadEnd::NoFs,
        })
    }

    fn should_reclaim_retry(
        &self,
        cx: &mut impl Context,
        order: u8,
        flags: AllocFlags,
        ac: AllocContext<'_>,
        no_progress_loops: u32,
    ) -> bool {
        if no_progress_loops <= MAX_RECLAIM_RETRIES {
            let enough = ac.zonelist().iter().any(|zref| {
                let zone = &self.zones[zref.zone];
                let available = self.free_pages_exact(zone) + self.zone_reclaimable_pages(zone);
                zone.__zone_watermark_ok(
                    available,
                    order,
                    zone.wmark_pages(0),
                    ac.highest_zoneidx(),
                    zone.with_cma(flags, ac.migratetype),
                )
            });
            if enough {
                return true;
            }
        }
        self.unreserve_highatomic_pageblock(cx, ac, true)
    }
}
