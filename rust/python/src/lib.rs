//! Python bindings of bulkpages: `bulkpages._core`. Checks arguments, holds the machine, nothing else.

mod args;
mod callers;
mod era;
mod errors;
mod events;
mod explore;
mod faults;
mod machine;
mod measure;
mod own;
mod page_array;
mod page_pool;
mod replay;
mod stress;
mod sweep;
mod trace;

use pyo3::prelude::*;

/// The compiled part of bulkpages. Use the package `bulkpages` instead.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::callers::{call_api, callers, hole_shape, run_caller};
    #[pymodule_export]
    use super::era::{eras, rules};
    #[pymodule_export]
    use super::explore::{explore_interrupts, explore_tasks};
    #[pymodule_export]
    use super::machine::Machine;
    #[pymodule_export]
    use super::measure::{
        clock_cost, contend, core_rows, count_bulk, count_fill, count_page_pool, count_steps, fillers, ns_per_count,
        trial_bulk, trial_fill, trial_page_pool, window_fill,
    };
    #[pymodule_export]
    use super::own::{OwnOutcome, OwnRun, Stream};
    #[pymodule_export]
    use super::page_array::PageArray;
    #[pymodule_export]
    use super::page_pool::{PagePool, time_bench_page_pool};
    #[pymodule_export]
    use super::stress::{run_threads, stress_mixes, stress_run};
    #[pymodule_export]
    use super::sweep::{failure_sweep, misuse_score};
    #[pymodule_export]
    use super::trace::{TraceFollower, TraceReader, TraceRequests, TraceRerun, gfp_known, gfp_text, gfp_value};

    /// Version of the package.
    #[allow(non_upper_case_globals)]
    #[pymodule_export]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// Whether clock counts are cycles of the time stamp counter.
    #[pymodule_export]
    const COUNTS_CYCLES: bool = bulkpages_measure::clock::COUNTS_CYCLES;

    /// Whether the extension was built without optimisation.
    #[pymodule_export]
    const DEBUG_BUILD: bool = cfg!(debug_assertions);

    /// Commit that the extension was built from, or "unknown".
    #[pymodule_export]
    const COMMIT: &str = env!("BULKPAGES_COMMIT");

    /// Compiler that built the extension.
    #[pymodule_export]
    const RUSTC: &str = env!("BULKPAGES_RUSTC");
}
