//! Kernel: `mm/page_alloc.c`, `reserve_highatomic_pageblock()`, `unreserve_highatomic_pageblock()` (v6.12).
//!
//! Pageblocks set aside for atomic requests of higher order.

use crate::alloc::AllocContext;
use crate::context::Context;
use crate::gfp::Migratetype;
use crate::machine::Machine;
use crate::page::PageMap;
use crate::pfn::{NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::sync::Locking;
use crate::zone::Zone;

impl<L: Locking> Zone<L> {
    /// `reserve_highatomic_pageblock()`: the block of a page that was just given out joins the reserve.
    #[cold]
    pub(crate) fn reserve_highatomic_pageblock(&self, cx: &mut impl Context, pages: &PageMap, pfn: Pfn, order: u8) {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        // About 1 % of the zone, and nothing at all in a zone where that is less than one block.
        if self.managed / 100 < pageblock {
            return;
        }
        let limit = (self.managed / 100).next_multiple_of(pageblock);
        self.with_lock(cx, pages, |locked, _| {
            let mt = pages.migratetype(pfn);
            if locked.area.reserved_highatomic < limit && mt.is_mergeable() {
                if order >= PAGEBLOCK_ORDER {
                    pages.set_migratetype(pfn, order, Migratetype::HighAtomic);
                    locked.area.reserved_highatomic += 1 << order;
                } else if self.spans_pageblock(pfn) {
                    locked.moved = locked.move_freepages_block(pfn, mt, Migratetype::HighAtomic);
                    locked.area.reserved_highatomic += pageblock;
                }
            }
        });
    }

    /// Gives one reserved block with free pages to type `to`; whether there was one.
    fn unreserve_one(&self, cx: &mut impl Context, pages: &PageMap, to: Migratetype, force: bool) -> bool {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        self.with_lock(cx, pages, |locked, _| {
            if !force && locked.area.reserved_highatomic <= pageblock {
                return false;
            }
            for order in 0..NR_PAGE_ORDERS {
                let pfn = locked.area.lists[order][Migratetype::HighAtomic as usize].first();
                if pfn.is_null() {
                    continue;
                }
                let size = (1u64 << order).max(pageblock);
                locked.area.reserved_highatomic = locked.area.reserved_highatomic.saturating_sub(size);
                if order < usize::from(PAGEBLOCK_ORDER) {
                    locked.moved = locked.move_freepages_block(pfn, Migratetype::HighAtomic, to);
                } else {
                    let order = order as u8;
                    locked.del_page_from_free_list(pfn, order, Migratetype::HighAtomic);
                    locked.account_freepages(-(1 << order), Migratetype::HighAtomic);
                    pages.set_migratetype(pfn, order, to);
                    locked.add_to_free_list(pfn, order, to, true);
                    locked.account_freepages(1 << order, to);
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
        ac: &AllocContext<'_>,
        force: bool,
    ) -> bool {
        ac.zonelist.iter().any(|zref| self.zones[zref.zone].unreserve_one(cx, &self.pages, ac.migratetype, force))
    }
}
