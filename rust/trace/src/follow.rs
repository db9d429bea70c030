//! Kernel: whoever called `mm/page_alloc.c` while a trace was taken (v6.12).
//!
//! Follows a trace on a machine that was loaded with the state at its beginning. For each `mm_page_alloc` line the
//! machine foretells the frame, from the state and the lines before, and only then looks at what the line says. When
//! the line says otherwise, the machine is put right and the reason counted.
//!
//! # What is inferred, and from what
//!
//! * A refill whose list was not empty: somebody took the rest without a line, so a bulk call did.
//! * A frame that lies deeper on its list than the head: what lay above it was taken without a line.
//! * A free of a page that nobody was seen to take: it was taken without a line, or before the trace.
//! * Bulk calls come again: when pages had left twice without a line before a task asked for something, it is expected
//!   when it asks for that again on that CPU, for as long as this is right more often than not.
//!
//! Nothing here looks ahead: what a line reveals is used from the next line on.

use std::collections::{HashMap, HashSet};

use bulkpages_core::fault::{Ctx, NoFault};
use bulkpages_core::gfp::{Gfp, Migratetype};
use bulkpages_core::pcp::{order_to_pindex, pcp_allowed_order};
use bulkpages_core::probe::Event;
use bulkpages_core::step::{Drain, Series, Whereabouts};
use bulkpages_core::sync::Local;
use bulkpages_core::{Machine, Pfn};
use serde::Serialize;

use crate::tally::{Tally, note};
use crate::text::{Line, What};
use crate::what_if::Request;

/// What became of an `mm_page_alloc` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame was foretold.
    Predicted,
    /// Deeper on the expected list: so many pages had left without a line.
    HiddenTake {
        /// Pages above it.
        pages: u32,
    },
    /// The machine had expected that pages had left without a line, but they had not, or not so many.
    NoHiddenTake,
    /// On another list of this CPU: another zone or type.
    OtherList,
    /// On a list of another CPU.
    OtherCpu,
    /// In the buddy lists.
    Buddy,
    /// In the hands of a caller, or of the kernel since before the trace.
    NotFree,
}

/// An `mm_page_alloc` line whose frame was not foretold.
#[derive(Clone, Debug, Serialize)]
pub struct Miss {
    /// Line of the trace, from 1.
    pub line: u64,
    /// CPU.
    pub cpu: u32,
    /// Frame of the line.
    pub pfn: u32,
    /// Frame that was foretold.
    pub expected: Option<u32>,
    /// Order, type.
    pub order: u8,
    /// Type asked for.
    pub migratetype: u8,
    /// Why.
    pub reason: &'static str,
    /// Pages that had left the list without a line.
    pub pages: u32,
}

/// What a replay found.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs)]
pub struct Report {
    /// `mm_page_alloc` lines with a page.
    pub allocations: u64,
    /// Of these, frames foretold.
    pub predicted: u64,
    /// Of these, the machine's page had the order, zone and type of the line's.
    pub matched: u64,
    /// Frames that had just been named by a line of a refill.
    pub after_refill: u64,
    /// Failed allocations: lines without a page.
    pub failed: u64,
    /// `mm_page_alloc_zone_locked` and `extfrag` lines, and those whose frame was foretold.
    pub refilled: u64,
    pub refilled_predicted: u64,
    /// Refills, and those whose number of entries was foretold.
    pub refills: u64,
    pub refill_sizes_predicted: u64,
    /// `mm_page_pcpu_drain` lines, and those whose frame was foretold.
    pub drained: u64,
    pub drained_predicted: u64,
    /// Frees, of pages that nobody was seen to take (kernel's own from before), and of pages that were thought free.
    pub frees: u64,
    pub frees_of_kernel_pages: u64,
    pub frees_of_free_pages: u64,
    /// Takes without a line: how many, their pages, and how many were foretold.
    pub hidden_takes: u64,
    pub hidden_pages: u64,
    pub hidden_predicted: u64,
    pub false_hidden: u64,
    /// Sizes of hidden takes: (pages, times).
    pub hidden_sizes: std::collections::BTreeMap<u32, u64>,
    pub misses: Vec<Miss>,
    /// Misses by reason.
    pub reasons: std::collections::BTreeMap<&'static str, u64>,
    /// Lines that name what the machine does not have: how many, and the first of them with the reason.
    pub outside: u64,
    pub outside_lines: Vec<(u64, String)>,
    /// Lines by kind.
    #[serde(flatten)]
    pub tally: Tally,
    /// What the audit of the machine found at the end.
    pub unsound: Option<String>,
}

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
    machine: Machine<Local>,
    cpus: Vec<Cpu>,
    cx: Ctx<Vec<Event>, NoFault>,
    report: Report,
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
/// Misses kept in the report; all are counted.
const MAX_MISSES: usize = 10_000;
/// Habits remembered; a trace of any length starts more tasks than this.
const MAX_HABITS: usize = 1 << 18;

