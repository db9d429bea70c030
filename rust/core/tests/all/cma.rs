//! CMA blocks: who gets their pages, who does not, and how they are counted, in each era.

use crate::kit::{KERNEL, MOVABLE, add_free, booted_as, bulk, dma32, no_free, snapshot, watched, with_cma, with_marks};
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::OutputOnly;
use bulkpages_core::era::Era;
use bulkpages_core::gfp::{Gfp, Migratetype};
use bulkpages_core::probe::Event;
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Pfn, Slot};
use proptest::prelude::*;

/// Blocks 0 to 3 of a zone: Unmovable with `unmovable` free pages, Movable with `movable`, two of CMA with `cma`.
fn zone(unmovable: u64, movable: u64, cma: u64) -> ZoneState {
    let mut z = dma32(2048);
    no_free(&mut z);
    z.pageblocks = vec![(0, 1), (1, 1), (4, 2)];
    add_free(&mut z, 4096, 4096 + unmovable, 0);
    add_free(&mut z, 4608, 4608 + movable, 1);
    add_free(&mut z, 5120, 5120 + cma, 4);
    z
}

fn machine(era: Era, z: ZoneState) -> Machine<Local> {
    let mut s = snapshot(vec![z], &[0]);
    s.facts.kernel = Some(era.name().into());
    if era == Era::V6_1 {
        for pcp in s.zones[0].pcp.values_mut() {
            (pcp.free_factor, pcp.high_min, pcp.high_max) = (Some(0), pcp.high, pcp.high);
        }
    }
    Machine::from_snapshot(&s).unwrap()
}

fn page(m: &Machine<Local>, gfp: Gfp, order: u8) -> Option<Migratetype> {
    let page = m.alloc_pages(&mut Ctx::on(0), gfp, order, None).unwrap();
    m.audit().unwrap();
    page.map(|pfn| m.block_type(pfn))
}

#[test]
fn only_movable_pages_come_from_cma() {
    for era in Era::ALL {
        let only_cma = || machine(era, zone(0, 0, 64));
        assert_eq!(page(&only_cma(), KERNEL, 0), None, "{era:?}");
        assert_eq!(page(&only_cma(), Gfp(0xcd0), 0), None, "{era:?}");
        assert_eq!(page(&only_cma(), MOVABLE, 0), Some(Migratetype::Cma), "{era:?}");
        assert_eq!(page(&only_cma(), MOVABLE, 3), Some(Migratetype::Cma), "{era:?}");
        assert_eq!(page(&only_cma(), KERNEL, 3), None, "{era:?}");
    }
}

#[test]
fn cma_serves_first_while_more_than_half_of_what_is_free_is_its() {
    for era in Era::ALL {
        assert_eq!(page(&machine(era, zone(0, 64, 65)), MOVABLE, 0), Some(Migratetype::Cma), "{era:?}");
        assert_eq!(page(&machine(era, zone(0, 64, 64)), MOVABLE, 0), Some(Migratetype::Movable), "{era:?}");
        // Rather than a page of another type it takes one of CMA.
        assert_eq!(page(&machine(era, zone(128, 0, 64)), MOVABLE, 0), Some(Migratetype::Cma), "{era:?}");
        assert_eq!(page(&machine(era, zone(64, 0, 0)), MOVABLE, 0), Some(Migratetype::Unmovable), "{era:?}");
    }
}

#[test]
fn a_refill_goes_on_with_cma_and_then_with_other_types() {
    for era in Era::ALL {
        // A refill of 63 pages: 16 are Movable, 16 of CMA, the rest are stolen.
        let m = machine(era, zone(256, 16, 16));
        let mut cx = watched();
        m.alloc_pages(&mut cx, MOVABLE, 0, None).unwrap();
        m.audit().unwrap();
        let kinds: Vec<_> = cx
            .probe
            .iter()
            .filter_map(|e| match e {
                Event::ZoneLocked { page, .. } => Some(m.block_type(*page)),
                _ => None,
            })
            .collect();
        assert!(kinds[..16].iter().all(|&mt| mt == Migratetype::Movable), "{era:?} {kinds:?}");
        assert!(kinds[16..32].iter().all(|&mt| mt == Migratetype::Cma), "{era:?} {kinds:?}");
        assert!(kinds[32..].iter().all(|&mt| mt != Migratetype::Cma), "{era:?} {kinds:?}");
    }
}

#[test]
fn free_cma_pages_are_no_memory_for_others() {
    for era in Era::ALL {
        let m = machine(era, with_marks(zone(200, 0, 512), 0, 150, 150));
        let slots = Slot::array(64);
        // 200 pages are above LOW + 49 and not above LOW + 50.
        assert_eq!(bulk::<OutputOnly>(&m, &mut Ctx::on(0), KERNEL, &slots[..50]), 1, "{era:?}");
        let m = machine(era, with_marks(zone(200, 0, 512), 0, 150, 150));
        assert_eq!(bulk::<OutputOnly>(&m, &mut Ctx::on(0), KERNEL, &slots[..49]), 49, "{era:?}");
        let m = machine(era, with_marks(zone(200, 0, 512), 0, 150, 150));
        assert_eq!(bulk::<OutputOnly>(&m, &mut Ctx::on(0), MOVABLE, &slots), 64, "{era:?}");
        m.audit().unwrap();
    }
}

