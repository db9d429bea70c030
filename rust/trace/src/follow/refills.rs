//! Kernel: `rmqueue_bulk()`, line by line, and the takes that leave none (v6.12).

use bulkpages_core::Pfn;
use bulkpages_core::gfp::Migratetype;
use bulkpages_core::pcp::pcp_allowed_order;
use bulkpages_core::probe::Event;
use bulkpages_core::step::Series;

use super::{Follower, List, Session};
use crate::what_if::Request;

impl Follower {
    pub(super) fn refilled(
        &mut self,
        number: u64,
        cpu: usize,
        (pfn, order, mt): (Pfn, u8, Migratetype),
        extfrag: bool,
    ) {
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
        let expected = self.machine.take(&mut self.cx, zone, order, mt, &mut session.series);
        let there = if expected == Some(pfn) {
            self.report.refilled_predicted += 1;
            true
        } else {
            if let Some(expected) = expected {
                self.machine.put_back(cpu, expected, order);
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

    pub(super) fn end_session(&mut self, cpu: usize) {
        let Some(session) = self.cpus[cpu].session.take() else { return };
        let (zone, order, mt) = session.list;
        if !pcp_allowed_order(order) {
            return;
        }
        let m = &self.machine;
        let left = m.list_len(zone, cpu, order, mt);
        if left > 0 {
            // A refill finds its list empty.
            let taken: Vec<Pfn> = std::iter::from_fn(|| m.pop(zone, cpu, order, mt)).collect();
            self.hidden(cpu, session.list, taken);
        }
        // A bulk call may refill several times in a row. All refills but the last are used up. The lines do not say where a
        // refill ends. The rules do, if the sizes that they predict add up to what was seen. Otherwise it was one refill, and
        // its size corrects the limits.
        let m = &self.machine;
        let limits = m.limits(zone, cpu);
        let mut sizes = Vec::new();
        let mut left = session.pages.len();
        while left > 0 {
            let want = m.refill_size(zone, cpu, order).max(1) as usize;
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
            if m.refill_seen(zone, cpu, session.pages.len() as i32) {
                sizes = vec![session.pages.len()];
            } else {
                m.refill_size(zone, cpu, order);
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
            self.machine.push(zone, cpu, pfn, order, mt, true);
        }
        self.cpus[cpu].fresh = Some(session.list);
    }

    /// Pages that left a list without a line.
    pub(super) fn hidden(&mut self, cpu: usize, list: List, pages: Vec<Pfn>) {
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
}
