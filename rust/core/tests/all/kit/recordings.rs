//! The recordings of a real kernel.

use std::io::Read;
use std::path::{Path, PathBuf};

use bulkpages_core::recording::Recording;

/// Recordings of Linux 6.12.
pub(crate) fn recordings() -> Vec<PathBuf> {
    recordings_in("")
}

/// Recordings in a subdirectory, each of which has those of one kernel series.
pub(crate) fn recordings_in(era: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/recordings").join(era);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.to_string_lossy().ends_with(".jsonl.gz"));
    files.sort();
    files
}

pub(crate) fn text(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn load(path: &Path) -> Recording {
    Recording::parse(&text(path)).unwrap()
}
