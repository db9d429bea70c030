//! Kernel: `mm/page_alloc.c`, `__alloc_pages_noprof()`, `prepare_alloc_pages()`, `get_page_from_freelist()`,
//! `rmqueue()`, `rmqueue_pcplist()`, `rmqueue_buddy()`, `alloc_flags_nofragment()`; `mm/vmstat.c` and `zone_statistics()`
//! (v6.12).
//!
//! The single-page path: one request for one block.

use core::sync::atomic::Ordering::Relaxed;

use crate::context::Context;
use crate::error::Result;
use crate::fallback::RmqueueMode;
use crate::fault::Fault;
use crate::gfp::{AllocFlags, Gfp, Migratetype};
use crate::machine::Machine;
use crate::page::ListType;
use crate::pcp::pcp_allowed_order;
use crate::pfn::Pfn;
use crate::pfn::check_order;
use crate::probe::Event;
use crate::sync::Locking;
use crate::zone::{Events, Zone, by_list_type, wmark, zflag};
use crate::zonelist::{Selection, ZoneRef};

/// `struct alloc_context`: what a request means on this machine. Two words, handed on by value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllocContext<'a> {
    selection: &'a Selection,
    pub(crate) migratetype: Migratetype,
}

impl<'a> AllocContext<'a> {
    /// Zones that may serve it, best first. The first is the preferred one.
    #[inline]
    pub(crate) fn zonelist(self) -> &'a [ZoneRef] {
        &self.selection.zones
    }

    /// `gfp_zone()`.
    #[inline]
    pub(crate) fn highest_zoneidx(self) -> u8 {
        self.selection.highest_zoneidx
    }

    /// `alloc_flags_nofragment()`: keep types apart where another zone of the node can help out.
    #[inline]
    pub(crate) fn alloc_flags_nofragment(self) -> AllocFlags {
        if self.selection.nofragment { AllocFlags::NOFRAGMENT } else { AllocFlags::default() }
    }
}

/// What a walk through the zones does about nodes whose kswapd is awake (v7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AwakeKswapd {
    /// It goes past them, and has met none.
    PassedOver,
    /// It has met one.
    Seen,
    /// It takes what there is.
    Allowed,
}

/// `alloc_flags_nonblocking()`: what a request that may not block may use.
pub(crate) fn alloc_flags_nonblocking(gfp: Gfp, order: u8) -> AllocFlags {
    if gfp.has(Gfp::DIRECT_RECLAIM) || gfp.has(Gfp::NOMEMALLOC) {
        return AllocFlags::default();
    }
    let reserve = if order > 0 && gfp.has(Gfp::HIGH) { AllocFlags::HIGHATOMIC } else { AllocFlags::default() };
    AllocFlags::NON_BLOCK.with(reserve)
}

impl<L: Locking> Machine<L> {
    /// `__alloc_pages()`: one block of `order` from the zonelist of node `nid`, or `None`.
    ///
    /// # Errors
    ///
    /// For a CPU, node or order that the machine does not have.
    pub fn alloc_pages(&self, cx: &mut impl Context, gfp: Gfp, order: u8, nid: Option<usize>) -> Result<Option<Pfn>> {
        self.check_cpu(cx.cpu())?;
        check_order(u64::from(order))?;
        let nid = self.check_nid(nid, cx.cpu())?;
        Ok(if order == 0 { self.alloc_page(cx, gfp, nid) } else { self.alloc_order(cx, gfp, order, nid) })
    }

    /// `__alloc_pages()` of order 0, arguments checked: nearly all requests, and most of the path folds away.
    #[inline(always)]
    pub fn alloc_page(&self, cx: &mut impl Context, gfp: Gfp, nid: usize) -> Option<Pfn> {
        self.__alloc_pages(cx, gfp, 0, nid)
    }

    /// A request of an order above 0.
    #[inline(never)]
    pub(crate) fn alloc_order(&self, cx: &mut impl Context, gfp: Gfp, order: u8, nid: usize) -> Option<Pfn> {
        self.__alloc_pages(cx, gfp, order, nid)
    }

