//! Kernel: `alloc_pages_bulk_noprof()` as merged (v5.13 to date): "fill only the NULL elements", **v1** here.
//!
//! Slots that hold a page keep it. The return value is the index behind the last slot that the loop passed, which is
//! the length of the populated prefix when the loop ran, one more than the prefix found at entry when it did not, and
//! never the number of new pages.

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
        Slot::first_null(cx, slots, 0)
    }

    #[inline(always)]
    fn fill<L: Locking>(cx: &mut impl Context, slots: &[Slot], first: usize, source: &mut PageSource<'_, L>) -> Filled {
        let (mut i, mut taken) = (Slot::first_null(cx, slots, first), 0);
        if i < slots.len() {
            taken = source.each(cx, |cx, page| {
                slots[i].write(cx, i, page);
                i = Slot::first_null(cx, slots, i + 1);
                i < slots.len()
            });
        }
        Filled { pos: i, taken }
    }
}
