//! Kernel: `struct zone`, `struct free_area`, `struct per_cpu_zonestat` (`include/linux/mmzone.h`) and
//! `__mod_zone_page_state()` (`mm/vmstat.c`) (v6.12).

use core::marker::PhantomData;
use core::sync::atomic::{AtomicI64, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::era::Rules;
use crate::gfp::{AllocFlags, MIGRATE_TYPES, Migratetype};
use crate::kswapd::Kswapd;
use crate::list::FreeList;
use crate::page::{ListType, OfBlock, PageMap};
use crate::pcp::PerCpuPages;
use crate::pfn::{NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfn};
use crate::probe::Event;
use crate::sync::{Lock, Locking};
use crate::zone_type::MAX_NR_ZONES;

/// Index of a watermark in [`Zone::watermark`].
pub mod wmark {
    pub const MIN: usize = 0;
    pub const LOW: usize = 1;
    pub const HIGH: usize = 2;
    pub const PROMO: usize = 3;
}

/// Bits of `zone->flags`, and of ours beside them: what a request or a free must know before it takes its usual way, in one
/// byte, so that one test tells it that there is nothing.
pub(crate) mod zflag {
    /// `ZONE_RECLAIM_ACTIVE`.
    pub(crate) const RECLAIM_ACTIVE: u8 = 1 << 1;
    /// `ZONE_BELOW_HIGH`.
    pub(crate) const BELOW_HIGH: u8 = 1 << 2;
    /// The node's kswapd is awake, and requests look at that.
    pub(crate) const KSWAPD_AWAKE: u8 = 1 << 3;
    /// The rule `below_high_noted` does not hold.
    pub(crate) const HIGH_NOT_TESTED: u8 = 1 << 4;
    /// `pcp_high_tuned` or `list_type_is_block_type` does not hold: frees take their older way.
    pub(crate) const OLDER_FREE: u8 = 1 << 5;
    /// The kernel has CMA blocks.
    pub(crate) const HAS_CMA: u8 = 1 << 6;
    /// Those that a request looks at.
    pub(crate) const ON_ALLOC: u8 = BELOW_HIGH | KSWAPD_AWAKE | HIGH_NOT_TESTED | HAS_CMA;
    /// Those that the kernel has too.
    pub(crate) const KERNEL: u8 = RECLAIM_ACTIVE | BELOW_HIGH;
}

/// A word that everybody may read and whoever holds the right lock may write.
#[derive(Debug, Default)]
pub struct Word(AtomicI64);

impl Word {
    /// A word with this value.
    pub fn new(value: i64) -> Word {
        Word(AtomicI64::new(value))
    }
    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }
    /// Adds, the caller being the only writer.
    #[inline]
    pub fn add(&self, delta: i64) {
        self.set(self.get() + delta);
    }
}

/// Lists of one order: one of each type, and as many more as make the way to a list a shift.
pub(crate) const LISTS: usize = MIGRATE_TYPES.next_power_of_two();

/// What the zone lock protects.
#[derive(Debug)]
pub struct FreeArea {
    pub(crate) lists: [[FreeList; LISTS]; NR_PAGE_ORDERS],
    /// Free blocks of each order, all types together.
    pub(crate) nr_free: [u64; NR_PAGE_ORDERS],
    /// Part of the free counter that each CPU has not folded into the zone's yet, and the bound on it.
    pub(crate) diff: Box<[Diff]>,
    /// The same part of the counter of free CMA pages; the bound is that of `diff`.
    pub(crate) diff_cma: Box<[i32]>,
    /// Pages in high-atomic blocks.
    pub(crate) reserved_highatomic: u64,
    /// Allocated pages that could be moved, by pageblock: given by a snapshot, left as it came.
    pub(crate) movable: Vec<(u32, u32)>,
    /// Events counted by whoever took or gave pages directly, by CPU.
    pub(crate) direct: Box<[Events]>,
}

impl FreeArea {
    /// `nr_free_pages_blocks`: free pages in blocks of a pageblock and more. Each such block is more than a CPU's difference
    /// can hold, so that the kernel's counter never lags behind the lists, and nothing has to be kept here.
    pub(crate) fn free_blocks(&self) -> i64 {
        let orders = usize::from(PAGEBLOCK_ORDER)..NR_PAGE_ORDERS;
        orders.map(|order| (self.nr_free[order] << order) as i64).sum()
    }
}

/// `vm_stat_diff[NR_FREE_PAGES]` and `stat_threshold` of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diff {
    pub(crate) diff: i32,
    pub(crate) threshold: i32,
}

