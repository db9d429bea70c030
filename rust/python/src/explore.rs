//! The interrupt explorer.

use bulkpages_explore::{Outcome, Rule, Which, lists, nested};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::args::Int;
use crate::errors::{go_on, invalid, to_py};

fn rule(name: &str) -> PyResult<Rule> {
    Rule::ALL
        .into_iter()
        .find(|r| r.name() == name)
        .ok_or_else(|| invalid(format!("locking {name:?} is not one of {}", Rule::ALL.map(Rule::name).join(", "))))
}

fn pick<T: Copy>(what: &str, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> PyResult<T> {
    all.iter().copied().find(|&t| name_of(t) == name).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|&t| name_of(t)).collect();
        invalid(format!("{what} {name:?} is not one of {}", known.join(", ")))
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
            Some(f)
        }
    };
    d.set_item("failure", failure)?;
    let steps = outcome.steps.iter().map(|step| {
        let s = PyDict::new(py);
        let (kind, lock) = step.kind.name();
        s.set_item("depth", step.depth)?;
        s.set_item("kind", kind)?;
        s.set_item("lock", lock)?;
        s.set_item("text", &step.text)?;
        Ok(s)
    });
    d.set_item("steps", PyList::new(py, steps.collect::<PyResult<Vec<_>>>()?)?)?;
    Ok(d)
}

/// What can be interrupted in the emulator, by name.
#[pyfunction]
pub(crate) fn explore_tasks() -> Vec<String> {
    nested::Task::all().iter().map(nested::Task::name).collect()
}

/// Explores one task under one locking, in the step model of the lists ("lists") or in the emulator ("core"). With
/// `choices` the one execution that they name.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the Python face has a default for each")]
pub(crate) fn explore_interrupts<'py>(
    py: Python<'py>,
    model: &str,
    locking: &str,
    task: &str,
    handlers: Vec<String>,
    bound: Int,
    limit: Int,
    choices: Option<Vec<usize>>,
) -> PyResult<Bound<'py, PyDict>> {
    let rule = rule(locking)?;
    let bound = bound.within("bound", 0..=8)? as usize;
    let limit = limit.within("limit", 1..=i64::MAX)? as u64;
    let which = choices.as_deref().map_or(Which::UpTo(limit), Which::Only);
    if handlers.is_empty() {
        return Err(invalid("handlers is empty: nothing could interrupt"));
    }
    let mut raised = None;
    // Ctrl-C ends the exploration: a part of it is no answer.
    let mut go_on = || go_on(&mut raised);
    let outcome = match model {
        "lists" => {
            let call = |what: &str, name: &str| pick(what, name, &lists::Action::ALL, lists::Action::name);
            let task = call("task", task)?;
            let handlers = handlers.iter().map(|h| call("handler", h)).collect::<PyResult<Vec<_>>>()?;
            py.detach(|| lists::run(rule, task, &handlers, bound, which, &mut go_on))
        }
        "core" => {
            let call = |what: &str, name: &str| pick(what, name, &nested::Work::ALL, nested::Work::name);
            let task = nested::Task::all()
                .into_iter()
                .find(|t| t.name() == task)
                .ok_or_else(|| invalid(format!("task {task:?} is not one of {}", explore_tasks().join(", "))))?;
            let handlers = handlers.iter().map(|h| call("handler", h)).collect::<PyResult<Vec<_>>>()?;
            py.detach(|| nested::run(rule, &task, &handlers, bound, which, &mut go_on)).map_err(to_py)?
        }
        other => return Err(invalid(format!("model {other:?} is neither \"lists\" nor \"core\""))),
    };
    if let Some(error) = raised {
        return Err(error);
    }
    if choices.is_some() && !outcome.fits {
        return Err(invalid(format!(
            "choices {:?} do not fit: there are {} points, each with 0 to {} to choose from until {bound} handlers came",
            choices.unwrap_or_default(),
            outcome.points,
            handlers.len()
        )));
    }
    to_dict(py, &outcome)
}
