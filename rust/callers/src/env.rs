//! What a port runs in: the machine, the CPU, observers, failures, waits, and a record of what the caller did.

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::bulk::{NullOnly, OutputOnly, Semantics};
use bulkpages_core::fault::{Ctx, Fault, When};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, NoProbe, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Error, Machine, Pfn, Result, Slot};

use crate::misuse::Slip;
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
    fn array_fails(&self, slots: usize) -> bool;
    /// Whether appending `pages` pages to a scatter table fails.
    fn append_fails(&self, pages: usize) -> bool;
    /// Whether `vmap()` of `pages` pages fails.
    fn vmap_fails(&self, pages: usize) -> bool;
    /// Whether mapping a page for DMA fails.
    fn dma_map_fails(&self, page: Pfn) -> bool;
    /// `kthread_should_stop()`, and in sunrpc `svc_thread_should_stop()`.
    fn should_stop(&self) -> bool;
    /// The caller sleeps for the `nth` time, from 1: the rest of the world may act.
    fn wait(&self, nth: u64);
    /// What is wrong with the caller's code; nothing, unless misuse is studied.
    fn slip(&self) -> Option<Slip> {
        None
    }
    /// What slot `index` of an array holds that nobody cleared.
    fn garbage(&self, _index: usize) -> Pfn {
        Pfn::NULL
    }
}

/// Nothing fails, nobody asks to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    const ON: bool = false;
    #[inline(always)]
    fn array_fails(&self, _slots: usize) -> bool {
        false
    }
    #[inline(always)]
    fn append_fails(&self, _pages: usize) -> bool {
        false
    }
    #[inline(always)]
    fn vmap_fails(&self, _pages: usize) -> bool {
        false
    }
    #[inline(always)]
    fn dma_map_fails(&self, _page: Pfn) -> bool {
        false
    }
    #[inline(always)]
    fn should_stop(&self) -> bool {
        false
    }
    #[inline(always)]
    fn wait(&self, _nth: u64) {}
}

/// Failures that a test or a user states, and a slip in the caller's code.
#[derive(Debug, Default)]
pub struct HookPlan {
    /// Pointer arrays.
    pub arrays: When,
    /// Appends to the scatter table.
    pub appends: When,
    /// `vmap()`.
    pub vmaps: When,
    /// DMA mappings.
    pub dma_maps: When,
    /// Answers to the question whether the thread shall stop that are yes.
    pub stop: When,
    /// What is wrong with the caller's code.
    pub slip: Option<Slip>,
    /// What an array that nobody cleared holds; repeated over its slots.
    pub garbage: Vec<Pfn>,
}

impl Hooks for HookPlan {
    const ON: bool = true;
    fn array_fails(&self, _slots: usize) -> bool {
        self.arrays.fails()
    }
    fn append_fails(&self, _pages: usize) -> bool {
        self.appends.fails()
    }
    fn vmap_fails(&self, _pages: usize) -> bool {
        self.vmaps.fails()
    }
    fn dma_map_fails(&self, _page: Pfn) -> bool {
        self.dma_maps.fails()
    }
    fn should_stop(&self) -> bool {
        self.stop.fails()
    }
    fn wait(&self, _nth: u64) {}
    fn slip(&self) -> Option<Slip> {
        self.slip
    }
    fn garbage(&self, index: usize) -> Pfn {
        if self.garbage.is_empty() { Pfn::NULL } else { self.garbage[index % self.garbage.len()] }
    }
}

