//! The bulk calls that callers make, recorded where somebody looks.

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::bulk::{NullOnly, OutputOnly, Semantics};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::{Context as _, Error, Pfn, Result, Slot};

use super::values::{Count, Position, Seen as _, Total};
use super::{Env, Hooks, SeenBy, World};
use crate::result::{BulkCall, Form};
use crate::study::misuse::Slip;

/// What wrong lines need to know of the calls so far; untouched where no line can be wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// The position after the last call.
    had: usize,
    /// What the last call returned.
    before: usize,
}

impl<W: World> Env<'_, W> {
    /// Where a caller of v1 begins: `have` slots hold pages.
    #[inline(always)]
    pub fn position(&mut self, have: usize) -> Position<SeenBy<W>> {
        if W::Hooks::ON {
            self.course = Course { had: have, before: 0 };
        }
        Position { at: have, seen: SeenBy::<W>::NOTHING }
    }

    /// Where a caller begins that counts pages itself.
    #[inline(always)]
    pub fn total(&mut self, n: usize) -> Total<SeenBy<W>> {
        if W::Hooks::ON {
            self.course = Course::default();
        }
        Total { n, seen: SeenBy::<W>::NOTHING }
    }

    /// `alloc_pages_bulk(gfp, slots.len(), slots)` of v1.
    #[inline]
    pub fn alloc_pages_bulk_v1(&mut self, gfp: Gfp, slots: &[Slot]) -> Result<Position<SeenBy<W>>> {
        let had = self.course.had;
        let base = if self.slips(Slip::WrongBase) { had.min(slots.len()) } else { 0 };
        let ret = self.call::<NullOnly>(gfp, slots, base, slots.len() - base)?;
        if !W::Hooks::ON {
            return Ok(Position { at: ret, seen: SeenBy::<W>::NOTHING });
        }
        let at = if self.slips(Slip::MixesCounts) { had + ret } else { ret };
        let seen = self.hooks.seen(ret, slots.len(), self.course.before);
        self.course = Course { had: at, before: ret };
        Ok(Position { at, seen })
    }

    /// `alloc_pages_bulk(gfp, slots.len() - from, slots + from)` of v2.
    #[inline]
    pub fn alloc_pages_bulk_v2(&mut self, gfp: Gfp, slots: &[Slot], from: usize) -> Result<Count<SeenBy<W>>> {
        self.rest::<OutputOnly>(gfp, slots, from)
    }

    /// The same of the version that a form uses. Every slot from `from` on is NULL, where v1 returns a number of pages
    /// too.
    #[inline]
    pub fn alloc_pages_bulk(&mut self, form: Form, gfp: Gfp, slots: &[Slot], from: usize) -> Result<Count<SeenBy<W>>> {
        match form {
            Form::Before | Form::Tracked => self.rest::<NullOnly>(gfp, slots, from),
            Form::After | Form::V3 => self.rest::<OutputOnly>(gfp, slots, from),
        }
    }

    /// `alloc_pages_bulk_node(gfp, nid, slots.len(), slots)` of the version that a form uses.
    #[inline]
    pub fn alloc_pages_bulk_node(
        &mut self,
        form: Form,
        gfp: Gfp,
        nid: Option<usize>,
        slots: &[Slot],
    ) -> Result<Count<SeenBy<W>>> {
        let own = self.nid;
        self.nid = self.machine.nearest_node(nid, self.cx.cpu)?;
        let ret = self.alloc_pages_bulk(form, gfp, slots, 0);
        self.nid = own;
        ret
    }

    #[inline]
    fn rest<S: Semantics>(&mut self, gfp: Gfp, slots: &[Slot], from: usize) -> Result<Count<SeenBy<W>>> {
        let asked = slots.len() - from;
        let base = if self.slips(Slip::WrongBase) { 0 } else { from };
        let n = self.call::<S>(gfp, slots, base, asked)?;
        if !W::Hooks::ON {
            return Ok(Count { n, seen: SeenBy::<W>::NOTHING });
        }
        let seen = self.hooks.seen(n, asked, self.course.before);
        self.course.before = n;
        Ok(Count { n, seen })
    }

    /// `alloc_pages_bulk(gfp, n, slots + base)` with semantics `S`.
    #[inline]
    fn call<S: Semantics>(&mut self, gfp: Gfp, slots: &[Slot], base: usize, n: usize) -> Result<usize> {
        self.count_call()?;
        let part = &slots[base..base + n];
        let base = self.origin + base;
        self.cx.tell(|| Event::BulkCall { base, nr_pages: n });
        let ret = if self.slips(Slip::OtherApi) {
            if S::NAME == OutputOnly::NAME {
                self.machine.bulk::<NullOnly>(&mut self.cx, gfp, self.nid, part)
            } else {
                self.machine.bulk::<OutputOnly>(&mut self.cx, gfp, self.nid, part)
            }
        } else {
            self.machine.bulk::<S>(&mut self.cx, gfp, self.nid, part)
        };
        self.note(base, n, ret as i64);
        Ok(ret)
    }

    /// `alloc_pages_bulk_refill()` of the proposal v3.
    #[inline]
    pub fn alloc_pages_bulk_refill(&mut self, gfp: Gfp, slots: &[Slot]) -> Result<Refilled> {
        self.count_call()?;
        self.cx.tell(|| Event::BulkCall { base: 0, nr_pages: slots.len() });
        let refilled = self.machine.alloc_pages_bulk_refill(&mut self.cx, gfp, slots)?;
        self.note(0, slots.len(), i64::from(refilled.errno()));
        Ok(match refilled {
            Refilled::Partly if self.slips(Slip::PartialIsFailure) => Refilled::Nothing,
            Refilled::Partly if self.slips(Slip::IgnoresShort) => Refilled::All,
            refilled => refilled,
        })
    }

    #[inline]
    fn note(&mut self, base: usize, nr_pages: usize, ret: i64) {
        self.cx.tell(|| Event::BulkReturn { ret });
        if W::Probe::ON {
            self.log.bulk_calls.push(BulkCall { base, nr_pages, ret });
        }
    }

    /// A caller whose code is wrong may call without end, so calls are counted where that is possible.
    #[inline(always)]
    fn count_call(&mut self) -> Result<()> {
        if W::Hooks::ON {
            if self.calls == self.max_calls {
                self.endless = true;
                return Err(Error::misuse(format!("the caller made {} bulk calls and did not end", self.calls)));
            }
            self.calls += 1;
        }
        Ok(())
    }

    /// `alloc_page(gfp)`: the single-page path.
    #[inline]
    pub fn alloc_page(&mut self, gfp: Gfp) -> Result<Option<Pfn>> {
        self.machine.alloc_pages(&mut self.cx, gfp, 0, Some(self.nid))
    }
}
