//! Traces: text in, what became of it out.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use bulkpages_core::Machine as CoreMachine;
use bulkpages_core::probe::Event;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::Local;
use bulkpages_trace::follow::Follower;
use bulkpages_trace::lines::Lines;
use bulkpages_trace::tally::Tally;
use bulkpages_trace::text::{Head, Line, Parser, Stamp, What};
use bulkpages_trace::what_if::{Request, Rerun};
use bulkpages_trace::write;
use pyo3::prelude::*;

use crate::args::Int;
use crate::errors::{BulkpagesError, SnapshotError, invalid, to_py};
use crate::machine::bulk_api;

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
        let machine = load(py, snapshot)?;
        let rules = machine.rules();
        if !(rules.list_type_is_block_type && rules.pcp_high_tuned && rules.has_pcp_lists()) {
            return Err(invalid(format!(
                "traces are followed where pages carry no type and per-CPU limits are tuned, as in 6.12 and 7.3; this \
                 state is one of kernel {}",
                machine.era().name()
            )));
        }
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

    /// Keeps what the callers do from here on, for `what_if`.
    fn keep_requests(&self) -> PyResult<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_mut().map(|s| s.follower.keep_requests()).ok_or_else(finished)
    }

    /// The requests that were kept since the last time, to be made again.
    fn requests(&self) -> PyResult<TraceRequests> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_mut().map(|s| TraceRequests { requests: s.follower.take_requests() }).ok_or_else(finished)
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

/// Reads a trace of any tool, a chunk at a time; memory does not grow with its length.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug, Default)]
pub struct TraceReader {
    state: Mutex<Reader>,
}

#[derive(Debug, Default)]
struct Reader {
    parser: Parser,
    lines: Lines,
    tally: Tally,
}

impl Reader {
    /// Calls `f` with each line that `chunk` completes, and with what has no end when it is the `last`.
    fn each(&mut self, chunk: &[u8], last: bool, mut f: impl FnMut(&Line<'_>)) {
        let Reader { parser, lines, tally } = self;
        let mut one = |number: u64, line: &[u8]| {
            let line = parser.line(line);
            tally.count(number, &line);
            f(&line);
        };
        lines.feed(chunk, &mut one);
        if last {
            lines.finish(&mut one);
        }
    }
}

/// Task, thread, thread group, CPU, flags, time in nanoseconds, ticks of a counting clock, name and fields of an event.
type EventRow = (String, Option<i32>, Option<i32>, Option<u32>, String, Option<u64>, Option<u64>, String, String);

fn row(line: &Line<'_>) -> EventRow {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (ns, ticks) = match line.head.stamp {
        Some(Stamp::Time { ns, .. }) => (Some(ns), None),
        Some(Stamp::Ticks(ticks)) => (None, Some(ticks)),
        None => (None, None),
    };
    let Head { task, pid, tgid, cpu, flags, .. } = line.head;
    (text(task), pid, tgid, cpu, text(flags), ns, ticks, text(line.name), text(line.fields))
}

#[pymethods]
impl TraceReader {
    #[new]
    fn new() -> TraceReader {
        TraceReader::default()
    }

    /// The events of the page allocator and of callers of the bulk call, marks of snapshots and lines about lost events
    /// in `chunk`, as ftrace text. `last`: nothing follows.
    #[pyo3(signature = (chunk, *, last=false))]
    fn rewrite(&self, py: Python<'_>, chunk: &[u8], last: bool) -> String {
        py.detach(|| {
            let mut out = String::new();
            self.state.lock().unwrap_or_else(PoisonError::into_inner).each(chunk, last, |line| {
                // INVARIANT: writing into a string cannot fail.
                let _ = write::again(&mut out, line);
            });
            out
        })
    }

    /// The events of the page allocator and of callers of the bulk call in `chunk`, each as task, thread, thread group,
    /// CPU, flags, nanoseconds, ticks, name and text of the fields.
    #[pyo3(signature = (chunk, *, last=false))]
    fn events(&self, py: Python<'_>, chunk: &[u8], last: bool) -> Vec<EventRow> {
        py.detach(|| {
            let mut out = Vec::new();
            self.state.lock().unwrap_or_else(PoisonError::into_inner).each(chunk, last, |line| {
                if line.is_event() {
                    out.push(row(line));
                }
            });
            out
        })
    }

    /// What the lines so far were, as JSON text.
    fn tally(&self) -> PyResult<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_string(&state.tally).map_err(|e| BulkpagesError::new_err(e.to_string()))
    }
}

