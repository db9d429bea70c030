//! Kernel: `mm/page_alloc.c`, `__free_one_page()`, `__rmqueue_smallest()`, `page_del_and_expand()`, `expand()`,
//! `split_large_buddy()`, `free_one_page()` (v6.12).
//!
//! The buddy lists: blocks of 2^order pages, split when allocated and merged when freed.

use crate::context::Context;
use crate::gfp::Migratetype;
use crate::page::{ListType, PageMap};
use crate::pcp::pcp_allowed_order;
use crate::pfn::{MAX_PAGE_ORDER, PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, Pfn};
use crate::probe::Event;
use crate::sync::Locking;
use crate::zone::{LockedZone, Zone, by_list_type};

/// The tracepoint's `percpu_refill`: whether a per-CPU list could hold such a block.
fn percpu_refill(order: u8, mt: Migratetype) -> bool {
    (order <= PAGE_ALLOC_COSTLY_ORDER || order == PAGEBLOCK_ORDER) && mt.is_mergeable()
}

impl<L: Locking, T: ListType> LockedZone<'_, L, T> {
    /// Whether `buddy` heads a free block of `order`, below 10, in this zone.
    #[inline]
    fn page_is_buddy(&self, buddy: Pfn, order: u8) -> bool {
        // The state is looked at first: it says no in most cases.
        buddy.index() < self.pages.end().index()
            && self.pages.is_buddy::<T>(buddy, order)
            && (order < PAGEBLOCK_ORDER && !self.pages.block(buddy).is_shared() || self.zone.spans(buddy))
    }

    /// `__free_one_page()`: puts a block on its list, merged with its free buddies.
    pub(crate) fn __free_one_page(&mut self, mut pfn: Pfn, mut order: u8, mt: Migratetype, to_tail: bool) {
        self.account_freepages(1 << order, mt);
        while order < MAX_PAGE_ORDER {
            let buddy = pfn.buddy(order);
            if !self.page_is_buddy(buddy, order) {
                break;
            }
            let mut buddy_mt = mt;
            if order >= PAGEBLOCK_ORDER {
                // Below pageblock order both halves share a block, hence a type.
                buddy_mt = self.pages.migratetype(buddy);
                if buddy_mt != mt && !(buddy_mt.is_mergeable() && mt.is_mergeable()) {
                    break;
                }
            }
            if T::OF_BLOCK {
                self.del_page_from_free_list(buddy, order, buddy_mt);
                // v6.10: the merged block has one type, so that a later split finds its parts on the right lists.
                if buddy_mt != mt {
                    self.pages.set_migratetype(buddy, order, mt);
                }
            } else {
                // Before v6.10 neither the block's type nor the list that its halves were on had to agree. Where the free
                // pages of the reserve are counted, the list decides.
                let from = self.pages.list_type::<T>(buddy, order);
                self.del_page_from_free_list(buddy, order, from);
                self.account_moved(1 << order, from, mt);
            }
            pfn = Pfn(pfn.0 & buddy.0);
            order += 1;
        }
        let tail = to_tail || self.buddy_merge_likely(pfn, order);
        self.add_to_free_list(pfn, order, mt, tail);
    }

    /// `buddy_merge_likely()`: the block above this one is half free already, so this half should wait for the other.
    #[inline]
    fn buddy_merge_likely(&self, pfn: Pfn, order: u8) -> bool {
        if order >= MAX_PAGE_ORDER - 1 {
            return false;
        }
        let merged = Pfn(pfn.0 & pfn.buddy(order).0);
        self.page_is_buddy(merged.buddy(order + 1), order + 1)
    }

    /// Splits the rest of a block of `high` at `pfn` down to `low`: upper halves to the heads of their lists.
    #[inline]
    pub(crate) fn expand(&mut self, cx: &mut impl Context, pfn: Pfn, low: u8, high: u8, mt: Migratetype) {
        if low < high {
            cx.tell(|| Event::Split { zone: self.zone.index, low, high });
        }
        for order in (low..high).rev() {
            self.add_to_free_list(pfn.add(1 << order), order, mt, false);
        }
    }

    /// `__rmqueue_smallest()`: first block of the smallest sufficient order.
    #[inline]
    pub(crate) fn rmqueue_smallest(&mut self, cx: &mut impl Context, order: u8, mt: Migratetype) -> Option<Pfn> {
        let orders = self.nonempty(mt) >> order << order;
        if orders == 0 {
            return None;
        }
        let found = orders.trailing_zeros() as u8;
        let pfn = self.area.lists[found as usize][mt as usize].first();
        self.del_page_from_free_list(pfn, found, mt);
        self.expand(cx, pfn, order, found, mt);
        self.account_taken(1 << order, mt);
        cx.tell(|| Event::ZoneLocked { page: pfn, order, migratetype: mt, percpu_refill: percpu_refill(order, mt) });
        Some(pfn)
    }

    /// `split_large_buddy()`: a block larger than a pageblock goes back in pageblock pieces, each by its own type.
    /// Before v6.10 it went back whole, by the type of its first pageblock.
    pub(crate) fn split_large_buddy(&mut self, pfn: Pfn, order: u8) {
        let piece = if T::OF_BLOCK { order.min(PAGEBLOCK_ORDER) } else { order };
        for i in 0..1u32 << (order - piece) {
            let pfn = pfn.add(i << piece);
            self.__free_one_page(pfn, piece, self.pages.migratetype(pfn), false);
        }
    }
}

impl<L: Locking> Zone<L> {
    /// `free_one_page()`: straight to the buddy lists under one lock hold, counted for the freeing CPU.
    #[cold]
    pub(crate) fn free_one_page(&self, cx: &mut impl Context, pages: &PageMap, pfn: Pfn, order: u8) {
        by_list_type!(self, T => self.free_one_page_of::<T>(cx, pages, pfn, order));
    }

    #[inline(always)]
    fn free_one_page_of<T: ListType>(&self, cx: &mut impl Context, pages: &PageMap, pfn: Pfn, order: u8) {
        self.with_lock::<T, _, _>(cx, pages, |locked, cx| {
            pages.clear_head(pfn);
            locked.split_large_buddy(pfn, order);
            // In v6.1 a free that found the per-CPU lists locked was not counted.
            if self.rules.free_past_lists_counted || !pcp_allowed_order(order) {
                locked.area.direct[cx.cpu()].pgfree += 1 << order;
            }
            locked.moved = 1 << order;
        });
    }
}
