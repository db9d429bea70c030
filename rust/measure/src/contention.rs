//! Kernel: `drain_all_pages()` against the batch loop of `alloc_pages_bulk()` (v6.12): a drain takes the lock of another
//! CPU's lists, and a bulk call on that CPU that finds it taken gets one page by the single-page path.
//!
//! One thread fills an array on CPU 0 again and again, another drains CPU 0's lists from CPU 1, so many times a second.
//!
//! A host that takes the draining thread off its processor in the middle makes it hold the lock for milliseconds, which
//! no kernel would: such a drain is known by its length, and the fills that it falls into are left out.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use bulkpages_callers::holes::Shape;
use bulkpages_core::fault::NoFault;
use bulkpages_core::probe::{Event, Probe, SingleReason};
use bulkpages_core::sync::Atomic;
use bulkpages_core::{Ctx, Error, Machine, Result};

use crate::clock;
use crate::trial::{Api, fill};

/// Who contends how.
#[derive(Clone, Copy, Debug)]
pub struct Contention {
    /// How the array is filled.
    pub api: Api,
    pub nr_pages: usize,
    /// 0: all slots are NULL; k: every k-th slot is a hole and the others keep their page.
    pub hole_period: usize,
    /// Clock counts from one drain to the next; 0 for one after the other, `None` for none at all.
    pub drain_every: Option<u64>,
    pub fills: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contended {
    pub fills: Vec<OneFill>,
    /// Fills left out: a drain that took longer than [`STALLED_NS`] was under way.
    pub left_out: u64,
    /// Pages of one fill.
    pub pages: usize,
    /// Drains from the first fill on: one at least, unless none was asked for.
    pub drains: u64,
    /// Median of their clock counts.
    pub drain_cost: u64,
    /// Clock counts from the first fill to the end of the last, frees included.
    pub elapsed: u64,
}

/// A drain that takes longer, in nanoseconds, was not executed all the time: full lists take some 30 microseconds.
pub const STALLED_NS: f64 = 100_000.0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OneFill {
    /// When it began, by the clock.
    pub start: u64,
    /// Clock counts.
    pub cost: u64,
    /// Bulk calls.
    pub calls: u32,
    /// Trylocks of the CPU's lists.
    pub trylocks: u32,
    /// Of these, failed.
    pub lost: u32,
    /// Bulk calls that went to the single-page path.
    pub singles: u32,
}

/// Counts what a fill does about its trylocks, and nothing else, so that the two versions pay the same for it.
impl Probe for &mut OneFill {
    const ON: bool = true;
    #[inline(always)]
    fn event(&mut self, event: Event) {
        match event {
            Event::PcpTrylock { locked, .. } => {
                self.trylocks += 1;
                self.lost += u32::from(!locked);
            }
            Event::BulkZone { .. } => self.calls += 1,
            Event::BulkSingle { reason } => {
                self.singles += 1;
                // These two leave the batch; the others never came to choose a zone.
                self.calls += u32::from(!matches!(reason, SingleReason::Trylock | SingleReason::FirstTake));
            }
            _ => {}
        }
    }
}

impl Contention {
    /// Runs it on CPUs 0 and 1; what it allocated is free again afterwards.
    ///
    /// # Errors
    ///
    /// When the machine has one CPU, or too few pages.
    pub fn run(&self, machine: &Machine<Atomic>) -> Result<Contended> {
        if machine.cpus() < 2 {
            return Err(Error::invalid(format!(
                "the machine has {} CPU; a drain comes from another one",
                machine.cpus()
            )));
        }
        let (start, stop) = (Barrier::new(2), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let drainer = scope.spawn(|| {
                start.wait();
                self.drain(machine, &stop)
            });
            start.wait();
            let filled = self.fill(machine);
            stop.store(true, Ordering::Relaxed);
            let drains = drainer.join().map_err(|_| Error::invalid("the draining thread panicked".to_owned()))??;
            let (fills, pages) = filled?;
            Ok(account(fills, pages, &drains, (STALLED_NS / clock::ns_per_count()) as u64))
        })
    }

