//! One run of a caller on a machine under a plan of failures, with account kept of every page: what leaked, what was
//! freed that the caller found populated, what moved, what the array holds that is nobody's.

use bulkpages_core::fault::FaultPlan;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::{Local, Locking};
use bulkpages_core::{Ctx, Machine, Pfn, Result, Slot};

use super::account::{Account, Stock};
use super::misuse::Slip;
use crate::env::{Counted, Counting, Env, HookPlan};
use crate::holes::Shape;
use crate::ports::{Array, Caller, Flags, Input, Port, Short, Visit};
use crate::result::{CallerResult, Form, Ret};

/// What a caller is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub caller: Caller,
    /// The array as the caller finds it. For a caller with its own array: its length, and the pages that it already has in front.
    pub shape: Shape,
    /// What it is told.
    pub flags: Flags,
}

impl Target {
    /// A caller on an array of this shape.
    pub const fn new(caller: Caller, shape: Shape) -> Target {
        Target { caller, shape, flags: Flags::NONE }
    }

    /// What a failure sweep asks of a caller.
    pub fn inputs(caller: Caller) -> Vec<Target> {
        struct Inputs;
        impl Visit for Inputs {
            type Out = Vec<(Shape, Flags)>;
            fn visit<K: Port>(self) -> Self::Out {
                K::inputs()
            }
        }
        caller.visit(Inputs).into_iter().map(|(shape, flags)| Target { caller, shape, flags }).collect()
    }

    /// The wrong lines that can be written in a form of the caller.
    pub fn slips(&self, form: Form) -> &'static [Slip] {
        struct Slips(Form);
        impl Visit for Slips {
            type Out = &'static [Slip];
            fn visit<K: Port>(self) -> Self::Out {
                K::slips(self.0)
            }
        }
        self.caller.visit(Slips(form))
    }

    /// Forms that the caller has.
    pub fn forms(&self) -> &'static [Form] {
        self.caller.info().forms
    }

    /// Slots of the array.
    pub fn slots(&self) -> usize {
        self.shape.len()
    }

    /// The array that it finds, or the pages that it has already, on CPU 0.
    ///
    /// # Errors
    ///
    /// When the machine has too few pages.
    pub fn array<L: Locking>(&self, machine: &Machine<L>) -> Result<Box<[Slot]>> {
        match self.caller.info().array {
            Array::Given => self.shape.fill(machine, 0),
            Array::Prefix => Shape::full(self.shape.prefix()).fill(machine, 0),
            Array::Own => Ok(Slot::array(0)),
        }
    }

    /// Runs the caller on the array that [`Target::array`] made. Returns what it reports and what its array holds
    /// afterwards.
    ///
    /// # Errors
    ///
    /// When a check of the kernel ends the caller, and for a form that it does not have.
    pub fn call<W: Counted>(
        &self,
        env: &mut Env<'_, W>,
        slots: &[Slot],
        form: Form,
    ) -> Result<(CallerResult, Vec<u64>)> {
        let input = Input { pages: self.shape.len(), flags: self.flags };
        let result = self.caller.run(env, slots, &input, form)?;
        let array = result.array.as_deref().unwrap_or(slots).iter().map(Slot::raw).collect();
        Ok((result, array))
    }

    /// What it is given, for people: a picture up to 32 slots, above that its numbers.
    pub fn label(&self) -> String {
        let info = self.caller.info();
        let (shape, n) = (&self.shape, self.shape.len());
        let mut label = match info.array {
            Array::Given if n <= 32 => shape.to_string(),
            Array::Given => format!("{n} slots, {} holes, prefix {}", shape.holes(), shape.prefix()),
            Array::Prefix => format!("{} to {n} pages", shape.prefix()),
            Array::Own => format!("{n} pages"),
        };
        for (bit, flag) in info.flags.iter().enumerate() {
            if self.flags.has(Flags(1 << bit)) {
                label.push_str(", ");
                label.push_str(&flag.name.replace('_', "-"));
            }
        }
        label
    }
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was returned; `None` for a crash.
    pub ret: Option<Ret>,
    /// The kernel's own check that ended the run, if one did.
    pub crash: Option<String>,
    /// Bulk calls.
    pub calls: usize,
    pub waits: u64,
    /// Pages that the caller owns and nobody can find any more.
    pub leaked: usize,
    /// Pages freed that the array held when the caller got it.
    pub freed_populated: usize,
    /// Pages that the array held and holds in another slot now.
    pub moved: usize,
    /// Slots that hold a page.
    pub filled: usize,
    /// Slots that hold a page that is not the caller's.
    pub stale: usize,
    /// Slots that hold a page that an earlier slot holds too.
    pub doubled: usize,
    /// Pages of somebody else that were freed.
    pub freed_of_others: usize,
    /// Slots that a caller that reports success left NULL.
    pub missing: usize,
    /// Whether the waits or calls granted were used up.
    pub endless: bool,
    /// Questions asked of each kind of failure: see [`Asked`].
    pub asked: Asked,
}

