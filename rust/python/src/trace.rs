//! Traces: text in, what became of it out.

use std::sync::{Mutex, PoisonError};

use bulkpages_core::Machine as CoreMachine;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::Local;
use bulkpages_trace::follow::Follower;
use bulkpages_trace::lines::Lines;
use bulkpages_trace::text::{Parser, What};
use pyo3::prelude::*;

use crate::errors::{BulkpagesError, SnapshotError, to_py};

/// Follows a trace on a machine.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug)]
pub struct TraceFollower {
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    follower: Follower,
    lines: Lines,
    parser: Parser,
    /// Begins at the first snapshot line and ends at the second.
    marked: bool,
    seen: u32,
}

impl State {
    fn line(&mut self, number: u64, line: &[u8]) {
        let line = self.parser.line(line);
        if line.what == What::Snapshot {
            self.seen += 1;
        }
        if !self.marked || self.seen == 1 {
            self.follower.line(number, &line);
        }
    }
}

#[pymethods]
impl TraceFollower {
    /// Begins in the state `snapshot` (JSON text): at the first line, or, `marked`, at the first snapshot line, to end at
    /// the second. `learn`: expect pages to leave without a line where they did before.
    #[new]
    #[pyo3(signature = (snapshot, *, marked=false, learn=true))]
    fn new(py: Python<'_>, snapshot: &str, marked: bool, learn: bool) -> PyResult<TraceFollower> {
        let text = &mut serde_json::Deserializer::from_str(snapshot);
        let snapshot: Snapshot = serde_path_to_error::deserialize(text)
            .map_err(|e| SnapshotError::new_err(format!("at {}: {}", e.path(), e.inner())))?;
        let machine = py.detach(|| CoreMachine::<Local>::from_snapshot(&snapshot)).map_err(to_py)?;
        let state = State {
            follower: Follower::new(machine, learn),
            lines: Lines::default(),
            parser: Parser::default(),
            marked,
            seen: 0,
        };
        Ok(TraceFollower { state: Mutex::new(Some(state)) })
    }

    /// The next bytes of the trace; they may end anywhere in a line.
    fn feed(&self, py: Python<'_>, chunk: &[u8]) -> PyResult<()> {
        py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(state) = &mut *state else { return false };
            let mut lines = std::mem::take(&mut state.lines);
            lines.feed(chunk, |number, line| state.line(number, line));
            state.lines = lines;
            true
        })
        .then_some(())
        .ok_or_else(finished)
    }

    /// The end of the trace: the report and the state at the end, both JSON text.
    fn finish(&self, py: Python<'_>) -> PyResult<(String, String)> {
        py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            let mut lines = std::mem::take(&mut state.lines);
            lines.finish(|number, line| state.line(number, line));
            let (report, machine) = state.follower.finish();
            Some((serde_json::to_string(&report), serde_json::to_string(&machine.snapshot())))
        })
        .ok_or_else(finished)
        .and_then(|(report, snapshot)| {
            let error = |e: serde_json::Error| BulkpagesError::new_err(e.to_string());
            Ok((report.map_err(error)?, snapshot.map_err(error)?))
        })
    }
}

fn finished() -> PyErr {
    BulkpagesError::new_err("the trace was finished already")
}
