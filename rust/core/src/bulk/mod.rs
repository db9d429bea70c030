//! Kernel: `mm/page_alloc.c`, `alloc_pages_bulk_noprof()` (v6.14; in 6.12 its array form).
//!
//! The bulk call. This file has what the versions share, branch for branch. They differ in which slots count as wanted and
//! in what the return value means; each semantics is one file: [`null_only`] (v1) and [`output_only`] (v2).

pub mod null_only;
pub mod output_only;
pub mod refill;

pub use null_only::NullOnly;
pub use output_only::OutputOnly;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::gfp::{AllocFlags, Gfp, Migratetype};
use crate::machine::Machine;
use crate::pcp::{LockedPcp, order_to_pindex};
use crate::pfn::Pfn;
use crate::probe::{Event, SingleReason};
use crate::slot::Slot;
use crate::sync::Locking;
use crate::zone::{Zone, wmark};
use crate::zonelist::ZoneRef;

/// What the batch loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Index behind the last slot looked at: the return value.
    pub pos: usize,
    /// Pages taken.
    pub taken: usize,
}

/// One meaning of the page array.
pub trait Semantics {
    /// Name in reports and in the Python face.
    const NAME: &'static str;

    /// Index of the first slot that wants a page, before anything else happens.
    fn first(cx: &mut impl Context, slots: &[Slot]) -> usize;

    /// Whether an array without a wanted slot ends the call.
    const RETURNS_WHEN_FULL: bool;

    /// The batch loop, the per-CPU list being locked: fills from `pos` on.
    fn fill<L: Locking>(cx: &mut impl Context, slots: &[Slot], pos: usize, source: &mut PageSource<'_, L>) -> Filled;
}

/// The locked per-CPU list that a batch loop takes from.
#[expect(missing_debug_implementations, reason = "holds a lock guard")]
pub struct PageSource<'a, L: Locking> {
    pcp: LockedPcp<'a, L>,
    machine: &'a Machine<L>,
    migratetype: Migratetype,
    flags: AllocFlags,
}

impl<L: Locking> PageSource<'_, L> {
    /// `__rmqueue_pcplist()` and `prep_new_page()`, page by page: gives each to `put` until it wants no more or nothing is
    /// left; how many those were. A part of its caller always, so that what it counts with stays in registers.
    #[inline(always)]
    pub fn each<C: Context>(&mut self, cx: &mut C, mut put: impl FnMut(&mut C, Pfn) -> bool) -> usize {
        let (zone, machine) = (self.pcp.zone, self.machine);
        let pindex = order_to_pindex(0, self.migratetype);
        let allocated = machine.pages.setting_allocated(0);
        let mut all = 0;
        loop {
            if cx.fault().take_fails(1) {
                return all;
            }
            let pcp = &mut *self.pcp.pcp;
            if pcp.lists[pindex].is_empty() && !zone.refill(cx, machine, pcp, 0, self.migratetype, self.flags).0 {
                return all;
            }
            let run = pcp.lists[pindex].front_run();
            let (mut taken, mut more) = (0, true);
            for &page in if C::Fault::ON { &run[..1] } else { run } {
                cx.tell(|| Event::ListTake { zone: zone.index, page, order: 0 });
                allocated(page);
                taken += 1;
                more = put(cx, page);
                if !more {
                    break;
                }
            }
            pcp.lists[pindex].advance(taken);
            pcp.count -= taken as i32;
            all += taken as usize;
            if !more {
                return all;
            }
        }
    }
}

impl<L: Locking> Machine<L> {
    /// `alloc_pages_bulk()` with semantics `S` on `slots`, for node `nid` (the nearest with memory when `None`).
    /// What is returned is the semantics' own: see its module.
    ///
    /// # Errors
    ///
    /// For a CPU or node that the machine does not have.
    pub fn alloc_pages_bulk<S: Semantics>(
        &self,
        cx: &mut impl Context,
        gfp: Gfp,
        nid: Option<usize>,
        slots: &[Slot],
    ) -> Result<usize> {
        self.check_cpu(cx.cpu())?;
        check_nr_pages(slots)?;
        let nid = self.check_nid(nid, cx.cpu())?;
        Ok(self.bulk::<S>(cx, gfp, nid, slots))
    }

