//! Kernel: `alloc_pages_bulk_noprof()` with the patch of 28 February 2025 ("remove assumption of populating only NULL
//! elements"), not merged: "the array is pure output", **v2** here.
//!
//! Slots are never read; their contents are overwritten. The return value is the number of new pages.

use super::{Filled, PageSource, Semantics};
use crate::context::Context;
use crate::slot::Slot;
use crate::sync::Locking;

/// v2: slots are written from the first on, whatever they held.
#[derive(Clone, Copy, Debug)]
pub enum OutputOnly {}

impl Semantics for OutputOnly {
    const NAME: &'static str = "v2";
    const RETURNS_WHEN_FULL: bool = false;

    #[inline]
    fn first(_cx: &mut impl Context, _slots: &[Slot]) -> usize {
        0
    }

    #[inline(always)]
    fn fill<L: Locking>(cx: &mut impl Context, slots: &[Slot], first: usize, source: &mut PageSource<'_, L>) -> Filled {
        // Page by page and in the shape of v1's, so that the two differ in nothing but what they differ in.
        let nr_pages = slots.len();
        let (mut rest, mut taken) = (&slots[first..], 0);
        if !rest.is_empty() {
            taken = source.each(cx, |cx, page| {
                let [slot, behind @ ..] = rest else { return false };
                slot.write(cx, nr_pages - rest.len(), page);
                rest = behind;
                !rest.is_empty()
            });
        }
        Filled { pos: nr_pages - rest.len(), taken }
    }
}
