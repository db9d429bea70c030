//! Boot-time numbers of every recorded machine: one set of managed sizes gives all of them at once.
//!
//! A booted machine's numbers do not follow from its current sizes: init memory is freed, and raises them, after
//! everything was computed. The boot log of the recorded kernel says 705 pages. In which zones they lay is not
//! recorded, so the tests look for a distribution over zones that explains every number, to the last unit.

use std::collections::BTreeMap;

use bulkpages_core::pcp::{zone_batchsize, zone_highsize};
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::watermark::{
    Marks, THP_MIN_PAGES, calculate_min_free_kbytes, calculate_normal_threshold, calculate_pressure_threshold,
    set_recommended_min_free_kbytes, setup_per_zone_lowmem_reserve, setup_per_zone_wmarks,
};
use bulkpages_core::zone_type::{ZoneType, ZoneTypes};
use bulkpages_core::zonelist::build_zonelists;

/// Pages that were freed after boot had computed its numbers.
const FREED_LATE: u64 = 705;

/// Kernel defaults of `watermark_scale_factor` and `percpu_pagelist_high_fraction`.
const SCALE_FACTOR: u64 = 10;

#[derive(serde::Deserialize)]
struct Header {
    case: String,
    sysctl: BTreeMap<String, u64>,
}

struct Case {
    header: Header,
    before: Snapshot,
}

fn cases() -> Vec<Case> {
    let files = crate::kit::recordings();
    assert_eq!(files.len(), 28);
    files
        .iter()
        .map(|file| {
            let text = crate::kit::text(file);
            let header = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            Case { header, before: crate::kit::load(file).before }
        })
        .collect()
}

/// The zone that an index means on a PC.
fn kind(zone: &ZoneState) -> ZoneType {
    ZoneTypes::PC.get(zone.idx.into()).unwrap()
}

impl Case {
    fn zones(&self) -> &[ZoneState] {
        &self.before.zones
    }

    fn sysctl(&self, name: &str) -> Option<u64> {
        self.header.sysctl.get(name).copied()
    }

    fn cpus(&self) -> u64 {
        self.before.cpu_node.len() as u64
    }

    /// CPUs among which a zone's pages are shared out: those of its node, all where it has none.
    fn cpus_of(&self, zone: &ZoneState) -> u64 {
        let local = self.before.cpu_node.values().filter(|&&node| node == zone.nid).count() as u64;
        if local == 0 { self.cpus() } else { local }
    }

    /// Zones with the given sizes.
    fn sized(&self, managed: &[u64]) -> Vec<(ZoneType, u64)> {
        self.zones().iter().zip(managed).map(|(z, &m)| (kind(z), m)).collect()
    }

    /// The marks of boot, before and after khugepaged, and the `min_free_kbytes` of the latter.
    fn boot_marks(&self, managed: &[u64]) -> (Vec<Marks>, u64) {
        let sizes = self.sized(managed);
        let lowmem = || sizes.iter().zip(0..).filter(|(z, _)| z.0.is_lowmem());
        let mut kbytes = calculate_min_free_kbytes(lowmem().map(|(z, _)| z.1).sum());
        let early = setup_per_zone_wmarks(&sizes, kbytes, SCALE_FACTOR);
        if managed.iter().sum::<u64>() >= THP_MIN_PAGES {
            let above_high = lowmem().map(|(z, i): (_, usize)| z.1 - early[i].high).sum();
            kbytes = kbytes.max(set_recommended_min_free_kbytes(lowmem().count() as u64, above_high));
        }
        (early, kbytes)
    }

