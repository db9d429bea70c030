//! Kernel: `mm/page_alloc.c`, `struct per_cpu_pages`, `rmqueue_bulk()`, `nr_pcp_alloc()`, `__rmqueue_pcplist()`,
//! `nr_pcp_high()`, `nr_pcp_free()`, `free_unref_page_commit()`, `free_pcppages_bulk()`,
//! `drain_pages_zone()`, `zone_batchsize()`, `zone_highsize()` (v6.12).
//!
//! The per-CPU page lists. Pages are taken from and freed to the head; refills and drains work at the tail.

use core::sync::atomic::Ordering::Relaxed;

use crate::context::Context;
use crate::fallback::RmqueueMode;
use crate::fault::Fault;
use crate::gfp::{AllocFlags, Migratetype};
use crate::list::PfnDeque;
use crate::machine::Machine;
use crate::math::kernel_clamp;
use crate::page::{ListType, OfBlock, OfPage, PageMap};
use crate::pfn::{PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, Pfn};
use crate::probe::Event;
use crate::sync::{Lock, Locking};
use crate::zone::{Events, Zone, by_list_type, wmark, zflag};
use crate::zonelist::ZoneRef;

/// Lists of one CPU in one zone: orders 0 to 3 by type, and two for huge pages.
pub const NR_PCP_LISTS: usize = 14;
/// `CONFIG_PCP_BATCH_SCALE_MAX`.
pub const PCP_BATCH_SCALE_MAX: u32 = 5;
/// Flag: the previous free was of an order above 0.
pub const PCPF_PREV_FREE_HIGH_ORDER: u32 = 1;
/// Flag: keep a batch back on frees of an order above 0.
pub const PCPF_FREE_HIGH_BATCH: u32 = 2;

/// `pcp_allowed_order()`: orders that the per-CPU lists serve.
#[inline]
pub const fn pcp_allowed_order(order: u8) -> bool {
    order <= PAGE_ALLOC_COSTLY_ORDER || order == PAGEBLOCK_ORDER
}

/// `order_to_pindex()`: list of this order and type.
#[inline]
pub const fn order_to_pindex(order: u8, mt: Migratetype) -> usize {
    if order == PAGEBLOCK_ORDER {
        12 + (mt as usize == Migratetype::Movable as usize) as usize
    } else {
        3 * order as usize + mt as usize
    }
}

#[inline]
pub const fn pindex_to_order(pindex: usize) -> u8 {
    if pindex >= 12 { PAGEBLOCK_ORDER } else { (pindex / 3) as u8 }
}

/// The lists of one CPU in one zone, behind their lock.
///
/// # Invariants
///
/// `count` is the number of pages on all lists together.
#[derive(Debug, Default)]
pub struct PerCpuPages {
    /// Pages on all lists.
    pub count: i32,
    /// Frees above this drain.
    pub high: i32,
    /// Lower bound of `high`.
    pub high_min: i32,
    /// Upper bound of `high`.
    pub high_max: i32,
    /// Smallest refill and drain.
    pub batch: i32,
    /// `PCPF_*`.
    pub flags: u32,
    /// Left shift of `batch` for the next refill.
    pub alloc_factor: u32,
    /// Rounds left before a remote node's lists are drained.
    pub expire: u32,
    /// Pages freed in a row; with fixed limits `free_factor`, the left shift of `batch` for the next drain. Single-page
    /// allocations halve either.
    pub free_count: i32,

    /// Another CPU holds the lock, as a parallel drain would: trylocks fail.
    pub(crate) held: bool,
    /// The CPU is of the zone's node.
    pub(crate) local: bool,
    pub(crate) lists: [PfnDeque; NR_PCP_LISTS],
    pub(crate) events: Events,
}

impl PerCpuPages {
    /// Entries to refill with before v6.7: a batch, whatever happened before.
    fn nr_pcp_alloc_fixed(&self, order: u8) -> i32 {
        if self.batch > 1 { (self.batch >> order).max(2) } else { self.batch }
    }

