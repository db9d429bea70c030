//! Follows a trace: `follow TRACE STATES.json`, both plain text.
use std::io::Write;

use bulkpages_core::Machine;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::Local;
use bulkpages_trace::follow::Follower;
use bulkpages_trace::text::{Parser, What};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let mut out = std::io::stdout();
    let states: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&args[2])?)?;
    let snapshot: Snapshot = serde_json::from_value(states["before"].clone())?;
    let trace = std::fs::read(&args[1])?;
    for learn in [false, true] {
        let mut follower = Follower::new(Machine::<Local>::from_snapshot(&snapshot)?, learn);
        let mut parser = Parser::default();
        let mut on = false;
        for (i, line) in trace.split(|&b| b == b'\n').enumerate() {
            let line = parser.line(line);
            if line.what == What::Snapshot {
                on = !on;
            }
            if on {
                follower.line(i as u64 + 1, &line);
            }
        }
        let (mut report, machine) = follower.finish();
        let misses = std::mem::take(&mut report.misses);
        writeln!(out, "learn {learn}: {report:#?}")?;
        if let Err(e) = machine.audit() {
            writeln!(out, "{e}")?;
        }
        for miss in misses.iter().take(if args.len() > 3 { args[3].parse()? } else { 10 }) {
            writeln!(out, "{miss:?}")?;
        }
    }
    Ok(())
}
