//! The ports of the kernel's callers, and the failure sweep and misuse score over them.

use std::sync::Arc;

use bulkpages_callers::call::{self, Call};
use bulkpages_callers::env::{Counting, Env, HookPlan, MAX_POINTERS};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::ports::{Array, Caller, Input};
use bulkpages_callers::result::Ret;
use bulkpages_callers::study::harness::FailurePlan;
use bulkpages_callers::{CallerResult, Form};
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Machine as CoreMachine, PageState, Pfn, Result, Slot};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::args::Int;
use crate::errors::{ApiMisuse, invalid, to_py};
use crate::events::{Recorder, to_dict};
use crate::machine::{Machine, with};
use crate::measure::{allocator_counts, steps};
use crate::page_array::PageArray;

/// An observed environment of a run from Python.
pub(crate) type PyEnv<'m, 'p, L> = Env<'m, (L, Counting<Recorder>, &'p FaultPlan, &'p HookPlan)>;

/// Where and how a caller runs.
pub(crate) struct Setting {
    pub(crate) cpu: usize,
    pub(crate) max_waits: u64,
    pub(crate) explain: bool,
    /// Whether what it does goes into the machine's trace.
    pub(crate) traced: bool,
    pub(crate) plan: Arc<FailurePlan>,
}

impl Setting {
    pub(crate) fn new(machine: &Machine, cpu: Option<Int>, max_waits: Option<Int>, explain: bool) -> PyResult<Setting> {
        Ok(Setting {
            cpu: machine.cpu(cpu)?,
            max_waits: max_waits.map_or(Ok(100), |n| n.within("max_waits", 0..=1 << 40))? as u64,
            explain,
            traced: machine.tracer.on(),
            plan: machine.faults.innermost().unwrap_or_default(),
        })
    }

    pub(crate) fn env<'m, L: Locking>(&self, machine: &'m CoreMachine<L>) -> Result<PyEnv<'m, '_, L>> {
        let probe = Counting::new(Recorder { on: self.explain || self.traced, ..Recorder::default() });
        let cx = Ctx { cpu: self.cpu, probe, fault: &self.plan.fault };
        let mut env = Env::new(machine, cx, &self.plan.hooks)?;
        env.max_waits = self.max_waits;
        Ok(env)
    }
}

/// One run of a caller.
enum Job<'a> {
    Api { slots: &'a [Slot], call: Call },
    Port { caller: Caller, slots: &'a [Slot], have: usize, input: Input, form: Form },
}

impl Job<'_> {
    fn run<L: Locking>(&self, machine: &CoreMachine<L>, setting: &Setting) -> Result<(CallerResult, Recorder)> {
        let mut env = setting.env(machine)?;
        let result = match *self {
            Job::Api { slots, call } => call::run(&mut env, slots, call),
            Job::Port { caller, slots, have: 0, ref input, form } => caller.run(&mut env, slots, input, form),
            Job::Port { caller, have, ref input, form, .. } => {
                // What the caller has already comes from the machine, uncounted and without failures.
                let slots = Shape::full(have).fill(machine, setting.cpu)?;
                caller.run(&mut env, &slots, input, form)
            }
        }?;
        Ok((result, env.cx.probe.inner))
    }
}

/// A form by its name.
pub(crate) fn form(name: &str, forms: &[Form]) -> PyResult<Form> {
    Form::parse(name, forms).map_err(to_py)
}

/// What a run returned, as Python sees it.
pub(crate) fn ret_to_py(py: Python<'_>, ret: Ret) -> PyResult<Py<PyAny>> {
    Ok(match ret {
        Ret::Errno(e) => e.into_pyobject(py)?.into_any().unbind(),
        Ret::Bool(b) => b.into_pyobject(py)?.to_owned().into_any().unbind(),
        Ret::GaveUp => py.None(),
    })
}

