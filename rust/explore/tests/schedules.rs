//! Small scenarios on several CPUs under a scheduler that decides at every lock operation which one goes on (shuttle).
//!
//! What is scheduled is the emulator itself on locks of the checker. Its relaxed atomics outside the locks (watermarks,
//! page states) are no points of the schedule, and memory is sequentially consistent: a race between such words is
//! for the stress runs, not found here.
//!
//! Two bounds. Small scenarios run in every order there is, and the test says that it came to the end. Larger ones run
//! under [`RANDOM`] random schedules and [`PCT`] of the probabilistic kind, which finds any bug of depth 3 with a known
//! probability, from fixed seeds; `make explore` runs them in every order too. A schedule that fails is printed, kept in
//! the directory for temporary files, and replayed by `shuttle::replay_from_file`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::{Lock, Locking};
use bulkpages_core::{Ctx, Machine, Pfn, Slot};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Arc, Mutex, MutexGuard};
use shuttle::{Config, FailurePersistence, Runner, thread};

/// Random schedules of each scenario.
const RANDOM: usize = 300;
/// Schedules of the PCT kind of each scenario.
const PCT: usize = 200;
/// Orders after which a scenario is too large to be run in every one.
const TOO_MANY: usize = 20_000_000;

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
    let ret = machine.alloc_pages_bulk::<NullOnly>(&mut Ctx::on(cpu), Gfp::KERNEL, None, &slots).unwrap();
    assert!(ret >= 1 && slots[..ret].iter().all(|s| !s.get().is_null()), "v1 returned {ret}");
    slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect()
}

fn v2(machine: &Machine<Checked>, cpu: usize) -> Vec<Pfn> {
    let slots = Slot::array(4);
    let ret = machine.alloc_pages_bulk::<OutputOnly>(&mut Ctx::on(cpu), Gfp::KERNEL, None, &slots).unwrap();
    let pages: Vec<Pfn> = slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect();
    assert!(ret >= 1 && ret == pages.len(), "v2 returned {ret} for {} pages", pages.len());
    pages
}

type Call = fn(&Machine<Checked>, usize) -> Vec<Pfn>;

/// What a call on CPU 0 got while another thread did something on CPU 1.
fn beside(
    machine: &Shared,
    call: impl Fn(&Machine<Checked>) -> Vec<Pfn> + Send + 'static,
    other: impl Fn(),
) -> Vec<Pfn> {
    let worker = {
        let machine = machine.clone();
        thread::spawn(move || call(&machine))
    };
    other();
    worker.join().unwrap()
}

/// A bulk call against so many drains of its CPU from another one; `warm`: with pages on its lists.
fn call_against_drains(call: Call, drains: usize, warm: bool) {
    let machine = boot();
    let before = if warm { v2(&machine, 0) } else { Vec::new() };
    let got = beside(
        &machine,
        move |m| call(m, 0),
        || {
            for _ in 0..drains {
                machine.drain_pages(&mut Ctx::on(1), 0).unwrap();
            }
        },
    );
    check(&machine, &[before, got]);
}

/// Bulk calls of two CPUs, which both refill from one zone.
fn two_cpus() {
    let machine = boot();
    let got = std::cell::Cell::new(Vec::new());
    let other = beside(&machine, |m| v2(m, 0), || got.set(v1(&machine, 1)));
    check(&machine, &[got.into_inner(), other]);
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

/// Bulk calls against remote drains of the same lists: a call that loses the trylock still gets at least one page.
fn two_calls_against_two_drains() {
    call_against_drains(|m, cpu| [v2(m, cpu), v1(m, cpu)].concat(), 2, false);
}

/// A free to a CPU's lists against a refill of them by another thread of the same CPU: both end where they should.
fn free_against_refill() {
    let machine = boot();
    let page = machine.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None).unwrap().unwrap();
    machine.drain_pages(&mut Ctx::on(0), 0).unwrap();
    let free = move |m: &Machine<Checked>| {
        m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
        Vec::new()
    };
    let got = std::cell::Cell::new(Vec::new());
    beside(&machine, free, || got.set(v2(&machine, 0)));
    check(&machine, &[got.into_inner()]);
}

/// Runs a scenario in every order of its lock operations; how many those were.
#[expect(clippy::print_stdout, reason = "what docs/threads.md has is what this prints")]
fn every_order(name: &str, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = config();
    config.silence_warnings = true;
    let orders = Runner::new(DfsScheduler::new(Some(TOO_MANY), false), config).run(scenario);
    assert!(orders < TOO_MANY, "{name}: not all orders were run");
    println!("{name}: all {orders} orders");
    orders
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::File(Some(std::env::temp_dir()));
    config
}

fn run(scenario: fn(), schedulers: (impl Scheduler + 'static, impl Scheduler + 'static)) {
    Runner::new(schedulers.0, config()).run(scenario);
    Runner::new(schedulers.1, config()).run(scenario);
}

fn explore(scenario: fn()) {
    run(scenario, (RandomScheduler::new_from_seed(1, RANDOM), PctScheduler::new_from_seed(1, 3, PCT)));
}

#[test]
fn a_bulk_call_and_drains_lose_nothing_in_any_order() {
    for (name, call) in [("v1", v1 as Call), ("v2", v2)] {
        for (drains, warm) in [(1, false), (1, true), (2, false)] {
            let scenario = move || call_against_drains(call, drains, warm);
            assert!(every_order(&format!("{name}, drains: {drains}, warm: {warm}"), scenario) > 100);
        }
    }
}

#[test]
fn two_cpus_lose_nothing_in_any_order() {
    assert!(every_order("v1 and v2 on two CPUs", two_cpus) > 100);
}

#[test]
fn a_free_and_a_refill_both_arrive_in_any_order() {
    assert!(every_order("a free and a refill", free_against_refill) > 10);
}

#[test]
fn two_cpus_and_a_drain_lose_nothing() {
    explore(two_cpus_and_a_drain);
}

#[test]
fn two_bulk_calls_against_two_drains_get_pages() {
    explore(two_calls_against_two_drains);
}

/// `make explore`.
#[test]
#[ignore = "half a minute with optimisation"]
fn two_bulk_calls_against_two_drains_get_pages_in_any_order() {
    assert!(every_order("v2 then v1 against two drains", two_calls_against_two_drains) > 1000);
}

/// The checker can fail: that a bulk call always gets all four pages is wrong, since it may lose the trylock.
#[test]
#[should_panic(expected = "lost the trylock")]
fn a_wrong_claim_is_refuted() {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    let scenario = || {
        let machine = boot();
        let call = |m: &Machine<Checked>| {
            let got = v2(m, 0);
            assert_eq!(got.len(), 4, "lost the trylock");
            got
        };
        beside(&machine, call, || machine.drain_pages(&mut Ctx::on(1), 0).map(|_| ()).unwrap());
    };
    Runner::new(DfsScheduler::new(Some(TOO_MANY), false), config).run(scenario);
}