    /// The same, arguments checked.
    #[inline(always)]
    pub(crate) fn __alloc_pages<C: Context>(&self, cx: &mut C, gfp: Gfp, order: u8, nid: usize) -> Option<Pfn> {
        if cx.fault().prepare_fails() || cx.fault().single_fails() {
            return None;
        }
        let gfp = gfp & self.config.gfp_allowed;
        let ac = self.prepare_alloc_pages(gfp, nid);
        let mut flags =
            AllocFlags(AllocFlags::WMARK_LOW.0 | gfp.0 & AllocFlags::KSWAPD.0).with(ac.alloc_flags_nofragment());
        if order > 0 && self.rules.highatomic_at_first_attempt {
            flags = flags.with(alloc_flags_nonblocking(gfp, order).and(AllocFlags::HIGHATOMIC));
        }
        let page = match self.get_page_from_freelist(cx, order, flags, ac) {
            Some(page) => Some(page),
            None => self.alloc_pages_slowpath(cx, gfp, order, ac),
        };
        let page = if C::Fault::ON && self.config.memcg && gfp.has(Gfp::ACCOUNT) {
            self.memcg_kmem_charge_page(cx, page, order)
        } else {
            page
        };
        cx.tell(|| Event::PageAlloc { page: page.unwrap_or(Pfn::NULL), order, migratetype: ac.migratetype, gfp });
        page
    }

    /// `__memcg_kmem_charge_page()`: a page that cannot be charged goes back. Without a fault plan every charge succeeds.
    #[cold]
    fn memcg_kmem_charge_page(&self, cx: &mut impl Context, page: Option<Pfn>, order: u8) -> Option<Pfn> {
        let page = page?;
        if !cx.fault().charge_fails() {
            return Some(page);
        }
        // The page was got a moment ago, so it is owned and can be freed.
        let freed = self.free_pages(cx, page, order);
        debug_assert!(freed.is_ok(), "{freed:?}");
        None
    }

