//! Which zones a kernel has, which of them a request may use, and what they keep from each other.

use crate::kit::{snapshot, with_free, zone};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::Local;
use bulkpages_core::watermark::setup_per_zone_lowmem_reserve;
use bulkpages_core::zone_type::{ZoneType, ZoneTypes};
use bulkpages_core::{Ctx, Machine, Pfn};

const HIGHUSER: Gfp = Gfp(Gfp::USER.0 | Gfp::HIGHMEM.0);

/// Every build that kernels have: Normal and Movable, with any of the others.
fn builds() -> Vec<Vec<&'static str>> {
    let optional = [ZoneType::Dma, ZoneType::Dma32, ZoneType::HighMem, ZoneType::Device];
    let has = |bits: usize, zone| optional.iter().position(|&o| o == zone).is_none_or(|bit| bits & 1 << bit != 0);
    (0..16).map(|bits| ZoneType::ALL.into_iter().filter(|&z| has(bits, z)).map(ZoneType::name).collect()).collect()
}

/// A machine of these zones, each of 1024 free pages, lowest first.
fn of(names: &[&str]) -> Snapshot {
    let populated = names.iter().filter(|&&name| name != "Device").count();
    let zones = (0..populated).map(|i| {
        let mut zone = zone(0, i as u8, 4096 * (i as u64 + 1), 1024);
        zone.lowmem_reserve = vec![0; names.len()];
        zone
    });
    let mut state = snapshot(zones.collect(), &[0]);
    state.facts.zones = Some(names.iter().map(|&name| name.to_owned()).collect());
    state
}

fn machine(names: &[&str]) -> Machine<Local> {
    Machine::from_snapshot(&of(names)).unwrap()
}

/// The name of the zone that the next page comes from, while every zone has pages.
fn serves(m: &Machine<Local>, gfp: Gfp) -> &'static str {
    let pfn = m.alloc_pages(&mut Ctx::on(0), gfp, 0, None).unwrap().unwrap();
    m.zone_types().name(m.zone_of(pfn).unwrap().idx().into())
}

#[test]
fn a_request_gets_the_zone_it_asks_for_or_normal_where_there_is_none() {
    for names in builds() {
        let m = machine(&names);
        let or_normal = |name| if names.contains(&name) { name } else { "Normal" };
        assert_eq!(serves(&m, Gfp::KERNEL), "Normal", "{names:?}");
        assert_eq!(serves(&m, Gfp::KERNEL | Gfp::MOVABLE), "Normal", "{names:?}");
        assert_eq!(serves(&m, Gfp::HIGHUSER_MOVABLE), "Movable", "{names:?}");
        for (gfp, name) in [(Gfp::KERNEL | Gfp::DMA, "DMA"), (Gfp::KERNEL | Gfp::DMA32, "DMA32"), (HIGHUSER, "HighMem")]
        {
            assert_eq!(serves(&m, gfp), or_normal(name), "{names:?}");
        }
        assert_eq!(serves(&m, Gfp::KERNEL | Gfp::DMA32 | Gfp::MOVABLE), or_normal("DMA32"), "{names:?}");
    }
}

#[test]
fn a_request_falls_back_to_lower_zones_only() {
    let names = ["DMA", "Normal", "HighMem", "Movable"];
    let mut state = of(&names);
    for i in [1, 2, 3] {
        state.zones[i] = with_free(state.zones[i].clone(), 1);
    }
    let m: Machine<Local> = Machine::from_snapshot(&state).unwrap();
    let next = |gfp| serves(&m, gfp);
    assert_eq!([0; 4].map(|_| next(Gfp::HIGHUSER_MOVABLE)), ["Movable", "HighMem", "Normal", "DMA"]);
    assert_eq!(next(HIGHUSER), "DMA");
}

#[test]
fn a_state_comes_out_as_it_went_in_whatever_zones_it_has() {
    for names in builds() {
        let out = machine(&names).snapshot();
        assert_eq!(out.facts.zones.as_deref(), Some(&*names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()));
        assert!(out.zones.iter().zip(&names).all(|(zone, name)| zone.name == *name), "{names:?}");
        let again: Machine<Local> = Machine::from_snapshot(&out).unwrap();
        assert_eq!(again.snapshot(), out);
    }
}

#[test]
fn zones_that_no_kernel_has_are_refused() {
    for (names, why) in [
        (vec!["DMA", "Movable"], "Normal"),
        (vec!["Normal", "DMA"], "out of order"),
        (vec!["Normal", "Normal"], "out of order"),
        (vec!["Normal", "Low"], "\"Low\" is not one of"),
        (vec!["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device", "Movable"], "at most 6"),
    ] {
        let error = ZoneTypes::from_names(&names).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let mut state = of(&["Normal", "Movable"]);
    state.facts.zones = Some(vec!["Normal".into(), "Device".into()]);
    let error = Machine::<Local>::from_snapshot(&state).unwrap_err().to_string();
    assert!(error.contains("Device"), "{error}");
}

#[test]
fn an_index_without_a_zone_keeps_the_others_where_they_are() {
    let names = ["DMA", "", "Normal", "HighMem"];
    let types = ZoneTypes::from_names(&names).unwrap();
    assert_eq!(types.names(), names);
    assert_eq!((types.gfp_zone(Gfp::KERNEL | Gfp::DMA32), types.gfp_zone(HIGHUSER)), (2, 3));
    assert_eq!(types.gfp_zone(Gfp::HIGHUSER_MOVABLE), 3, "a build without Movable serves from the highest");
}

#[test]
fn each_zone_keeps_a_part_of_what_lies_above_it() {
    let types = ZoneTypes::from_names(&["DMA", "Normal", "HighMem", "Movable"]).unwrap();
    let reserve = setup_per_zone_lowmem_reserve(&types, &[4096, 204_800, 768_000, 0]);
    assert_eq!(reserve, [vec![0, 800, 3800, 3800], vec![0, 0, 24_000, 24_000], vec![0; 4], vec![0; 4]]);
}

#[test]
fn blocks_are_kept_apart_by_type_only_where_dma32_can_help_out() {
    // One small movable block in Normal; all else is below it.
    let served = |names: &[&str], pages: u64| {
        let mut state = of(names);
        let normal = names.iter().position(|&name| name == "Normal").unwrap();
        state.zones.truncate(normal + 1);
        state.zones[normal] = with_free(state.zones[normal].clone(), pages);
        state.zonelists = [(0, state.zones.iter().rev().map(|z| (z.nid, z.idx)).collect())].into();
        serves(&Machine::from_snapshot(&state).unwrap(), Gfp::KERNEL)
    };
    assert_eq!(served(&["DMA", "DMA32", "Normal", "Movable"], 8), "DMA32");
    assert_eq!(served(&["DMA", "Normal", "Movable"], 8), "Normal");
}

#[test]
fn counters_have_the_names_of_the_zones() {
    let m = machine(&["Normal", "HighMem", "Movable"]);
    assert_ne!(m.alloc_pages(&mut Ctx::on(0), HIGHUSER, 0, None).unwrap(), Some(Pfn::NULL));
    let of = |name| m.vmstat().into_iter().find(|counter| counter.0 == name).map(|counter| counter.1);
    assert_eq!((of("pgalloc_high"), of("pgalloc_normal"), of("pgalloc_dma")), (Some(1), Some(0), None));
}
