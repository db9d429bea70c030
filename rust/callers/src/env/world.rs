//! What kinds of surroundings a caller runs in.

use bulkpages_core::fault::Fault;
use bulkpages_core::probe::Probe;
use bulkpages_core::sync::Locking;

use super::hooks::Hooks;

/// The four types that surroundings are made of. A tuple of them is a world, so that a port names one parameter only.
pub trait World {
    /// How the machine locks.
    type Locking: Locking;
    type Probe: Probe;
    /// Failures of the allocator.
    type Fault: Fault;
    /// Failures beside it.
    type Hooks: Hooks;
}

impl<L: Locking, P: Probe, F: Fault, H: Hooks> World for (L, P, F, H) {
    type Locking = L;
    type Probe = P;
    type Fault = F;
    type Hooks = H;
}
