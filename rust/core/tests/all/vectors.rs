//! Number vectors: watermarks, limits, the first refill, refill sizes, the benchmark's steady state, the bulk gate.

use crate::kit::{DMA32, booted, drains, failing, page, pages, set_marks, set_pcp, watched};
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::pcp::{zone_batchsize, zone_highsize};
use bulkpages_core::probe::Event;
use bulkpages_core::watermark::{
    calculate_min_free_kbytes, calculate_normal_threshold, set_recommended_min_free_kbytes,
    setup_per_zone_lowmem_reserve, setup_per_zone_wmarks,
};
use bulkpages_core::zone_type::{ZoneType, ZoneTypes};
use bulkpages_core::{Ctx, Pfn, Slot};

fn marks(zones: &[(ZoneType, u64)], kbytes: u64) -> Vec<[u64; 4]> {
    setup_per_zone_wmarks(zones, kbytes, 10).into_iter().map(|m| [m.min, m.low, m.high, m.promo]).collect()
}

const TWO: [(ZoneType, u64); 2] = [(ZoneType::Dma, 3840), (ZoneType::Dma32, 500_000)];
const THREE: [(ZoneType, u64); 3] = [(ZoneType::Dma, 3840), (ZoneType::Dma32, 765_000), (ZoneType::Normal, 240_000)];

/// With huge pages: from the marks that the square root gives.
fn with_thp(zones: &[(ZoneType, u64)], kbytes: u64) -> u64 {
    let high = marks(zones, kbytes);
    let above = zones.iter().zip(high).map(|(z, m)| z.1 - m[2]).sum();
    kbytes.max(set_recommended_min_free_kbytes(zones.len() as u64, above))
}

#[test]
fn watermarks_of_known_zones() {
    let kbytes = calculate_min_free_kbytes(503_840);
    assert_eq!(kbytes, 5678);
    assert_eq!(marks(&TWO, kbytes), [[10, 13, 16, 19], [1408, 1908, 2408, 2908]]);
    assert_eq!(with_thp(&TWO, kbytes), 45056);
    assert_eq!(marks(&TWO, 45056), [[85, 106, 127, 148], [11178, 13972, 16766, 19560]]);
    let kbytes = calculate_min_free_kbytes(3840 + 765_000 + 240_000);
    assert_eq!(kbytes, 8035);
    assert_eq!(marks(&THREE, kbytes), [[7, 10, 13, 16], [1522, 2287, 3052, 3817], [477, 717, 957, 1197]]);
    assert_eq!(with_thp(&THREE, kbytes), 67584);
    assert_eq!(marks(&THREE, 67584), [[64, 80, 96, 112], [12812, 16015, 19218, 22421], [4019, 5023, 6027, 7031]]);
    let reserve = setup_per_zone_lowmem_reserve(&ZoneTypes::PC, &[3840, 765_000, 240_000, 0]);
    assert_eq!(reserve[0], [0, 2988, 3925, 3925]);
    assert_eq!(reserve[1], [0, 0, 937, 937]);
    assert_eq!(setup_per_zone_lowmem_reserve(&ZoneTypes::PC, &[3840, 500_000, 0, 0])[0], [0, 1953, 1953, 1953]);
}

#[test]
fn a_live_host() {
    let zones = [(ZoneType::Dma, 3840), (ZoneType::Dma32, 772_915), (ZoneType::Normal, 688_128)];
    assert_eq!(marks(&zones, 67584), [[44, 55, 66, 77], [8914, 11142, 13370, 15598], [7936, 9920, 11904, 13888]]);
    assert_eq!(
        marks(&[(ZoneType::Dma, 3840), (ZoneType::Movable, 0)], 67584)[1],
        [32; 4],
        "an unpopulated MOVABLE zone"
    );
}

