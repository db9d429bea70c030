//! What the lines of a trace were: nothing is left out without a count.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::text::{Line, What};

/// Lines of each kind of trouble that are kept; all are counted.
pub const MAX_NOTES: usize = 1000;

/// Lines of a trace, counted by kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub lines: u64,
    /// Events of the page allocator.
    pub kmem_events: u64,
    /// Events of callers of the bulk call.
    pub caller_events: u64,
    /// Lines that are none of these and no damage: the next four, and the marks of snapshots.
    pub other_lines: u64,
    pub other_events: u64,
    pub stack_lines: u64,
    /// Lines of a kernel log that are none of a trace.
    pub log_lines: u64,
    /// Comments, headings, empty lines.
    pub comments: u64,
    /// Marks of snapshots.
    pub snapshot_lines: u64,
    /// Lines that tell of lost events: how many, the events, and the first of them as (line, events).
    pub lost: u64,
    /// Events that the tracer lost.
    pub lost_events: u64,
    /// The first of these lines, each with its number and its events.
    pub lost_lines: Vec<(u64, u64)>,
    /// Events that had been overwritten before the trace was read out.
    pub overwritten: u64,
    /// Lines that could not be read.
    pub damaged: u64,
    /// The first of these lines, each with its number and the reason.
    pub damaged_lines: Vec<(u64, String)>,
    /// Events whose line has no CPU.
    pub without_cpu: u64,
    /// Events whose line has no time.
    pub without_time: u64,
    /// Names of gfp flags that the emulator does not have, and how many events have them.
    pub unknown_flags: BTreeMap<String, u64>,
}

impl Tally {
    pub fn count(&mut self, number: u64, line: &Line<'_>) {
        self.lines += 1;
        let kind = match &line.what {
            What::Caller => &mut self.caller_events,
            What::Other => &mut self.other_events,
            What::Stack => &mut self.stack_lines,
            What::Log => &mut self.log_lines,
            What::Comment => &mut self.comments,
            What::Snapshot => &mut self.snapshot_lines,
            What::Overwritten { events } => {
                self.overwritten = self.overwritten.saturating_add(*events);
                &mut self.comments
            }
            What::Lost { events } => {
                self.lost_events = self.lost_events.saturating_add(*events);
                note(&mut self.lost_lines, || (number, *events));
                &mut self.lost
            }
            What::Damaged { why } => {
                note(&mut self.damaged_lines, || (number, why.clone()));
                &mut self.damaged
            }
            _ => &mut self.kmem_events,
        };
        *kind += 1;
        self.other_lines = self.other_events + self.stack_lines + self.log_lines + self.comments + self.snapshot_lines;
        if line.is_event() {
            self.without_cpu += u64::from(line.head.cpu.is_none());
            self.without_time += u64::from(line.head.stamp.is_none());
        }
        for name in line.unknown.split('|').filter(|n| !n.is_empty()) {
            if let Some(count) = self.unknown_flags.get_mut(name) {
                *count += 1;
            } else if self.unknown_flags.len() < MAX_NOTES {
                self.unknown_flags.insert(name.into(), 1);
            }
        }
    }
}

/// Keeps one more note, when there is room.
pub(crate) fn note<T>(notes: &mut Vec<T>, what: impl FnOnce() -> T) {
    if notes.len() < MAX_NOTES {
        notes.push(what());
    }
}
