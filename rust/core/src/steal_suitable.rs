//! Kernel: `mm/page_alloc.c`, `__rmqueue_fallback()`, `steal_suitable_fallback()`, `can_steal_fallback()`,
//! `move_freepages_block()` (v6.1; with the lists of v6.10 as v6.10 to v6.14 have them). The form since v6.15 is
//! [`crate::fallback`].
//!
//! If the wanted type had no free block, the largest block of another type moved to our lists, together with the rest of
//! its pageblock if that was worthwhile.

use crate::context::Context;
use crate::fallback::{FallbackRules, should_try_claim_block};
use crate::gfp::{AllocFlags, Migratetype};
use crate::page::ListType;
use crate::pfn::{MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::sync::Locking;
use crate::zone::LockedZone;

impl<L: Locking, T: ListType> LockedZone<'_, L, T> {
    /// `__rmqueue_fallback()`: the largest block of another type, except that a movable request which cannot have its whole
    /// pageblock takes the smallest.
    pub(crate) fn rmqueue_fallback(
        &mut self,
        cx: &mut impl Context,
        rules: FallbackRules,
        order: u8,
        mt: Migratetype,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        let min = if order < PAGEBLOCK_ORDER && flags.has(AllocFlags::NOFRAGMENT) { PAGEBLOCK_ORDER } else { order };
        let found = |&c: &u8| self.find_suitable_fallback(c, mt).is_some();
        let mut c = (min..=MAX_PAGE_ORDER).rev().find(found)?;
        if !should_try_claim_block(c, mt, rules) && mt == Migratetype::Movable && c > order {
            c = (order..=MAX_PAGE_ORDER).find(found)?;
        }
        let from = self.find_suitable_fallback(c, mt)?;
        let pfn = self.area.lists[c as usize][from as usize].first();
        let block_type = self.pages.migratetype(pfn);
        let whole_blocks = c >= PAGEBLOCK_ORDER && block_type != Migratetype::HighAtomic;
        if c < PAGEBLOCK_ORDER && block_type != Migratetype::HighAtomic {
            self.boost_watermark(rules, flags);
        }
        let pageblock =
            c < PAGEBLOCK_ORDER && block_type != Migratetype::HighAtomic && should_try_claim_block(c, mt, rules);
        if !T::OF_BLOCK {
            if whole_blocks {
                self.pages.set_migratetype(pfn, c, mt);
            }
            if !(pageblock && self.steal_free_pages(pfn, block_type, mt, rules)) {
                self.move_to_free_list(pfn, c, from, mt);
            }
            self.trace_mm_page_alloc_extfrag(cx, pfn, order, c, mt, from);
            return self.rmqueue_smallest(cx, order, mt);
        }
        let page = if whole_blocks {
            self.take_whole_blocks(cx, pfn, c, order, from, mt)
        } else if pageblock && self.zone.spans_pageblock(pfn) && self.is_alike(pfn, block_type, mt, rules) {
            // v6.10: the pages move only if the block does.
            self.move_freepages_block(pfn, block_type, mt);
            self.rmqueue_smallest(cx, order, mt)
        } else {
            self.take_single_page(cx, pfn, c, order, from, mt)
        };
        self.trace_mm_page_alloc_extfrag(cx, pfn, order, c, mt, from);
        page
    }

    /// `steal_suitable_fallback()` before v6.10: all free pages of a pageblock come to our lists, and the block becomes ours
    /// when enough of it is free or of our kind. `false`: nothing came.
    fn steal_free_pages(&mut self, pfn: Pfn, block_type: Migratetype, mt: Migratetype, rules: FallbackRules) -> bool {
        let ours = self.is_alike(pfn, block_type, mt, rules);
        let moved = self.move_freepages_in_zone(pfn, mt) > 0;
        if moved && ours {
            self.pages.set_migratetype(pfn.pageblock_start(), PAGEBLOCK_ORDER, mt);
        }
        moved
    }

    /// `move_freepages_block()` before v6.10: of a pageblock that begins before the zone, what lies behind the page moves;
    /// of one that ends behind the zone, nothing. The block keeps its type.
    pub(crate) fn move_freepages_in_zone(&mut self, pfn: Pfn, to: Migratetype) -> u32 {
        let first = pfn.pageblock_start();
        let end = first.add(PAGEBLOCK_NR_PAGES);
        if !self.zone.spans(Pfn(end.0 - 1)) {
            return 0;
        }
        let start = if self.zone.spans(first) { first } else { pfn };
        self.move_freepages(start, end, to, to)
    }
}
