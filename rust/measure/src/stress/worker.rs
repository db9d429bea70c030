//! The workers of a stress run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe, SingleReason};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Machine, Pfn, Result, Slot};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::mix::Op;
use super::owners::{Owned, Owners};
use super::{Done, StressPlan};
use crate::clock;
use crate::timed::{self, Side};

/// Slots of the arrays of bulk calls.
const SLOTS: usize = 256;
/// Pages that may wait for another thread to take them over. A worker that would pass more frees them itself.
const MAX_PASSED: usize = 4096;

/// What all workers of a run share.
pub(super) struct Shared<'a, L: Locking> {
    pub(super) machine: &'a Machine<L>,
    pub(super) owners: Owners,
    pub(super) inboxes: Vec<Mutex<Vec<Owned>>>,
    pub(super) stop: AtomicBool,
    pub(super) running: AtomicUsize,
    pub(super) violations: Mutex<Vec<String>>,
}

impl<'a, L: Locking> Shared<'a, L> {
    /// Of a run of so many threads.
    pub(super) fn new(machine: &'a Machine<L>, threads: usize) -> Self {
        Shared {
            machine,
            owners: Owners::new(machine.pages().end()),
            inboxes: (0..threads).map(|_| Mutex::default()).collect(),
            stop: AtomicBool::new(false),
            running: AtomicUsize::new(threads),
            violations: Mutex::default(),
        }
    }

    /// Something broke: everybody stops.
    pub(super) fn violation(&self, text: String) {
        let mut list = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < 32 {
            list.push(text);
        }
        self.stop.store(true, Relaxed);
    }
}

/// Counts what the probe shows.
struct Watch<'a> {
    done: &'a mut Done,
    side: Side,
}

impl Probe for Watch<'_> {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, event: Event) {
        match event {
            Event::PcpTrylock { locked, .. } => {
                let count = &mut self.done.trylocks[self.side as usize];
                count.0 += 1;
                count.1 += u64::from(!locked);
            }
            Event::BulkSingle { reason } => {
                self.done.singles[match reason {
                    SingleReason::Memcg => 0,
                    SingleReason::OnePage => 1,
                    SingleReason::PageOwner => 2,
                    SingleReason::Watermark => 3,
                    SingleReason::RemoteNode => 4,
                    SingleReason::Trylock => 5,
                    SingleReason::FirstTake => 6,
                }] += 1;
            }
            _ => {}
        }
    }
}

/// One thread on one CPU: what it owns, and what it did.
pub(super) struct Worker<'a, L: Locking> {
    shared: &'a Shared<'a, L>,
    index: usize,
    cpu: usize,
    limit: usize,
    rng: Xoshiro256PlusPlus,
    slots: Box<[Slot]>,
    pub(super) owned: Vec<Owned>,
    pub(super) done: Done,
}