fn run<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    setting: &Setting,
    job: &Job<'_>,
    array: Option<&Bound<'py, PageArray>>,
) -> PyResult<Bound<'py, PyDict>> {
    let m = machine.get();
    let (result, seen) = py.detach(|| with!(m, |m| job.run(m, setting))).map_err(to_py)?;
    if setting.traced {
        m.tracer.note_all(setting.cpu, &seen.events, &seen.lines);
    }
    let d = PyDict::new(py);
    d.set_item("ret", ret_to_py(py, result.ret)?)?;
    d.set_item("gave_up", result.gave_up())?;
    d.set_item("bulk_calls", result.calls())?;
    d.set_item("bases", result.bulk_calls.iter().map(|c| c.base).collect::<Vec<_>>())?;
    d.set_item("waits", result.waits)?;
    d.set_item("wait_ns", result.wait_ns)?;
    d.set_item("freed", result.freed)?;
    d.set_item("trace", &result.trace)?;
    d.set_item("slot_tests", result.slot_tests)?;
    d.set_item("slot_writes", result.slot_writes)?;
    d.set_item("slot_clears", result.slot_clears)?;
    d.set_item("counts", allocator_counts(py, &seen.counts)?)?;
    d.set_item("steps", steps(&seen.counts, result.slot_clears))?;
    d.set_item("stats", result.stats.iter().copied().collect::<std::collections::HashMap<_, _>>())?;
    match (array, result.array) {
        (Some(array), _) => d.set_item("array", array)?,
        (None, slots) => d.set_item("array", Bound::new(py, PageArray::from_slots(slots.unwrap_or_default()))?)?,
    }
    let list = PyList::empty(py);
    for event in seen.events.iter().filter(|_| setting.explain) {
        list.append(to_dict(py, event)?)?;
    }
    d.set_item("events", list)?;
    Ok(d)
}

/// Slots that a caller may free or move: each holds NULL or a page that is owned with order 0, and no page twice.
pub(crate) fn check_owned(machine: &Machine, slots: &[Slot]) -> PyResult<()> {
    let mut seen = std::collections::HashMap::new();
    for (i, slot) in slots.iter().enumerate().filter(|(_, s)| s.raw() != 0) {
        let raw = slot.raw();
        let owned = u32::try_from(raw).is_ok_and(|pfn| {
            with!(machine, |m| m.page_state(Pfn(pfn)) == PageState::Allocated(0) && m.pages().pool(Pfn(pfn)) == 0)
        });
        if !owned {
            return Err(ApiMisuse::new_err(format!(
                "slot {i} holds pfn {raw}, which is not a page of order 0 of yours"
            )));
        }
        if let Some(first) = seen.insert(raw, i) {
            return Err(ApiMisuse::new_err(format!("slots {first} and {i} both hold pfn {raw}")));
        }
    }
    Ok(())
}

/// One call of the API on all slots: "single", "v1", "v2" (pages are compacted first) or "v3".
#[pyfunction]
#[pyo3(signature = (machine, array, api, *, cpu=None, explain=false))]
pub(crate) fn call_api<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    array: &Bound<'py, PageArray>,
    api: &str,
    cpu: Option<Int>,
    explain: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let call = Call::parse(api).map_err(to_py)?;
    let setting = Setting::new(machine.get(), cpu, None, explain)?;
    let slots = array.get().slots();
    check_owned(machine.get(), slots)?;
    run(py, machine, &setting, &Job::Api { slots, call }, Some(array))
}

