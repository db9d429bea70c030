//! The boot-time formulas against the state of every recorded machine.
//!
//! A booted kernel's numbers come from the managed sizes at the time of their last computation, which are a little
//! smaller than the recorded ones: init memory was freed afterwards (spec 2.2). For each recording there must be one set
//! of sizes that gives all marks, per-CPU limits, reserves, thresholds and drift marks of all zones at once.

mod common;

use bulkpages_core::pcp::{zone_batchsize, zone_highsize};
use bulkpages_core::snapshot::{Snapshot, ZoneState};
use bulkpages_core::watermark::{
    LOWMEM_RESERVE_RATIO, THP_MIN_PAGES, is_lowmem, khugepaged_min_free_kbytes, lowmem_reserve, min_free_kbytes,
    normal_threshold, pressure_threshold, zone_marks,
};
use bulkpages_core::zonelist::node_order;
use common::{recordings, text};

/// Pages that boot frees after the formulas ran, at the most.
const MAX_FREED: u64 = 1024;

/// What was written before the recording began.
#[derive(Clone, Copy, Debug)]
struct Sysctl {
    min_free_kbytes: Option<u64>,
    scale: u64,
    high_fraction: u64,
    /// Marks and per-CPU limits were computed anew, from current sizes.
    marks_recomputed: bool,
    pcp_recomputed: bool,
}

fn header(text: &str) -> Sysctl {
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let get = |name: &str| header["sysctl"].get(name).and_then(serde_json::Value::as_u64);
    let marks = get("min_free_kbytes").is_some() || get("watermark_scale_factor").is_some();
    Sysctl {
        min_free_kbytes: get("min_free_kbytes"),
        scale: get("watermark_scale_factor").unwrap_or(10),
        high_fraction: get("percpu_pagelist_high_fraction").unwrap_or(0),
        marks_recomputed: marks,
        pcp_recomputed: marks || get("percpu_pagelist_high_fraction").is_some(),
    }
}

fn sizes(state: &Snapshot, managed: &[u64]) -> Vec<(u8, u64)> {
    state.zones.iter().zip(managed).map(|(z, &m)| (z.idx, m)).collect()
}

fn cpus_of(state: &Snapshot, nid: usize) -> u64 {
    match state.cpu_node.values().filter(|&&n| n == nid).count() {
        0 => state.cpu_node.len() as u64,
        n => n as u64,
    }
}

fn marks_of(zone: &ZoneState) -> [u64; 4] {
    [zone.min, zone.low, zone.high, zone.promo].map(|v| v as u64)
}

/// Marks and `min_free_kbytes` as boot leaves them: (early, after khugepaged started).
fn boot_marks(state: &Snapshot, managed: &[u64]) -> (Vec<[u64; 4]>, Vec<[u64; 4]>) {
    let sizes = sizes(state, managed);
    let lowmem = || state.zones.iter().enumerate().filter(|(_, z)| is_lowmem(z.idx));
    let plain = |m: Vec<bulkpages_core::watermark::Marks>| -> Vec<[u64; 4]> {
        m.into_iter().map(|m| [m.min, m.low, m.high, m.promo]).collect()
    };
    let kbytes = min_free_kbytes(lowmem().map(|(i, _)| managed[i]).sum());
    let early = plain(zone_marks(&sizes, kbytes, 10));
    if managed.iter().sum::<u64>() < THP_MIN_PAGES {
        return (early.clone(), early);
    }
    let above = lowmem().map(|(i, _)| managed[i].saturating_sub(early[i][2])).sum();
    let raised = kbytes.max(khugepaged_min_free_kbytes(lowmem().count() as u64, above));
    let late = plain(zone_marks(&sizes, raised, 10));
    (early, late)
}

fn reserves_fit(state: &Snapshot, managed: &[u64]) -> bool {
    state.zones.iter().all(|zone| {
        let mut node = [0; 4];
        for (other, &m) in state.zones.iter().zip(managed).filter(|(o, _)| o.nid == zone.nid) {
            node[usize::from(other.idx)] = m;
        }
        let reserve = lowmem_reserve(node, LOWMEM_RESERVE_RATIO)[usize::from(zone.idx)];
        zone.lowmem_reserve.iter().zip(reserve).all(|(&a, b)| a as u64 == b)
    })
}

/// Whether kswapd was awake, which shows in the reclaim-active flag of a zone.
fn kswapd_awake(state: &Snapshot) -> bool {
    state.zones.iter().any(|z| z.flags & 2 != 0)
}

fn fits(state: &Snapshot, sysctl: Sysctl, managed: &[u64]) -> bool {
    if !reserves_fit(state, managed) {
        return false;
    }
    let cpus = state.cpu_node.len() as u64;
    let (early, late) = boot_marks(state, managed);
    state.zones.iter().enumerate().all(|(i, zone)| {
        let normal = normal_threshold(cpus, managed[i]);
        let threshold = if kswapd_awake(state) && zone.drift_mark != 0 {
            pressure_threshold(cpus, zone.low as u64, zone.min as u64)
        } else {
            normal
        };
        let drift = cpus * normal;
        let drift_mark = if drift > early[i][1] - early[i][0] {
            early[i][2] + drift
        } else if cpus > 1 {
            drift
        } else {
            0
        };
        (sysctl.marks_recomputed || late[i] == marks_of(zone))
            && (sysctl.pcp_recomputed || pcp_fits(state, zone, managed[i], sysctl))
            && zone.thresh as u64 == threshold
            && zone.pcp.values().all(|p| p.thresh as u64 == threshold)
            && zone.drift_mark == drift_mark
    })
}

