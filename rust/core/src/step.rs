//! Kernel: the parts of `mm/page_alloc.c` between two trace events: one take of `rmqueue_bulk()`, one page of
//! `free_pcppages_bulk()`, `free_unref_page_commit()` without its drain (v6.12).
//!
//! A trace shows line by line what a kernel did, but not all of it. With these steps, a reader of a trace can follow it.
//! The rules predict each step. If the line differs, the state is corrected without breaking an invariant.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering::Relaxed;

use crate::alloc::AwakeKswapd;
use crate::context::Ctx;
use crate::fallback::RmqueueMode;
use crate::fault::NoFault;
use crate::gfp::{AllocFlags, Gfp, Migratetype};
use crate::machine::Machine;
use crate::page::{OfBlock, PageState};
use crate::pcp::{LockedPcp, NR_PCP_LISTS, order_to_pindex, pcp_allowed_order, pindex_to_order};
use crate::pfn::{MAX_PAGE_ORDER, Pfn};
use crate::probe::Event;
use crate::sync::{Local, Lock, Locking};
use crate::zone::{Zone, zflag};

/// Takes under one hold of the zone lock: what failed is not tried again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series(RmqueueMode);

/// Where a block was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the buddy lists, alone or inside a larger block.
    Buddy,
    /// On a list of this CPU.
    Pcp { cpu: usize, pindex: usize },
    /// A caller owned it, or a block that holds it.
    Owned,
    /// The kernel's own since before the machine was made.
    Kernel,
}

/// What a free leaves to be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    pub pages: i32,
    /// The list to begin with.
    pub pindex: usize,
    below_high: bool,
}

/// A machine that a reader of a trace takes from line to line: whole, and step by step.
#[derive(Debug)]
pub struct Stepped<L: Locking = Local>(Machine<L>);

impl<L: Locking> From<Machine<L>> for Stepped<L> {
    fn from(machine: Machine<L>) -> Self {
        Stepped(machine)
    }
}

impl<L: Locking> Deref for Stepped<L> {
    type Target = Machine<L>;

    fn deref(&self) -> &Machine<L> {
        &self.0
    }
}

impl<L: Locking> DerefMut for Stepped<L> {
    fn deref_mut(&mut self) -> &mut Machine<L> {
        &mut self.0
    }
}

impl<L: Locking> Stepped<L> {
    /// The machine as the last step left it.
    pub fn into_machine(self) -> Machine<L> {
        self.0
    }

    /// `alloc_pages_bulk()`'s and the single path's zones for a request of `order`, best first, that pass the watermark
    /// tests now. Like the request itself, the tests set `ZONE_BELOW_HIGH`.
    pub fn usable_zones(&self, gfp: Gfp, order: u8, nid: usize) -> Vec<usize> {
        let gfp = gfp & self.config.gfp_allowed;
        let ac = self.prepare_alloc_pages(gfp, nid);
        let flags =
            AllocFlags(AllocFlags::WMARK_LOW.0 | gfp.0 & AllocFlags::KSWAPD.0).with(ac.alloc_flags_nofragment());
        let mut usable = Vec::with_capacity(ac.zonelist().len());
        for zref in ac.zonelist() {
            // A kernel stops at the first zone that serves it; later ones are only looked at when it fails.
            if !usable.is_empty()
                || self.zone_usable(&self.zones[zref.zone], order, flags, ac, &mut AwakeKswapd::Allowed)
            {
                usable.push(zref.zone);
            }
        }
        usable
    }

    /// One take of `rmqueue_bulk()` or `rmqueue_buddy()`: a block out of the buddy lists, owned. The events say how.
    pub fn take(
        &self,
        cx: &mut Ctx<Vec<Event>, NoFault>,
        zone: usize,
        order: u8,
        mt: Migratetype,
        series: &mut Series,
    ) -> Option<Pfn> {
        let zone = &self.zones[zone];
        let flags = zone.with_cma(AllocFlags::WMARK_LOW, mt);
        if series.0 == RmqueueMode::Normal {
            series.0 = RmqueueMode::new(flags);
        }
        let pfn = zone.lock_untold::<OfBlock>(&self.pages, cx.cpu).__rmqueue(
            cx,
            self.config.rules,
            order,
            mt,
            flags,
            &mut series.0,
        )?;
        self.pages.set_allocated(pfn, order);
        Some(pfn)
    }

