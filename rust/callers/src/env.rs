//! What a port runs in: the machine, the CPU, observers, failures, waits, and a record of what the caller did.

use bulkpages_core::bulk::Semantics;
use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::fault::{Ctx, Fault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, NoProbe, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Error, Machine, Pfn, Result, Slot};

use crate::result::{BulkCall, CallerResult, Ret};

/// Waits that a caller is granted unless told otherwise.
pub const MAX_WAITS: u64 = 100;
/// Ticks per second unless told otherwise.
pub const HZ: u64 = 250;
/// Slots of the largest pointer array that `kcalloc()` can give: `KMALLOC_MAX_SIZE`, 4 MiB.
pub const MAX_POINTERS: usize = (4 << 20) / size_of::<u64>();

/// What can fail, or come from outside, apart from the page allocator.
pub trait Hooks {
    /// Whether anything can happen at all; `false` removes the questions at compile time.
    const ON: bool;
    /// Whether allocating a pointer array of `slots` slots fails.
    fn array_fails(&mut self, slots: usize) -> bool;
    /// Whether appending `pages` pages to a scatter table fails.
    fn append_fails(&mut self, pages: usize) -> bool;
    /// Whether `vmap()` of `pages` pages fails.
    fn vmap_fails(&mut self, pages: usize) -> bool;
    /// Whether mapping a page for DMA fails.
    fn dma_map_fails(&mut self, page: Pfn) -> bool;
    /// `kthread_should_stop()`, and in sunrpc `svc_thread_should_stop()`.
    fn should_stop(&mut self) -> bool;
    /// The caller sleeps for the `nth` time, from 1: the rest of the world may act.
    fn wait(&mut self, nth: u64);
}

/// Nothing fails, nobody asks to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    const ON: bool = false;
    #[inline(always)]
    fn array_fails(&mut self, _slots: usize) -> bool {
        false
    }
    #[inline(always)]
    fn append_fails(&mut self, _pages: usize) -> bool {
        false
    }
    #[inline(always)]
    fn vmap_fails(&mut self, _pages: usize) -> bool {
        false
    }
    #[inline(always)]
    fn dma_map_fails(&mut self, _page: Pfn) -> bool {
        false
    }
    #[inline(always)]
    fn should_stop(&mut self) -> bool {
        false
    }
    #[inline(always)]
    fn wait(&mut self, _nth: u64) {}
}

/// Failures that a test or a user states, each as how many times the step succeeds before it fails for good;
/// `None` for always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookPlan {
    /// Pointer arrays.
    pub arrays: Option<u64>,
    /// Appends to the scatter table.
    pub appends: Option<u64>,
    /// `vmap()`.
    pub vmaps: Option<u64>,
    /// DMA mappings.
    pub dma_maps: Option<u64>,
    /// Times that the thread is told to go on before it is told to stop.
    pub goes_on: Option<u64>,
}

/// Whether the supply of successes is used up; takes one otherwise.
fn used_up(left: &mut Option<u64>) -> bool {
    match left {
        None => false,
        Some(0) => true,
        Some(n) => {
            *n -= 1;
            false
        }
    }
}

impl Hooks for HookPlan {
    const ON: bool = true;
    fn array_fails(&mut self, _slots: usize) -> bool {
        used_up(&mut self.arrays)
    }
    fn append_fails(&mut self, _pages: usize) -> bool {
        used_up(&mut self.appends)
    }
    fn vmap_fails(&mut self, _pages: usize) -> bool {
        used_up(&mut self.vmaps)
    }
    fn dma_map_fails(&mut self, _page: Pfn) -> bool {
        used_up(&mut self.dma_maps)
    }
    fn should_stop(&mut self) -> bool {
        used_up(&mut self.goes_on)
    }
    fn wait(&mut self, _nth: u64) {}
}

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
}

/// What an observed run keeps beside the counts; empty in an unobserved one.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Bulk calls.
    pub bulk_calls: Vec<BulkCall>,
    /// Trace lines.
    pub trace: Vec<String>,
    /// Statistics.
    pub stats: Vec<(&'static str, u64)>,
    /// Slots cleared by `memset`.
    pub slot_clears: u64,
}

/// The surroundings of a caller.
#[derive(Debug)]
pub struct Env<'m, L: Locking, P, F, H = NoHooks> {
    /// The machine.
    pub machine: &'m Machine<L>,
    /// CPU, observer and fault plan.
    pub cx: Ctx<P, F>,
    /// What else can fail.
    pub hooks: H,
    /// Waits granted.
    pub max_waits: u64,
    /// Ticks per second.
    pub hz: u64,
    /// Waits used.
    pub waits: u64,
    /// Virtual time slept.
    pub jiffies: u64,
    /// Pages freed by the caller.
    pub freed: u64,
    /// What an observed run keeps.
    pub log: Log,
    nid: usize,
}

