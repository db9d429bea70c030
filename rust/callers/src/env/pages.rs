//! What callers do with pages and arrays beside the bulk call.

use bulkpages_core::probe::Probe;
use bulkpages_core::{Error, Pfn, Result, Slot};

use super::{Env, Hooks, MAX_POINTERS, World};
use crate::study::misuse::Slip;

impl<W: World> Env<'_, W> {
    /// A zeroed array of `n` pointers, unless there is none to be had.
    #[inline]
    pub fn pointer_array(&mut self, n: usize) -> Option<Box<[Slot]>> {
        if n > MAX_POINTERS || self.array_fails(n) {
            return None;
        }
        let slots = Slot::array(n);
        if self.slips(Slip::ForgetsClear) {
            self.litter(&slots);
        }
        Some(slots)
    }

    /// Whether an array of `n` elements cannot be had.
    #[inline]
    pub fn array_fails(&self, n: usize) -> bool {
        W::Hooks::ON && self.hooks.array_fails(n)
    }

    #[inline]
    pub fn vmap_fails(&self, pages: usize) -> bool {
        W::Hooks::ON && self.hooks.vmap_fails(pages)
    }

    /// Whether a page cannot be mapped for DMA.
    #[inline]
    pub fn dma_map_fails(&self, page: Pfn) -> bool {
        W::Hooks::ON && self.hooks.dma_map_fails(page)
    }

    /// Memory that served something else before and becomes an array.
    pub fn used_memory(&self, n: usize) -> Box<[Slot]> {
        let slots = Slot::array(n);
        if W::Hooks::ON {
            self.litter(&slots);
        }
        slots
    }

    fn litter(&self, slots: &[Slot]) {
        for (i, slot) in slots.iter().enumerate() {
            slot.set(self.hooks.garbage(i));
        }
    }

    /// `__free_page()`, `put_page()`.
    #[inline]
    pub fn free_page(&mut self, page: Pfn) -> Result<()> {
        self.machine.put_page(&mut self.cx, page)?;
        self.freed += 1;
        Ok(())
    }

    /// `release_pages()`: drops a reference to each page; those that were the last are freed in batches.
    ///
    /// # Errors
    ///
    /// For a page that is not owned with order 0.
    pub fn release_pages(&mut self, pages: &[Pfn]) -> Result<()> {
        let mut last = Vec::with_capacity(pages.len());
        for &page in pages {
            if !self.machine.put_page_testzero(page)? {
                continue;
            }
            last.push(page);
        }
        self.freed += pages.len() as u64;
        self.machine.free_unref_folios(&mut self.cx, &last);
        Ok(())
    }

    /// `release_pages(slots, n)` on an array whose pointers stay as they are.
    ///
    /// # Errors
    ///
    /// For a slot that does not hold a page that is owned with order 0.
    pub fn release_slots(&mut self, slots: &[Slot]) -> Result<()> {
        let pages = slots.iter().map(|slot| self.used(slot.get())).collect::<Result<Vec<Pfn>>>()?;
        self.release_pages(&pages)
    }

    /// A page that the caller is about to use: a NULL pointer would crash it.
    #[inline(always)]
    pub fn used(&self, page: Pfn) -> Result<Pfn> {
        if W::Hooks::ON && page.is_null() {
            return Err(Error::misuse("the caller uses a NULL page"));
        }
        Ok(page)
    }

    /// `memset(slots, 0, ...)`.
    #[inline]
    pub fn clear(&mut self, slots: &[Slot]) {
        if self.slips(Slip::ForgetsClear) {
            return;
        }
        for slot in slots {
            slot.set(Pfn::NULL);
        }
        if W::Probe::ON {
            self.log.slot_clears += slots.len() as u64;
        }
    }

    /// `slots[i] = NULL`.
    #[inline]
    pub fn clear_slot(&mut self, slots: &[Slot], i: usize) {
        if !self.slips(Slip::ForgetsClear) {
            slots[i].write(&mut self.cx, i, Pfn::NULL);
        }
    }

    /// Refuses an array that an `int` cannot count.
    #[inline]
    pub(crate) fn check_int(&self, what: &str, n: usize) -> Result<()> {
        if i32::try_from(n).is_ok() { Ok(()) } else { Err(too_many(what, n)) }
    }
}

#[cold]
fn too_many(what: &str, n: usize) -> Error {
    Error::invalid(format!("{what} {n} is above {}", i32::MAX))
}
