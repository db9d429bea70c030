//! Every recording of a real kernel, replayed page for page.

use crate::kit::{load, recordings, recordings_in};
use bulkpages_core::recording::{RawResult, Recording};
use bulkpages_core::replay::{OpResult, Replay};
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_core::{Ctx, Error, Machine};

fn replay<L: Locking>(recording: &Recording) -> Result<(), String> {
    let machine = Machine::<L>::from_snapshot(&recording.before).map_err(|e| e.to_string())?;
    assert_eq!(machine.snapshot(), recording.before, "a snapshot must come out as it went in");
    let names: Vec<String> = machine.zones().iter().map(|z| format!("{}.{}", z.nid(), z.idx())).collect();
    let mut replay = Replay::default();
    let mut result = OpResult::default();
    for (i, (raw, want)) in recording.ops.iter().enumerate() {
        let fail = |e: Error| format!("operation {i} {raw:?}: {e}");
        let op = raw.parse().map_err(fail)?;
        replay.check(&machine, &op).map_err(fail)?;
        replay.run(&machine, &mut Ctx::on(0), &op, &mut result).map_err(fail)?;
        let got = RawResult::of(&result, &names);
        if got != *want {
            return Err(format!("operation {i} {raw:?}\n expected {want:?}\n got      {got:?}"));
        }
    }
    machine.audit().map_err(|e| e.to_string())?;
    let after = machine.snapshot();
    for (got, want) in after.zones.iter().zip(&recording.after.zones) {
        let mut want = want.clone();
        want.movable.clone_from(&got.movable);
        if *got != want {
            return Err(format!("zone {}.{} after\n expected {want:?}\n got      {got:?}", got.nid, got.idx));
        }
    }
    let rest = |s: &Snapshot| (s.facts.clone(), s.zonelists.clone(), s.cpu_node.clone(), s.nodes.clone());
    if rest(&after) != rest(&recording.after) {
        let (got, want) = (after.nodes, &recording.after.nodes);
        return Err(format!("facts, zonelists, cpu_node or nodes differ after; nodes {got:?}, expected {want:?}"));
    }
    Ok(())
}

fn every_recording_replays(files: &[std::path::PathBuf], operations_and_pages: (usize, usize)) {
    let failed: Vec<_> = files
        .iter()
        .filter_map(|f| replay::<Local>(&load(f)).err().map(|e| format!("{}: {e:.2000}", f.display())))
        .collect();
    let totals = files.iter().map(|f| load(f)).fold((0, 0), |(ops, pages), r| {
        (ops + r.ops.len(), pages + r.ops.iter().map(|(_, want)| want.pages.len()).sum::<usize>())
    });
    assert!(failed.is_empty(), "{} of {} differ:\n{}", failed.len(), files.len(), failed.join("\n\n"));
    assert_eq!(totals, operations_and_pages, "operations and pages in {} recordings", files.len());
}

#[test]
fn every_recording_of_6_12_replays_page_for_page() {
    every_recording_replays(&recordings(), (52_407, 1_030_960));
}

#[test]
fn every_recording_of_6_1_replays_page_for_page() {
    every_recording_replays(&recordings_in("6.1"), (9_161, 367_322));
}

#[test]
fn every_recording_of_7_3_replays_page_for_page() {
    every_recording_replays(&recordings_in("7.3"), (9_168, 323_475));
}

#[test]
fn real_locks_change_nothing() {
    for file in recordings().iter().filter(|f| f.to_string_lossy().contains("mixed")) {
        replay::<Atomic>(&load(file)).unwrap();
    }
}
