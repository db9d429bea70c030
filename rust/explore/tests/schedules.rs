//! Small scenarios on several CPUs under a scheduler that decides at every lock operation who goes on (shuttle).
//!
//! What is scheduled is the emulator itself on locks of the checker. Its relaxed atomics outside the locks (watermarks,
//! page states) are no points of the schedule, and memory is sequentially consistent: a race between such words is
//! for the stress runs, not found here. The bound: [`RANDOM`] random schedules and [`PCT`] of the probabilistic kind,
//! which finds any bug of depth 3 with a known probability, from fixed seeds. A schedule that fails is printed, kept in
//! the directory for temporary files, and replayed by `shuttle::replay_from_file`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::Ctx;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::{Lock, Locking};
use bulkpages_core::{Machine, Pfn, Slot};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Arc, Mutex, MutexGuard};
use shuttle::{Config, FailurePersistence, Runner, thread};

/// Random schedules of each scenario.
const RANDOM: usize = 300;
/// Schedules of the PCT kind of each scenario.
const PCT: usize = 200;

#[derive(Debug, Clone, Copy)]
enum Checked {}

impl Locking for Checked {
    type Lock<T: Debug + Send> = CheckedLock<T>;
    const NAME: &'static str = "checked";
    const PARALLEL: bool = true;
}

#[derive(Debug)]
struct CheckedLock<T>(Mutex<T>);

struct Guard<'a, T>(MutexGuard<'a, T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Lock<T> for CheckedLock<T> {
    type Guard<'a>
        = Guard<'a, T>
    where
        T: 'a;
    fn new(value: T) -> Self {
        CheckedLock(Mutex::new(value))
    }
    fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.0.try_lock().ok().map(Guard)
    }
    fn lock(&self) -> Guard<'_, T> {
        Guard(self.0.lock().unwrap())
    }
    fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap()
    }
}

type Shared = Arc<Machine<Checked>>;

fn boot() -> Shared {
    Arc::new(Machine::boot(&BootSpec::new(16384, 2, 1)).unwrap())
}

/// Every page of all lists is there once, and the machine says the same.
fn check(machine: &Machine<Checked>, owned: &[Vec<Pfn>]) {
    let pages: Vec<Pfn> = owned.concat();
    assert_eq!(pages.iter().collect::<BTreeSet<_>>().len(), pages.len(), "a page was handed out twice");
    assert_eq!(machine.audit().unwrap().allocated, pages.len() as u64, "a page was lost");
}

fn v1(machine: &Machine<Checked>, cpu: usize) -> Vec<Pfn> {
    let slots = Slot::array(4);
    let ret = machine.alloc_pages_bulk::<NullOnly, _, _>(&mut Ctx::on(cpu), Gfp::KERNEL, None, &slots).unwrap();
    assert!(ret >= 1 && slots[..ret].iter().all(|s| !s.get().is_null()), "v1 returned {ret}");
    slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect()
}

fn v2(machine: &Machine<Checked>, cpu: usize) -> Vec<Pfn> {
    let slots = Slot::array(4);
    let ret = machine.alloc_pages_bulk::<OutputOnly, _, _>(&mut Ctx::on(cpu), Gfp::KERNEL, None, &slots).unwrap();
    let pages: Vec<Pfn> = slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect();
    assert!(ret >= 1 && ret == pages.len(), "v2 returned {ret} for {} pages", pages.len());
    pages
}

/// Two CPUs allocate, each from its lists, and one drains both: no page is lost or handed out twice.
fn two_cpus_and_a_drain() {
    let machine = boot();
    let workers: Vec<_> = (0..2)
        .map(|cpu| {
            let machine = machine.clone();
            thread::spawn(move || if cpu == 0 { v1(&machine, cpu) } else { v2(&machine, cpu) })
        })
        .collect();
    for cpu in 0..2 {
        machine.drain_pages(&mut Ctx::on(1), cpu).unwrap();
    }
    let owned: Vec<_> = workers.into_iter().map(|w| w.join().unwrap()).collect();
    check(&machine, &owned);
}

/// Bulk calls against a remote drain of the same lists: a call that loses the trylock still gets at least one page.
fn bulk_against_remote_drain() {
    let machine = boot();
    let worker = {
        let machine = machine.clone();
        thread::spawn(move || [v2(&machine, 0), v1(&machine, 0)].concat())
    };
    for _ in 0..2 {
        machine.drain_pages(&mut Ctx::on(1), 0).unwrap();
    }
    let owned = worker.join().unwrap();
    check(&machine, &[owned]);
}

/// A free to a CPU's lists against a refill of them by another thread of the same CPU: both end where they should.
fn free_against_refill() {
    let machine = boot();
    let page = machine.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None).unwrap().unwrap();
    machine.drain_pages(&mut Ctx::on(0), 0).unwrap();
    let worker = {
        let machine = machine.clone();
        thread::spawn(move || machine.free_pages(&mut Ctx::on(0), page, 0).unwrap())
    };
    let owned = v2(&machine, 0);
    worker.join().unwrap();
    check(&machine, &[owned]);
}

fn run(scenario: fn(), schedulers: (impl Scheduler + 'static, impl Scheduler + 'static)) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::File(Some(std::env::temp_dir()));
    Runner::new(schedulers.0, config.clone()).run(scenario);
    Runner::new(schedulers.1, config).run(scenario);
}

fn explore(scenario: fn()) {
    run(scenario, (RandomScheduler::new_from_seed(1, RANDOM), PctScheduler::new_from_seed(1, 3, PCT)));
}

#[test]
fn two_cpus_and_a_drain_lose_nothing() {
    explore(two_cpus_and_a_drain);
}

#[test]
fn a_bulk_call_against_a_remote_drain_gets_a_page() {
    explore(bulk_against_remote_drain);
}

#[test]
fn a_free_and_a_refill_both_arrive() {
    explore(free_against_refill);
}

/// The checker can fail: that a bulk call always gets all four pages is wrong, since it may lose the trylock.
#[test]
#[should_panic(expected = "lost the trylock")]
fn a_wrong_claim_is_refuted() {
    let scenario = || {
        let machine = boot();
        let worker = {
            let machine = machine.clone();
            thread::spawn(move || assert_eq!(v2(&machine, 0).len(), 4, "lost the trylock"))
        };
        machine.drain_pages(&mut Ctx::on(1), 0).unwrap();
        worker.join().unwrap();
    };
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    Runner::new(RandomScheduler::new_from_seed(1, RANDOM), config).run(scenario);
}