#[test]
fn pages_of_cma_wait_on_the_movable_list_and_go_back_to_cma() {
    for era in Era::ALL {
        let m = machine(era, zone(0, 0, 64));
        let before = m.snapshot();
        let got = m.alloc_pages(&mut Ctx::on(0), MOVABLE, 0, None).unwrap().unwrap();
        m.free_pages(&mut Ctx::on(0), got, 0).unwrap();
        let lists = &m.snapshot().zones[0].pcp[&0].lists;
        assert_eq!(lists.keys().copied().collect::<Vec<_>>(), [1], "{era:?}");
        assert!(lists[&1].iter().all(|&(_, mt)| mt == 4), "{era:?}");
        m.drain_local_pages(&mut Ctx::on(0)).unwrap();
        m.audit().unwrap();
        let after = m.snapshot();
        assert_eq!((&after.zones[0].free, after.zones[0].nr_free_cma), (&before.zones[0].free, Some(64)), "{era:?}");
    }
}

#[test]
fn free_cma_is_counted_by_way_of_each_cpus_difference() {
    let mut z = zone(0, 256, 256);
    (z.thresh, z.nr_free_cma) = (10, Some(250));
    let pcp = z.pcp.get_mut(&0).unwrap();
    (pcp.thresh, pcp.diff_free_cma) = (10, Some(6));
    let m = machine(Era::V6_12, z);
    let counted = || {
        let s = m.snapshot();
        (s.zones[0].nr_free_cma, s.zones[0].pcp[&0].diff_free_cma)
    };
    let take = |order| m.alloc_pages(&mut Ctx::on(0), MOVABLE, order, None).unwrap().map(|pfn| m.block_type(pfn));
    // 250 is not more than half of 512, so the Movable block goes first.
    assert_eq!((take(8), counted()), (Some(Migratetype::Movable), (Some(250), Some(6))));
    assert_eq!((take(4), counted()), (Some(Migratetype::Cma), (Some(250), Some(-10))));
    assert_eq!((take(4), counted()), (Some(Migratetype::Cma), (Some(224), Some(0))));
    m.audit().unwrap();
}

#[test]
fn a_state_with_cma_comes_out_as_it_went_in_and_one_without_says_nothing_of_it() {
    for era in Era::ALL {
        let s = machine(era, zone(3, 5, 9)).snapshot();
        assert_eq!(s.zones[0].nr_free_cma, Some(9));
        let again = Machine::<Local>::from_snapshot(&s).unwrap();
        assert_eq!(again.snapshot(), s);
        let text = serde_json::to_string(&s).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), s);
        let mut without = zone(3, 5, 0);
        without.pageblocks = vec![(0, 1), (1, 3)];
        assert!(!serde_json::to_string(&machine(era, without).snapshot()).unwrap().contains("cma"));
    }
}

#[test]
fn what_contradicts_itself_about_cma_is_refused() {
    let refused = |edit: fn(&mut ZoneState)| {
        let mut z = zone(3, 5, 9);
        edit(&mut z);
        Machine::<Local>::from_snapshot(&snapshot(vec![z], &[0])).unwrap_err().to_string()
    };
    assert!(refused(|z| z.nr_free_cma = Some(8)).contains("free CMA pages 8"));
    assert!(refused(|z| z.pageblocks = vec![(0, 1), (1, 3)]).contains("list of type 4"));
    assert!(refused(|z| z.pageblocks = vec![(0, 1), (5, 3)]).contains("pageblock type 5"));
    assert!(refused(|z| z.nr_free_cma = Some(1 << 50)).contains("nr_free_cma"));
    assert!(refused(|z| z.pcp.get_mut(&0).unwrap().diff_free_cma = Some(1000)).contains("diff_free_cma 1000"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_block_of_cma_changes_and_no_other_page_gets_there(
        era in prop::sample::select(Era::ALL.to_vec()),
        blocks in 1..6u64,
        steps in prop::collection::vec((any::<bool>(), prop::sample::select(vec![0, 0, 1, 3, 9, 10]), any::<bool>(), any::<usize>()), 1..300),
    ) {
        let spec = BootSpec { era, rules: era.rules(), ..BootSpec::new(64 * 256, 2, 1) };
        let m = booted_as(&spec, |s| with_cma(s, 1, blocks));
        let of_cma = |m: &Machine<Local>| {
            let zone = m.snapshot().zones.swap_remove(1);
            let mut at = zone.start / 512;
            let mut found = Vec::new();
            for (mt, count) in zone.pageblocks {
                found.extend((at..at + count).filter(|_| mt == 4));
                at += count;
            }
            found
        };
        let before = of_cma(&m);
        prop_assert_eq!(before.len() as u64, blocks * 2);
        let mut owned: Vec<(Pfn, u8)> = Vec::new();
        for (i, (free, order, movable, at)) in steps.into_iter().enumerate() {
            let mut cx = Ctx::on(i % 2);
            if free && !owned.is_empty() {
                let (pfn, order) = owned.swap_remove(at % owned.len());
                m.free_pages(&mut cx, pfn, order).unwrap();
            } else {
                let gfp = if movable { MOVABLE } else { KERNEL };
                if let Some(pfn) = m.alloc_pages(&mut cx, gfp, order, None).unwrap() {
                    prop_assert!(movable || m.block_type(pfn) != Migratetype::Cma, "step {i}");
                    owned.push((pfn, order));
                }
            }
            let audit = m.audit();
            prop_assert!(audit.is_ok(), "step {i}: {audit:?}");
        }
        prop_assert_eq!(of_cma(&m), before);
        let again = Machine::<Local>::restore(&m.save()).unwrap();
        prop_assert_eq!(again.snapshot(), m.snapshot());
    }
}
