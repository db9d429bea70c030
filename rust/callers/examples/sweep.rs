//! Times the failure sweep and the misuse score: `cargo run --release -p bulkpages-callers --example sweep`.

use std::time::Instant;

use bulkpages_callers::sweep::{Scope, Verdict, misuse, sweep};

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let scope = Scope { callers: &[], largest: 2_000, pairs_up_to: 16, threads };
    let start = Instant::now();
    let rows = sweep(&scope, &|_, _| true).expect("the cases fit");
    let runs: usize = rows.iter().map(|r| r.runs.len()).sum();
    println!("sweep: {} cases, {} rows, {runs} runs, {:.1?}", scope.cases().len(), rows.len(), start.elapsed());
    let odd = rows.iter().flat_map(|r| &r.runs).filter(|(_, o)| o.corrupt() || o.leaked > 0 || o.crash.is_some());
    println!("runs of right code with a leak, corruption or crash: {}", odd.count());
    for row in &rows {
        if let Some((k, o)) = row.runs.iter().find(|(_, o)| o.corrupt() || o.leaked > 0 || o.crash.is_some()) {
            println!("  {} {:?} {} {:?} at {k:?}: {o:?}", row.case.target.caller(), row.form, row.case.target.label(), row.stops);
        }
    }
    let start = Instant::now();
    let scores = misuse(&scope, &|_, _| true).expect("the cases fit");
    println!("misuse: {:.1?}", start.elapsed());
    for s in &scores {
        let tally = |t: &[u64; 6]| Verdict::ALL.map(|v| format!("{} {}", t[v as usize], v.name())).join(", ");
        println!("{:30} {:8} {:22} plain: {:10} worst: {:10} [{}]", s.caller, s.form.name(), s.slip.name(), s.plain_verdict().name(), s.verdict().name(), tally(&s.failing));
    }
}
