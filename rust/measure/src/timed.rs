//! Locks that keep time: the spin locks of [`Atomic`], and beside them how long each was waited for and held, who held
//! it when a trylock failed, and, when asked for, a timeline. A machine of its own kind, so that other machines pay
//! nothing.

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bulkpages_core::sync::{Atomic, Lock, Locking};

use crate::clock;

/// What a lock protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The per-CPU lists of one CPU in one zone (`pcp->lock`).
    Pcp,
    /// The buddy lists of a zone (`zone->lock`).
    Zone,
    Other,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 3] = [Kind::Pcp, Kind::Zone, Kind::Other];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Pcp => "pcp",
            Kind::Zone => "zone",
            Kind::Other => "other",
        }
    }

    fn of<T>() -> Kind {
        // The only thing that tells two `T`s apart that need not be `'static`. A name that changes ends in `Other`,
        // which a test would notice.
        match std::any::type_name::<T>().rsplit("::").next() {
            Some("PerCpuPages") => Kind::Pcp,
            Some("FreeArea") => Kind::Zone,
            _ => Kind::Other,
        }
    }
}

/// What a thread is doing: the side in a report of trylock failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing that a report names.
    Idle,
    /// A request for one block.
    Alloc,
    Bulk,
    Free,
    /// A drain of the thread's own CPU.
    LocalDrain,
    /// A drain of the lists of all CPUs.
    RemoteDrain,
}

impl Side {
    /// All sides, in the order of their numbers.
    pub const ALL: [Side; 6] = [Side::Idle, Side::Alloc, Side::Bulk, Side::Free, Side::LocalDrain, Side::RemoteDrain];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Idle => "idle",
            Side::Alloc => "alloc",
            Side::Bulk => "bulk",
            Side::Free => "free",
            Side::LocalDrain => "local_drain",
            Side::RemoteDrain => "remote_drain",
        }
    }
}

/// Counts by power of two: bucket `i` holds values of `i` bits, bucket 0 the value 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many values fell into each bucket.
    pub buckets: [u64; 65],
    pub sum: u64,
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; 65], sum: 0, max: 0 }
    }
}

impl Histogram {
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.buckets[64 - value.leading_zeros() as usize] += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// One thing on a timeline: a lock that was held, or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Clock reading at its beginning.
    pub start: u64,
    /// Clock reading at its end.
    pub end: u64,
    /// The lock; `None` for the call itself.
    pub lock: Option<Kind>,
    /// What the thread was doing.
    pub side: Side,
}

/// What one thread saw of the locks.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Clock counts from asking for a lock to having it, by [`Kind`].
    pub wait: [Histogram; 3],
    /// Clock counts from having a lock to giving it back, by [`Kind`].
    pub hold: [Histogram; 3],
    /// Failed trylocks: by [`Side`] of who tried, by [`Side`] of the holder.
    pub failures: [[u64; 6]; 6],
    /// The first slices, up to the number asked for.
    pub slices: Vec<Slice>,
}

impl Seen {
    /// Adds all that another thread saw, slices left out.
    pub fn merge(&mut self, other: &Seen) {
        for kind in 0..3 {
            self.wait[kind].merge(&other.wait[kind]);
            self.hold[kind].merge(&other.hold[kind]);
        }
        for (mine, theirs) in self.failures.iter_mut().flatten().zip(other.failures.iter().flatten()) {
            *mine += theirs;
        }
    }
}

struct Me {
    side: Side,
    slices: usize,
    seen: Seen,
}

thread_local! {
    static ME: RefCell<Option<Box<Me>>> = const { RefCell::new(None) };
}

/// This thread starts to look; it keeps up to `slices` slices.
pub fn start(slices: usize) {
    let seen = Seen { slices: Vec::with_capacity(slices), ..Seen::default() };
    ME.set(Some(Box::new(Me { side: Side::Idle, slices, seen })));
}

/// This thread stops: what it saw.
pub fn stop() -> Seen {
    ME.take().map(|me| me.seen).unwrap_or_default()
}

/// What this thread does from now on. Gives back what it did before.
pub fn set_side(side: Side) -> Side {
    with(|me| std::mem::replace(&mut me.side, side)).unwrap_or(Side::Idle)
}

/// Adds a slice to this thread's timeline.
pub fn note(start: u64, end: u64, lock: Option<Kind>, side: Side) {
    with(|me| me.note(start, end, lock, side));
}

impl Me {
    fn note(&mut self, start: u64, end: u64, lock: Option<Kind>, side: Side) {
        if self.seen.slices.len() < self.slices {
            self.seen.slices.push(Slice { start, end, lock, side });
        }
    }
}

#[inline]
fn with<R>(f: impl FnOnce(&mut Me) -> R) -> Option<R> {
    ME.with_borrow_mut(|me| me.as_deref_mut().map(f))
}

