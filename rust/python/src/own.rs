//! Callers that are written in Python: single steps on a machine under a plan of failures, with account kept of every
//! page; and their recorded steps, counted and timed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkpages_callers::env::{Counting, Hooks};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::own::OwnStep;
use bulkpages_callers::result::Ret;
use bulkpages_callers::study::account::Account;
use bulkpages_callers::study::harness::{FailurePlan, Outcome, Run};
use bulkpages_callers::study::score::Verdict;
use bulkpages_callers::study::stops::{Branch, Lasting, Stop, plan};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::replay::Api;
use bulkpages_core::{Ctx, Pfn, Slot};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList};

use crate::args::{Flags, Int};
use crate::callers::check_owned;
use crate::errors::{ApiMisuse, invalid, to_py};
use crate::events::{Recorder, to_dict};
use crate::machine::{Machine, bulk_api, with};
use crate::measure::{allocator_counts, count_dict, steps, times};
use crate::page_array::PageArray;
use crate::sweep::ret_text;

/// Tells both.
struct Both<'a> {
    account: &'a mut Account,
    recorder: &'a mut Recorder,
}

impl Probe for Both<'_> {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        (&mut *self.account).event(event);
        self.recorder.event(event);
    }
}

#[derive(Debug)]
struct State {
    account: Account,
    recorder: Recorder,
    explain: bool,
    slot_tests: u64,
    slot_writes: u64,
    slot_clears: u64,
    found: Vec<Pfn>,
    over: bool,
}

/// One run of a caller that is written in Python.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug)]
pub struct OwnRun {
    machine: Py<Machine>,
    plan: Arc<FailurePlan>,
    cpu: usize,
    state: Mutex<State>,
}

/// What a run of such a caller left behind.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug)]
pub struct OwnOutcome {
    outcome: Outcome,
}

fn stop(branch: &str, index: u64, lasting: &str) -> PyResult<Stop> {
    let known = Branch::ALL.into_iter().find(|b| b.name() == branch);
    let branch = known.ok_or_else(|| invalid(format!("no branch is called {branch:?}")))?;
    let known = Lasting::ALL.into_iter().find(|l| l.name() == lasting);
    Ok(Stop { branch, index, lasting: known.ok_or_else(|| invalid(format!("nothing fails {lasting:?}")))? })
}

fn part<'a>(array: &'a Bound<'_, PageArray>, base: &Int, n: &Int) -> PyResult<(&'a [Slot], usize, usize)> {
    let slots = array.get().slots();
    let base = base.within("base", 0..=slots.len() as i64)? as usize;
    let n = n.within("slots", 0..=(slots.len() - base) as i64)? as usize;
    Ok((slots, base, n))
}

impl OwnRun {
    fn state(&self) -> PyResult<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over { Err(ApiMisuse::new_err("the run is over")) } else { Ok(state) }
    }

    /// One step, told to the account.
    fn step(&self, step: OwnStep, slots: &[Slot], register: Pfn) -> PyResult<(i64, Pfn)> {
        let mut state = self.state()?;
        let State { account, recorder, slot_tests, slot_writes, .. } = &mut *state;
        let called = matches!(step, OwnStep::Bulk { .. } | OwnStep::Refill { .. });
        if let (true, Some((_, base, nr_pages))) = (called, step.slots()) {
            recorder.event(Event::BulkCall { base, nr_pages });
        }
        let probe = Counting::new(Both { account, recorder });
        let mut cx = Ctx { cpu: self.cpu, probe, fault: &self.plan.fault };
        let mut registers = [register];
        let result = with!(self.machine.get(), |m| {
            let nid = m.nearest_node(None, self.cpu).map_err(to_py)?;
            step.run(m, &mut cx, nid, &[slots], &mut registers)
        });
        *slot_tests += cx.probe.slot_tests;
        *slot_writes += cx.probe.slot_writes;
        if let (true, Ok(ret)) = (called, &result) {
            recorder.event(Event::BulkReturn { ret: *ret });
        }
        Ok((result.map_err(to_py)?, registers[0]))
    }
}

