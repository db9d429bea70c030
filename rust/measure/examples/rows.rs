//! Prints the rows of `timings.json` as the emulator runs them: cycles per page (alloc alone, alloc and free).
#![allow(clippy::print_stdout)]
use bulkpages_core::Machine;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_measure::{Row, Workload, bench_core};

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn rows<L: Locking>() -> Vec<Row> {
    let machine = Machine::<L>::boot(&BootSpec::new(1 << 17, 1, 1)).unwrap();
    let rows = bench_core(&machine, 5, 2).unwrap();
    machine.audit().unwrap();
    rows
}

fn main() {
    let (local, atomic) = (rows::<Local>(), rows::<Atomic>());
    for (l, a) in local.iter().zip(&atomic) {
        let alloc = |r: &Row| median(r.runs.iter().map(|s| s.alloc as f64 / s.pages as f64).collect());
        let total = |r: &Row| median(r.runs.iter().map(|s| s.total as f64 / s.pages as f64).collect());
        let name = match l.workload {
            Workload::Bulk { api, nr_pages, hole_period } => format!("{} {nr_pages} {hole_period}", api.name()),
            Workload::PagePool { api, bench } => format!("{} {}", api.name(), bench.name()),
        };
        println!("{name:40} {:8.2} {:8.2}   {:8.2} {:8.2}", alloc(l), total(l), alloc(a), total(a));
    }
}