impl<H: Hooks> Hooks for &H {
    const ON: bool = H::ON;
    #[inline(always)]
    fn array_fails(&self, slots: usize) -> bool {
        (**self).array_fails(slots)
    }
    #[inline(always)]
    fn append_fails(&self, pages: usize) -> bool {
        (**self).append_fails(pages)
    }
    #[inline(always)]
    fn vmap_fails(&self, pages: usize) -> bool {
        (**self).vmap_fails(pages)
    }
    #[inline(always)]
    fn dma_map_fails(&self, page: Pfn) -> bool {
        (**self).dma_map_fails(page)
    }
    #[inline(always)]
    fn should_stop(&self) -> bool {
        (**self).should_stop()
    }
    #[inline(always)]
    fn wait(&self, nth: u64) {
        (**self).wait(nth);
    }
    #[inline(always)]
    fn slip(&self) -> Option<Slip> {
        (**self).slip()
    }
    #[inline(always)]
    fn garbage(&self, index: usize) -> Pfn {
        (**self).garbage(index)
    }
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
    #[inline]
    fn line(&mut self, text: &str) {
        self.inner.line(text);
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
    /// Index, in the whole array, of the first slot of what the caller works on.
    pub origin: usize,
    /// Bulk calls granted where failures can be injected.
    pub max_calls: u64,
    /// Bulk calls made there.
    pub calls: u64,
    /// Whether the calls granted were used up.
    pub endless: bool,
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
            origin: 0,
            max_calls: u64::MAX,
            calls: 0,
            endless: false,
            waits: 0,
            jiffies: 0,
            freed: 0,
            log: Log::default(),
            nid,
        })
    }

    /// Whether the caller's code has this slip. Compiled away where nothing can be wrong.
    #[inline(always)]
    pub fn slips(&self, slip: Slip) -> bool {
        H::ON && self.hooks.slip() == Some(slip)
    }

    /// `alloc_pages_bulk(gfp, slots.len(), slots)` as callers of v1 make it: on the whole array, `filled` slots of which
    /// are known to hold pages. What comes back is a position in the array.
    #[inline]
    pub fn bulk_whole<S: Semantics>(&mut self, gfp: Gfp, slots: &[Slot], filled: usize) -> Result<usize> {
        if self.slips(Slip::WrongBase) {
            return self.bulk::<S>(gfp, slots, filled, slots.len() - filled.min(slots.len()));
        }
        self.bulk::<S>(gfp, slots, 0, slots.len())
    }

    /// `alloc_pages_bulk(gfp, slots.len() - filled, slots + filled)` as callers of v2 make it: on the rest. What comes
    /// back is a number of pages.
    #[inline]
    pub fn bulk_rest<S: Semantics>(&mut self, gfp: Gfp, slots: &[Slot], filled: usize) -> Result<usize> {
        let base = if self.slips(Slip::WrongBase) { 0 } else { filled };
        self.bulk::<S>(gfp, slots, base, slots.len() - filled)
    }

    /// `alloc_pages_bulk(gfp, n, slots + base)` with semantics `S`.
    #[inline]
    fn bulk<S: Semantics>(&mut self, gfp: Gfp, slots: &[Slot], base: usize, n: usize) -> Result<usize> {
        self.count_call()?;
        let part = &slots[base..base + n];
        let base = self.origin + base;
        if P::ON {
            self.cx.probe.event(Event::BulkCall { base, nr_pages: n });
        }
        let ret = if self.slips(Slip::OtherApi) {
            if S::NAME == OutputOnly::NAME {
                self.machine.bulk::<NullOnly>(&mut self.cx, gfp, self.nid, part)
            } else {
                self.machine.bulk::<OutputOnly>(&mut self.cx, gfp, self.nid, part)
            }
        } else {
            self.machine.bulk::<S>(&mut self.cx, gfp, self.nid, part)
        };
        if P::ON {
            self.cx.probe.event(Event::BulkReturn { ret: ret as i64 });
            self.log.bulk_calls.push(BulkCall { base, nr_pages: n, ret: ret as i64 });
        }
        Ok(ret)
    }

    /// `alloc_pages_bulk_node(gfp, nid, slots.len(), slots)`.
    #[inline]
    pub fn bulk_node<S: Semantics>(&mut self, gfp: Gfp, nid: Option<usize>, slots: &[Slot]) -> Result<usize> {
        let own = self.nid;
        self.nid = self.machine.nearest_node(nid, self.cx.cpu)?;
        let ret = self.bulk::<S>(gfp, slots, 0, slots.len());
        self.nid = own;
        ret
    }

    /// `alloc_pages_bulk_refill()`.
    #[inline]
    pub fn refill(&mut self, gfp: Gfp, slots: &[Slot]) -> Result<Refilled> {
        self.count_call()?;
        if P::ON {
            self.cx.probe.event(Event::BulkCall { base: 0, nr_pages: slots.len() });
        }
        let refilled = self.machine.alloc_pages_bulk_refill(&mut self.cx, gfp, slots)?;
        if P::ON {
            let ret = i64::from(refilled.errno());
            self.cx.probe.event(Event::BulkReturn { ret });
            self.log.bulk_calls.push(BulkCall { base: 0, nr_pages: slots.len(), ret });
        }
        Ok(match refilled {
            Refilled::Partly if self.slips(Slip::PartialIsFailure) => Refilled::Nothing,
            Refilled::Partly if self.slips(Slip::IgnoresShort) => Refilled::All,
            refilled => refilled,
        })
    }

    /// A caller whose code is wrong may call without end, so calls are counted where that is possible.
    #[inline(always)]
    fn count_call(&mut self) -> Result<()> {
        if H::ON {
            if self.calls == self.max_calls {
                self.endless = true;
                return Err(Error::misuse(format!("the caller made {} bulk calls and did not end", self.calls)));
            }
            self.calls += 1;
        }
        Ok(())
    }

    /// The pages that a caller has after a call of v1 returned `ret`: `ret`.
    #[inline(always)]
    pub fn position(&self, filled: usize, ret: usize) -> usize {
        if self.slips(Slip::MixesCounts) { filled + ret } else { ret }
    }

    /// The pages that a caller has after a call of v2 returned `ret`: `ret` more.
    #[inline(always)]
    pub fn sum(&self, filled: usize, ret: usize) -> usize {
        if self.slips(Slip::MixesCounts) { ret } else { filled + ret }
    }

    /// Whether a call that was asked for `asked` and returned `ret` brought the caller forward: `right` says so, `wrong`
    /// is how the other version's callers would find out.
    #[inline(always)]
    pub fn progress(&self, ret: usize, asked: usize, right: bool, wrong: bool) -> bool {
        if self.slips(Slip::PartialIsFailure) {
            return ret >= asked;
        }
        if self.slips(Slip::OtherTest) { wrong } else { right }
    }

    /// Whether the caller goes on after a call that returned `ret`, `filled` of `pages` slots being filled.
    #[inline(always)]
    pub fn goes_on(&self, filled: usize, pages: usize, ret: usize) -> bool {
        if self.slips(Slip::IgnoresShort) && ret > 0 {
            return false;
        }
        filled < pages
    }

    /// A zeroed array of `n` pointers, unless there is none to be had.
    #[inline]
    pub fn pointer_array(&mut self, n: usize) -> Option<Box<[Slot]>> {
        if n > MAX_POINTERS || H::ON && self.hooks.array_fails(n) {
            return None;
        }
        let slots = Slot::array(n);
        if self.slips(Slip::ForgetsClear) {
            for (i, slot) in slots.iter().enumerate() {
                slot.set(self.hooks.garbage(i));
            }
        }
        Some(slots)
    }

    /// `__free_page()`, `put_page()`.
    #[inline]
    pub fn free_page(&mut self, page: Pfn) -> Result<()> {
        self.machine.put_page(&mut self.cx, page)?;
        self.freed += 1;
        Ok(())
    }

    /// `release_pages()`: drops a reference to each page; those that were the last are freed in batches.
    ///
    /// # Errors
    ///
    /// For a page that is not owned with order 0.
    pub fn release_pages(&mut self, pages: &[Pfn]) -> Result<()> {
        let mut last = Vec::with_capacity(pages.len());
        for &page in pages {
            if !self.machine.put_page_testzero(page)? {
                continue;
            }
            last.push(page);
        }
        self.freed += pages.len() as u64;
        self.machine.free_unref_folios(&mut self.cx, &last);
        Ok(())
    }

    /// A page that the caller is about to use: a NULL pointer would crash it.
    #[inline(always)]
    pub fn used(&self, page: Pfn) -> Result<Pfn> {
        if H::ON && page.is_null() {
            return Err(Error::misuse("the caller uses a NULL page"));
        }
        Ok(page)
    }

    /// What a run of a caller ended with: a caller that was stopped because it made too many calls did not return.
    ///
    /// # Errors
    ///
    /// Those of the run.
    pub fn ended(&self, ret: Result<Ret>) -> Result<Ret> {
        if self.endless { Ok(Ret::GaveUp) } else { ret }
    }

    /// `memset(slots, 0, ...)`.
    #[inline]
    pub fn clear(&mut self, slots: &[Slot]) {
        if self.slips(Slip::ForgetsClear) {
            return;
        }
        for slot in slots {
            slot.set(Pfn::NULL);
        }
        if P::ON {
            self.log.slot_clears += slots.len() as u64;
        }
    }

    /// Nanoseconds of one tick.
    pub fn jiffy_ns(&self) -> u64 {
        1_000_000_000 / self.hz.max(1)
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
        let jiffies = if patient { 1 } else { self.hz / 50 };
        self.jiffies += jiffies;
        let ns = jiffies * self.jiffy_ns();
        self.machine.advance(&mut self.cx, ns);
        if H::ON {
            self.hooks.wait(self.waits);
        }
    }

    /// A trace line, made only when somebody looks.
    #[inline]
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if P::ON {
            let line = line();
            self.cx.probe.line(&line);
            self.log.trace.push(line);
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
            wait_ns: self.jiffies * self.jiffy_ns(),
        };
        self.calls = 0;
        self.endless = false;
        self.waits = 0;
        self.freed = 0;
        self.jiffies = 0;
        self.cx.probe.slot_tests = 0;
        self.cx.probe.slot_writes = 0;
        result
    }
}
