//! Kernel: `mm/page_alloc.c`, `__rmqueue()`, `__rmqueue_claim()`, `__rmqueue_steal()`, `find_suitable_fallback()`,
//! `try_to_claim_block()`, `boost_watermark()`, `__move_freepages_block()` (v6.12.117).
//!
//! What happens when the wanted type has no free block: claim a whole pageblock of another type, or steal one page of
//! it.

use crate::context::Context;
use crate::gfp::{AllocFlags, Migratetype};
use crate::pfn::{MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::probe::Event;
use crate::sync::Locking;
use crate::watermark::mult_frac;
use crate::zone::{LockedZone, wmark};

/// How far a series of takes has had to go; kept through one refill so that what failed is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum RmqueueMode {
    /// Own lists first.
    #[default]
    Normal,
    /// Only stealing found anything last time.
    Steal,
}

/// What the machine sets for all zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FallbackRules {
    /// `watermark_boost_factor` (0 for none).
    pub(crate) boost_factor: u64,
    /// `page_group_by_mobility_disabled`.
    pub(crate) mobility_disabled: bool,
}

/// Rows of `fallbacks[][]`.
const fn fallbacks(mt: Migratetype) -> [Migratetype; 2] {
    use Migratetype::{Movable, Reclaimable, Unmovable};
    match mt {
        Unmovable => [Reclaimable, Movable],
        Movable => [Reclaimable, Unmovable],
        Reclaimable => [Unmovable, Movable],
        Migratetype::HighAtomic => [Migratetype::HighAtomic; 2],
    }
}

/// `should_try_claim_block()`.
fn should_try_claim_block(order: u8, mt: Migratetype, rules: FallbackRules) -> bool {
    order >= PAGEBLOCK_ORDER / 2
        || matches!(mt, Migratetype::Reclaimable | Migratetype::Unmovable)
        || rules.mobility_disabled
}

