//! Kernel: `mm/page_alloc.c`, `reserve_highatomic_pageblock()`, `unreserve_highatomic_pageblock()` (v6.12; the older forms
//! of v6.1).
//!
//! Pageblocks set aside for atomic requests of higher order.

use crate::alloc::AllocContext;
use crate::context::Context;
use crate::gfp::Migratetype;
use crate::machine::Machine;
use crate::page::{ListType, PageMap};
use crate::pfn::{NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::sync::Locking;
use crate::zone::{Zone, by_list_type};

impl<L: Locking> Zone<L> {
    /// `reserve_highatomic_pageblock()`: the block of a page that was just given out joins the reserve.
    #[cold]
    pub(crate) fn reserve_highatomic_pageblock(&self, cx: &mut impl Context, pages: &PageMap, pfn: Pfn, order: u8) {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        let percent = self.managed / 100;
        let limit = if !self.rules.highatomic_limit_rounded {
            percent + pageblock
        } else if percent < pageblock {
            // v6.8: nothing at all in a zone whose share is less than one block.
            return;
        } else {
            percent.next_multiple_of(pageblock)
        };
        by_list_type!(self, T => self.reserve_pageblock_below::<T>(cx, pages, pfn, order, limit));
    }

    /// The part of `reserve_highatomic_pageblock()` under the zone lock.
    fn reserve_pageblock_below<T: ListType>(
        &self,
        cx: &mut impl Context,
        pages: &PageMap,
        pfn: Pfn,
        order: u8,
        limit: u64,
    ) {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        self.with_lock::<T, _, _>(cx, pages, |locked, _| {
            let mt = pages.migratetype(pfn);
            let reserved = locked.area.reserved_highatomic;
            if reserved >= limit || !mt.is_mergeable() {
                return;
            }
            if !T::OF_BLOCK {
                // Before v6.10 always one block, whatever the order and wherever it lies.
                pages.set_migratetype(pfn, PAGEBLOCK_ORDER, Migratetype::HighAtomic);
                locked.set_reserved_highatomic(reserved + pageblock);
                locked.moved = locked.move_freepages_in_zone(pfn, Migratetype::HighAtomic);
            } else if order >= PAGEBLOCK_ORDER {
                pages.set_migratetype(pfn, order, Migratetype::HighAtomic);
                locked.set_reserved_highatomic(reserved + (1 << order));
            } else if self.spans_pageblock(pfn) {
                locked.moved = locked.move_freepages_block(pfn, mt, Migratetype::HighAtomic);
                locked.set_reserved_highatomic(reserved + pageblock);
            }
        });
    }

    /// Gives one reserved block with free pages to type `to`; whether there was one.
    fn unreserve_one<T: ListType>(&self, cx: &mut impl Context, pages: &PageMap, to: Migratetype, force: bool) -> bool {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        self.with_lock::<T, _, _>(cx, pages, |locked, _| {
            if !force && locked.area.reserved_highatomic <= pageblock {
                return false;
            }
            for order in 0..NR_PAGE_ORDERS {
                let pfn = locked.area.lists[order][Migratetype::HighAtomic as usize].first();
                if pfn.is_null() {
                    continue;
                }
                let reserved = locked.area.reserved_highatomic;
                if !T::OF_BLOCK {
                    // Before v6.10 a free page of the reserve could lie in a block that was no longer reserved, and one
                    // pageblock was given back, whatever the order of the page.
                    if pages.migratetype(pfn) == Migratetype::HighAtomic {
                        locked.set_reserved_highatomic(reserved.saturating_sub(pageblock));
                    }
                    pages.set_migratetype(pfn, PAGEBLOCK_ORDER, to);
                    locked.moved = locked.move_freepages_in_zone(pfn, to);
                    if locked.moved > 0 {
                        return true;
                    }
                    continue;
                }
                let size = (1u64 << order).max(pageblock);
                locked.set_reserved_highatomic(reserved.saturating_sub(size));
                if order < usize::from(PAGEBLOCK_ORDER) {
                    locked.moved = locked.move_freepages_block(pfn, Migratetype::HighAtomic, to);
                } else {
                    let order = order as u8;
                    locked.move_to_free_list(pfn, order, Migratetype::HighAtomic, to);
                    pages.set_migratetype(pfn, order, to);
                    locked.moved = 1 << order;
                }
                return true;
            }
            false
        })
    }
}

impl<L: Locking> Machine<L> {
    /// `unreserve_highatomic_pageblock()`: gives one reserved block with free pages to the request's type; the last
    /// block of a zone only when `force`.
    #[cold]
    pub(crate) fn unreserve_highatomic_pageblock(
        &self,
        cx: &mut impl Context,
        ac: AllocContext<'_>,
        force: bool,
    ) -> bool {
        ac.zonelist().iter().any(|zref| {
            let zone = &self.zones[zref.zone];
            by_list_type!(zone, T => zone.unreserve_one::<T>(cx, &self.pages, ac.migratetype, force))
        })
    }
}