    /// `nr_pcp_alloc()`: entries to refill with. May raise `high`, even if the refill then brings nothing.
    pub(crate) fn nr_pcp_alloc(&mut self, order: u8, below_high: bool) -> i32 {
        // The bounds may have been computed anew since `high` was set.
        self.high = kernel_clamp(self.high, self.high_min, self.high_max);
        if self.high < self.batch {
            // Lists that are switched off keep nothing: one block, for this request.
            return 1;
        }
        // Each refill with order 0 doubles the next one, until a free halves it again.
        let mut want = if order > 0 { self.batch } else { self.batch << self.alloc_factor };
        if self.high_min != self.high_max && !below_high {
            // While memory is plentiful, a CPU that allocates a lot may keep more of it.
            self.high = (self.high + want).min(self.high_max);
        }
        if order == 0 {
            // A refill up to the limit would make the next free drain, so it stops a batch below.
            let room = (self.high - self.count - self.batch).max(self.batch);
            if want <= room && self.alloc_factor < PCP_BATCH_SCALE_MAX {
                self.alloc_factor += 1;
            }
            want = want.min(room);
        }
        // Entries, not pages. Two at least, so that the next request finds one too.
        if want > 1 { (want >> order).max(2) } else { want }
    }

    /// `nr_pcp_high()`: the limit that this free is held to; may change `high`.
    fn nr_pcp_high(&mut self, free_high: bool, reclaim_active: bool, below_high: bool) -> i32 {
        let (high_min, high_max, batch) = (self.high_min, self.high_max, self.batch);
        let high = kernel_clamp(self.high, high_min, high_max);
        self.high = high;
        if high == 0 {
            return 0;
        }
        if free_high {
            // Blocks of higher orders that are freed in a row can merge, and other CPUs can use them. Every such free
            // drains.
            self.high = (high - (batch << PCP_BATCH_SCALE_MAX)).max(high_min);
            return 0;
        }
        if reclaim_active {
            // The zone is being reclaimed: no more than four batches stay here.
            let freed = self.free_count.max(batch);
            self.high = (high - freed).max(high_min);
            return self.high.min(batch << 2);
        }
        if high_min == high_max {
            // A fixed limit, as `percpu_pagelist_high_fraction` sets it.
            return high;
        }
        if below_high {
            let freed = self.free_count.max(batch);
            self.high = (high - freed).max(high_min);
            // Memory is short: with the count itself as the limit, every free above `high_min` drains.
            return self.count.max(high_min);
        }
        if self.count >= high {
            // A run of frees as long as this is given room, and a batch besides.
            let need = self.free_count + batch;
            if high < need {
                self.high = kernel_clamp(need, high_min, high_max);
            }
        }
        // The old value: a raise counts from the next free on.
        high
    }

    /// `nr_pcp_high()` and `nr_pcp_free()` before v6.7: pages that a free drains, `None` while there are few enough.
    fn nr_pcp_free_fixed(&mut self, order: u8, reclaim_active: bool) -> Option<i32> {
        let free_high = self.free_count > 0 && order > 0 && order <= PAGE_ALLOC_COSTLY_ORDER;
        let high = match self.high {
            0 => 0,
            _ if free_high => 0,
            high if reclaim_active => high.min(self.batch << 2),
            high => high,
        };
        if self.count < high {
            return None;
        }
        if free_high {
            return Some(self.count);
        }
        if high < self.batch {
            return Some(1);
        }
        let most = high - self.batch;
        let pages = self.batch << self.free_count;
        if pages < most && self.free_count < PCP_BATCH_SCALE_MAX as i32 {
            self.free_count += 1;
        }
        Some(pages.max(self.batch).min(most))
    }

    /// The first half of `decay_pcp_high()`: the limit of a CPU that has become quiet comes down by an eighth. The second half
    /// drains what is above the limit. So the limit stays within 32 batches of the count, which bounds that drain.
    pub(crate) fn decay_pcp_high(&mut self) {
        if self.high > self.high_min {
            let drained = self.count - (self.batch << PCP_BATCH_SCALE_MAX);
            self.high = drained.max(self.high - (self.high >> 3)).max(self.high_min);
        }
    }

