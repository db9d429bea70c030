//! Runs one workload for an instruction counter: `one API NR_PAGES HOLE_PERIOD ITERATIONS [atomic]`, where API may also
//! name a page_pool loop as `v1:page_pool03_slow`.
#![allow(clippy::print_stdout)]
use bulkpages_callers::ports::page_pool::Bench;
use bulkpages_core::Machine;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_measure::{Api, Workload};

fn run<L: Locking>(workload: Workload, iterations: u64) {
    let machine = Machine::<L>::boot(&BootSpec::new(1 << 17, 1, 1)).unwrap();
    let sample = workload.run(&machine, iterations).unwrap();
    println!("{} pages", sample.pages);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (api, bench) = args[0].split_once(':').unwrap_or((&args[0], ""));
    let api = Api::ALL.into_iter().find(|a| a.name() == api).unwrap();
    let workload = match Bench::ALL.into_iter().find(|b| b.name() == bench) {
        Some(bench) => Workload::PagePool { api, bench },
        None => Workload::Bulk { api, nr_pages: args[1].parse().unwrap(), hole_period: args[2].parse().unwrap() },
    };
    let iterations = args[3].parse().unwrap();
    if args.len() > 4 { run::<Atomic>(workload, iterations) } else { run::<Local>(workload, iterations) }
}
