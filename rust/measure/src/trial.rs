//! One trial: a workload repeated on one machine, timed.

use bulkpages_callers::env::{NoHooks, World};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::ports::page_pool::{BENCH_GFP, Bench, PagePool, bench_step, fill_ptr_ring};
use bulkpages_callers::{Env, Form};
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::{Fault, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{NoProbe, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Context, Ctx, Error, Machine, Result, Slot};

use crate::clock;

/// How the array is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// One single-page request for each NULL slot.
    Single,
    /// The call that fills only NULL slots; an array that is all holes is cleared first.
    V1,
    /// The call that only writes; an array with pages is compacted first.
    V2,
}

impl Api {
    /// All of them, in the order of `timings.json`.
    pub const ALL: [Api; 3] = [Api::Single, Api::V1, Api::V2];

    /// Name as in `timings.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Api::Single => "single",
            Api::V1 => "v1",
            Api::V2 => "v2",
        }
    }
}

/// What a trial repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// Fill an array, then free what was allocated.
    Bulk {
        /// How it is filled.
        api: Api,
        nr_pages: usize,
        /// 0: all slots are NULL; k: every k-th slot is a hole and the others keep their page.
        hole_period: usize,
    },
    /// A loop of the page_pool benchmark.
    PagePool {
        /// Form of the refill: [`Api::V1`] clears, [`Api::V2`] does not.
        api: Api,
        bench: Bench,
    },
}

/// What a trial measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Pages allocated; for a pool, iterations.
    pub pages: u64,
    /// Clock counts inside allocation alone.
    pub alloc: u64,
    /// Clock counts of the whole loop, frees included.
    pub total: u64,
}

const GFP: Gfp = Gfp::KERNEL;

/// Fills the NULL slots of `slots`, as [`Api`] says. What a caller does for it is inside: on v1 an array without pages
/// is cleared first, on v2 one with pages is compacted.
#[inline]
pub(crate) fn fill<L: Locking>(
    machine: &Machine<L>,
    cx: &mut impl Context,
    nid: usize,
    api: Api,
    slots: &mut [Slot],
    holes: bool,
) {
    if api == Api::V1 && !holes {
        Slot::clear(slots);
    }
    match api {
        Api::Single => {
            let nr_pages = slots.len();
            let mut rest = Slot::skip_populated(cx, slots, nr_pages);
            while let [slot, behind @ ..] = rest {
                if let Some(page) = machine.alloc_page(cx, GFP, nid) {
                    slot.write(cx, nr_pages - rest.len(), page);
                }
                rest = Slot::skip_populated(cx, behind, nr_pages);
            }
        }
        Api::V1 => {
            let mut filled = 0;
            while filled < slots.len() {
                let last = filled;
                filled = machine.bulk::<NullOnly>(cx, GFP, nid, slots);
                if filled == last {
                    break;
                }
            }
        }
        Api::V2 => {
            let mut filled = if holes { bulkpages_callers::ports::compact::compact(cx, slots) } else { 0 };
            while filled < slots.len() {
                let n = machine.bulk::<OutputOnly>(cx, GFP, nid, &slots[filled..]);
                if n == 0 {
                    break;
                }
                filled += n;
            }
        }
    }
}

impl Workload {
    /// Runs the workload `iterations` times on CPU 0 and times it. What it allocated is free again afterwards.
    ///
    /// # Errors
    ///
    /// For an array without slots, and when the machine has no page left.
    pub fn run<L: Locking>(self, machine: &Machine<L>, iterations: u64) -> Result<Sample> {
        self.run_with(machine, &mut Ctx { cpu: 0, probe: NoProbe, fault: NoFault }, iterations)
    }

    /// The same with an observer and a fault plan.
    ///
    /// # Errors
    ///
    /// As [`Workload::run`].
    pub fn run_with<L: Locking, P: Probe, F: Fault>(
        self,
        machine: &Machine<L>,
        cx: &mut Ctx<P, F>,
        iterations: u64,
    ) -> Result<Sample> {
        match self {
            Workload::Bulk { api, nr_pages, hole_period } => {
                run_bulk(machine, cx, api, nr_pages, hole_period, iterations)
            }
            Workload::PagePool { api, bench } => run_pool(machine, cx, api, bench, iterations),
        }
    }
}

#[inline(never)]
fn run_bulk<L: Locking>(
    machine: &Machine<L>,
    cx: &mut impl Context,
    api: Api,
    nr_pages: usize,
    hole_period: usize,
    iterations: u64,
) -> Result<Sample> {
    if nr_pages == 0 || nr_pages > 1 << 20 {
        return Err(Error::invalid(format!("nr_pages {nr_pages} is outside 1 to {}", 1 << 20)));
    }
    let nid = machine.nearest_node(None, cx.cpu())?;
    let holes = hole_period > 0;
    let step = hole_period.max(1);
    let mut slots = Shape::periodic(nr_pages, step).fill(machine, cx.cpu())?;
    let mut sample = Sample::default();
    let start = clock::now();
    for _ in 0..iterations {
        let t0 = clock::now();
        fill(machine, cx, nid, api, &mut slots, holes);
        sample.alloc += clock::now() - t0;
        // As bench.c: the slots of the hole pattern are freed again, one page each.
        for slot in slots.iter().step_by(step) {
            let page = slot.get();
            if !page.is_null() {
                sample.pages += 1;
                machine.put_page(cx, page)?;
            }
            if api == Api::Single || holes {
                slot.set_raw(0);
            }
        }
    }
    sample.total = clock::now() - start;
    if holes {
        machine.free_bulk(cx, &slots)?;
    }
    Ok(sample)
}

#[inline(never)]
fn run_pool<L: Locking, P: Probe, F: Fault>(
    machine: &Machine<L>,
    cx: &mut Ctx<P, F>,
    api: Api,
    bench: Bench,
    iterations: u64,
) -> Result<Sample> {
    let form = if api == Api::V1 { Form::Before } else { Form::After };
    let cpu = cx.cpu;
    let cx = Ctx { cpu, probe: &mut cx.probe, fault: &cx.fault };
    let env = &mut Env::new(machine, cx, NoHooks)?;
    let mut pool = PagePool::new(form, BENCH_GFP, None, 1024, 1)?;
    fill_ptr_ring(&mut pool, env)?;
    let start = clock::now();
    let pages = match bench {
        // One loop each, so that the choice is outside it.
        Bench::FastPath => pool_loop::<0, _>(&mut pool, env, iterations)?,
        Bench::PtrRing => pool_loop::<1, _>(&mut pool, env, iterations)?,
        Bench::Slow => pool_loop::<2, _>(&mut pool, env, iterations)?,
    };
    let total = clock::now() - start;
    pool.destroy(env)?;
    Ok(Sample { pages, alloc: total, total })
}

#[inline(never)]
fn pool_loop<const B: usize, W: World>(pool: &mut PagePool, env: &mut Env<'_, W>, iterations: u64) -> Result<u64> {
    for i in 0..iterations {
        if !bench_step(Bench::ALL[B], pool, env)? {
            return Ok(i);
        }
    }
    Ok(iterations)
}