impl<'m, L: Locking, P: Probe, F: Fault, H: Hooks> Env<'m, L, P, F, H> {
    /// Surroundings on the CPU of `cx`.
    ///
    /// # Errors
    ///
    /// For a CPU that the machine does not have.
    pub fn new(machine: &'m Machine<L>, cx: Ctx<P, F>, hooks: H) -> Result<Self> {
        let nid = machine.nearest_node(None, cx.cpu)?;
        Ok(Env {
            machine,
            cx,
            hooks,
            max_waits: MAX_WAITS,
            hz: HZ,
            waits: 0,
            jiffies: 0,
            freed: 0,
            log: Log::default(),
            nid,
        })
    }

    /// `alloc_pages_bulk(gfp, n - base, slots + base)` with semantics `S`.
    #[inline]
    pub fn bulk<S: Semantics>(&mut self, gfp: Gfp, slots: &[Slot], base: usize) -> usize {
        let n = self.machine.bulk::<S, P, F>(&mut self.cx, gfp, self.nid, &slots[base..]);
        if P::ON {
            self.log.bulk_calls.push(BulkCall { base, nr_pages: slots.len() - base, ret: n as i64 });
        }
        n
    }

    /// `alloc_pages_bulk_refill()`.
    #[inline]
    pub fn refill(&mut self, gfp: Gfp, slots: &[Slot]) -> Result<Refilled> {
        let refilled = self.machine.alloc_pages_bulk_refill(&mut self.cx, gfp, slots)?;
        if P::ON {
            let ret = i64::from(refilled.errno());
            self.log.bulk_calls.push(BulkCall { base: 0, nr_pages: slots.len(), ret });
        }
        Ok(refilled)
    }

    /// A zeroed array of `n` pointers, unless there is none to be had.
    #[inline]
    pub fn pointer_array(&mut self, n: usize) -> Option<Box<[Slot]>> {
        if n > MAX_POINTERS || H::ON && self.hooks.array_fails(n) {
            return None;
        }
        Some(Slot::array(n))
    }

    /// `__free_page()`, `put_page()`.
    #[inline]
    pub fn free_page(&mut self, page: Pfn) -> Result<()> {
        self.machine.put_page(&mut self.cx, page)?;
        self.freed += 1;
        Ok(())
    }

    /// `memset(slots, 0, ...)`.
    #[inline]
    pub fn clear(&mut self, slots: &[Slot]) {
        for slot in slots {
            slot.set(Pfn::NULL);
        }
        if P::ON {
            self.log.slot_clears += slots.len() as u64;
        }
    }

    /// Whether no further wait is granted.
    #[inline]
    pub fn out_of_waits(&self) -> bool {
        self.waits >= self.max_waits
    }

    /// `memalloc_retry_wait()`: one tick for a request that the allocator itself retries, else a 50th of a second.
    #[cold]
    pub fn memalloc_retry_wait(&mut self, gfp: Gfp) {
        self.waits += 1;
        let patient = gfp.has(Gfp::DIRECT_RECLAIM) && !gfp.has(Gfp::NORETRY);
        self.jiffies += if patient { 1 } else { self.hz / 50 };
        if H::ON {
            self.hooks.wait(self.waits);
        }
    }

    /// A trace line, made only when somebody looks.
    #[inline]
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if P::ON {
            self.log.trace.push(line());
        }
    }

    /// Adds to a statistic.
    #[inline]
    pub fn stat(&mut self, name: &'static str, n: u64) {
        if P::ON {
            match self.log.stats.iter_mut().find(|(known, _)| *known == name) {
                Some((_, value)) => *value += n,
                None => self.log.stats.push((name, n)),
            }
        }
    }

    /// Refuses an array that an `int` cannot count.
    #[inline]
    pub(crate) fn check_int(&self, what: &str, n: usize) -> Result<()> {
        if i32::try_from(n).is_ok() { Ok(()) } else { Err(too_many(what, n)) }
    }
}

#[cold]
fn too_many(what: &str, n: usize) -> Error {
    Error::invalid(format!("{what} {n} is above {}", i32::MAX))
}

impl<L: Locking, P: Probe, F: Fault, H: Hooks> Env<'_, L, Counting<P>, F, H> {
    /// The result of the run that just ended; the surroundings are as new afterwards, except for hooks and faults.
    pub fn report(&mut self, ret: Ret, array: Option<Box<[Slot]>>) -> CallerResult {
        let log = core::mem::take(&mut self.log);
        let result = CallerResult {
            ret,
            array,
            bulk_calls: log.bulk_calls,
            waits: self.waits,
            freed: self.freed,
            trace: log.trace,
            slot_tests: self.cx.probe.slot_tests,
            slot_writes: self.cx.probe.slot_writes,
            slot_clears: log.slot_clears,
            stats: log.stats,
            jiffies: self.jiffies,
            wait_ns: self.jiffies * (1_000_000_000 / self.hz.max(1)),
        };
        self.waits = 0;
        self.freed = 0;
        self.jiffies = 0;
        self.cx.probe.slot_tests = 0;
        self.cx.probe.slot_writes = 0;
        result
    }
}