#[test]
fn limits_and_thresholds() {
    // managed, LOW, CPUs: batch, high_min, high_max, threshold
    for (managed, low, cpus, batch, high_min, high_max, threshold) in [
        (3840, 13, 2, 1, 6, 240, 4),
        (500_000, 1908, 2, 63, 954, 31_250, 20),
        (765_000, 2287, 2, 63, 1143, 47_812, 24),
        (240_000, 717, 2, 63, 358, 15_000, 16),
        (3840, 80, 2, 1, 40, 240, 4),
        (765_000, 16_015, 2, 63, 8007, 47_812, 24),
        (240_000, 5023, 2, 63, 2511, 15_000, 16),
        (3840, 80, 4, 1, 20, 120, 6),
        (765_000, 16_015, 4, 63, 4003, 23_906, 36),
        (240_000, 5023, 4, 63, 1255, 7500, 24),
        (772_915, 11_142, 2, 63, 5571, 48_307, 24),
        (688_128, 9920, 2, 63, 4960, 43_008, 24),
    ] {
        assert_eq!(zone_batchsize(managed), batch, "batch of {managed} pages");
        assert_eq!(zone_highsize(managed, low, cpus, batch, 0), (high_min, high_max), "{managed} pages, {cpus} CPUs");
        assert_eq!(calculate_normal_threshold(cpus, managed), threshold, "threshold of {managed} pages, {cpus} CPUs");
    }
    assert_eq!(zone_batchsize(176_128), 63);
    assert_eq!(zone_batchsize(176_127), 31);
}

#[test]
fn first_unmovable_refill() {
    // DMA32 is 4096..8191, four blocks of order 10.
    let m = booted(32, |s| set_pcp(&mut s.zones[DMA32], 63, 300, 30_000));
    let mut cx = watched();
    let slots = Slot::array(2);
    assert_eq!(m.alloc_pages_bulk::<NullOnly>(&mut cx, Gfp::KERNEL, None, &slots).unwrap(), 2);
    assert_eq!((slots[0].get(), slots[1].get()), (Pfn(4096), Pfn(4097)));
    let extfrag: Vec<_> = cx.probe.iter().filter(|e| matches!(e, Event::Extfrag { .. })).collect();
    let Event::Extfrag { page, alloc_order, fallback_order, change_ownership, .. } = *extfrag[0] else { panic!() };
    assert_eq!((extfrag.len(), page, alloc_order, fallback_order, change_ownership), (1, Pfn(4096), 0, 10, true));
    let locked: Vec<_> = cx
        .probe
        .iter()
        .filter_map(|e| if let Event::ZoneLocked { page, percpu_refill: true, .. } = e { Some(page.0) } else { None })
        .collect();
    assert_eq!(locked, (4097..4159).collect::<Vec<_>>());
    let zone = &m.snapshot().zones[DMA32];
    assert_eq!(zone.pcp[&0].lists[&0], (4098..4159).map(|p| (p, 0)).collect::<Vec<_>>());
    assert_eq!(zone.pageblocks, [(0, 2), (1, 6)]);
    assert_eq!(
        serde_json::to_string(&zone.free).unwrap(),
        r#"{"0":{"0":[4159]},"6":{"0":[4160]},"7":{"0":[4224]},"8":{"0":[4352]},"9":{"0":[4608]},"10":{"1":[5120,6144,7168]}}"#
    );
    assert_eq!(m.zone_info(DMA32).unwrap().free_pages, 4096 - 63);
}

/// A machine of 256 MiB whose marks never matter, with these limits.
fn quiet(batch: i32, high_min: i32, high_max: i32) -> bulkpages_core::Machine {
    booted(256, |s| {
        set_marks(&mut s.zones[DMA32], 10, 20, 30);
        set_pcp(&mut s.zones[DMA32], batch, high_min, high_max);
    })
}

fn refills(events: &[Event]) -> Vec<u32> {
    events.iter().filter_map(|e| if let Event::Refill { got, .. } = e { Some(*got) } else { None }).collect()
}

#[test]
fn refill_sizes() {
    let m = quiet(63, 300, 30_000);
    let mut cx = watched();
    let mut highs = Vec::new();
    let taken: Vec<Pfn> = (0..6000)
        .map(|_| {
            let before = refills(&cx.probe).len();
            let page = m.alloc_pages(&mut cx, Gfp::KERNEL, 0, None).unwrap().unwrap();
            if refills(&cx.probe).len() > before {
                let pcp = m.pcp_info(DMA32, 0).unwrap();
                highs.push((pcp.high, pcp.alloc_factor));
            }
            cx.probe.retain(|e| matches!(e, Event::Refill { .. }));
            page
        })
        .collect();
    assert_eq!(refills(&cx.probe), [63, 126, 252, 504, 1008, 2016, 2016, 2016]);
    assert_eq!(highs, [(363, 1), (489, 2), (741, 3), (1245, 4), (2253, 5), (4269, 5), (6285, 5), (8301, 5)]);
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().count, 2001);
    let mut cx = watched();
    for page in taken {
        m.free_pages(&mut cx, page, 0).unwrap();
    }
    assert!(drains(&cx.probe).is_empty());
    let pcp = m.pcp_info(DMA32, 0).unwrap();
    assert_eq!((pcp.count, pcp.free_count), (8001, 2016));
}

