//! Runs of many threads: `Machine._run()` and the machine that `bulkpages stress` makes.

use std::time::Duration;

use bulkpages_core::Machine as CoreMachine;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::sync::Locking;
use bulkpages_measure::stress::{self, Op, PRESETS, Report, SINGLE_REASONS, StressPlan};
use bulkpages_measure::timed::{Histogram, Kind, Seen, Side, Timed};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::args::Int;
use crate::errors::{ApiMisuse, go_on, invalid, to_py};
use crate::machine::{Inner, Machine};

fn plan(
    threads: &Int,
    mix: &str,
    seconds: Option<f64>,
    ops: Option<Int>,
    seed: &Int,
    slices: &Int,
) -> PyResult<StressPlan> {
    let time = match seconds {
        None => None,
        Some(s) if s > 0.0 && s <= 1e7 => Some(Duration::from_secs_f64(s)),
        Some(s) => return Err(invalid(format!("seconds {s} must be above 0 and at most 10000000"))),
    };
    Ok(StressPlan {
        threads: threads.within("threads", 1..=1024)? as usize,
        time,
        ops: ops.map(|n| n.within("ops", 1..=i64::MAX)).transpose()?.map(|n| n as u64),
        mix: stress::parse_mix(mix).map_err(to_py)?,
        seed: seed.within("seed", 0..=i64::MAX)? as u64,
        slices: slices.within("slices", 0..=1 << 24)? as usize,
    })
}

fn histogram<'py>(py: Python<'py>, h: &Histogram) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    let used = h.buckets.iter().rposition(|&n| n > 0).map_or(0, |i| i + 1);
    d.set_item("buckets", &h.buckets[..used])?;
    d.set_item("count", h.count())?;
    d.set_item("sum", h.sum)?;
    d.set_item("max", h.max)?;
    Ok(d)
}

fn run<'py, L: Locking>(
    py: Python<'py>,
    machine: &CoreMachine<L>,
    plan: &StressPlan,
    timed: bool,
) -> PyResult<Bound<'py, PyDict>>
where
    CoreMachine<L>: Sync,
{
    let mut interrupted = None;
    let report = py.detach(|| stress::run(machine, plan, || go_on(&mut interrupted))).map_err(to_py)?;
    let d = to_dict(py, &report, plan, timed)?;
    // Ctrl-C ends the run early; what it found is still a result. What another signal's handler raised is an error.
    if let Some(error) = interrupted.take_if(|error| !error.is_instance_of::<PyKeyboardInterrupt>(py)) {
        return Err(error);
    }
    d.set_item("interrupted", interrupted.is_some())?;
    Ok(d)
}

