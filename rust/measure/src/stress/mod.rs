//! Real threads on one machine: allocation, bulk calls of all versions, frees on another CPU than the one that
//! allocated, drains of one CPU and of all, all at once. A bitmap of its own, kept outside the machine, notices a
//! page that is handed out twice at once.

mod mix;
mod owners;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bulkpages_core::sync::Locking;
use bulkpages_core::{Audit, Ctx, Error, Machine, Result};

pub use self::mix::{Mix, Op, PRESETS, parse_mix};
use self::owners::Owned;
use self::worker::{Shared, Worker};
use crate::clock;
use crate::timed::{self, Seen};

/// Pages that a thread owns at most.
const MAX_OWNED: u64 = 8192;

#[derive(Clone, Debug)]
pub struct StressPlan {
    /// Threads; thread `i` runs on CPU `i % cpus`.
    pub threads: usize,
    /// When to stop, at the latest.
    pub time: Option<Duration>,
    /// Operations of each thread, at most.
    pub ops: Option<u64>,
    pub mix: Mix,
    /// Seed of what the threads do. The order in which they do it is the machine's.
    pub seed: u64,
    /// Slices of the timeline that each thread keeps.
    pub slices: usize,
}

/// What one thread did.
#[derive(Clone, Debug, Default)]
pub struct Done {
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
    /// Trylocks of per-CPU lists and how many failed, by [`Side`](crate::timed::Side).
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
    pub fn ok(&self) -> bool {
        self.violations.is_empty() && self.audit.is_ok()
    }
}

/// Runs a plan on a machine. `keep_going` is asked about every 50 ms by the calling thread and ends the run by `false`.
/// The pages that the run allocated are freed at its end.
///
/// # Errors
///
/// For a plan that cannot be run; nothing has changed then.
pub fn run<L: Locking>(machine: &Machine<L>, plan: &StressPlan, mut keep_going: impl FnMut() -> bool) -> Result<Report>
where
    Machine<L>: Sync,
{
    if plan.threads == 0 || plan.threads > 1024 {
        return Err(Error::invalid(format!("threads {} is outside 1 to 1024", plan.threads)));
    }
    if plan.threads > machine.cpus() {
        return Err(Error::invalid(format!("threads {} is above the machine's {} cpus", plan.threads, machine.cpus())));
    }
    if plan.time.is_none() && plan.ops.is_none() {
        return Err(Error::invalid("a run needs a time or a number of operations"));
    }
    let shared = Shared::new(machine, plan.threads);
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
                    let mut worker = Worker::new(shared, index, limit, plan.seed);
                    let cpu = worker.done.cpu;
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

    fn plan(threads: usize, ops: u64, mix: &str) -> StressPlan {
        StressPlan { threads, time: None, ops: Some(ops), mix: parse_mix(mix).unwrap(), seed: 1, slices: 0 }
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
    fn more_threads_than_cpus_are_refused() {
        let machine = Machine::<Atomic>::boot(&BootSpec::new(16384, 2, 1)).unwrap();
        let error = run(&machine, &plan(3, 1, "default"), || true).unwrap_err().to_string();
        assert!(error.contains("threads 3") && error.contains('2'), "{error}");
    }
}
