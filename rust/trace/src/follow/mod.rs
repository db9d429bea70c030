//! Kernel: the requests to `mm/page_alloc.c` while a trace was taken (v6.12).
//!
//! Follows a trace on a machine that was loaded with the state at its beginning. For each `mm_page_alloc` line the
//! machine predicts the frame from the state and the lines before, and only then reads the frame in the line. If they
//! differ, the machine is corrected and the reason is counted.
//!
//! # What is inferred, and from what
//!
//! * A refill whose list was not empty: somebody took the rest without a line, so a bulk call did.
//! * A frame that lies deeper on its list than the head: the frames above it were taken without a line.
//! * A free of a page that nobody was seen to take: it was taken without a line, or before the trace.
//! * Bulk calls repeat: if pages left twice without a line before a task made a certain request, they are expected to
//!   leave before it makes that request again on that CPU, for as long as this is right more often than wrong.
//!
//! Nothing here looks ahead: what a line reveals is used from the next line on.

use std::collections::{HashMap, HashSet};

use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Migratetype;
use bulkpages_core::probe::Event;
use bulkpages_core::step::{Drain, Series, Stepped, Whereabouts};
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Pfn};

use crate::tally::note;
use crate::text::{Line, What};
use crate::what_if::Request;

mod allocs;
mod frees;
mod refills;
mod report;

pub use report::{Miss, Report, Verdict, reason};

/// A list: zone, order, type.
type List = (usize, u8, Migratetype);

#[derive(Debug)]
struct Session {
    list: List,
    pages: Vec<Pfn>,
    series: Series,
    extfrag: Option<Pfn>,
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
enum Draining {
    /// After a free: zone, what is to be drained.
    Free(usize, Drain),
    /// By the periodic worker or by another CPU: zone, whose lists, pages left until it begins with list 0 again, batch,
    /// list.
    Others { zone: usize, of: usize, left: i32, batch: i32, pindex: usize },
}

/// A take without a line that may be expected again.
///
/// A caller usually fills arrays of one length, so bulk calls repeat their size. A different size costs trust
/// before it is adopted: one odd call among many does not end a habit.
#[derive(Clone, Copy, Debug, Default)]
struct Habit {
    pages: u32,
    /// Times that it was so, less times that it was not: 0 to 3.
    trust: u8,
}

impl Habit {
    fn learn(&mut self, pages: u32) {
        if self.pages == pages {
            self.trust = (self.trust + 1).min(3);
        } else if self.trust > 1 {
            self.trust -= 1;
        } else {
            *self = Habit { pages, trust: 1 };
        }
    }
}

/// What a line asked for: order, type and flags.
type Ask = (u8, u8, u32);

/// A free whose line was read.
#[derive(Clone, Copy, Debug)]
struct Pending {
    number: u64,
    pfn: Pfn,
    order: u8,
}

#[derive(Debug, Default)]
struct Cpu {
    pending: Vec<Pending>,
    batch: bool,
    session: Option<Session>,
    drain: Option<Draining>,
    /// The last free that reached a list, no other line having come since: zone, list.
    freed: Option<(usize, usize)>,
    /// The last refill that no allocation line has followed yet.
    fresh: Option<List>,
    /// The pages last taken without a line, and from where.
    hidden: Vec<(List, Vec<Pfn>)>,
}

/// Follows a trace, line by line.
#[derive(Debug)]
pub struct Follower {
    machine: Stepped,
    cpus: Vec<Cpu>,
    cx: Ctx<Vec<Event>, NoFault>,
    report: Report,
    /// By CPU, task, and its last two requests. With one request alone as the key, a task that makes its bulk call after every
    /// second request would look as if it made one now and then.
    habits: HashMap<(usize, i32, Ask, Ask), Habit>,
    asked: HashMap<i32, Ask>,
    /// Pages that left a list without a line, and that no line has named since.
    unseen: HashSet<u32>,
    learn: bool,
    /// What the callers did, when that is to be kept.
    requests: Option<Vec<Request>>,
}

/// Order of the largest blocks.
const LARGEST: u8 = 10;

impl Follower {
    /// Follows on `machine`. `learn`: expect takes without a line where they happened before.
    pub fn new(machine: Machine<Local>, learn: bool) -> Follower {
        let cpus = (0..machine.cpus()).map(|_| Cpu::default()).collect();
        let cx = Ctx { cpu: 0, probe: Vec::new(), fault: NoFault };
        Follower {
            requests: None,
            machine: machine.into(),
            cpus,
            cx,
            report: Report::default(),
            habits: HashMap::new(),
            asked: HashMap::new(),
            unseen: HashSet::new(),
            learn,
        }
    }

    /// The machine as it is now.
    pub fn machine(&self) -> &Machine<Local> {
        &self.machine
    }

