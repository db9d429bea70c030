//! Injected failures. The kernel counterpart is `mm/fail_page_alloc.c` (v6.12), which can only fail the preparation of a
//! request. Here, every step that can fail can be made to fail.
//!
//! A fault plan is a type parameter; with [`NoFault`] every question compiles to `no`.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Decides what fails.
pub trait Fault {
    /// Whether anything can fail at all; `false` removes the questions at compile time.
    const ON: bool;
    /// Whether this per-CPU trylock fails.
    fn trylock_fails(&self) -> bool;
    /// Whether taking `pages` pages fails, wherever they come from; `false` uses them up.
    fn take_fails(&self, pages: u32) -> bool;
    /// Whether the single-page path returns NULL.
    fn single_fails(&self) -> bool;
    /// Whether preparing the request fails.
    fn prepare_fails(&self) -> bool;
    /// Whether every zone fails the watermark gate of this bulk call.
    fn gate_fails(&self) -> bool {
        false
    }
    /// Whether charging a page to a memory cgroup fails.
    fn charge_fails(&self) -> bool {
        false
    }
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

/// When a step fails: so many successes first, then so many failures, then successes for good.
///
/// # Invariants
///
/// Only counts down; `u64::MAX` stands for no end and is never counted down.
#[derive(Debug)]
pub struct When {
    successes: AtomicU64,
    failures: AtomicU64,
    asked: AtomicU64,
}

impl When {
    pub const fn never() -> When {
        When::times(u64::MAX, 0)
    }

    pub const fn always() -> When {
        When::after(0)
    }

    /// After `successes` successes, for good.
    pub const fn after(successes: u64) -> When {
        When::times(successes, u64::MAX)
    }

    /// After `successes` successes, `failures` times.
    pub const fn times(successes: u64, failures: u64) -> When {
        When { successes: AtomicU64::new(successes), failures: AtomicU64::new(failures), asked: AtomicU64::new(0) }
    }

    /// How often the step was come to so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// Whether the step fails this time.
    pub fn fails(&self) -> bool {
        // INVARIANT: only counts above 0 and below the mark for "no end" go down.
        let count_down = |n: u64| (n > 0 && n < u64::MAX).then(|| n - 1);
        self.asked.fetch_add(1, Relaxed);
        if self.failures.load(Relaxed) == 0 {
            return false;
        }
        match self.successes.fetch_update(Relaxed, Relaxed, count_down) {
            Ok(_) | Err(u64::MAX) => false,
            Err(_) => !matches!(self.failures.fetch_update(Relaxed, Relaxed, count_down), Err(0)),
        }
    }
}

impl From<bool> for When {
    /// Always or never.
    fn from(fails: bool) -> When {
        if fails { When::always() } else { When::never() }
    }
}

impl Default for When {
    fn default() -> When {
        When::never()
    }
}

/// A plan that a test or a user states.
#[derive(Debug, Default)]
pub struct FaultPlan {
    /// Pages that can still be had; `None` for no bound. Frees do not add to it.
    pub pages: Option<AtomicI64>,
    /// Takes of a page, from wherever, that fail.
    pub take: When,
    /// Per-CPU trylocks that fail, on allocation and on free.
    pub trylock: When,
    /// Single-page requests that return NULL.
    pub single: When,
    /// Requests whose preparation fails.
    pub prepare: When,
    /// Bulk calls that find no zone above the gate.
    pub gate: When,
    pub charge: When,
}

impl Fault for FaultPlan {
    const ON: bool = true;
    fn trylock_fails(&self) -> bool {
        self.trylock.fails()
    }
    fn take_fails(&self, pages: u32) -> bool {
        if self.take.fails() {
            return true;
        }
        let Some(left) = &self.pages else { return false };
        left.fetch_update(Relaxed, Relaxed, |n| (n >= i64::from(pages)).then(|| n - i64::from(pages))).is_err()
    }
    fn single_fails(&self) -> bool {
        self.single.fails()
    }
    fn prepare_fails(&self) -> bool {
        self.prepare.fails()
    }
    fn gate_fails(&self) -> bool {
        self.gate.fails()
    }
    fn charge_fails(&self) -> bool {
        self.charge.fails()
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
    #[inline(always)]
    fn gate_fails(&self) -> bool {
        (**self).gate_fails()
    }
    #[inline(always)]
    fn charge_fails(&self) -> bool {
        (**self).charge_fails()
    }
}