#[test]
fn refills_with_a_fixed_high() {
    let m = quiet(63, 300, 300);
    let mut cx = watched();
    let taken: Vec<Pfn> = (0..1000).map(|_| m.alloc_pages(&mut cx, Gfp::KERNEL, 0, None).unwrap().unwrap()).collect();
    assert_eq!(refills(&cx.probe), [63, 126, 237, 237, 237, 237]);
    let pcp = m.pcp_info(DMA32, 0).unwrap();
    assert_eq!((pcp.count, pcp.alloc_factor), (137, 2));
    let mut cx = watched();
    for page in taken {
        m.free_pages(&mut cx, page, 0).unwrap();
    }
    assert_eq!(drains(&cx.probe), [163, 237, 237, 237]);
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().count, 263);
}

#[test]
fn page_pool_steady_state() {
    let m = quiet(63, 300, 30_000);
    let mut cx = watched();
    let slots = Slot::array(64);
    for _ in 0..40 {
        assert_eq!(m.alloc_pages_bulk::<OutputOnly>(&mut cx, Gfp::ATOMIC, None, &slots).unwrap(), 64);
        m.free_bulk(&mut cx, &slots).unwrap();
    }
    assert_eq!(refills(&cx.probe), [63, 126]);
    assert!(drains(&cx.probe).is_empty());
    let pcp = m.pcp_info(DMA32, 0).unwrap();
    assert_eq!((pcp.count, pcp.high, pcp.free_count, pcp.alloc_factor), (189, 489, 2016, 0));
    let m = quiet(63, 300, 30_000);
    let slots = Slot::array(64);
    m.alloc_pages_bulk::<NullOnly>(&mut Ctx::on(0), Gfp::KERNEL, None, &slots).unwrap();
    assert_eq!(m.pcp_info(DMA32, 0).unwrap().count, 125);
}

/// Whether a bulk call of `n` slots takes the batch path when LOW is `low` and `free` pages are free.
fn takes_batch(free: i64, low: i64, n: usize) -> bool {
    let m = booted(64, |s| {
        let zone = &mut s.zones[DMA32];
        set_marks(zone, 1, low, low + 10);
    });
    // Straight from the buddy lists, so that the counter moves by one page each.
    let plan = FaultPlan { trylock: true.into(), ..FaultPlan::default() };
    let mut cx = Ctx { cpu: 0, probe: bulkpages_core::probe::NoProbe, fault: plan };
    while m.zone_info(DMA32).unwrap().nr_free > free {
        m.alloc_pages(&mut cx, Gfp::KERNEL, 0, None).unwrap().unwrap();
    }
    let mut cx = watched();
    let slots = Slot::array(n);
    m.alloc_pages_bulk::<OutputOnly>(&mut cx, Gfp::KERNEL | Gfp::DMA32, None, &slots).unwrap();
    let zone = cx.probe.iter().find_map(|e| if let Event::BulkZone { zone } = e { Some(*zone) } else { None });
    zone == Some(DMA32)
}

#[test]
fn the_bulk_gate_is_low_plus_the_array() {
    assert!(!takes_batch(976, 717, 259));
    assert!(takes_batch(977, 717, 259));
    assert!(!takes_batch(719, 717, 2));
    assert!(takes_batch(720, 717, 2));
    assert!(!takes_batch(5000, 717, 1), "one page is never a batch");
}

