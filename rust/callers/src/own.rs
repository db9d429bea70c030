//! What a caller that is written elsewhere can do, as single steps: the same steps run live, one by one, and from a
//! recording in a timing loop.

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::replay::Api;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Context, Error, Machine, Pfn, Result, Slot};

use crate::ports::compact::compact;

/// A step. Arrays and registers, which hold one page each, go by their numbers; `base` and `n` are slots of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStep {
    /// `alloc_pages_bulk()`: what it returns.
    Bulk { api: Api, gfp: Gfp, array: usize, base: usize, n: usize },
    /// `alloc_pages_bulk_refill()` of the proposal v3: 0 or a negative error number.
    Refill { gfp: Gfp, array: usize, base: usize, n: usize },
    /// One page by the single-page path into a register: 1, or 0 when there is none.
    Single { gfp: Gfp, to: usize },
    /// A slot into a register, which counts as a slot test: whether it holds a page.
    Read { array: usize, index: usize, to: usize },
    /// The same for `n` slots whose pages nobody uses: how many hold a page.
    Test { array: usize, base: usize, n: usize },
    /// A register into a slot, NULL without one.
    Write { array: usize, index: usize, from: Option<usize> },
    /// `memset()`.
    Clear { array: usize, base: usize, n: usize },
    /// The loop that the patch adds to two callers: how many pages there are.
    Compact { array: usize, base: usize, n: usize },
    /// `__free_page()` of a register.
    Free { from: usize },
}

impl OwnStep {
    /// The slots that it names: array, first, number.
    pub const fn slots(&self) -> Option<(usize, usize, usize)> {
        match *self {
            OwnStep::Bulk { array, base, n, .. }
            | OwnStep::Refill { array, base, n, .. }
            | OwnStep::Test { array, base, n }
            | OwnStep::Clear { array, base, n }
            | OwnStep::Compact { array, base, n } => Some((array, base, n)),
            OwnStep::Read { array, index, .. } | OwnStep::Write { array, index, .. } => Some((array, index, 1)),
            OwnStep::Single { .. } | OwnStep::Free { .. } => None,
        }
    }

    /// The registers that it names: the one that it writes, the one that it reads.
    pub const fn registers(&self) -> (Option<usize>, Option<usize>) {
        match *self {
            OwnStep::Single { to, .. } | OwnStep::Read { to, .. } => (Some(to), None),
            OwnStep::Write { from, .. } => (None, from),
            OwnStep::Free { from } => (None, Some(from)),
            _ => (None, None),
        }
    }

    /// Executes the step; its arrays, slots and registers are there.
    ///
    /// # Errors
    ///
    /// For a free of what is not owned, and more slots than an `int` counts.
    #[inline]
    pub fn run<L: Locking, A: AsRef<[Slot]>>(
        &self,
        machine: &Machine<L>,
        cx: &mut impl Context,
        nid: usize,
        arrays: &[A],
        registers: &mut [Pfn],
    ) -> Result<i64> {
        let part = |array: usize, base: usize, n: usize| -> &[Slot] { &arrays[array].as_ref()[base..base + n] };
        Ok(match *self {
            OwnStep::Bulk { api: Api::V1, gfp, array, base, n } => {
                machine.bulk::<NullOnly>(cx, gfp, nid, part(array, base, n)) as i64
            }
            OwnStep::Bulk { api: Api::V2, gfp, array, base, n } => {
                machine.bulk::<OutputOnly>(cx, gfp, nid, part(array, base, n)) as i64
            }
            OwnStep::Refill { gfp, array, base, n } => {
                machine.alloc_pages_bulk_refill(cx, gfp, part(array, base, n))?.errno().into()
            }
            OwnStep::Single { gfp, to } => {
                let page = machine.alloc_pages(cx, gfp, 0, Some(nid))?;
                registers[to] = page.unwrap_or(Pfn::NULL);
                page.is_some().into()
            }
            OwnStep::Read { array, index, to } => {
                let page = arrays[array].as_ref()[index].look(cx, index);
                registers[to] = page.unwrap_or(Pfn::NULL);
                page.is_some().into()
            }
            OwnStep::Test { array, base, n } => {
                let slots = part(array, base, n).iter().enumerate();
                slots.map(|(i, slot)| i64::from(slot.test(cx, base + i))).sum()
            }
            OwnStep::Write { array, index, from } => {
                arrays[array].as_ref()[index].write(cx, index, from.map_or(Pfn::NULL, |from| registers[from]));
                0
            }
            OwnStep::Clear { array, base, n } => {
                for slot in part(array, base, n) {
                    slot.set(Pfn::NULL);
                }
                0
            }
            OwnStep::Compact { array, base, n } => compact(cx, part(array, base, n)) as i64,
            OwnStep::Free { from } => {
                let page = registers[from];
                if page.is_null() {
                    return Err(Error::ApiMisuse("the caller frees a NULL page".into()));
                }
                machine.put_page(cx, page)?;
                0
            }
        })
    }
}
