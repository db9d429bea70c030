//! Trials: one call is one trial, and all of its iterations run in Rust with the interpreter lock given up.

use bulkpages_callers::Form;
use bulkpages_callers::holes::Shape;
use bulkpages_callers::ports::page_pool::Bench;
use bulkpages_measure::bench::{iterations as default_iterations, workloads};
use bulkpages_measure::contention::OneFill;
use bulkpages_measure::fill::MAX_SLOTS;
use bulkpages_measure::{Api, Contention, Counts, Fill, Filler, Windows, Workload, clock, counts};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::HashMap;

use crate::args::Int;
use crate::errors::{invalid, to_py};
use crate::machine::{Inner, Machine, with};

/// What a trial measured: pages, clock counts of allocation alone, clock counts of the whole loop.
type Measured = (u64, u64, u64);

fn api(name: &str) -> PyResult<Api> {
    Api::ALL
        .into_iter()
        .find(|a| a.name() == name)
        .ok_or_else(|| invalid(format!("api {name:?} is not one of \"single\", \"v1\", \"v2\"")))
}

fn array(nr_pages: &Int, hole_period: &Int) -> PyResult<(usize, usize)> {
    let nr_pages = nr_pages.within("nr_pages", 1..=1 << 20)? as usize;
    Ok((nr_pages, hole_period.within("hole_period", 0..=1 << 20)? as usize))
}

fn bulk(name: &str, nr_pages: &Int, hole_period: &Int) -> PyResult<Workload> {
    let (api, (nr_pages, hole_period)) = (api(name)?, array(nr_pages, hole_period)?);
    Ok(Workload::Bulk { api, nr_pages, hole_period })
}

fn pool(name: &str, bench: &str) -> PyResult<Workload> {
    let bench = Bench::ALL
        .into_iter()
        .find(|b| b.name() == bench)
        .ok_or_else(|| invalid(format!("bench {bench:?} is not one of {}", Bench::ALL.map(Bench::name).join(", "))))?;
    match api(name)? {
        Api::Single => Err(invalid("a page_pool has no api \"single\"")),
        api => Ok(Workload::PagePool { api, bench }),
    }
}

pub(crate) fn times(iterations: &Int) -> PyResult<u64> {
    iterations.within("iterations", 1..=1 << 40).map(|n| n as u64)
}

fn trial(py: Python<'_>, machine: &Machine, workload: Workload, n: u64) -> PyResult<Measured> {
    let sample = py.detach(|| with!(machine, |m| workload.run(m, n))).map_err(to_py)?;
    Ok((sample.pages, sample.alloc, sample.total))
}

fn count<'py>(py: Python<'py>, machine: &Machine, workload: Workload, n: u64) -> PyResult<Bound<'py, PyDict>> {
    let (c, pages) = py.detach(|| with!(machine, |m| counts::count(m, workload, n))).map_err(to_py)?;
    count_dict(py, &c, pages)
}

pub(crate) fn count_dict<'py>(py: Python<'py>, c: &Counts, pages: u64) -> PyResult<Bound<'py, PyDict>> {
    let d = allocator_counts(py, c)?;
    for (name, value) in [
        ("pages", pages),
        ("slot_tests", c.slot_tests),
        ("slot_writes", c.slot_writes),
        ("bulk_calls", c.bulk_calls),
        ("slot_clears", c.slot_clears),
    ] {
        d.set_item(name, value)?;
    }
    Ok(d)
}

/// What the allocator did, as a dict; what the caller did with its slots is known elsewhere.
pub(crate) fn allocator_counts<'py>(py: Python<'py>, c: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    for (name, value) in [
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

/// A fill from its arguments; `shape` is a picture, `x` a page and `.` a hole.
fn fill(filler: &str, form: &str, shape: &str, cold: bool, trylock_loss: f64, seed: u64) -> PyResult<Fill> {
    let filler = Filler::parse(filler).map_err(to_py)?;
    if shape.len() > MAX_SLOTS {
        return Err(invalid(format!("a shape of {} slots is outside 1 to {MAX_SLOTS}", shape.len())));
    }
    let form = Form::parse(form, filler.forms()).map_err(to_py)?;
    Ok(Fill { filler, form, shape: Shape::parse(shape).map_err(to_py)?, cold, trylock_loss, seed })
}

/// Times `iterations` fills by a caller: (pages, clock counts of the fills).
#[pyfunction]
#[pyo3(signature = (machine, filler, form, shape, iterations, *, cold=false, trylock_loss=0.0, seed=0))]
#[expect(clippy::too_many_arguments)]
pub(crate) fn trial_fill(
    py: Python<'_>,
    machine: &Bound<'_, Machine>,
    filler: &str,
    form: &str,
    shape: &str,
    iterations: Int,
    cold: bool,
    trylock_loss: f64,
    seed: u64,
) -> PyResult<(u64, u64)> {
    let (fill, n) = (fill(filler, form, shape, cold, trylock_loss, seed)?, times(&iterations)?);
    let machine = machine.get();
    let sample = py.detach(|| with!(machine, |m| fill.run(m, n))).map_err(to_py)?;
    Ok((sample.pages, sample.alloc))
}

/// Counts what `iterations` fills by a caller do, frees not among them.
#[pyfunction]
#[pyo3(signature = (machine, filler, form, shape, iterations, *, cold=false, trylock_loss=0.0, seed=0))]
#[expect(clippy::too_many_arguments)]
pub(crate) fn count_fill<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    filler: &str,
    form: &str,
    shape: &str,
    iterations: Int,
    cold: bool,
    trylock_loss: f64,
    seed: u64,
) -> PyResult<Bound<'py, PyDict>> {
    let (fill, n) = (fill(filler, form, shape, cold, trylock_loss, seed)?, times(&iterations)?);
    let machine = machine.get();
    let (c, pages) = py.detach(|| with!(machine, |m| fill.count(m, n))).map_err(to_py)?;
    count_dict(py, &c, pages)
}

