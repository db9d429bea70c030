//! Who owns which page, kept outside the machine.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bulkpages_core::Pfn;

/// Whether each page has an owner: one bit a page.
pub(super) struct Owners(Box<[AtomicU64]>);

impl Owners {
    pub(super) fn new(end: Pfn) -> Owners {
        Owners((0..end.index().div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Marks the pages of a block; `false` when one is owned already.
    pub(super) fn take(&self, page: Pfn, order: u8) -> bool {
        self.each(page, order, |word, bit| word.fetch_or(bit, Relaxed) & bit == 0)
    }

    /// Takes the marks away; `false` when one is missing.
    pub(super) fn give(&self, page: Pfn, order: u8) -> bool {
        self.each(page, order, |word, bit| word.fetch_and(!bit, Relaxed) & bit != 0)
    }

    fn each(&self, page: Pfn, order: u8, f: impl Fn(&AtomicU64, u64) -> bool) -> bool {
        let mut fine = true;
        for at in page.index()..page.index() + (1 << order) {
            fine &= self.0.get(at / 64).is_some_and(|word| f(word, 1 << (at % 64)));
        }
        fine
    }
}

/// An owned block, and the CPU that allocated it.
#[derive(Clone, Copy)]
pub(super) struct Owned {
    pub(super) page: Pfn,
    pub(super) order: u8,
    pub(super) cpu: usize,
}

#[cfg(test)]
mod tests {
    use bulkpages_core::Machine;
    use bulkpages_core::boot::BootSpec;
    use bulkpages_core::sync::Atomic;

    use super::*;

    #[test]
    fn a_page_that_somebody_else_frees_is_noticed() {
        let machine = Machine::<Atomic>::boot(&BootSpec::new(16384, 1, 1)).unwrap();
        let owners = Owners::new(machine.pages().end());
        assert!(owners.take(Pfn(4097), 2));
        assert!(!owners.take(Pfn(4100), 0), "handed out twice");
        assert!(owners.give(Pfn(4097), 2));
        assert!(!owners.give(Pfn(4097), 2), "freed twice");
    }
}
