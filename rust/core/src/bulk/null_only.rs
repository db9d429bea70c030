//! Kernel: `alloc_pages_bulk_noprof()` as merged (v5.13 to date): "fill only the NULL elements", **v1** here.
//!
//! Slots that hold a page keep it. The return value is the index after the last slot the loop passed: the length of the
//! populated prefix if the loop ran, one more than the prefix found at entry if it did not. It is not the number of new
//! pages.

use super::{Filled, PageSource, Semantics};
use crate::context::Context;
use crate::slot::Slot;
use crate::sync::Locking;

/// v1: populated slots are kept, NULL slots are filled.
#[derive(Clone, Copy, Debug)]
pub enum NullOnly {}

impl Semantics for NullOnly {
    const NAME: &'static str = "v1";
    const RETURNS_WHEN_FULL: bool = true;

    /// The prefix scan, before any lock.
    #[inline]
    fn first(cx: &mut impl Context, slots: &[Slot]) -> usize {
        Slot::first_null(cx, slots)
    }

    #[inline(always)]
    fn fill<L: Locking>(cx: &mut impl Context, slots: &[Slot], first: usize, source: &mut PageSource<'_, L>) -> Filled {
        let nr_pages = slots.len();
        let mut rest = Slot::skip_populated(cx, &slots[first..], nr_pages);
        let mut taken = 0;
        if !rest.is_empty() {
            taken = source.each(cx, |cx, page| {
                let [slot, behind @ ..] = rest else { return false };
                slot.write(cx, nr_pages - rest.len(), page);
                rest = Slot::skip_populated(cx, behind, nr_pages);
                !rest.is_empty()
            });
        }
        Filled { pos: nr_pages - rest.len(), taken }
    }
}