    /// The first recorded number that these boot sizes do not give.
    fn contradiction(&self, boot: &[u64]) -> Option<String> {
        let (early, boot_kbytes) = self.boot_marks(boot);
        for (i, zone) in self.zones().iter().enumerate() {
            let name = format!("zone {}.{}", zone.nid, zone.idx);
            let mut node = [0; 4];
            for (other, &managed) in self.zones().iter().zip(boot).filter(|(o, _)| o.nid == zone.nid) {
                node[usize::from(other.idx)] = managed;
            }
            let reserves = setup_per_zone_lowmem_reserve(&ZoneTypes::PC, &node);
            let reserve: Vec<i64> = reserves[usize::from(zone.idx)].iter().map(|&r| r as i64).collect();
            if zone.lowmem_reserve != reserve {
                return Some(format!("{name}: reserve {reserve:?}, recorded {:?}", zone.lowmem_reserve));
            }
            // The second CPU's refresh set a drift mark before any mark existed; that of boot overwrites it where the
            // band between MIN and LOW is narrow, with the marks of that moment.
            let normal = calculate_normal_threshold(self.cpus(), boot[i]);
            let max_drift = self.cpus() * normal;
            let drift = match early[i] {
                marks if max_drift > marks.low - marks.min => marks.high + max_drift,
                _ if self.cpus() > 1 => max_drift,
                _ => 0,
            };
            if zone.drift_mark != drift {
                return Some(format!("{name}: drift mark {drift}, recorded {}", zone.drift_mark));
            }
            let reclaim_active = zone.flags & 2 != 0;
            let threshold = match reclaim_active && zone.drift_mark != 0 {
                true => calculate_pressure_threshold(self.cpus(), zone.low as u64, zone.min as u64),
                false => normal,
            };
            if zone.thresh as u64 != threshold || zone.pcp.values().any(|p| p.thresh as u64 != threshold) {
                return Some(format!("{name}: threshold {threshold}, recorded {}", zone.thresh));
            }
        }
        // What was written at run time made the kernel compute marks and limits anew, from the sizes of that moment.
        let now: Vec<u64> = self.zones().iter().map(|z| z.managed).collect();
        let scale = self.sysctl("watermark_scale_factor");
        let written = self.sysctl("min_free_kbytes").or(scale).is_some();
        let fraction = self.sysctl("percpu_pagelist_high_fraction").unwrap_or(0);
        let kbytes = self.sysctl("min_free_kbytes").unwrap_or(boot_kbytes);
        let sizes = self.sized(if written { &now } else { boot });
        let marks = setup_per_zone_wmarks(&sizes, kbytes, scale.unwrap_or(SCALE_FACTOR));
        for (i, zone) in self.zones().iter().enumerate() {
            let name = format!("zone {}.{}", zone.nid, zone.idx);
            let recorded = [zone.min, zone.low, zone.high, zone.promo].map(|m| m as u64);
            let Marks { min, low, high, promo } = marks[i];
            if recorded != [min, low, high, promo] {
                return Some(format!("{name}: {:?}, recorded {recorded:?}", marks[i]));
            }
            let managed = if written || fraction != 0 { now[i] } else { boot[i] };
            let batch = zone_batchsize(managed);
            let (high_min, high_max) = zone_highsize(managed, low, self.cpus_of(zone), batch, fraction);
            for pcp in zone.pcp.values() {
                if (pcp.batch, pcp.high_min, pcp.high_max) != (batch, high_min, high_max) {
                    return Some(format!(
                        "{name}: batch {batch}, high_min {high_min}, high_max {high_max}, recorded {}, {}, {}",
                        pcp.batch, pcp.high_min, pcp.high_max
                    ));
                }
            }
        }
        None
    }

    /// A distribution of the pages freed late over the zones above DMA that explains everything.
    fn explain(&self) -> Option<Vec<u64>> {
        let mut sizes: Vec<u64> = self.zones().iter().map(|z| z.managed).collect();
        let above_dma: Vec<usize> = (0..sizes.len()).filter(|&i| kind(&self.zones()[i]) != ZoneType::Dma).collect();
        self.distribute(&mut sizes, &above_dma, FREED_LATE)
    }