    /// The same, arguments checked. Its fixed cost counts for small arrays, and a caller's constant flags
    /// take a part of it away: so it is always a part of its caller.
    #[inline(always)]
    pub fn bulk<S: Semantics>(&self, cx: &mut impl Context, gfp: Gfp, nid: usize, slots: &[Slot]) -> usize {
        let nr_pages = slots.len();
        let pos = S::first(cx, slots);
        if nr_pages == 0 || S::RETURNS_WHEN_FULL && pos == nr_pages {
            return pos;
        }
        if self.config.memcg && gfp.has(Gfp::ACCOUNT) {
            return self.bulk_single(cx, gfp, nid, slots, pos, SingleReason::Memcg);
        }
        if nr_pages - pos == 1 {
            return self.bulk_single(cx, gfp, nid, slots, pos, SingleReason::OnePage);
        }
        if self.config.page_owner {
            return self.bulk_single(cx, gfp, nid, slots, pos, SingleReason::PageOwner);
        }
        let gfp = gfp & self.config.gfp_allowed;
        if cx.fault().prepare_fails() {
            return pos;
        }
        let ac = self.prepare_alloc_pages(gfp, nid);
        let flags = AllocFlags::WMARK_LOW;
        let found = if cx.fault().gate_fails() {
            Err(SingleReason::Watermark)
        } else {
            // v7.1: what is there already is not asked for again.
            let wanted = nr_pages - (pos & self.config.gate_prefix_mask);
            self.bulk_zone(ac.zonelist(), wanted, flags, ac.migratetype)
        };
        let (zone, preferred) = match found {
            Ok(found) => found,
            Err(reason) => return self.bulk_single(cx, gfp, nid, slots, pos, reason),
        };
        cx.tell(|| Event::BulkZone { zone: zone.index });
        let Some(pcp) = zone.pcp_spin_trylock(cx, &self.pages) else {
            return self.bulk_single(cx, gfp, nid, slots, pos, SingleReason::Trylock);
        };
        let mut source = PageSource { pcp, machine: self, migratetype: ac.migratetype, flags };
        let filled = S::fill(cx, slots, pos, &mut source);
        if filled.taken == 0 {
            source.pcp.unlock(cx);
            return self.bulk_single(cx, gfp, nid, slots, pos, SingleReason::FirstTake);
        }
        let taken = filled.taken as u64;
        source.pcp.count_alloc(self, preferred, taken, taken);
        source.pcp.unlock(cx);
        filled.pos
    }

    /// The zone gate: the first zone of the preferred node with `wanted` pages above LOW.
    #[inline]
    fn bulk_zone<'a>(
        &'a self,
        zonelist: &'a [ZoneRef],
        wanted: usize,
        flags: AllocFlags,
        mt: Migratetype,
    ) -> Result<(&'a Zone<L>, &'a ZoneRef), SingleReason> {
        let preferred = zonelist.first().ok_or(SingleReason::Watermark)?;
        for zref in zonelist {
            if self.config.online_nodes > 1 && zref.nid != preferred.nid {
                return Err(SingleReason::RemoteNode);
            }
            let zone = &self.zones[zref.zone];
            let mark = zone.wmark_pages(wmark::LOW) + wanted as i64;
            if zone.zone_watermark_fast(0, mark, preferred.idx, flags)
                || zone.has_cma && zone.zone_watermark_fast_slow(0, mark, preferred.idx, zone.with_cma(flags, mt))
            {
                return Ok((zone, preferred));
            }
        }
        Err(SingleReason::Watermark)
    }

    /// The way out of the batch: one page by the single-page path, into slot `pos`.
    #[cold]
    #[inline(never)]
    fn bulk_single(
        &self,
        cx: &mut impl Context,
        gfp: Gfp,
        nid: usize,
        slots: &[Slot],
        pos: usize,
        reason: SingleReason,
    ) -> usize {
        cx.tell(|| Event::BulkSingle { reason });
        let Some(page) = self.alloc_page(cx, gfp, nid) else { return pos };
        slots[pos].write(cx, pos, page);
        pos + 1
    }
}

/// More slots than the kernel's `int` counts cannot be asked for.
fn check_nr_pages(slots: &[Slot]) -> Result<()> {
    match i32::try_from(slots.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid(format!("nr_pages {} is above {}", slots.len(), i32::MAX))),
    }
}