/// Events and NUMA counters of one CPU in one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// `PGALLOC` of this zone, pages.
    pub pgalloc: u64,
    /// `PGFREE`, pages.
    pub pgfree: u64,
    /// `NUMA_HIT`, requests.
    pub numa_hit: u64,
    /// `NUMA_MISS`, requests.
    pub numa_miss: u64,
    /// `NUMA_LOCAL`, requests.
    pub numa_local: u64,
    /// `NUMA_OTHER`, requests.
    pub numa_other: u64,
}

impl core::ops::AddAssign for Events {
    fn add_assign(&mut self, other: Events) {
        self.pgalloc += other.pgalloc;
        self.pgfree += other.pgfree;
        self.numa_hit += other.numa_hit;
        self.numa_miss += other.numa_miss;
        self.numa_local += other.numa_local;
        self.numa_other += other.numa_other;
    }
}

/// A lock on cache lines of its own, so that neighbours do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// A zone of a node.
#[derive(Debug)]
pub struct Zone<L: Locking> {
    /// Index in the machine.
    pub(crate) index: usize,
    pub(crate) nid: usize,
    /// Zone index in the node.
    pub(crate) idx: u8,
    /// The build's index of ZONE_MOVABLE.
    pub(crate) movable_idx: u8,
    pub(crate) start: Pfn,
    pub(crate) spanned: u64,
    pub(crate) present: u64,
    pub(crate) managed: u64,
    pub(crate) watermark: [Word; 4],
    pub(crate) watermark_boost: Word,
    pub(crate) lowmem_reserve: [i64; MAX_NR_ZONES],
    pub(crate) drift_mark: u64,
    /// Threshold as the zone reports it.
    pub(crate) thresh: Word,
    /// `vm_stat[NR_FREE_PAGES]`: free pages without the per-CPU differences.
    pub(crate) nr_free_pages: Word,
    /// High-atomic pages that ordinary requests cannot have: `nr_free_highatomic`, or all that are reserved where the rule
    /// `highatomic_free_counted` does not hold.
    pub(crate) nr_free_highatomic: Word,
    /// `vm_stat[NR_FREE_CMA_PAGES]`.
    pub(crate) nr_free_cma: Word,
    /// The two together: what a request without any right cannot have.
    pub(crate) out_of_reach: Word,
    /// The kernel has CMA blocks, in whichever zone.
    pub(crate) has_cma: bool,
    /// [`zflag`].
    pub(crate) flags: AtomicU8,
    /// How this kernel works.
    pub(crate) rules: Rules,
    /// kswapd of the zone's node.
    pub(crate) kswapd: Arc<Kswapd>,
    /// A node with a higher number has memory (`next_memory_node()`).
    pub(crate) has_next_node: bool,
    /// Per type, one bit for each order whose list is not empty. Written under the zone lock, read without it.
    pub(crate) nonempty: [AtomicU16; MIGRATE_TYPES],
    /// `NUMA_FOREIGN`: requests that preferred this zone and were served elsewhere.
    pub(crate) numa_foreign: AtomicU64,
    /// Pages that were neither free nor on a per-CPU list when the machine was made: the kernel's own.
    pub(crate) kernel_pages: u64,
    pub(crate) area: Padded<L::Lock<FreeArea>>,
    pub(crate) pcp: Box<[Padded<L::Lock<PerCpuPages>>]>,
}

impl<L: Locking> Zone<L> {
    /// Node of the zone.
    pub fn nid(&self) -> usize {
        self.nid
    }

    /// Zone index in the node.
    pub fn idx(&self) -> u8 {
        self.idx
    }

    /// First frame behind the zone.
    #[inline]
    pub fn end(&self) -> Pfn {
        Pfn(self.start.0 + self.spanned as u32)
    }

    /// Whether the frame lies in the zone's span.
    #[inline]
    pub(crate) fn spans(&self, pfn: Pfn) -> bool {
        pfn >= self.start && pfn < self.end()
    }

    /// Whether the whole pageblock of a frame lies in the zone's span.
    #[inline]
    pub(crate) fn spans_pageblock(&self, pfn: Pfn) -> bool {
        let first = pfn.pageblock_start();
        self.spans(first) && self.spans(first.add(PAGEBLOCK_NR_PAGES - 1))
    }

    /// A watermark with the boost, as every test sees it.
    #[inline]
    pub(crate) fn wmark_pages(&self, mark: usize) -> i64 {
        self.watermark[mark].get() + self.watermark_boost.get()
    }

