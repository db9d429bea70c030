//! Real threads on one machine: allocation, bulk calls of all versions, frees on another CPU than the one that
//! allocated, drains of the own CPU and of all, all at once. A bitmap of its own, kept outside the machine, notices a
//! page that is handed out twice at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::{Ctx, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe, SingleReason};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Audit, Error, Machine, Pfn, Result, Slot};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use crate::clock;
use crate::timed::{self, Seen, Side};

/// Slots of the arrays of bulk calls.
const SLOTS: usize = 256;
/// Pages that may wait to be taken over by another thread; who wants to pass more frees them itself.
const MAX_PASSED: usize = 4096;
/// Pages that a thread owns at most.
const MAX_OWNED: u64 = 8192;

/// One thing that a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `alloc_pages()` of one page.
    Single,
    /// `alloc_pages()` of order 1 to 3.
    Order,
    /// v1 on an array with holes.
    V1,
    /// v2 on the NULL rest of an array.
    V2,
    /// v3 on an array with holes.
    V3,
    /// Frees up to 64 blocks that the worker owns.
    Free,
    /// Passes up to 64 blocks to another worker, who frees them or uses them.
    Pass,
    /// `drain_local_pages()`.
    Local,
    /// `drain_all_pages()`: takes the locks of all CPUs.
    Drain,
}

impl Op {
    /// All of them, in the order of their numbers.
    pub const ALL: [Op; 9] = [Op::Single, Op::Order, Op::V1, Op::V2, Op::V3, Op::Free, Op::Pass, Op::Local, Op::Drain];

    /// Name in a mix.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Single => "single",
            Op::Order => "order",
            Op::V1 => "v1",
            Op::V2 => "v2",
            Op::V3 => "v3",
            Op::Free => "free",
            Op::Pass => "pass",
            Op::Local => "local",
            Op::Drain => "drain",
        }
    }
}

/// How often each [`Op`] comes, relative to the others.
pub type Mix = [u32; Op::ALL.len()];

/// Mixes that have names, with what they are for.
pub const PRESETS: [(&str, Mix); 4] = [
    // Everything at once.
    ("default", [40, 5, 10, 10, 5, 40, 20, 2, 1]),
    // Bulk calls and frees, hardly anything else.
    ("bulk", [2, 0, 20, 20, 10, 10, 10, 0, 0]),
    // Bulk calls against drains that hold their locks.
    ("drain", [10, 0, 10, 10, 5, 10, 5, 2, 10]),
    // Pages travel: nearly each is freed on another CPU.
    ("remote-free", [40, 5, 5, 5, 2, 4, 60, 1, 1]),
];

/// A mix from its text: a preset, weights as `bulk=4,single=2,drain=1`, or a preset and then weights that differ.
/// `bulk` sets the weights of all three bulk calls.
///
/// # Errors
///
/// For a name that is none, a weight that is none or above 1000000, or a mix that never allocates.
pub fn parse_mix(text: &str) -> Result<Mix> {
    let mut mix = [0; Op::ALL.len()];
    for (i, part) in text.split(',').map(str::trim).enumerate() {
        if i == 0
            && let Some((_, preset)) = PRESETS.iter().find(|(name, _)| *name == part)
        {
            mix = *preset;
            continue;
        }
        let Some((name, weight)) = part.split_once('=') else {
            let presets = PRESETS.map(|(name, _)| name).join(", ");
            return Err(invalid(format!("mix {part:?} is neither a weight (name=number) nor one of {presets}")));
        };
        let weight: u32 = match weight.trim().parse() {
            Ok(weight) if weight <= 1_000_000 => weight,
            _ => return Err(invalid(format!("mix: weight {weight:?} of {name} is outside 0 to 1000000"))),
        };
        match name.trim() {
            "bulk" => [Op::V1, Op::V2, Op::V3].iter().for_each(|op| mix[*op as usize] = weight),
            name => match Op::ALL.iter().find(|op| op.name() == name) {
                Some(op) => mix[*op as usize] = weight,
                None => {
                    let names = Op::ALL.map(Op::name).join(", ");
                    return Err(invalid(format!("mix: {name:?} is none of bulk, {names}")));
                }
            },
        }
    }
    if mix[..Op::Free as usize].iter().all(|&w| w == 0) {
        return Err(invalid(format!("mix {text:?} allocates nothing")));
    }
    Ok(mix)
}

fn invalid(text: String) -> Error {
    Error::InvalidArgument(text)
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Threads; thread `i` runs on CPU `i % cpus`.
    pub threads: usize,
    /// When to stop, at the latest.
    pub time: Option<Duration>,
    /// Operations of each thread, at most.
    pub ops: Option<u64>,
    /// Weights.
    pub mix: Mix,
    /// Seed of what the threads do. The order in which they do it is the machine's.
    pub seed: u64,
    /// Slices of the timeline that each thread keeps.
    pub slices: usize,
}

