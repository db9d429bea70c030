//! Machines as they boot, changed a little.

use bulkpages_core::Machine;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::sync::Local;

/// Pages of a mebibyte.
pub(crate) const MIB: u64 = 256;
/// Index of DMA32 in a booted machine of less than 3.5 GiB and one node.
pub(crate) const DMA32: usize = 1;

/// A booted machine of `mib` MiB with one CPU, changed by `edit` before it starts.
pub(crate) fn booted(mib: u64, edit: impl FnOnce(&mut Snapshot)) -> Machine<Local> {
    booted_as(&BootSpec::new(mib * MIB, 1, 1), edit)
}

/// Any booted machine, changed by `edit` before it starts.
pub(crate) fn booted_as(spec: &BootSpec, edit: impl FnOnce(&mut Snapshot)) -> Machine<Local> {
    let mut snapshot = Machine::<Local>::boot(spec).unwrap().snapshot();
    edit(&mut snapshot);
    Machine::from_snapshot(&snapshot).unwrap()
}

/// Sets the limits of every CPU's lists of a zone.
pub(crate) fn set_pcp(zone: &mut ZoneState, batch: i32, high_min: i32, high_max: i32) {
    for pcp in zone.pcp.values_mut() {
        (pcp.batch, pcp.high_min, pcp.high_max) = (batch, high_min, high_max);
    }
}

/// Sets the marks of a zone, and makes its free counter exact at every moment.
pub(crate) fn set_marks(zone: &mut ZoneState, min: i64, low: i64, high: i64) {
    (zone.min, zone.low, zone.high, zone.promo) = (min, low, high, high);
    zone.thresh = 0;
    for pcp in zone.pcp.values_mut() {
        pcp.thresh = 0;
    }
}

/// The last `blocks` free blocks of the largest order in a zone become CMA's.
pub(crate) fn with_cma(snapshot: &mut Snapshot, zone: usize, blocks: u64) {
    let zone = &mut snapshot.zones[zone];
    let lists = zone.free.get_mut(&10).unwrap();
    let movable = lists.get_mut(&1).unwrap();
    let of_cma = movable.split_off(movable.len() - blocks as usize);
    let mut types: Vec<u32> = zone.pageblocks.iter().flat_map(|&(mt, n)| (0..n).map(move |_| mt)).collect();
    for first in &of_cma {
        let at = (first / 512 - zone.start / 512) as usize;
        types[at..at + 2].fill(4);
    }
    lists.insert(4, of_cma);
    zone.pageblocks = types.into_iter().map(|mt| (mt, 1)).collect();
}
