//! Kernel: `net/sunrpc/svc_xprt.c`, `svc_alloc_arg()`; `net/sunrpc/svc.c`, `svc_init_buffer()` (v6.14; `tracked`: 7.1).
//!
//! Before each request the thread refills the slots whose pages the last one gave away. The patch compacts the array
//! first and passes the rest: pages move down, new ones come in at the end, the gate asks for less, and a first call
//! that brings nothing is followed by a wait instead of another call. v3 leaves the compaction to the call.
//!
//! `tracked` is the form of 7.1, as public archives describe it: the array is split in a call and a reply array, each
//! with the range that the last request consumed, and only these ranges are passed to v1. Modelled here: one array with
//! one such range ([`Rqst::consumed`]), given, or else taken as the span from the first hole to the last, which is what
//! the release of a request leaves.

use core::ops::Range;

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::pfn::PAGE_SIZE;
use bulkpages_core::{Error, Pfn, Result, Slot};

use super::compact::compact;
use super::port::{Array, Flags, Info, Input, Port, Short};
use crate::env::{Env, Hooks, World};
use crate::holes::{Request, Shape};
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// `RPCSVC_MAXPAGES`: pages of a 1 MiB payload, of head and tail, and one more.
pub const RPCSVC_MAXPAGES: usize = (1 << 20) / PAGE_SIZE as usize + 2 + 1;

/// Slots that `svc_alloc_arg()` fills for messages of at most `sv_max_mesg` bytes.
pub const fn svc_pages(sv_max_mesg: usize) -> usize {
    let pages = (sv_max_mesg + 2 * PAGE_SIZE as usize) / PAGE_SIZE as usize;
    if pages > RPCSVC_MAXPAGES { RPCSVC_MAXPAGES } else { pages }
}

/// `struct svc_rqst`, as far as pages go.
#[derive(Clone, Debug)]
pub struct Rqst<'a> {
    /// `rq_pages`: the slots that are filled, and behind them the sentinel, if there is room for it.
    pub rq_pages: &'a [Slot],
    /// Slots to fill; 259 at most are.
    pub pages: usize,
    /// For `tracked`: the slots that the last request consumed.
    pub consumed: Option<Range<usize>>,
    /// Out: index of `rq_page_end`.
    pub rq_page_end: usize,
    /// Out: `rq_arg.page_len`.
    pub page_len: u64,
}

impl<'a> Rqst<'a> {
    /// A request of `pages` pages.
    pub fn new(rq_pages: &'a [Slot], pages: usize) -> Self {
        Rqst { rq_pages, pages, consumed: None, rq_page_end: 0, page_len: 0 }
    }

    /// The span from the first hole to the last.
    pub fn span_of_holes(slots: &[Slot]) -> Range<usize> {
        let hole = |s: &Slot| s.raw() == 0;
        match slots.iter().position(hole) {
            Some(first) => first..slots.iter().rposition(hole).map_or(first, |last| last + 1),
            None => 0..0,
        }
    }
}

/// Refills the slots: `true`, or `false` when the thread is to stop.
///
/// # Errors
///
/// For fewer slots than `pages`, or a consumed range outside them.
pub fn svc_alloc_arg<W: World>(env: &mut Env<'_, W>, rqst: &mut Rqst<'_>, form: Form) -> Result<Ret> {
    let mut pages = rqst.pages;
    if pages > rqst.rq_pages.len() {
        return Err(Error::invalid(format!("pages {pages} is above the {} slots there are", rqst.rq_pages.len())));
    }
    if pages > RPCSVC_MAXPAGES {
        // The kernel warns once.
        env.stat("capped", 1);
        pages = RPCSVC_MAXPAGES;
    }
    let slots = &rqst.rq_pages[..pages];
    let ret = match form {
        Form::Before => before(env, slots)?,
        Form::After => after(env, slots)?,
        Form::Tracked => {
            let range = rqst.consumed.clone().unwrap_or_else(|| Rqst::span_of_holes(slots));
            let Some(part) = slots.get(range.clone()) else {
                return Err(Error::invalid(format!(
                    "consumed slots {} to {} are outside of an array of {pages}",
                    range.start, range.end
                )));
            };
            env.origin = range.start;
            let ret = before(env, part);
            env.origin = 0;
            ret?
        }
        Form::V3 => v3(env, slots)?,
    };
    if ret == Ret::Bool(true) {
        rqst.consumed = None;
        rqst.rq_page_end = pages;
        if let Some(sentinel) = rqst.rq_pages.get(pages) {
            sentinel.set(Pfn::NULL);
        }
        rqst.page_len = (pages as u64).saturating_sub(2) * PAGE_SIZE;
    }
    Ok(ret)
}

/// What a caller does after a call that brought nothing: stop, sleep and go on, or run out of waits.
#[cold]
pub(super) fn idle<W: World>(env: &mut Env<'_, W>, line: impl FnOnce() -> String) -> Option<Ret> {
    if W::Hooks::ON && env.hooks.should_stop() {
        return Some(Ret::Bool(false));
    }
    if env.out_of_waits() {
        return Some(Ret::GaveUp);
    }
    env.trace(line);
    env.memalloc_retry_wait(Gfp::KERNEL);
    None
}

