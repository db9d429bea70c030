//! The stack of fault plans of a machine; the innermost holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bulkpages_core::fault::FaultPlan;

/// Plans in force, outermost first, each with the ticket that takes it away.
#[derive(Debug, Default)]
pub(crate) struct FaultStack {
    /// Whether any plan is in force: read on every call, so that plain calls pay one load.
    active: AtomicBool,
    next: AtomicU64,
    plans: Mutex<Vec<(u64, Arc<FaultPlan>)>>,
}

impl FaultStack {
    pub(crate) fn push(&self, plan: FaultPlan) -> u64 {
        let ticket = self.next.fetch_add(1, Relaxed);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.push((ticket, Arc::new(plan)));
        self.active.store(true, Relaxed);
        ticket
    }

    pub(crate) fn remove(&self, ticket: u64) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|(t, _)| *t != ticket);
        self.active.store(!plans.is_empty(), Relaxed);
    }

    /// The plan in force.
    #[inline]
    pub(crate) fn innermost(&self) -> Option<Arc<FaultPlan>> {
        if !self.active.load(Relaxed) {
            return None;
        }
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(_, plan)| plan.clone())
    }
}
