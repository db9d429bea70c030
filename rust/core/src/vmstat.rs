//! Kernel: `mm/vmstat.c`, `vmstat_text[]`, `all_vm_events()`, `sum_zone_numa_event_state()` (v6.12).
//!
//! Event and NUMA counters as `/proc/vmstat` names them.

use core::sync::atomic::Ordering::Relaxed;

use crate::machine::Machine;
use crate::sync::Locking;
use crate::zone_type::{MAX_NR_ZONES, ZoneType};

/// The counters that the recorder reads, in its order.
pub const RECORDED_EVENTS: [&str; 12] = [
    "pgalloc_dma",
    "pgalloc_dma32",
    "pgalloc_normal",
    "pgalloc_movable",
    "pgfree",
    "allocstall_normal",
    "numa_hit",
    "numa_miss",
    "numa_foreign",
    "numa_interleave",
    "numa_local",
    "numa_other",
];

/// Event counters of the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmEvents {
    /// `pgalloc_*` by [`ZoneType`], pages.
    pub pgalloc: [u64; MAX_NR_ZONES],
    /// `pgfree`, pages.
    pub pgfree: u64,
    /// `allocstall_*` by the [`ZoneType`] of the request.
    pub allocstall: [u64; MAX_NR_ZONES],
    pub numa_hit: u64,
    pub numa_miss: u64,
    pub numa_foreign: u64,
    pub numa_local: u64,
    pub numa_other: u64,
}

impl VmEvents {
    /// In the order of [`RECORDED_EVENTS`].
    pub fn recorded(&self) -> [u64; 12] {
        let pgalloc = |zone: ZoneType| self.pgalloc[zone as usize];
        [
            pgalloc(ZoneType::Dma),
            pgalloc(ZoneType::Dma32),
            pgalloc(ZoneType::Normal),
            pgalloc(ZoneType::Movable),
            self.pgfree,
            self.allocstall[ZoneType::Normal as usize],
            self.numa_hit,
            self.numa_miss,
            self.numa_foreign,
            0,
            self.numa_local,
            self.numa_other,
        ]
    }
}

impl<L: Locking> Machine<L> {
    /// The event counters, summed over CPUs and zones.
    pub fn vm_events(&self) -> VmEvents {
        let mut sum = VmEvents::default();
        for (index, stalls) in self.allocstall.iter().enumerate() {
            if let Some(zone) = self.zone_types.get(index) {
                sum.allocstall[zone as usize] = stalls.load(Relaxed);
            }
        }
        for zone in &self.zones {
            let events = self.zone_events(zone);
            if let Some(zone) = self.zone_types.get(zone.idx.into()) {
                sum.pgalloc[zone as usize] += events.pgalloc;
            }
            sum.pgfree += events.pgfree;
            sum.numa_hit += events.numa_hit;
            sum.numa_miss += events.numa_miss;
            sum.numa_local += events.numa_local;
            sum.numa_other += events.numa_other;
            sum.numa_foreign += self.numa_foreign(zone);
        }
        sum
    }

    /// `nr_free_pages` as `/proc/vmstat` prints it: without the per-CPU differences.
    pub fn nr_free_pages(&self) -> u64 {
        self.zones.iter().map(|z| z.nr_free_pages.get()).sum::<i64>().max(0) as u64
    }

    /// The counters that the emulator keeps, by their names in `/proc/vmstat` and in its order.
    pub fn vmstat(&self) -> Vec<(&'static str, u64)> {
        let e = self.vm_events();
        let r = self.reclaim_info();
        let mut out = vec![
            ("nr_free_pages", self.nr_free_pages()),
            ("numa_hit", e.numa_hit),
            ("numa_miss", e.numa_miss),
            ("numa_foreign", e.numa_foreign),
            ("numa_interleave", 0),
            ("numa_local", e.numa_local),
            ("numa_other", e.numa_other),
            ("nr_inactive_file", r.file_pages),
        ];
        let zones = || (0..self.zone_types.len()).filter_map(|index| self.zone_types.get(index));
        out.extend(zones().map(|zone| (zone.pgalloc(), e.pgalloc[zone as usize])));
        out.extend(zones().map(|zone| (zone.allocstall(), e.allocstall[zone as usize])));
        out.extend([
            ("pgfree", e.pgfree),
            ("pgsteal_kswapd", r.events.pgsteal_kswapd),
            ("pgsteal_direct", r.events.pgsteal_direct),
            ("pgscan_kswapd", r.events.pgscan_kswapd),
            ("pgscan_direct", r.events.pgscan_direct),
            // Page cache is all that the model reclaims.
            ("pgscan_file", r.events.pgscan_kswapd + r.events.pgscan_direct),
            ("pgsteal_file", r.events.pgsteal_kswapd + r.events.pgsteal_direct),
            ("pageoutrun", r.events.pageoutrun),
            ("oom_kill", r.events.oom_kill),
        ]);
        out
    }
}
