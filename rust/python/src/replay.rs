//! `Machine.replay`: recorded operations in, recorded results out.

use std::sync::PoisonError;

use bulkpages_core::Ctx;
use bulkpages_core::probe::NoProbe;
use bulkpages_core::recording::RawOp;
use bulkpages_core::replay::{Op, OpKind, OpResult, Replay};
use bulkpages_core::vmstat::RECORDED_EVENTS;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::args::Int;
use crate::errors::{ApiMisuse, invalid, to_py};
use crate::machine::{Machine, with, with_ctx};

/// Operations that run between two looks at the interpreter.
const CHUNK: usize = 512;

fn at(index: usize, error: bulkpages_core::Error) -> PyErr {
    use bulkpages_core::Error;
    to_py(match error {
        Error::InvalidArgument(text) => Error::InvalidArgument(format!("operation {index}: {text}")),
        Error::ApiMisuse(text) => Error::ApiMisuse(format!("operation {index}: {text}")),
        other => other,
    })
}

fn parse(index: usize, dict: &Bound<'_, PyDict>) -> PyResult<Op> {
    let py = dict.py();
    let int = |name: &Bound<'_, PyString>| -> PyResult<i64> {
        match dict.get_item(name)? {
            None => Ok(0),
            Some(value) => value.extract::<Int>()?.within(&format!("operation {index}: {name}"), i64::MIN..=i64::MAX),
        }
    };
    let size = |name: &Bound<'_, PyString>| -> PyResult<usize> {
        let value = int(name)?;
        usize::try_from(value).map_err(|_| invalid(format!("operation {index}: {name} {value} is below 0")))
    };
    let Some(op) = dict.get_item(intern!(py, "op"))? else {
        return Err(invalid(format!("operation {index} has no \"op\"")));
    };
    let op: String =
        op.extract().map_err(|_| PyTypeError::new_err(format!("operation {index}: \"op\" is not a string")))?;
    let raw = RawOp {
        op,
        cpu: size(intern!(py, "cpu"))?,
        gfp: size(intern!(py, "gfp"))? as u64,
        nid: size(intern!(py, "nid"))?,
        nr_pages: int(intern!(py, "nr_pages"))?,
        order: size(intern!(py, "order"))? as u64,
        slot: size(intern!(py, "slot"))?,
        nr: size(intern!(py, "nr"))?,
        first: size(intern!(py, "first"))?,
        step: size(intern!(py, "step"))?,
        node: size(intern!(py, "node"))?,
        zone: size(intern!(py, "zone"))?,
        pcp_cpu: size(intern!(py, "pcp_cpu"))?,
    };
    raw.parse().map_err(|e| at(index, e))
}

/// Refuses a lock taken twice or given back untaken, and a drain of lists whose lock is held, before anything runs.
fn check_locks(index: usize, op: &Op, held: &mut Vec<(usize, usize, usize)>) -> PyResult<()> {
    match op.kind {
        OpKind::HoldPcpLock { node, zone, pcp_cpu, held: take } => {
            let lock = (node, zone, pcp_cpu);
            let position = held.iter().position(|l| *l == lock);
            match (take, position) {
                (true, None) => held.push(lock),
                (false, Some(i)) => {
                    held.swap_remove(i);
                }
                (true, Some(_)) => {
                    return Err(ApiMisuse::new_err(format!("operation {index}: the lock is held already")));
                }
                (false, None) => return Err(ApiMisuse::new_err(format!("operation {index}: the lock is not held"))),
            }
        }
        OpKind::DrainLocal if held.iter().any(|l| l.2 == op.cpu) => {
            return Err(ApiMisuse::new_err(format!(
                "operation {index}: the lists of cpu {} are held, the drain would wait for ever",
                op.cpu
            )));
        }
        _ => {}
    }
    Ok(())
}

impl Machine {
    /// Parses and checks everything, then runs.
    pub(crate) fn replay_ops<'py>(&self, py: Python<'py>, ops: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let mut parsed = Vec::new();
        for (index, op) in ops.try_iter()?.enumerate() {
            let op = op?;
            let dict = op
                .cast::<PyDict>()
                .map_err(|_| PyTypeError::new_err(format!("operation {index} is a {}, not a dict", type_name(&op))))?;
            parsed.push(parse(index, dict)?);
        }
        let mut replay = py.detach(|| {
            self.replay
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .unwrap_or_else(|| Box::new(Replay::default()))
        });
        let out = self.replay_parsed(py, &parsed, &mut replay);
        *self.replay.lock().unwrap_or_else(PoisonError::into_inner) = Some(replay);
        out
    }
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string())
}

