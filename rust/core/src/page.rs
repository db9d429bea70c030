//! Kernel: `struct page` and the pageblock bitmap, as far as the allocator uses them (`include/linux/mm_types.h`,
//! `page-flags.h`, `mm/page_alloc.c` `get_pfnblock_flags_mask()`) (v6.12); `get_pcppage_migratetype()` (before v6.10).
//!
//! The state of each page frame, in flat tables indexed by frame number: 11 bytes a frame (the kernel's descriptor has
//! 64), all zero until used, so untouched memory costs nothing.
//!
//! # Invariants
//!
//! * The state of a frame is `BUDDY | order` exactly for the head of a free block below order 10, `PCP | order` for
//!   the head of a block on a per-CPU list, `ALLOC | order` for the head of a block that a caller owns; everything
//!   else, heads of free order-10 blocks among it, is `NONE`. Order-10 heads keep their state in `max_state`, one byte
//!   for 1024 frames: a terabyte of untouched memory then needs a few megabytes.
//! * The links of a frame mean something only while it heads a free block.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use crate::gfp::Migratetype;
use crate::pfn::{MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::sync::Locking;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Not the head of a block that the emulator knows: a tail, a page of the kernel itself, or no memory.
    None,
    /// Head of a free block of this order.
    Buddy(u8),
    /// Head of a block on a per-CPU list.
    Pcp(u8),
    /// Head of a block that somebody owns.
    Allocated(u8),
}

const KIND: u8 = 0x30;
const BUDDY: u8 = 0x10;
const PCP: u8 = 0x20;
const ALLOC: u8 = 0x30;
/// Set beside `ALLOC` while a page has more than one reference.
const SHARED_PAGE: u8 = 0x80;
/// Set beside `ALLOC` while a free of many pages is being checked, so that a page named twice is found.
const FREEING: u8 = 0x40;
const ORDER: u8 = 0x0f;
/// Where pages carry a type ([`OfPage`]): beside `BUDDY` and `PCP`, the type whose free list the block is on, or was taken
/// from.
const TYPE_SHIFT: u32 = 6;

/// A type as the state of a page carries it: CMA like HIGHATOMIC, which the pageblock tells apart.
fn carried(mt: Migratetype) -> u8 {
    (mt as u8).min(Migratetype::HighAtomic as u8) << TYPE_SHIFT
}

/// Whose type says which free list a block is on.
pub(crate) trait ListType {
    /// Its pageblock's, always: nothing is kept with the page.
    const OF_BLOCK: bool;
}

/// The pageblock's type (v6.10 and later).
#[derive(Debug)]
pub(crate) enum OfBlock {}

impl ListType for OfBlock {
    const OF_BLOCK: bool = true;
}

/// The type that the page carries: that of the list which it was put on last (before v6.10, `set_pcppage_migratetype()`).
#[derive(Debug)]
pub(crate) enum OfPage {}

impl ListType for OfPage {
    const OF_BLOCK: bool = false;
}

/// Block type stored for a block without memory; snapshots write it as 9.
const HOLE: u16 = 7;
const TYPE_MASK: u16 = 7;
const ZONE_SHIFT: u32 = 3;
/// Zone field of a block that no zone covers.
const NO_ZONE: u16 = 0x1fff;
/// Zone field of a block that several zones share.
const SHARED: u16 = 0x1ffe;

/// Links of a free block on its list.
#[derive(Debug, Default)]
pub(crate) struct Link {
    prev: AtomicU32,
    next: AtomicU32,
}

// SAFETY: `Link` is two `AtomicU32`, for which all bytes zero is a value.
unsafe impl bytemuck::Zeroable for Link {}

impl Link {
    #[inline]
    pub(crate) fn prev(&self) -> Pfn {
        Pfn(self.prev.load(Relaxed))
    }
    #[inline]
    pub(crate) fn next(&self) -> Pfn {
        Pfn(self.next.load(Relaxed))
    }
    #[inline]
    pub(crate) fn set_prev(&self, pfn: Pfn) {
        self.prev.store(pfn.0, Relaxed);
    }
    #[inline]
    pub(crate) fn set_next(&self, pfn: Pfn) {
        self.next.store(pfn.0, Relaxed);
    }
}

/// The tables. Fields are relaxed atomics so that several threads may use a machine; who may write what is decided by
/// the zone locks, the per-CPU list locks and ownership.
#[derive(Debug)]
pub struct PageMap {
    state: Box<[AtomicU8]>,
    links: Box<[Link]>,
    /// References beyond the first in the low byte, number of the page_pool in the high one.
    owner: Box<[AtomicU16]>,
    max_state: Box<[AtomicU8]>,
    max_links: Box<[Link]>,
    /// Per pageblock: type in the low three bits, zone above.
    blocks: Box<[AtomicU16]>,
}

