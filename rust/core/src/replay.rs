//! Kernel: the exported functions of `mm/page_alloc.c` (v6.12) that the recorder calls, executed as it does.
//!
//! All operations share one array of slots. Each result has the recorder's form.

use crate::bulk::{NullOnly, OutputOnly};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::gfp::Gfp;
use crate::machine::Machine;
use crate::pfn::Pfn;
use crate::pfn::check_order;
use crate::slot::Slot;
use crate::sync::{Lock, Locking};
use crate::zone::Zone;

/// Slots of the shared array.
pub const NR_SLOTS: usize = 131_072;

/// Version of the bulk call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// [`NullOnly`].
    V1,
    /// [`OutputOnly`].
    V2,
}

/// What an operation does; `slot` indexes the shared array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// A bulk call into slots `slot..slot + nr_pages`.
    Bulk { api: Api, gfp: Gfp, nid: usize, nr_pages: usize, slot: usize },
    /// One block of `order`; its page goes to `slot`.
    Alloc { gfp: Gfp, nid: usize, order: u8, slot: usize },
    /// The block of `order` in `slot`.
    Free { order: u8, slot: usize },
    /// Every page of `slot..slot + nr`, in this direction.
    FreeRange { slot: usize, nr: usize, reverse: bool },
    /// Slots `slot + first`, `slot + first + step`, ... below `slot + nr`.
    FreeStride { slot: usize, nr: usize, first: usize, step: usize },
    /// The executing CPU's lists of all zones.
    DrainLocal,
    /// Another CPU takes or gives back the lock of `pcp_cpu`'s lists.
    HoldPcpLock { node: usize, zone: usize, pcp_cpu: usize, held: bool },
}

/// An operation and the CPU that executes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub cpu: usize,
    pub kind: OpKind,
}

/// What the recorder prints of a zone: the executing CPU's lists, free pages, flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneLine {
    /// Pages on the executing CPU's lists.
    pub count: i32,
    /// Their limit.
    pub high: i32,
    /// `PCPF_*`.
    pub flags: u32,
    /// Shift of the next refill.
    pub alloc_factor: u32,
    /// Pages freed in a row.
    pub free_count: i32,
    /// Free pages of the zone, exact.
    pub free_pages: i64,
    pub zone_flags: u32,
}

/// Result of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpResult {
    /// Return value; for frees the blocks freed.
    pub ret: u64,
    /// Change of each of [`crate::vmstat::RECORDED_EVENTS`].
    pub events: [i64; 12],
    /// In the order of the machine's zones.
    pub zones: Vec<ZoneLine>,
    /// Slots that an allocation changed: (index in the array passed, frame).
    pub pages: Vec<(u32, u32)>,
    /// Whether the kswapd of each node is asleep, where requests look at that.
    pub kswapd: Vec<bool>,
}

/// The shared array and what is needed to tell changes.
#[derive(Debug)]
pub struct Replay {
    slots: Box<[Slot]>,
    before: Vec<u64>,
}

impl Default for Replay {
    fn default() -> Self {
        Replay { slots: Slot::array(NR_SLOTS), before: Vec::new() }
    }
}

fn check_slots(slot: usize, nr: usize) -> Result<()> {
    if nr > NR_SLOTS || slot > NR_SLOTS - nr {
        return Err(Error::invalid(format!("slots {slot} and {nr} more are outside the array of {NR_SLOTS}")));
    }
    Ok(())
}

impl Replay {
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Checks everything about an operation that does not depend on what the operations before it do.
    ///
    /// # Errors
    ///
    /// For a CPU, node, zone, order or slot that does not exist.
    pub fn check<L: Locking>(&self, machine: &Machine<L>, op: &Op) -> Result<()> {
        machine.check_cpu(op.cpu)?;
        match op.kind {
            OpKind::Bulk { nid, nr_pages, slot, .. } => {
                machine.check_nid(Some(nid), op.cpu)?;
                check_slots(slot, nr_pages)
            }
            OpKind::Alloc { nid, order, slot, .. } => {
                machine.check_nid(Some(nid), op.cpu)?;
                check_order(u64::from(order))?;
                check_slots(slot, 1)
            }
            OpKind::Free { order, slot } => {
                check_order(u64::from(order))?;
                check_slots(slot, 1)
            }
            OpKind::FreeRange { slot, nr, .. } => check_slots(slot, nr),
            OpKind::FreeStride { slot, nr, step, .. } => {
                if step == 0 {
                    return Err(Error::invalid("step 0 of a free_stride never ends; at least 1 is needed"));
                }
                check_slots(slot, nr)
            }
            OpKind::DrainLocal => Ok(()),
            OpKind::HoldPcpLock { node, zone, pcp_cpu, .. } => {
                machine.check_cpu(pcp_cpu)?;
                machine.zone_index(node, zone).map(|_| ())
            }
        }
    }

