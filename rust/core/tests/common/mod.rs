//! What several tests of the core share: the recordings, and machines made to measure.
#![allow(dead_code, unreachable_pub)]

use std::io::Read;
use std::path::{Path, PathBuf};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::fault::{Ctx, Fault, FaultPlan, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Event;
use bulkpages_core::recording::Recording;
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::sync::Local;
use bulkpages_core::{Machine, Pfn, Slot};

pub const MIB: u64 = 256;

/// Recordings of Linux 6.12.
pub fn recordings() -> Vec<PathBuf> {
    recordings_in("")
}

/// Recordings in a subdirectory, each of which has those of one kernel series.
pub fn recordings_in(era: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/recordings").join(era);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.to_string_lossy().ends_with(".jsonl.gz"));
    files.sort();
    files
}

pub fn text(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

pub fn load(path: &Path) -> Recording {
    Recording::parse(&text(path)).unwrap()
}

/// A booted machine of `mib` MiB with one CPU, changed by `edit` before it starts.
pub fn machine(mib: u64, edit: impl FnOnce(&mut Snapshot)) -> Machine<Local> {
    machine_of(&BootSpec::new(mib * MIB, 1, 1), edit)
}

pub fn machine_of(spec: &BootSpec, edit: impl FnOnce(&mut Snapshot)) -> Machine<Local> {
    let mut snapshot = Machine::<Local>::boot(spec).unwrap().snapshot();
    edit(&mut snapshot);
    Machine::from_snapshot(&snapshot).unwrap()
}

/// Sets the limits of every CPU's lists of a zone.
pub fn set_pcp(zone: &mut ZoneState, batch: i32, high_min: i32, high_max: i32) {
    for pcp in zone.pcp.values_mut() {
        (pcp.batch, pcp.high_min, pcp.high_max) = (batch, high_min, high_max);
    }
}

/// Sets the marks of a zone, and makes its free counter exact at every moment.
pub fn set_marks(zone: &mut ZoneState, min: i64, low: i64, high: i64) {
    (zone.min, zone.low, zone.high, zone.promo) = (min, low, high, high);
    zone.thresh = 0;
    for pcp in zone.pcp.values_mut() {
        pcp.thresh = 0;
    }
}

/// Index of DMA32 in a booted machine of less than 3.5 GiB and one node.
pub const DMA32: usize = 1;

pub fn alloc(m: &Machine<Local>, gfp: Gfp) -> Option<Pfn> {
    m.alloc_pages(&mut Ctx::on(0), gfp, 0, None).unwrap()
}

/// An array with a page for each `x` of the picture.
pub fn array(m: &Machine<Local>, picture: &str) -> Box<[Slot]> {
    let slots = Slot::array(picture.len());
    for (slot, c) in slots.iter().zip(picture.chars()) {
        if c == 'x' {
            slot.set(alloc(m, Gfp::KERNEL).unwrap());
        }
    }
    slots
}

pub fn picture(slots: &[Slot]) -> String {
    slots.iter().map(|s| if s.get().is_null() { '.' } else { 'x' }).collect()
}

/// A context on CPU 0 that keeps every event.
pub fn watch() -> Ctx<Vec<Event>, NoFault> {
    Ctx { cpu: 0, probe: Vec::new(), fault: NoFault }
}

/// The same with a fault plan.
pub fn watch_with(fault: FaultPlan) -> Ctx<Vec<Event>, FaultPlan> {
    Ctx { cpu: 0, probe: Vec::new(), fault }
}

pub fn pages(n: i64) -> FaultPlan {
    FaultPlan { pages: Some(n.into()), ..FaultPlan::default() }
}

pub fn count<F: Fault>(cx: &Ctx<Vec<Event>, F>, f: impl Fn(&Event) -> bool) -> usize {
    cx.probe.iter().filter(|e| f(e)).count()
}

/// `mm_page_alloc` events.
pub fn page_allocs<F: Fault>(cx: &Ctx<Vec<Event>, F>) -> usize {
    count(cx, |e| matches!(e, Event::PageAlloc { .. }))
}

/// The compaction of the patched callers.
pub fn compact(slots: &[Slot]) -> usize {
    let pages: Vec<Pfn> = slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect();
    for (i, slot) in slots.iter().enumerate() {
        slot.set(pages.get(i).copied().unwrap_or(Pfn::NULL));
    }
    pages.len()
}
