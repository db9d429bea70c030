//! Kernel: one element of the `struct page **page_array` passed to `alloc_pages_bulk()` (v6.12).
//!
//! Eight bytes, as there, so that a walk over an array touches as many cache lines as in the kernel.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::context::Context;
use crate::pfn::Pfn;
use crate::probe::Event;

/// A slot of a page array: a frame number, or 0 for NULL. Atomic, so that somebody who writes to the array from another
/// thread during a call causes odd results and nothing worse.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Slot(AtomicU64);

// SAFETY: `Slot` is an `AtomicU64`, for which all bytes zero is a value.
unsafe impl bytemuck::Zeroable for Slot {}

impl Slot {
    /// `n` NULL slots.
    pub fn array(n: usize) -> Box<[Slot]> {
        bytemuck::zeroed_slice_box(n)
    }

    /// NULL everywhere: the `memset()` of callers that own their array. Not atomic, so it runs at memset's speed.
    #[inline]
    pub fn clear(slots: &mut [Slot]) {
        for slot in slots {
            *slot.0.get_mut() = 0;
        }
    }

    /// What is stored, a frame number or not.
    #[inline]
    pub fn raw(&self) -> u64 {
        self.0.load(Relaxed)
    }

    #[inline]
    pub fn set_raw(&self, raw: u64) {
        self.0.store(raw, Relaxed);
    }

    #[inline]
    pub fn get(&self) -> Pfn {
        Pfn(self.raw() as u32)
    }

    #[inline]
    pub fn set(&self, page: Pfn) {
        self.set_raw(u64::from(page.0));
    }

    /// Whether a page is in the slot, told to the observer as a slot test.
    #[inline]
    pub fn test(&self, cx: &mut impl Context, index: usize) -> bool {
        self.look(cx, index).is_some()
    }

    /// The page in the slot, told to the observer as a slot test.
    #[inline]
    pub fn look(&self, cx: &mut impl Context, index: usize) -> Option<Pfn> {
        let raw = self.raw();
        cx.tell(|| Event::SlotTest { index, populated: raw != 0 });
        if raw == 0 { None } else { Some(Pfn(raw as u32)) }
    }

    /// Index of the first NULL slot, or the length: what walking over populated slots comes to.
    #[inline]
    pub fn first_null(cx: &mut impl Context, slots: &[Slot]) -> usize {
        slots.len() - Slot::skip_populated(cx, slots, slots.len()).len()
    }

    /// The rest of an array of `nr_pages` slots without the populated ones that it begins with. Each slot is looked at by
    /// itself, up to the NULL one.
    #[inline(always)]
    pub fn skip_populated<'a>(cx: &mut impl Context, mut rest: &'a [Slot], nr_pages: usize) -> &'a [Slot] {
        // The very next slot is most often the one, or the one behind it.
        for _ in 0..2 {
            match rest {
                [slot, behind @ ..] if slot.test(cx, nr_pages - rest.len()) => rest = behind,
                _ => return rest,
            }
        }
        // Four at a time, so that the end of the array is asked for once in four slots.
        while let Some((four, behind)) = rest.split_first_chunk::<4>() {
            let at = nr_pages - rest.len();
            for (i, slot) in four.iter().enumerate() {
                if !slot.test(cx, at + i) {
                    return &rest[i..];
                }
            }
            rest = behind;
        }
        while let [slot, behind @ ..] = rest
            && slot.test(cx, nr_pages - rest.len())
        {
            rest = behind;
        }
        rest
    }

    /// Stores a page, told to the observer as a slot write.
    #[inline]
    pub fn write(&self, cx: &mut impl Context, index: usize, page: Pfn) {
        self.set(page);
        cx.tell(|| Event::SlotWrite { index, page });
    }
}