impl Machine {
    fn replay_parsed<'py>(&self, py: Python<'py>, ops: &[Op], replay: &mut Replay) -> PyResult<Bound<'py, PyList>> {
        let (mut held, names) = with!(self, |m| {
            for (index, op) in ops.iter().enumerate() {
                replay.check(m, op).map_err(|e| at(index, e))?;
            }
            let names: Vec<String> = m.zones().iter().map(|z| format!("{}.{}", z.nid(), z.idx())).collect();
            (m.held_pcp_locks(), names)
        });
        for (index, op) in ops.iter().enumerate() {
            check_locks(index, op, &mut held)?;
        }
        let keys = Keys::new(py, &names);
        let _pause = CollectorPause::new(py);
        let out = PyList::empty(py);
        let mut results: Vec<OpResult> = vec![OpResult::default(); CHUNK.min(ops.len())];
        // A trace wants to know which CPU did what.
        let size = if self.tracer.on() { 1 } else { CHUNK };
        for (chunk, batch) in ops.chunks(size).enumerate() {
            let done: Result<(), (usize, bulkpages_core::Error)> = py.detach(|| {
                with_ctx!(self, 0, |m, cx| {
                    for (i, (op, result)) in batch.iter().zip(&mut results).enumerate() {
                        replay.run(m, cx, op, result).map_err(|e| (i, e))?;
                    }
                    Ok(())
                })
            });
            done.map_err(|(i, e)| at(chunk * size + i, e))?;
            for (op, result) in batch.iter().zip(&results) {
                out.append(keys.result(py, op, result)?)?;
            }
        }
        Ok(out)
    }
}

/// Keeps the cyclic garbage collector still: the results are hundreds of thousands of small containers without a cycle,
/// and it would walk them again and again while they are made.
struct CollectorPause<'py> {
    was_on: bool,
    _py: Python<'py>,
}

impl<'py> CollectorPause<'py> {
    fn new(py: Python<'py>) -> Self {
        // SAFETY: the token shows that this thread is attached to the interpreter.
        CollectorPause { was_on: unsafe { pyo3::ffi::PyGC_Disable() } == 1, _py: py }
    }
}

impl Drop for CollectorPause<'_> {
    fn drop(&mut self) {
        if self.was_on {
            // SAFETY: the token is still here, so this thread is attached.
            unsafe { pyo3::ffi::PyGC_Enable() };
        }
    }
}

/// Keys of result dicts, made once a call.
struct Keys<'py> {
    events: Vec<Bound<'py, PyString>>,
    zones: Vec<Bound<'py, PyString>>,
}

impl<'py> Keys<'py> {
    fn new(py: Python<'py>, zones: &[String]) -> Self {
        Keys {
            events: RECORDED_EVENTS.iter().map(|name| PyString::intern(py, name)).collect(),
            zones: zones.iter().map(|name| PyString::intern(py, name)).collect(),
        }
    }

    fn result(&self, py: Python<'py>, op: &Op, result: &OpResult) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        out.set_item(intern!(py, "ret"), result.ret)?;
        let events = PyDict::new(py);
        for (name, n) in self.events.iter().zip(result.events).filter(|(_, n)| *n != 0) {
            events.set_item(name, n)?;
        }
        out.set_item(intern!(py, "events"), events)?;
        let zones = PyDict::new(py);
        for (name, z) in self.zones.iter().zip(&result.zones) {
            let line = [
                i64::from(z.count),
                i64::from(z.high),
                i64::from(z.flags),
                i64::from(z.alloc_factor),
                i64::from(z.free_count),
                z.free_pages,
                i64::from(z.zone_flags),
            ];
            zones.set_item(name, PyList::new(py, line)?)?;
        }
        out.set_item(intern!(py, "zones"), zones)?;
        let allocates = matches!(op.kind, OpKind::Bulk { .. } | OpKind::Alloc { .. });
        if allocates && !result.pages.is_empty() {
            let pages = PyList::empty(py);
            for &(i, pfn) in &result.pages {
                pages.append(PyList::new(py, [i, pfn])?)?;
            }
            out.set_item(intern!(py, "pages"), pages)?;
        }
        if !result.kswapd.is_empty() {
            let kswapd = PyDict::new(py);
            for (nid, &waiting) in result.kswapd.iter().enumerate() {
                kswapd.set_item(nid.to_string(), i64::from(waiting))?;
            }
            out.set_item(intern!(py, "kswapd"), kswapd)?;
        }
        Ok(out)
    }
}