fn pcp_fits(state: &Snapshot, zone: &ZoneState, managed: u64, sysctl: Sysctl) -> bool {
    let batch = zone_batchsize(managed);
    let high = zone_highsize(managed, zone.low as u64, cpus_of(state, zone.nid), batch, sysctl.high_fraction);
    zone.pcp.values().all(|p| (p.batch, (p.high_min, p.high_max)) == (batch, high))
}

/// Sizes of each zone that could be right by themselves.
fn candidates(state: &Snapshot, sysctl: Sysctl) -> Vec<Vec<u64>> {
    state
        .zones
        .iter()
        .map(|zone| {
            // The first MiB of RAM is all that boot keeps of ZONE_DMA, and it never gives it back.
            let lowest = if zone.idx == 0 { zone.managed } else { zone.managed.saturating_sub(MAX_FREED) };
            (lowest..=zone.managed)
                .rev()
                .filter(|&m| sysctl.pcp_recomputed || pcp_fits(state, zone, m, sysctl))
                .collect()
        })
        .collect()
}

/// A set of sizes that explains everything: init memory lies in at most two zones.
fn find(state: &Snapshot, sysctl: Sysctl) -> Option<Vec<u64>> {
    let candidates = candidates(state, sysctl);
    let mut managed: Vec<u64> = candidates.iter().map(|c| c.first().copied()).collect::<Option<_>>()?;
    let n = managed.len();
    let start = managed.clone();
    for a in 0..n {
        for b in a..n {
            managed.copy_from_slice(&start);
            for &size in &candidates[a] {
                managed[a] = size;
                if a == b {
                    if fits(state, sysctl, &managed) {
                        return Some(managed);
                    }
                    continue;
                }
                for &other in &candidates[b] {
                    managed[b] = other;
                    if fits(state, sysctl, &managed) {
                        return Some(managed);
                    }
                }
            }
        }
    }
    None
}

#[test]
fn one_set_of_sizes_explains_each_recorded_machine() {
    for path in recordings() {
        let text = text(&path);
        let sysctl = header(&text);
        let state = before(&text);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let found = find(&state, sysctl);
        assert!(found.is_some(), "{name}: no set of managed sizes gives all recorded values");
        let freed: u64 = state.zones.iter().zip(found.unwrap()).map(|(z, m)| z.managed - m).sum();
        assert!(freed <= 2 * MAX_FREED, "{name}: {freed} pages would have been freed after boot");
    }
}

#[test]
fn what_was_written_at_run_time_follows_from_current_sizes() {
    let mut checked = 0;
    for path in recordings() {
        let text = text(&path);
        let sysctl = header(&text);
        let state = before(&text);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let current: Vec<u64> = state.zones.iter().map(|z| z.managed).collect();
        if let (true, Some(kbytes)) = (sysctl.marks_recomputed, sysctl.min_free_kbytes) {
            let marks = zone_marks(&sizes(&state, &current), kbytes, sysctl.scale);
            for (zone, m) in state.zones.iter().zip(marks) {
                assert_eq!(marks_of(zone), [m.min, m.low, m.high, m.promo], "{name} zone {}.{}", zone.nid, zone.idx);
                checked += 1;
            }
        }
        if sysctl.pcp_recomputed {
            for (zone, &managed) in state.zones.iter().zip(&current) {
                assert!(pcp_fits(&state, zone, managed, sysctl), "{name}: limits of zone {}.{}", zone.nid, zone.idx);
            }
        }
    }
    assert!(checked > 30, "only {checked} zones had their marks written at run time");
}

#[test]
fn zonelists_follow_from_nodes_and_cpus() {
    for path in recordings() {
        let state = before(&text(&path));
        let nodes = state.zonelists.len();
        let memory: Vec<bool> = (0..nodes).map(|n| state.zones.iter().any(|z| z.nid == n)).collect();
        let cpus: Vec<bool> = (0..nodes).map(|n| state.cpu_node.values().any(|&c| c == n)).collect();
        for (nid, order) in node_order(&memory, &cpus).iter().enumerate() {
            let zones: Vec<(usize, u8)> = order
                .iter()
                .flat_map(|&n| {
                    let mut idx: Vec<u8> = state.zones.iter().filter(|z| z.nid == n).map(|z| z.idx).collect();
                    idx.sort_unstable_by(|a, b| b.cmp(a));
                    idx.into_iter().map(move |i| (n, i))
                })
                .collect();
            assert_eq!(state.zonelists[&nid], zones, "{} node {nid}", path.display());
        }
    }
}

fn before(text: &str) -> Snapshot {
    #[derive(serde::Deserialize)]
    struct Before {
        before: Snapshot,
    }
    serde_json::from_str::<Before>(text.lines().nth(1).unwrap()).unwrap().before
}