impl PageMap {
    /// Tables for frames `0..end`, all untouched.
    pub(crate) fn new(end: Pfn) -> PageMap {
        let max_block = 1usize << MAX_PAGE_ORDER;
        let n = end.index().next_multiple_of(max_block);
        let blocks: Box<[AtomicU16]> = bytemuck::zeroed_slice_box(n >> PAGEBLOCK_ORDER);
        for block in &blocks {
            block.store(NO_ZONE << ZONE_SHIFT | HOLE, Relaxed);
        }
        PageMap {
            state: bytemuck::zeroed_slice_box(n),
            links: bytemuck::zeroed_slice_box(n),
            owner: bytemuck::zeroed_slice_box(n),
            max_state: bytemuck::zeroed_slice_box(n >> MAX_PAGE_ORDER),
            max_links: bytemuck::zeroed_slice_box(n >> MAX_PAGE_ORDER),
            blocks,
        }
    }

    /// First frame behind the tables.
    #[inline]
    pub fn end(&self) -> Pfn {
        Pfn(self.state.len() as u32)
    }

    #[inline]
    pub(crate) fn link(&self, pfn: Pfn, order: u8) -> &Link {
        if order == MAX_PAGE_ORDER { &self.max_links[pfn.index() >> MAX_PAGE_ORDER] } else { &self.links[pfn.index()] }
    }

    /// What heads at this frame; `None` for a frame behind the tables.
    pub fn state(&self, pfn: Pfn) -> PageState {
        let Some(state) = self.state.get(pfn.index()) else { return PageState::None };
        let state = state.load(Relaxed);
        match state & KIND {
            BUDDY => PageState::Buddy(state & ORDER),
            PCP => PageState::Pcp(state & ORDER),
            ALLOC => PageState::Allocated(state & ORDER),
            _ if pfn.is_aligned(MAX_PAGE_ORDER) && self.max_state[pfn.index() >> MAX_PAGE_ORDER].load(Relaxed) != 0 => {
                PageState::Buddy(MAX_PAGE_ORDER)
            }
            _ => PageState::None,
        }
    }

