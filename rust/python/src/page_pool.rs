//! `PagePool`: a working page_pool on a machine.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bulkpages_callers::Form;
use bulkpages_callers::env::{Counting, Env, NoHooks};
use bulkpages_callers::ports::page_pool::{BENCH_GFP, Bench, FORMS, PagePool as Pool};
use bulkpages_core::PageState;
use bulkpages_core::probe::NoProbe;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Error, Machine as CoreMachine, Pfn, Result};
use bulkpages_measure::{Api, Counts, Workload};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::args::Int;
use crate::callers::{Setting, form};
use crate::errors::{ApiMisuse, invalid, to_py};
use crate::machine::{Machine, with, with_ctx};
use crate::measure::allocator_counts;

/// What a pool is, and what an observer saw of it so far.
#[derive(Debug)]
struct State {
    pool: Option<Pool>,
    bulk_calls: Vec<(usize, i64)>,
    trace: Vec<String>,
    slot_tests: u64,
    slot_writes: u64,
    counts: Counts,
}

/// A page_pool without a device. Made by `bulkpages.callers.PagePool`, which documents it.
#[pyclass(frozen, subclass, module = "bulkpages._core")]
#[derive(Debug)]
pub struct PagePool {
    machine: Py<Machine>,
    state: Mutex<State>,
    cpu: usize,
    id: u8,
    form: &'static str,
}

impl PagePool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the pool, observed, with the machine's faults in force.
    fn observed<T>(&self, f: impl Fn(&mut Pool, &mut dyn PoolCalls) -> Result<T>) -> PyResult<T> {
        let machine = self.machine.get();
        let setting = Setting {
            cpu: self.cpu,
            max_waits: 0,
            explain: false,
            traced: machine.tracer.on(),
            plan: machine.faults.innermost().unwrap_or_default(),
        };
        let mut state = self.state();
        let state = &mut *state;
        let pool = state.pool.as_mut().ok_or_else(|| ApiMisuse::new_err("the pool was destroyed"))?;
        with!(machine, |m| {
            let mut env = setting.env(m).map_err(to_py)?;
            env.cx.probe.inner.counts = state.counts;
            let result = f(pool, &mut env);
            state.bulk_calls.extend(env.log.bulk_calls.iter().map(|c| (c.nr_pages, c.ret)));
            state.trace.append(&mut env.log.trace);
            state.slot_tests += env.cx.probe.slot_tests;
            state.slot_writes += env.cx.probe.slot_writes;
            if setting.traced {
                let seen = &env.cx.probe.inner;
                machine.tracer.note_all(setting.cpu, &seen.events, &seen.lines);
            }
            state.counts = env.cx.probe.inner.counts;
            result
        })
        .map_err(to_py)
    }
}

/// What a pool is asked for, whatever the machine's locks.
trait PoolCalls {
    fn alloc(&mut self, pool: &mut Pool) -> Result<Option<Pfn>>;
    fn put(&mut self, pool: &mut Pool, page: Pfn, direct: bool) -> Result<()>;
    fn destroy(&mut self, pool: &mut Pool) -> Result<()>;
}

impl<L: Locking, F: bulkpages_core::fault::Fault, H: bulkpages_callers::env::Hooks> PoolCalls
    for Env<'_, (L, Counting<crate::events::Recorder>, F, H)>
{
    fn alloc(&mut self, pool: &mut Pool) -> Result<Option<Pfn>> {
        pool.alloc(self)
    }
    fn put(&mut self, pool: &mut Pool, page: Pfn, direct: bool) -> Result<()> {
        if !matches!(self.machine.page_state(page), PageState::Allocated(0)) {
            return Err(Error::ApiMisuse(format!("pfn {page} is not allocated")));
        }
        if pool.holds(page) {
            return Err(Error::ApiMisuse(format!("pfn {page} is in the pool already")));
        }
        pool.put_page(self, page, direct)
    }
    fn destroy(&mut self, pool: &mut Pool) -> Result<()> {
        pool.destroy(self)
    }
}

#[pymethods]
impl PagePool {
    /// A pool; its pages are asked for by `cpu`.
    #[new]
    #[pyo3(signature = (machine, *, form_name, pool_size=None, cpu=None))]
    fn new(
        machine: &Bound<'_, Machine>,
        form_name: &str,
        pool_size: Option<Int>,
        cpu: Option<Int>,
    ) -> PyResult<PagePool> {
        let form = form(form_name, FORMS)?;
        let m = machine.get();
        let cpu = m.cpu(cpu)?;
        let size = pool_size.map_or(Ok(1024), |n| n.within("pool_size", 1..=32_768))? as usize;
        let id = m.pool_ids.take()?;
        match Pool::new(form, BENCH_GFP, None, size, id) {
            Ok(pool) => Ok(PagePool {
                machine: machine.clone().unbind(),
                state: Mutex::new(State {
                    pool: Some(pool),
                    bulk_calls: Vec::new(),
                    trace: Vec::new(),
                    slot_tests: 0,
                    slot_writes: 0,
                    counts: Counts::default(),
                }),
                cpu,
                id,
                form: form.name(),
            }),
            Err(error) => {
                m.pool_ids.give_back(id);
                Err(to_py(error))
            }
        }
    }

