//! What all scenarios share.
#![allow(dead_code, unreachable_pub)]

use std::sync::atomic::AtomicI64;

use bulkpages_callers::env::{Counting, HookPlan};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::ports::{self, Flags, Input, Port};
use bulkpages_callers::{CallerResult, Env, Form};
use bulkpages_core::boot::BootSpec;
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::probe::{Event, SingleReason};
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Result, Slot};

pub type TestEnv<'m> = Env<'m, (Local, Counting<Vec<Event>>, FaultPlan, HookPlan)>;

/// 256 MiB, one CPU, right after boot.
pub fn machine() -> Machine<Local> {
    Machine::boot(&BootSpec::new(65_536, 1, 1)).unwrap()
}

/// An observed environment in which only so many pages can be had.
pub fn env_with(machine: &Machine<Local>, pages: Option<i64>) -> TestEnv<'_> {
    let fault = FaultPlan { pages: pages.map(AtomicI64::new), ..FaultPlan::default() };
    Env::new(machine, Ctx { cpu: 0, probe: Counting::default(), fault }, HookPlan::default()).unwrap()
}

pub fn env(machine: &Machine<Local>) -> TestEnv<'_> {
    env_with(machine, None)
}

pub fn array(machine: &Machine<Local>, picture: &str) -> Box<[Slot]> {
    Shape::parse(picture).unwrap().fill(machine, 0).unwrap()
}

pub fn pages(slots: &[Slot]) -> Vec<u64> {
    slots.iter().map(Slot::raw).collect()
}

pub fn picture(slots: &[Slot]) -> String {
    Shape::of(slots).to_string()
}

pub fn allocated(machine: &Machine<Local>) -> u64 {
    machine.audit().unwrap().allocated
}

/// Reasons for which bulk calls took the single-page path, in order.
pub fn singles(env: &TestEnv<'_>) -> Vec<SingleReason> {
    let reasons = env.cx.probe.inner.iter().filter_map(|e| match e {
        Event::BulkSingle { reason } => Some(*reason),
        _ => None,
    });
    reasons.collect()
}

pub fn page_alloc_events(env: &TestEnv<'_>) -> usize {
    env.cx.probe.inner.iter().filter(|e| matches!(e, Event::PageAlloc { .. })).count()
}

/// Every page that is owned is in the array: nothing leaked.
pub fn assert_no_leak(machine: &Machine<Local>, before: u64, held: &[Slot], result: &CallerResult) {
    let held = held.iter().filter(|s| s.raw() != 0).count() as u64;
    assert_eq!(allocated(machine), before + held, "{result:?}");
}

/// Runs a caller on an array of `pages` slots: that of somebody, or what it has already.
pub fn run<K: Port>(env: &mut TestEnv<'_>, slots: &[Slot], pages: usize, form: Form) -> Result<CallerResult> {
    run_told::<K>(env, slots, pages, Flags::NONE, form)
}

/// The same with flags.
pub fn run_told<K: Port>(
    env: &mut TestEnv<'_>,
    slots: &[Slot],
    pages: usize,
    flags: Flags,
    form: Form,
) -> Result<CallerResult> {
    ports::run::<K, _>(env, slots, &Input { pages, flags }, form)
}