impl<'a, L: Locking> Worker<'a, L> {
    /// Worker `index` of a run, which owns at most about `limit` blocks.
    pub(super) fn new(shared: &'a Shared<'a, L>, index: usize, limit: usize, seed: u64) -> Self {
        let cpu = index % shared.machine.cpus();
        let seed = seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Worker {
            shared,
            index,
            cpu,
            limit,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            slots: Slot::array(SLOTS + 1),
            owned: Vec::new(),
            done: Done { cpu, ..Done::default() },
        }
    }

    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * n as u128) >> 64) as usize
    }

    /// Runs `f` with a context that counts.
    fn call<R>(&mut self, side: Side, f: impl FnOnce(&Machine<L>, &mut Ctx<Watch<'_>, NoFault>, &[Slot]) -> R) -> R {
        let before = timed::set_side(side);
        let start = clock::now();
        let mut cx = Ctx { cpu: self.cpu, probe: Watch { done: &mut self.done, side }, fault: NoFault };
        let result = f(self.shared.machine, &mut cx, &self.slots);
        timed::note(start, clock::now(), None, side);
        timed::set_side(before);
        result
    }

    fn got(&mut self, page: Pfn, order: u8) {
        if !self.shared.owners.take(page, order) {
            self.shared.violation(format!(
                "pfn {page} (order {order}) was handed out twice, the second time to cpu {}",
                self.cpu
            ));
            return;
        }
        self.done.allocated += 1 << order;
        self.owned.push(Owned { page, order, cpu: self.cpu });
    }

    fn step(&mut self, op: Op) -> Result<()> {
        self.done.ops[op as usize] += 1;
        match op {
            Op::Single => self.alloc(0),
            Op::Order => {
                let order = 1 + self.below(3) as u8;
                self.alloc(order)
            }
            Op::V1 | Op::V2 | Op::V3 => self.bulk(op),
            Op::Free => {
                let n = 1 + self.below(64);
                self.free(n)
            }
            Op::Pass => self.pass(),
            Op::Local => self.call(Side::LocalDrain, |m, cx, _| m.drain_local_pages(cx)),
            Op::Drain => {
                self.call(Side::RemoteDrain, |m, cx, _| (0..m.cpus()).try_for_each(|cpu| m.drain_pages(cx, cpu)))
            }
        }
    }

    fn alloc(&mut self, order: u8) -> Result<()> {
        match self.call(Side::Alloc, |m, cx, _| m.alloc_pages(cx, Gfp::KERNEL, order, None))? {
            Some(page) => self.got(page, order),
            None => self.done.failed += 1,
        }
        Ok(())
    }

    fn bulk(&mut self, op: Op) -> Result<()> {
        let n = 2 + self.below(SLOTS - 1);
        // Populated slots hold order-0 pages that this worker owns: every fourth of them on average.
        let mut kept = Vec::new();
        if op != Op::V2 {
            for i in 0..n {
                if self.below(4) == 0
                    && let Some(at) = self.owned.len().checked_sub(1)
                    && self.owned[at].order == 0
                {
                    let page = self.owned.swap_remove(at);
                    self.slots[i].set(page.page);
                    kept.push(page);
                }
            }
        }
        let ret = self.call(Side::Bulk, |m, cx, slots| match op {
            Op::V1 => m.alloc_pages_bulk::<NullOnly>(cx, Gfp::KERNEL, None, &slots[..n]).map(|_| ()),
            Op::V2 => m.alloc_pages_bulk::<OutputOnly>(cx, Gfp::KERNEL, None, &slots[..n]).map(|_| ()),
            _ => m.alloc_pages_bulk_refill(cx, Gfp::KERNEL, &slots[..n]).map(|_| ()),
        });
        ret?;
        let mut found = 0;
        let mut fresh = Vec::with_capacity(n);
        for slot in &self.slots[..n] {
            let page = slot.get();
            slot.set(Pfn::NULL);
            if page.is_null() {
                continue;
            }
            match kept.iter().any(|k| k.page == page) {
                true => found += 1,
                false => fresh.push(page),
            }
        }
        if found != kept.len() {
            self.shared.violation(format!("{} left {found} of {} pages that the array held", op.name(), kept.len()));
        }
        self.owned.append(&mut kept);
        self.done.failed += u64::from(fresh.is_empty() && found < n);
        for page in fresh {
            self.got(page, 0);
        }
        Ok(())
    }

    fn free(&mut self, n: usize) -> Result<()> {
        for _ in 0..n.min(self.owned.len()) {
            let at = self.below(self.owned.len());
            let block = self.owned.swap_remove(at);
            self.free_one(block)?;
        }
        Ok(())
    }

    fn free_one(&mut self, block: Owned) -> Result<()> {
        if !self.shared.owners.give(block.page, block.order) {
            self.shared.violation(format!("pfn {} (order {}) had lost its owner's mark", block.page, block.order));
        }
        self.call(Side::Free, |m, cx, _| m.free_pages(cx, block.page, block.order))?;
        self.done.freed += 1 << block.order;
        if block.cpu != self.cpu {
            self.done.freed_remote += 1 << block.order;
        }
        Ok(())
    }

    fn pass(&mut self) -> Result<()> {
        let n = (1 + self.below(64)).min(self.owned.len());
        let to = (self.index + 1 + self.below(self.shared.inboxes.len())) % self.shared.inboxes.len();
        {
            let mut inbox = self.shared.inboxes[to].lock().unwrap_or_else(PoisonError::into_inner);
            if inbox.len() < MAX_PASSED {
                inbox.extend(self.owned.drain(self.owned.len() - n..));
                return Ok(());
            }
        }
        self.free(n)
    }

    /// Takes over what others passed: frees it here.
    fn receive(&mut self) -> Result<()> {
        let passed = {
            let mut inbox = self.shared.inboxes[self.index].lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *inbox)
        };
        passed.into_iter().try_for_each(|block| self.free_one(block))
    }

    pub(super) fn run(&mut self, plan: &StressPlan, until: Option<Instant>) -> Result<()> {
        let total: u32 = plan.mix.iter().sum();
        let mut left = plan.ops.unwrap_or(u64::MAX);
        let mut round = 0u32;
        while left > 0 && !self.shared.stop.load(Relaxed) {
            if round.is_multiple_of(64) && until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            if round.is_multiple_of(16) {
                self.receive()?;
            }
            round = round.wrapping_add(1);
            left -= 1;
            if self.owned.len() > self.limit {
                self.free(self.owned.len() / 2)?;
            }
            let mut at = self.below(total as usize) as u32;
            let op = Op::ALL.into_iter().find(|op| {
                let weight = plan.mix[*op as usize];
                let here = at < weight;
                at = at.wrapping_sub(weight);
                here
            });
            // INVARIANT: `at` started below the sum of the weights.
            self.step(op.unwrap_or(Op::Single))?;
        }
        Ok(())
    }
}
