//! The observer that counts what callers and the API do with slots.

use bulkpages_core::probe::{Event, NoProbe, Probe};

use super::world::World;

/// Counts slot tests and slot stores, wherever they happen, and hands every event on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting<P = NoProbe> {
    /// The observer behind.
    pub inner: P,
    /// Slots read to see whether they are NULL.
    pub slot_tests: u64,
    /// Slots stored to.
    pub slot_writes: u64,
}

impl<P: Probe> Counting<P> {
    /// Counts for `inner`.
    pub fn new(inner: P) -> Self {
        Counting { inner, slot_tests: 0, slot_writes: 0 }
    }
}

/// A world whose observer counts, so that a run in it can be reported.
pub trait Counted: World<Probe = Counting<<Self as Counted>::Behind>> {
    /// The observer behind the one that counts.
    type Behind: Probe;
}

impl<P: Probe, W: World<Probe = Counting<P>>> Counted for W {
    type Behind = P;
}

impl<P: Probe> Probe for Counting<P> {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, event: Event) {
        match event {
            Event::SlotTest { .. } => self.slot_tests += 1,
            Event::SlotWrite { .. } => self.slot_writes += 1,
            _ => {}
        }
        if P::ON {
            self.inner.event(event);
        }
    }
    #[inline]
    fn line(&mut self, text: &str) {
        self.inner.line(text);
    }
}