    /// Undoes [`Stepped::take`] as nearly as possible: the block merges back.
    pub fn put_back(&self, cpu: usize, pfn: Pfn, order: u8) {
        let Some(zone) = self.zone_of(pfn) else { return };
        self.pages.clear_head(pfn);
        zone.lock_untold::<OfBlock>(&self.pages, cpu).__free_one_page(pfn, order, self.pages.migratetype(pfn), false);
    }

    /// Where the page is.
    pub fn whereabouts(&self, pfn: Pfn) -> Whereabouts {
        for up in 0..=MAX_PAGE_ORDER {
            let head = Pfn(pfn.0 >> up << up);
            match self.pages.state(head) {
                PageState::Buddy(o) if o >= up => return Whereabouts::Buddy,
                PageState::Allocated(o) if o >= up => return Whereabouts::Owned,
                PageState::Pcp(o) if o >= up => return self.on_list(head, o),
                _ => {}
            }
        }
        Whereabouts::Kernel
    }

    fn on_list(&self, head: Pfn, order: u8) -> Whereabouts {
        if let Some(zone) = self.zone_of(head) {
            for cpu in 0..zone.pcp.len() {
                let pcp = zone.pcp[cpu].0.lock();
                for pindex in (0..NR_PCP_LISTS).filter(|&i| pindex_to_order(i) == order) {
                    if pcp.lists[pindex].iter().any(|p| p == head) {
                        return Whereabouts::Pcp { cpu, pindex };
                    }
                }
            }
        }
        Whereabouts::Kernel
    }

    /// Makes the block of `order` at `pfn` owned, wherever it is; says where it was. Of a larger free block the rest
    /// stays free; the rest of a block on a list, or owned, becomes the kernel's own. `None`, and nothing changes, when
    /// the block is not in one zone, or when that zone's lists and owners leave fewer pages for the kernel's own than the
    /// block needs: then the frame is none of those that the zone manages.
    pub fn force_take(&mut self, cpu: usize, pfn: Pfn, order: u8) -> Option<Whereabouts> {
        let index = self.zone_index_of(pfn)?;
        let (kernel, wanted) = (self.zones[index].kernel_pages, 1u64 << order);
        let end = pfn.add(1 << order);
        if !self.zones[index].spans(pfn.add((1 << order) - 1)) {
            return None;
        }
        let frames = || (pfn.0..end.0).map(Pfn);
        if kernel < wanted && frames().filter(|&at| self.whereabouts(at) == Whereabouts::Kernel).count() as u64 > kernel
        {
            return None;
        }
        let first = self.whereabouts(pfn);
        let zone = &self.zones[index];
        let mut left_their_place = 0;
        // Each page of the block may be somewhere else.
        let mut at = pfn;
        while at < end {
            let step = match self.whereabouts(at) {
                Whereabouts::Buddy => {
                    let frames = self.carve(zone, cpu, at, pfn, order);
                    left_their_place += u64::from(frames.min(end.0 - at.0));
                    frames
                }
                Whereabouts::Pcp { cpu, pindex } => {
                    let o = pindex_to_order(pindex);
                    let head = Pfn(at.0 >> o << o);
                    let mut pcp = zone.pcp[cpu].0.lock();
                    if pcp.lists[pindex].remove(head) {
                        pcp.count -= 1 << o;
                        left_their_place += 1 << o;
                    }
                    self.pages.clear_head(head);
                    (head.0 + (1 << o)) - at.0
                }
                Whereabouts::Owned => {
                    left_their_place += self.disown(at);
                    1
                }
                Whereabouts::Kernel => 1,
            };
            at = at.add(step.max(1));
        }
        self.pages.set_allocated(pfn, order);
        self.zones[index].kernel_pages = kernel + left_their_place - wanted;
        Some(first)
    }