    /// A free drained though `nr_pcp_high()` gave no reason. So the limit must have come down to the count. Returns what is
    /// drained.
    pub(crate) fn learn_drain(&mut self) -> i32 {
        let high = self.count;
        self.high = high.min(self.high).max(self.high_min);
        let need = self.free_count + self.batch;
        if self.high < need {
            self.high = kernel_clamp(need, self.high_min, self.high_max);
        }
        self.nr_pcp_free(high, false)
    }

    /// A refill brought `got` entries of order 0, which is not what `nr_pcp_alloc()` had asked for. Adopts the shift that
    /// explains the number; `false` if none does.
    pub(crate) fn learn_refill(&mut self, got: i32) -> bool {
        let Some(shift) = (0..=PCP_BATCH_SCALE_MAX).find(|&shift| self.batch << shift == got) else { return false };
        self.alloc_factor = (shift + 1).min(PCP_BATCH_SCALE_MAX);
        self.high = self.high.max((self.count + self.batch + got).min(self.high_max));
        true
    }

    /// `nr_pcp_free()`: pages to drain.
    fn nr_pcp_free(&self, high: i32, free_high: bool) -> i32 {
        if free_high {
            // Everything, but not more than 32 batches under one hold of the zone lock.
            return self.count.min(self.batch << PCP_BATCH_SCALE_MAX);
        }
        if high < self.batch {
            // Lists that are switched off: the page that has just come.
            return 1;
        }
        // The longer the run of frees, the more goes at once. A batch stays for the allocations that follow.
        kernel_clamp(self.free_count, self.batch, high - self.batch)
    }
}

/// `zone_batchsize()`. Written otherwise in v7.3, with the same values.
pub fn zone_batchsize(managed: u64) -> i32 {
    let b = ((managed >> 10).min(256) / 4).max(1);
    let b = b + b / 2;
    // Rounded down to a power of two, less one.
    ((1u64 << b.ilog2()) - 1).max(1) as i32
}

/// `zone_highsize()`: `high_min` and `high_max` of every CPU. `cpus` are those of the zone's node, or all
/// online ones if it has none; `fraction` is `percpu_pagelist_high_fraction`. With fixed limits the first is `high`.
pub fn zone_highsize(managed: u64, low: u64, cpus: u64, batch: i32, fraction: u64) -> (i32, i32) {
    let floor = batch as u64 * 4;
    let of = |pages: u64| (pages / cpus.max(1)).max(floor) as i32;
    match managed.checked_div(fraction) {
        Some(share) => (of(share), of(share)),
        None => (of(low), of(managed / 8)),
    }
}

/// What a free leaves to be drained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Excess {
    pub(crate) pages: i32,
    /// The list to begin with.
    pub(crate) pindex: usize,
    /// `ZONE_BELOW_HIGH` as the free saw it.
    pub(crate) below_high: bool,
}

/// The lists of the executing CPU in one zone, locked.
pub(crate) struct LockedPcp<'a, L: Locking> {
    pub(crate) zone: &'a Zone<L>,
    pub(crate) pages: &'a PageMap,
    pub(crate) pcp: <L::Lock<PerCpuPages> as Lock<PerCpuPages>>::Guard<'a>,
}

impl<L: Locking> Zone<L> {
    /// `pcp_spin_trylock()` on the executing CPU's lists.
    #[inline]
    pub(crate) fn pcp_spin_trylock<'a>(
        &'a self,
        cx: &mut impl Context,
        pages: &'a PageMap,
    ) -> Option<LockedPcp<'a, L>> {
        let guard =
            if cx.fault().trylock_fails() { None } else { self.pcp[cx.cpu()].0.try_lock().filter(|pcp| !pcp.held) };
        cx.tell(|| Event::PcpTrylock { zone: self.index, locked: guard.is_some() });
        guard.map(|pcp| LockedPcp { zone: self, pages, pcp })
    }
}

impl<L: Locking> Zone<L> {
    /// After a drain on the free path: the zone may be above HIGH again.
    #[inline]
    pub(crate) fn drained(&self, below_high: bool) {
        if below_high
            && self.zone_watermark_ok(0, self.wmark_pages(wmark::HIGH), self.movable_idx, AllocFlags::default())
        {
            self.set_flag(zflag::BELOW_HIGH, false);
            if self.rules.free_revives_kswapd && self.kswapd.hopeless() && self.has_next_node {
                // v7.3: with another node to fall back to, direct reclaim might never have done it.
                self.kswapd.clear_hopeless();
            }
        }
    }

