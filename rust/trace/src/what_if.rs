//! Kernel: the same callers as in a trace, on `mm/page_alloc.c` with other settings (v6.12).
//!
//! The requests of a trace, bulk calls that were inferred among them, made of a machine that decides for itself. Frames
//! of the trace become whatever frames the machine gives.

use std::collections::HashMap;

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::replay::Api;
use bulkpages_core::step::Stepped;
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, PageState, Pfn, Slot};
use serde::Serialize;

/// What a trace's callers did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// One block; the frame that the trace had.
    Alloc {
        cpu: u32,
        gfp: u32,
        order: u8,
        pfn: Pfn,
    },
    /// A bulk call; the frames that the trace had.
    Bulk {
        cpu: u32,
        gfp: u32,
        pages: Vec<Pfn>,
    },
    Free {
        cpu: u32,
        pfn: Pfn,
        order: u8,
    },
}

/// What the requests cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    pub requests: u64,
    pub failures: u64,
    pub bulk_calls: u64,
    pub bulk_pages: u64,
    /// Pages that a bulk call asked for and did not get at the first call.
    pub bulk_short: u64,
    pub bulk_single: u64,
    pub slot_tests: u64,
    pub slot_writes: u64,
    pub refills: u64,
    pub refilled_pages: u64,
    pub drained_pages: u64,
    pub zone_lock_holds: u64,
    pub fallbacks: u64,
    pub kswapd_wakes: u64,
    pub direct_reclaims: u64,
    /// Free pages at the end, in blocks of the largest order and in all.
    pub free_order_10: u64,
    pub free: u64,
    /// Frees of the trace that could not be made, since the page had not been had.
    pub skipped_frees: u64,
}

impl Probe for Costs {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        match event {
            Event::SlotTest { .. } => self.slot_tests += 1,
            Event::SlotWrite { .. } => self.slot_writes += 1,
            Event::ZoneLock { .. } => self.zone_lock_holds += 1,
            Event::Refill { got, .. } => {
                self.refills += 1;
                self.refilled_pages += u64::from(got);
            }
            Event::PcpuDrain { order, .. } => self.drained_pages += 1 << order,
            Event::Extfrag { .. } => self.fallbacks += 1,
            Event::BulkSingle { .. } => self.bulk_single += 1,
            Event::WakeKswapd { .. } => self.kswapd_wakes += 1,
            Event::DirectReclaim { .. } => self.direct_reclaims += 1,
            _ => {}
        }
    }
}

/// Requests made again of a machine, some at a time.
#[derive(Debug)]
pub struct Rerun {
    machine: Stepped,
    api: Api,
    cx: Ctx<Costs, NoFault>,
    /// Where a block of the trace is in this machine; what was never had here is left out.
    at: HashMap<Pfn, Option<Pfn>>,
}

impl Rerun {
    /// On `machine`, bulk calls with `api`.
    pub fn new(machine: Machine<Local>, api: Api) -> Rerun {
        let cx = Ctx { cpu: 0, probe: Costs::default(), fault: NoFault };
        Rerun { machine: machine.into(), api, cx, at: HashMap::new() }
    }

    /// Makes the next requests.
    pub fn run(&mut self, requests: &[Request]) {
        for request in requests {
            match request {
                Request::Alloc { cpu, gfp, order, pfn } => self.alloc(*cpu, *gfp, *order, *pfn),
                Request::Bulk { cpu, gfp, pages } => self.bulk(*cpu, *gfp, pages),
                Request::Free { cpu, pfn, order } => self.free(*cpu, *pfn, *order),
            }
        }
    }

    fn alloc(&mut self, cpu: u32, gfp: u32, order: u8, pfn: Pfn) {
        self.cx.cpu = cpu as usize;
        self.cx.probe.requests += 1;
        let gfp = Gfp::new(gfp.into()).ok();
        let page = gfp.and_then(|g| self.machine.alloc_pages(&mut self.cx, g, order, None).ok()).flatten();
        self.cx.probe.failures += u64::from(page.is_none());
        self.at.insert(pfn, page);
    }

    fn bulk(&mut self, cpu: u32, gfp: u32, pages: &[Pfn]) {
        let (machine, cx) = (&mut self.machine, &mut self.cx);
        cx.cpu = cpu as usize;
        cx.probe.bulk_calls += 1;
        cx.probe.bulk_pages += pages.len() as u64;
        let slots = Slot::array(pages.len());
        let mut done = 0;
        // A caller goes on while it gets something.
        for round in 0.. {
            let Ok(g) = Gfp::new(gfp.into()) else { break };
            let rest = &slots[done..];
            let got = match self.api {
                Api::V1 => machine.alloc_pages_bulk::<NullOnly>(cx, g, None, rest),
                Api::V2 => machine.alloc_pages_bulk::<OutputOnly>(cx, g, None, rest),
            };
            let got = got.unwrap_or(0);
            done += got;
            if round == 0 {
                cx.probe.bulk_short += (slots.len() - done) as u64;
            }
            if got == 0 || done == slots.len() {
                break;
            }
        }
        for (pfn, slot) in pages.iter().zip(&slots) {
            let page = slot.get();
            self.at.insert(*pfn, (!page.is_null()).then_some(page));
        }
    }

    fn free(&mut self, cpu: u32, pfn: Pfn, order: u8) {
        self.cx.cpu = cpu as usize;
        let page = match self.at.remove(&pfn) {
            Some(page) => page,
            // From before the trace: the kernel's own, where the trace has it.
            None if self.machine.page_state(pfn) == PageState::None => {
                self.machine.force_take(self.cx.cpu, pfn, order).map(|_| pfn)
            }
            None => None,
        };
        if page.is_none_or(|page| self.machine.free_pages(&mut self.cx, page, order).is_err()) {
            self.cx.probe.skipped_frees += 1;
        }
    }

    /// What the requests cost so far, and what is free now.
    pub fn costs(&self) -> Costs {
        let mut costs = self.cx.probe;
        for zone in &self.machine.snapshot().zones {
            for (&order, lists) in &zone.free {
                let pages = lists.values().map(|l| l.len() as u64).sum::<u64>() << order;
                costs.free += pages;
                costs.free_order_10 += if order == 10 { pages } else { 0 };
            }
        }
        costs
    }
}
