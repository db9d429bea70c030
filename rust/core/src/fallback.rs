//! Kernel: `mm/page_alloc.c`, `__rmqueue()`, `__rmqueue_claim()`, `__rmqueue_steal()`, `find_suitable_fallback()`,
//! `try_to_claim_block()`, `boost_watermark()`, `__move_freepages_block()` (v6.15, backported to v6.12.117). The older
//! form is [`crate::steal_suitable`].
//!
//! If the wanted type has no free block, a request claims a whole pageblock of another type, or steals one page from it.

use crate::context::Context;
use crate::gfp::{AllocFlags, Migratetype};
use crate::math::mult_frac;
use crate::page::{ListType, PageState};
use crate::pfn::{MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::probe::Event;
use crate::sync::Locking;
use crate::zone::{LockedZone, wmark};

/// How far a series of takes has had to go; kept through one refill so that what failed is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum RmqueueMode {
    /// Own lists first.
    #[default]
    Normal,
    /// CMA blocks while they are most of what is free, then own lists, then CMA blocks.
    WithCma,
    /// Own lists were empty last time, CMA blocks were not.
    Cma,
    /// Only stealing found anything last time.
    Steal,
}

impl RmqueueMode {
    /// Where a request begins.
    #[inline]
    pub(crate) fn new(flags: AllocFlags) -> RmqueueMode {
        if flags.has(AllocFlags::CMA) { RmqueueMode::WithCma } else { RmqueueMode::Normal }
    }
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
        Migratetype::HighAtomic | Migratetype::Cma => [mt; 2],
    }
}

/// `should_try_claim_block()`, before v6.15 `can_steal_fallback()`.
pub(crate) fn should_try_claim_block(order: u8, mt: Migratetype, rules: FallbackRules) -> bool {
    order >= PAGEBLOCK_ORDER / 2
        || matches!(mt, Migratetype::Reclaimable | Migratetype::Unmovable)
        || rules.mobility_disabled
}

