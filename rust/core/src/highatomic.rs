//! Kernel: `mm/page_alloc.c`, `reserve_highatomic_pageblock()`, `unreserve_highatomic_pageblock()` (v6.12).
//!
//! Pageblocks set aside for atomic requests of higher order.

use crate::alloc::AllocContext;
use crate::fault::{Ctx, Fault};
use crate::gfp::Migratetype;
use crate::machine::Machine;
use crate::page::PageMap;
use crate::pfn::{NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::probe::{Event, Probe};
use crate::sync::Locking;
use crate::zone::Zone;

impl<L: Locking> Zone<L> {
    /// `reserve_highatomic_pageblock()`: the block of a page that was just given out joins the reserve (spec 3.9).
    #[cold]
    pub(crate) fn reserve_highatomic_pageblock<P: Probe, F: Fault>(
        &self,
        cx: &mut Ctx<P, F>,
        pages: &PageMap,
        pfn: Pfn,
        order: u8,
    ) {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        // About 1 % of the zone, and nothing at all in a zone where that is less than one block.
        if self.managed / 100 < pageblock {
            return;
        }
        let limit = (self.managed / 100).next_multiple_of(pageblock);
        if P::ON {
            cx.probe.event(Event::ZoneLock { zone: self.index });
        }
        let mut moved = 0;
        {
            let mut locked = self.lock(pages, cx.cpu);
            let mt = pages.migratetype(pfn);
            if locked.area.reserved_highatomic < limit && mt.is_mergeable() {
                if order >= PAGEBLOCK_ORDER {
                    pages.set_migratetype(pfn, order, Migratetype::HighAtomic);
                    locked.area.reserved_highatomic += 1 << order;
                } else if self.spans_pageblock(pfn) {
                    moved = locked.move_freepages_block(pfn, mt, Migratetype::HighAtomic);
                    locked.area.reserved_highatomic += pageblock;
                }
            }
        }
        if P::ON {
            cx.probe.event(Event::ZoneUnlock { zone: self.index, pages: moved });
        }
    }
}

impl<L: Locking> Machine<L> {
    /// `unreserve_highatomic_pageblock()`: gives one reserved block with free pages to the request's type; the last
    /// block of a zone only when `force`.
    #[cold]
    pub(crate) fn unreserve_highatomic_pageblock<P: Probe, F: Fault>(
        &self,
        cx: &mut Ctx<P, F>,
        ac: &AllocContext<'_>,
        force: bool,
    ) -> bool {
        let pageblock = u64::from(PAGEBLOCK_NR_PAGES);
        for zref in ac.zonelist {
            let zone = &self.zones[zref.zone];
            let mut locked = zone.lock(&self.pages, cx.cpu);
            if !force && locked.area.reserved_highatomic <= pageblock {
                continue;
            }
            for order in 0..NR_PAGE_ORDERS {
                let pfn = locked.area.lists[order][Migratetype::HighAtomic as usize].first();
                if pfn.is_null() {
                    continue;
                }
                let size = (1u64 << order).max(pageblock);
                locked.area.reserved_highatomic = locked.area.reserved_highatomic.saturating_sub(size);
                if order < usize::from(PAGEBLOCK_ORDER) {
                    locked.move_freepages_block(pfn, Migratetype::HighAtomic, ac.migratetype);
                } else {
                    let order = order as u8;
                    locked.del_page_from_free_list(pfn, order, Migratetype::HighAtomic);
                    locked.account_freepages(-(1 << order), Migratetype::HighAtomic);
                    self.pages.set_migratetype(pfn, order, ac.migratetype);
                    locked.add_to_free_list(pfn, order, ac.migratetype, true);
                    locked.account_freepages(1 << order, ac.migratetype);
                }
                return true;
            }
        }
        false
    }
}