/// Spin locks that keep time.
#[derive(Debug, Clone, Copy)]
pub enum Timed {}

impl Locking for Timed {
    type Lock<T: Debug + Send> = TimedLock<T>;
    const NAME: &'static str = "atomic, timed";
    const PARALLEL: bool = true;
}

#[derive(Debug)]
pub struct TimedLock<T: Debug + Send> {
    lock: <Atomic as Locking>::Lock<T>,
    kind: Kind,
    /// [`Side`] of the last thread that got the lock.
    holder: AtomicU32,
}

impl<T: Debug + Send> TimedLock<T> {
    #[inline]
    fn got<'a>(&'a self, guard: AtomicGuard<'a, T>, asked: u64) -> TimedGuard<'a, T> {
        let since = clock::now();
        let side = with(|me| {
            me.seen.wait[self.kind as usize].add(since - asked);
            me.side
        });
        let side = side.unwrap_or(Side::Idle);
        self.holder.store(side as u32, Relaxed);
        TimedGuard { guard, kind: self.kind, side, since }
    }
}

type AtomicGuard<'a, T> = <<Atomic as Locking>::Lock<T> as Lock<T>>::Guard<'a>;

impl<T: Debug + Send> Lock<T> for TimedLock<T> {
    type Guard<'a>
        = TimedGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        TimedLock { lock: Lock::new(value), kind: Kind::of::<T>(), holder: AtomicU32::new(0) }
    }
    #[inline]
    fn try_lock(&self) -> Option<TimedGuard<'_, T>> {
        let asked = clock::now();
        match Lock::try_lock(&self.lock) {
            Some(guard) => Some(self.got(guard, asked)),
            None => {
                // The holder may have changed since: a matter of clock counts, and nothing but the report depends on it.
                let holder = self.holder.load(Relaxed) as usize;
                with(|me| me.seen.failures[me.side as usize][holder] += 1);
                None
            }
        }
    }
    #[inline]
    fn lock(&self) -> TimedGuard<'_, T> {
        let asked = clock::now();
        self.got(Lock::lock(&self.lock), asked)
    }
    fn get_mut(&mut self) -> &mut T {
        Lock::get_mut(&mut self.lock)
    }
}

/// Proof of holding a [`TimedLock`].
#[expect(missing_debug_implementations, reason = "holds a lock guard")]
pub struct TimedGuard<'a, T: Debug + Send + 'a> {
    guard: AtomicGuard<'a, T>,
    kind: Kind,
    side: Side,
    since: u64,
}

impl<'a, T: Debug + Send + 'a> Deref for TimedGuard<'a, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<'a, T: Debug + Send + 'a> DerefMut for TimedGuard<'a, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<'a, T: Debug + Send + 'a> Drop for TimedGuard<'a, T> {
    #[inline]
    fn drop(&mut self) {
        // Read and noted before the lock goes: the bookkeeping counts as held time, about the cost of one clock reading.
        let end = clock::now();
        with(|me| {
            me.seen.hold[self.kind as usize].add(end - self.since);
            me.note(self.since, end, Some(self.kind), self.side);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkpages_core::Ctx;
    use bulkpages_core::Machine;
    use bulkpages_core::boot::BootSpec;
    use bulkpages_core::gfp::Gfp;

    #[test]
    fn buckets_are_powers_of_two() {
        let mut h = Histogram::default();
        for value in [0, 1, 2, 3, 4, u64::MAX] {
            h.add(value);
        }
        assert_eq!((h.buckets[0], h.buckets[1], h.buckets[2], h.buckets[3], h.buckets[64]), (1, 1, 2, 1, 1));
        assert_eq!((h.count(), h.max), (6, u64::MAX));
    }

    #[test]
    fn both_kinds_of_locks_are_known_and_a_failure_names_the_holder() {
        let machine = Machine::<Timed>::boot(&BootSpec::new(16384, 1, 1)).unwrap();
        start(100);
        set_side(Side::Alloc);
        let page = machine.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None).unwrap();
        assert!(page.is_some());
        let lock = <TimedLock<u8> as Lock<u8>>::new(0);
        set_side(Side::RemoteDrain);
        let held = Lock::lock(&lock);
        set_side(Side::Bulk);
        assert!(Lock::try_lock(&lock).is_none());
        drop(held);
        let seen = stop();
        assert_eq!(seen.hold[Kind::Pcp as usize].count(), 1);
        assert_eq!(seen.hold[Kind::Zone as usize].count(), 1);
        assert_eq!(seen.failures[Side::Bulk as usize][Side::RemoteDrain as usize], 1);
        assert_eq!(seen.failures.iter().flatten().sum::<u64>(), 1);
        assert_eq!(seen.slices.len(), 3);
    }
}