/// Whether an order-0 request succeeds with MIN 4019, LOW out of reach and `free` pages free.
fn succeeds(gfp: Gfp, free: i64, oom_victim: bool) -> bool {
    let mut m = booted(64, |s| {
        set_marks(&mut s.zones[DMA32], 1, 2, 3);
        // Without ZONE_DMA to fall back to.
        s.zonelists.insert(0, vec![(0, 1)]);
    });
    let plan = FaultPlan { trylock: true.into(), ..FaultPlan::default() };
    let mut cx = Ctx { cpu: 0, probe: bulkpages_core::probe::NoProbe, fault: plan };
    while m.zone_info(DMA32).unwrap().nr_free > free {
        m.alloc_pages(&mut cx, Gfp::KERNEL, 0, None).unwrap().unwrap();
    }
    let mut snapshot = m.snapshot();
    set_marks(&mut snapshot.zones[DMA32], 4019, 1 << 30, 1 << 30);
    m = bulkpages_core::Machine::from_snapshot(&snapshot).unwrap();
    m.set_task(bulkpages_core::slowpath::Task { oom_victim, ..Default::default() });
    page(&m, gfp).is_some()
}

#[test]
fn atomic_requests_see_a_smaller_minimum() {
    for (gfp, minimum) in [(Gfp(0x20 | 0x400 | 0x1_0000), 2010), (Gfp::ATOMIC, 1508), (Gfp::NOWAIT, 4019)] {
        assert!(!succeeds(gfp, minimum, false), "{gfp:?} with {minimum} free pages");
        assert!(succeeds(gfp, minimum + 1, false), "{gfp:?} with {} free pages", minimum + 1);
    }
    assert!(!succeeds(Gfp::NOWAIT, 2010, true));
    assert!(succeeds(Gfp::NOWAIT, 2011, true), "an OOM victim sees half of MIN");
    assert!(succeeds(Gfp::NOWAIT | Gfp::MEMALLOC, 1, false), "MEMALLOC ignores marks");
    assert!(!succeeds(Gfp::NOWAIT | Gfp::MEMALLOC | Gfp::NOMEMALLOC, 1508, false), "NOMEMALLOC beats MEMALLOC");
}

#[test]
fn calls_in_the_band() {
    // n = 16, F_usable = LOW + 5; the lists hold enough, so that no refill moves the counter.
    for (v1, singles, bulks) in [(true, 16, 0), (false, 12, 1)] {
        let m = booted(64, |s| {
            set_marks(&mut s.zones[DMA32], 1, 2, 3);
            set_pcp(&mut s.zones[DMA32], 63, 300, 300);
            s.zonelists.insert(0, vec![(0, 1)]);
        });
        let page = page(&m, Gfp::KERNEL).unwrap();
        m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
        let mut snapshot = m.snapshot();
        let low = snapshot.zones[DMA32].nr_free - 5;
        set_marks(&mut snapshot.zones[DMA32], 1, low, low + 1000);
        let m = bulkpages_core::Machine::<bulkpages_core::sync::Local>::from_snapshot(&snapshot).unwrap();
        let mut cx = watched();
        let slots = Slot::array(16);
        let mut filled = 0;
        while filled < 16 {
            filled = if v1 {
                m.alloc_pages_bulk::<NullOnly>(&mut cx, Gfp::KERNEL, None, &slots).unwrap()
            } else {
                filled + m.alloc_pages_bulk::<OutputOnly>(&mut cx, Gfp::KERNEL, None, &slots[filled..]).unwrap()
            };
        }
        let found = (
            crate::kit::count(&cx.probe, |e| matches!(e, Event::BulkSingle { .. })),
            crate::kit::count(&cx.probe, |e| matches!(e, Event::BulkZone { .. })),
        );
        assert_eq!(found, (singles, bulks), "v1: {v1}");
        assert_eq!(
            crate::kit::count(&cx.probe, |e| matches!(e, Event::WakeKswapd { .. })),
            0,
            "nobody wakes kswapd in the band"
        );
    }
}

#[test]
fn the_return_value_of_v1_depends_on_the_layout() {
    for (picture, v1) in [("x..xx.x.", 5), ("x.xx.x..", 6), ("x..x.x", 4)] {
        let m = booted(64, |_| {});
        let slots = crate::kit::array(&m, picture);
        let mut cx = failing(pages(2));
        assert_eq!(m.alloc_pages_bulk::<NullOnly>(&mut cx, Gfp::KERNEL, None, &slots).unwrap(), v1, "{picture}");
    }
}
