//! What a run of a caller yields, and the forms a caller comes in.

use bulkpages_core::errno::ENOMEM;
use bulkpages_core::{Error, Result, Slot};

/// A form of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// As it is in v6.14, on v1: only NULL slots are filled.
    Before,
    /// As the patch of 28 February 2025 makes it, on v2: the array is pure output.
    After,
    /// As it is in 7.1: the caller knows which slots are NULL, and calls v1 on those alone.
    Tracked,
    /// As the proposal of 14 April 2025 makes it: an output-only call, and a call that refills.
    V3,
}

impl Form {
    pub const ALL: [Form; 4] = [Form::Before, Form::After, Form::Tracked, Form::V3];

    pub const fn name(self) -> &'static str {
        match self {
            Form::Before => "before",
            Form::After => "after",
            Form::Tracked => "tracked",
            Form::V3 => "v3",
        }
    }

    /// The form of this name, for a caller that has `forms`.
    ///
    /// # Errors
    ///
    /// When the caller has no such form.
    pub fn parse(name: &str, forms: &[Form]) -> Result<Form> {
        forms.iter().copied().find(|f| f.name() == name).ok_or_else(|| unknown(name, forms))
    }

    /// Itself, when it is one of `forms`.
    #[inline]
    pub(crate) fn among(self, forms: &[Form]) -> Result<Form> {
        if forms.contains(&self) { Ok(self) } else { Err(unknown(self.name(), forms)) }
    }
}

#[cold]
fn unknown(name: &str, forms: &[Form]) -> Error {
    let known: Vec<_> = forms.iter().map(|f| f.name()).collect();
    Error::invalid(format!("form {name:?} does not exist: this caller has {}", known.join(", ")))
}

/// What a caller returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// 0, or a negative error number.
    Errno(i32),
    Bool(bool),
    /// It did not return: the waits that it was granted were used up.
    GaveUp,
}

impl Ret {
    /// Success of a function that returns an error number.
    pub const OK: Ret = Ret::Errno(0);
    /// `-ENOMEM`.
    pub const NOMEM: Ret = Ret::Errno(-ENOMEM);

    /// Whether it says that all went well.
    pub const fn is_success(self) -> bool {
        matches!(self, Ret::Errno(0) | Ret::Bool(true))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BulkCall {
    /// First slot of the slice that was passed.
    pub base: usize,
    /// Slots passed.
    pub nr_pages: usize,
    /// What came back: a number of pages, or from a refill call 0, `-EAGAIN` or `-ENOMEM`.
    pub ret: i64,
}

/// Everything that a run of a caller left behind.
#[derive(Debug)]
pub struct CallerResult {
    /// The kernel's value.
    pub ret: Ret,
    /// The array of a caller that brings its own; pages in it are owned by whoever ran the caller.
    pub array: Option<Box<[Slot]>>,
    /// Bulk calls, in order.
    pub bulk_calls: Vec<BulkCall>,
    /// Times that the caller slept.
    pub waits: u64,
    /// Pages that the caller freed.
    pub freed: u64,
    /// Trace lines of the caller itself, as the kernel formats them.
    pub trace: Vec<String>,
    /// Slots read to see whether they are NULL, in the API and in the caller.
    pub slot_tests: u64,
    /// Slots stored to, in the API and in the caller; clearing by `memset` is not among them.
    pub slot_writes: u64,
    /// Slots cleared by `memset`.
    pub slot_clears: u64,
    /// The caller's own statistics, by their kernel names.
    pub stats: Vec<(&'static str, u64)>,
    /// Virtual time slept.
    pub jiffies: u64,
    /// The same in nanoseconds.
    pub wait_ns: u64,
}

impl CallerResult {
    /// Whether the caller was stopped because its waits were used up.
    pub fn gave_up(&self) -> bool {
        self.ret == Ret::GaveUp
    }

    /// Bulk calls as (slots passed, value returned).
    pub fn calls(&self) -> Vec<(usize, i64)> {
        self.bulk_calls.iter().map(|c| (c.nr_pages, c.ret)).collect()
    }

    /// A statistic, 0 when the caller never touched it.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats.iter().find(|(n, _)| *n == name).map_or(0, |(_, v)| *v)
    }
}