/// What one thread did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Its CPU.
    pub cpu: usize,
    /// Operations of each kind.
    pub ops: [u64; Op::ALL.len()],
    /// Pages allocated.
    pub allocated: u64,
    /// Pages freed.
    pub freed: u64,
    /// Of them, pages that a thread of another CPU had allocated and passed.
    pub freed_remote: u64,
    /// Requests that got nothing.
    pub failed: u64,
    /// Trylocks of per-CPU lists and how many failed, by [`Side`].
    pub trylocks: [(u64, u64); 6],
    /// Bulk calls that took the single-page path, by reason: memcg, one page, page owner, watermark, remote node,
    /// trylock, first take.
    pub singles: [u64; 7],
    /// What it saw of the locks: all zero unless the machine's locks keep time.
    pub seen: Seen,
}

/// Names of [`Done::singles`].
pub const SINGLE_REASONS: [&str; 7] =
    ["memcg", "one_page", "page_owner", "watermark", "remote_node", "trylock", "first_take"];

/// What a run did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Per thread.
    pub threads: Vec<Done>,
    /// How long the threads ran.
    pub elapsed: Duration,
    /// Clock reading at the start.
    pub start: u64,
    /// What broke: a page handed out twice, a page that could not be freed, a worker that panicked. At most 32 of them.
    pub violations: Vec<String>,
    /// Pages that the threads own together at the end, before they free them.
    pub owned: u64,
    /// What the audit says after that.
    pub audit: std::result::Result<Audit, String>,
}

impl Report {
    /// Whether nothing broke.
    pub fn ok(&self) -> bool {
        self.violations.is_empty() && self.audit.is_ok()
    }
}

/// Who owns what, kept beside the machine: one bit a page.
struct Owners(Box<[AtomicU64]>);