#[pymethods]
impl OwnRun {
    /// A run on `array` on CPU `cpu`: under the machine's faults, or under `stops`, (branch, index, lasting) each.
    #[new]
    #[pyo3(signature = (machine, array, cpu, *, stops=None, explain=false))]
    fn new(
        machine: &Bound<'_, Machine>,
        array: &Bound<'_, PageArray>,
        cpu: Int,
        stops: Option<Vec<(String, u64, String)>>,
        explain: bool,
    ) -> PyResult<OwnRun> {
        let m = machine.get();
        let cpu = m.cpu(Some(cpu))?;
        check_owned(m, array.get().slots())?;
        let plan = match stops {
            None => m.faults.innermost().unwrap_or_default(),
            Some(stops) => {
                let stops = stops.iter().map(|(b, i, l)| stop(b, *i, l)).collect::<PyResult<Vec<_>>>()?;
                Arc::new(plan(&stops))
            }
        };
        let frames = with!(m, |m| m.pages().end().0 as usize);
        let mut account = Account::new(frames);
        let found: Vec<Pfn> = array.get().slots().iter().map(Slot::get).collect();
        found.iter().filter(|page| !page.is_null()).for_each(|&page| account.found(page));
        Ok(OwnRun {
            machine: machine.clone().unbind(),
            plan,
            cpu,
            state: Mutex::new(State {
                account,
                recorder: Recorder { on: explain || m.tracer.on(), ..Recorder::default() },
                explain,
                slot_tests: 0,
                slot_writes: 0,
                slot_clears: 0,
                found,
                over: false,
            }),
        })
    }

    /// `alloc_pages_bulk()` into `n` slots from `base` on.
    fn bulk(&self, api: &str, gfp: Flags, array: &Bound<'_, PageArray>, base: Int, n: Int) -> PyResult<i64> {
        let (gfp, (slots, base, n)) = (gfp.gfp()?, part(array, &base, &n)?);
        let api = bulk_api(api)?;
        Ok(self.step(OwnStep::Bulk { api, gfp, array: 0, base, n }, slots, Pfn::NULL)?.0)
    }

    /// `alloc_pages_bulk_refill()`.
    fn refill(&self, gfp: Flags, array: &Bound<'_, PageArray>, base: Int, n: Int) -> PyResult<i64> {
        let (gfp, (slots, base, n)) = (gfp.gfp()?, part(array, &base, &n)?);
        Ok(self.step(OwnStep::Refill { gfp, array: 0, base, n }, slots, Pfn::NULL)?.0)
    }

    /// One page by the single-page path, 0 when there is none.
    fn single(&self, gfp: Flags) -> PyResult<u32> {
        Ok(self.step(OwnStep::Single { gfp: gfp.gfp()?, to: 0 }, &[], Pfn::NULL)?.1.0)
    }

    /// The page in a slot, which counts as a slot test.
    fn read(&self, array: &Bound<'_, PageArray>, index: Int) -> PyResult<u32> {
        let slots = array.get().slots();
        let index = index.below("slot", slots.len())?;
        Ok(self.step(OwnStep::Read { array: 0, index, to: 0 }, slots, Pfn::NULL)?.1.0)
    }

    /// Stores a page, or NULL.
    fn write(&self, array: &Bound<'_, PageArray>, index: Int, page: Int) -> PyResult<()> {
        let (slots, page) = (array.get().slots(), Pfn(page.pfn("frame number")?));
        let index = index.below("slot", slots.len())?;
        self.step(OwnStep::Write { array: 0, index, from: Some(0) }, slots, page).map(|_| ())
    }

    /// `memset()` of `n` slots from `base` on.
    fn clear(&self, array: &Bound<'_, PageArray>, base: Int, n: Int) -> PyResult<()> {
        let (slots, base, n) = part(array, &base, &n)?;
        self.step(OwnStep::Clear { array: 0, base, n }, slots, Pfn::NULL)?;
        self.state()?.slot_clears += n as u64;
        Ok(())
    }

    /// Moves the pages of `n` slots from `base` on to their front: how many there are.
    fn compact(&self, array: &Bound<'_, PageArray>, base: Int, n: Int) -> PyResult<i64> {
        let (slots, base, n) = part(array, &base, &n)?;
        Ok(self.step(OwnStep::Compact { array: 0, base, n }, slots, Pfn::NULL)?.0)
    }

    /// `__free_page()`.
    fn free(&self, page: Int) -> PyResult<()> {
        let page = Pfn(page.pfn("pfn")?);
        self.machine.get().not_in_a_pool(page)?;
        self.step(OwnStep::Free { from: 0 }, &[], page).map(|_| ())
    }

    /// Virtual time passes.
    fn wait(&self, ns: Int) -> PyResult<()> {
        let ns = ns.within("ns", 0..=1 << 60)? as u64;
        let mut state = self.state()?;
        let State { account, recorder, .. } = &mut *state;
        let mut cx = Ctx { cpu: self.cpu, probe: Both { account, recorder }, fault: &self.plan.fault };
        with!(self.machine.get(), |m| m.advance(&mut cx, ns));
        Ok(())
    }