    #[inline]
    pub(crate) fn set_none(&self, pfn: Pfn, order: u8) {
        if order == MAX_PAGE_ORDER {
            self.max_state[pfn.index() >> MAX_PAGE_ORDER].store(0, Relaxed);
        } else {
            self.state[pfn.index()].store(0, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn set_buddy<T: ListType>(&self, pfn: Pfn, order: u8, mt: Migratetype) {
        let carried = if T::OF_BLOCK { 0 } else { carried(mt) };
        if order == MAX_PAGE_ORDER {
            self.max_state[pfn.index() >> MAX_PAGE_ORDER].store(1 | carried, Relaxed);
        } else {
            self.state[pfn.index()].store(BUDDY | order | carried, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn set_pcp<T: ListType>(&self, pfn: Pfn, order: u8, mt: Migratetype) {
        let carried = if T::OF_BLOCK { 0 } else { carried(mt) };
        self.state[pfn.index()].store(PCP | order | carried, Relaxed);
    }

    /// Type of the free list that a free block is on, or of the one that a block on a per-CPU list goes back to.
    #[inline]
    pub(crate) fn list_type<T: ListType>(&self, pfn: Pfn, order: u8) -> Migratetype {
        if T::OF_BLOCK {
            return self.migratetype(pfn);
        }
        let state = if order == MAX_PAGE_ORDER {
            &self.max_state[pfn.index() >> MAX_PAGE_ORDER]
        } else {
            &self.state[pfn.index()]
        };
        match state.load(Relaxed) >> TYPE_SHIFT {
            // Two bits hold four types. Free pages of a CMA block are always on lists of CMA, and no other is.
            3 if self.migratetype(pfn) == Migratetype::Cma => Migratetype::Cma,
            carried => Migratetype::from_bits(u16::from(carried)),
        }
    }

    #[inline]
    pub(crate) fn set_allocated(&self, pfn: Pfn, order: u8) {
        self.setting_allocated(order)(pfn);
    }

    /// [`PageMap::set_allocated`] for many blocks: where the table is, is looked up once.
    #[inline(always)]
    pub(crate) fn setting_allocated(&self, order: u8) -> impl Fn(Pfn) + use<'_> {
        let state = &self.state[..];
        move |pfn| state[pfn.index()].store(ALLOC | order, Relaxed)
    }

    /// The block at this frame is nobody's any more and not yet on a list.
    #[inline]
    pub(crate) fn clear_head(&self, pfn: Pfn) {
        self.state[pfn.index()].store(0, Relaxed);
    }

    /// Whether a free block of exactly `order`, below 10, starts here.
    #[inline]
    pub(crate) fn is_buddy<T: ListType>(&self, pfn: Pfn, order: u8) -> bool {
        let state = self.state[pfn.index()].load(Relaxed);
        (if T::OF_BLOCK { state } else { state & (KIND | ORDER) }) == BUDDY | order
    }

    /// Whether an owned block of this order can go back now. Where several threads run, it is claimed at the same
    /// time, so that only one of them frees it.
    #[inline]
    pub(crate) fn claim_owned<L: Locking>(&self, pfn: Pfn, order: u8) -> bool {
        if L::PARALLEL {
            return self.claim_for_free(pfn, order);
        }
        self.state.get(pfn.index()).is_some_and(|s| s.load(Relaxed) == ALLOC | order)
    }

    /// Claims an owned block for freeing, so that nobody else can free it too. Gives `false` when it is not an owned
    /// block of this order.
    pub(crate) fn claim_for_free(&self, pfn: Pfn, order: u8) -> bool {
        self.state
            .get(pfn.index())
            .is_some_and(|s| s.compare_exchange(ALLOC | order, FREEING | ALLOC | order, Relaxed, Relaxed).is_ok())
    }

    /// Takes back [`PageMap::claim_for_free`].
    pub(crate) fn unclaim(&self, pfn: Pfn, order: u8) {
        self.set_allocated(pfn, order);
    }

    /// `page_ref_count()` of an owned page: 0 when nobody owns it.
    #[inline]
    pub fn ref_count(&self, pfn: Pfn) -> u32 {
        let Some(state) = self.state.get(pfn.index()).map(|s| s.load(Relaxed)) else { return 0 };
        match state & (KIND | SHARED_PAGE) {
            ALLOC => 1,
            s if s == ALLOC | SHARED_PAGE => 1 + u32::from(self.owner[pfn.index()].load(Relaxed) & 0xff),
            _ => 0,
        }
    }

    /// Whether the page is owned, order 0, with exactly one reference.
    #[inline]
    pub fn has_one_ref(&self, pfn: Pfn) -> bool {
        self.state[pfn.index()].load(Relaxed) == ALLOC
    }

    /// `get_page()`: one more reference, at most 256; `false` for a page that nobody owns.
    #[inline]
    pub(crate) fn get_ref<L: Locking>(&self, pfn: Pfn) -> bool {
        let Some(state) = self.state.get(pfn.index()) else { return false };
        let owner = &self.owner[pfn.index()];
        let now = self.begin_ref::<L>(state);
        let refs = owner.load(Relaxed);
        if now & KIND != ALLOC || refs & 0xff == 0xff {
            Self::end_ref::<L>(state, now, now);
            return false;
        }
        owner.store(refs + 1, Relaxed);
        Self::end_ref::<L>(state, now, now | SHARED_PAGE);
        true
    }

    /// Drops a reference of a page that has several; `false` when it has only one, or none.
    #[inline]
    pub(crate) fn put_ref<L: Locking>(&self, pfn: Pfn) -> bool {
        let Some(state) = self.state.get(pfn.index()) else { return false };
        // Whoever drops a reference holds one, so a page that is not shared now cannot become so meanwhile.
        if state.load(Relaxed) & SHARED_PAGE == 0 {
            return false;
        }
        let now = self.begin_ref::<L>(state);
        if now & (KIND | SHARED_PAGE) != ALLOC | SHARED_PAGE {
            Self::end_ref::<L>(state, now, now);
            return false;
        }
        let owner = &self.owner[pfn.index()];
        let refs = owner.load(Relaxed) - 1;
        owner.store(refs, Relaxed);
        let shared = if refs & 0xff == 0 { 0 } else { SHARED_PAGE };
        Self::end_ref::<L>(state, now, now & !SHARED_PAGE | shared);
        true
    }

    /// The state of a page whose references are about to change. Where several threads run, an owned page is claimed
    /// meanwhile, as for a free: count and flag are two words that change as one.
    #[inline]
    fn begin_ref<L: Locking>(&self, state: &AtomicU8) -> u8 {
        let mut now = state.load(Relaxed);
        if L::PARALLEL {
            while now & KIND == ALLOC {
                let free = now & !FREEING;
                match state.compare_exchange_weak(free, free | FREEING, Acquire, Relaxed) {
                    Ok(_) => return free,
                    Err(other) => now = other,
                }
                // Somebody changes the count, which takes nanoseconds, or frees the page, which ends with no owner.
                std::thread::yield_now();
            }
        }
        now
    }

    /// Ends [`PageMap::begin_ref`], which gave `from`: stores the new state.
    #[inline]
    fn end_ref<L: Locking>(state: &AtomicU8, from: u8, to: u8) {
        if !L::PARALLEL {
            state.store(to, Relaxed);
        } else if from & KIND == ALLOC {
            state.store(to, Release);
        }
    }

    /// The page_pool that an owned page carries the mark of, 0 for none.
    #[inline]
    pub fn pool(&self, pfn: Pfn) -> u8 {
        self.owner.get(pfn.index()).map_or(0, |o| (o.load(Relaxed) >> 8) as u8)
    }

    /// Marks an owned page as a page_pool's; 0 takes the mark away.
    #[inline]
    pub fn set_pool(&self, pfn: Pfn, pool: u8) {
        let owner = &self.owner[pfn.index()];
        owner.store(owner.load(Relaxed) & 0xff | u16::from(pool) << 8, Relaxed);
    }

    /// Order of the free block that starts here, 0 to 9.
    #[inline]
    pub(crate) fn buddy_order(&self, pfn: Pfn) -> Option<u8> {
        let state = self.state[pfn.index()].load(Relaxed);
        (state & KIND == BUDDY).then_some(state & ORDER)
    }

    /// Number of blocks owned by callers, and their pages, in `frames`.
    pub(crate) fn count_allocated(&self, frames: core::ops::Range<Pfn>) -> (u64, u64) {
        let mut found = (0, 0);
        for state in &self.state[frames.start.index()..frames.end.index().min(self.state.len())] {
            let state = state.load(Relaxed);
            if state & KIND == ALLOC {
                found.0 += 1;
                found.1 += 1u64 << (state & ORDER);
            }
        }
        found
    }

    /// Blocks owned by callers in `frames`: first frame and order, by frame.
    pub(crate) fn allocated(&self, frames: core::ops::Range<Pfn>) -> impl Iterator<Item = (Pfn, u8)> + '_ {
        let end = frames.end.index().min(self.state.len());
        let states = self.state[frames.start.index()..end].iter().enumerate();
        states.filter_map(move |(i, state)| {
            let state = state.load(Relaxed);
            (state & KIND == ALLOC).then(|| (Pfn(frames.start.0 + i as u32), state & ORDER))
        })
    }

    /// Type and zone index of the pageblock of a frame, in one load.
    #[inline]
    pub(crate) fn block(&self, pfn: Pfn) -> Block {
        Block(self.blocks[pfn.index() >> PAGEBLOCK_ORDER].load(Relaxed))
    }

    /// `get_pageblock_migratetype()`.
    #[inline]
    pub fn migratetype(&self, pfn: Pfn) -> Migratetype {
        self.block(pfn).migratetype()
    }

    /// `set_pageblock_migratetype()` for every pageblock of a block of `order` at `pfn`.
    pub(crate) fn set_migratetype(&self, pfn: Pfn, order: u8, mt: Migratetype) {
        let first = pfn.index() >> PAGEBLOCK_ORDER;
        let count = (1usize << order).div_ceil(PAGEBLOCK_NR_PAGES as usize);
        for block in &self.blocks[first..first + count] {
            block.store(block.load(Relaxed) & !TYPE_MASK | mt as u16, Relaxed);
        }
    }

    /// Type of pageblock `index` as a snapshot writes it: 9 for a block without memory.
    pub(crate) fn block_type_raw(&self, index: usize) -> u32 {
        match self.blocks[index].load(Relaxed) & TYPE_MASK {
            HOLE => 9,
            mt => u32::from(mt),
        }
    }

    /// Sets what [`PageMap::block_type_raw`] gives; `false` for a number that is no type.
    pub(crate) fn set_block_type_raw(&self, index: usize, raw: u32) -> bool {
        let bits = match raw {
            0..=4 => raw as u16,
            9 => HOLE,
            _ => return false,
        };
        let block = &self.blocks[index];
        block.store(block.load(Relaxed) & !TYPE_MASK | bits, Relaxed);
        true
    }

    /// Notes that frames `start..end` belong to zone `zone`.
    pub(crate) fn set_zone(&self, start: Pfn, end: Pfn, zone: usize) {
        let blocks = start.index() >> PAGEBLOCK_ORDER..(end.index()).div_ceil(PAGEBLOCK_NR_PAGES as usize);
        for block in &self.blocks[blocks] {
            let old = block.load(Relaxed);
            let field = if old >> ZONE_SHIFT == NO_ZONE { zone as u16 } else { SHARED };
            block.store(old & TYPE_MASK | field << ZONE_SHIFT, Relaxed);
        }
    }
}

/// Type and zone of a pageblock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block(u16);

impl Block {
    #[inline]
    pub(crate) fn migratetype(self) -> Migratetype {
        Migratetype::from_bits(self.0)
    }

    /// Index of the zone, if the whole block belongs to one.
    #[inline]
    pub(crate) fn zone(self) -> Option<usize> {
        let zone = self.0 >> ZONE_SHIFT;
        (zone < SHARED).then_some(zone as usize)
    }

    /// Whether the block lies in several zones.
    #[inline]
    pub(crate) fn is_shared(self) -> bool {
        self.0 >> ZONE_SHIFT == SHARED
    }
}
