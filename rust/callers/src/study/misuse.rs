//! The ways in which people get a caller of the bulk call wrong. Each is one wrong line; the line itself stands in the
//! ports as the kernel has it, and the values of [`Env`](crate::Env) answer it as the wrong one would be answered.

use crate::result::Form;

/// One wrong line in a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slip {
    /// Takes the return value for the other version's kind of number: on v2 the `+=` is dropped, on v1 one is added.
    MixesCounts,
    /// Passes the wrong base: on v2 the array instead of its rest, on v1 the rest instead of the array.
    WrongBase,
    /// Does not clear what the call or the error path takes for NULL.
    ForgetsClear,
    /// Takes a short result for a failure.
    PartialIsFailure,
    /// Tells progress from failure as callers of the other version do: on v2 by comparing with the value before, on v1
    /// by comparing with 0.
    OtherTest,
    /// Takes a short result for all.
    IgnoresShort,
    /// Is as it was, but the call is the other version's.
    OtherApi,
}

use Slip::{ForgetsClear, IgnoresShort, MixesCounts, OtherApi, OtherTest, PartialIsFailure, WrongBase};

impl Slip {
    pub const ALL: [Slip; 7] =
        [MixesCounts, WrongBase, ForgetsClear, PartialIsFailure, OtherTest, IgnoresShort, OtherApi];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Slip::MixesCounts => "mixes counts",
            Slip::WrongBase => "wrong base",
            Slip::ForgetsClear => "forgets to clear",
            Slip::PartialIsFailure => "partial is failure",
            Slip::OtherTest => "other progress test",
            Slip::IgnoresShort => "ignores a short result",
            Slip::OtherApi => "other version's call",
        }
    }
}

/// The lines of a caller that fills an array in a loop. A refill call leaves its callers no base to pass and no number
/// to add, and its results are no numbers, so no compiler takes one call for the other silently.
pub(crate) const fn of_loop(form: Form) -> &'static [Slip] {
    match form {
        Form::V3 => &[ForgetsClear, PartialIsFailure, IgnoresShort],
        _ => &Slip::ALL,
    }
}

/// The lines of a caller that makes one call on an array of NULL slots that it cleared itself, and fails when the call
/// is short: to take a short result for a failure is what it does.
pub(crate) const ALL_OR_NOTHING: &[Slip] = &[ForgetsClear, IgnoresShort, OtherApi];

/// The lines of a caller that makes one call on such an array and works with what came.
pub(crate) const ONE_CALL: &[Slip] = &[ForgetsClear, PartialIsFailure, IgnoresShort, OtherApi];
