//! Figures of the core that have a bound, as JSON: `figures [--large] RECORDING.jsonl...` (recordings unpacked).
//!
//! Control rows, replay of recorded operations, all memory of a small and of a large machine page by page, the boot of a
//! terabyte, and what observing costs.
#![allow(clippy::print_stdout)]
use std::time::Instant;

use bulkpages_core::boot::BootSpec;
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Ring;
use bulkpages_core::recording::Recording;
use bulkpages_core::replay::{Op, Replay};
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_core::{Ctx, Machine, Pfn};
use bulkpages_measure::counts::Counts;
use bulkpages_measure::{Api, Workload, clock};

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Cycles of one step of `body`, which does `n` of them.
fn cycles(n: u64, mut body: impl FnMut(u64)) -> f64 {
    median(
        (0..11)
            .map(|_| {
                let start = clock::now();
                body(n);
                (clock::now() - start) as f64 / n as f64
            })
            .collect(),
    )
}

/// An empty loop, a store to an array, and an uncontended atomic exchange.
fn controls() -> [(&'static str, f64); 3] {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicU64, Ordering};
    let mut array = vec![0u64; 64];
    let word = AtomicU64::new(0);
    [
        (
            "empty_loop",
            cycles(1 << 20, |n| {
                (0..n).for_each(|i| {
                    black_box(i);
                })
            }),
        ),
        ("array_store", cycles(1 << 20, |n| (0..n).for_each(|i| array[black_box(i as usize & 63)] = i))),
        (
            "atomic_exchange",
            cycles(1 << 20, |n| {
                (0..n).for_each(|i| {
                    word.swap(black_box(i), Ordering::AcqRel);
                })
            }),
        ),
    ]
}

/// Millions of page operations a second over whole recordings, and thousands of recorded operations: without, and with
/// what the recorder writes of each.
fn replay(texts: &[String]) -> (f64, f64, f64) {
    let (mut pages, mut ops, mut bare, mut full) = (0u64, 0u64, 0f64, 0f64);
    for text in texts {
        let recording = Recording::parse(text).unwrap();
        let list: Vec<Op> = recording.ops.iter().map(|(raw, _)| raw.parse().unwrap()).collect();
        for with_results in [false, true] {
            let machine = Machine::<Local>::from_snapshot(&recording.before).unwrap();
            let mut replay = Replay::default();
            let cx = &mut Ctx::on(0);
            let (mut result, mut moved) = (Default::default(), Vec::new());
            let start = Instant::now();
            for op in &list {
                if with_results {
                    replay.run(&machine, cx, op, &mut result).unwrap();
                } else {
                    moved.clear();
                    replay.execute(&machine, cx, op, &mut moved).unwrap();
                }
            }
            let took = start.elapsed().as_secs_f64();
            if with_results {
                full += took
            } else {
                bare += took
            }
            if !with_results {
                let e = machine.vm_events();
                pages += e.pgalloc.iter().sum::<u64>() + e.pgfree;
                ops += list.len() as u64;
            }
        }
    }
    (pages as f64 / bare / 1e6, ops as f64 / bare / 1e3, ops as f64 / full / 1e3)
}

/// Cycles a page for allocating and freeing everything, one page at a time; the first round touches everything first.
fn everything(gib: u64) -> (f64, f64) {
    let machine = Machine::<Local>::boot(&BootSpec::new(gib << 18, 1, 1)).unwrap();
    let cx = &mut Ctx::on(0);
    let mut pages = vec![Pfn::NULL; (gib << 18) as usize];
    pages.fill(Pfn(1));
    let gfp = Gfp::ATOMIC | Gfp::MEMALLOC | Gfp::NOWARN;
    let mut rounds = [0.0; 2];
    for round in &mut rounds {
        let (start, mut n) = (clock::now(), 0);
        while let Some(page) = machine.alloc_pages(cx, gfp, 0, None).unwrap() {
            pages[n] = page;
            n += 1;
        }
        for &page in &pages[..n] {
            machine.free_pages(cx, page, 0).unwrap();
        }
        *round = (clock::now() - start) as f64 / n as f64;
        machine.drain_local_pages(cx).unwrap();
    }
    (rounds[0], rounds[1])
}

/// Cycles a page of a fill with its frees: plain, counted, every event recorded in a ring.
fn observed() -> [f64; 3] {
    let machine = Machine::<Local>::boot(&BootSpec::new(1 << 17, 1, 1)).unwrap();
    let workload = Workload::Bulk { api: Api::V1, nr_pages: 64, hole_period: 0 };
    let per_page = |s: bulkpages_measure::Sample| s.total as f64 / s.pages as f64;
    let mut runs = [Vec::new(), Vec::new(), Vec::new()];
    let mut recording = Ctx { cpu: 0, probe: Ring::new(14), fault: NoFault };
    for _ in 0..21 {
        runs[0].push(per_page(workload.run(&machine, 2_000).unwrap()));
        let mut counting = Ctx { cpu: 0, probe: Counts::default(), fault: NoFault };
        runs[1].push(per_page(workload.run_with(&machine, &mut counting, 2_000).unwrap()));
        runs[2].push(per_page(workload.run_with(&machine, &mut recording, 2_000).unwrap()));
    }
    runs.map(median)
}

/// Cycles of allocating and freeing a page with real atomics and without, and the locks taken for it.
fn locks() -> (f64, f64, f64) {
    fn one<L: Locking>() -> (f64, f64) {
        let machine = Machine::<L>::boot(&BootSpec::new(1 << 17, 1, 1)).unwrap();
        let workload = Workload::Bulk { api: Api::Single, nr_pages: 64, hole_period: 0 };
        let runs = (0..21).map(|_| {
            let s = workload.run(&machine, 2_000).unwrap();
            s.total as f64 / s.pages as f64
        });
        let cycles = median(runs.collect());
        let (counts, pages) = bulkpages_measure::counts::count(&machine, workload, 100).unwrap();
        (cycles, (counts.trylocks + counts.zone_locks) as f64 / pages as f64)
    }
    let ((local, locks), (atomic, _)) = (one::<Local>(), one::<Atomic>());
    (local, atomic, locks)
}

fn main() {
    let mut out = serde_json::Map::new();
    // First, while nothing else is in memory.
    let start = Instant::now();
    let machine = Machine::<Local>::boot(&BootSpec::new(1 << 28, 8, 8)).unwrap();
    out.insert("terabyte_boot_ms".into(), (start.elapsed().as_secs_f64() * 1e3).into());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next());
    out.insert(
        "terabyte_peak_mib".into(),
        peak.and_then(|kib| kib.parse::<f64>().ok()).map_or(-1.0, |kib| kib / 1024.0).into(),
    );
    drop(machine);
    let mut large = false;
    let mut texts = Vec::new();
    for arg in std::env::args().skip(1) {
        if arg == "--large" {
            large = true;
        } else {
            texts.push(std::fs::read_to_string(arg).unwrap());
        }
    }
    for (name, value) in controls() {
        out.insert(format!("control_{name}_cycles"), value.into());
    }
    if !texts.is_empty() {
        let (pages, ops, recorded) = replay(&texts);
        out.insert("replay_million_pages_per_s".into(), pages.into());
        out.insert("replay_thousand_ops_per_s".into(), ops.into());
        out.insert("replay_with_results_thousand_ops_per_s".into(), recorded.into());
    }
    let [plain, counted, recorded] = observed();
    out.insert("counting_ratio".into(), (counted / plain).into());
    out.insert("recording_ratio".into(), (recorded / plain).into());
    let (local, atomic, per_page) = locks();
    out.insert("single_local_cycles".into(), local.into());
    out.insert("single_atomic_cycles".into(), atomic.into());
    out.insert("locks_per_page".into(), per_page.into());
    out.insert("atomic_cycles_per_lock".into(), ((atomic - local) / per_page).into());
    let small = everything(1);
    out.insert("all_of_1_gib_cycles_per_page".into(), small.0.into());
    if large {
        let big = everything(64);
        out.insert("all_of_64_gib_cycles_per_page".into(), big.0.into());
        out.insert("all_of_64_gib_ratio".into(), (big.0 / small.0).into());
    }
    println!("{}", serde_json::Value::Object(out));
}