    fn distribute(&self, sizes: &mut Vec<u64>, zones: &[usize], pages: u64) -> Option<Vec<u64>> {
        let (&zone, others) = zones.split_first()?;
        // The last zone takes what is left, so the first distributions tried put all into one zone.
        let least = if others.is_empty() { pages } else { 0 };
        for here in least..=pages {
            sizes[zone] -= here;
            // DMA's reserves are sums over the zones above it in its node: a sum that is off already stays so once the
            // zones that remain lie in other nodes.
            let hopeful =
                others.is_empty() || !others.iter().all(|&o| self.zones()[o].nid != 0) || self.dma_fits(sizes);
            let found = match others.is_empty() {
                true => self.contradiction(sizes).is_none().then(|| sizes.clone()),
                false if hopeful => self.distribute(sizes, others, pages - here),
                false => None,
            };
            sizes[zone] += here;
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn dma_fits(&self, sizes: &[u64]) -> bool {
        let above = |(z, _): &(&ZoneState, &u64)| z.nid == 0 && kind(z) != ZoneType::Dma;
        let sum: u64 = self.zones().iter().zip(sizes).filter(above).map(|(_, s)| s).sum();
        (sum / ZoneType::Dma.lowmem_reserve_ratio()) as i64 == self.zones()[0].lowmem_reserve[3]
    }
}

#[test]
fn one_set_of_sizes_gives_every_number_of_every_recording() {
    let unexplained: Vec<_> = cases()
        .iter()
        .filter(|case| case.explain().is_none())
        .map(|case| {
            let now: Vec<u64> = case.zones().iter().map(|z| z.managed).collect();
            format!("{}: with the current sizes, {}", case.header.case, case.contradiction(&now).unwrap_or_default())
        })
        .collect();
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

#[test]
fn the_same_split_explains_all_machines_of_two_nodes() {
    // The same image boots on all of them, so what it frees in each node should not depend on the case.
    let cases = cases();
    let numa: Vec<_> = cases.iter().filter(|c| c.before.zonelists.len() == 2).collect();
    assert_eq!(numa.len(), 5);
    let splits = (0..=FREED_LATE).filter(|first| {
        numa.iter().all(|case| {
            let mut sizes: Vec<u64> = case.zones().iter().map(|z| z.managed).collect();
            sizes[1] -= first;
            sizes[2] -= FREED_LATE - first;
            case.contradiction(&sizes).is_none()
        })
    });
    let splits: Vec<_> = splits.collect();
    assert!(!splits.is_empty(), "no split of {FREED_LATE} pages fits all five");
    assert!(splits.iter().all(|first| (435..=438).contains(first)), "{splits:?}");
}

#[test]
fn current_sizes_do_not_explain_a_booted_machine() {
    // Otherwise the search above would prove nothing. Only reserves are recomputed by nobody afterwards.
    for case in cases() {
        let now: Vec<u64> = case.zones().iter().map(|z| z.managed).collect();
        assert!(case.contradiction(&now).is_some(), "{}", case.header.case);
    }
}

#[test]
fn min_free_kbytes_of_boot_lies_in_the_set_that_the_marks_allow() {
    let mut booted = 0;
    for case in cases().iter().filter(|c| c.sysctl("min_free_kbytes").is_none()) {
        let sizes = case.explain().unwrap();
        let lowmem: u64 = case.zones().iter().zip(&sizes).filter(|(z, _)| kind(z).is_lowmem()).map(|(_, s)| s).sum();
        // MIN = floor(pages_min * managed / lowmem), zone by zone, bounds pages_min from both sides.
        let (mut least, mut most) = (0, u64::MAX);
        for (zone, managed) in case.zones().iter().zip(&sizes).filter(|(z, _)| kind(z).is_lowmem()) {
            least = least.max((zone.min as u64 * lowmem).div_ceil(*managed));
            most = most.min(((zone.min as u64 + 1) * lowmem - 1) / managed);
        }
        let (_, kbytes) = case.boot_marks(&sizes);
        assert!((least..=most).contains(&(kbytes >> 2)), "{}: {kbytes} kB", case.header.case);
        // The set is narrow: the marks of all zones together leave a handful of values.
        assert!(most - least < 4, "{}: {least}..={most} pages", case.header.case);
        booted += 1;
    }
    assert_eq!(booted, 11, "recordings in which nobody wrote min_free_kbytes");
}

#[test]
fn zonelists_follow_from_the_node_order() {
    for case in cases() {
        let nodes = case.before.zonelists.len();
        let memory: Vec<bool> = (0..nodes).map(|n| case.zones().iter().any(|z| z.nid == n)).collect();
        let cpus: Vec<bool> = (0..nodes).map(|n| case.before.cpu_node.values().any(|&c| c == n)).collect();
        for (nid, order) in build_zonelists(&memory, &cpus).into_iter().enumerate() {
            let zones_of = |n| case.zones().iter().rev().filter(move |z| z.nid == n).map(|z| (z.nid, z.idx));
            let list: Vec<_> = order.into_iter().flat_map(zones_of).collect();
            assert_eq!(list, case.before.zonelists[&nid], "{} node {nid}", case.header.case);
        }
    }
}