    /// `/proc/zoneinfo`'s flags word as the recorder prints it: bit 1 reclaim active, bit 2 below high. Bit 0, boosted,
    /// never outlives the allocation that sets it.
    pub(crate) fn flags(&self) -> u32 {
        u32::from(self.flags.load(Relaxed) & zflag::KERNEL)
    }

    /// Sets or clears flags of [`zflag`].
    #[inline]
    pub(crate) fn set_flag(&self, flag: u8, on: bool) {
        if on {
            self.flags.fetch_or(flag, Relaxed);
        } else {
            self.flags.fetch_and(!flag, Relaxed);
        }
    }

    /// `nr_free_highatomic`: free pages of the high-atomic reserve, 0 where the kernel does not count them.
    pub(crate) fn nr_free_highatomic(&self) -> i64 {
        if self.rules.highatomic_free_counted { self.nr_free_highatomic.get() } else { 0 }
    }

    /// `gfp_to_alloc_flags_cma()`: movable pages may lie in CMA blocks. It is asked where a request cannot do without, so
    /// that the usual way need not.
    #[inline]
    pub(crate) fn with_cma(&self, flags: AllocFlags, mt: Migratetype) -> AllocFlags {
        let may = self.has_cma && mt == Migratetype::Movable && !flags.has(AllocFlags::NO_CMA);
        if may { flags.with(AllocFlags::CMA) } else { flags }
    }

    /// `zone_page_state()` of `NR_FREE_CMA_PAGES`: without the per-CPU differences, never negative.
    #[inline]
    pub(crate) fn free_cma_for_tests(&self) -> i64 {
        self.nr_free_cma.get().max(0)
    }

    /// Brings [`Zone::out_of_reach`] up to date.
    pub(crate) fn sum_out_of_reach(&self) {
        self.out_of_reach.set(self.nr_free_highatomic.get() + self.free_cma_for_tests());
    }

    /// Runs `f` under the zone lock. The observer is told of both ends; nobody holds the lock when it is.
    #[inline(always)]
    pub(crate) fn with_lock<T: ListType, C: Context, R>(
        &self,
        cx: &mut C,
        pages: &PageMap,
        f: impl FnOnce(&mut LockedZone<'_, L, T>, &mut C) -> R,
    ) -> R {
        cx.tell(|| Event::ZoneLock { zone: self.index });
        let (result, moved) = {
            let mut locked = self.lock_untold(pages, cx.cpu());
            (f(&mut locked, cx), locked.moved)
        };
        cx.tell(|| Event::ZoneUnlock { zone: self.index, pages: moved });
        result
    }

    /// Takes the zone lock on behalf of `cpu` and tells nobody: while a machine is made, and between the lines of a trace.
    #[inline]
    pub(crate) fn lock_untold<'a, T: ListType>(&'a self, pages: &'a PageMap, cpu: usize) -> LockedZone<'a, L, T> {
        let area = self.area.0.lock();
        LockedZone { zone: self, pages, cpu, area, boosted: false, moved: 0, list_type: PhantomData }
    }
}

/// Compiles an expression for both [`ListType`]s and evaluates the one that the zone's rules ask for.
macro_rules! by_list_type {
    ($zone:expr, $T:ident => $body:expr) => {
        if $zone.rules.list_type_is_block_type {
            type $T = $crate::page::OfBlock;
            $body
        } else {
            type $T = $crate::page::OfPage;
            $body
        }
    };
}
pub(crate) use by_list_type;

/// A zone whose lock is held.
pub(crate) struct LockedZone<'a, L: Locking, T: ListType = OfBlock> {
    pub(crate) zone: &'a Zone<L>,
    pub(crate) pages: &'a PageMap,
    pub(crate) cpu: usize,
    pub(crate) area: <L::Lock<FreeArea> as Lock<FreeArea>>::Guard<'a>,
    /// `ZONE_BOOSTED_WATERMARK`: set by a boost on behalf of a request that may wake kswapd, tested and cleared on the
    /// way out of the same `rmqueue()`. Nobody else ever sees it set, so it lives here and not in the zone.
    pub(crate) boosted: bool,
    /// Pages that moved under this hold, for the observer.
    pub(crate) moved: u32,
    pub(crate) list_type: PhantomData<T>,
}

