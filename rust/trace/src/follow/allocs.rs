//! Kernel: `get_page_from_freelist()` as seen in an `mm_page_alloc` line (v6.12): which frame must the request have got?

use bulkpages_core::Pfn;
use bulkpages_core::gfp::{Gfp, Migratetype};
use bulkpages_core::pcp::{order_to_pindex, pcp_allowed_order};
use bulkpages_core::step::Whereabouts;

use super::report::{Miss, Verdict, reason};
use super::{Ask, Follower};
use crate::what_if::Request;

/// Misses kept in the report; all are counted.
const MAX_MISSES: usize = 10_000;
/// Habits remembered; a trace of any length starts more tasks than this.
const MAX_HABITS: usize = 1 << 18;

/// What a line says: the request and the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) pfn: Pfn,
    pub(super) order: u8,
    /// The type as the line has it.
    pub(super) migratetype: u8,
    pub(super) mt: Migratetype,
    pub(super) gfp: u32,
}

impl Follower {
    pub(super) fn alloc(&mut self, number: u64, cpu: usize, pid: i32, asked: Asked) {
        if !self.cpus[cpu].batch {
            self.flush(cpu);
        }
        self.end_drain(cpu);
        if asked.pfn.is_null() {
            self.end_session(cpu);
            self.report.failed += 1;
            return;
        }
        self.report.allocations += 1;
        let Ok(flags) = Gfp::new(asked.gfp.into()) else {
            self.put_outside(number, format!("gfp flags {:#x} are not valid", asked.gfp));
            return;
        };
        let nid = self.machine.nearest_node(None, cpu).unwrap_or(0);
        let usable = self.machine.usable_zones(flags, asked.order, nid);
        if self.is_direct(cpu, asked)
            && let Some(session) = self.cpus[cpu].session.take()
        {
            self.took_directly(number, cpu, asked, session.pages.first().copied());
        } else {
            self.end_session(cpu);
            self.took_from_list(number, cpu, pid, asked, &usable);
            self.unseen.remove(&asked.pfn.0);
        }
        if let Some(requests) = &mut self.requests {
            let Asked { pfn, order, gfp, .. } = asked;
            requests.push(Request::Alloc { cpu: cpu as u32, gfp, order, pfn });
        }
    }

    /// Whether the one page that was refilled went straight from the buddy lists to the caller: no per-CPU list serves
    /// the order, or its lock was taken.
    fn is_direct(&self, cpu: usize, asked: Asked) -> bool {
        let Some(session) = &self.cpus[cpu].session else { return false };
        let (zone, order, mt) = session.list;
        if session.pages.len() != 1 || order != asked.order {
            return false;
        }
        if !pcp_allowed_order(order) {
            return true;
        }
        mt == asked.mt && self.machine.list_len(zone, cpu, order, mt) > 0 && {
            // Asking for the size of a refill changes the limits.
            let limits = self.machine.limits(zone, cpu);
            let want = self.machine.refill_size(zone, cpu, order);
            self.machine.set_limits(zone, cpu, limits);
            want > 1
        }
    }

    fn took_directly(&mut self, number: u64, cpu: usize, asked: Asked, expected: Option<Pfn>) {
        self.report.after_refill += 1;
        if expected == Some(asked.pfn) {
            self.report.predicted += 1;
            self.report.matched += 1;
        } else {
            self.miss(number, cpu, asked, expected, Verdict::Buddy);
            self.take(number, cpu, asked.pfn, asked.order);
        }
    }