    /// `drain_pages_zone()`: all lists of one CPU, in chunks, each under the lock.
    pub(crate) fn drain_pages_zone(&self, cx: &mut impl Context, pages: &PageMap, cpu: usize) {
        loop {
            let mut locked = LockedPcp { zone: self, pages, pcp: self.pcp[cpu].0.lock() };
            cx.tell(|| Event::PcpLock { zone: self.index, cpu });
            let count = locked.pcp.count;
            let chunk = count.min(locked.pcp.batch << PCP_BATCH_SCALE_MAX);
            if chunk > 0 {
                locked.free_pcppages_bulk(cx, chunk, 0);
            }
            locked.unlock(cx);
            if count <= chunk {
                return;
            }
        }
    }

    /// What `__rmqueue_pcplist()` does when the list is empty: `nr_pcp_alloc()`, then `rmqueue_bulk()`. The caller has locked
    /// `pcp`. Whether the list holds anything now, and whether the watermark was boosted for a request that may wake kswapd.
    #[cold]
    #[inline(never)]
    pub(crate) fn refill(
        &self,
        cx: &mut impl Context,
        machine: &Machine<L>,
        pcp: &mut PerCpuPages,
        order: u8,
        mt: Migratetype,
        flags: AllocFlags,
    ) -> (bool, bool) {
        let want = if self.rules.pcp_high_tuned {
            pcp.nr_pcp_alloc(order, self.flags.load(Relaxed) & zflag::BELOW_HIGH != 0)
        } else {
            pcp.nr_pcp_alloc_fixed(order)
        };
        if flags.has(AllocFlags::HIGHATOMIC) && self.rules.highatomic_refills_no_list {
            // v7.3: pages on a list would not build up the reserve.
            return (false, false);
        }
        let flags = self.with_cma(flags, mt);
        let list = &mut pcp.lists[order_to_pindex(order, mt)];
        let (got, boosted) =
            by_list_type!(self, T => self.rmqueue_bulk::<T>(cx, machine, order, want, list, mt, flags));
        pcp.count += got << order;
        cx.tell(|| Event::Refill { zone: self.index, want: want as u32, got: got as u32 });
        (got > 0, boosted)
    }

    /// `rmqueue_bulk()`: up to `count` blocks from the buddy lists to the tail of `list`, under one hold of the zone lock; how
    /// many, and whether the watermark was boosted.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "those of the kernel's function")]
    fn rmqueue_bulk<T: ListType>(
        &self,
        cx: &mut impl Context,
        machine: &Machine<L>,
        order: u8,
        count: i32,
        list: &mut PfnDeque,
        mt: Migratetype,
        flags: AllocFlags,
    ) -> (i32, bool) {
        let Machine { pages, config, .. } = machine;
        self.with_lock::<T, _, _>(cx, pages, |locked, cx| {
            let (mut got, mut mode) = (0, RmqueueMode::new(flags));
            while got < count {
                let Some(pfn) = locked.__rmqueue(cx, config.rules, order, mt, flags, &mut mode) else { break };
                // Where pages carry a type, one of CMA goes back to CMA.
                let of_cma = !T::OF_BLOCK && flags.has(AllocFlags::CMA) && pages.migratetype(pfn) == Migratetype::Cma;
                pages.set_pcp::<T>(pfn, order, if of_cma { Migratetype::Cma } else { mt });
                list.push_back(pfn);
                got += 1;
            }
            locked.account_all_taken(i64::from(got) << order);
            locked.moved = (got as u32) << order;
            (got, locked.boosted)
        })
    }
}

