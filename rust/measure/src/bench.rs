//! The rows of `timings.json`, measured on the emulator.

use bulkpages_callers::ports::page_pool::Bench;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Machine, Result};

use crate::trial::{Api, Sample, Workload};

/// One row and its repeated runs.
#[derive(Clone, Debug)]
pub struct Row {
    pub workload: Workload,
    /// One sample a run.
    pub runs: Vec<Sample>,
}

/// Array sizes of all-NULL rows.
pub const NR_PAGES: [usize; 7] = [1, 2, 8, 32, 64, 128, 256];
/// Hole periods of rows with 256 slots.
pub const HOLE_PERIODS: [usize; 4] = [2, 8, 32, 64];

/// Every workload that `timings.json` has a row for, in its order.
pub fn workloads() -> Vec<Workload> {
    let bulk =
        |nr_pages, hole_period| Api::ALL.into_iter().map(move |api| Workload::Bulk { api, nr_pages, hole_period });
    let mut all: Vec<_> = NR_PAGES.into_iter().flat_map(|n| bulk(n, 0)).collect();
    all.extend(HOLE_PERIODS.into_iter().flat_map(|period| bulk(256, period)));
    for bench in Bench::ALL {
        all.extend([Api::V1, Api::V2].map(|api| Workload::PagePool { api, bench }));
    }
    all
}

/// Iterations of one run, as `bench.c` has them, divided by `shrink`.
pub fn iterations(workload: Workload, shrink: u64) -> u64 {
    let n = match workload {
        Workload::Bulk { nr_pages, hole_period: 0, .. } => 500_000 / nr_pages as u64,
        Workload::Bulk { .. } => 3000,
        Workload::PagePool { .. } => 1_000_000,
    };
    (n / shrink).max(1)
}

/// Runs every row `runs` times, round after round.
///
/// # Errors
///
/// As [`Workload::run`].
pub fn bench_core<L: Locking>(machine: &Machine<L>, runs: usize, shrink: u64) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = workloads().into_iter().map(|workload| Row { workload, runs: Vec::new() }).collect();
    for _ in 0..runs {
        for row in &mut rows {
            row.runs.push(row.workload.run(machine, iterations(row.workload, shrink))?);
        }
    }
    Ok(rows)
}
