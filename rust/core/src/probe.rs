//! Observers of the emulator. The kernel counterparts are the `kmem` trace events (`include/trace/events/kmem.h`,
//! v6.12) and what no trace event shows: slot tests and stores, list takes, lock windows.
//!
//! An observer is a type parameter; with [`NoProbe`] every call compiles to nothing.

use crate::gfp::{Gfp, Migratetype};
use crate::pfn::Pfn;
pub use crate::reclaim::DeadEnd;

/// Something that the allocator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A slot of a page array was read to see whether it is NULL.
    SlotTest {
        /// Its index in the array passed.
        index: usize,
        /// Whether a page was in it.
        populated: bool,
    },
    /// A slot of a page array was stored to.
    SlotWrite {
        /// Its index in the array passed.
        index: usize,
        /// What was stored.
        page: Pfn,
    },
    /// A per-CPU list lock was tried.
    PcpTrylock {
        /// Index of the zone in the machine.
        zone: usize,
        /// Whether it was got.
        locked: bool,
    },
    /// The lock of a CPU's lists was waited for and got, as drains do.
    PcpLock {
        /// Index of the zone in the machine.
        zone: usize,
        /// Whose lists.
        cpu: usize,
    },
    /// The per-CPU list lock was given back.
    PcpUnlock {
        /// Index of the zone in the machine.
        zone: usize,
    },
    /// The zone lock was taken.
    ZoneLock {
        /// Index of the zone in the machine.
        zone: usize,
    },
    /// The zone lock was given back.
    ZoneUnlock {
        /// Index of the zone in the machine.
        zone: usize,
        /// Pages that moved while it was held.
        pages: u32,
    },
    /// A page was taken from a per-CPU list.
    ListTake {
        /// Index of the zone in the machine.
        zone: usize,
        page: Pfn,
        order: u8,
    },
    /// A per-CPU list was refilled.
    Refill {
        /// Index of the zone in the machine.
        zone: usize,
        /// Entries asked for.
        want: u32,
        /// Entries got.
        got: u32,
    },
    /// `mm_page_alloc`: the single-page path ended.
    PageAlloc {
        /// The page, or NULL.
        page: Pfn,
        order: u8,
        /// Type that was asked for.
        migratetype: Migratetype,
        /// Flags that were used.
        gfp: Gfp,
    },
    /// `mm_page_alloc_zone_locked`: a block left the buddy lists.
    ZoneLocked {
        /// First page.
        page: Pfn,
        order: u8,
        /// List it came from.
        migratetype: Migratetype,
        /// The tracepoint's own flag: an order and type that a per-CPU list could hold.
        percpu_refill: bool,
    },
    /// A free block was split on its way out: the halves that are not wanted went back to the buddy lists.
    Split {
        /// Index of the zone in the machine.
        zone: usize,
        /// Order that is left.
        low: u8,
        /// Order of the block.
        high: u8,
    },
    /// `mm_page_alloc_extfrag`: a block of another type was claimed or stolen from.
    Extfrag {
        /// First page.
        page: Pfn,
        /// Order asked for.
        alloc_order: u8,
        /// Order of the block that was found.
        fallback_order: u8,
        /// Type asked for.
        alloc_migratetype: Migratetype,
        /// Type of the list it was found on.
        fallback_migratetype: Migratetype,
        /// Whether the pageblock now has the type asked for.
        change_ownership: bool,
    },
    /// `mm_page_free`.
    PageFree {
        /// First page.
        page: Pfn,
        order: u8,
    },
    /// `mm_page_free_batched`: freed with others in one batch.
    PageFreeBatched { page: Pfn },
    /// `mm_page_pcpu_drain`: a page went from a per-CPU list to the buddy lists.
    PcpuDrain {
        /// First page.
        page: Pfn,
        order: u8,
        /// Type of its block.
        migratetype: Migratetype,
    },
    /// A caller makes a bulk call.
    BulkCall {
        /// Index of the first slot passed, in the caller's array.
        base: usize,
        /// Slots passed.
        nr_pages: usize,
    },
    /// The slots of what follows are counted from here in the slots passed: a refill call goes on with the rest.
    Slice {
        /// Index of its first slot.
        base: usize,
    },
    /// A bulk call of a caller returned.
    BulkReturn { ret: i64 },
    /// The bulk call chose a zone.
    BulkZone {
        /// Index of the zone in the machine.
        zone: usize,
    },
    /// The bulk call left the batch path for one page by the single-page path.
    BulkSingle { reason: SingleReason },
    /// kswapd of a node was asked to run.
    WakeKswapd { nid: usize },
    /// Direct reclaim ran.
    DirectReclaim {
        /// Pages it freed.
        progress: u64,
    },
    /// kswapd of a node ran.
    KswapdRun {
        nid: usize,
        /// Pages it freed.
        reclaimed: u64,
    },
    /// A task was killed for its memory.
    OomKill {
        /// Pages that this freed.
        pages: u64,
    },
    /// A request that the kernel would not let fail ended with NULL, because nothing can help it here.
    DeadEnd {
        /// What the kernel would do.
        why: DeadEnd,
    },
    /// A request failed, and the kernel would report it in its log.
    FailureReport {
        /// Order asked for.
        order: u8,
        /// Flags of the request.
        gfp: Gfp,
    },
}

