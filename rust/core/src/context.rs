//! The context passed with a call through the allocator. There is no kernel counterpart: there, `current` and
//! `smp_processor_id()` are global, and tracing and fault injection are compiled in.

use crate::fault::{Fault, NoFault};
use crate::probe::{Event, NoProbe, Probe};

/// The CPU that executes a call, its observer, and what fails in it. Functions of the allocator take any context, and
/// are compiled once for each: in a plain one, telling and asking are gone.
pub trait Context {
    type Probe: Probe;
    type Fault: Fault;

    fn cpu(&self) -> usize;
    /// The CPU that executes from here on.
    fn run_on(&mut self, cpu: usize);
    fn probe(&mut self) -> &mut Self::Probe;
    fn fault(&self) -> &Self::Fault;

    /// Tells the observer, if there is one; the event is not even made otherwise.
    #[inline(always)]
    fn tell(&mut self, event: impl FnOnce() -> Event) {
        if Self::Probe::ON {
            self.probe().event(event());
        }
    }
}

/// A context made of its parts.
#[derive(Debug, Default)]
pub struct Ctx<P, F> {
    pub cpu: usize,
    pub probe: P,
    pub fault: F,
}

impl Ctx<NoProbe, NoFault> {
    /// A plain call on `cpu`: nothing observed, nothing injected.
    #[inline]
    pub const fn on(cpu: usize) -> Self {
        Ctx { cpu, probe: NoProbe, fault: NoFault }
    }
}

impl<P: Probe, F: Fault> Context for Ctx<P, F> {
    type Probe = P;
    type Fault = F;

    #[inline(always)]
    fn cpu(&self) -> usize {
        self.cpu
    }
    #[inline(always)]
    fn run_on(&mut self, cpu: usize) {
        self.cpu = cpu;
    }
    #[inline(always)]
    fn probe(&mut self) -> &mut P {
        &mut self.probe
    }
    #[inline(always)]
    fn fault(&self) -> &F {
        &self.fault
    }
}
