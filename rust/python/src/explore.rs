//! The interrupt explorer.

use bulkpages_explore::{Outcome, Rule, lists, nested};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::args::Int;
use crate::errors::{invalid, to_py};

fn rule(name: &str) -> PyResult<Rule> {
    Rule::ALL
        .into_iter()
        .find(|r| r.name() == name)
        .ok_or_else(|| invalid(format!("locking {name:?} is none of {}", Rule::ALL.map(Rule::name).join(", "))))
}

fn pick<T: Copy>(what: &str, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> PyResult<T> {
    all.iter().copied().find(|&t| name_of(t) == name).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|&t| name_of(t)).collect();
        invalid(format!("{what} {name:?} is none of {}", known.join(", ")))
    })
}

fn to_dict<'py>(py: Python<'py>, outcome: &Outcome) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("executions", outcome.executions)?;
    d.set_item("points", outcome.points)?;
    d.set_item("handlers", outcome.handlers)?;
    d.set_item("complete", outcome.complete)?;
    let failure = match &outcome.failure {
        None => None,
        Some(failure) => {
            let f = PyDict::new(py);
            f.set_item("error", &failure.error)?;
            f.set_item("deadlock", failure.deadlock)?;
            f.set_item("choices", &failure.choices)?;
            f.set_item("steps", &failure.steps)?;
            Some(f)
        }
    };
    d.set_item("failure", failure)?;
    Ok(d)
}

/// Explores one task under one locking, in the step model of the lists ("lists") or in the emulator ("core").
#[pyfunction]
pub(crate) fn explore_interrupts<'py>(
    py: Python<'py>,
    model: &str,
    locking: &str,
    task: &str,
    handlers: Vec<String>,
    bound: Int,
    limit: Int,
) -> PyResult<Bound<'py, PyDict>> {
    let rule = rule(locking)?;
    let bound = bound.within("bound", 0..=8)? as usize;
    let limit = limit.within("limit", 1..=i64::MAX)? as u64;
    if handlers.is_empty() {
        return Err(invalid("handlers is empty: nothing could interrupt"));
    }
    let outcome = match model {
        "lists" => {
            let call = |what: &str, name: &str| pick(what, name, &lists::Call::ALL, lists::Call::name);
            let task = call("task", task)?;
            let handlers = handlers.iter().map(|h| call("handler", h)).collect::<PyResult<Vec<_>>>()?;
            py.detach(|| lists::run(rule, task, &handlers, bound, limit))
        }
        "core" => {
            let call = |what: &str, name: &str| pick(what, name, &nested::Call::ALL, nested::Call::name);
            let task = call("task", task)?;
            let handlers = handlers.iter().map(|h| call("handler", h)).collect::<PyResult<Vec<_>>>()?;
            py.detach(|| nested::run(rule, task, &handlers, bound, limit)).map_err(to_py)?
        }
        other => return Err(invalid(format!("model {other:?} is neither \"lists\" nor \"core\""))),
    };
    to_dict(py, &outcome)
}
