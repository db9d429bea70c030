//! What following a trace found: counts, misses and why.

use serde::Serialize;

use crate::tally::Tally;

/// What became of an `mm_page_alloc` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame was predicted.
    Predicted,
    /// Deeper on the expected list: so many pages had left without a line.
    HiddenTake {
        /// Pages above it.
        pages: u32,
    },
    /// The machine had expected that pages had left without a line, but they had not, or not so many.
    NoHiddenTake,
    /// On another list of this CPU: another zone or type.
    OtherList,
    /// On a list of another CPU.
    OtherCpu,
    /// In the buddy lists.
    Buddy,
    /// In the hands of a caller, or of the kernel since before the trace.
    NotFree,
}

/// An `mm_page_alloc` line whose frame was not predicted.
#[derive(Clone, Debug, Serialize)]
pub struct Miss {
    /// Line of the trace, from 1.
    pub line: u64,
    pub cpu: u32,
    /// Frame of the line.
    pub pfn: u32,
    /// Frame that was predicted.
    pub expected: Option<u32>,
    /// Order, type.
    pub order: u8,
    /// Type asked for.
    pub migratetype: u8,
    pub reason: &'static str,
    /// Pages that had left the list without a line.
    pub pages: u32,
}

/// What a replay found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// `mm_page_alloc` lines with a page.
    pub allocations: u64,
    /// Of these, frames predicted.
    pub predicted: u64,
    /// Of these, the machine's page had the order, zone and type of the line's.
    pub matched: u64,
    /// Frames that had just been named by a line of a refill.
    pub after_refill: u64,
    /// Failed allocations: lines without a page.
    pub failed: u64,
    /// `mm_page_alloc_zone_locked` and `extfrag` lines, and those whose frame was predicted.
    pub refilled: u64,
    pub refilled_predicted: u64,
    /// Refills, and those whose number of entries was predicted.
    pub refills: u64,
    pub refill_sizes_predicted: u64,
    /// `mm_page_pcpu_drain` lines, and those whose frame was predicted.
    pub drained: u64,
    pub drained_predicted: u64,
    /// Frees, of pages that nobody was seen to take (kernel's own from before), and of pages that were thought free.
    pub frees: u64,
    pub frees_of_kernel_pages: u64,
    pub frees_of_free_pages: u64,
    /// Takes without a line: how many, their pages, and how many were predicted.
    pub hidden_takes: u64,
    pub hidden_pages: u64,
    pub hidden_predicted: u64,
    pub false_hidden: u64,
    /// Sizes of hidden takes: (pages, times).
    pub hidden_sizes: std::collections::BTreeMap<u32, u64>,
    pub misses: Vec<Miss>,
    pub reasons: std::collections::BTreeMap<&'static str, u64>,
    /// Lines that name what the machine does not have: how many, and the first of them with the reason.
    pub outside: u64,
    pub outside_lines: Vec<(u64, String)>,
    #[serde(flatten)]
    pub tally: Tally,
    /// What the audit of the machine found at the end.
    pub unsound: Option<String>,
}

/// A verdict as a word.
pub fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Predicted => "predicted",
        Verdict::HiddenTake { .. } => "pages left the list without a line",
        Verdict::NoHiddenTake => "pages were expected to have left the list, but had not",
        Verdict::OtherList => "another zone or type",
        Verdict::OtherCpu => "on the list of another CPU",
        Verdict::Buddy => "in the buddy lists",
        Verdict::NotFree => "not thought to be free",
    }
}