/// Runs a caller of the register. `array` is for those that fill somebody's array, the first `pages` slots of it;
/// `have` are pages that a caller has already.
#[pyfunction]
#[pyo3(signature = (machine, name, array, pages, have, flags, form_name, *, cpu=None, max_waits=None, explain=false))]
#[expect(clippy::too_many_arguments, reason = "the Python face names them")]
pub(crate) fn run_caller<'py>(
    py: Python<'py>,
    machine: &Bound<'py, Machine>,
    name: &str,
    array: Option<&Bound<'py, PageArray>>,
    pages: Int,
    have: Int,
    flags: Vec<String>,
    form_name: &str,
    cpu: Option<Int>,
    max_waits: Option<Int>,
    explain: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let caller = Caller::parse(name).map_err(to_py)?;
    let info = caller.info();
    let form = form(form_name, info.forms)?;
    let flags = info.flags(flags.iter().map(String::as_str)).map_err(to_py)?;
    let setting = Setting::new(machine.get(), cpu, max_waits, explain)?;
    let slots = match (info.array, array) {
        (Array::Given, Some(array)) => array.get().slots(),
        (Array::Given, None) => return Err(invalid(format!("{name} needs an array"))),
        (_, Some(_)) => return Err(invalid(format!("{name} brings its own array"))),
        (_, None) => &[],
    };
    let most = if array.is_some() { slots.len() as i64 } else { i64::from(i32::MAX) };
    let pages = pages.within(info.counted, 0..=most)? as usize;
    let have = have.within("have", 0..=MAX_POINTERS as i64)? as usize;
    if have > 0 && info.array != Array::Prefix {
        return Err(invalid(format!("have {have} is above 0: {name} begins without pages")));
    }
    if let Some(fixed) = info.pages.filter(|&fixed| fixed != pages) {
        return Err(invalid(format!("{name} allocates {fixed} pages, not {pages}")));
    }
    check_owned(machine.get(), &slots[..if array.is_some() { pages } else { 0 }])?;
    run(py, machine, &setting, &Job::Port { caller, slots, have, input: Input { pages, flags }, form }, array)
}

/// The register of callers: what is known about each.
#[pyfunction]
pub(crate) fn callers(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for info in Caller::ALL.iter().map(|caller| caller.info()) {
        let d = PyDict::new(py);
        d.set_item("name", info.name)?;
        d.set_item("file", info.file)?;
        d.set_item("forms", info.forms.iter().map(|f| f.name()).collect::<Vec<_>>())?;
        d.set_item("array", info.array.name())?;
        d.set_item("short", info.short.name())?;
        d.set_item("flags", info.flags.iter().map(|f| (f.name, f.help)).collect::<Vec<_>>())?;
        d.set_item("patched", info.patched)?;
        d.set_item("today", info.today)?;
        d.set_item("charged", info.charged)?;
        d.set_item("pages", info.pages)?;
        d.set_item("counted", info.counted)?;
        d.set_item("example", info.example)?;
        list.append(d)?;
    }
    Ok(list)
}

/// A hole pattern as a picture, `x` a page and `.` a hole: one by name, with its numbers.
#[pyfunction]
#[pyo3(signature = (kind, n, a=None, b=None, *, fraction=None, seed=None))]
pub(crate) fn hole_shape(
    kind: &str,
    n: Int,
    a: Option<Int>,
    b: Option<Int>,
    fraction: Option<f64>,
    seed: Option<Int>,
) -> PyResult<String> {
    use bulkpages_callers::holes::{Random, Request};
    let n = n.within("n", 0..=1 << 20)? as usize;
    let number = |what: &str, v: Option<Int>| -> PyResult<usize> {
        v.ok_or_else(|| invalid(format!("{kind} needs {what}")))?.within(what, 0..=1 << 20).map(|v| v as usize)
    };
    let seed = seed.map_or(Ok(0), |s| s.within("seed", 0..=i64::MAX))? as u64;
    let random = &mut Random::new(seed);
    let shape = match kind {
        "empty" => Shape::empty(n),
        "full" => Shape::full(n),
        "prefix" => Shape::prefix_of(n, number("a prefix length", a)?),
        "periodic" => Shape::periodic(n, number("a period", a)?),
        "scattered" => Shape::scattered(n, number("a number of holes", a)?, random),
        "clustered" => Shape::clustered(n, number("a number of holes", a)?, number("a number of runs", b)?, random)
            .map_err(to_py)?,
        "fraction" => {
            let fraction = fraction.ok_or_else(|| invalid("fraction needs a fraction"))?;
            Shape::fraction(n, fraction, random).map_err(to_py)?
        }
        request => match Request::MIX.into_iter().find(|r| r.name() == request) {
            Some(request) => request.shape(n),
            None => {
                let known: Vec<_> = Request::MIX.iter().map(|r| r.name()).collect();
                return Err(invalid(format!(
                    "shape {request:?} is not one of empty, full, prefix, periodic, scattered, clustered, fraction, {}",
                    known.join(", ")
                )));
            }
        },
    };
    Ok(shape.to_string())
}
