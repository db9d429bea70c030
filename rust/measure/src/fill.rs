//! Whole fills by the kernel's callers: the clock runs while the caller does, and the holes for the next fill are made
//! outside it, by freeing what stands in these slots.

use bulkpages_callers::btrfs::btrfs_alloc_page_array;
use bulkpages_callers::env::NoHooks;
use bulkpages_callers::erofs::{Gbufs, z_erofs_gbuf_growsize};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::svc::{Rqst, svc_alloc_arg};
use bulkpages_callers::virtio_migrate::{DataBuffer, virtiovf_add_migration_pages};
use bulkpages_callers::xfs::{XbfFlags, XfsBuf, xfs_buf_alloc_pages};
use bulkpages_callers::{Env, Form, Ret, compact::compact};
use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::{Ctx, Fault, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{NoProbe, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Error, Machine, Pfn, Result, Slot};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use std::cell::RefCell;

use crate::clock;
use crate::counts::Counts;
use crate::trial::Sample;

/// Largest array of a fill.
pub const MAX_SLOTS: usize = 1 << 20;

/// Who fills the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filler {
    /// The bulk API alone, retried until the array is full. `before`: v1, an all-NULL array is cleared first; `after`:
    /// v2, an array with pages is compacted first; `v3`: the refill call of April 2025.
    Core,
    /// `virtiovf_add_migration_pages()`.
    Virtio,
    /// `btrfs_alloc_page_array()`.
    Btrfs,
    /// `z_erofs_gbuf_growsize()`: from the pages in front to the whole array.
    Erofs,
    /// `xfs_buf_alloc_pages()` of a buffer that is about to be read.
    Xfs,
    /// `svc_alloc_arg()`.
    Svc,
}

impl Filler {
    /// All of them.
    pub const ALL: [Filler; 6] = [Filler::Core, Filler::Virtio, Filler::Btrfs, Filler::Erofs, Filler::Xfs, Filler::Svc];