    /// Whether a step outside the allocator fails, or for "stop" whether the thread is to stop.
    fn fails(&self, what: &str) -> PyResult<bool> {
        let hooks = &self.plan.hooks;
        Ok(match what {
            "array" => hooks.array_fails(0),
            "append" => hooks.append_fails(0),
            "vmap" => hooks.vmap_fails(0),
            "dma_map" => hooks.dma_map_fails(Pfn::NULL),
            "stop" => hooks.should_stop(),
            other => {
                return Err(invalid(format!("step {other:?} is not one of array, append, vmap, dma_map, stop")));
            }
        })
    }

    /// Pages that somebody else owns; the caller has no business with them.
    fn others(&self, n: Int) -> PyResult<Vec<u32>> {
        let n = n.within("pages", 0..=64)?;
        let mut state = self.state()?;
        let mut pages = Vec::new();
        for _ in 0..n {
            let page = with!(self.machine.get(), |m| m.alloc_pages(&mut Ctx::on(self.cpu), Gfp::KERNEL, 0, None));
            if let Some(page) = page.map_err(to_py)? {
                state.account.others(page);
                pages.push(page.0);
            }
        }
        Ok(pages)
    }

    /// Ends the run: `ret` is what the caller returned (None: it was stopped while it waited or called without end),
    /// `crash` the check that ended it; `array` holds its pages, of which a success has `wanted`. With `clean`, every
    /// page goes back to the machine, the array's too. Returns the outcome, the counts and the events.
    #[pyo3(signature = (ret, array, *, wanted, calls, waits, crash=None, clean=false))]
    #[expect(clippy::too_many_arguments)]
    fn finish<'py>(
        &self,
        py: Python<'py>,
        ret: Option<Bound<'py, PyAny>>,
        array: &Bound<'py, PageArray>,
        wanted: usize,
        calls: usize,
        waits: u64,
        crash: Option<String>,
        clean: bool,
    ) -> PyResult<(OwnOutcome, Bound<'py, PyDict>, Bound<'py, PyList>)> {
        let ret = match ret {
            None => Ret::GaveUp,
            Some(value) => match value.cast::<PyBool>() {
                Ok(flag) => Ret::Bool(flag.is_true()),
                Err(_) => Ret::Errno(value.extract::<Int>()?.within("what a caller returns", -4095..=0)? as i32),
            },
        };
        let mut state = self.state()?;
        state.over = true;
        let FailurePlan { fault, hooks } = &*self.plan;
        let asked = bulkpages_callers::study::harness::asked(fault, hooks);
        let left: Vec<u64> = array.get().slots().iter().map(Slot::raw).collect();
        let outcome = match crash {
            Some(error) => Outcome::crashed(&state.account, &error, asked),
            None => Outcome::of(&Run { ret, calls, waits, wanted }, state.account.stock(&state.found, &left), asked),
        };
        if clean {
            let left = state.account.close();
            with!(self.machine.get(), |m| {
                left.into_iter().try_for_each(|page| m.free_pages(&mut Ctx::on(self.cpu), page, 0))
            })
            .map_err(to_py)?;
        }
        let seen = std::mem::take(&mut state.recorder);
        let tracer = &self.machine.get().tracer;
        if tracer.on() {
            tracer.note_all(self.cpu, &seen.events, &seen.lines);
        }
        let events =
            seen.events.iter().filter(|_| state.explain).map(|e| to_dict(py, e)).collect::<PyResult<Vec<_>>>()?;
        let counts = allocator_counts(py, &seen.counts)?;
        counts.set_item("slot_tests", state.slot_tests)?;
        counts.set_item("slot_writes", state.slot_writes)?;
        counts.set_item("slot_clears", state.slot_clears)?;
        counts.set_item("steps", steps(&seen.counts, state.slot_clears))?;
        Ok((OwnOutcome { outcome }, counts, PyList::new(py, events)?))
    }
}

