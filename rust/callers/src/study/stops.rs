//! Where and for how long a run is stopped.

use bulkpages_core::fault::When;

use super::harness::{Asked, FailurePlan};

/// A step at which the allocator, or what callers use beside it, can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Branch {
    /// No zone passes the watermark gate of the bulk call.
    Watermark,
    /// The per-CPU lock is not free.
    Trylock,
    /// The lists are dry: a take finds nothing.
    DryList,
    /// The single-page path returns NULL.
    Single,
    /// Preparing the request fails.
    Prepare,
    /// The charge to a memory cgroup fails.
    Charge,
    /// The pointer array cannot be had.
    Array,
    /// The scatter table cannot be extended.
    Append,
    Vmap,
    /// A page cannot be mapped for DMA.
    DmaMap,
    /// The thread is told to stop while there is no page available.
    Stop,
}

impl Branch {
    pub const ALL: [Branch; 11] = [
        Branch::Watermark,
        Branch::Trylock,
        Branch::DryList,
        Branch::Single,
        Branch::Prepare,
        Branch::Charge,
        Branch::Array,
        Branch::Append,
        Branch::Vmap,
        Branch::DmaMap,
        Branch::Stop,
    ];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Branch::Watermark => "watermark",
            Branch::Trylock => "trylock",
            Branch::DryList => "dry list",
            Branch::Single => "single path",
            Branch::Prepare => "preparation",
            Branch::Charge => "charge",
            Branch::Array => "pointer array",
            Branch::Append => "table append",
            Branch::Vmap => "vmap",
            Branch::DmaMap => "DMA mapping",
            Branch::Stop => "stop request",
        }
    }

    /// Indices at which it can be stopped, given how often a run in which nothing fails comes to it.
    pub fn indices(self, asked: &Asked) -> u64 {
        match self {
            Branch::Watermark => asked.gate,
            Branch::Trylock => asked.trylock,
            Branch::DryList => asked.take,
            // Only a bulk call that leaves the batch comes to the single path; a first one can be made to.
            Branch::Single => asked.single.max(1),
            Branch::Prepare => asked.prepare,
            Branch::Charge => asked.charge,
            Branch::Array => asked.array,
            Branch::Append => asked.append,
            Branch::Vmap => asked.vmap,
            Branch::DmaMap => asked.dma_map,
            Branch::Stop => 3,
        }
    }
}

/// For how long a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lasting {
    /// One time.
    Once,
    /// From there on.
    ForGood,
}

impl Lasting {
    pub const ALL: [Lasting; 2] = [Lasting::Once, Lasting::ForGood];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Lasting::Once => "once",
            Lasting::ForGood => "for good",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stop {
    pub branch: Branch,
    /// Times that the step works before.
    pub index: u64,
    /// For how long it fails then.
    pub lasting: Lasting,
}

/// A plan with these stops.
pub fn plan(stops: &[Stop]) -> FailurePlan {
    let mut plan = FailurePlan::default();
    for stop in stops {
        let failures = match stop.lasting {
            Lasting::Once => 1,
            Lasting::ForGood => u64::MAX,
        };
        let when = When::times(stop.index, failures);
        match stop.branch {
            Branch::Watermark => plan.fault.gate = when,
            Branch::Trylock => plan.fault.trylock = when,
            Branch::DryList => plan.fault.take = when,
            Branch::Single => plan.fault.single = when,
            Branch::Prepare => plan.fault.prepare = when,
            Branch::Charge => plan.fault.charge = when,
            Branch::Array => plan.hooks.arrays = when,
            Branch::Append => plan.hooks.appends = when,
            Branch::Vmap => plan.hooks.vmaps = when,
            Branch::DmaMap => plan.hooks.dma_maps = when,
            Branch::Stop => {
                plan.hooks.stop = when;
                plan.fault.take = When::always();
            }
        }
    }
    plan
}
