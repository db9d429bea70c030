//! Whole fills by the kernel's callers: the clock runs while the caller does, and the holes for the next fill are made
//! outside it, by freeing what stands in these slots.

use bulkpages_callers::env::{NoHooks, World};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::ports::compact::compact;
use bulkpages_callers::ports::{Array, Caller, Input, Port, Visit};
use bulkpages_callers::{Env, Form, Ret};
use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::fault::{Fault, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{NoProbe, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Error, Machine, Pfn, Result, Slot};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use std::cell::RefCell;

use crate::clock;
use crate::counts::Counts;
use crate::trial::Sample;

/// Largest array of a fill.
pub const MAX_SLOTS: usize = 1 << 20;

/// What fills the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filler {
    /// The bulk API alone, retried until the array is full. `before`: v1, an all-NULL array is cleared first; `after`:
    /// v2, an array with pages is compacted first; `v3`: the refill call of April 2025.
    Core,
    /// A caller of the register.
    Caller(Caller),
}

/// Forms of [`Filler::Core`].
const CORE: &[Form] = &[Form::Before, Form::After, Form::V3];

impl Filler {
    /// All of them: the API alone, and the callers of which whole fills are timed.
    pub fn all() -> Vec<Filler> {
        core::iter::once(Filler::Core)
            .chain(Caller::ALL.iter().filter(|caller| caller.is_timed()).map(|&caller| Filler::Caller(caller)))
            .collect()
    }

    /// The filler of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn parse(name: &str) -> Result<Filler> {
        Filler::all().into_iter().find(|filler| filler.name() == name).ok_or_else(|| {
            let known: Vec<_> = Filler::all().into_iter().map(Filler::name).collect();
            Error::invalid(format!("filler {name:?} is not one of {}", known.join(", ")))
        })
    }

    /// Name in reports: the kernel function, or `core`.
    pub fn name(self) -> &'static str {
        match self {
            Filler::Core => "core",
            Filler::Caller(caller) => caller.name(),
        }
    }

    /// Forms it comes in.
    pub fn forms(self) -> &'static [Form] {
        match self {
            Filler::Core => CORE,
            Filler::Caller(caller) => caller.info().forms,
        }
    }
}

/// Per-CPU trylocks that fail at random, as they do when interrupts or other CPUs use the same lists.
#[derive(Debug)]
pub struct TrylockLoss {
    below: u64,
    random: RefCell<SplitMix64>,
}

impl TrylockLoss {
    /// Fails this share of the trylocks; the stream of SplitMix64 with this seed decides which.
    pub fn new(share: f64, seed: u64) -> TrylockLoss {
        // The product is at most 2^64, which the cast turns into the largest value there is.
        TrylockLoss { below: (share * 2f64.powi(64)) as u64, random: RefCell::new(SplitMix64::seed_from_u64(seed)) }
    }
}

impl Fault for TrylockLoss {
    const ON: bool = true;
    fn trylock_fails(&self) -> bool {
        self.random.borrow_mut().next_u64() < self.below
    }
    fn take_fails(&self, _pages: u32) -> bool {
        false
    }
    fn single_fails(&self) -> bool {
        false
    }
    fn prepare_fails(&self) -> bool {
        false
    }
}

/// An observer that is told where a fill begins and ends.
pub trait Observer: Probe {
    /// The next events belong to a fill.
    fn begin(&mut self) {}
    /// The fill ended after so many bulk calls and clearings of slots.
    fn end(&mut self, _bulk_calls: u64, _slot_clears: u64) {}
}

impl Observer for NoProbe {}

impl<P: Observer> Observer for &mut P {
    fn begin(&mut self) {
        (**self).begin();
    }
    fn end(&mut self, bulk_calls: u64, slot_clears: u64) {
        (**self).end(bulk_calls, slot_clears);
    }
}

impl Observer for Counts {
    fn end(&mut self, bulk_calls: u64, slot_clears: u64) {
        self.bulk_calls += bulk_calls;
        self.slot_clears += slot_clears;
    }
}

/// What a trial repeats.
#[derive(Clone, Debug)]
pub struct Fill {
    pub filler: Filler,
    pub form: Form,
    /// Slots and holes of the array; callers that bring their own array use its length (erofs: and its prefix).
    pub shape: Shape,
    /// Whether the per-CPU lists are drained before each fill.
    pub cold: bool,
    /// Share of per-CPU trylocks that fail during fills.
    pub trylock_loss: f64,
    /// Of the failing trylocks.
    pub seed: u64,
}

