//! The ways in which people get a caller of the bulk call wrong. Each is one wrong line, where the ports ask
//! [`Env`](crate::Env) for it; nothing is asked in a run in which nothing can fail.

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

impl Slip {
    /// All of them.
    pub const ALL: [Slip; 7] = [
        Slip::MixesCounts,
        Slip::WrongBase,
        Slip::ForgetsClear,
        Slip::PartialIsFailure,
        Slip::OtherTest,
        Slip::IgnoresShort,
        Slip::OtherApi,
    ];

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

impl Slip {
    /// Whether there is a line in this form of this caller that can be wrong in this way. A refill call leaves its
    /// callers no base to pass and no number to add; a caller that always passes its whole list has no base either.
    pub fn can_be_written(self, caller: &str, form: Form) -> bool {
        let vfio = caller == "virtiovf_add_migration_pages";
        let pool = caller == "__page_pool_alloc_pages_slow";
        if form == Form::V3 && !vfio && !pool {
            return match self {
                Slip::PartialIsFailure | Slip::IgnoresShort | Slip::ForgetsClear => true,
                // The two calls return different kinds of value: no compiler takes one for the other silently.
                Slip::MixesCounts | Slip::WrongBase | Slip::OtherTest | Slip::OtherApi => false,
            };
        }
        match self {
            Slip::WrongBase => !vfio && !pool,
            Slip::MixesCounts | Slip::OtherTest => !pool,
            // The clearing is what the patch takes out here.
            Slip::ForgetsClear if vfio || pool => form == Form::Before,
            _ => true,
        }
    }
}