    /// Keeps what the callers do, to be done again with other settings.
    pub fn keep_requests(&mut self) {
        self.requests = Some(Vec::new());
    }

    /// What was kept since the last time.
    pub fn take_requests(&mut self) -> Vec<Request> {
        self.requests.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The end: what is under way is finished.
    pub fn finish(mut self) -> (Report, Machine<Local>) {
        for cpu in 0..self.cpus.len() {
            self.flush(cpu);
            self.end_session(cpu);
            self.end_drain(cpu);
        }
        self.report.unsound = self.machine.audit().err().map(|e| e.to_string());
        (self.report, self.machine.into_machine())
    }

    /// The next line of the trace.
    pub fn line(&mut self, number: u64, line: &Line) {
        self.report.tally.count(number, line);
        if !line.is_kmem() {
            return;
        }
        if let Some(why) = self.outside(line) {
            self.put_outside(number, why);
            return;
        }
        let cpu = line.head.cpu.unwrap_or(0) as usize;
        let frame = |pfn: u64| Pfn(pfn as u32);
        self.cx.cpu = cpu;
        if !matches!(line.what, What::Drain { .. }) {
            self.cpus[cpu].freed = None;
        }
        match line.what {
            What::Alloc { pfn, order, migratetype, gfp } => {
                let mt = Migratetype::from_bits(migratetype.into());
                let asked = allocs::Asked { pfn: frame(pfn), order, migratetype, mt, gfp };
                self.alloc(number, cpu, line.head.pid.unwrap_or(-1), asked);
            }
            What::Free { pfn, order } => {
                self.end_session(cpu);
                self.end_drain(cpu);
                self.cpus[cpu].pending.push(Pending { number, pfn: frame(pfn), order });
            }
            What::FreeBatched { pfn } => self.free_batched(cpu, frame(pfn)),
            What::ZoneLocked { pfn, order, migratetype, .. } => {
                let mt = Migratetype::from_bits(migratetype.into());
                self.refilled(number, cpu, (frame(pfn), order, mt), false);
            }
            What::Extfrag { pfn, alloc_order, alloc_type, .. } => {
                let mt = Migratetype::from_bits(alloc_type.into());
                self.refilled(number, cpu, (frame(pfn), alloc_order, mt), true);
            }
            What::Drain { pfn, order, .. } => self.drained(number, cpu, frame(pfn), order),
            _ => {}
        }
    }

    fn put_outside(&mut self, number: u64, why: String) {
        self.report.outside += 1;
        note(&mut self.report.outside_lines, || (number, why));
    }

    /// The page is owned from now on, as a line says that it is.
    fn take(&mut self, number: u64, cpu: usize, pfn: Pfn, order: u8) -> Option<Whereabouts> {
        let was = self.machine.force_take(cpu, pfn, order);
        if was.is_none() {
            self.unmanaged(number, pfn);
        }
        was
    }

    fn unmanaged(&mut self, number: u64, pfn: Pfn) {
        self.put_outside(
            number,
            format!("pfn {:#x} is no page that a zone manages: all of those are elsewhere", pfn.0),
        );
    }

    /// What a line names that the machine does not have.
    fn outside(&self, line: &Line<'_>) -> Option<String> {
        let cpus = self.cpus.len();
        match line.head.cpu {
            Some(cpu) if cpu as usize >= cpus => {
                return Some(format!("cpu {cpu} does not exist: the machine has {cpus}"));
            }
            None if cpus > 1 => return Some(format!("the line names no cpu, and the machine has {cpus}")),
            _ => {}
        }
        let (pfn, order, mt) = match line.what {
            What::Alloc { pfn: 0, .. } => return None,
            What::Alloc { pfn, order, migratetype, .. } => (pfn, order, migratetype),
            What::Free { pfn, order } => (pfn, order, 0),
            What::FreeBatched { pfn } => (pfn, 0, 0),
            What::ZoneLocked { pfn, order, migratetype, .. } | What::Drain { pfn, order, migratetype } => {
                (pfn, order, migratetype)
            }
            What::Extfrag { pfn, alloc_order, alloc_type, .. } => (pfn, alloc_order, alloc_type),
            _ => return None,
        };
        if mt > 3 {
            return Some(format!("migratetype {mt} is not modelled (0 to 3 are)"));
        }
        if order > LARGEST {
            return Some(format!("order {order} is not modelled (0 to {LARGEST} are)"));
        }
        if pfn % (1 << order) != 0 {
            return Some(format!("pfn {pfn:#x} is not aligned to order {order}"));
        }
        let in_zone = |pfn: u64| u32::try_from(pfn).is_ok_and(|pfn| self.machine.zone_index_of(Pfn(pfn)).is_some());
        if !in_zone(pfn) || !in_zone(pfn + (1 << order) - 1) {
            return Some(format!("pfn {pfn:#x} is in no zone of the machine"));
        }
        None
    }
}
