//! The failure sweep and the misuse score, watched: progress is told and a signal ends them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bulkpages_callers::ports::Caller;
use bulkpages_callers::result::Ret;
use bulkpages_callers::study::harness::Outcome;
use bulkpages_callers::study::score::{Score, Verdict, misuse};
use bulkpages_callers::study::sweep::{Row, Scope, sweep};
use bulkpages_core::Result;
use bulkpages_core::era::{Era, Rules};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::args::Int;
use crate::era::rules_of;
use crate::errors::to_py;

/// Runs `job` on threads of its own while this one looks for signals and tells `progress` how far it is.
pub(crate) fn watched<T: Send>(
    py: Python<'_>,
    progress: Option<&Py<PyAny>>,
    job: impl FnOnce(&(dyn Fn(usize, usize) -> bool + Sync)) -> Result<T> + Send,
) -> PyResult<T> {
    let (done, total, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<PyErr>> = Mutex::new(None);
    let result = py.detach(|| {
        std::thread::scope(|scope| {
            let tell = |d: usize, t: usize| {
                done.store(d, Relaxed);
                total.store(t, Relaxed);
                !stop.load(Relaxed)
            };
            let work = scope.spawn(move || job(&tell));
            while !work.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
                let looked = Python::attach(|py| {
                    py.check_signals()?;
                    match progress {
                        Some(call) => call.call1(py, (done.load(Relaxed), total.load(Relaxed))).map(|_| ()),
                        None => Ok(()),
                    }
                });
                if let Err(error) = looked {
                    stop.store(true, Relaxed);
                    if let Ok(mut failed) = failed.lock() {
                        failed.get_or_insert(error);
                    }
                }
            }
            work.join()
        })
    });
    if let Ok(Some(error)) = failed.into_inner() {
        return Err(error);
    }
    match result {
        Ok(result) => result.map_err(to_py),
        Err(_) => Err(crate::errors::BulkpagesError::new_err("a worker thread ended in a panic")),
    }
}

pub(crate) fn ret_text(outcome: &Outcome) -> String {
    match outcome.ret {
        None => "crash".into(),
        Some(Ret::Errno(e)) => e.to_string(),
        Some(Ret::Bool(true)) => "true".into(),
        Some(Ret::Bool(false)) => "false".into(),
        Some(Ret::GaveUp) => "endless".into(),
    }
}

fn row_to_dict<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("caller", row.case.target.caller.name())?;
    d.set_item("form", row.form.name())?;
    d.set_item("input", row.case.target.label())?;
    d.set_item("slots", row.case.target.slots())?;
    d.set_item("setting", row.case.setting.name())?;
    d.set_item("stops", row.stops.iter().map(|(b, l)| (b.name(), l.name())).collect::<Vec<_>>())?;
    d.set_item("index", row.runs.iter().map(|(i, _)| i.clone()).collect::<Vec<_>>())?;
    d.set_item("ret", row.runs.iter().map(|(_, o)| ret_text(o)).collect::<Vec<_>>())?;
    macro_rules! column {
        ($name:ident, $f:expr) => {
            d.set_item(stringify!($name), row.runs.iter().map(|(_, o)| $f(o)).collect::<Vec<u64>>())?
        };
    }
    column!(calls, |o: &Outcome| o.calls as u64);
    column!(retries, |o: &Outcome| o.calls.saturating_sub(1) as u64);
    column!(waits, |o: &Outcome| o.waits);
    column!(filled, |o: &Outcome| o.filled as u64);
    column!(leaked, |o: &Outcome| o.leaked as u64);
    column!(freed_populated, |o: &Outcome| o.freed_populated as u64);
    column!(moved, |o: &Outcome| o.moved as u64);
    column!(corrupt, |o: &Outcome| u64::from(o.corrupt()));
    column!(endless, |o: &Outcome| u64::from(o.endless));
    Ok(d)
}

fn score_to_dict<'py>(py: Python<'py>, score: &Score) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("caller", score.caller.name())?;
    d.set_item("form", score.form.name())?;
    d.set_item("slip", score.slip.name())?;
    d.set_item("verdict", score.verdict().name())?;
    d.set_item("plain_verdict", score.plain_verdict().name())?;
    for (name, tally) in [("plain", &score.plain), ("failing", &score.failing)] {
        let t = PyDict::new(py);
        for verdict in Verdict::ALL {
            t.set_item(verdict.name(), tally[verdict as usize])?;
        }
        d.set_item(name, t)?;
    }
    let example = score.worst.as_ref().map(|(_, input, stops)| {
        let stops = stops.iter().map(|s| (s.branch.name(), s.index, s.lasting.name())).collect::<Vec<_>>();
        (input.clone(), stops)
    });
    d.set_item("example", example)?;
    Ok(d)
}

/// What a sweep covers, from Python's arguments.
struct Wanted {
    callers: Vec<Caller>,
    largest: usize,
    pairs_up_to: usize,
    threads: usize,
    era: Era,
    rules: Rules,
}

impl Wanted {
    fn new(
        callers: Vec<String>,
        largest: &Int,
        pairs_up_to: &Int,
        threads: &Int,
        (kernel, rules): (&str, Vec<(String, bool)>),
    ) -> PyResult<Wanted> {
        let callers = callers.iter().map(|name| Caller::parse(name)).collect::<Result<_>>().map_err(to_py)?;
        let (era, rules) = rules_of(Some(kernel), rules)?;
        Ok(Wanted {
            callers,
            largest: largest.within("largest", 1..=1 << 20)? as usize,
            pairs_up_to: pairs_up_to.within("pairs_up_to", 0..=64)? as usize,
            threads: threads.within("threads", 1..=1024)? as usize,
            era,
            rules,
        })
    }

    fn scope(&self) -> Scope<'_> {
        let &Wanted { ref callers, largest, pairs_up_to, threads, era, rules } = self;
        Scope { callers, largest, pairs_up_to, threads, era, rules }
    }
}

/// The failure sweep: one dict per caller, form, input, setting and kind of stop, with a column per result.
#[pyfunction]
#[pyo3(signature = (callers, largest, pairs_up_to, threads, kernel, rules, progress=None))]
#[expect(clippy::too_many_arguments, reason = "what a sweep covers")]
pub(crate) fn failure_sweep<'py>(
    py: Python<'py>,
    callers: Vec<String>,
    largest: Int,
    pairs_up_to: Int,
    threads: Int,
    kernel: &str,
    rules: Vec<(String, bool)>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let wanted = Wanted::new(callers, &largest, &pairs_up_to, &threads, (kernel, rules))?;
    let rows = watched(py, progress.as_ref(), |done| sweep(&wanted.scope(), done))?;
    PyList::new(py, rows.iter().map(|r| row_to_dict(py, r)).collect::<PyResult<Vec<_>>>()?)
}

/// The misuse score: one dict per caller, form and slip.
#[pyfunction]
#[pyo3(signature = (callers, largest, threads, kernel, rules, progress=None))]
pub(crate) fn misuse_score<'py>(
    py: Python<'py>,
    callers: Vec<String>,
    largest: Int,
    threads: Int,
    kernel: &str,
    rules: Vec<(String, bool)>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let wanted = Wanted::new(callers, &largest, &Int::from(0), &threads, (kernel, rules))?;
    let scores = watched(py, progress.as_ref(), |done| misuse(&wanted.scope(), done))?;
    PyList::new(py, scores.iter().map(|s| score_to_dict(py, s)).collect::<PyResult<Vec<_>>>()?)
}
