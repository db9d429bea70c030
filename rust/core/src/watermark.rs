//! Kernel: `mm/page_alloc.c`, `__zone_watermark_ok()`, `zone_watermark_fast()`, `__setup_per_zone_wmarks()`,
//! `setup_per_zone_lowmem_reserve()`, `calculate_min_free_kbytes()`; `mm/vmstat.c`, `calculate_normal_threshold()`
//! (v6.12).
//!
//! Whether a zone has enough free pages for a request, and where the marks come from.

use core::sync::atomic::Ordering::Relaxed;

use crate::gfp::{AllocFlags, Migratetype};
use crate::math::{fls, kernel_clamp, mult_frac};
use crate::sync::Locking;
use crate::zone::{Zone, wmark};
use crate::zone_type::{ZoneType, ZoneTypes};

impl<L: Locking> Zone<L> {
    /// The free counter as tests read it: without per-CPU differences, never negative.
    #[inline]
    pub(crate) fn free_for_tests(&self) -> i64 {
        self.nr_free_pages.get().max(0)
    }

    /// `zone_watermark_fast()`: whether `order` can be had above `mark`, which includes the boost.
    #[inline]
    pub(crate) fn zone_watermark_fast(&self, order: u8, mark: i64, hz: u8, flags: AllocFlags) -> bool {
        if order == 0 && !flags.has(AllocFlags::NOT_PLAIN) {
            // Without reserve flags the fast and the full test of order 0 are one predicate. Who may use CMA is asked when
            // this test has failed.
            return self.free_for_tests() - self.out_of_reach.get() > mark + self.lowmem_reserve[hz as usize];
        }
        self.zone_watermark_fast_slow(order, mark, hz, flags)
    }

    /// `zone_watermark_fast()` of other orders and with other rights.
    #[inline(never)]
    pub(crate) fn zone_watermark_fast_slow(&self, order: u8, mark: i64, hz: u8, flags: AllocFlags) -> bool {
        if self.zone_watermark_ok(order, mark, hz, flags) {
            return true;
        }
        // Atomic order-0 requests see through the boost of MIN.
        let atomic = if self.rules.gfp_high_sees_through_boost { AllocFlags::MIN_RESERVE } else { AllocFlags::ATOMIC };
        order == 0
            && flags.has(atomic)
            && self.watermark_boost.get() != 0
            && flags.wmark() == wmark::MIN
            && self.zone_watermark_ok(order, self.watermark[wmark::MIN].get(), hz, flags)
    }

    /// `__zone_watermark_ok()` on the free counter.
    pub(crate) fn zone_watermark_ok(&self, order: u8, mark: i64, hz: u8, flags: AllocFlags) -> bool {
        self.__zone_watermark_ok(self.free_for_tests(), order, mark, hz, flags)
    }

    /// `__zone_watermark_ok()` on a given number of free pages.
    pub(crate) fn __zone_watermark_ok(&self, free: i64, order: u8, mark: i64, hz: u8, flags: AllocFlags) -> bool {
        let reserves = flags.has(AllocFlags::RESERVES);
        let highatomic = if reserves { 0 } else { self.nr_free_highatomic.get() };
        let cma = if flags.has(AllocFlags::CMA) { 0 } else { self.free_cma_for_tests() };
        let unusable = (1i64 << order) - 1 + highatomic + cma;
        let mut min = mark;
        if reserves {
            if flags.has(AllocFlags::MIN_RESERVE) {
                min -= min / 2;
                if flags.has(AllocFlags::NON_BLOCK) {
                    min -= min / 4;
                }
            }
            if flags.has(AllocFlags::OOM) {
                min -= min / 2;
            }
        }
        if free - unusable <= min + self.lowmem_reserve[hz as usize] {
            return false;
        }
        if order == 0 {
            return true;
        }
        // There must be a block that is large enough and of a type that the request may take.
        let has = |mt: Migratetype| self.nonempty[mt as usize].load(Relaxed) >> order != 0;
        has(Migratetype::Unmovable)
            || has(Migratetype::Movable)
            || has(Migratetype::Reclaimable)
            || flags.has(AllocFlags(AllocFlags::HIGHATOMIC.0 | AllocFlags::OOM.0)) && has(Migratetype::HighAtomic)
            || flags.has(AllocFlags::CMA) && has(Migratetype::Cma)
    }
}

