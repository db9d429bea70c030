//! Kernel: `mm/vmscan.c`, `try_to_free_pages()` (v6.12), as a declared model: the machine has no page cache and no
//! anonymous memory, so direct reclaim finds nothing, and counts what a fruitless one counts.

use core::sync::atomic::Ordering::Relaxed;

use crate::alloc::AllocContext;
use crate::fault::{Ctx, Fault};
use crate::gfp::Gfp;
use crate::machine::Machine;
use crate::probe::{Event, Probe};
use crate::sync::{Lock, Locking};
use crate::zone::Zone;

impl<L: Locking> Machine<L> {
    /// `__alloc_pages_direct_reclaim()`: pages freed.
    pub(crate) fn direct_reclaim<P: Probe, F: Fault>(
        &self,
        cx: &mut Ctx<P, F>,
        gfp: Gfp,
        _ac: &AllocContext<'_>,
    ) -> u64 {
        // A fruitless run sweeps the priorities twice and counts each sweep, by the request's zone (spec 6.6).
        self.allocstall[usize::from(gfp.highest_zoneidx())].fetch_add(2, Relaxed);
        if P::ON {
            cx.probe.event(Event::DirectReclaim { progress: 0 });
        }
        0
    }

    /// `zone_reclaimable_pages()`.
    pub(crate) fn reclaimable_pages(&self, _zone: &Zone<L>) -> i64 {
        0
    }

    /// `drain_all_pages()`: the caller empties every CPU's lists by taking their locks; a list that somebody else
    /// holds is left alone.
    pub(crate) fn drain_all_pages<P: Probe, F: Fault>(&self, cx: &mut Ctx<P, F>) {
        for cpu in 0..self.cpus.len() {
            for zone in &self.zones {
                let pcp = zone.pcp[cpu].0.lock();
                if !pcp.held && pcp.count > 0 {
                    crate::pcp::LockedPcp { zone, pages: &self.pages, pcp }.drain_all(cx);
                }
            }
        }
    }
}