impl<L: Locking, T: ListType> LockedZone<'_, L, T> {
    /// `account_freepages()`: the free counter, and that of the high-atomic reserve or of CMA.
    #[inline]
    pub(crate) fn account_freepages(&mut self, delta: i64, mt: Migratetype) {
        self.mod_zone_page_state(delta);
        self.account_special(delta, mt);
    }

    /// What [`LockedZone::account_freepages`] does for the types that not every request may use.
    #[inline]
    fn account_special(&mut self, delta: i64, mt: Migratetype) {
        if mt >= Migratetype::HighAtomic {
            self.account_highatomic_or_cma(delta, mt);
        }
    }

    #[cold]
    fn account_highatomic_or_cma(&mut self, delta: i64, mt: Migratetype) {
        if mt == Migratetype::Cma {
            let cpu = self.cpu;
            let x = self.area.diff_cma[cpu] + delta as i32;
            let fold = x.abs() > self.area.diff[cpu].threshold;
            self.area.diff_cma[cpu] = if fold { 0 } else { x };
            if fold {
                self.zone.nr_free_cma.add(i64::from(x));
            }
        } else if self.zone.rules.highatomic_free_counted {
            self.zone.nr_free_highatomic.add(delta);
        }
        self.zone.sum_out_of_reach();
    }

    /// Accounts for pages that leave a list for good. Before v6.10 `rmqueue_bulk()` and `rmqueue_buddy()` took them off
    /// the counter at their end, all at once.
    #[inline]
    pub(crate) fn account_taken(&mut self, pages: i64, mt: Migratetype) {
        if T::OF_BLOCK {
            self.account_freepages(-pages, mt);
        } else {
            self.account_special(-pages, mt);
        }
    }

    /// The other half of [`LockedZone::account_taken`].
    #[inline]
    pub(crate) fn account_all_taken(&mut self, pages: i64) {
        if !T::OF_BLOCK {
            self.mod_zone_page_state(-pages);
        }
    }

    /// Accounts for free pages that change their list. Before v6.10 nothing else than the list changed.
    #[inline]
    pub(crate) fn account_moved(&mut self, pages: i64, from: Migratetype, to: Migratetype) {
        if T::OF_BLOCK {
            self.account_freepages(-pages, from);
            self.account_freepages(pages, to);
        } else {
            self.account_special(-pages, from);
            self.account_special(pages, to);
        }
    }

    /// Changes the size of the high-atomic reserve.
    pub(crate) fn set_reserved_highatomic(&mut self, pages: u64) {
        self.area.reserved_highatomic = pages;
        if !self.zone.rules.highatomic_free_counted {
            self.zone.nr_free_highatomic.set(pages as i64);
            self.zone.sum_out_of_reach();
        }
    }

    /// `__mod_zone_page_state()` of `NR_FREE_PAGES`: by way of this CPU's difference, folded in above its threshold.
    #[inline]
    fn mod_zone_page_state(&mut self, delta: i64) {
        let cpu = self.cpu;
        let Diff { diff, threshold } = self.area.diff[cpu];
        let x = diff + delta as i32;
        self.area.diff[cpu].diff = if x.abs() > threshold {
            self.zone.nr_free_pages.add(i64::from(x));
            0
        } else {
            x
        };
    }

    /// `__add_to_free_list()`.
    #[inline]
    pub(crate) fn add_to_free_list(&mut self, pfn: Pfn, order: u8, mt: Migratetype, tail: bool) {
        let list = &mut self.area.lists[order as usize][mt as usize];
        if list.is_empty() {
            let mask = &self.zone.nonempty[mt as usize];
            mask.store(mask.load(Relaxed) | 1 << order, Relaxed);
        }
        if tail {
            list.add_tail(self.pages, pfn, order);
        } else {
            list.add_head(self.pages, pfn, order);
        }
        self.area.nr_free[order as usize] += 1;
        self.pages.set_buddy::<T>(pfn, order, mt);
    }

    /// `__del_page_from_free_list()`.
    #[inline]
    pub(crate) fn del_page_from_free_list(&mut self, pfn: Pfn, order: u8, mt: Migratetype) {
        let list = &mut self.area.lists[order as usize][mt as usize];
        list.remove(self.pages, pfn, order);
        if list.is_empty() {
            let mask = &self.zone.nonempty[mt as usize];
            mask.store(mask.load(Relaxed) & !(1 << order), Relaxed);
        }
        self.area.nr_free[order as usize] -= 1;
        self.pages.set_none(pfn, order);
    }

    /// Orders with a free block of this type, one bit each.
    #[inline]
    pub(crate) fn nonempty(&self, mt: Migratetype) -> u16 {
        self.zone.nonempty[mt as usize].load(Relaxed)
    }
}