impl<L: Locking> LockedPcp<'_, L> {
    /// `__count_zid_vm_events(PGALLOC)` and `zone_statistics()`: `pages` pages in `requests` requests came off these lists.
    #[inline]
    pub(crate) fn count_alloc(&mut self, machine: &Machine<L>, preferred: &ZoneRef, pages: u64, requests: u64) {
        let pcp = &mut *self.pcp;
        pcp.events.pgalloc += pages;
        machine.zone_statistics(&mut pcp.events, self.zone, preferred, pcp.local, requests);
    }

    /// Gives the lock back and then tells the observer, which may make calls that take the lock.
    #[inline]
    pub(crate) fn unlock(self, cx: &mut impl Context) {
        let zone = self.zone;
        drop(self);
        cx.tell(|| Event::PcpUnlock { zone: zone.index });
    }

    /// `__rmqueue_pcplist()`: one block off the list of this order and type, refilled when empty. The flag
    /// says whether a refill boosted the watermark for a request that may wake kswapd.
    #[inline]
    pub(crate) fn __rmqueue_pcplist(
        &mut self,
        cx: &mut impl Context,
        machine: &Machine<L>,
        order: u8,
        mt: Migratetype,
        flags: AllocFlags,
    ) -> (Option<Pfn>, bool) {
        if cx.fault().take_fails(1 << order) {
            return (None, false);
        }
        let pindex = order_to_pindex(order, mt);
        let mut boosted = false;
        if self.pcp.lists[pindex].is_empty() {
            let got;
            (got, boosted) = self.zone.refill(cx, machine, &mut self.pcp, order, mt, flags);
            if !got {
                return (None, boosted);
            }
        }
        let page = self.pcp.lists[pindex].pop_front();
        if let Some(pfn) = page {
            self.pcp.count -= 1 << order;
            cx.tell(|| Event::ListTake { zone: self.zone.index, page: pfn, order });
        }
        (page, boosted)
    }

    /// `free_unref_page_commit()`: puts a block of type `mt` on its list and drains what is too much. `None` when the lists
    /// were given back for a moment and could not be had again.
    #[inline]
    pub(crate) fn free_unref_page_commit(
        mut self,
        cx: &mut impl Context,
        pfn: Pfn,
        order: u8,
        mt: Migratetype,
    ) -> Option<Self> {
        match self.put_free(pfn, order, mt) {
            None => Some(self),
            Some(excess) => self.drain_excess(cx, excess),
        }
    }

    /// The drain of a free that found too much: at once, or since v6.19 in pieces of a batch. The lock is given back after each
    /// piece, because a large drain would keep others waiting for it. If it cannot be had again, the rest stays on the lists.
    #[cold]
    #[inline(never)]
    fn drain_excess(self, cx: &mut impl Context, excess: Excess) -> Option<Self> {
        let zone = self.zone;
        let mut left = excess.pages;
        let mut lists = Some(self);
        if zone.rules.drain_in_batches {
            while let Some(mut pcp) = lists.take() {
                let piece = left.min(pcp.pcp.batch);
                pcp.free_pcppages_bulk(cx, piece, excess.pindex);
                left -= piece;
                if left <= 0 || pcp.pcp.count == 0 {
                    lists = Some(pcp);
                    break;
                }
                let pages = pcp.pages;
                pcp.unlock(cx);
                lists = zone.pcp_spin_trylock(cx, pages);
                if lists.is_none() {
                    break;
                }
            }
        } else if let Some(pcp) = &mut lists {
            pcp.free_pcppages_bulk(cx, left, excess.pindex);
        }
        zone.drained(excess.below_high);
        lists
    }

    /// The first half of [`LockedPcp::free_unref_page_commit`]: puts the block on its list and returns what is to be drained. The
    /// block goes to the head, because the cache still has it: the next allocation takes it. A page of a high-atomic block
    /// goes to the MOVABLE list.
    #[inline(always)]
    pub(crate) fn put_free(&mut self, pfn: Pfn, order: u8, mt: Migratetype) -> Option<Excess> {
        let pcp = &mut *self.pcp;
        let pages = 1i32 << order;
        pcp.alloc_factor >>= 1;
        pcp.events.pgfree += pages as u64;
        let pindex = order_to_pindex(order, mt.pcp_type());
        pcp.lists[pindex].push_front(pfn);
        pcp.count += pages;
        let zone_flags = self.zone.flags.load(Relaxed);
        if zone_flags & zflag::OLDER_FREE != 0 {
            return self.put_free_older(pfn, order, mt, pindex);
        }
        self.pages.set_pcp::<OfBlock>(pfn, order, mt);
        self.excess(order, pindex, zone_flags)
    }

    /// [`LockedPcp::put_free`] for kernels before v6.10, whose pages carry a type, or before v6.7, whose limits are fixed.
    #[cold]
    #[inline(never)]
    fn put_free_older(&mut self, pfn: Pfn, order: u8, mt: Migratetype, pindex: usize) -> Option<Excess> {
        let zone_flags = self.zone.flags.load(Relaxed);
        if self.zone.rules.list_type_is_block_type {
            self.pages.set_pcp::<OfBlock>(pfn, order, mt);
        } else {
            self.pages.set_pcp::<OfPage>(pfn, order, mt);
        }
        if self.zone.rules.pcp_high_tuned {
            return self.excess(order, pindex, zone_flags);
        }
        let pages = self.pcp.nr_pcp_free_fixed(order, zone_flags & zflag::RECLAIM_ACTIVE != 0)?;
        Some(Excess { pages, pindex, below_high: zone_flags & zflag::BELOW_HIGH != 0 })
    }

    /// What a free that put its block on list `pindex` leaves to be drained. `count` has the block already, `free_count` does not
    /// yet.
    #[inline(always)]
    fn excess(&mut self, order: u8, pindex: usize, zone_flags: u8) -> Option<Excess> {
        let pcp = &mut *self.pcp;
        let pages = 1i32 << order;
        let mut free_high = false;
        // A run counts only if the free before was of such an order too. Huge pages (order 9) end it.
        if order > 0 && order <= PAGE_ALLOC_COSTLY_ORDER {
            let in_a_row =
                if self.zone.rules.free_high_counts_high_min { pcp.batch + pcp.high_min / 2 } else { pcp.batch };
            free_high = pcp.free_count >= in_a_row
                && pcp.flags & PCPF_PREV_FREE_HIGH_ORDER != 0
                && (pcp.flags & PCPF_FREE_HIGH_BATCH == 0 || pcp.count >= pcp.batch);
            pcp.flags |= PCPF_PREV_FREE_HIGH_ORDER;
        } else {
            pcp.flags &= !PCPF_PREV_FREE_HIGH_ORDER;
        }
        // The bound is tested before the addition, so the last block of a run may exceed it.
        if pcp.free_count < pcp.batch << PCP_BATCH_SCALE_MAX {
            pcp.free_count += pages;
        }
        let reclaim_active = zone_flags & zflag::RECLAIM_ACTIVE != 0;
        let below_high = zone_flags & zflag::BELOW_HIGH != 0;
        let high = pcp.nr_pcp_high(free_high, reclaim_active, below_high);
        (pcp.count >= high).then(|| Excess { pages: pcp.nr_pcp_free(high, free_high), pindex, below_high })
    }

    /// `free_pcppages_bulk()`: `n` pages from the tails of the lists, where the oldest are. Begins with list `pindex` and goes on
    /// to the next list only when one is empty.
    #[cold]
    #[inline(never)]
    pub(crate) fn free_pcppages_bulk(&mut self, cx: &mut impl Context, n: i32, pindex: usize) {
        by_list_type!(self.zone, T => self.free_pcppages_bulk_of::<T>(cx, n, pindex));
    }

    #[inline(always)]
    fn free_pcppages_bulk_of<T: ListType>(&mut self, cx: &mut impl Context, n: i32, mut pindex: usize) {
        let pages = self.pages;
        let pcp = &mut *self.pcp;
        let total = n.min(pcp.count);
        self.zone.with_lock::<T, _, _>(cx, pages, |locked, cx| {
            let mut left = total;
            while left > 0 {
                while pcp.lists[pindex].is_empty() {
                    pindex = (pindex + 1) % NR_PCP_LISTS;
                }
                let order = pindex_to_order(pindex);
                while left > 0
                    && let Some(pfn) = pcp.lists[pindex].pop_back()
                {
                    let mt = pages.list_type::<T>(pfn, order);
                    pcp.count -= 1 << order;
                    left -= 1 << order;
                    pages.clear_head(pfn);
                    locked.__free_one_page(pfn, order, mt, false);
                    cx.tell(|| Event::PcpuDrain { page: pfn, order, migratetype: mt });
                }
            }
            locked.moved = (total - left) as u32;
        });
    }
}