    /// Takes the part of a free block that lies in the wanted one; how many frames from `at` on that settles.
    fn carve(&self, zone: &Zone<L>, cpu: usize, at: Pfn, wanted: Pfn, order: u8) -> u32 {
        let Some((head, high)) = (0..=MAX_PAGE_ORDER).find_map(|up| {
            let head = Pfn(at.0 >> up << up);
            matches!(self.pages.state(head), PageState::Buddy(o) if o >= up).then(|| match self.pages.state(head) {
                PageState::Buddy(o) => (head, o),
                _ => (head, up),
            })
        }) else {
            return 1;
        };
        let mut locked = zone.lock_untold::<OfBlock>(&self.pages, cpu);
        let mt = self.pages.migratetype(head);
        locked.del_page_from_free_list(head, high, mt);
        if high <= order {
            locked.account_freepages(-(1 << high), mt);
            return (head.0 + (1 << high)) - at.0;
        }
        let (mut low, mut o) = (head, high);
        while o > order {
            o -= 1;
            let upper = low.add(1 << o);
            if wanted >= upper {
                locked.add_to_free_list(low, o, mt, false);
                low = upper;
            } else {
                locked.add_to_free_list(upper, o, mt, false);
            }
        }
        locked.account_freepages(-(1 << order), mt);
        (wanted.0 + (1 << order)) - at.0
    }

    /// The owned block that holds this frame is nobody's any more; its pages.
    fn disown(&self, at: Pfn) -> u64 {
        for up in 0..=MAX_PAGE_ORDER {
            let head = Pfn(at.0 >> up << up);
            if let PageState::Allocated(o) = self.pages.state(head)
                && o >= up
            {
                self.pages.clear_head(head);
                return 1 << o;
            }
        }
        0
    }

    /// First frames of one CPU's list of this order and type, in list order; none for orders that no list serves.
    pub fn with_list<R>(
        &self,
        zone: usize,
        cpu: usize,
        order: u8,
        mt: Migratetype,
        f: impl FnOnce(&mut dyn Iterator<Item = Pfn>) -> R,
    ) -> R {
        if !pcp_allowed_order(order) {
            return f(&mut core::iter::empty());
        }
        let pcp = self.zones[zone].pcp[cpu].0.lock();
        f(&mut pcp.lists[order_to_pindex(order, mt.pcp_type())].iter())
    }

    /// Takes the head of a list, owned.
    pub fn pop(&self, zone: usize, cpu: usize, order: u8, mt: Migratetype) -> Option<Pfn> {
        let mut pcp = self.zones[zone].pcp[cpu].0.lock();
        let pfn = pcp.lists[order_to_pindex(order, mt.pcp_type())].pop_front()?;
        pcp.count -= 1 << order;
        pcp.events.pgalloc += 1 << order;
        self.pages.set_allocated(pfn, order);
        Some(pfn)
    }

    /// Puts an owned block on a list: at the tail as a refill does, or back at the head. `false`, and nothing changes,
    /// when nobody owns this block, because a line made it part of another one meanwhile.
    pub fn push(&self, zone: usize, cpu: usize, pfn: Pfn, order: u8, mt: Migratetype, tail: bool) -> bool {
        if self.pages.state(pfn) != PageState::Allocated(order) {
            return false;
        }
        let mut pcp = self.zones[zone].pcp[cpu].0.lock();
        self.pages.set_pcp::<OfBlock>(pfn, order, mt);
        let list = &mut pcp.lists[order_to_pindex(order, mt.pcp_type())];
        if tail {
            list.push_back(pfn);
        } else {
            list.push_front(pfn);
        }
        pcp.count += 1 << order;
        true
    }

    /// What a single-page request does to the lists before it takes: halves `free_count`.
    pub fn request(&self, zone: usize, cpu: usize) {
        self.zones[zone].pcp[cpu].0.lock().free_count >>= 1;
    }

    /// `nr_pcp_alloc()`: how many entries a refill asks for now; the limits move as it does.
    pub fn refill_size(&self, zone: usize, cpu: usize, order: u8) -> i32 {
        let zone = &self.zones[zone];
        zone.pcp[cpu].0.lock().nr_pcp_alloc(order, zone.flags.load(Relaxed) & zflag::BELOW_HIGH != 0)
    }

