//! Kernel: `alloc_pages_bulk_refill_noprof()` of `include/linux/gfp.h` in the proposal of 14 April 2025 ("support both
//! simple and full-featured API"), not merged: the second of its two calls, **v3** here. The first is [`OutputOnly`].
//!
//! One pass swaps each page with the first slot that is not yet settled, even with itself. The output-only call then fills
//! the rest of the array, on the node nearest to the CPU. Public archives of the proposal say this much. Only the cost of
//! a swap is our assumption: it counts as two stores, even of a slot with itself.

use super::{OutputOnly, check_nr_pages};
use crate::context::Context;
use crate::errno::{EAGAIN, ENOMEM};
use crate::error::Result;
use crate::gfp::Gfp;
use crate::machine::Machine;
use crate::pfn::Pfn;
use crate::probe::Event;
use crate::slot::Slot;
use crate::sync::Locking;

/// How a refill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refilled {
    /// Every slot holds a page now.
    All,
    /// Some slots got a page: worth another call at once.
    Partly,
    /// No slot got a page.
    Nothing,
}

impl Refilled {
    /// The kernel's value: 0, `-EAGAIN` or `-ENOMEM`.
    pub const fn errno(self) -> i32 {
        match self {
            Refilled::All => 0,
            Refilled::Partly => -EAGAIN,
            Refilled::Nothing => -ENOMEM,
        }
    }
}

/// Moves the pages of an array to its front by swaps, in order. Returns how many pages there are.
#[inline]
pub fn compact_by_swaps(cx: &mut impl Context, slots: &[Slot]) -> usize {
    let mut settled = 0;
    for (i, slot) in slots.iter().enumerate() {
        if slot.test(cx, i) {
            let page = slot.get();
            let other = if i == settled { page } else { Pfn::NULL };
            // Whatever was skipped is NULL, so that is what comes back.
            slots[settled].write(cx, settled, page);
            slot.write(cx, i, other);
            settled += 1;
        }
    }
    settled
}

impl<L: Locking> Machine<L> {
    /// `alloc_pages_bulk_refill()`: fills the NULL slots; pages may move to lower slots.
    ///
    /// # Errors
    ///
    /// For a CPU that the machine does not have, or more slots than an `int` counts.
    pub fn alloc_pages_bulk_refill(&self, cx: &mut impl Context, gfp: Gfp, slots: &[Slot]) -> Result<Refilled> {
        let nid = self.nearest_node(None, cx.cpu())?;
        check_nr_pages(slots)?;
        let settled = compact_by_swaps(cx, slots);
        cx.tell(|| Event::Slice { base: settled });
        let got = self.bulk::<OutputOnly>(cx, gfp, nid, &slots[settled..]);
        Ok(match got {
            _ if settled + got == slots.len() => Refilled::All,
            0 => Refilled::Nothing,
            _ => Refilled::Partly,
        })
    }
}
