//! Kernel: `mm/page_alloc.c`, `free_unref_page()`, `free_pages_prepare()`, `__free_pages_ok()`, `free_unref_folios()`
//! (v6.12), `free_unref_page_list()` (before v6.9).
//!
//! The free path.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::page::PageState;
use crate::pcp::{LockedPcp, pcp_allowed_order};
use crate::pfn::{Pfn, check_order};
use crate::probe::Event;
use crate::reclaim::SWAP_CLUSTER_MAX;
use crate::slot::Slot;
use crate::sync::Locking;

/// Slots up to which [`Machine::free_bulk`] needs no memory of its own.
const FEW_SLOTS: usize = 128;

/// `PAGEVEC_SIZE`: pages of one batch of frees.
const FOLIO_BATCH: usize = 31;

impl<L: Locking> Machine<L> {
    /// `__free_pages()` for a block that the caller owns.
    ///
    /// # Errors
    ///
    /// When the frame does not head an owned block of this order; nothing changes then.
    pub fn free_pages(&self, cx: &mut impl Context, pfn: Pfn, order: u8) -> Result<()> {
        self.check_cpu(cx.cpu())?;
        check_order(u64::from(order))?;
        if !self.pages.claim_owned::<L>(pfn, order) {
            return Err(self.cannot_free(pfn, order));
        }
        self.free_unref_page(cx, pfn, order);
        Ok(())
    }

    /// `get_page()`: one more reference to an owned page.
    ///
    /// # Errors
    ///
    /// When nobody owns the page, or it has 256 references already.
    #[inline]
    pub fn get_page(&self, pfn: Pfn) -> Result<()> {
        if self.pages.get_ref::<L>(pfn) {
            return Ok(());
        }
        Err(self.cannot_get(pfn))
    }

    #[cold]
    fn cannot_get(&self, pfn: Pfn) -> Error {
        Error::misuse(format!("pfn {pfn} has {} references: one more cannot be had", self.pages.ref_count(pfn)))
    }

    /// `put_page()`, `__free_page()`: drops a reference; the last one frees the page. Says whether it did.
    ///
    /// # Errors
    ///
    /// When nobody owns the page with order 0.
    #[inline]
    pub fn put_page(&self, cx: &mut impl Context, pfn: Pfn) -> Result<bool> {
        if self.pages.put_ref::<L>(pfn) {
            return Ok(false);
        }
        if !self.pages.claim_owned::<L>(pfn, 0) {
            return Err(self.cannot_free(pfn, 0));
        }
        self.free_unref_page(cx, pfn, 0);
        Ok(true)
    }

    /// `put_page_testzero()`: drops a reference; `true` leaves the page, whose last it was, to be freed.
    ///
    /// # Errors
    ///
    /// When nobody owns the page with order 0.
    pub fn put_page_testzero(&self, pfn: Pfn) -> Result<bool> {
        if self.pages.put_ref::<L>(pfn) {
            return Ok(false);
        }
        if self.pages.state(pfn) == PageState::Allocated(0) { Ok(true) } else { Err(self.cannot_free(pfn, 0)) }
    }

    /// Frees each page of an array, one page each, in order; slots become NULL. Returns how many.
    ///
    /// # Errors
    ///
    /// When a slot holds anything but a page that is owned with order 0, or a page that another slot holds too;
    /// nothing changes then.
    pub fn free_bulk(&self, cx: &mut impl Context, slots: &[Slot]) -> Result<usize> {
        self.check_cpu(cx.cpu())?;
        // A page is claimed before any is freed, so that an error finds everything as it was. What was claimed is kept
        // aside: somebody may write to the slots meanwhile, and what they hold then was never looked at.
        let mut few = [Pfn::NULL; FEW_SLOTS];
        let mut many = Vec::new();
        let claimed = if slots.len() <= FEW_SLOTS {
            &mut few[..slots.len()]
        } else {
            many.resize(slots.len(), Pfn::NULL);
            &mut many[..]
        };
        for (i, slot) in slots.iter().enumerate() {
            let raw = slot.raw();
            if raw == 0 {
                continue;
            }
            let pfn = u32::try_from(raw).map(Pfn).ok();
            match pfn.filter(|pfn| self.pages.claim_for_free(*pfn, 0)) {
                Some(pfn) => claimed[i] = pfn,
                None => {
                    let before = &claimed[..i];
                    before.iter().filter(|page| !page.is_null()).for_each(|&page| self.pages.unclaim(page, 0));
                    return Err(match pfn {
                        Some(pfn) if before.contains(&pfn) => {
                            Error::misuse(format!("pfn {pfn} in slot {i} stands in an earlier slot too"))
                        }
                        Some(pfn) => self.cannot_free(pfn, 0),
                        None => self.cannot_free_raw(raw),
                    });
                }
            }
        }
        let mut freed = 0;
        for (slot, &page) in slots.iter().zip(&*claimed).filter(|(_, page)| !page.is_null()) {
            slot.set(Pfn::NULL);
            self.free_unref_page(cx, page, 0);
            freed += 1;
        }
        Ok(freed)
    }

    #[cold]
    fn cannot_free_raw(&self, raw: u64) -> Error {
        Error::misuse(format!("pfn {raw} is not allocated: the machine ends at pfn {}", self.pages.end()))
    }