    /// Drains until told to stop, and once at least: start and length of each.
    fn drain(&self, machine: &Machine<Atomic>, stop: &AtomicBool) -> Result<Vec<(u64, u64)>> {
        let mut drains = Vec::new();
        let Some(every) = self.drain_every else { return Ok(drains) };
        let mut next = clock::now();
        // The fills may be over before the host gives this thread a processor.
        while drains.is_empty() || !stop.load(Ordering::Relaxed) {
            let now = clock::now();
            if now < next {
                core::hint::spin_loop();
                continue;
            }
            // A drain that comes late is not made up for.
            next = now + every;
            machine.drain_pages(&mut Ctx::on(1), 0)?;
            drains.push((now, clock::now() - now));
        }
        Ok(drains)
    }

    /// Every fill, and the pages of one.
    fn fill(&self, machine: &Machine<Atomic>) -> Result<(Vec<OneFill>, usize)> {
        let nid = machine.nearest_node(None, 0)?;
        let holes = self.hole_period > 0;
        let step = self.hole_period.max(1);
        let mut slots = Shape::periodic(self.nr_pages, step).fill(machine, 0)?;
        let mut fills = Vec::with_capacity(self.fills as usize);
        let mut pages = 0;
        for _ in 0..self.fills {
            let mut one = OneFill { start: clock::now(), ..OneFill::default() };
            let cx = &mut Ctx { cpu: 0, probe: &mut one, fault: NoFault };
            fill(machine, cx, nid, self.api, &mut slots, holes);
            one.cost = clock::now() - one.start;
            fills.push(one);
            let cx = &mut Ctx::on(0);
            pages = 0;
            for slot in slots.iter().step_by(step).filter(|s| s.raw() != 0) {
                machine.put_page(cx, slot.get())?;
                slot.set_raw(0);
                pages += 1;
            }
        }
        machine.free_bulk(&mut Ctx::on(0), &slots)?;
        Ok((fills, pages))
    }
}

/// Leaves out the fills into which a drain falls that took longer than `limit` clock counts.
fn account(fills: Vec<OneFill>, pages: usize, drains: &[(u64, u64)], limit: u64) -> Contended {
    let mut lengths: Vec<u64> = drains.iter().map(|d| d.1).collect();
    lengths.sort_unstable();
    let drain_cost = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
    let mut stalls = drains.iter().filter(|d| d.1 > limit).peekable();
    let all = fills.len();
    let elapsed = fills.first().zip(fills.last()).map_or(0, |(first, last)| last.start + last.cost - first.start);
    let kept = fills.into_iter().filter(|fill| {
        while stalls.next_if(|(start, length)| start + length < fill.start).is_some() {}
        stalls.peek().is_none_or(|(start, _)| *start > fill.start + fill.cost)
    });
    let fills: Vec<OneFill> = kept.collect();
    let left_out = (all - fills.len()) as u64;
    Contended { fills, left_out, pages, drains: drains.len() as u64, drain_cost, elapsed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkpages_core::boot::BootSpec;

    fn run(drain_every: Option<u64>) -> Contended {
        let machine = Machine::<Atomic>::boot(&BootSpec::new(65_536, 2, 1)).unwrap();
        let load = Contention { api: Api::V2, nr_pages: 64, hole_period: 4, drain_every, fills: 200 };
        let found = load.run(&machine).unwrap();
        assert_eq!(machine.audit().unwrap().allocated, 0);
        assert_eq!((found.pages, found.fills.len() as u64 + found.left_out), (16, 200));
        found
    }

    #[test]
    fn nothing_is_lost_where_nobody_drains() {
        let found = run(None);
        assert_eq!((found.drains, found.left_out), (0, 0));
        for fill in &found.fills {
            assert_eq!((fill.calls, fill.trylocks, fill.lost, fill.singles), (1, 1, 0, 0));
        }
    }

    #[test]
    fn a_call_beyond_the_first_of_a_fill_follows_one_that_got_a_single_page() {
        let found = run(Some(0));
        assert!(found.drains > 0);
        for fill in &found.fills {
            assert!(fill.calls <= 1 + fill.singles, "{fill:?}");
        }
    }

    #[test]
    fn fills_into_which_a_stalled_drain_falls_are_left_out() {
        let fills = (0..10).map(|i| OneFill { start: i * 100, cost: 50, ..OneFill::default() }).collect();
        let mut drains: Vec<(u64, u64)> = (0..20).map(|i| (i * 10, 2)).collect();
        drains.push((320, 200));
        // It lasts from 320 to 520: the fills at 300, 400 and 500.
        let found = account(fills, 1, &drains, 100);
        assert_eq!((found.left_out, found.drain_cost), (3, 2));
        assert!(found.fills.iter().all(|f| ![300, 400, 500].contains(&f.start)));
    }
}
