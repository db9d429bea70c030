//! The seeds of the fuzz targets, and what fuzzing found once.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

#[path = "../../../../fuzz/src/operations.rs"]
mod operations;
#[path = "../../../../fuzz/src/recording.rs"]
mod recording;
#[path = "../../../../fuzz/src/snapshot.rs"]
mod snapshot;
#[path = "../../../../fuzz/src/trace.rs"]
mod trace;

fn each_seed(target: &str, one: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    let sound = |seed: &PathBuf| {
        let data = fs::read(seed).unwrap();
        panic::catch_unwind(|| one(&data)).is_ok()
    };
    let wrong: Vec<_> = seeds.iter().filter(|seed| !sound(seed)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn operations_keep_the_machine_sound() {
    each_seed("operations", operations::one);
}

#[test]
fn a_state_is_refused_or_becomes_a_sound_machine() {
    each_seed("snapshot", snapshot::one);
}

#[test]
fn a_recording_is_refused_or_replays_on_a_sound_machine() {
    each_seed("recording", recording::one);
}

#[test]
fn a_trace_leaves_the_machine_sound() {
    each_seed("trace", trace::one);
}
