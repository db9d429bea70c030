//! Kernel: `mm/page_alloc.c`, `build_zonelists()`, `find_next_best_node()`; `include/linux/mmzone.h`,
//! `for_each_zone_zonelist_nodemask()` (v6.12).
//!
//! The order in which zones are tried, given the node of the request and the highest zone it may use.

use crate::gfp::Gfp;
use crate::zone_type::{ZoneType, ZoneTypes};

/// One entry of a zonelist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneRef {
    /// Index of the zone in the machine.
    pub zone: usize,
    /// Its node.
    pub nid: usize,
    /// Its zone index in the node.
    pub idx: u8,
}

/// Zone selectors of a request: its low four bits, and `__GFP_THISNODE` above them.
const SELECTORS: usize = 32;
const OWN_NODE: usize = 16;

/// What a zone selector comes to on one node. It follows from the machine alone, so that a request only looks it up.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// The zones that may serve the request, best first. The first is the preferred one.
    pub(crate) zones: Box<[ZoneRef]>,
    /// `gfp_zone()`.
    pub(crate) highest_zoneidx: u8,
    /// `alloc_flags_nofragment()`: types are kept apart where another zone of the preferred node can help out.
    pub(crate) nofragment: bool,
}

/// The two zonelists of one node (`ZONELIST_FALLBACK`, `ZONELIST_NOFALLBACK`), each already filtered for each zone
/// selector that a request can have, so that a request walks a plain slice and finds it by its own bits.
///
/// # Invariants
///
/// `all` is sorted as the kernel tries it, and every list is `all` less the zones that its selector leaves out.
#[derive(Clone, Debug)]
pub struct NodeZonelists {
    by_selector: [Selection; SELECTORS],
    all: Box<[ZoneRef]>,
}

impl NodeZonelists {
    /// From the whole fallback list of node `nid`, one of `nodes`. `nofragment` holds for every request (`defrag_mode`).
    pub(crate) fn new(
        types: &ZoneTypes,
        nid: usize,
        fallback: &[ZoneRef],
        nodes: usize,
        nofragment: bool,
    ) -> NodeZonelists {
        let dma32 = types.index(ZoneType::Dma32);
        let has_dma32 = |nid: usize| fallback.iter().any(|z| z.nid == nid && Some(z.idx) == dma32);
        let selection = |selector: usize| {
            let highest_zoneidx = types.gfp_zone(Gfp(selector as u32 & 0xf));
            let own = selector & OWN_NODE != 0;
            let may_serve = |z: &&ZoneRef| z.idx <= highest_zoneidx && (!own || z.nid == nid);
            let zones: Box<[ZoneRef]> = fallback.iter().filter(may_serve).copied().collect();
            let helped = |z: &ZoneRef| z.idx == types.normal() && dma32.is_some() && (nodes <= 1 || has_dma32(z.nid));
            let nofragment = nofragment || zones.first().is_some_and(helped);
            Selection { zones, highest_zoneidx, nofragment }
        };
        NodeZonelists { by_selector: core::array::from_fn(selection), all: fallback.into() }
    }

    /// What a request with these flags may use.
    #[inline]
    pub(crate) fn select(&self, gfp: Gfp) -> &Selection {
        const SHIFT: u32 = Gfp::THISNODE.0.trailing_zeros() - OWN_NODE.trailing_zeros();
        &self.by_selector[(gfp.0 & 0xf | gfp.0 >> SHIFT & OWN_NODE as u32) as usize]
    }

    /// The whole fallback list.
    pub fn all(&self) -> &[ZoneRef] {
        &self.all
    }
}

/// Distance of a node to itself.
pub const LOCAL_DISTANCE: u64 = 10;
/// Distance between two nodes.
pub const REMOTE_DISTANCE: u64 = 20;
/// `MAX_NUMNODES` weighs distance against load.
const MAX_NUMNODES: u64 = 1 << 10;

/// `build_zonelists()`: for each node the order in which nodes with memory are tried.
/// `with_memory[n]` and `with_cpus[n]` say what node `n` has.
pub fn build_zonelists(with_memory: &[bool], with_cpus: &[bool]) -> Vec<Vec<usize>> {
    let mut load = vec![0u64; with_memory.len()];
    (0..with_memory.len())
        .map(|local| {
            let mut order: Vec<usize> = Vec::new();
            let mut previous = local;
            if with_memory[local] {
                order.push(local);
            }
            while let Some(next) = find_next_best_node(local, with_memory, with_cpus, &order, &load) {
                // A node that begins a new group of equally distant nodes gets its turn later for the next node.
                if node_distance(local, next) != node_distance(local, previous) {
                    load[next] += 1;
                }
                order.push(next);
                previous = next;
            }
            order
        })
        .collect()
}

/// `node_distance()`: all other nodes are equally far.
fn node_distance(a: usize, b: usize) -> u64 {
    if a == b { LOCAL_DISTANCE } else { REMOTE_DISTANCE }
}

/// `find_next_best_node()`: the nearest node with memory that is not in `used` yet; nodes with CPUs and nodes that others
/// fall back to already come later.
fn find_next_best_node(
    local: usize,
    with_memory: &[bool],
    with_cpus: &[bool],
    used: &[usize],
    load: &[u64],
) -> Option<usize> {
    (0..load.len()).filter(|n| with_memory[*n] && !used.contains(n)).min_by_key(|&n| {
        let distance = node_distance(local, n);
        (distance + u64::from(n < local) + u64::from(with_cpus[n])) * MAX_NUMNODES + load[n]
    })
}
