//! Watches a run of a caller and keeps account of each page's owner, from what is taken and freed.

use bulkpages_core::Pfn;
use bulkpages_core::probe::{Event, Probe};

/// Whose a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Whose {
    /// Not known, or free.
    Nobody,
    /// Taken during the run.
    Caller,
    /// In the array when the caller got it.
    Found,
    /// Somebody else's, and no business of the caller.
    Other,
}

/// Account of pages, by frame number.
#[derive(Debug)]
pub struct Account {
    state: Vec<u8>,
    touched: Vec<Pfn>,
    freed_populated: usize,
    freed_of_others: usize,
}

/// What the account says of an array after a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Pages that the caller owns and that stand nowhere.
    pub leaked: usize,
    /// Pages freed that the array held when the caller got it.
    pub freed_populated: usize,
    /// Pages of somebody else that were freed.
    pub freed_of_others: usize,
    /// Pages that the array held and holds in another slot now.
    pub moved: usize,
    /// Slots that hold a page.
    pub filled: usize,
    /// Slots that hold a page that is not the caller's.
    pub stale: usize,
    /// Slots that hold a page that an earlier slot holds too.
    pub doubled: usize,
}

impl Account {
    /// Of so many frames; nobody owns any.
    pub fn new(frames: usize) -> Account {
        Account {
            state: vec![Whose::Nobody as u8; frames],
            touched: Vec::new(),
            freed_populated: 0,
            freed_of_others: 0,
        }
    }

    pub fn begin(&mut self) {
        self.freed_populated = 0;
        self.freed_of_others = 0;
    }

    /// The array holds this page when the caller gets it.
    pub fn found(&mut self, page: Pfn) {
        self.set(page, Whose::Found);
    }

    /// This page is somebody else's.
    pub fn others(&mut self, page: Pfn) {
        self.set(page, Whose::Other);
    }

    fn set(&mut self, page: Pfn, whose: Whose) {
        // A snapshot's machine has no frame behind its tables, so every page that it hands out has a state.
        let Some(known) = self.state.get_mut(page.0 as usize) else { return };
        if *known == Whose::Nobody as u8 && whose != Whose::Nobody {
            self.touched.push(page);
        }
        *known = whose as u8;
    }

    fn is_callers(&self, page: u64) -> bool {
        let state = self.state.get(page as usize).copied().unwrap_or(0);
        state == Whose::Caller as u8 || state == Whose::Found as u8
    }

    /// What became of the pages: `found` is the array as the caller got it, `array` as it left it.
    pub fn stock(&self, found: &[Pfn], array: &[u64]) -> Stock {
        let mut seen = std::collections::HashSet::new();
        let mut stock =
            Stock { freed_populated: self.freed_populated, freed_of_others: self.freed_of_others, ..Stock::default() };
        for &page in array.iter().filter(|&&p| p != 0) {
            stock.filled += 1;
            stock.stale += usize::from(!self.is_callers(page));
            stock.doubled += usize::from(!seen.insert(page));
        }
        // A page that was freed and taken again was touched twice.
        let owned = self.touched.iter().map(|p| u64::from(p.0)).filter(|&p| self.is_callers(p));
        stock.leaked = owned.filter(|p| !seen.contains(p)).collect::<std::collections::HashSet<_>>().len();
        let moved = |(i, page): &(usize, &Pfn)| {
            let raw = u64::from(page.0);
            raw != 0 && array.get(*i) != Some(&raw) && seen.contains(&raw)
        };
        stock.moved = found.iter().enumerate().filter(moved).count();
        stock
    }

    /// Frees and takes that a crash left behind: pages freed that the array held, and pages of others.
    pub fn freed(&self) -> (usize, usize) {
        (self.freed_populated, self.freed_of_others)
    }

    /// Forgets everything; returns the pages that somebody still owns.
    pub fn close(&mut self) -> Vec<Pfn> {
        let mut left = core::mem::take(&mut self.touched);
        left.retain(|page| {
            core::mem::replace(&mut self.state[page.0 as usize], Whose::Nobody as u8) != Whose::Nobody as u8
        });
        left
    }
}

/// Keeps account of what is taken and freed.
impl Probe for &mut Account {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        match event {
            Event::ListTake { page, order: 0, .. } | Event::PageAlloc { page, order: 0, .. } if !page.is_null() => {
                self.set(page, Whose::Caller);
            }
            Event::PageFree { page, .. } => {
                match self.state.get(page.0 as usize) {
                    Some(&s) if s == Whose::Found as u8 => self.freed_populated += 1,
                    Some(&s) if s == Whose::Other as u8 => self.freed_of_others += 1,
                    _ => {}
                }
                self.set(page, Whose::Nobody);
            }
            _ => {}
        }
    }
}
