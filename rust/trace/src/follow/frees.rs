//! Kernel: `__free_pages()` and the drains that follow, line by line (v6.12).

use bulkpages_core::Pfn;
use bulkpages_core::pcp::{order_to_pindex, pcp_allowed_order};
use bulkpages_core::step::Whereabouts;

use super::{Draining, Follower, Pending};
use crate::what_if::Request;

impl Follower {
    pub(super) fn free_batched(&mut self, cpu: usize, pfn: Pfn) {
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
    pub(super) fn flush(&mut self, cpu: usize) {
        for free in std::mem::take(&mut self.cpus[cpu].pending) {
            self.end_drain(cpu);
            self.free(cpu, free);
        }
        self.cpus[cpu].batch = false;
    }

    pub(super) fn free(&mut self, cpu: usize, Pending { number, pfn, order }: Pending) {
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
        self.cpus[cpu].drain = self.machine.free(cpu, pfn, order).map(|drain| Draining::Free(zone, drain));
    }

    pub(super) fn drained(&mut self, number: u64, cpu: usize, pfn: Pfn, order: u8) {
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
                state = Some(Draining::Free(zone, self.machine.drain_seen(zone, cpu, pindex)));
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
        if self.machine.drain(cpu, pfn, order).is_none() {
            self.unmanaged(number, pfn);
        }
    }

    /// Nobody freed: the periodic worker drains, or another CPU does.
    pub(super) fn drained_by_others(&mut self, zone: usize, cpu: usize, pfn: Pfn) -> Draining {
        let of = match self.machine.whereabouts(pfn) {
            Whereabouts::Pcp { cpu, .. } => cpu,
            _ => cpu,
        };
        let batch = self.machine.decay(zone, of);
        Draining::Others { zone, of, left: batch, batch, pindex: 0 }
    }

    pub(super) fn end_drain(&mut self, cpu: usize) {
        if let Some(Draining::Free(zone, drain)) = self.cpus[cpu].drain.take() {
            self.machine.drained(zone, drain);
        }
    }
}