impl Follower {
    /// Follows on `machine`. `learn`: expect takes without a line where they happened before.
    pub fn new(machine: Machine<Local>, learn: bool) -> Follower {
        let cpus = (0..machine.cpus()).map(|_| Cpu::default()).collect();
        let cx = Ctx { cpu: 0, probe: Vec::new(), fault: NoFault };
        Follower {
            requests: None,
            machine,
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
        (self.report, self.machine)
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
                self.alloc(number, cpu, line.head.pid.unwrap_or(-1), frame(pfn), order, migratetype, gfp)
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

    // Frees

    fn free_batched(&mut self, cpu: usize, pfn: Pfn) {
        self.end_session(cpu);
        self.end_drain(cpu);
        let Some(at) = self.cpus[cpu].pending.iter().position(|p| p.pfn == pfn) else { return };
        let done: Vec<_> = self.cpus[cpu].pending.drain(..=at).collect();
        for free in done {
            self.end_drain(cpu);
            self.free(cpu, free);
        }
        self.cpus[cpu].batch = !self.cpus[cpu].pending.is_empty();
    }

    /// The frees that a batch line did not come for.
    fn flush(&mut self, cpu: usize) {
        for free in std::mem::take(&mut self.cpus[cpu].pending) {
            self.end_drain(cpu);
            self.free(cpu, free);
        }
        self.cpus[cpu].batch = false;
    }

    fn free(&mut self, cpu: usize, Pending { number, pfn, order }: Pending) {
        // A refill of another CPU whose pages come back already has ended, though that CPU wrote no line since.
        for other in 0..self.cpus.len() {
            if self.cpus[other].session.as_ref().is_some_and(|s| s.pages.contains(&pfn)) {
                self.end_session(other);
            }
        }
        if self.machine.page_state(pfn) != bulkpages_core::PageState::Allocated(order) {
            match self.take(number, cpu, pfn, order) {
                None => return,
                Some(Whereabouts::Kernel) => self.report.frees_of_kernel_pages += 1,
                Some(Whereabouts::Owned) => {}
                Some(_) => self.report.frees_of_free_pages += 1,
            }
        }
        self.report.frees += 1;
        if let Some(requests) = &mut self.requests {
            requests.push(Request::Free { cpu: cpu as u32, pfn, order });
        }
        self.unseen.remove(&pfn.0);
        let Some(zone) = self.machine.zone_index_of(pfn) else { return };
        self.cpus[cpu].freed =
            pcp_allowed_order(order).then(|| (zone, order_to_pindex(order, self.machine.block_type(pfn).pcp_type())));
        self.cpus[cpu].drain = self.machine.step_free(cpu, pfn, order).map(|drain| Draining::Free(zone, drain));
    }

    fn drained(&mut self, number: u64, cpu: usize, pfn: Pfn, order: u8) {
        if !self.cpus[cpu].batch {
            self.flush(cpu);
        }
        self.end_session(cpu);
        self.report.drained += 1;
        let Some(zone) = self.machine.zone_index_of(pfn) else { return };
        let pages = 1 << order;
        let mut state = self.cpus[cpu].drain;
        if !state.is_some_and(|s| matches!(s, Draining::Free(z, _) | Draining::Others { zone: z, .. } if z == zone)) {
            self.end_drain(cpu);
            let after_free = self.cpus[cpu].freed.filter(|&(z, pindex)| {
                z == zone && self.machine.next_drained(zone, cpu, pindex).is_some_and(|n| n == (pindex, pfn))
            });
            if let Some((zone, pindex)) = after_free {
                state = Some(Draining::Free(zone, self.machine.step_drain_seen(zone, cpu, pindex)));
            } else {
                state = Some(self.drained_by_others(zone, cpu, pfn));
            }
        }
        let expected = match &mut state {
            Some(Draining::Free(_, drain)) => {
                let found = self.machine.next_drained(zone, cpu, drain.pindex);
                drain.pindex = found.map_or(0, |f| f.0);
                found
            }
            Some(Draining::Others { of, left, batch, pindex, .. }) => {
                if *left <= 0 {
                    (*left, *pindex) = (*batch, 0);
                }
                let found = self.machine.next_drained(zone, *of, *pindex);
                *pindex = found.map_or(0, |f| f.0);
                *left -= pages;
                found
            }
            None => None,
        };
        self.cpus[cpu].drain = state;
        if expected.map(|f| f.1) == Some(pfn) {
            self.report.drained_predicted += 1;
        }
        if self.machine.step_drain(cpu, pfn, order).is_none() {
            self.unmanaged(number, pfn);
        }
    }

    /// Nobody freed: the periodic worker drains, or another CPU does.
    fn drained_by_others(&mut self, zone: usize, cpu: usize, pfn: Pfn) -> Draining {
        let of = match self.machine.whereabouts(pfn) {
            Whereabouts::Pcp { cpu, .. } => cpu,
            _ => cpu,
        };
        let batch = self.machine.step_decay(zone, of);
        Draining::Others { zone, of, left: batch, batch, pindex: 0 }
    }

    fn end_drain(&mut self, cpu: usize) {
        if let Some(Draining::Free(zone, drain)) = self.cpus[cpu].drain.take() {
            self.machine.step_drained(zone, cpu, drain);
        }
    }

    // Refills

    fn refilled(&mut self, number: u64, cpu: usize, (pfn, order, mt): (Pfn, u8, Migratetype), extfrag: bool) {
        if !self.cpus[cpu].batch {
            self.flush(cpu);
        }
        self.end_drain(cpu);
        let Some(zone) = self.machine.zone_index_of(pfn) else { return };
        let list = (zone, order, mt);
        if extfrag
            && let Some(session) = &mut self.cpus[cpu].session
            && session.extfrag.take() == Some(pfn)
        {
            return;
        }
        if self.cpus[cpu].session.as_ref().is_some_and(|s| s.list != list) {
            self.end_session(cpu);
        }
        let mut session = self.cpus[cpu].session.take().unwrap_or_else(|| Session {
            list,
            pages: Vec::new(),
            series: Series::default(),
            extfrag: None,
        });
        self.report.refilled += 1;
        self.cx.probe.clear();
        let expected = self.machine.step_take(&mut self.cx, zone, order, mt, &mut session.series);
        let there = if expected == Some(pfn) {
            self.report.refilled_predicted += 1;
            true
        } else {
            if let Some(expected) = expected {
                self.machine.step_untake(cpu, expected, order);
            }
            self.take(number, cpu, pfn, order).is_some()
        };
        // A claim of half a block has two lines for one page.
        let both = self.cx.probe.iter().any(|e| matches!(e, Event::ZoneLocked { .. }))
            && self.cx.probe.iter().any(|e| matches!(e, Event::Extfrag { .. }));
        session.extfrag = (both && !extfrag).then_some(pfn);
        if there {
            session.pages.push(pfn);
        }
        self.cpus[cpu].session = Some(session);
    }

    fn end_session(&mut self, cpu: usize) {
        let Some(session) = self.cpus[cpu].session.take() else { return };
        let (zone, order, mt) = session.list;
        if !pcp_allowed_order(order) {
            return;
        }
        let m = &self.machine;
        let left = m.list_len(zone, cpu, order, mt);
        if left > 0 {
            // A refill finds its list empty.
            let taken: Vec<Pfn> = std::iter::from_fn(|| m.step_pop(zone, cpu, order, mt)).collect();
            self.hidden(cpu, session.list, taken);
        }
        // A bulk call may refill several times in a row: all but the last refill are used up. The lines do not say where
        // one ends; the rules do, when the sizes that they foretell make up what was seen. Otherwise it was one refill,
        // of a size that corrects the limits.
        let m = &self.machine;
        let limits = m.limits(zone, cpu);
        let mut sizes = Vec::new();
        let mut left = session.pages.len();
        while left > 0 {
            let want = m.step_refill_size(zone, cpu, order).max(1) as usize;
            sizes.push(want.min(left));
            if want > left {
                break;
            }
            left -= want;
        }
        let exact = left == 0;
        if exact {
            self.report.refill_sizes_predicted += sizes.len() as u64;
        } else if order == 0 {
            m.set_limits(zone, cpu, limits);
            if m.step_refill_seen(zone, cpu, session.pages.len() as i32) {
                sizes = vec![session.pages.len()];
            } else {
                m.step_refill_size(zone, cpu, order);
            }
        } else {
            sizes = vec![session.pages.len()];
        }
        self.report.refills += sizes.len() as u64;
        let (last, used) = (sizes.last().copied().unwrap_or(0), session.pages.len());
        let (used, pages) = session.pages.split_at(used - last);
        if !used.is_empty() {
            self.hidden(cpu, session.list, used.to_vec());
        }
        for &pfn in pages {
            self.machine.step_push(zone, cpu, pfn, order, mt, true);
        }
        self.cpus[cpu].fresh = Some(session.list);
    }

    /// Pages that left a list without a line.
    fn hidden(&mut self, cpu: usize, list: List, pages: Vec<Pfn>) {
        if let Some(requests) = &mut self.requests {
            // The flags are not known; these ask for the type of the pages.
            let gfp = match list.2 {
                Migratetype::Movable => 0x10_0cca,
                Migratetype::Reclaimable => 0xcd0,
                _ => 0xcc0,
            };
            if list.1 == 0 {
                requests.push(Request::Bulk { cpu: cpu as u32, gfp, pages: pages.clone() });
            }
        }
        self.report.hidden_takes += 1;
        self.report.hidden_pages += pages.len() as u64;
        *self.report.hidden_sizes.entry(pages.len() as u32).or_default() += 1;
        self.unseen.extend(pages.iter().map(|p| p.0));
        let hidden = &mut self.cpus[cpu].hidden;
        hidden.push((list, pages));
        if hidden.len() > 16 {
            hidden.remove(0);
        }
    }

    // Allocations

    #[expect(clippy::too_many_arguments)]
    fn alloc(&mut self, number: u64, cpu: usize, pid: i32, pfn: Pfn, order: u8, migratetype: u8, gfp: u32) {
        let mt = Migratetype::from_bits(migratetype.into());
        if !self.cpus[cpu].batch {
            self.flush(cpu);
        }
        self.end_drain(cpu);
        if pfn.is_null() {
            self.end_session(cpu);
            self.report.failed += 1;
            return;
        }
        self.report.allocations += 1;
        let Ok(flags) = Gfp::new(gfp.into()) else {
            self.put_outside(number, format!("gfp flags {gfp:#x} are not valid"));
            return;
        };
        let nid = self.machine.nearest_node(None, cpu).unwrap_or(0);
        let usable = self.machine.usable_zones(flags, order, nid);
        // One page, straight from the buddy lists: no per-CPU list serves the order, or its lock was taken.
        let direct = self.cpus[cpu].session.as_ref().is_some_and(|s| {
            let (zone, o, t) = s.list;
            s.pages.len() == 1
                && o == order
                && (!pcp_allowed_order(order)
                    || t == mt && self.machine.list_len(zone, cpu, o, t) > 0 && {
                        let limits = self.machine.limits(zone, cpu);
                        let want = self.machine.step_refill_size(zone, cpu, o);
                        self.machine.set_limits(zone, cpu, limits);
                        want > 1
                    })
        });
        if direct && let Some(session) = self.cpus[cpu].session.take() {
            self.report.after_refill += 1;
            let expected = session.pages.first().copied();
            if expected == Some(pfn) {
                self.report.predicted += 1;
                self.report.matched += 1;
            } else {
                self.miss(number, cpu, pfn, expected, order, migratetype, Verdict::Buddy);
                self.take(number, cpu, pfn, order);
            }
            self.asked_for(cpu, gfp, order, pfn);
            return;
        }
        self.end_session(cpu);
        let fresh = self.cpus[cpu].fresh.take().filter(|l| l.1 == order && l.2 == mt);
        if fresh.is_some() {
            self.report.after_refill += 1;
        }
        let zone = fresh
            .map(|l| l.0)
            .or_else(|| usable.iter().copied().find(|&z| self.machine.list_len(z, cpu, order, mt) > 0))
            .or(usable.first().copied());
        let ask: Ask = (order, migratetype, gfp);
        let before = self.asked.insert(pid, ask).unwrap_or_default();
        let key = (cpu, pid, before, ask);
        let mut skip = 0;
        if self.learn
            && order == 0
            && let Some(habit) = self.habits.get(&key)
        {
            // Once may be chance.
            skip = if habit.trust >= 2 { habit.pages } else { 0 };
        }
        let (head, mut expected) = match zone {
            Some(z) if pcp_allowed_order(order) => self.machine.with_list(z, cpu, order, mt, |l| {
                let head = l.next();
                (head, if skip == 0 { head } else { l.nth(skip as usize - 1) })
            }),
            _ => (None, None),
        };
        if expected.is_none() {
            expected = head;
            skip = 0;
        }
        if let Some(z) = zone {
            self.machine.step_request(z, cpu);
            let found = expected.map_or(z, |e| self.machine.zone_index_of(e).unwrap_or(z));
            if self.machine.zone_index_of(pfn) == Some(found) && self.machine.block_type(pfn).pcp_type() == mt {
                self.report.matched += 1;
            }
        }
        let actual = match self.machine.whereabouts(pfn) {
            Whereabouts::Pcp { cpu: c, pindex } if c == cpu && pindex == order_to_pindex(order, mt.pcp_type()) => {
                let z = self.machine.zone_index_of(pfn).unwrap_or(0);
                let depth =
                    self.machine.with_list(z, cpu, order, mt, |mut l| (&mut l).position(|p| p == pfn)).unwrap_or(0);
                Some((z, depth as u32))
            }
            _ => None,
        };
        if expected == Some(pfn) {
            self.report.predicted += 1;
            self.report.hidden_predicted += u64::from(skip > 0);
        } else {
            let verdict = match actual {
                Some((z, depth)) if Some(z) == zone && depth > 0 => Verdict::HiddenTake { pages: depth },
                Some((z, 0)) if Some(z) == zone => Verdict::NoHiddenTake,
                Some(_) => Verdict::OtherList,
                None => match self.machine.whereabouts(pfn) {
                    Whereabouts::Buddy => Verdict::Buddy,
                    Whereabouts::Pcp { cpu: c, .. } if c == cpu => Verdict::OtherList,
                    Whereabouts::Pcp { .. } => Verdict::OtherCpu,
                    _ => Verdict::NotFree,
                },
            };
            self.report.false_hidden += u64::from(skip > 0 && verdict == Verdict::NoHiddenTake);
            self.miss(number, cpu, pfn, expected, order, migratetype, verdict);
        }
        match actual {
            Some((z, depth)) => {
                let m = &self.machine;
                let taken: Vec<Pfn> = (0..depth).filter_map(|_| m.step_pop(z, cpu, order, mt)).collect();
                m.step_pop(z, cpu, order, mt);
                if depth > 0 {
                    self.hidden(cpu, (z, order, mt), taken);
                }
                if order == 0 {
                    self.forget();
                    self.habits.entry(key).or_default().learn(depth);
                }
            }
            None => {
                self.put_back(cpu, pfn);
                self.take(number, cpu, pfn, order);
            }
        }
        self.unseen.remove(&pfn.0);
        self.asked_for(cpu, gfp, order, pfn);
    }

    /// Keeps what is remembered of tasks within bounds.
    fn forget(&mut self) {
        if self.habits.len() >= MAX_HABITS {
            self.habits.retain(|_, habit| habit.trust >= 2);
        }
        if self.habits.len() >= MAX_HABITS {
            self.habits.clear();
        }
        if self.asked.len() >= MAX_HABITS {
            self.asked.clear();
        }
    }

    fn asked_for(&mut self, cpu: usize, gfp: u32, order: u8, pfn: Pfn) {
        if let Some(requests) = &mut self.requests {
            requests.push(Request::Alloc { cpu: cpu as u32, gfp, order, pfn });
        }
    }

    /// A page that was thought to have left without a line turns up: what lay behind it is still on the list.
    fn put_back(&mut self, cpu: usize, pfn: Pfn) {
        if !self.unseen.contains(&pfn.0) {
            return;
        }
        let hidden = &mut self.cpus[cpu].hidden;
        let Some(i) = hidden.iter().rposition(|h| h.1.contains(&pfn)) else { return };
        let (list, pages) = hidden.swap_remove(i);
        let at = pages.iter().position(|&p| p == pfn).unwrap_or(0);
        for &page in pages[at + 1..].iter().rev() {
            if self.unseen.remove(&page.0) {
                self.machine.step_push(list.0, cpu, page, list.1, list.2, false);
            }
        }
    }

    #[expect(clippy::too_many_arguments)]
    fn miss(
        &mut self,
        line: u64,
        cpu: usize,
        pfn: Pfn,
        expected: Option<Pfn>,
        order: u8,
        migratetype: u8,
        verdict: Verdict,
    ) {
        *self.report.reasons.entry(reason(verdict)).or_default() += 1;
        if self.report.misses.len() < MAX_MISSES {
            let pages = if let Verdict::HiddenTake { pages } = verdict { pages } else { 0 };
            self.report.misses.push(Miss {
                line,
                cpu: cpu as u32,
                pfn: pfn.0,
                expected: expected.map(|e| e.0),
                order,
                migratetype,
                reason: reason(verdict),
                pages,
            });
        }
    }
}

/// A verdict as a word.
pub fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Predicted => "predicted",
        Verdict::HiddenTake { .. } => "pages left the list without a line",
        Verdict::NoHiddenTake => "pages were expected to have left the list, but had not",
        Verdict::OtherList => "another zone or type",
        Verdict::OtherCpu => "on the list of another CPU",
        Verdict::Buddy => "in the buddy lists",
        Verdict::NotFree => "not thought to be free",
    }
}