/// Counts what `iterations` fills by a caller do, by the place where the kernel does it.
#[pyfunction]
#[pyo3(signature = (machine, filler, form, shape, iterations, *, cold=false, trylock_loss=0.0, seed=0))]
#[expect(clippy::too_many_arguments)]
pub(crate) fn count_steps(
    py: Python<'_>,
    machine: &Bound<'_, Machine>,
    filler: &str,
    form: &str,
    shape: &str,
    iterations: Int,
    cold: bool,
    trylock_loss: f64,
    seed: u64,
) -> PyResult<HashMap<&'static str, u64>> {
    let (fill, n) = (fill(filler, form, shape, cold, trylock_loss, seed)?, times(&iterations)?);
    let machine = machine.get();
    let (c, _) = py.detach(|| with!(machine, |m| fill.count(m, n))).map_err(to_py)?;
    Ok(steps(&c, c.slot_clears))
}

/// Counts by place, the slots that were cleared among them.
pub(crate) fn steps(c: &Counts, slot_clears: u64) -> HashMap<&'static str, u64> {
    c.steps.named().into_iter().chain([("slot_clears", slot_clears)]).collect()
}

/// Measures the windows of `iterations` fills by a caller: a list for each quantity, an entry for each fill.
#[pyfunction]
#[pyo3(signature = (machine, filler, form, shape, iterations, *, cold=false))]
pub(crate) fn window_fill<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    filler: &str,
    form: &str,
    shape: &str,
    iterations: Int,
    cold: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let fill = fill(filler, form, shape, cold, 0.0, 0)?;
    let n = iterations.within("iterations", 1..=1 << 24)? as u64;
    let machine = machine.get();
    let mut windows = Windows::default();
    py.detach(|| with!(machine, |m| fill.observe(m, &mut windows, n))).map_err(to_py)?;
    let d = PyDict::new(py);
    let all = &windows.fills;
    d.set_item("pcp", all.iter().map(|w| w.pcp).collect::<Vec<_>>())?;
    d.set_item("pcp_longest", all.iter().map(|w| w.pcp_longest).collect::<Vec<_>>())?;
    d.set_item("pcp_tests", all.iter().map(|w| w.pcp_tests).collect::<Vec<_>>())?;
    d.set_item("pcp_pages", all.iter().map(|w| w.pcp_pages).collect::<Vec<_>>())?;
    d.set_item("zone", all.iter().map(|w| w.zone).collect::<Vec<_>>())?;
    d.set_item("zone_longest", all.iter().map(|w| w.zone_longest).collect::<Vec<_>>())?;
    d.set_item("zone_pages", all.iter().map(|w| w.zone_pages).collect::<Vec<_>>())?;
    d.set_item("up_longest", all.iter().map(|w| w.up_longest).collect::<Vec<_>>())?;
    d.set_item("tests_outside", all.iter().map(|w| w.tests_outside).collect::<Vec<_>>())?;
    Ok(d)
}

/// Fills an array on CPU 0 `fills` times while CPU 1 drains CPU 0's lists `drains_per_second` times a second: 0 for
/// never, `None` for one drain after the other.
#[pyfunction]
pub(crate) fn contend<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    api: &str,
    nr_pages: Int,
    hole_period: Int,
    drains_per_second: Option<Int>,
    fills: Int,
) -> PyResult<Bound<'py, PyDict>> {
    let (api, (nr_pages, hole_period)) = (self::api(api)?, array(&nr_pages, &hole_period)?);
    let Inner::Parallel(machine) = &machine.get().inner else {
        return Err(invalid("the machine has no real locks: make it with threads=True"));
    };
    let drains = drains_per_second.map(|n| n.within("drains_per_second", 0..=1_000_000_000)).transpose()?;
    let drain_every = match drains {
        None => Some(0),
        Some(0) => None,
        Some(n) => Some((1e9 / n as f64 / clock::ns_per_count()) as u64),
    };
    let fills = fills.within("fills", 1..=1 << 24)? as u64;
    let load = Contention { api, nr_pages, hole_period, drain_every, fills };
    let found = py.detach(|| load.run(machine)).map_err(to_py)?;
    let d = PyDict::new(py);
    let sum = |f: fn(&OneFill) -> u32| found.fills.iter().map(|fill| u64::from(f(fill))).sum::<u64>();
    d.set_item("calls", sum(|f| f.calls))?;
    d.set_item("trylocks", sum(|f| f.trylocks))?;
    d.set_item("lost", sum(|f| f.lost))?;
    d.set_item("singles", sum(|f| f.singles))?;
    d.set_item("fills", found.fills.len())?;
    d.set_item("left_out", found.left_out)?;
    d.set_item("pages", found.pages)?;
    d.set_item("drains", found.drains)?;
    d.set_item("drain_cost", found.drain_cost)?;
    d.set_item("elapsed", found.elapsed)?;
    d.set_item("cost", found.fills.iter().map(|f| f.cost).collect::<Vec<_>>())?;
    Ok(d)
}

/// Callers and their forms.
#[pyfunction]
pub(crate) fn fillers() -> Vec<(&'static str, Vec<&'static str>)> {
    Filler::all().into_iter().map(|f| (f.name(), f.forms().iter().map(|f| f.name()).collect())).collect()
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

/// What one reading of the clock costs, in clock counts: what each fill is charged beside its own work.
#[pyfunction]
pub(crate) fn clock_cost(py: Python<'_>) -> u64 {
    py.detach(clock::cost)
}