impl Owners {
    fn new(end: Pfn) -> Owners {
        Owners((0..end.index().div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Marks the pages of a block; `false` when one is owned already.
    fn take(&self, page: Pfn, order: u8) -> bool {
        self.each(page, order, |word, bit| word.fetch_or(bit, Relaxed) & bit == 0)
    }

    /// Takes the marks away; `false` when one is missing.
    fn give(&self, page: Pfn, order: u8) -> bool {
        self.each(page, order, |word, bit| word.fetch_and(!bit, Relaxed) & bit != 0)
    }

    fn each(&self, page: Pfn, order: u8, f: impl Fn(&AtomicU64, u64) -> bool) -> bool {
        let mut fine = true;
        for at in page.index()..page.index() + (1 << order) {
            fine &= self.0.get(at / 64).is_some_and(|word| f(word, 1 << (at % 64)));
        }
        fine
    }
}

/// An owned block, and the CPU that allocated it.
#[derive(Clone, Copy)]
struct Owned {
    page: Pfn,
    order: u8,
    cpu: usize,
}

struct Shared<'a, L: Locking> {
    machine: &'a Machine<L>,
    owners: Owners,
    inboxes: Vec<Mutex<Vec<Owned>>>,
    stop: AtomicBool,
    running: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

impl<L: Locking> Shared<'_, L> {
    /// Something broke: everybody stops.
    fn violation(&self, text: String) {
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

struct Worker<'a, L: Locking> {
    shared: &'a Shared<'a, L>,
    index: usize,
    cpu: usize,
    limit: usize,
    rng: Xoshiro256PlusPlus,
    slots: Box<[Slot]>,
    owned: Vec<Owned>,
    done: Done,
}

impl<L: Locking> Worker<'_, L> {
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

    fn run(&mut self, plan: &Plan, until: Option<Instant>) -> Result<()> {
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

/// Runs a plan on a machine. `keep_going` is asked about every 50 ms by the calling thread and ends the run by `false`.
/// The pages that the run allocated are freed at its end.
///
/// # Errors
///
/// For a plan that cannot be run; nothing has changed then.
pub fn run<L: Locking>(machine: &Machine<L>, plan: &Plan, mut keep_going: impl FnMut() -> bool) -> Result<Report>
where
    Machine<L>: Sync,
{
    if plan.threads == 0 || plan.threads > 1024 {
        return Err(invalid(format!("threads {} is outside 1 to 1024", plan.threads)));
    }
    if plan.threads > machine.cpus() {
        return Err(invalid(format!("threads {} is above the machine's {} cpus", plan.threads, machine.cpus())));
    }
    if plan.time.is_none() && plan.ops.is_none() {
        return Err(invalid("a run needs a time or a number of operations".into()));
    }
    let shared = Shared {
        machine,
        owners: Owners::new(machine.pages().end()),
        inboxes: (0..plan.threads).map(|_| Mutex::default()).collect(),
        stop: AtomicBool::new(false),
        running: AtomicUsize::new(plan.threads),
        violations: Mutex::default(),
    };
    // Together the threads own at most half of what is free.
    let limit = (machine.nr_free_pages() / (2 * plan.threads as u64)).clamp(1, MAX_OWNED) as usize;
    let (start, began) = (clock::now(), Instant::now());
    let until = plan.time.and_then(|time| began.checked_add(time));
    let mut threads: Vec<(Done, Vec<Owned>)> = std::thread::scope(|scope| {
        let shared = &shared;
        let handles: Vec<_> = (0..plan.threads)
            .map(|index| {
                scope.spawn(move || {
                    timed::start(plan.slices);
                    let cpu = index % machine.cpus();
                    let seed = plan.seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    let mut worker = Worker {
                        shared,
                        index,
                        cpu,
                        limit,
                        rng: Xoshiro256PlusPlus::seed_from_u64(seed),
                        slots: Slot::array(SLOTS + 1),
                        owned: Vec::new(),
                        done: Done { cpu, ..Done::default() },
                    };
                    match catch_unwind(AssertUnwindSafe(|| worker.run(plan, until))) {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => shared.violation(format!("cpu {cpu}: {error}")),
                        Err(_) => shared.violation(format!("cpu {cpu}: the emulator panicked")),
                    }
                    worker.done.seen = timed::stop();
                    shared.running.fetch_sub(1, Relaxed);
                    (worker.done, worker.owned)
                })
            })
            .collect();
        let mut asked = Instant::now();
        while shared.running.load(Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(1));
            if asked.elapsed() >= Duration::from_millis(50) {
                asked = Instant::now();
                if !keep_going() {
                    shared.stop.store(true, Relaxed);
                }
            }
        }
        handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    });
    let elapsed = began.elapsed();
    let mut owned = 0;
    for (i, inbox) in shared.inboxes.iter().enumerate() {
        threads[i].1.append(&mut inbox.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let mut done = Vec::with_capacity(threads.len());
    for (thread, blocks) in threads {
        for block in blocks {
            owned += 1u64 << block.order;
            if !shared.owners.give(block.page, block.order) {
                shared.violation(format!("pfn {} (order {}) had lost its owner's mark", block.page, block.order));
            }
            if let Err(error) = machine.free_pages(&mut Ctx::on(thread.cpu), block.page, block.order) {
                shared.violation(error.to_string());
            }
        }
        done.push(thread);
    }
    let (allocated, freed) = done.iter().fold((0, 0), |sum, d| (sum.0 + d.allocated, sum.1 + d.freed));
    if allocated != freed + owned {
        shared.violation(format!(
            "{allocated} pages were allocated, {freed} freed, and {owned} are owned: some are lost"
        ));
    }
    let audit = machine.audit().map_err(|error| error.to_string());
    let violations = shared.violations.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Report { threads: done, elapsed, start, violations, owned, audit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timed::Timed;
    use bulkpages_core::boot::BootSpec;
    use bulkpages_core::sync::Atomic;

    fn plan(threads: usize, ops: u64, mix: &str) -> Plan {
        Plan { threads, time: None, ops: Some(ops), mix: parse_mix(mix).unwrap(), seed: 1, slices: 0 }
    }

    #[test]
    fn nothing_is_lost_in_any_mix() {
        for (name, _) in PRESETS {
            let machine = Machine::<Timed>::boot(&BootSpec::new(32768, 4, 1)).unwrap();
            let before = machine.audit().unwrap();
            let report = run(&machine, &plan(4, 3000, name), || true).unwrap();
            assert!(report.ok(), "{name}: {:?} {:?}", report.violations, report.audit);
            assert_eq!(report.audit.unwrap().allocated, before.allocated, "{name}");
            assert!(report.threads.iter().all(|d| d.allocated > 0), "{name}");
        }
    }

    #[test]
    fn a_page_that_somebody_else_frees_is_noticed() {
        let machine = Machine::<Atomic>::boot(&BootSpec::new(16384, 1, 1)).unwrap();
        let owners = Owners::new(machine.pages().end());
        assert!(owners.take(Pfn(4097), 2));
        assert!(!owners.take(Pfn(4100), 0), "handed out twice");
        assert!(owners.give(Pfn(4097), 2));
        assert!(!owners.give(Pfn(4097), 2), "freed twice");
    }

    #[test]
    fn a_mix_is_a_preset_or_weights_or_both() {
        let mix = parse_mix("bulk=4,single=2,drain=1").unwrap();
        assert_eq!(mix, [2, 0, 4, 4, 4, 0, 0, 0, 1]);
        assert_eq!(parse_mix("default,drain=9").unwrap()[Op::Drain as usize], 9);
        for bad in ["", "fast", "single=-1", "single=1000001", "speed=1", "drain=1,free=2", "single=1,default"] {
            assert!(parse_mix(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn more_threads_than_cpus_are_refused() {
        let machine = Machine::<Atomic>::boot(&BootSpec::new(16384, 2, 1)).unwrap();
        let error = run(&machine, &plan(3, 1, "default"), || true).unwrap_err().to_string();
        assert!(error.contains("threads 3") && error.contains('2'), "{error}");
    }
}