impl Fill {
    fn check(&self) -> Result<()> {
        let n = self.shape.len();
        if n == 0 || n > MAX_SLOTS {
            return Err(Error::invalid(format!("a shape of {n} slots is outside 1 to {MAX_SLOTS}")));
        }
        if !self.filler.forms().contains(&self.form) {
            let known: Vec<_> = self.filler.forms().iter().map(|f| f.name()).collect();
            let (form, name) = (self.form.name(), self.filler.name());
            return Err(Error::invalid(format!("{name} has no form {form:?}: it has {}", known.join(", "))));
        }
        if !(0.0..=1.0).contains(&self.trylock_loss) {
            return Err(Error::invalid(format!("trylock loss {} is outside 0 to 1", self.trylock_loss)));
        }
        match self.filler {
            Filler::Core => Ok(()),
            Filler::Caller(caller) => caller.info().check(&self.shape),
        }
    }

    /// Fills `iterations` times on CPU 0 and times the fills. What they allocated is free again afterwards.
    ///
    /// # Errors
    ///
    /// For a shape or form that the caller does not have, and when the machine has not enough pages.
    pub fn run<L: Locking>(&self, machine: &Machine<L>, iterations: u64) -> Result<Sample> {
        self.observe(machine, &mut NoProbe, iterations)
    }

    /// The same, watched.
    ///
    /// # Errors
    ///
    /// As [`Fill::run`].
    pub fn observe<L: Locking>(
        &self,
        machine: &Machine<L>,
        probe: &mut impl Observer,
        iterations: u64,
    ) -> Result<Sample> {
        self.check()?;
        if self.trylock_loss == 0.0 {
            self.run_in(Env::new(machine, Ctx { cpu: 0, probe, fault: &NoFault }, NoHooks)?, iterations)
        } else {
            let fault = &TrylockLoss::new(self.trylock_loss, self.seed);
            self.run_in(Env::new(machine, Ctx { cpu: 0, probe, fault }, NoHooks)?, iterations)
        }
    }

    /// Exact counts over `iterations` fills, frees not among them, and the pages that were allocated.
    ///
    /// # Errors
    ///
    /// As [`Fill::run`].
    pub fn count<L: Locking>(&self, machine: &Machine<L>, iterations: u64) -> Result<(Counts, u64)> {
        let mut counts = Counts::default();
        let sample = self.observe(machine, &mut counts, iterations)?;
        Ok((counts, sample.pages))
    }

    fn run_in(&self, env: Env<'_, impl World<Probe: Observer>>, iterations: u64) -> Result<Sample> {
        let mut trial = Trial { env, cold: self.cold, iterations, sample: Sample::default() };
        match self.filler {
            Filler::Core => trial.core(&self.shape, self.form)?,
            Filler::Caller(caller) => {
                let fills = Fills { trial: &mut trial, shape: &self.shape, form: self.form };
                caller.visit_timed(fills).unwrap_or_else(|| Err(not_timed(caller)))?;
            }
        }
        Ok(trial.sample)
    }
}

struct Trial<'m, W: World> {
    env: Env<'m, W>,
    cold: bool,
    iterations: u64,
    sample: Sample,
}