    /// Name in reports: the kernel function, or `core`.
    pub const fn name(self) -> &'static str {
        match self {
            Filler::Core => "core",
            Filler::Virtio => "virtiovf_add_migration_pages",
            Filler::Btrfs => "btrfs_alloc_page_array",
            Filler::Erofs => "z_erofs_gbuf_growsize",
            Filler::Xfs => "xfs_buf_alloc_pages",
            Filler::Svc => "svc_alloc_arg",
        }
    }

    /// Forms it comes in.
    pub const fn forms(self) -> &'static [Form] {
        match self {
            Filler::Core => &[Form::Before, Form::After, Form::V3],
            Filler::Virtio => bulkpages_callers::virtio_migrate::FORMS,
            Filler::Btrfs => bulkpages_callers::btrfs::FORMS,
            Filler::Erofs => bulkpages_callers::erofs::FORMS,
            Filler::Xfs => bulkpages_callers::xfs::FORMS,
            Filler::Svc => bulkpages_callers::svc::FORMS,
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

impl Observer for Counts {
    fn end(&mut self, bulk_calls: u64, slot_clears: u64) {
        self.bulk_calls += bulk_calls;
        self.slot_clears += slot_clears;
    }
}

/// What a trial repeats.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Who fills.
    pub filler: Filler,
    /// In which form.
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
        let prefix_only = self.shape.moved() == 0;
        let all_null = self.shape.holes() == n;
        match self.filler {
            Filler::Erofs if !prefix_only => Err(Error::invalid("erofs has its pages in front of all holes")),
            Filler::Virtio | Filler::Xfs if !all_null => {
                Err(Error::invalid(format!("{} brings an array that is all NULL", self.filler.name())))
            }
            _ => Ok(()),
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
    pub fn observe<L: Locking, P: Observer>(
        &self,
        machine: &Machine<L>,
        probe: &mut P,
        iterations: u64,
    ) -> Result<Sample> {
        self.check()?;
        if self.trylock_loss == 0.0 {
            self.run_with(machine, probe, &NoFault, iterations)
        } else {
            self.run_with(machine, probe, &TrylockLoss::new(self.trylock_loss, self.seed), iterations)
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

    fn run_with<L: Locking, P: Observer, F: Fault>(
        &self,
        machine: &Machine<L>,
        probe: &mut P,
        fault: &F,
        iterations: u64,
    ) -> Result<Sample> {
        let mut trial = Trial {
            env: Env::new(machine, Ctx { cpu: 0, probe, fault }, NoHooks)?,
            cold: self.cold,
            iterations,
            sample: Sample::default(),
        };
        let form = self.form;
        match self.filler {
            Filler::Core => trial.core(&self.shape, form)?,
            Filler::Btrfs => {
                trial.on_array(&self.shape, |env, slots| btrfs_alloc_page_array(env, slots, false, form))?;
            }
            Filler::Svc => trial.svc(&self.shape, form)?,
            Filler::Erofs => trial.erofs(&self.shape, form)?,
            Filler::Xfs => trial.xfs(self.shape.len(), form)?,
            Filler::Virtio => trial.virtio(self.shape.len(), form)?,
        }
        Ok(trial.sample)
    }
}

struct Trial<'m, L: Locking, P, F> {
    env: Env<'m, L, P, F>,
    cold: bool,
    iterations: u64,
    sample: Sample,
}

impl<'m, L: Locking, P: Observer, F: Fault> Trial<'m, L, &mut P, F> {
    /// One fill, timed. Not inlined, so that an instruction counter can be pointed at it.
    #[inline(never)]
    fn timed<R>(&mut self, call: impl FnOnce(&mut Env<'m, L, &mut P, F>) -> Result<R>) -> Result<R> {
        if P::ON {
            self.env.cx.probe.begin();
        }
        let start = clock::now();
        let done = call(&mut self.env);
        self.sample.alloc += clock::now() - start;
        if P::ON {
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
    fn on_array(
        &mut self,
        shape: &Shape,
        mut call: impl FnMut(&mut Env<'m, L, &mut P, F>, &mut [Slot]) -> Result<Ret>,
    ) -> Result<()> {
        let mut slots = shape.fill(self.env.machine, self.env.cx.cpu)?;
        let holes: Vec<usize> = (0..slots.len()).filter(|&i| slots[i].raw() == 0).collect();
        let done = (0..self.iterations).try_for_each(|_| {
            self.settle()?;
            if !self.timed(|env| call(env, &mut slots))?.is_success() {
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
        self.on_array(shape, |env, slots| {
            let mut filled = 0;
            match form {
                Form::Before | Form::Tracked => {
                    if all_null {
                        Slot::clear(slots);
                        if P::ON {
                            env.log.slot_clears += slots.len() as u64;
                        }
                    }
                    while filled < slots.len() {
                        let last = filled;
                        filled = env.bulk_whole::<NullOnly>(gfp, slots, filled)?;
                        if filled == last {
                            return Ok(Ret::NOMEM);
                        }
                    }
                }
                Form::After => {
                    if !all_null {
                        filled = compact(&mut env.cx, slots);
                    }
                    while filled < slots.len() {
                        let got = env.bulk_rest::<OutputOnly>(gfp, slots, filled)?;
                        if got == 0 {
                            return Ok(Ret::NOMEM);
                        }
                        filled += got;
                    }
                }
                Form::V3 => loop {
                    match env.refill(gfp, slots)? {
                        Refilled::All => break,
                        Refilled::Partly => {}
                        Refilled::Nothing => return Ok(Ret::NOMEM),
                    }
                },
            }
            Ok(Ret::OK)
        })
    }

    fn svc(&mut self, shape: &Shape, form: Form) -> Result<()> {
        let pages = shape.len();
        // What 7.1 remembers of the last request: a range from its first hole to its last.
        let picture = shape.to_string();
        let consumed = match (picture.find('.'), picture.rfind('.')) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        };
        self.on_array(shape, |env, slots| {
            let mut rqst = Rqst::new(slots, pages);
            rqst.consumed = Some(consumed.clone());
            svc_alloc_arg(env, &mut rqst, form)
        })
    }

    fn erofs(&mut self, shape: &Shape, form: Form) -> Result<()> {
        let (have, n) = (shape.prefix(), shape.len());
        let kept = Shape::full(have).fill(self.env.machine, self.env.cx.cpu)?;
        let done = (0..self.iterations).try_for_each(|_| {
            self.settle()?;
            let old = Slot::array(have);
            for (to, from) in old.iter().zip(&kept) {
                to.set(from.get());
            }
            let mut gbufs = Gbufs { bufs: vec![old], nrpages: have };
            let ret = self.timed(|env| z_erofs_gbuf_growsize(env, &mut gbufs, n, form))?;
            if ret != Ret::OK {
                return Err(no_memory(n));
            }
            gbufs.bufs[0][have..].iter().try_for_each(|slot| self.put(slot.get()))
        });
        self.env.machine.free_bulk(&mut Ctx::on(self.env.cx.cpu), &kept)?;
        done
    }

    fn xfs(&mut self, n: usize, form: Form) -> Result<()> {
        let flags = XbfFlags { read: true, read_ahead: false };
        for _ in 0..self.iterations {
            self.settle()?;
            let mut buf = XfsBuf::default();
            let ret = self.timed(|env| xfs_buf_alloc_pages(env, &mut buf, n, flags, form))?;
            buf.pages.iter().filter(|s| s.raw() != 0).try_for_each(|slot| self.put(slot.get()))?;
            if ret != Ret::OK {
                return Err(no_memory(n));
            }
        }
        Ok(())
    }

    fn virtio(&mut self, n: usize, form: Form) -> Result<()> {
        let mut buf = DataBuffer { table: Vec::with_capacity(n), allocated_length: 0 };
        for _ in 0..self.iterations {
            self.settle()?;
            let ret = self.timed(|env| virtiovf_add_migration_pages(env, &mut buf, n, form))?;
            for page in buf.table.drain(..) {
                self.sample.pages += 1;
                self.env.machine.put_page(&mut Ctx::on(self.env.cx.cpu), page)?;
            }
            if ret != Ret::OK {
                return Err(no_memory(n));
            }
        }
        Ok(())
    }
}

#[cold]
fn no_memory(slots: usize) -> Error {
    Error::invalid(format!("the machine has not enough pages to fill {slots} slots"))
}
