//! What bulk calls return, as values that know what they are: a position in an array, or a number of pages.
//!
//! A caller with a wrong line takes such a value for something else. The line itself stays as the kernel has it: the
//! value answers a comparison as the wrong line would. Where no line can be wrong this is a plain number.

use core::cmp::Ordering;
use core::ops::{AddAssign, Not, Range, SubAssign};

use crate::study::misuse::Slip;

/// What a value knows of the caller's wrong line: nothing, in a run in which no line can be wrong.
pub trait Seen: Copy {
    /// Of a value that no call returned.
    const NOTHING: Self;
    /// The wrong line, and the call that it reads.
    fn told(self) -> Option<Told>;

    /// Whether the caller takes a short result for all.
    #[inline(always)]
    fn looks_complete(self) -> bool {
        self.told().is_some_and(|t| t.slip == Slip::IgnoresShort && t.ret > 0)
    }

    /// Whether the caller takes one kind of number for the other.
    #[inline(always)]
    fn mixes_counts(self) -> bool {
        self.told().is_some_and(|t| t.slip == Slip::MixesCounts)
    }

    /// Whether the caller sees progress: `right` is the answer, `wrong` what callers of the other version would see.
    #[inline(always)]
    fn progress(self, right: bool, wrong: impl Fn(Told) -> bool) -> bool {
        match self.told() {
            Some(t) if t.slip == Slip::PartialIsFailure => t.ret >= t.asked,
            Some(t) if t.slip == Slip::OtherTest => wrong(t),
            _ => right,
        }
    }
}

impl Seen for () {
    const NOTHING: Self = ();
    #[inline(always)]
    fn told(self) -> Option<Told> {
        None
    }
}

/// A wrong line and the call whose value it reads.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub slip: Slip,
    /// What the call returned.
    pub ret: usize,
    /// Slots that it was given.
    pub asked: usize,
    /// What the call before returned.
    pub before: usize,
}

impl Seen for Option<Told> {
    const NOTHING: Self = None;
    #[inline(always)]
    fn told(self) -> Option<Told> {
        self
    }
}

/// What v1 returns: the index of the first slot that is still NULL. Compared with another position it tells progress,
/// compared with the number of slots whether the array is full.
#[derive(Clone, Copy, Debug)]
pub struct Position<S> {
    pub(super) at: usize,
    pub(super) seen: S,
}

impl<S: Seen> Position<S> {
    #[inline(always)]
    pub fn get(self) -> usize {
        self.at
    }
}

impl<S: Seen> PartialEq for Position<S> {
    #[inline(always)]
    fn eq(&self, last: &Self) -> bool {
        !self.seen.progress(self.at != last.at, |t| t.ret != 0)
    }
}

impl<S: Seen> PartialOrd for Position<S> {
    #[inline(always)]
    fn partial_cmp(&self, last: &Self) -> Option<Ordering> {
        match self.seen.told() {
            None => Some(self.at.cmp(&last.at)),
            Some(_) if self.seen.progress(self.at > last.at, |t| t.ret != 0) => Some(Ordering::Greater),
            Some(_) => Some(self.at.cmp(&last.at).min(Ordering::Equal)),
        }
    }
}

/// What v2 returns, and v1 on slots that are all NULL: how many pages came. `!count` asks whether none did.
#[derive(Clone, Copy, Debug)]
pub struct Count<S> {
    pub(super) n: usize,
    pub(super) seen: S,
}

impl<S: Seen> Count<S> {
    #[inline(always)]
    pub fn get(self) -> usize {
        self.n
    }

    /// The slots that hold the pages.
    #[inline(always)]
    pub fn slots(self) -> Range<usize> {
        match self.seen.told() {
            Some(t) if self.seen.looks_complete() => 0..t.asked,
            _ => 0..self.n,
        }
    }
}

impl<S: Seen> Not for Count<S> {
    type Output = bool;
    #[inline(always)]
    fn not(self) -> bool {
        !self.seen.progress(self.n != 0, |t| t.ret != t.before)
    }
}

/// A number of pages that the caller keeps itself: what it has, or what it still wants.
#[derive(Clone, Copy, Debug)]
pub struct Total<S> {
    pub(super) n: usize,
    pub(super) seen: S,
}

impl<S: Seen> Total<S> {
    #[inline(always)]
    pub fn get(self) -> usize {
        self.n
    }
}

impl<S: Seen> AddAssign<Count<S>> for Total<S> {
    #[inline(always)]
    fn add_assign(&mut self, count: Count<S>) {
        self.seen = count.seen;
        self.n = if self.seen.mixes_counts() { count.n } else { self.n + count.n };
    }
}

impl<S: Seen> SubAssign<Count<S>> for Total<S> {
    #[inline(always)]
    fn sub_assign(&mut self, count: Count<S>) {
        self.seen = count.seen;
        if !self.seen.mixes_counts() {
            self.n -= count.n;
        }
    }
}

/// Compared with a plain number, each of them says whether that many pages are there.
macro_rules! compares_with_numbers {
    ($($value:ident.$field:ident),*) => {$(
        impl<S: Seen> PartialEq<usize> for $value<S> {
            #[inline(always)]
            fn eq(&self, n: &usize) -> bool {
                self.seen.looks_complete() || self.$field == *n
            }
        }

        impl<S: Seen> PartialOrd<usize> for $value<S> {
            #[inline(always)]
            fn partial_cmp(&self, n: &usize) -> Option<Ordering> {
                Some(if self.seen.looks_complete() { Ordering::Equal } else { self.$field.cmp(n) })
            }
        }
    )*};
}

compares_with_numbers!(Position.at, Count.n, Total.n);