/// Why a bulk call took the single-page path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SingleReason {
    /// The request is charged to a memory cgroup.
    Memcg,
    /// Only one page is wanted.
    OnePage,
    /// Page owner tracking is on.
    PageOwner,
    /// No zone passed the watermark gate.
    Watermark,
    /// The next zone is on another node.
    RemoteNode,
    /// The per-CPU list lock was not free.
    Trylock,
    /// The first take of the loop found nothing.
    FirstTake,
}

pub trait Probe {
    /// Whether events are wanted at all; `false` removes them at compile time.
    const ON: bool;
    /// Called for each event, in order.
    fn event(&mut self, event: Event);
    /// Called, between events, for a line that code outside the allocator writes to the trace: "name: fields".
    #[inline(always)]
    fn line(&mut self, _text: &str) {}
}

/// Observes nothing, costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    const ON: bool = false;
    #[inline(always)]
    fn event(&mut self, _event: Event) {}
}

/// Keeps every event.
impl Probe for Vec<Event> {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        self.push(event);
    }
}

/// Keeps the last events, as a kernel's trace buffer does: a run of any length is recorded in memory that is warm.
///
/// # Invariants
///
/// `events.len()` is a power of two; `next` is the number of events so far.
#[derive(Clone, Debug)]
pub struct Ring {
    events: Box<[Event]>,
    next: u64,
}

impl Ring {
    /// Keeps the last `2^order` events.
    pub fn new(order: u32) -> Ring {
        Ring { events: vec![Event::Slice { base: 0 }; 1 << order].into(), next: 0 }
    }

    pub fn total(&self) -> u64 {
        self.next
    }

    /// Events that others took the place of.
    pub fn lost(&self) -> u64 {
        self.next.saturating_sub(self.events.len() as u64)
    }

    /// The events kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        let len = self.events.len() as u64;
        (self.lost()..self.next).map(move |i| &self.events[(i % len) as usize])
    }
}

impl Probe for Ring {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, event: Event) {
        // INVARIANT: one event more; the mask keeps the index inside, the length being a power of two.
        let at = self.next as usize & (self.events.len() - 1);
        self.events[at] = event;
        self.next += 1;
    }
}

impl<P: Probe> Probe for &mut P {
    const ON: bool = P::ON;
    #[inline(always)]
    fn event(&mut self, event: Event) {
        (**self).event(event);
    }
    #[inline(always)]
    fn line(&mut self, text: &str) {
        (**self).line(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_last_events() {
        let mut ring = Ring::new(2);
        for base in 0..7 {
            ring.event(Event::Slice { base });
        }
        let kept: Vec<Event> = ring.iter().copied().collect();
        assert_eq!(kept, [3, 4, 5, 6].map(|base| Event::Slice { base }));
        assert_eq!((ring.total(), ring.lost()), (7, 3));
    }
}
