//! Machines right after boot.

use bulkpages_core::boot::BootSpec;
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::sync::Local;
use bulkpages_core::{Error, Machine};

const MIB: u64 = 256;

fn boot(spec: &BootSpec) -> Snapshot {
    let machine = Machine::<Local>::boot(spec).unwrap();
    let audit = machine.audit().unwrap();
    assert_eq!((audit.managed, audit.allocated, audit.kernel), (audit.free, 0, 0));
    let snapshot = machine.snapshot();
    // What boots can be loaded.
    assert_eq!(Machine::<Local>::from_snapshot(&snapshot).unwrap().snapshot(), snapshot);
    snapshot
}

fn names(snapshot: &Snapshot) -> Vec<(usize, &str, u64, u64, u64)> {
    snapshot.zones.iter().map(|z| (z.nid, z.name.as_str(), z.start, z.spanned, z.managed)).collect()
}

#[test]
fn the_dma_zone_is_the_one_of_every_pc() {
    let snapshot = boot(&BootSpec::new(1024 * MIB, 2, 1));
    let ZoneState { start, spanned, present, managed, free, pageblocks, .. } = &snapshot.zones[0];
    assert_eq!((*start, *spanned, *present, *managed), (1, 4095, 3998, 3840));
    assert_eq!(*pageblocks, [(0, 1), (1, 7)]);
    assert_eq!(
        serde_json::to_string(free).unwrap(),
        r#"{"8":{"0":[256]},"9":{"1":[512]},"10":{"1":[1024,2048,3072]}}"#
    );
}

#[test]
fn ram_is_laid_out_as_in_a_pc() {
    assert_eq!(names(&boot(&BootSpec::new(1024 * MIB, 2, 1)))[1..], [(0, "DMA32", 4096, 258_048, 258_048)]);
    // From 3.5 GiB on, 3 GiB are low.
    let snapshot = boot(&BootSpec::new(3584 * MIB, 2, 1));
    assert_eq!(
        names(&snapshot)[1..],
        [(0, "DMA32", 4096, 782_336, 782_336), (0, "Normal", 1 << 20, 512 * MIB, 512 * MIB)]
    );
    assert_eq!(names(&boot(&BootSpec::new(3583 * MIB, 2, 1))).len(), 2);
}

#[test]
fn movablecore_begins_where_the_recorded_kernel_put_it() {
    // The recording zones4-5g-mixed: 5 GiB, movablecore=768M.
    let spec = BootSpec { movablecore_pages: Some(768 * MIB), ..BootSpec::new(5120 * MIB, 2, 1) };
    let snapshot = boot(&spec);
    let found = names(&snapshot);
    assert_eq!(found[2], (0, "Normal", 1_048_576, 327_680, 327_680));
    assert_eq!((found[3].1, found[3].2, found[3].3), ("Movable", 1_376_256, 196_608));
    assert_eq!(snapshot.zonelists[&0], [(0, 3), (0, 2), (0, 1), (0, 0)]);
    assert_eq!(snapshot.zones[3].min, 128);
}

#[test]
fn nodes_have_equal_shares_and_their_own_zonelists() {
    let snapshot = boot(&BootSpec::new(1024 * MIB, 4, 2));
    assert_eq!(names(&snapshot)[2], (1, "DMA32", 131_072, 131_072, 131_072));
    assert_eq!(snapshot.zonelists[&1], [(1, 1), (0, 1), (0, 0)]);
    assert_eq!(snapshot.cpu_node.values().copied().collect::<Vec<_>>(), [0, 0, 1, 1]);
}

#[test]
fn free_lists_are_ascending_and_on_movable_lists() {
    for (memory, nodes) in [(64 * MIB, 1), (1000 * MIB, 3), (9000 * MIB, 4), (77 * MIB + 123, 1)] {
        for zone in boot(&BootSpec::new(memory, 4, nodes)).zones {
            for (order, lists) in zone.free {
                for (mt, list) in lists {
                    assert!(list.is_sorted(), "zone {}.{} order {order} type {mt}", zone.nid, zone.idx);
                    assert!(mt == 1 || list.iter().all(|&pfn| pfn < 512), "only the first block is not MOVABLE");
                }
            }
            assert_eq!(zone.nr_free as u64, zone.managed);
        }
    }
}

#[test]
fn marks_and_limits_follow_the_formulas() {
    // Below 512 MiB the square root, above it what khugepaged asks for.
    let small = boot(&BootSpec::new(256 * MIB, 2, 1));
    let kbytes = ((small.zones.iter().map(|z| z.managed).sum::<u64>() * 64).isqrt()) >> 2;
    let mins: i64 = small.zones.iter().map(|z| z.min).sum();
    assert!((kbytes as i64 - 1..=kbytes as i64).contains(&mins), "{mins} of {kbytes}");
    let large = boot(&BootSpec::new(5120 * MIB, 2, 1));
    let total: i64 = large.zones.iter().map(|z| z.min).sum();
    assert!((67_584 / 4 - 3..=67_584 / 4).contains(&total), "three zones ask for 67584 kB, got {total} pages");
    let off = boot(&BootSpec { thp: false, ..BootSpec::new(5120 * MIB, 2, 1) });
    assert!(off.zones[1].min < large.zones[1].min);
    assert_eq!(large.zones[1].pcp[&0].batch, 63);
    assert_eq!(large.zones[1].thresh, 24);
    assert_eq!(large.zones[0].lowmem_reserve[1], ((782_336 / 256) as i64));
}

#[test]
fn eight_mebibytes_have_no_mobility_grouping() {
    assert_eq!(boot(&BootSpec::new(7 * MIB, 1, 1)).facts.mobility_disabled, 1);
    assert_eq!(boot(&BootSpec::new(16 * MIB, 1, 1)).facts.mobility_disabled, 0);
}

#[test]
fn impossible_machines_are_refused_with_the_limit() {
    for (spec, word) in [
        (BootSpec::new(0, 1, 1), "memory of 0"),
        (BootSpec::new(1 << 40, 1, 1), "memory of"),
        (BootSpec::new(1024 * MIB, 0, 1), "cpus 0"),
        (BootSpec::new(1024 * MIB, 300, 1), "cpus 300"),
        (BootSpec::new(1024 * MIB, 1, 0), "nodes 0"),
        (BootSpec::new(1024 * MIB, 1, 17), "nodes 17"),
        (BootSpec::new(8 * MIB, 1, 4), "for 4 nodes"),
        (BootSpec { movablecore_pages: Some(1024 * MIB), ..BootSpec::new(1024 * MIB, 1, 1) }, "movablecore"),
    ] {
        match Machine::<Local>::boot(&spec) {
            Err(Error::InvalidArgument(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{spec:?}: {other:?}"),
        }
    }
}
