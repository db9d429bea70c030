//! Trials: one call is one trial, and all of its iterations run in Rust with the interpreter lock given up.

use bulkpages_callers::page_pool::Bench;
use bulkpages_measure::bench::{iterations as default_iterations, workloads};
use bulkpages_measure::{Api, Workload, clock, counts};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::args::Int;
use crate::errors::{invalid, to_py};
use crate::machine::{Machine, with};

/// What a trial measured: pages, clock counts of allocation alone, clock counts of the whole loop.
type Measured = (u64, u64, u64);

fn api(name: &str) -> PyResult<Api> {
    Api::ALL
        .into_iter()
        .find(|a| a.name() == name)
        .ok_or_else(|| invalid(format!("api {name:?} is none of \"single\", \"v1\", \"v2\"")))
}

fn bulk(name: &str, nr_pages: &Int, hole_period: &Int) -> PyResult<Workload> {
    Ok(Workload::Bulk {
        api: api(name)?,
        nr_pages: nr_pages.within("nr_pages", 1..=1 << 20)? as usize,
        hole_period: hole_period.within("hole_period", 0..=1 << 20)? as usize,
    })
}

fn pool(name: &str, bench: &str) -> PyResult<Workload> {
    let bench = Bench::ALL
        .into_iter()
        .find(|b| b.name() == bench)
        .ok_or_else(|| invalid(format!("bench {bench:?} is none of {}", Bench::ALL.map(Bench::name).join(", "))))?;
    match api(name)? {
        Api::Single => Err(invalid("a page_pool has no api \"single\"")),
        api => Ok(Workload::PagePool { api, bench }),
    }
}

fn times(iterations: &Int) -> PyResult<u64> {
    iterations.within("iterations", 1..=1 << 40).map(|n| n as u64)
}

fn trial(py: Python<'_>, machine: &Machine, workload: Workload, n: u64) -> PyResult<Measured> {
    let sample = py.detach(|| with!(machine, |m| workload.run(m, n))).map_err(to_py)?;
    Ok((sample.pages, sample.alloc, sample.total))
}

fn count<'py>(py: Python<'py>, machine: &Machine, workload: Workload, n: u64) -> PyResult<Bound<'py, PyDict>> {
    let (c, pages) = py.detach(|| with!(machine, |m| counts::count(m, workload, n))).map_err(to_py)?;
    let d = PyDict::new(py);
    for (name, value) in [
        ("pages", pages),
        ("slot_tests", c.slot_tests),
        ("slot_writes", c.slot_writes),
        ("list_takes", c.list_takes),
        ("refills", c.refills),
        ("zone_locks", c.zone_locks),
        ("longest_hold_pages", c.longest_hold_pages),
        ("trylocks", c.trylocks),
        ("trylock_failures", c.trylock_failures),
        ("bulk_singles", c.bulk_singles),
        ("single_calls", c.single_calls),
    ] {
        d.set_item(name, value)?;
    }
    Ok(d)
}

/// Times `iterations` fills of an array: (pages, clock counts of allocation, clock counts with frees).
#[pyfunction]
pub(crate) fn trial_bulk(
    py: Python<'_>,
    machine: &Bound<'_, Machine>,
    api: &str,
    nr_pages: Int,
    hole_period: Int,
    iterations: Int,
) -> PyResult<Measured> {
    trial(py, machine.get(), bulk(api, &nr_pages, &hole_period)?, times(&iterations)?)
}

/// Times `iterations` of a page_pool loop: (iterations, clock counts, clock counts).
#[pyfunction]
pub(crate) fn trial_page_pool(
    py: Python<'_>,
    machine: &Bound<'_, Machine>,
    api: &str,
    bench: &str,
    iterations: Int,
) -> PyResult<Measured> {
    trial(py, machine.get(), pool(api, bench)?, times(&iterations)?)
}

/// Counts what `iterations` fills of an array and their frees do.
#[pyfunction]
pub(crate) fn count_bulk<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    api: &str,
    nr_pages: Int,
    hole_period: Int,
    iterations: Int,
) -> PyResult<Bound<'py, PyDict>> {
    count(py, machine.get(), bulk(api, &nr_pages, &hole_period)?, times(&iterations)?)
}

/// Counts what `iterations` of a page_pool loop do.
#[pyfunction]
pub(crate) fn count_page_pool<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    api: &str,
    bench: &str,
    iterations: Int,
) -> PyResult<Bound<'py, PyDict>> {
    count(py, machine.get(), pool(api, bench)?, times(&iterations)?)
}

/// Rows of `timings.json` in its order: (api, nr_pages, hole_period, bench, iterations of one run).
#[pyfunction]
pub(crate) fn core_rows() -> Vec<(&'static str, usize, usize, Option<&'static str>, u64)> {
    workloads()
        .into_iter()
        .map(|w| {
            let n = default_iterations(w, 1);
            match w {
                Workload::Bulk { api, nr_pages, hole_period } => (api.name(), nr_pages, hole_period, None, n),
                Workload::PagePool { api, bench } => (api.name(), 0, 0, Some(bench.name()), n),
            }
        })
        .collect()
}

/// Nanoseconds per clock count, measured over about 20 ms.
#[pyfunction]
pub(crate) fn ns_per_count(py: Python<'_>) -> f64 {
    py.detach(clock::ns_per_count)
}