    fn took_from_list(&mut self, number: u64, cpu: usize, pid: i32, asked: Asked, usable: &[usize]) {
        let Asked { pfn, order, mt, .. } = asked;
        let fresh = self.cpus[cpu].fresh.take().filter(|l| l.1 == order && l.2 == mt);
        if fresh.is_some() {
            self.report.after_refill += 1;
        }
        let zone = fresh
            .map(|l| l.0)
            .or_else(|| usable.iter().copied().find(|&z| self.machine.list_len(z, cpu, order, mt) > 0))
            .or(usable.first().copied());
        let ask: Ask = (order, asked.migratetype, asked.gfp);
        let before = self.asked.insert(pid, ask).unwrap_or_default();
        let key = (cpu, pid, before, ask);
        let (expected, skip) = self.expect(cpu, zone, asked, self.habit(key, order));
        if let Some(z) = zone {
            self.machine.request(z, cpu);
            let found = expected.map_or(z, |e| self.machine.zone_index_of(e).unwrap_or(z));
            if self.machine.zone_index_of(pfn) == Some(found) && self.machine.block_type(pfn).pcp_type() == mt {
                self.report.matched += 1;
            }
        }
        let actual = self.on_list(cpu, asked);
        if expected == Some(pfn) {
            self.report.predicted += 1;
            self.report.hidden_predicted += u64::from(skip > 0);
        } else {
            let verdict = self.verdict(cpu, pfn, zone, actual);
            self.report.false_hidden += u64::from(skip > 0 && verdict == Verdict::NoHiddenTake);
            self.miss(number, cpu, asked, expected, verdict);
        }
        let Some((z, depth)) = actual else {
            self.put_back(cpu, pfn);
            self.take(number, cpu, pfn, order);
            return;
        };
        let m = &self.machine;
        let taken: Vec<Pfn> = (0..depth).filter_map(|_| m.pop(z, cpu, order, mt)).collect();
        m.pop(z, cpu, order, mt);
        if depth > 0 {
            self.hidden(cpu, (z, order, mt), taken);
        }
        if order == 0 {
            self.forget();
            self.habits.entry(key).or_default().learn(depth);
        }
    }

    /// Pages that are expected to have left the list without a line before this request.
    fn habit(&self, key: (usize, i32, Ask, Ask), order: u8) -> u32 {
        if !self.learn || order != 0 {
            return 0;
        }
        // Once may be chance.
        self.habits.get(&key).filter(|habit| habit.trust >= 2).map_or(0, |habit| habit.pages)
    }

    /// The frame that the list gives when so many pages have left it, and how many were taken to have left: none when
    /// the list is not that long.
    fn expect(&self, cpu: usize, zone: Option<usize>, asked: Asked, skip: u32) -> (Option<Pfn>, u32) {
        let Some(zone) = zone.filter(|_| pcp_allowed_order(asked.order)) else { return (None, 0) };
        let (head, deeper) = self.machine.with_list(zone, cpu, asked.order, asked.mt, |list| {
            let head = list.next();
            (head, if skip == 0 { None } else { list.nth(skip as usize - 1) })
        });
        if deeper.is_some() { (deeper, skip) } else { (head, 0) }
    }

    /// Where the page is on the list that was asked: zone and depth.
    fn on_list(&self, cpu: usize, Asked { pfn, order, mt, .. }: Asked) -> Option<(usize, u32)> {
        match self.machine.whereabouts(pfn) {
            Whereabouts::Pcp { cpu: c, pindex } if c == cpu && pindex == order_to_pindex(order, mt.pcp_type()) => {
                let z = self.machine.zone_index_of(pfn).unwrap_or(0);
                let depth =
                    self.machine.with_list(z, cpu, order, mt, |mut l| (&mut l).position(|p| p == pfn)).unwrap_or(0);
                Some((z, depth as u32))
            }
            _ => None,
        }
    }

    /// Why a frame was not the expected one.
    fn verdict(&self, cpu: usize, pfn: Pfn, zone: Option<usize>, actual: Option<(usize, u32)>) -> Verdict {
        match actual {
            Some((z, depth)) if Some(z) == zone && depth > 0 => Verdict::HiddenTake { pages: depth },
            Some((z, 0)) if Some(z) == zone => Verdict::NoHiddenTake,
            Some(_) => Verdict::OtherList,
            None => match self.machine.whereabouts(pfn) {
                Whereabouts::Buddy => Verdict::Buddy,
                Whereabouts::Pcp { cpu: c, .. } if c == cpu => Verdict::OtherList,
                Whereabouts::Pcp { .. } => Verdict::OtherCpu,
                _ => Verdict::NotFree,
            },
        }
    }

    /// Keeps the memory of tasks within bounds. Unproven habits go first.
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

    /// A page that was thought to have left without a line is allocated now. So the pages behind it have not left either.
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
                self.machine.push(list.0, cpu, page, list.1, list.2, false);
            }
        }
    }

    fn miss(&mut self, line: u64, cpu: usize, asked: Asked, expected: Option<Pfn>, verdict: Verdict) {
        *self.report.reasons.entry(reason(verdict)).or_default() += 1;
        if self.report.misses.len() < MAX_MISSES {
            let pages = if let Verdict::HiddenTake { pages } = verdict { pages } else { 0 };
            self.report.misses.push(Miss {
                line,
                cpu: cpu as u32,
                pfn: asked.pfn.0,
                expected: expected.map(|e| e.0),
                order: asked.order,
                migratetype: asked.migratetype,
                reason: reason(verdict),
                pages,
            });
        }
    }
}
