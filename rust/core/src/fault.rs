//! Injected failures. The kernel counterpart is `mm/fail_page_alloc.c` (v6.12), which can only fail the preparation of
//! a request; here every step that can fail can be made to.
//!
//! A fault plan is a type parameter; with [`NoFault`] every question compiles to `no`.

use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// What shall fail.
pub trait Fault {
    /// Whether anything can fail at all; `false` removes the questions at compile time.
    const ON: bool;
    /// Whether this per-CPU trylock shall fail.
    fn trylock_fails(&self) -> bool;
    /// Whether taking `pages` pages, from wherever, shall fail; `false` uses them up.
    fn take_fails(&self, pages: u32) -> bool;
    /// Whether the single-page path shall return NULL.
    fn single_fails(&self) -> bool;
    /// Whether preparing the request shall fail.
    fn prepare_fails(&self) -> bool;
}

/// Nothing fails on purpose, and asking costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFault;

impl Fault for NoFault {
    const ON: bool = false;
    #[inline(always)]
    fn trylock_fails(&self) -> bool {
        false
    }
    #[inline(always)]
    fn take_fails(&self, _pages: u32) -> bool {
        false
    }
    #[inline(always)]
    fn single_fails(&self) -> bool {
        false
    }
    #[inline(always)]
    fn prepare_fails(&self) -> bool {
        false
    }
}

/// A plan that a test or a user states.
#[derive(Debug, Default)]
pub struct FaultPlan {
    /// Pages that can still be had; `None` for no bound. Frees do not add to it.
    pub pages: Option<AtomicI64>,
    /// Every per-CPU trylock fails.
    pub trylock: bool,
    /// The single-page path returns NULL.
    pub single: bool,
    /// Preparation of a request fails.
    pub prepare: bool,
}

impl Fault for FaultPlan {
    const ON: bool = true;
    fn trylock_fails(&self) -> bool {
        self.trylock
    }
    fn take_fails(&self, pages: u32) -> bool {
        let Some(left) = &self.pages else { return false };
        left.fetch_update(Relaxed, Relaxed, |n| (n >= i64::from(pages)).then(|| n - i64::from(pages))).is_err()
    }
    fn single_fails(&self) -> bool {
        self.single
    }
    fn prepare_fails(&self) -> bool {
        self.prepare
    }
}

impl<F: Fault> Fault for &F {
    const ON: bool = F::ON;
    #[inline(always)]
    fn trylock_fails(&self) -> bool {
        (**self).trylock_fails()
    }
    #[inline(always)]
    fn take_fails(&self, pages: u32) -> bool {
        (**self).take_fails(pages)
    }
    #[inline(always)]
    fn single_fails(&self) -> bool {
        (**self).single_fails()
    }
    #[inline(always)]
    fn prepare_fails(&self) -> bool {
        (**self).prepare_fails()
    }
}

/// What accompanies a call: an observer and a fault plan, and the CPU that executes it.
#[derive(Debug, Default)]
pub struct Ctx<P, F> {
    /// Executing CPU.
    pub cpu: usize,
    /// Observer.
    pub probe: P,
    /// Fault plan.
    pub fault: F,
}

impl Ctx<crate::probe::NoProbe, NoFault> {
    /// A plain call on `cpu`: nothing observed, nothing injected.
    #[inline]
    pub const fn on(cpu: usize) -> Self {
        Ctx { cpu, probe: crate::probe::NoProbe, fault: NoFault }
    }
}