/// What a caller says of its run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub ret: Ret,
    /// Bulk calls.
    pub calls: usize,
    pub waits: u64,
    /// Slots that a success fills.
    pub wanted: usize,
}

impl Outcome {
    /// Of a run that ended.
    pub fn of(run: &Run, stock: Stock, asked: Asked) -> Outcome {
        Outcome {
            ret: Some(run.ret),
            crash: None,
            calls: run.calls,
            waits: run.waits,
            leaked: stock.leaked,
            freed_populated: stock.freed_populated,
            moved: stock.moved,
            filled: stock.filled,
            stale: stock.stale,
            doubled: stock.doubled,
            freed_of_others: stock.freed_of_others,
            missing: if run.ret.is_success() { run.wanted.saturating_sub(stock.filled) } else { 0 },
            endless: run.ret == Ret::GaveUp,
            asked,
        }
    }

    /// Of a run that a check of the kernel ended.
    pub fn crashed(account: &Account, error: &impl ToString, asked: Asked) -> Outcome {
        let (freed_populated, freed_of_others) = account.freed();
        Outcome {
            ret: None,
            crash: Some(error.to_string()),
            calls: 0,
            waits: 0,
            leaked: 0,
            freed_populated,
            moved: 0,
            filled: 0,
            stale: 0,
            doubled: 0,
            freed_of_others,
            missing: 0,
            endless: false,
            asked,
        }
    }

    /// Whether memory is wrong in a way that nothing reports.
    pub const fn corrupt(&self) -> bool {
        self.stale > 0 || self.doubled > 0 || self.freed_of_others > 0 || self.missing > 0
    }
}

/// How often a run came to each step that can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Gates of bulk calls.
    pub gate: u64,
    /// Per-CPU trylocks.
    pub trylock: u64,
    /// Takes of a page.
    pub take: u64,
    /// Single-page requests.
    pub single: u64,
    /// Preparations.
    pub prepare: u64,
    /// Charges.
    pub charge: u64,
    /// Pointer arrays.
    pub array: u64,
    /// Appends.
    pub append: u64,
    pub vmap: u64,
    pub dma_map: u64,
    /// Questions whether to stop.
    pub stop: u64,
}

/// A plan for one run; by default nothing fails, and every question is counted.
#[derive(Debug, Default)]
pub struct FailurePlan {
    /// Failures of the allocator.
    pub fault: FaultPlan,
    /// Failures beside it, and the slip.
    pub hooks: HookPlan,
}

/// A machine on which callers are run, one after the other.
#[derive(Debug)]
pub struct Bed {
    machine: Machine<Local>,
    account: Account,
}

/// Waits that a run is granted: enough to see that a caller retries, few enough for those that never stop.
pub const MAX_WAITS: u64 = 4;

