//! What no timer can disturb: how often each thing happens.

use bulkpages_core::fault::NoFault;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Machine, Result};

use crate::steps::Steps;
use crate::trial::Workload;

/// Counts of one or many calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Slots read to see whether they are NULL.
    pub slot_tests: u64,
    /// Slots stored to.
    pub slot_writes: u64,
    /// Blocks taken from per-CPU lists.
    pub list_takes: u64,
    /// Refills of per-CPU lists.
    pub refills: u64,
    /// Zone lock holds.
    pub zone_locks: u64,
    /// Most pages moved under one zone lock hold.
    pub longest_hold_pages: u64,
    /// Per-CPU list trylocks.
    pub trylocks: u64,
    pub trylock_failures: u64,
    /// Bulk calls that ended in the single-page path.
    pub bulk_singles: u64,
    /// Single-page requests, those of bulk calls included.
    pub single_calls: u64,
    /// Bulk calls; known of fills by callers alone.
    pub bulk_calls: u64,
    /// Slots cleared by `memset`; known of fills by callers alone.
    pub slot_clears: u64,
    /// The same by place, as the kernel's instructions depend on it.
    pub steps: Steps,
}

impl Probe for Counts {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        self.steps.event(event);
        match event {
            Event::SlotTest { .. } => self.slot_tests += 1,
            Event::SlotWrite { .. } => self.slot_writes += 1,
            Event::ListTake { .. } => self.list_takes += 1,
            Event::Refill { .. } => self.refills += 1,
            Event::ZoneLock { .. } => self.zone_locks += 1,
            Event::ZoneUnlock { pages, .. } => self.longest_hold_pages = self.longest_hold_pages.max(pages.into()),
            Event::PcpTrylock { locked, .. } => {
                self.trylocks += 1;
                self.trylock_failures += u64::from(!locked);
            }
            Event::BulkSingle { .. } => self.bulk_singles += 1,
            Event::PageAlloc { .. } => self.single_calls += 1,
            _ => {}
        }
    }
}

/// Counts over `iterations` of a workload, its frees included, and the pages it allocated.
///
/// # Errors
///
/// As [`Workload::run`].
pub fn count<L: Locking>(machine: &Machine<L>, workload: Workload, iterations: u64) -> Result<(Counts, u64)> {
    let mut cx = Ctx { cpu: 0, probe: Counts::default(), fault: NoFault };
    let sample = workload.run_with(machine, &mut cx, iterations)?;
    Ok((cx.probe, sample.pages))
}
