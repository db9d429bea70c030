//! The invariants of the allocator, as code. There is no kernel counterpart: `mm/page_alloc.c` (v6.12) checks single pages
//! only.
//!
//! The audit runs after every step of the property tests, on every loaded snapshot, and in `Machine.audit()`. Nothing
//! else may use the machine meanwhile.

use core::sync::atomic::Ordering::Relaxed;

use crate::error::{Error, Result};
use crate::gfp::{MIGRATE_TYPES, Migratetype};
use crate::machine::Machine;
use crate::page::{OfPage, PageState};
use crate::pcp::{order_to_pindex, pindex_to_order};
use crate::pfn::{NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, Pfn};
use crate::sync::{Lock, Locking};
use crate::zone::Zone;

macro_rules! ensure {
    ($cond:expr, $($text:tt)*) => {
        if !$cond {
            return Err(Error::Audit(format!($($text)*)));
        }
    };
}

/// What an audit counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub managed: u64,
    /// Pages on buddy lists.
    pub free: u64,
    /// Pages on per-CPU lists.
    pub pcp: u64,
    /// Pages owned by callers.
    pub allocated: u64,
    /// Pages that were the kernel's own when the machine was made.
    pub kernel: u64,
}

impl<L: Locking> Machine<L> {
    /// Checks every invariant.
    ///
    /// # Errors
    ///
    /// [`Error::Audit`] naming the first break.
    pub fn audit(&self) -> Result<Audit> {
        let mut sum = Audit::default();
        for zone in &self.zones {
            let found = self.audit_zone(zone)?;
            sum.managed += found.managed;
            sum.free += found.free;
            sum.pcp += found.pcp;
            sum.allocated += found.allocated;
            sum.kernel += found.kernel;
        }
        Ok(sum)
    }

    fn audit_zone(&self, zone: &Zone<L>) -> Result<Audit> {
        let name = format!("zone {}.{}", zone.nid, zone.idx);
        let mut blocks: Vec<(Pfn, u8)> = Vec::new();
        let free = self.audit_free_lists(zone, &name, &mut blocks)?;
        let pcp = self.audit_pcp(zone, &name, &mut blocks)?;
        // No two listed blocks overlap.
        blocks.sort_unstable();
        for pair in blocks.windows(2) {
            ensure!(
                pair[0].0.0 + (1 << pair[0].1) <= pair[1].0.0,
                "{name}: the blocks at pfn {} (order {}) and {} (order {}) overlap",
                pair[0].0,
                pair[0].1,
                pair[1].0,
                pair[1].1
            );
        }
        // Every page is free, on a per-CPU list, or owned by somebody.
        let (_, allocated) = self.pages.count_allocated(zone.start..zone.end());
        let kernel = zone.kernel_pages;
        ensure!(
            zone.managed == free + pcp + allocated + kernel,
            "{name}: managed {} is not free {free} + per-CPU {pcp} + allocated {allocated} + kernel {kernel}",
            zone.managed
        );
        Ok(Audit { managed: zone.managed, free, pcp, allocated, kernel })
    }