impl Bed {
    /// On this machine.
    pub fn new(machine: Machine<Local>) -> Bed {
        let frames = machine.pages().end().0 as usize;
        Bed { machine, account: Account::new(frames) }
    }

    pub fn machine(&self) -> &Machine<Local> {
        &self.machine
    }

    /// Runs a caller under a plan and takes stock; the machine has every page back afterwards. `slip` is what is wrong
    /// with the caller's code.
    ///
    /// # Errors
    ///
    /// When the machine is too small for the target.
    pub fn run(&mut self, target: &Target, form: Form, mut plan: FailurePlan, slip: Option<Slip>) -> Result<Outcome> {
        self.account.begin();
        plan.hooks.slip = slip;
        if slip == Some(Slip::ForgetsClear) {
            for _ in 0..4 {
                if let Some(page) = self.machine.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None)? {
                    self.account.others(page);
                    plan.hooks.garbage.push(page);
                }
            }
        }
        let slots = target.array(&self.machine)?;
        let found: Vec<Pfn> = slots.iter().map(Slot::get).collect();
        for &page in found.iter().filter(|p| !p.is_null()) {
            self.account.found(page);
        }
        if slip == Some(Slip::ForgetsClear) && target.caller == Caller::Svc {
            // Slots whose pages went away were not set to NULL.
            for (i, slot) in slots.iter().enumerate().filter(|(_, s)| s.raw() == 0) {
                slot.set(plan.hooks.garbage.get(i % 4).copied().unwrap_or(Pfn::NULL));
            }
        }
        let Bed { machine, account } = self;
        let mut max_calls = 64 + 16 * target.slots() as u64;
        if machine.memcg() {
            max_calls += target.slots() as u64;
        }
        let cx = Ctx { cpu: 0, probe: Counting::new(&mut *account), fault: &plan.fault };
        let mut env = Env::new(machine, cx, &plan.hooks)?;
        env.max_waits = MAX_WAITS;
        env.max_calls = max_calls;
        let called = target.call(&mut env, &slots, form);
        drop(env);
        let asked = plan.asked();
        let outcome = match called {
            Ok((result, array)) => self.take_stock(target, &result, &array, &found, asked),
            Err(error) => Outcome::crashed(&self.account, &error, asked),
        };
        self.clean_up()?;
        Ok(outcome)
    }

    fn take_stock(
        &self,
        target: &Target,
        result: &CallerResult,
        array: &[u64],
        found: &[Pfn],
        asked: Asked,
    ) -> Outcome {
        // A caller that works with what came may end with less, and says so by the length of its array.
        let wanted = match target.caller.info().short {
            Short::Accepts => array.len(),
            Short::Retries | Short::Fails => target.slots(),
        };
        let run = Run { ret: result.ret, calls: result.bulk_calls.len(), waits: result.waits, wanted };
        Outcome::of(&run, self.account.stock(found, array), asked)
    }

    /// Gives every page back that a run left behind.
    fn clean_up(&mut self) -> Result<()> {
        for page in self.account.close() {
            self.machine.pages().set_pool(page, 0);
            self.machine.free_pages(&mut Ctx::on(0), page, 0)?;
        }
        Ok(())
    }
}

impl FailurePlan {
    fn asked(&self) -> Asked {
        asked(&self.fault, &self.hooks)
    }
}

/// How often each step was come to so far.
pub fn asked(fault: &FaultPlan, hooks: &HookPlan) -> Asked {
    Asked {
        gate: fault.gate.asked(),
        trylock: fault.trylock.asked(),
        take: fault.take.asked(),
        single: fault.single.asked(),
        prepare: fault.prepare.asked(),
        charge: fault.charge.asked(),
        array: hooks.arrays.asked(),
        append: hooks.appends.asked(),
        vmap: hooks.vmaps.asked(),
        dma_map: hooks.dma_maps.asked(),
        stop: hooks.stop.asked(),
    }
}