/// The four marks of a zone, without boost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    pub min: u64,
    pub low: u64,
    pub high: u64,
    pub promo: u64,
}

/// `__setup_per_zone_wmarks()`. `zones` is (zone, managed pages) of every zone of the machine.
pub fn setup_per_zone_wmarks(
    zones: &[(ZoneType, u64)],
    min_free_kbytes: u64,
    watermark_scale_factor: u64,
) -> Vec<Marks> {
    marks_of(zones, min_free_kbytes, watermark_scale_factor, |zone| !zone.is_lowmem())
}

/// [`setup_per_zone_wmarks`] in v6.1: the Movable zone was a zone like the others, unless it held high memory.
pub fn setup_per_zone_wmarks_movable_alike(
    zones: &[(ZoneType, u64)],
    min_free_kbytes: u64,
    watermark_scale_factor: u64,
) -> Vec<Marks> {
    marks_of(zones, min_free_kbytes, watermark_scale_factor, |zone| zone == ZoneType::HighMem)
}

fn marks_of(
    zones: &[(ZoneType, u64)],
    min_free_kbytes: u64,
    watermark_scale_factor: u64,
    capped: impl Fn(ZoneType) -> bool,
) -> Vec<Marks> {
    let pages_min = min_free_kbytes >> 2;
    let lowmem: u64 = zones.iter().filter(|z| !capped(z.0)).map(|z| z.1).sum();
    zones
        .iter()
        .map(|&(zone, managed)| {
            let t = (pages_min * managed).checked_div(lowmem).unwrap_or(0);
            let min = if capped(zone) { kernel_clamp(managed / 1024, 32, 128) } else { t };
            let step = (t >> 2).max(mult_frac(managed, watermark_scale_factor, 10_000));
            Marks { min, low: min + step, high: min + 2 * step, promo: min + 3 * step }
        })
        .collect()
}

/// `calculate_min_free_kbytes()` at boot: from the free memory of the local node's zonelist up to Normal.
pub fn calculate_min_free_kbytes(lowmem_pages: u64) -> u64 {
    ((lowmem_pages * 4 * 16).isqrt()).clamp(128, 262_144)
}

/// What starting khugepaged raises `min_free_kbytes` to, for `zones` populated zones up to Normal and
/// `above_high` pages above the HIGH marks in force.
pub fn set_recommended_min_free_kbytes(zones: u64, above_high: u64) -> u64 {
    let pageblock = u64::from(crate::pfn::PAGEBLOCK_NR_PAGES);
    let recommended = pageblock * zones * 2 + pageblock * zones * 9;
    recommended.min(above_high / 20) * 4
}

/// RAM below which the kernel switches transparent huge pages off at boot, pages.
pub const THP_MIN_PAGES: u64 = 131_072;

/// `setup_per_zone_lowmem_reserve()` of one node: `managed` by zone index, and the reserve of each zone by the highest
/// zone index of a request.
pub fn setup_per_zone_lowmem_reserve(types: &ZoneTypes, managed: &[u64]) -> Vec<Vec<u64>> {
    let ratio = |i| types.get(i).map_or(0, ZoneType::lowmem_reserve_ratio);
    let above = |i: usize, j: usize| managed[i + 1..=j].iter().sum::<u64>();
    let reserve = |i: usize, j: usize| match (managed[i], j > i) {
        (0, _) | (_, false) => 0,
        _ => above(i, j).checked_div(ratio(i)).unwrap_or(0),
    };
    (0..types.len()).map(|i| (0..types.len()).map(|j| reserve(i, j)).collect()).collect()
}

pub fn calculate_normal_threshold(online_cpus: u64, managed: u64) -> u64 {
    (2 * fls(online_cpus) * (1 + fls(managed >> 15))).min(125)
}

/// `calculate_pressure_threshold()`: while kswapd is awake.
pub fn calculate_pressure_threshold(online_cpus: u64, low: u64, min: u64) -> u64 {
    ((low - min) / online_cpus).clamp(1, 125)
}