impl<L: Locking> LockedZone<'_, L> {
    /// `__rmqueue()`: one block of `order` and `mt`, from wherever it can be had in this zone.
    #[inline]
    pub(crate) fn __rmqueue(
        &mut self,
        cx: &mut impl Context,
        rules: FallbackRules,
        order: u8,
        mt: Migratetype,
        flags: AllocFlags,
        mode: &mut RmqueueMode,
    ) -> Option<Pfn> {
        if *mode == RmqueueMode::Normal
            && let Some(pfn) = self.rmqueue_smallest(cx, order, mt)
        {
            return Some(pfn);
        }
        self.claim_or_steal(cx, rules, order, mt, flags, mode)
    }

    #[cold]
    #[inline(never)]
    fn claim_or_steal(
        &mut self,
        cx: &mut impl Context,
        rules: FallbackRules,
        order: u8,
        mt: Migratetype,
        flags: AllocFlags,
        mode: &mut RmqueueMode,
    ) -> Option<Pfn> {
        if !mt.is_mergeable() {
            return None;
        }
        if *mode == RmqueueMode::Normal
            && let Some(pfn) = self.rmqueue_claim(cx, rules, order, mt, flags)
        {
            return Some(pfn);
        }
        if !flags.has(AllocFlags::NOFRAGMENT)
            && let Some(pfn) = self.rmqueue_steal(cx, order, mt)
        {
            *mode = RmqueueMode::Steal;
            return Some(pfn);
        }
        None
    }

    /// `find_suitable_fallback()`: the type on whose list of order `c` a block is found.
    fn find_suitable_fallback(&self, c: u8, mt: Migratetype) -> Option<Migratetype> {
        fallbacks(mt).into_iter().find(|&t| self.nonempty(t) & 1 << c != 0)
    }

    /// `__rmqueue_claim()`: from the largest order down, tries to make a block of another type one of ours.
    fn rmqueue_claim(
        &mut self,
        cx: &mut impl Context,
        rules: FallbackRules,
        order: u8,
        mt: Migratetype,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        let min = if order < PAGEBLOCK_ORDER && flags.has(AllocFlags::NOFRAGMENT) { PAGEBLOCK_ORDER } else { order };
        for c in (min..=MAX_PAGE_ORDER).rev() {
            let Some(from) = self.find_suitable_fallback(c, mt) else { continue };
            if !should_try_claim_block(c, mt, rules) {
                return None;
            }
            if let Some(pfn) = self.try_to_claim_block(cx, rules, c, order, mt, from, flags) {
                self.trace_mm_page_alloc_extfrag(cx, pfn, order, c, mt, from);
                return Some(pfn);
            }
        }
        None
    }

    /// `try_to_claim_block()` on the first block of order `c` of type `from`.
    #[expect(clippy::too_many_arguments)]
    fn try_to_claim_block(
        &mut self,
        cx: &mut impl Context,
        rules: FallbackRules,
        c: u8,
        order: u8,
        mt: Migratetype,
        from: Migratetype,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        let pfn = self.area.lists[c as usize][from as usize].first();
        let block_type = self.pages.migratetype(pfn);
        if block_type == Migratetype::HighAtomic {
            return None;
        }
        if c >= PAGEBLOCK_ORDER {
            self.del_page_from_free_list(pfn, c, block_type);
            self.account_freepages(-(1 << c), block_type);
            self.pages.set_migratetype(pfn, c, mt);
            self.expand(cx, pfn, order, c, mt);
            self.account_freepages((1 << c) - (1 << order), mt);
            return Some(pfn);
        }
        self.boost_watermark(rules, flags);
        let (free, movable) = self.prep_move_freepages_block(pfn)?;
        let alike = match (mt, block_type) {
            (Migratetype::Movable, _) => movable,
            // A block that was movable holds nothing else that we could keep company.
            (_, Migratetype::Movable) => PAGEBLOCK_NR_PAGES - (free + movable),
            _ => 0,
        };
        if free + alike < PAGEBLOCK_NR_PAGES / 2 && !rules.mobility_disabled {
            return None;
        }
        self.move_freepages_block(pfn, block_type, mt);
        self.rmqueue_smallest(cx, order, mt)
    }

    /// `boost_watermark()`. The flag that wakes kswapd lives only as long as this allocation, so the wake
    /// itself is left to the caller's own test of ALLOC_KSWAPD.
    fn boost_watermark(&mut self, rules: FallbackRules, flags: AllocFlags) {
        let zone = self.zone;
        if rules.boost_factor == 0 || u64::from(PAGEBLOCK_NR_PAGES) * 4 > zone.managed {
            return;
        }
        let max = mult_frac(zone.watermark[wmark::HIGH].get() as u64, rules.boost_factor, 10_000) as i64;
        if max == 0 {
            return;
        }
        let max = max.max(i64::from(PAGEBLOCK_NR_PAGES));
        let boost = zone.watermark_boost.get() + i64::from(PAGEBLOCK_NR_PAGES);
        zone.watermark_boost.set(boost.min(max));
        if flags.has(AllocFlags::KSWAPD) {
            self.boosted = true;
        }
    }

    /// `prep_move_freepages_block()`: free pages and movable allocated pages of the pageblock of `pfn`, if it is whole. What
    /// is movable comes from the snapshot.
    fn prep_move_freepages_block(&self, pfn: Pfn) -> Option<(u32, u32)> {
        if !self.zone.spans_pageblock(pfn) {
            return None;
        }
        let start = pfn.pageblock_start();
        let mut free = 0;
        let mut at = start;
        while at < start.add(PAGEBLOCK_NR_PAGES) {
            match self.pages.buddy_order(at) {
                Some(order) => {
                    free += 1 << order;
                    at = at.add(1 << order);
                }
                None => at = at.add(1),
            }
        }
        let movable = match self.area.movable.binary_search_by_key(&start.0, |&(block, _)| block) {
            Ok(i) => self.area.movable[i].1,
            Err(_) => 0,
        };
        Some((free, movable))
    }

    /// `__move_freepages_block()` and the new type: every free buddy of the pageblock goes to the tail of its new list.
    /// Returns the pages moved.
    pub(crate) fn move_freepages_block(&mut self, pfn: Pfn, from: Migratetype, to: Migratetype) -> u32 {
        let start = pfn.pageblock_start();
        let mut moved = 0;
        let mut at = start;
        while at < start.add(PAGEBLOCK_NR_PAGES) {
            let Some(order) = self.pages.buddy_order(at) else {
                at = at.add(1);
                continue;
            };
            self.del_page_from_free_list(at, order, from);
            self.add_to_free_list(at, order, to, true);
            self.account_freepages(-(1 << order), from);
            self.account_freepages(1 << order, to);
            at = at.add(1 << order);
            moved += 1 << order;
        }
        self.pages.set_migratetype(start, PAGEBLOCK_ORDER, to);
        moved
    }

    /// `__rmqueue_steal()`: one block from the smallest order of another type, whose pageblock keeps its type.
    fn rmqueue_steal(&mut self, cx: &mut impl Context, order: u8, mt: Migratetype) -> Option<Pfn> {
        for c in order..=MAX_PAGE_ORDER {
            let Some(from) = self.find_suitable_fallback(c, mt) else { continue };
            let pfn = self.area.lists[c as usize][from as usize].first();
            self.del_page_from_free_list(pfn, c, from);
            self.expand(cx, pfn, order, c, from);
            self.account_freepages(-(1 << order), from);
            self.trace_mm_page_alloc_extfrag(cx, pfn, order, c, mt, from);
            return Some(pfn);
        }
        None
    }

    fn trace_mm_page_alloc_extfrag(
        &self,
        cx: &mut impl Context,
        page: Pfn,
        alloc_order: u8,
        fallback_order: u8,
        alloc_migratetype: Migratetype,
        fallback_migratetype: Migratetype,
    ) {
        cx.tell(|| Event::Extfrag {
            page,
            alloc_order,
            fallback_order,
            alloc_migratetype,
            fallback_migratetype,
            change_ownership: self.pages.migratetype(page) == alloc_migratetype,
        });
    }
}