/// What a trace's callers asked for.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug)]
pub struct TraceRequests {
    requests: Vec<Request>,
}

#[pymethods]
impl TraceRequests {
    /// Requests, bulk calls and frees.
    fn __len__(&self) -> usize {
        self.requests.len()
    }
}

/// Makes a trace's requests of a machine with other settings, some at a time.
#[pyclass(frozen, module = "bulkpages._core")]
#[derive(Debug)]
pub struct TraceRerun {
    rerun: Mutex<Rerun>,
}

#[pymethods]
impl TraceRerun {
    /// A machine in the state `snapshot` (JSON text), whose bulk calls are `api` "v1" or "v2".
    #[new]
    fn new(py: Python<'_>, snapshot: &str, api: &str) -> PyResult<TraceRerun> {
        let api = bulk_api(api)?;
        Ok(TraceRerun { rerun: Mutex::new(Rerun::new(load(py, snapshot)?, api)) })
    }

    /// The next requests.
    fn run(&self, py: Python<'_>, requests: &TraceRequests) {
        py.detach(|| self.rerun.lock().unwrap_or_else(PoisonError::into_inner).run(&requests.requests));
    }

    /// What they cost so far, as JSON text.
    fn costs(&self) -> PyResult<String> {
        let costs = self.rerun.lock().unwrap_or_else(PoisonError::into_inner).costs();
        serde_json::to_string(&costs).map_err(|e| BulkpagesError::new_err(e.to_string()))
    }
}

fn load(py: Python<'_>, snapshot: &str) -> PyResult<CoreMachine<Local>> {
    let text = &mut serde_json::Deserializer::from_str(snapshot);
    let snapshot: Snapshot = serde_path_to_error::deserialize(text)
        .map_err(|e| SnapshotError::new_err(format!("at {}: {}", e.path(), e.inner())))?;
    py.detach(|| CoreMachine::<Local>::from_snapshot(&snapshot)).map_err(to_py)
}

/// The task that a trace of the emulator names.
const TASK: &str = "bulkpages";

/// What the calls of a machine do, as lines of a trace.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    /// Read on every call, so that calls nobody traces pay one load.
    on: AtomicBool,
    log: Mutex<(String, u64)>,
}

impl Tracer {
    #[inline]
    pub(crate) fn on(&self) -> bool {
        self.on.load(Relaxed)
    }

    pub(crate) fn start(&self) -> bool {
        !self.on.swap(true, Relaxed)
    }

    /// The emulator has no clock: each line is a microsecond after the one before.
    pub(crate) fn note(&self, cpu: usize, events: &[Event]) {
        self.note_all(cpu, events, &[]);
    }

    /// Events, and lines of callers, each behind so many of the events.
    pub(crate) fn note_all(&self, cpu: usize, events: &[Event], lines: &[(usize, String)]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, written) = &mut *log;
        let mut add = |what: &dyn Fn(&mut String, u64) -> Result<bool, std::fmt::Error>| {
            // INVARIANT: writing into a string cannot fail.
            *written += u64::from(what(text, (*written + 1) * 1000) == Ok(true));
        };
        let mut lines = lines.iter().peekable();
        for i in 0..=events.len() {
            while let Some((_, line)) = lines.next_if(|line| line.0 <= i) {
                add(&|text, time| write::caller_line(text, TASK, 1, cpu, time, line).map(|()| true));
            }
            if let Some(event) = events.get(i) {
                add(&|text, time| write::line(text, TASK, 1, cpu, time, event));
            }
        }
    }

    pub(crate) fn stop(&self) -> String {
        self.on.store(false, Relaxed);
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner)).0
    }
}

/// The kernel's text for gfp flags.
#[pyfunction]
pub(crate) fn gfp_text(gfp: Int) -> PyResult<String> {
    let gfp = gfp.within("gfp", 0..=i64::from(u32::MAX))? as u32;
    Ok(bulkpages_trace::gfp::text(gfp))
}

/// The gfp flags of a text.
#[pyfunction]
pub(crate) fn gfp_value(text: &str) -> PyResult<u32> {
    bulkpages_trace::gfp::parse(text).map_err(|name| invalid(format!("gfp flag {name:?} is not known")))
}

/// The gfp flags of a text as far as its names are known.
#[pyfunction]
pub(crate) fn gfp_known(text: &str) -> u32 {
    bulkpages_trace::gfp::read(text).0
}

fn finished() -> PyErr {
    BulkpagesError::new_err("the trace was finished already")
}