    /// Limits of one CPU's lists, to go back to after a question.
    pub fn limits(&self, zone: usize, cpu: usize) -> (i32, u32) {
        let pcp = self.zones[zone].pcp[cpu].0.lock();
        (pcp.high, pcp.alloc_factor)
    }

    /// Sets what [`Stepped::limits`] gave.
    pub fn set_limits(&self, zone: usize, cpu: usize, limits: (i32, u32)) {
        let mut pcp = self.zones[zone].pcp[cpu].0.lock();
        (pcp.high, pcp.alloc_factor) = limits;
    }

    /// `free_unref_page()` of an owned block without the drain, which is returned; blocks that no list serves merge at once.
    pub fn free(&self, cpu: usize, pfn: Pfn, order: u8) -> Option<Drain> {
        let zone = self.zone_of(pfn)?;
        if !pcp_allowed_order(order) {
            zone.free_one_page(&mut Ctx::on(cpu), &self.pages, pfn, order);
            return None;
        }
        let mut pcp = LockedPcp { zone, pages: &self.pages, pcp: zone.pcp[cpu].0.lock() };
        let excess = pcp.put_free(pfn, order, self.pages.migratetype(pfn))?;
        Some(Drain { pages: excess.pages, pindex: excess.pindex, below_high: excess.below_high })
    }

    /// The page that a drain beginning at list `pindex` takes next: list and block.
    pub fn next_drained(&self, zone: usize, cpu: usize, pindex: usize) -> Option<(usize, Pfn)> {
        let pcp = self.zones[zone].pcp[cpu].0.lock();
        (0..NR_PCP_LISTS)
            .map(|i| (pindex + i) % NR_PCP_LISTS)
            .find_map(|i| pcp.lists[i].iter().next_back().map(|pfn| (i, pfn)))
    }

    /// One page of a drain: off its list, wherever it is, and into the buddy lists. `by` executes. `None` as
    /// [`Stepped::force_take`] says.
    pub fn drain(&mut self, by: usize, pfn: Pfn, order: u8) -> Option<Whereabouts> {
        let was = self.force_take(by, pfn, order)?;
        if let Some(zone) = self.zone_of(pfn) {
            self.pages.clear_head(pfn);
            zone.lock_untold::<OfBlock>(&self.pages, by).__free_one_page(
                pfn,
                order,
                self.pages.migratetype(pfn),
                false,
            );
        }
        Some(was)
    }

    /// The end of a drain on the free path.
    pub fn drained(&self, zone: usize, drain: Drain) {
        let zone = &self.zones[zone];
        zone.drained(drain.below_high);
    }

    /// `decay_pcp_high()`: what the periodic worker does to the limit of one CPU's lists before it drains what is above.
    /// It drains in chunks of the batch, each beginning with list 0; that batch is returned.
    pub fn decay(&self, zone: usize, cpu: usize) -> i32 {
        let mut pcp = self.zones[zone].pcp[cpu].0.lock();
        pcp.decay_pcp_high();
        pcp.batch
    }

    /// Learns from a drain that the rules had not predicted, after the free of a block on list `pindex`. The limit had come
    /// down to the count: the periodic worker lowers it without a trace.
    pub fn drain_seen(&self, zone: usize, cpu: usize, pindex: usize) -> Drain {
        let zone = &self.zones[zone];
        let pages = zone.pcp[cpu].0.lock().learn_drain();
        Drain { pages, pindex, below_high: zone.flags.load(Relaxed) & zflag::BELOW_HIGH != 0 }
    }

    /// Learns from a refill of `got` entries of order 0 that the rules had not predicted: adopts the shift that explains it.
    /// `false` if no shift of the batch does.
    pub fn refill_seen(&self, zone: usize, cpu: usize, got: i32) -> bool {
        self.zones[zone].pcp[cpu].0.lock().learn_refill(got)
    }

    /// Length of one CPU's list.
    pub fn list_len(&self, zone: usize, cpu: usize, order: u8, mt: Migratetype) -> usize {
        self.with_list(zone, cpu, order, mt, |l| l.count())
    }
}