impl<'m, W: World<Probe: Observer>> Trial<'m, W> {
    /// One fill, timed. Not inlined, so that an instruction counter can be pointed at it.
    #[inline(never)]
    fn timed<R>(&mut self, call: impl FnOnce(&mut Env<'m, W>) -> Result<R>) -> Result<R> {
        if W::Probe::ON {
            self.env.cx.probe.begin();
        }
        let start = clock::now();
        let done = call(&mut self.env);
        self.sample.alloc += clock::now() - start;
        if W::Probe::ON {
            let log = core::mem::take(&mut self.env.log);
            self.env.cx.probe.end(log.bulk_calls.len() as u64, log.slot_clears);
        }
        self.env.waits = 0;
        done
    }

    /// What happens between fills.
    fn settle(&mut self) -> Result<()> {
        if self.cold {
            self.env.machine.drain_local_pages(&mut Ctx::on(self.env.cx.cpu))?;
        }
        Ok(())
    }

    fn put(&mut self, page: Pfn) -> Result<()> {
        self.sample.pages += 1;
        self.env.machine.put_page(&mut Ctx::on(self.env.cx.cpu), page).map(|_| ())
    }

    /// Fills an array of the caller's user again and again.
    fn on_array(&mut self, shape: &Shape, mut call: impl FnMut(&mut Self, &mut [Slot]) -> Result<Ret>) -> Result<()> {
        let mut slots = shape.fill(self.env.machine, self.env.cx.cpu)?;
        let holes: Vec<usize> = (0..slots.len()).filter(|&i| slots[i].raw() == 0).collect();
        let done = (0..self.iterations).try_for_each(|_| {
            self.settle()?;
            if !call(self, &mut slots)?.is_success() {
                return Err(no_memory(slots.len()));
            }
            for &i in &holes {
                self.put(slots[i].get())?;
                slots[i].set(Pfn::NULL);
            }
            Ok(())
        });
        self.env.machine.free_bulk(&mut Ctx::on(self.env.cx.cpu), &slots)?;
        done
    }

    fn core(&mut self, shape: &Shape, form: Form) -> Result<()> {
        let all_null = shape.holes() == shape.len();
        let gfp = Gfp::KERNEL;
        self.on_array(shape, |trial, slots| {
            trial.timed(|env| match form {
                Form::Before | Form::Tracked => {
                    if all_null {
                        Slot::clear(slots);
                        if W::Probe::ON {
                            env.log.slot_clears += slots.len() as u64;
                        }
                    }
                    let mut filled = 0;
                    while filled < slots.len() {
                        let last = filled;
                        filled = env.alloc_pages_bulk_v1(gfp, slots)?.get();
                        if filled == last {
                            return Ok(Ret::NOMEM);
                        }
                    }
                    Ok(Ret::OK)
                }
                Form::After => {
                    let mut filled = if all_null { 0 } else { compact(&mut env.cx, slots) };
                    while filled < slots.len() {
                        let got = env.alloc_pages_bulk_v2(gfp, slots, filled)?.get();
                        if got == 0 {
                            return Ok(Ret::NOMEM);
                        }
                        filled += got;
                    }
                    Ok(Ret::OK)
                }
                Form::V3 => loop {
                    match env.alloc_pages_bulk_refill(gfp, slots)? {
                        Refilled::All => return Ok(Ret::OK),
                        Refilled::Partly => {}
                        Refilled::Nothing => return Ok(Ret::NOMEM),
                    }
                },
            })
        })
    }

    /// Fills an array that its user has, as a caller does.
    fn given<K: Port>(&mut self, shape: &Shape, form: Form) -> Result<()> {
        let input = Input::of(shape.len());
        self.on_array(shape, |trial, slots| {
            let mut work = K::work(slots, &input)?;
            trial.timed(|env| K::run(env, &mut work, &input, form))
        })
    }

    /// Lets a caller make its own array again and again, out of the pages that it has already.
    fn own<K: Port>(&mut self, shape: &Shape, form: Form) -> Result<()> {
        let (have, input) = (shape.prefix(), Input::of(shape.len()));
        let kept = Shape::full(have).fill(self.env.machine, self.env.cx.cpu)?;
        let done = (0..self.iterations).try_for_each(|_| {
            self.settle()?;
            let mut work = K::work(&kept, &input)?;
            let ret = self.timed(|env| K::run(env, &mut work, &input, form))?;
            let made = K::end(&mut self.env, work)?.unwrap_or_default();
            let new = made.iter().skip(have).filter(|slot| slot.raw() != 0);
            new.map(Slot::get).try_for_each(|page| self.put(page))?;
            if ret.is_success() { Ok(()) } else { Err(no_memory(shape.len())) }
        });
        self.env.machine.free_bulk(&mut Ctx::on(self.env.cx.cpu), &kept)?;
        done
    }
}

/// The fills of a trial by a caller.
struct Fills<'t, 'm, W: World> {
    trial: &'t mut Trial<'m, W>,
    shape: &'t Shape,
    form: Form,
}

impl<W: World<Probe: Observer>> Visit for Fills<'_, '_, W> {
    type Out = Result<()>;
    fn visit<K: Port>(self) -> Result<()> {
        match K::INFO.array {
            Array::Given => self.trial.given::<K>(self.shape, self.form),
            Array::Prefix | Array::Own => self.trial.own::<K>(self.shape, self.form),
        }
    }
}

#[cold]
fn not_timed(caller: Caller) -> Error {
    Error::invalid(format!("{} is not timed as a whole", caller.name()))
}

#[cold]
fn no_memory(slots: usize) -> Error {
    Error::invalid(format!("the machine has not enough pages to fill {slots} slots"))
}
