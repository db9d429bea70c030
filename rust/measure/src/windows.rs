//! How long a fill keeps others out. Kernel: the locking of `mm/page_alloc.c` (v6.12): the per-CPU lists' lock
//! (`pcp_spin_trylock()`), the zone lock, and interrupts that are off.
//!
//! Which window keeps interrupts off depends on the build: on SMP the zone lock's, on UP the per-CPU lock's and any
//! zone lock outside it, on `PREEMPT_RT` none (both locks sleep). So the windows are measured once, and each build is
//! a choice among them.

use bulkpages_core::probe::{Event, Probe};

use crate::clock;
use crate::fill::Observer;

/// The windows of one fill, in clock counts, slots and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillWindows {
    /// Per-CPU lock: clock counts, all its windows together.
    pub pcp: u64,
    /// The longest of them.
    pub pcp_longest: u64,
    /// Slot tests inside them.
    pub pcp_tests: u64,
    /// Pages taken inside them.
    pub pcp_pages: u64,
    /// Zone lock: clock counts, all its windows together.
    pub zone: u64,
    /// The longest of them.
    pub zone_longest: u64,
    /// Pages moved inside them.
    pub zone_pages: u64,
    /// Longest window without interrupts on UP: of the per-CPU lock, and of the zone lock outside it.
    pub up_longest: u64,
    /// Slot tests outside the per-CPU lock: prefix scan and compaction.
    pub tests_outside: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// One entry for each fill.
    pub fills: Vec<FillWindows>,
    now: FillWindows,
    inside: bool,
    pcp_since: Option<u64>,
    zone_since: u64,
}

impl Probe for Windows {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, event: Event) {
        if !self.inside {
            return;
        }
        match event {
            Event::SlotTest { .. } if self.pcp_since.is_some() => self.now.pcp_tests += 1,
            Event::SlotTest { .. } => self.now.tests_outside += 1,
            Event::ListTake { .. } => self.now.pcp_pages += 1,
            Event::PcpTrylock { locked: true, .. } => self.pcp_since = Some(clock::now()),
            Event::PcpUnlock { .. } => {
                if let Some(since) = self.pcp_since.take() {
                    let took = clock::now() - since;
                    self.now.pcp += took;
                    self.now.pcp_longest = self.now.pcp_longest.max(took);
                    self.now.up_longest = self.now.up_longest.max(took);
                }
            }
            Event::ZoneLock { .. } => self.zone_since = clock::now(),
            Event::ZoneUnlock { pages, .. } => {
                let took = clock::now() - self.zone_since;
                self.now.zone += took;
                self.now.zone_longest = self.now.zone_longest.max(took);
                self.now.zone_pages += u64::from(pages);
                if self.pcp_since.is_none() {
                    self.now.up_longest = self.now.up_longest.max(took);
                }
            }
            _ => {}
        }
    }
}

impl Observer for Windows {
    fn begin(&mut self) {
        self.now = FillWindows::default();
        self.inside = true;
    }
    fn end(&mut self, _bulk_calls: u64, _slot_clears: u64) {
        self.inside = false;
        self.fills.push(self.now);
    }
}