#[pymethods]
impl OwnOutcome {
    /// What came of the run, by the names of a sweep's columns.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let o = &self.outcome;
        let d = PyDict::new(py);
        d.set_item("ret", ret_text(o))?;
        d.set_item("calls", o.calls)?;
        d.set_item("retries", o.calls.saturating_sub(1))?;
        d.set_item("waits", o.waits)?;
        d.set_item("filled", o.filled)?;
        d.set_item("leaked", o.leaked)?;
        d.set_item("freed_populated", o.freed_populated)?;
        d.set_item("moved", o.moved)?;
        d.set_item("corrupt", u64::from(o.corrupt()))?;
        d.set_item("endless", u64::from(o.endless))?;
        Ok(d)
    }

    /// How often each step that can be stopped was come to: (branch, indices at which it can be).
    fn indices(&self) -> Vec<(&'static str, u64)> {
        Branch::ALL.into_iter().map(|b| (b.name(), b.indices(&self.outcome.asked))).collect()
    }

    /// Whether the thread asked if it is to stop.
    #[getter]
    fn asked_to_stop(&self) -> bool {
        self.outcome.asked.stop > 0
    }

    /// The kernel's check that ended the run, if one did.
    #[getter]
    fn crash(&self) -> Option<String> {
        self.outcome.crash.clone()
    }

    /// The verdict on a slip: this run against the right one under the same failures.
    fn verdict(&self, right: &OwnOutcome) -> &'static str {
        Verdict::of(&self.outcome, &right.outcome).name()
    }
}

/// A step as Python states it: name, array, and three numbers; and what it gave.
type Row = (String, usize, usize, usize, u64, i64);

/// The recorded steps of a caller.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug)]
pub struct Stream {
    inner: bulkpages_measure::Stream,
    shape: String,
    made: Vec<usize>,
    rows: Vec<Row>,
}

fn step(row: &Row) -> PyResult<(OwnStep, i64)> {
    let &(ref name, array, a, b, c, was) = row;
    let gfp = || Gfp::new(c).map_err(to_py);
    let step = match name.as_str() {
        "bulk_v1" => OwnStep::Bulk { api: Api::V1, gfp: gfp()?, array, base: a, n: b },
        "bulk_v2" => OwnStep::Bulk { api: Api::V2, gfp: gfp()?, array, base: a, n: b },
        "refill" => OwnStep::Refill { gfp: gfp()?, array, base: a, n: b },
        "single" => OwnStep::Single { gfp: gfp()?, to: a },
        "read" => OwnStep::Read { array, index: a, to: b },
        "write" => OwnStep::Write { array, index: a, from: Some(b) },
        "null" => OwnStep::Write { array, index: a, from: None },
        "clear" => OwnStep::Clear { array, base: a, n: b },
        "compact" => OwnStep::Compact { array, base: a, n: b },
        "free" => OwnStep::Free { from: a },
        other => return Err(invalid(format!("no step is called {other:?}"))),
    };
    Ok((step, was))
}

#[pymethods]
impl Stream {
    /// Steps on an array of `shape`, a picture, and on arrays of so many slots each that the caller makes.
    #[new]
    fn new(shape: String, made: Vec<usize>, rows: Vec<Row>) -> PyResult<Stream> {
        let steps = rows.iter().map(step).collect::<PyResult<Vec<_>>>()?;
        let parsed = Shape::parse(&shape).map_err(to_py)?;
        let inner = bulkpages_measure::Stream::new(parsed, made.clone(), steps).map_err(to_py)?;
        Ok(Stream { inner, shape, made, rows })
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let same = |o: &Stream| (&o.shape, &o.made, &o.rows) == (&self.shape, &self.made, &self.rows);
        other.cast::<Stream>().is_ok_and(|o| same(o.get()))
    }

    fn __repr__(&self) -> String {
        format!("<Stream {} on {}, {} steps>", self.inner.len(), self.shape, self.rows.len())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, (String, Vec<usize>, Vec<Row>)) {
        (py.get_type::<Stream>().into_any(), (self.shape.clone(), self.made.clone(), self.rows.clone()))
    }

    /// The steps as they were recorded.
    #[getter]
    fn steps(&self) -> Vec<Row> {
        self.rows.clone()
    }

    /// Times `iterations` runs: (pages, clock counts of the runs).
    #[pyo3(signature = (machine, iterations, *, cold=false))]
    fn trial(&self, py: Python<'_>, machine: &Bound<'_, Machine>, iterations: Int, cold: bool) -> PyResult<(u64, u64)> {
        let (n, machine) = (times(&iterations)?, machine.get());
        let sample = py.detach(|| with!(machine, |m| self.inner.run(m, n, cold))).map_err(to_py)?;
        Ok((sample.pages, sample.alloc))
    }

    /// Counts what `iterations` runs do, frees between them not among it.
    #[pyo3(signature = (machine, iterations, *, cold=false))]
    fn count<'py>(
        &self,
        py: Python<'py>,
        machine: &Bound<'py, Machine>,
        iterations: Int,
        cold: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (n, machine) = (times(&iterations)?, machine.get());
        let (counts, pages) = py.detach(|| with!(machine, |m| self.inner.count(m, n, cold))).map_err(to_py)?;
        count_dict(py, &counts, pages)
    }
}