impl<L: Locking, T: ListType> LockedZone<'_, L, T> {
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
        if flags.has(AllocFlags::CMA)
            && let Some(pfn) = self.rmqueue_with_cma(cx, order, mt, mode)
        {
            return Some(pfn);
        }
        if !self.zone.rules.claim_then_steal {
            return self.rmqueue_fallback(cx, rules, order, mt, flags);
        }
        if *mode != RmqueueMode::Steal
            && let Some(pfn) = self.rmqueue_claim(cx, rules, order, mt, flags)
        {
            *mode = RmqueueMode::new(flags);
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

    /// The part of `__rmqueue()` about CMA: its blocks serve first while more than half of what is free is theirs, and
    /// otherwise after the lists of the request's own type.
    fn rmqueue_with_cma(
        &mut self,
        cx: &mut impl Context,
        order: u8,
        mt: Migratetype,
        mode: &mut RmqueueMode,
    ) -> Option<Pfn> {
        if self.zone.free_cma_for_tests() > self.zone.free_for_tests() / 2
            && let Some(pfn) = self.rmqueue_cma_fallback(cx, order)
        {
            return Some(pfn);
        }
        if *mode == RmqueueMode::WithCma
            && let Some(pfn) = self.rmqueue_smallest(cx, order, mt)
        {
            return Some(pfn);
        }
        if *mode == RmqueueMode::Steal {
            return None;
        }
        let page = self.rmqueue_cma_fallback(cx, order);
        if page.is_some() && self.zone.rules.claim_then_steal {
            *mode = RmqueueMode::Cma;
        }
        page
    }

    /// `__rmqueue_cma_fallback()`: a block of a CMA block.
    fn rmqueue_cma_fallback(&mut self, cx: &mut impl Context, order: u8) -> Option<Pfn> {
        self.rmqueue_smallest(cx, order, Migratetype::Cma)
    }

    /// `find_suitable_fallback()`: the type on whose list of order `c` a block is found.
    pub(crate) fn find_suitable_fallback(&self, c: u8, mt: Migratetype) -> Option<Migratetype> {
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
            return self.take_whole_blocks(cx, pfn, c, order, from, mt);
        }
        self.boost_watermark(rules, flags);
        if !self.zone.spans_pageblock(pfn) || !self.is_alike(pfn, block_type, mt, rules) {
            return None;
        }
        self.move_freepages_block(pfn, block_type, mt);
        self.rmqueue_smallest(cx, order, mt)
    }

    /// The first part of `try_to_claim_block()`: a free block of whole pageblocks becomes ours.
    pub(crate) fn take_whole_blocks(
        &mut self,
        cx: &mut impl Context,
        pfn: Pfn,
        c: u8,
        order: u8,
        from: Migratetype,
        mt: Migratetype,
    ) -> Option<Pfn> {
        if !T::OF_BLOCK {
            // Before v6.10 it went to the tail of the new list first, behind what lay there.
            self.pages.set_migratetype(pfn, c, mt);
            self.move_to_free_list(pfn, c, from, mt);
            return self.rmqueue_smallest(cx, order, mt);
        }
        self.del_page_from_free_list(pfn, c, from);
        self.account_freepages(-(1 << c), from);
        self.pages.set_migratetype(pfn, c, mt);
        self.expand(cx, pfn, order, c, mt);
        self.account_freepages((1 << c) - (1 << order), mt);
        Some(pfn)
    }

    /// Whether a pageblock is half free, or holds enough pages of our kind, to be ours.
    pub(crate) fn is_alike(&self, pfn: Pfn, block_type: Migratetype, mt: Migratetype, rules: FallbackRules) -> bool {
        let (free, movable) = self.count_pageblock(pfn);
        let alike = match (mt, block_type) {
            (Migratetype::Movable, _) => movable,
            // A block that was movable holds nothing else that we could keep company.
            (_, Migratetype::Movable) => PAGEBLOCK_NR_PAGES - (free + movable),
            _ => 0,
        };
        free + alike >= PAGEBLOCK_NR_PAGES / 2 || rules.mobility_disabled
    }

    /// `move_to_free_list()`: a free block goes to the tail of another list.
    pub(crate) fn move_to_free_list(&mut self, pfn: Pfn, order: u8, from: Migratetype, to: Migratetype) {
        self.del_page_from_free_list(pfn, order, from);
        self.add_to_free_list(pfn, order, to, true);
        self.account_moved(1 << order, from, to);
    }

    /// `boost_watermark()`. The flag that wakes kswapd lives only as long as this allocation, so the wake
    /// itself is left to the caller's own test of ALLOC_KSWAPD.
    pub(crate) fn boost_watermark(&mut self, rules: FallbackRules, flags: AllocFlags) {
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

    /// `prep_move_freepages_block()`: free pages and movable allocated pages of the pageblock of `pfn`. What is movable comes
    /// from the snapshot.
    fn count_pageblock(&self, pfn: Pfn) -> (u32, u32) {
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
        (free, movable)
    }

    /// `__move_freepages_block()` and the new type: every free buddy of the pageblock goes to the tail of its new list.
    /// Returns the pages moved.
    pub(crate) fn move_freepages_block(&mut self, pfn: Pfn, from: Migratetype, to: Migratetype) -> u32 {
        let start = pfn.pageblock_start();
        let moved = self.move_freepages(start, start.add(PAGEBLOCK_NR_PAGES), from, to);
        self.pages.set_migratetype(start, PAGEBLOCK_ORDER, to);
        moved
    }

    /// Every free buddy of a range goes to the tail of its new list. Before v6.10 they could come from several. Returns
    /// the pages moved.
    pub(crate) fn move_freepages(&mut self, start: Pfn, end: Pfn, from: Migratetype, to: Migratetype) -> u32 {
        let mut moved = 0;
        let mut at = start;
        while at < end {
            let order = match self.pages.buddy_order(at) {
                // Only before v6.10 a block of the largest order could be asked for here.
                None if !T::OF_BLOCK && self.pages.state(at) == PageState::Buddy(MAX_PAGE_ORDER) => MAX_PAGE_ORDER,
                None => {
                    at = at.add(1);
                    continue;
                }
                Some(order) => order,
            };
            let from = if T::OF_BLOCK { from } else { self.pages.list_type::<T>(at, order) };
            self.move_to_free_list(at, order, from, to);
            at = at.add(1 << order);
            moved += 1 << order;
        }
        moved
    }

    /// `__rmqueue_steal()`: one block from the smallest order of another type, whose pageblock keeps its type.
    fn rmqueue_steal(&mut self, cx: &mut impl Context, order: u8, mt: Migratetype) -> Option<Pfn> {
        for c in order..=MAX_PAGE_ORDER {
            let Some(from) = self.find_suitable_fallback(c, mt) else { continue };
            let pfn = self.area.lists[c as usize][from as usize].first();
            let page = self.take_single_page(cx, pfn, c, order, from, mt);
            self.trace_mm_page_alloc_extfrag(cx, pfn, order, c, mt, from);
            return page;
        }
        None
    }

    /// Takes a block out of another type's list, whose pageblock keeps its type.
    pub(crate) fn take_single_page(
        &mut self,
        cx: &mut impl Context,
        pfn: Pfn,
        c: u8,
        order: u8,
        from: Migratetype,
        mt: Migratetype,
    ) -> Option<Pfn> {
        if !T::OF_BLOCK {
            // Before v6.10 what was left of the block came on our own list.
            self.move_to_free_list(pfn, c, from, mt);
            return self.rmqueue_smallest(cx, order, mt);
        }
        self.del_page_from_free_list(pfn, c, from);
        self.expand(cx, pfn, order, c, from);
        self.account_freepages(-(1 << order), from);
        Some(pfn)
    }

    pub(crate) fn trace_mm_page_alloc_extfrag(
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
