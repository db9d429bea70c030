//! Kernel: `spinlock_t` and `spin_trylock()` as `mm/page_alloc.c` uses them (v6.12).
//!
//! Locks of the emulator, chosen by a type parameter: [`Local`] for one thread (a flag, no atomic operation),
//! [`Atomic`] for real threads (one atomic exchange to take it, one plain store to release it). All other shared state is
//! either touched only under one of these locks, or by relaxed atomic loads and stores, which cost no more than plain
//! ones on x86.

use core::cell::{RefCell, RefMut};
use core::fmt::Debug;
use core::ops::DerefMut;

/// A family of locks.
pub trait Locking: 'static + Sized + Debug {
    /// The lock around a `T`.
    type Lock<T: Debug + Send>: Lock<T> + Debug;
    /// Name for reports.
    const NAME: &'static str;
    /// Whether several threads may use a machine at once.
    const PARALLEL: bool;
}

/// One lock around one value.
pub trait Lock<T> {
    /// Proof of holding the lock.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a,
        T: 'a;

    /// A free lock around `value`.
    fn new(value: T) -> Self;
    /// Takes the lock if it is free (`spin_trylock`).
    fn try_lock(&self) -> Option<Self::Guard<'_>>;
    /// Waits for the lock (`spin_lock`).
    fn lock(&self) -> Self::Guard<'_>;
    /// The value, given that nobody else can hold the lock.
    fn get_mut(&mut self) -> &mut T;
}

/// One thread at a time: no atomic operations.
#[derive(Debug, Clone, Copy)]
pub enum Local {}

impl Locking for Local {
    type Lock<T: Debug + Send> = RefCell<T>;
    const NAME: &'static str = "none";
    const PARALLEL: bool = false;
}

impl<T> Lock<T> for RefCell<T> {
    type Guard<'a>
        = RefMut<'a, T>
    where
        T: 'a;

    #[inline]
    fn new(value: T) -> Self {
        RefCell::new(value)
    }
    #[inline]
    fn try_lock(&self) -> Option<RefMut<'_, T>> {
        self.try_borrow_mut().ok()
    }
    #[inline]
    fn lock(&self) -> RefMut<'_, T> {
        self.borrow_mut()
    }
    fn get_mut(&mut self) -> &mut T {
        RefCell::get_mut(self)
    }
}

/// Real threads: spin locks on atomics. A waiter gives up its time slice, since threads may outnumber processors.
#[derive(Debug, Clone, Copy)]
pub enum Atomic {}

/// The spin lock of [`Atomic`].
pub type SpinLock<T> = spin::mutex::SpinMutex<T, spin::relax::Yield>;

impl Locking for Atomic {
    type Lock<T: Debug + Send> = SpinLock<T>;
    const NAME: &'static str = "atomic";
    const PARALLEL: bool = true;
}

impl<T> Lock<T> for SpinLock<T> {
    type Guard<'a>
        = spin::mutex::SpinMutexGuard<'a, T, spin::relax::Yield>
    where
        T: 'a;

    #[inline]
    fn new(value: T) -> Self {
        spin::mutex::SpinMutex::new(value)
    }
    #[inline]
    fn try_lock(&self) -> Option<Self::Guard<'_>> {
        SpinLock::try_lock(self)
    }
    #[inline]
    fn lock(&self) -> Self::Guard<'_> {
        SpinLock::lock(self)
    }
    fn get_mut(&mut self) -> &mut T {
        SpinLock::get_mut(self)
    }
}
