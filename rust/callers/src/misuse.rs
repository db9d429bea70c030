//! The ways in which people get a caller of the bulk call wrong. Each is one wrong line, where the ports ask
//! [`Env`](crate::Env) for it; nothing is asked in a run in which nothing can fail.

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
