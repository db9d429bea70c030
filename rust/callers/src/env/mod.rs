//! What a port runs in: the machine, the CPU, observers, failures, waits, and a record of what the caller did.

mod bulk;
mod counting;
mod hooks;
mod pages;
mod values;
mod wait;
mod world;

use bulkpages_core::fault::Fault;
use bulkpages_core::probe::Probe;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Machine, Result, Slot};

use crate::result::{BulkCall, CallerResult, Ret};
use crate::study::misuse::Slip;
use bulk::Course;

pub use counting::{Counted, Counting};
pub use hooks::{HookPlan, Hooks, NoHooks};
pub use values::{Count, Position, Seen, Told, Total};
pub use world::World;

/// Waits that a caller is granted unless told otherwise.
pub const MAX_WAITS: u64 = 100;
/// Ticks per second unless told otherwise.
pub const HZ: u64 = 250;
/// Slots of the largest pointer array that `kcalloc()` can give: `KMALLOC_MAX_SIZE`, 4 MiB.
pub const MAX_POINTERS: usize = (4 << 20) / size_of::<u64>();

/// What values of bulk calls know in a world.
pub type SeenBy<W> = <<W as World>::Hooks as Hooks>::Seen;

/// What an observed run keeps beside the counts; empty in an unobserved one.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub bulk_calls: Vec<BulkCall>,
    pub trace: Vec<String>,
    pub stats: Vec<(&'static str, u64)>,
    /// Slots cleared by `memset`.
    pub slot_clears: u64,
}

/// The surroundings of a caller.
#[derive(Debug)]
pub struct Env<'m, W: World> {
    pub machine: &'m Machine<W::Locking>,
    /// CPU, observer and fault plan.
    pub cx: Ctx<W::Probe, W::Fault>,
    /// What else can fail.
    pub hooks: W::Hooks,
    /// Waits granted.
    pub max_waits: u64,
    /// Ticks per second.
    pub hz: u64,
    /// Index, in the whole array, of the first slot of what the caller works on.
    pub origin: usize,
    /// Bulk calls granted where failures can be injected.
    pub max_calls: u64,
    /// Bulk calls made there.
    pub calls: u64,
    /// Whether the calls granted were used up.
    pub endless: bool,
    /// Waits used.
    pub waits: u64,
    /// Virtual time slept.
    pub jiffies: u64,
    /// Pages freed by the caller.
    pub freed: u64,
    /// What an observed run keeps.
    pub log: Log,
    nid: usize,
    course: Course,
}

impl<'m, L: Locking, P: Probe, F: Fault, H: Hooks> Env<'m, (L, P, F, H)> {
    /// Surroundings on the CPU of `cx`.
    ///
    /// # Errors
    ///
    /// For a CPU that the machine does not have.
    pub fn new(machine: &'m Machine<L>, cx: Ctx<P, F>, hooks: H) -> Result<Self> {
        let nid = machine.nearest_node(None, cx.cpu)?;
        Ok(Env {
            machine,
            cx,
            hooks,
            max_waits: MAX_WAITS,
            hz: HZ,
            origin: 0,
            max_calls: u64::MAX,
            calls: 0,
            endless: false,
            waits: 0,
            jiffies: 0,
            freed: 0,
            log: Log::default(),
            nid,
            course: Course::default(),
        })
    }
}

impl<W: World> Env<'_, W> {
    /// Whether the caller's code has this slip. Compiled away where nothing can be wrong.
    #[inline(always)]
    pub fn slips(&self, slip: Slip) -> bool {
        W::Hooks::ON && self.hooks.slip() == Some(slip)
    }

    /// What a run of a caller ended with: a caller that was stopped because it made too many calls did not return.
    ///
    /// # Errors
    ///
    /// Those of the run.
    pub fn ended(&self, ret: Result<Ret>) -> Result<Ret> {
        if self.endless { Ok(Ret::GaveUp) } else { ret }
    }

    /// A trace line, made only when somebody looks.
    #[inline]
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if W::Probe::ON {
            let line = line();
            self.cx.probe.line(&line);
            self.log.trace.push(line);
        }
    }

    #[inline]
    pub fn stat(&mut self, name: &'static str, n: u64) {
        if W::Probe::ON {
            match self.log.stats.iter_mut().find(|(known, _)| *known == name) {
                Some((_, value)) => *value += n,
                None => self.log.stats.push((name, n)),
            }
        }
    }
}

impl<W: Counted> Env<'_, W> {
    /// The result of the run that just ended; the surroundings are as new afterwards, except for hooks and faults.
    pub fn report(&mut self, ret: Ret, array: Option<Box<[Slot]>>) -> CallerResult {
        let log = core::mem::take(&mut self.log);
        let result = CallerResult {
            ret,
            array,
            bulk_calls: log.bulk_calls,
            waits: self.waits,
            freed: self.freed,
            trace: log.trace,
            slot_tests: self.cx.probe.slot_tests,
            slot_writes: self.cx.probe.slot_writes,
            slot_clears: log.slot_clears,
            stats: log.stats,
            jiffies: self.jiffies,
            wait_ns: self.jiffies * self.jiffy_ns(),
        };
        self.calls = 0;
        self.endless = false;
        self.waits = 0;
        self.freed = 0;
        self.jiffies = 0;
        self.cx.probe.slot_tests = 0;
        self.cx.probe.slot_writes = 0;
        result
    }
}