/// The loop on v1.
fn before<W: World>(env: &mut Env<'_, W>, slots: &[Slot]) -> Result<Ret> {
    let pages = slots.len();
    let mut filled = env.position(0);
    while filled < pages {
        let ret = env.alloc_pages_bulk_v1(Gfp::KERNEL, slots)?;
        let progress = ret > filled;
        filled = ret;
        if !progress
            && let Some(end) = idle(env, || format!("svc_alloc_arg_err: requested={pages} allocated={}", ret.get()))
        {
            return Ok(end);
        }
    }
    Ok(Ret::Bool(true))
}

fn after<W: World>(env: &mut Env<'_, W>, slots: &[Slot]) -> Result<Ret> {
    let pages = slots.len();
    let compacted = compact(&mut env.cx, slots);
    let mut filled = env.total(compacted);
    while filled < pages {
        let ret = env.alloc_pages_bulk_v2(Gfp::KERNEL, slots, filled.get())?;
        let allocated = filled.get();
        if !ret && let Some(end) = idle(env, || format!("svc_alloc_arg_err: requested={pages} allocated={allocated}")) {
            return Ok(end);
        }
        filled += ret;
    }
    Ok(Ret::Bool(true))
}

/// The proposal also changes what the trace line says.
fn v3<W: World>(env: &mut Env<'_, W>, slots: &[Slot]) -> Result<Ret> {
    let pages = slots.len();
    loop {
        let ret = env.alloc_pages_bulk_refill(Gfp::KERNEL, slots)?;
        match ret {
            Refilled::All => return Ok(Ret::Bool(true)),
            Refilled::Partly => {}
            Refilled::Nothing => {
                if let Some(end) = idle(env, || format!("svc_alloc_arg_err: requested={pages} ret={}", ret.errno())) {
                    return Ok(end);
                }
            }
        }
    }
}

/// `svc_init_buffer()`: the first pages of a thread, all or none. The patch leaves it alone; in `after` and `v3` the
/// call that it makes is the output-only one.
///
/// # Errors
///
/// For fewer slots than the pages that are needed, or slots that are not all NULL.
pub fn svc_init_buffer<W: World>(
    env: &mut Env<'_, W>,
    rq_pages: &[Slot],
    sv_max_mesg: usize,
    form: Form,
) -> Result<bool> {
    let pages = (sv_max_mesg / PAGE_SIZE as usize + 1).min(RPCSVC_MAXPAGES);
    let Some(slots) = rq_pages.get(..pages) else {
        return Err(Error::invalid(format!("pages {pages} is above the {} slots there are", rq_pages.len())));
    };
    if let Some(i) = slots.iter().position(|s| s.raw() != 0) {
        return Err(Error::invalid(format!("slot {i} of a new thread's array is not NULL")));
    }
    let got = env.alloc_pages_bulk(form, Gfp::KERNEL, slots, 0)?.get();
    if got < pages {
        svc_release(env, rq_pages, 0..got)?;
    }
    Ok(got == pages)
}

/// `svc_rqst_release_pages()`, and the end of a thread: drops the pages in a range of slots. Returns how many.
///
/// # Errors
///
/// For a range outside the array, and for a slot that holds something that is not an owned page.
pub fn svc_release<W: World>(env: &mut Env<'_, W>, rq_pages: &[Slot], range: Range<usize>) -> Result<usize> {
    let Some(slots) = rq_pages.get(range.clone()) else {
        return Err(Error::invalid(format!(
            "slots {} to {} are outside of an array of {}",
            range.start,
            range.end,
            rq_pages.len()
        )));
    };
    let mut released = Vec::with_capacity(slots.len());
    for slot in slots.iter().filter(|s| s.raw() != 0) {
        released.push(slot.get());
        slot.set(Pfn::NULL);
    }
    env.release_pages(&released)?;
    Ok(released.len())
}

#[derive(Debug)]
pub struct SvcAllocArg;

impl Port for SvcAllocArg {
    const INFO: Info = Info {
        stops: true,
        today: false,
        ..Info::of_patch(
            "svc_alloc_arg",
            "net/sunrpc/svc_xprt.c",
            &[Form::Before, Form::After, Form::Tracked, Form::V3],
            Array::Given,
            Short::Retries,
        )
    };
    type Work<'a> = Rqst<'a>;

    fn work<'a>(slots: &'a [Slot], input: &Input) -> Result<Rqst<'a>> {
        let mut rqst = Rqst::new(slots, input.pages);
        if let Some(slots) = slots.get(..input.pages.min(RPCSVC_MAXPAGES)) {
            // What `tracked` knows without looking.
            rqst.consumed = Some(Rqst::span_of_holes(slots));
        }
        Ok(rqst)
    }

    fn run<W: World>(env: &mut Env<'_, W>, rqst: &mut Rqst<'_>, _: &Input, form: Form) -> Result<Ret> {
        svc_alloc_arg(env, rqst, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, _: Rqst<'_>) -> Result<Option<Box<[Slot]>>> {
        Ok(None)
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        let mut shapes = Shape::patterns(&[1, 2, 4, 8, 16]);
        for pages in [67, 131, 259] {
            shapes.push(Shape::prefix_of(pages, pages - 1));
            shapes.push(Shape::full(pages));
            shapes.extend(Request::MIX.map(|request| request.shape(pages)));
        }
        shapes.into_iter().map(|shape| (shape, Flags::NONE)).collect()
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