    #[inline]
    pub(crate) fn prepare_alloc_pages(&self, gfp: Gfp, nid: usize) -> AllocContext<'_> {
        AllocContext {
            selection: self.zonelists[nid].select(gfp),
            migratetype: if self.config.rules.mobility_disabled { Migratetype::Unmovable } else { gfp.migratetype() },
        }
    }

    /// `get_page_from_freelist()`, for the fast attempt.
    #[inline(always)]
    fn get_page_from_freelist(
        &self,
        cx: &mut impl Context,
        order: u8,
        flags: AllocFlags,
        ac: AllocContext<'_>,
    ) -> Option<Pfn> {
        let preferred = ac.zonelist().first()?;
        // Apart, because it is all of the flags that changes on the way.
        let (plain, mut no_fallback) = (flags.without(AllocFlags::NOFRAGMENT), flags.has(AllocFlags::NOFRAGMENT));
        let mut kswapd = AwakeKswapd::PassedOver;
        'retry: loop {
            let flags = if no_fallback { plain.with(AllocFlags::NOFRAGMENT) } else { plain };
            for zref in ac.zonelist() {
                let zone = &self.zones[zref.zone];
                if no_fallback && self.config.online_nodes > 1 && zref.nid != preferred.nid && !self.rules.defrag_mode {
                    // A remote page is worse than a mixed pageblock.
                    no_fallback = false;
                    continue 'retry;
                }
                if !self.zone_usable(zone, order, flags, ac, &mut kswapd) {
                    continue;
                }
                if let Some(pfn) = self.rmqueue(cx, zone, preferred, order, flags, ac.migratetype) {
                    if flags.has(AllocFlags::HIGHATOMIC) && !zone.rules.highatomic_reserves_at_min {
                        zone.reserve_highatomic_pageblock(cx, &self.pages, pfn, order);
                    }
                    return Some(pfn);
                }
            }
            if kswapd == AwakeKswapd::Seen {
                // v7.3: every node that was left has an awake kswapd, or no memory.
                kswapd = AwakeKswapd::Allowed;
                continue;
            }
            if !no_fallback || self.rules.defrag_mode {
                return None;
            }
            no_fallback = false;
        }
    }

    /// `get_page_from_freelist()`, for the attempts of the slow path.
    #[cold]
    #[inline(never)]
    pub(crate) fn attempt(
        &self,
        cx: &mut impl Context,
        order: u8,
        flags: AllocFlags,
        ac: AllocContext<'_>,
    ) -> Option<Pfn> {
        self.get_page_from_freelist(cx, order, flags, ac)
    }

    /// Whether a zone may serve the request: its kswapd is asleep or need not be, and it passes the watermark tests. Sets
    /// `ZONE_BELOW_HIGH`.
    #[inline(always)]
    pub(crate) fn zone_usable(
        &self,
        zone: &Zone<L>,
        order: u8,
        flags: AllocFlags,
        ac: AllocContext<'_>,
        kswapd: &mut AwakeKswapd,
    ) -> bool {
        let hz = ac.highest_zoneidx();
        let known = zone.flags.load(Relaxed) & zflag::ON_ALLOC;
        known == 0 && zone.zone_watermark_fast(order, zone.wmark_pages(wmark::HIGH), hz, flags)
            || Self::zone_usable_below_high(zone, known, order, flags, hz, ac.migratetype, kswapd)
    }

    /// [`Machine::zone_usable`] of a zone that is not known to be above HIGH.
    #[cold]
    #[inline(never)]
    fn zone_usable_below_high(
        zone: &Zone<L>,
        known: u8,
        order: u8,
        flags: AllocFlags,
        hz: u8,
        mt: Migratetype,
        kswapd: &mut AwakeKswapd,
    ) -> bool {
        let flags = if known & zflag::HAS_CMA != 0 { zone.with_cma(flags, mt) } else { flags };
        if known & zflag::KSWAPD_AWAKE != 0 && *kswapd != AwakeKswapd::Allowed {
            *kswapd = AwakeKswapd::Seen;
            return false;
        }
        if known & (zflag::BELOW_HIGH | zflag::HIGH_NOT_TESTED) == 0 {
            if known != 0 && zone.zone_watermark_fast(order, zone.wmark_pages(wmark::HIGH), hz, flags) {
                return true;
            }
            zone.set_flag(zflag::BELOW_HIGH, true);
        }
        zone.zone_watermark_fast(order, zone.wmark_pages(flags.wmark()), hz, flags)
            || flags.has(AllocFlags::NO_WATERMARKS)
    }

    /// `rmqueue()`: from the per-CPU list, else from the buddy lists.
    #[inline(always)]
    fn rmqueue(
        &self,
        cx: &mut impl Context,
        zone: &Zone<L>,
        preferred: &ZoneRef,
        order: u8,
        flags: AllocFlags,
        mt: Migratetype,
    ) -> Option<Pfn> {
        let (mut page, mut boosted) = if pcp_allowed_order(order) {
            self.rmqueue_pcplist(cx, zone, preferred, order, flags, mt)
        } else {
            (None, false)
        };
        if page.is_none() {
            page = self.rmqueue_buddy(cx, zone, preferred, order, flags, mt, &mut boosted);
        }
        if boosted {
            self.wakeup_kswapd(cx, zone, 0, zone.idx);
        }
        page
    }

    /// `rmqueue_pcplist()`: from the executing CPU's lists, if their lock is free. The flag is that of
    /// [`LockedPcp::__rmqueue_pcplist`](crate::pcp::LockedPcp::__rmqueue_pcplist).
    #[inline(always)]
    fn rmqueue_pcplist(
        &self,
        cx: &mut impl Context,
        zone: &Zone<L>,
        preferred: &ZoneRef,
        order: u8,
        flags: AllocFlags,
        mt: Migratetype,
    ) -> (Option<Pfn>, bool) {
        let Some(mut pcp) = zone.pcp_spin_trylock(cx, &self.pages) else { return (None, false) };
        // A run of frees is over; bulk calls leave this alone.
        pcp.pcp.free_count >>= 1;
        let (page, boosted) = pcp.__rmqueue_pcplist(cx, self, order, mt, flags);
        if let Some(pfn) = page {
            self.pages.set_allocated(pfn, order);
            pcp.count_alloc(self, preferred, 1 << order, 1);
        }
        pcp.unlock(cx);
        (page, boosted)
    }

    /// `rmqueue_buddy()`: straight from the buddy lists under one lock hold.
    #[cold]
    #[inline(never)]
    #[expect(clippy::too_many_arguments)]
    fn rmqueue_buddy(
        &self,
        cx: &mut impl Context,
        zone: &Zone<L>,
        preferred: &ZoneRef,
        order: u8,
        flags: AllocFlags,
        mt: Migratetype,
        boosted: &mut bool,
    ) -> Option<Pfn> {
        if cx.fault().take_fails(1 << order) {
            return None;
        }
        let page = by_list_type!(zone, T => {
            self.rmqueue_buddy_locked::<T>(cx, zone, preferred, order, flags, mt, boosted)
        });
        if let Some(pfn) = page
            && flags.has(AllocFlags::HIGHATOMIC)
            && flags.wmark() == wmark::MIN
            && zone.rules.highatomic_reserves_at_min
        {
            // v7.3: only where memory is short.
            zone.reserve_highatomic_pageblock(cx, &self.pages, pfn, order);
        }
        page
    }

    /// The part of `rmqueue_buddy()` under the zone lock.
    #[inline(always)]
    #[expect(clippy::too_many_arguments)]
    fn rmqueue_buddy_locked<T: ListType>(
        &self,
        cx: &mut impl Context,
        zone: &Zone<L>,
        preferred: &ZoneRef,
        order: u8,
        flags: AllocFlags,
        mt: Migratetype,
        boosted: &mut bool,
    ) -> Option<Pfn> {
        let flags = zone.with_cma(flags, mt);
        let (page, raised) = zone.with_lock::<T, _, _>(cx, &self.pages, |locked, cx| {
            let mut page = None;
            if flags.has(AllocFlags::HIGHATOMIC) {
                page = locked.rmqueue_smallest(cx, order, Migratetype::HighAtomic);
            }
            if page.is_none() {
                page = locked.__rmqueue(cx, self.config.rules, order, mt, flags, &mut RmqueueMode::new(flags));
            }
            if page.is_none() && flags.has(AllocFlags(AllocFlags::OOM.0 | AllocFlags::NON_BLOCK.0)) {
                page = locked.rmqueue_smallest(cx, order, Migratetype::HighAtomic);
            }
            if let Some(pfn) = page {
                self.pages.set_allocated(pfn, order);
                let mut events = locked.area.direct[cx.cpu()];
                let local = self.cpus[cx.cpu()].node == zone.nid;
                events.pgalloc += 1 << order;
                self.zone_statistics(&mut events, zone, preferred, local, 1);
                locked.area.direct[cx.cpu()] = events;
                locked.account_all_taken(1 << order);
                locked.moved = 1 << order;
            }
            (page, locked.boosted)
        });
        *boosted |= raised;
        page
    }

    /// `zone_statistics()`: where `requests` requests were served that preferred another zone or this one. `local`: the
    /// executing CPU is of the zone's node.
    #[inline]
    pub(crate) fn zone_statistics(
        &self,
        events: &mut Events,
        zone: &Zone<L>,
        preferred: &ZoneRef,
        local: bool,
        requests: u64,
    ) {
        if zone.nid == preferred.nid {
            events.numa_hit += requests;
        } else {
            events.numa_miss += requests;
            self.zones[preferred.zone].numa_foreign.fetch_add(requests, Relaxed);
        }
        if local {
            events.numa_local += requests;
        } else {
            events.numa_other += requests;
        }
    }
}
