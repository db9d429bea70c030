//! Kernel: `struct list_head` as `struct free_area` and `struct per_cpu_pages` use it (v6.12).
//!
//! Two kinds of page lists. A [`FreeList`] is doubly linked through the page tables, since merging takes blocks out of
//! its middle. A per-CPU list only ever changes at its ends, so a [`PfnDeque`] keeps it as a ring of frame numbers: the
//! same order of pages as the kernel's linked list, without touching a page descriptor.

use crate::page::PageMap;
use crate::pfn::Pfn;

/// A list of free blocks of one order and type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreeList {
    head: Pfn,
    tail: Pfn,
}

impl FreeList {
    #[inline]
    pub(crate) fn first(&self) -> Pfn {
        self.head
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    #[inline]
    pub(crate) fn add_head(&mut self, pages: &PageMap, pfn: Pfn, order: u8) {
        let link = pages.link(pfn, order);
        link.set_prev(Pfn::NULL);
        link.set_next(self.head);
        if self.head.is_null() {
            self.tail = pfn;
        } else {
            pages.link(self.head, order).set_prev(pfn);
        }
        self.head = pfn;
    }

    #[inline]
    pub(crate) fn add_tail(&mut self, pages: &PageMap, pfn: Pfn, order: u8) {
        let link = pages.link(pfn, order);
        link.set_next(Pfn::NULL);
        link.set_prev(self.tail);
        if self.tail.is_null() {
            self.head = pfn;
        } else {
            pages.link(self.tail, order).set_next(pfn);
        }
        self.tail = pfn;
    }

    #[inline]
    pub(crate) fn remove(&mut self, pages: &PageMap, pfn: Pfn, order: u8) {
        let link = pages.link(pfn, order);
        let (prev, next) = (link.prev(), link.next());
        if prev.is_null() {
            self.head = next;
        } else {
            pages.link(prev, order).set_next(next);
        }
        if next.is_null() {
            self.tail = prev;
        } else {
            pages.link(next, order).set_prev(prev);
        }
    }

    /// The blocks in list order.
    pub(crate) fn iter<'a>(&self, pages: &'a PageMap, order: u8) -> impl Iterator<Item = Pfn> + use<'a> {
        let mut next = self.head;
        core::iter::from_fn(move || {
            let pfn = next;
            if pfn.is_null() {
                return None;
            }
            next = pages.link(pfn, order).next();
            Some(pfn)
        })
    }
}

/// A list of blocks in the order head to tail, as a ring.
///
/// `head` counts up and down without bound and wraps at 2^32; only [`PfnDeque::slot`] maps it into the buffer. So no push
/// and no pop has to compare it with the length. The batch loop reads the front of the list as a slice.
///
/// # Invariants
///
/// `buf.len()` is a power of two or 0, and `len <= buf.len()`. An empty buffer is never indexed: a push grows it first, and a
/// pop finds `len == 0`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PfnDeque {
    buf: Box<[Pfn]>,
    head: u32,
    len: u32,
}

impl PfnDeque {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn slot(&self, at: u32) -> usize {
        at as usize & self.buf.len().wrapping_sub(1)
    }

    #[inline]
    pub(crate) fn push_front(&mut self, pfn: Pfn) {
        if self.len as usize == self.buf.len() {
            self.grow();
        }
        self.head = self.head.wrapping_sub(1);
        let slot = self.slot(self.head);
        self.buf[slot] = pfn;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn push_back(&mut self, pfn: Pfn) {
        if self.len as usize == self.buf.len() {
            self.grow();
        }
        let slot = self.slot(self.head.wrapping_add(self.len));
        self.buf[slot] = pfn;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Pfn> {
        if self.len == 0 {
            return None;
        }
        let pfn = self.buf[self.slot(self.head)];
        self.head = self.head.wrapping_add(1);
        self.len -= 1;
        Some(pfn)
    }

    #[inline]
    pub(crate) fn pop_back(&mut self) -> Option<Pfn> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        Some(self.buf[self.slot(self.head.wrapping_add(self.len))])
    }

    /// The first frames of a list that is not empty, as far as they lie side by side in the buffer: all frames, or those before
    /// the buffer ends and the ring continues at its start.
    #[inline]
    pub(crate) fn front_run(&self) -> &[Pfn] {
        let rest = &self.buf[self.slot(self.head)..];
        &rest[..rest.len().min(self.len as usize)]
    }

    /// Takes `frames` frames off the front.
    #[inline]
    pub(crate) fn advance(&mut self, frames: u32) {
        self.head = self.head.wrapping_add(frames);
        self.len -= frames;
    }

    /// Takes a frame out, wherever it is; `false` when it is not here. The frames before it move back by one, so the
    /// order stays. Only replayed traces need this.
    pub(crate) fn remove(&mut self, pfn: Pfn) -> bool {
        let Some(at) = self.iter().position(|p| p == pfn) else { return false };
        for i in (0..at as u32).rev() {
            let from = self.slot(self.head.wrapping_add(i));
            let to = self.slot(self.head.wrapping_add(i + 1));
            self.buf[to] = self.buf[from];
        }
        self.pop_front();
        true
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Pfn> + '_ {
        (0..self.len).map(|i| self.buf[self.slot(self.head.wrapping_add(i))])
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let mut buf = vec![Pfn::NULL; (self.buf.len() * 2).max(16)].into_boxed_slice();
        for (i, pfn) in self.iter().enumerate() {
            buf[i] = pfn;
        }
        // INVARIANT: 16 doubled any number of times is a power of two; the length did not change.
        self.buf = buf;
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn deque_is_a_deque(ops in proptest::collection::vec((0u8..6, 1u32..40), 0..400)) {
            let (mut ours, mut std) = (PfnDeque::default(), VecDeque::new());
            for (op, x) in ops {
                let run = if ours.is_empty() { Vec::new() } else { ours.front_run().to_vec() };
                prop_assert!(run.is_empty() == std.is_empty() && run.iter().eq(std.range(..run.len())));
                match op {
                    0 => { ours.push_front(Pfn(x)); std.push_front(Pfn(x)); }
                    1 => { ours.push_back(Pfn(x)); std.push_back(Pfn(x)); }
                    2 => prop_assert_eq!(ours.pop_front(), std.pop_front()),
                    3 => prop_assert_eq!(ours.pop_back(), std.pop_back()),
                    4 => {
                        let frames = run.len().min(x as usize / 8);
                        ours.advance(frames as u32);
                        std.drain(..frames);
                    }
                    _ => prop_assert_eq!(ours.is_empty(), std.is_empty()),
                }
                prop_assert!(ours.iter().eq(std.iter().copied()));
                }
        }
    }
}