    /// Why a block cannot be freed.
    #[cold]
    fn cannot_free(&self, pfn: Pfn, order: u8) -> Error {
        Error::misuse(match self.pages.state(pfn) {
            PageState::Allocated(o) if o == order && self.pages.ref_count(pfn) > 1 => {
                format!("pfn {pfn} has {} references", self.pages.ref_count(pfn))
            }
            PageState::Allocated(o) if o == order => format!("pfn {pfn} is being freed by somebody else"),
            PageState::Allocated(o) => format!("pfn {pfn} was allocated with order {o}, not {order}"),
            PageState::Buddy(o) => format!("pfn {pfn} is free (order {o}): double free"),
            PageState::Pcp(o) => format!("pfn {pfn} is free, on a per-CPU list (order {o}): double free"),
            PageState::None => format!("pfn {pfn} is not allocated to a caller (order {order})"),
        })
    }

    /// `free_unref_page()`: an owned block, already taken from its owner, goes back.
    #[inline]
    pub(crate) fn free_unref_page(&self, cx: &mut impl Context, pfn: Pfn, order: u8) {
        cx.tell(|| Event::PageFree { page: pfn, order });
        let block = self.pages.block(pfn);
        let zone = self.zone_of_block(block, pfn);
        if pcp_allowed_order(order)
            && let Some(pcp) = zone.pcp_spin_trylock(cx, &self.pages)
        {
            if let Some(pcp) = pcp.free_unref_page_commit(cx, pfn, order, block.migratetype()) {
                pcp.unlock(cx);
            }
            return;
        }
        zone.free_one_page(cx, &self.pages, pfn, order);
    }

    /// `release_pages()`, `free_unref_folios()`: frees owned pages of order 0 in batches of 31, each batch under one hold
    /// of a per-CPU lock as long as its pages are of one zone. Pages that nobody owns are left out. Returns how many
    /// were freed.
    pub fn free_unref_folios(&self, cx: &mut impl Context, pages: &[Pfn]) -> usize {
        if !self.rules.folios_freed_in_batches {
            return self.free_unref_page_list(cx, pages);
        }
        let mut freed = 0;
        for batch in pages.chunks(FOLIO_BATCH) {
            let mut owned = [Pfn::NULL; FOLIO_BATCH];
            let mut n = 0;
            for &page in batch.iter().filter(|&&page| self.pages.claim_for_free(page, 0)) {
                cx.tell(|| Event::PageFree { page, order: 0 });
                owned[n] = page;
                n += 1;
            }
            self.free_claimed(cx, owned[..n].iter().copied());
            freed += n;
        }
        freed
    }

    /// `free_unref_page_list()`, the form before v6.9: `release_pages()` collects its pages from the last to the first, and
    /// the lock of a list is let go after every 32.
    #[cold]
    fn free_unref_page_list(&self, cx: &mut impl Context, pages: &[Pfn]) -> usize {
        let mut owned = Vec::with_capacity(pages.len());
        for &page in pages.iter().rev().filter(|&&page| self.pages.claim_for_free(page, 0)) {
            cx.tell(|| Event::PageFree { page, order: 0 });
            owned.push(page);
        }
        let mut rest = &owned[..];
        while !rest.is_empty() {
            rest = &rest[self.free_claimed(cx, rest.iter().copied().take(SWAP_CLUSTER_MAX as usize))..];
        }
        owned.len()
    }

    /// Frees pages that were claimed, under one hold of a list's lock as long as they are of one zone. How many.
    fn free_claimed(&self, cx: &mut impl Context, pages: impl Iterator<Item = Pfn>) -> usize {
        let mut locked: Option<LockedPcp<'_, L>> = None;
        let mut freed = 0;
        for page in pages {
            let block = self.pages.block(page);
            let zone = self.zone_of_block(block, page);
            if locked.as_ref().is_none_or(|l| l.zone.index != zone.index) {
                if let Some(other) = locked.take() {
                    other.unlock(cx);
                }
                locked = zone.pcp_spin_trylock(cx, &self.pages);
            }
            match locked.take() {
                Some(pcp) => {
                    cx.tell(|| Event::PageFreeBatched { page });
                    locked = pcp.free_unref_page_commit(cx, page, 0, block.migratetype());
                }
                None => zone.free_one_page(cx, &self.pages, page, 0),
            }
            freed += 1;
        }
        if let Some(pcp) = locked {
            pcp.unlock(cx);
        }
        freed
    }

    /// `drain_local_pages()`: the executing CPU's lists of every zone.
    ///
    /// # Errors
    ///
    /// When another CPU holds one of the locks: the kernel would wait for it forever here.
    pub fn drain_local_pages(&self, cx: &mut impl Context) -> Result<()> {
        self.check_cpu(cx.cpu())?;
        self.drain_pages(cx, cx.cpu())
    }

    /// `drain_pages()`: all lists of one CPU, by whichever CPU executes.
    ///
    /// # Errors
    ///
    /// As [`Machine::drain_local_pages`].
    pub fn drain_pages(&self, cx: &mut impl Context, cpu: usize) -> Result<()> {
        use crate::sync::Lock;
        self.check_cpu(cpu)?;
        if !self.rules.has_pcp_lists() {
            return Ok(());
        }
        if let Some(zone) = self.zones.iter().find(|z| z.pcp[cpu].0.lock().held) {
            return Err(Error::misuse(format!(
                "the per-CPU lists of cpu {cpu} in node {} zone {} are held: a drain would wait for ever",
                zone.nid, zone.idx
            )));
        }
        for zone in &self.zones {
            zone.drain_pages_zone(cx, &self.pages, cpu);
        }
        Ok(())
    }
}