    /// Executes one operation that [`Replay::check`] accepted, and writes what the recorder would have.
    ///
    /// # Errors
    ///
    /// When a free names a block that was allocated with another order, or a lock is taken twice.
    pub fn run<L: Locking>(
        &mut self,
        machine: &Machine<L>,
        cx: &mut impl Context,
        op: &Op,
        result: &mut OpResult,
    ) -> Result<()> {
        cx.run_on(op.cpu);
        let before = machine.vm_events().recorded();
        result.pages.clear();
        result.ret = self.execute(machine, cx, op, &mut result.pages)?;
        let after = machine.vm_events().recorded();
        result.events = core::array::from_fn(|i| after[i].wrapping_sub(before[i]) as i64);
        result.zones.clear();
        result.kswapd.clear();
        if machine.rules.first_pass_skips_awake_kswapd {
            result.kswapd.extend(machine.kswapd.iter().map(|kswapd| !kswapd.awake()));
        }
        result.zones.extend(machine.zones().iter().map(|zone| machine.zone_line(zone, op.cpu)));
        Ok(())
    }

    /// Executes one operation; the return value is the kernel's.
    ///
    /// # Errors
    ///
    /// As [`Replay::run`].
    pub fn execute<L: Locking>(
        &mut self,
        machine: &Machine<L>,
        cx: &mut impl Context,
        op: &Op,
        pages: &mut Vec<(u32, u32)>,
    ) -> Result<u64> {
        cx.run_on(op.cpu);
        match op.kind {
            OpKind::Bulk { api, gfp, nid, nr_pages, slot } => {
                let slots = &self.slots[slot..slot + nr_pages];
                self.before.clear();
                self.before.extend(slots.iter().map(Slot::raw));
                let ret = match api {
                    Api::V1 => machine.bulk::<NullOnly>(cx, gfp, nid, slots),
                    Api::V2 => machine.bulk::<OutputOnly>(cx, gfp, nid, slots),
                };
                for (i, (slot, &before)) in slots.iter().zip(&self.before).enumerate() {
                    if slot.raw() != before {
                        pages.push((i as u32, slot.get().0));
                    }
                }
                Ok(ret as u64)
            }
            OpKind::Alloc { gfp, nid, order, slot } => {
                let page = machine.alloc_order(cx, gfp, order, nid);
                self.slots[slot].set(page.unwrap_or(Pfn::NULL));
                pages.extend(page.map(|pfn| (0, pfn.0)));
                Ok(u64::from(page.is_some()))
            }
            OpKind::Free { order, slot } => self.free(machine, cx, slot, order),
            OpKind::FreeRange { slot, nr, reverse: false } => {
                (slot..slot + nr).try_fold(0, |n, i| Ok(n + self.free(machine, cx, i, 0)?))
            }
            OpKind::FreeRange { slot, nr, reverse: true } => {
                (slot..slot + nr).rev().try_fold(0, |n, i| Ok(n + self.free(machine, cx, i, 0)?))
            }
            OpKind::FreeStride { slot, nr, first, step } => {
                let mut freed = 0;
                let mut i = first;
                while i < nr {
                    freed += self.free(machine, cx, slot + i, 0)?;
                    i = i.saturating_add(step);
                }
                Ok(freed)
            }
            OpKind::DrainLocal => machine.drain_local_pages(cx).map(|()| 0),
            OpKind::HoldPcpLock { node, zone, pcp_cpu, held } => {
                machine.hold_pcp_lock(node, zone, pcp_cpu, held).map(|()| 0)
            }
        }
    }

    fn free<L: Locking>(&self, machine: &Machine<L>, cx: &mut impl Context, slot: usize, order: u8) -> Result<u64> {
        let slot = &self.slots[slot];
        let pfn = slot.get();
        if pfn.is_null() {
            return Ok(0);
        }
        machine.free_pages(cx, pfn, order)?;
        slot.set(Pfn::NULL);
        Ok(1)
    }
}

impl<L: Locking> Machine<L> {
    /// What the recorder prints of a zone.
    pub fn zone_line(&self, zone: &Zone<L>, cpu: usize) -> ZoneLine {
        let free_pages = self.free_pages_exact(zone);
        let pcp = zone.pcp[cpu].0.lock();
        ZoneLine {
            count: pcp.count,
            high: pcp.high,
            flags: pcp.flags,
            alloc_factor: pcp.alloc_factor,
            free_count: pcp.free_count,
            free_pages,
            zone_flags: zone.flags(),
        }
    }
}