    /// A page for the driver, or None.
    fn alloc(&self) -> PyResult<Option<u32>> {
        Ok(self.observed(|pool, env| env.alloc(pool))?.map(|page| page.0))
    }

    /// `page_pool_put_page(allow_direct = false)`: into the ring.
    fn put(&self, pfn: Int) -> PyResult<()> {
        let page = Pfn(pfn.pfn("pfn")?);
        self.observed(|pool, env| env.put(pool, page, false))
    }

    /// `page_pool_recycle_direct()`: into the cache.
    fn recycle_direct(&self, pfn: Int) -> PyResult<()> {
        let page = Pfn(pfn.pfn("pfn")?);
        self.observed(|pool, env| env.put(pool, page, true))
    }

    /// `page_pool_destroy()`: pages in cache and ring go back to the machine. Pages that drivers hold stay theirs.
    fn destroy(&self) -> PyResult<()> {
        self.observed(|pool, env| env.destroy(pool))?;
        self.state().pool = None;
        Ok(())
    }

    /// Name of the form.
    #[getter]
    fn form(&self) -> &'static str {
        self.form
    }

    /// (cache, hold_cnt, release_cnt, slot_clears, slot_tests, slot_writes), bulk calls, trace lines and statistics.
    fn _info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = self.state();
        let d = PyDict::new(py);
        d.set_item("bulk_calls", &state.bulk_calls)?;
        d.set_item("trace", &state.trace)?;
        d.set_item("slot_tests", state.slot_tests)?;
        d.set_item("slot_writes", state.slot_writes)?;
        d.set_item("counts", allocator_counts(py, &state.counts)?)?;
        let Some(pool) = &state.pool else { return Ok(d) };
        d.set_item("cache", pool.cache()[..pool.cached()].iter().map(|s| s.raw()).collect::<Vec<_>>())?;
        d.set_item("hold_cnt", pool.hold_cnt)?;
        d.set_item("release_cnt", pool.release_cnt)?;
        d.set_item("inflight", pool.inflight())?;
        d.set_item("slot_clears", pool.slot_clears)?;
        let s = pool.stats;
        let stats = PyDict::new(py);
        for (name, value) in [
            ("fast", s.fast),
            ("slow", s.slow),
            ("empty", s.empty),
            ("refill", s.refill),
            ("waive", s.waive),
            ("cached", s.cached),
            ("cache_full", s.cache_full),
            ("ring", s.ring),
            ("ring_full", s.ring_full),
            ("released_refcnt", s.released_refcnt),
        ] {
            stats.set_item(name, value)?;
        }
        d.set_item("stats", stats)?;
        Ok(d)
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        let machine = self.machine.get();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut pool) = state.pool.take() {
            fn destroy<L: Locking>(pool: &mut Pool, machine: &CoreMachine<L>, cpu: usize) -> Result<()> {
                pool.destroy(&mut Env::new(machine, Ctx::on(cpu), NoHooks)?)
            }
            // Pages that were freed behind the pool's back are not its any more.
            let _ = with!(machine, |m| destroy(&mut pool, m, self.cpu));
        }
        machine.pool_ids.give_back(self.id);
    }
}

/// Marks of the pools that a machine has.
#[derive(Debug, Default)]
pub(crate) struct PoolIds {
    used: Mutex<Vec<u8>>,
    /// How many: read by every free, so that machines without pools pay one load.
    count: AtomicUsize,
}

impl PoolIds {
    fn take(&self) -> PyResult<u8> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match (1..=u8::MAX).find(|id| !used.contains(id)) {
            Some(id) => {
                used.push(id);
                self.count.store(used.len(), Relaxed);
                Ok(id)
            }
            None => Err(invalid("a machine has at most 255 pools at a time")),
        }
    }

    fn give_back(&self, id: u8) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|&other| other != id);
        self.count.store(used.len(), Relaxed);
    }

    /// Whether there is any pool.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }
}

/// Times `loops` of a loop of the page_pool benchmark: (iterations done, clock counts, clock counts).
#[pyfunction]
#[pyo3(signature = (machine, form_name, bench, loops, *, cpu=None))]
pub(crate) fn time_bench_page_pool(
    py: Python<'_>,
    machine: &Bound<'_, Machine>,
    form_name: &str,
    bench: &str,
    loops: Int,
    cpu: Option<Int>,
) -> PyResult<(u64, u64, u64)> {
    let machine = machine.get();
    let api = match form(form_name, FORMS)? {
        Form::Before | Form::Tracked => Api::V1,
        Form::After | Form::V3 => Api::V2,
    };
    let bench = Bench::ALL
        .into_iter()
        .find(|b| b.name() == bench)
        .ok_or_else(|| invalid(format!("bench {bench:?} is not one of {}", Bench::ALL.map(Bench::name).join(", "))))?;
    let (loops, cpu) = (loops.within("loops", 1..=1 << 40)? as u64, machine.cpu(cpu)?);
    let workload = Workload::PagePool { api, bench };
    let sample = py.detach(|| with_ctx!(machine, cpu, |m, cx| workload.run_with(m, cx, loops))).map_err(to_py)?;
    if sample.pages < loops {
        return Err(invalid(format!("loops {loops}: the machine had no page for loop {}", sample.pages)));
    }
    Ok((sample.pages, sample.alloc, sample.total))
}
