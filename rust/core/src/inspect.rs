//! Kernel: what `/proc/zoneinfo` prints of a zone and of a CPU's lists (`mm/vmstat.c`, `zoneinfo_show_print()`) (v6.12),
//! as plain values.

use crate::error::Result;
use crate::machine::Machine;
use crate::pcp::NR_PCP_LISTS;
use crate::pfn::Pfn;
use crate::sync::{Lock, Locking};

/// A zone at one moment; sizes and marks in pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneInfo {
    pub nid: usize,
    pub idx: u8,
    pub start: u64,
    pub spanned: u64,
    pub present: u64,
    pub managed: u64,
    /// Free counter, without per-CPU differences.
    pub nr_free: i64,
    /// Pages on the free lists.
    pub free_pages: i64,
    /// MIN, LOW, HIGH, PROMO without boost.
    pub watermark: [i64; 4],
    pub boost: i64,
    pub lowmem_reserve: Vec<i64>,
    pub flags: u32,
    pub reserved_highatomic: u64,
    pub free_highatomic: i64,
    /// Free pages of CMA, without per-CPU differences.
    pub free_cma: i64,
}

/// The lists of one CPU in one zone at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcpInfo {
    pub count: i32,
    pub high: i32,
    pub high_min: i32,
    pub high_max: i32,
    pub batch: i32,
    pub flags: u32,
    pub alloc_factor: u32,
    pub expire: u32,
    pub free_count: i32,
    /// Another CPU holds the lock.
    pub held: bool,
    /// First frames of each list, in list order.
    pub lists: [Vec<Pfn>; NR_PCP_LISTS],
}

impl<L: Locking> Machine<L> {
    /// A zone by its index in the machine.
    ///
    /// # Errors
    ///
    /// When there is no such zone.
    pub fn zone_info(&self, index: usize) -> Result<ZoneInfo> {
        let zone = self.check_zone(index)?;
        let free_pages = self.free_pages_exact(zone);
        let reserved_highatomic = zone.area.0.lock().reserved_highatomic;
        Ok(ZoneInfo {
            nid: zone.nid,
            idx: zone.idx,
            start: zone.start.0.into(),
            spanned: zone.spanned,
            present: zone.present,
            managed: zone.managed,
            nr_free: zone.nr_free_pages.get(),
            free_pages,
            watermark: core::array::from_fn(|i| zone.watermark[i].get()),
            boost: zone.watermark_boost.get(),
            lowmem_reserve: zone.lowmem_reserve[..self.zone_types.len()].to_vec(),
            flags: zone.flags(),
            reserved_highatomic,
            free_highatomic: zone.nr_free_highatomic(),
            free_cma: zone.nr_free_cma.get(),
        })
    }

    /// The lists of `cpu` in a zone.
    ///
    /// # Errors
    ///
    /// When there is no such zone or CPU.
    pub fn pcp_info(&self, index: usize, cpu: usize) -> Result<PcpInfo> {
        self.check_cpu(cpu)?;
        let pcp = self.check_zone(index)?.pcp[cpu].0.lock();
        Ok(PcpInfo {
            count: pcp.count,
            high: pcp.high,
            high_min: pcp.high_min,
            high_max: pcp.high_max,
            batch: pcp.batch,
            flags: pcp.flags,
            alloc_factor: pcp.alloc_factor,
            expire: pcp.expire,
            free_count: pcp.free_count,
            held: pcp.held,
            lists: core::array::from_fn(|i| pcp.lists[i].iter().collect()),
        })
    }

    /// NUMA counters of a zone: hit, miss, foreign, local, other.
    ///
    /// # Errors
    ///
    /// When there is no such zone.
    pub fn zone_numa(&self, index: usize) -> Result<(u64, u64, u64, u64, u64)> {
        let zone = self.check_zone(index)?;
        let e = self.zone_events(zone);
        Ok((e.numa_hit, e.numa_miss, self.numa_foreign(zone), e.numa_local, e.numa_other))
    }
}