    fn audit_free_lists(&self, zone: &Zone<L>, name: &str, blocks: &mut Vec<(Pfn, u8)>) -> Result<u64> {
        let area = zone.area.0.lock();
        let (mut free, mut highatomic, mut cma) = (0, 0, 0);
        for order in 0..NR_PAGE_ORDERS as u8 {
            let mut on_order = 0;
            for mt in Migratetype::ALL {
                let list = &area.lists[usize::from(order)][mt as usize];
                let bit = zone.nonempty[mt as usize].load(Relaxed) >> order & 1 != 0;
                ensure!(bit != list.is_empty(), "{name}: non-empty bit of order {order} type {} is {bit}", mt as u8);
                let mut previous = Pfn::NULL;
                for pfn in list.iter(&self.pages, order) {
                    ensure!(
                        pfn.index() < self.pages.end().index()
                            && zone.spans(pfn)
                            && zone.spans(pfn.add((1 << order) - 1)),
                        "{name}: free pfn {pfn} of order {order} is outside the zone"
                    );
                    ensure!(pfn.is_aligned(order), "{name}: free pfn {pfn} is not aligned to order {order}");
                    ensure!(
                        self.pages.link(pfn, order).prev() == previous,
                        "{name}: link back from free pfn {pfn} of order {order} goes to {}, not {previous}",
                        self.pages.link(pfn, order).prev()
                    );
                    ensure!(
                        self.pages.state(pfn) == PageState::Buddy(order),
                        "{name}: pfn {pfn} on the free list of order {order} is {:?}",
                        self.pages.state(pfn)
                    );
                    for block in 0..(1u32 << order).div_ceil(PAGEBLOCK_NR_PAGES) {
                        let at = pfn.add(block * PAGEBLOCK_NR_PAGES);
                        let found = self.pages.migratetype(at);
                        ensure!(
                            found == mt
                                || !zone.rules.list_type_is_block_type
                                    && found != Migratetype::Cma
                                    && mt != Migratetype::Cma,
                            "{name}: free pfn {pfn} of order {order} is on a list of type {}, its block {at} has {}",
                            mt as u8,
                            found as u8
                        );
                    }
                    ensure!(
                        zone.rules.list_type_is_block_type || self.pages.list_type::<OfPage>(pfn, order) == mt,
                        "{name}: free pfn {pfn} of order {order} on a list of type {} carries {}",
                        mt as u8,
                        self.pages.list_type::<OfPage>(pfn, order) as u8
                    );
                    blocks.push((pfn, order));
                    previous = pfn;
                    on_order += 1;
                    ensure!(
                        on_order << order <= zone.spanned,
                        "{name}: the free lists of order {order} run in a circle"
                    );
                    match mt {
                        Migratetype::HighAtomic => highatomic += 1u64 << order,
                        Migratetype::Cma => cma += 1i64 << order,
                        _ => {}
                    }
                }
            }
            ensure!(
                area.nr_free[usize::from(order)] == on_order,
                "{name}: nr_free of order {order} is {}, the lists hold {on_order}",
                area.nr_free[usize::from(order)]
            );
            free += on_order << order;
        }
        let diff: i64 = area.diff.iter().map(|d| i64::from(d.diff)).sum();
        ensure!(
            zone.nr_free_pages.get() + diff == free as i64,
            "{name}: the free counter {} and the per-CPU differences {diff} do not make the {free} pages on the lists",
            zone.nr_free_pages.get()
        );
        let unusable = if zone.rules.highatomic_free_counted { highatomic } else { area.reserved_highatomic };
        ensure!(
            zone.nr_free_highatomic.get() == unusable as i64,
            "{name}: {} high-atomic pages are out of reach, not {unusable}; the lists hold {highatomic}",
            zone.nr_free_highatomic.get()
        );
        let diff_cma: i64 = area.diff_cma.iter().map(|&d| i64::from(d)).sum();
        ensure!(
            zone.nr_free_cma.get() + diff_cma == cma,
            "{name}: the counter of free CMA pages {} and the per-CPU differences {diff_cma} do not make the {cma} pages \
             on the lists",
            zone.nr_free_cma.get()
        );
        ensure!(
            zone.out_of_reach.get() == zone.nr_free_highatomic.get() + zone.free_cma_for_tests(),
            "{name}: {} pages are out of reach, not {} high-atomic and {} of CMA",
            zone.out_of_reach.get(),
            zone.nr_free_highatomic.get(),
            zone.free_cma_for_tests()
        );
        for (cpu, d) in area.diff.iter().enumerate() {
            ensure!(
                d.diff.abs() <= d.threshold.max(127),
                "{name}: difference {} of cpu {cpu} does not fit its counter",
                d.diff
            );
        }
        debug_assert_eq!(MIGRATE_TYPES, Migratetype::ALL.len());
        Ok(free)
    }

    fn audit_pcp(&self, zone: &Zone<L>, name: &str, blocks: &mut Vec<(Pfn, u8)>) -> Result<u64> {
        let mut sum = 0;
        for (cpu, pcp) in zone.pcp.iter().enumerate() {
            let pcp = pcp.0.lock();
            let mut count = 0u64;
            for (pindex, list) in pcp.lists.iter().enumerate() {
                let order = pindex_to_order(pindex);
                for pfn in list.iter() {
                    ensure!(
                        zone.spans(pfn) && self.pages.state(pfn) == PageState::Pcp(order),
                        "{name}: pfn {pfn} on list {pindex} of cpu {cpu} is {:?}",
                        self.pages.state(pfn)
                    );
                    ensure!(
                        pfn.is_aligned(order),
                        "{name}: pfn {pfn} on list {pindex} of cpu {cpu} is not aligned to order {order}"
                    );
                    blocks.push((pfn, order));
                    count += 1 << order;
                }
                debug_assert!(
                    pindex >= 12 || order_to_pindex(order, Migratetype::from_bits(pindex as u16 % 3)) == pindex
                );
            }
            ensure!(
                i64::from(pcp.count) == count as i64,
                "{name}: count of cpu {cpu} is {}, its lists hold {count}",
                pcp.count
            );
            sum += count;
        }
        Ok(sum)
    }
}
