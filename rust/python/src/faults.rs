//! The fault plans that `Machine.faults()` puts in force.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bulkpages_callers::study::harness::FailurePlan;
use bulkpages_core::fault::When;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::args::Int;
use crate::errors::invalid;

/// Plans in force; the innermost, which was put in force last, holds alone.
#[derive(Debug, Default)]
pub(crate) struct FaultStack {
    /// Whether any plan is in force: read on every call, so that plain calls pay one load.
    active: AtomicBool,
    next: AtomicU64,
    plans: Mutex<Vec<(u64, Arc<FailurePlan>)>>,
}

impl FaultStack {
    pub(crate) fn push(&self, plan: FailurePlan) -> u64 {
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
    pub(crate) fn innermost(&self) -> Option<Arc<FailurePlan>> {
        if !self.active.load(Relaxed) {
            return None;
        }
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(_, plan)| plan.clone())
    }
}

/// A step's failure as Python states it: `False` never, `True` always, a number: after so many successes.
fn when(what: &str, value: &Bound<'_, PyAny>) -> PyResult<When> {
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true().into());
    }
    let successes = value.extract::<Int>()?.within(what, 0..=i64::MAX)?;
    Ok(When::after(successes as u64))
}

/// A plan from the keyword arguments of `Machine.faults()`.
pub(crate) fn plan(pages: Option<Int>, steps: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<FailurePlan> {
    let mut plan = FailurePlan::default();
    plan.fault.pages = pages.map(|n| n.within("pages", 0..=i64::MAX)).transpose()?.map(AtomicI64::new);
    for (name, value) in steps {
        let when = when(&name, &value)?;
        match name.as_str() {
            "trylock" => plan.fault.trylock = when,
            "single" => plan.fault.single = when,
            "prepare" => plan.fault.prepare = when,
            "watermark" => plan.fault.gate = when,
            "charge" => plan.fault.charge = when,
            "array" => plan.hooks.arrays = when,
            "append" => plan.hooks.appends = when,
            "vmap" => plan.hooks.vmaps = when,
            "dma_map" => plan.hooks.dma_maps = when,
            "stop" => plan.hooks.stop = when,
            other => return Err(invalid(format!("no step is called {other:?}"))),
        }
    }
    Ok(plan)
}