fn to_dict<'py>(py: Python<'py>, report: &Report, plan: &StressPlan, timed: bool) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    let sum = |f: fn(&stress::Done) -> u64| report.threads.iter().map(f).sum::<u64>();
    d.set_item("threads", plan.threads)?;
    d.set_item("seconds", report.elapsed.as_secs_f64())?;
    d.set_item("seed", plan.seed)?;
    let mix = PyDict::new(py);
    let ops = PyDict::new(py);
    for op in Op::ALL {
        mix.set_item(op.name(), plan.mix[op as usize])?;
        ops.set_item(op.name(), report.threads.iter().map(|t| t.ops[op as usize]).sum::<u64>())?;
    }
    d.set_item("mix", mix)?;
    d.set_item("ops", ops)?;
    d.set_item("pages_allocated", sum(|t| t.allocated))?;
    d.set_item("pages_freed", sum(|t| t.freed))?;
    d.set_item("pages_freed_on_another_cpu", sum(|t| t.freed_remote))?;
    d.set_item("pages_owned_at_end", report.owned)?;
    d.set_item("requests_failed", sum(|t| t.failed))?;
    let mut all = Seen::default();
    report.threads.iter().for_each(|t| all.merge(&t.seen));
    let (tried, failed, causes) = (PyDict::new(py), PyDict::new(py), PyDict::new(py));
    for side in [Side::Alloc, Side::Bulk, Side::Free] {
        let counts = report.threads.iter().map(|t| t.trylocks[side as usize]);
        let (n, lost) = counts.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        tried.set_item(side.name(), n)?;
        failed.set_item(side.name(), lost)?;
        let by = PyDict::new(py);
        for holder in Side::ALL {
            by.set_item(holder.name(), all.failures[side as usize][holder as usize])?;
        }
        causes.set_item(side.name(), by)?;
    }
    d.set_item("trylocks", tried)?;
    d.set_item("trylock_failures", failed)?;
    d.set_item("trylock_failures_by_holder", if timed { Some(causes) } else { None })?;
    let singles = PyDict::new(py);
    for (i, name) in SINGLE_REASONS.into_iter().enumerate() {
        singles.set_item(name, report.threads.iter().map(|t| t.singles[i]).sum::<u64>())?;
    }
    d.set_item("bulk_singles", singles)?;
    if timed {
        let locks = PyDict::new(py);
        for kind in [Kind::Pcp, Kind::Zone] {
            let one = PyDict::new(py);
            one.set_item("wait", histogram(py, &all.wait[kind as usize])?)?;
            one.set_item("hold", histogram(py, &all.hold[kind as usize])?)?;
            locks.set_item(kind.name(), one)?;
        }
        d.set_item("locks", locks)?;
    } else {
        d.set_item("locks", py.None())?;
    }
    let workers = PyList::empty(py);
    for thread in &report.threads {
        let one = PyDict::new(py);
        one.set_item("cpu", thread.cpu)?;
        one.set_item("pages_allocated", thread.allocated)?;
        one.set_item("pages_freed", thread.freed)?;
        one.set_item("requests_failed", thread.failed)?;
        let slices: Vec<(u64, u64, Option<&str>, &str)> = thread
            .seen
            .slices
            .iter()
            .map(|s| {
                let since = |at: u64| at.saturating_sub(report.start);
                (since(s.start), since(s.end), s.lock.map(Kind::name), s.side.name())
            })
            .collect();
        one.set_item("slices", slices)?;
        workers.append(one)?;
    }
    d.set_item("workers", workers)?;
    d.set_item("violations", &report.violations)?;
    d.set_item("audit_error", report.audit.as_ref().err())?;
    d.set_item("ok", report.ok())?;
    Ok(d)
}

/// Runs threads on a machine made with `threads=True`.
#[pyfunction]
#[expect(clippy::too_many_arguments)]
pub(crate) fn run_threads<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    threads: Int,
    mix: &str,
    seconds: Option<f64>,
    ops: Option<Int>,
    seed: Int,
    slices: Int,
) -> PyResult<Bound<'py, PyDict>> {
    let plan = plan(&threads, mix, seconds, ops, &seed, &slices)?;
    match &machine.get().inner {
        Inner::Parallel(machine) => run(py, machine, &plan, false),
        Inner::Serial(_) => Err(ApiMisuse::new_err("a run needs a machine made with threads=True")),
    }
}

/// Boots a machine whose locks keep time, and runs threads on it.
#[pyfunction]
#[expect(clippy::too_many_arguments)]
pub(crate) fn stress_run<'py>(
    py: Python<'py>,
    memory_pages: Int,
    cpus: Int,
    nodes: Int,
    threads: Int,
    mix: &str,
    seconds: Option<f64>,
    ops: Option<Int>,
    seed: Int,
    slices: Int,
) -> PyResult<Bound<'py, PyDict>> {
    let plan = plan(&threads, mix, seconds, ops, &seed, &slices)?;
    let spec = BootSpec::new(
        memory_pages.within("memory (in pages)", 0..=1 << 40)? as u64,
        cpus.within("cpus", 0..=1 << 40)? as usize,
        nodes.within("nodes", 0..=1 << 40)? as usize,
    );
    let machine = py.detach(|| CoreMachine::<Timed>::boot(&spec)).map_err(to_py)?;
    run(py, &machine, &plan, true)
}

/// Mixes that have names.
#[pyfunction]
pub(crate) fn stress_mixes() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}
