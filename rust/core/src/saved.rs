//! Saving a whole machine, with what a kernel's snapshot lacks: owners of pages, counters, the reclaim model, held locks.
//! There is no kernel counterpart. Every later call on a restored machine does the same as on the original.

use core::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::page::PageState;
use crate::pfn::{MAX_PAGE_ORDER, Pfn};
use crate::reclaim::Reclaim;
use crate::snapshot::Snapshot;
use crate::sync::{Lock, Locking};
use crate::zone::Events;

/// A block that a caller owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owned {
    first: u32,
    order: u8,
    /// References beyond the first.
    more_refs: u8,
    /// page_pool that the page belongs to, 0 for none.
    pool: u8,
}

/// Counters of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counters {
    pcp: Vec<Events>,
    direct: Vec<Events>,
    numa_foreign: u64,
}

/// The whole state of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// What a kernel's snapshot says.
    pub snapshot: Snapshot,
    owned: Vec<Owned>,
    counters: Vec<Counters>,
    allocstall: Vec<u64>,
    held: Vec<(usize, usize, usize)>,
    reclaim: Reclaim,
    memcg: bool,
    page_owner: bool,
}

fn bad<T>(text: String) -> Result<T> {
    Err(Error::Snapshot(text))
}

impl<L: Locking> Machine<L> {
    /// Everything that later calls depend on. The page_pools themselves are not in it, only which pages are theirs.
    pub fn save(&self) -> Saved {
        let mut owned = Vec::new();
        for zone in &self.zones {
            for (first, order) in self.pages.allocated(zone.start..zone.end()) {
                let more_refs = (self.pages.ref_count(first).max(1) - 1) as u8;
                owned.push(Owned { first: first.0, order, more_refs, pool: self.pages.pool(first) });
            }
        }
        let counters = self.zones.iter().map(|zone| Counters {
            pcp: zone.pcp.iter().map(|pcp| pcp.0.lock().events).collect(),
            direct: zone.area.0.lock().direct.to_vec(),
            numa_foreign: self.numa_foreign(zone),
        });
        Saved {
            snapshot: self.snapshot(),
            owned,
            counters: counters.collect(),
            allocstall: self.allocstall[..self.zone_types.len()].iter().map(|n| n.load(Relaxed)).collect(),
            held: self.held_pcp_locks(),
            reclaim: self.reclaim.lock().clone(),
            memcg: self.config.memcg,
            page_owner: self.config.page_owner,
        }
    }

    /// A machine in this state.
    ///
    /// # Errors
    ///
    /// When what was saved contradicts itself.
    pub fn restore(saved: &Saved) -> Result<Machine<L>> {
        let mut machine: Machine<L> = Machine::from_snapshot(&saved.snapshot)?;
        machine.config.memcg = saved.memcg;
        machine.config.page_owner = saved.page_owner;
        let mut end = 0;
        for block in &saved.owned {
            machine.own(block, end)?;
            end = block.first + (1 << block.order);
        }
        if saved.counters.len() != machine.zones.len() {
            return bad(format!("counters of {} zones, not of {}", saved.counters.len(), machine.zones.len()));
        }
        for (zone, from) in machine.zones.iter().zip(&saved.counters) {
            if from.pcp.len() != zone.pcp.len() || from.direct.len() != zone.pcp.len() {
                return bad(format!("counters of {} CPUs, not of {}", from.pcp.len(), zone.pcp.len()));
            }
            for (cpu, &events) in from.pcp.iter().enumerate() {
                zone.pcp[cpu].0.lock().events = events;
            }
            zone.area.0.lock().direct = from.direct.clone().into();
            zone.numa_foreign.store(from.numa_foreign, Relaxed);
        }
        if saved.allocstall.len() != machine.zone_types.len() {
            return bad(format!("allocstall of {} zones, not of {}", saved.allocstall.len(), machine.zone_types.len()));
        }
        for (to, from) in machine.allocstall.iter().zip(&saved.allocstall) {
            to.store(*from, Relaxed);
        }
        for &(nid, idx, cpu) in &saved.held {
            machine.hold_pcp_lock(nid, idx, cpu, true).map_err(|e| Error::Snapshot(e.to_string()))?;
        }
        saved
            .reclaim
            .check(machine.zones.len(), machine.nodes(), |pfn| machine.page_state(pfn) == PageState::Allocated(0))?;
        *machine.reclaim.lock() = saved.reclaim.clone();
        for (nid, (awake, failures)) in saved.reclaim.kswapds().enumerate() {
            machine.kswapd[nid].set_failures(failures);
            machine.set_kswapd_awake(nid, awake);
        }
        if let Some(block) = saved.owned.iter().find(|block| block.pool != 0) {
            return bad(format!("pfn {} belongs to a page_pool, which was not saved", block.first));
        }
        machine.audit().map_err(|e| Error::Snapshot(format!("the state is not sound: {e}")))?;
        Ok(machine)
    }

    /// Gives a block that the snapshot knows as the kernel's to its owner; `end` is behind the one before.
    fn own(&mut self, block: &Owned, end: u32) -> Result<()> {
        let (first, order) = (Pfn(block.first), block.order);
        let what = format!("owned block at pfn {first} of order {order}");
        if order > MAX_PAGE_ORDER || !first.is_aligned(order) || block.first < end {
            return bad(format!("{what} is not aligned, too large, or begins before {end}, where the last one ended"));
        }
        let last = u64::from(block.first) + (1 << order) - 1;
        let zone = self.zones.iter_mut().find(|z| z.spans(first));
        let Some(zone) = zone.filter(|z| last <= u64::from(u32::MAX) && z.spans(Pfn(last as u32))) else {
            return bad(format!("{what} is in no zone"));
        };
        // A listed block that covers this one begins at it or before; one inside it begins in it.
        let covered = (0..=MAX_PAGE_ORDER).any(|up| {
            let head = Pfn(first.0 >> up << up);
            matches!(self.pages.state(head), PageState::Buddy(o) | PageState::Pcp(o) if o >= up)
        });
        if covered || (first.0..=last as u32).any(|pfn| self.pages.state(Pfn(pfn)) != PageState::None) {
            return bad(format!("{what} is on a list too"));
        }
        match zone.kernel_pages.checked_sub(1 << order) {
            Some(left) => zone.kernel_pages = left,
            None => return bad(format!("{what} does not fit into the zone's pages in use")),
        }
        self.pages.set_allocated(first, order);
        for _ in 0..block.more_refs {
            if !self.pages.get_ref::<L>(first) {
                return bad(format!("{what} cannot have {} references", u32::from(block.more_refs) + 1));
            }
        }
        Ok(())
    }
}
