//! Kernel: `net/sunrpc/svc_xprt.c`, `svc_alloc_arg()` and `svc_fill_pages()` (7.3.4; so since 7.1).
//!
//! A thread has two arrays of pages, one for requests and one for replies. It knows how many slots the last request
//! consumed at the front of each, and passes these alone. So every slot that the call gets is NULL, and the question
//! whether the call or its caller skips populated slots does not come up here any more.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Error, Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, given};
use super::svc::idle;
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// `struct svc_rqst`, as far as pages go.
#[derive(Clone, Copy, Debug)]
pub struct Rqst<'a> {
    /// `rq_pages`: the pages of the request.
    pub rq_pages: &'a [Slot],
    /// `rq_pages_nfree`: slots at its front that are NULL.
    pub rq_pages_nfree: usize,
    /// `rq_respages`: the pages of the reply.
    pub rq_respages: &'a [Slot],
    /// `rq_next_page - rq_respages`: slots at its front that are NULL.
    pub consumed: usize,
}

/// Refills both arrays: `true`, or `false` when the thread is to stop.
///
/// # Errors
///
/// Those of the machine.
pub fn svc_alloc_arg<W: World>(env: &mut Env<'_, W>, rqst: &mut Rqst<'_>, form: Form) -> Result<Ret> {
    if rqst.rq_pages_nfree > 0 {
        match svc_fill_pages(env, &rqst.rq_pages[..rqst.rq_pages_nfree], form)? {
            Ret::Bool(true) => rqst.rq_pages_nfree = 0,
            ret => return Ok(ret),
        }
    }
    if rqst.consumed > 0 {
        env.origin = rqst.rq_pages.len();
        let ret = svc_fill_pages(env, &rqst.rq_respages[..rqst.consumed], form);
        env.origin = 0;
        match ret? {
            Ret::Bool(true) => rqst.consumed = 0,
            ret => return Ok(ret),
        }
    }
    Ok(Ret::Bool(true))
}

fn svc_fill_pages<W: World>(env: &mut Env<'_, W>, pages: &[Slot], form: Form) -> Result<Ret> {
    match form {
        Form::Before | Form::Tracked => before(env, pages),
        Form::After | Form::V3 => after(env, pages),
    }
}

fn before<W: World>(env: &mut Env<'_, W>, pages: &[Slot]) -> Result<Ret> {
    let npages = pages.len();
    let mut filled = env.position(0);
    while filled < npages {
        let ret = env.alloc_pages_bulk_v1(Gfp::KERNEL, pages)?;
        let progress = ret > filled;
        filled = ret;
        if !progress
            && let Some(end) = idle(env, || format!("svc_alloc_arg_err: requested={npages} allocated={}", ret.get()))
        {
            return Ok(end);
        }
    }
    Ok(Ret::Bool(true))
}

fn after<W: World>(env: &mut Env<'_, W>, pages: &[Slot]) -> Result<Ret> {
    let npages = pages.len();
    let mut filled = env.total(0);
    while filled < npages {
        let ret = env.alloc_pages_bulk_v2(Gfp::KERNEL, pages, filled.get())?;
        let allocated = filled.get();
        if !ret && let Some(end) = idle(env, || format!("svc_alloc_arg_err: requested={npages} allocated={allocated}"))
        {
            return Ok(end);
        }
        filled += ret;
    }
    Ok(Ret::Bool(true))
}

/// The port. The first half of its array is `rq_pages`, the second half `rq_respages`.
#[derive(Debug)]
pub struct SvcFillPages;

/// NULL slots at the front of an array that has none elsewhere.
fn holes_in_front(name: &str, slots: &[Slot]) -> Result<usize> {
    let nfree = slots.iter().take_while(|slot| slot.raw() == 0).count();
    match slots[nfree..].iter().position(|slot| slot.raw() == 0) {
        None => Ok(nfree),
        Some(i) => Err(Error::invalid(format!(
            "slot {} of {name} is NULL behind a page: a thread consumes pages from the front",
            nfree + i
        ))),
    }
}

impl Port for SvcFillPages {
    const INFO: Info = Info {
        stops: true,
        example: "..x.xx",
        ..Info::of_today("svc_fill_pages", "net/sunrpc/svc_xprt.c", Array::Given, Short::Retries)
    };
    type Work<'a> = Rqst<'a>;

    fn work<'a>(slots: &'a [Slot], input: &Input) -> Result<Rqst<'a>> {
        let slots = given(slots, input)?;
        let (rq_pages, rq_respages) = slots.split_at(slots.len() / 2);
        Ok(Rqst {
            rq_pages,
            rq_pages_nfree: holes_in_front("rq_pages", rq_pages)?,
            rq_respages,
            consumed: holes_in_front("rq_respages", rq_respages)?,
        })
    }

    fn run<W: World>(env: &mut Env<'_, W>, rqst: &mut Rqst<'_>, _: &Input, form: Form) -> Result<Ret> {
        svc_alloc_arg(env, rqst, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, _: Rqst<'_>) -> Result<Option<Box<[Slot]>>> {
        Ok(None)
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        let halves = [(1, 1, 1), (4, 1, 1), (4, 4, 2), (8, 3, 0), (8, 8, 8), (33, 1, 1), (129, 129, 1), (129, 1, 129)];
        let shape = |(half, request, reply)| {
            let holes = [0..request, half..half + reply];
            (Shape::with_holes(2 * half, &holes), Flags::NONE)
        };
        halves.into_iter().map(shape).collect()
    }

    fn slips(_: Form) -> &'static [Slip] {
        use Slip::{IgnoresShort, MixesCounts, OtherApi, OtherTest, PartialIsFailure, WrongBase};
        // Slots are cleared where a request gives its pages away, not here.
        &[MixesCounts, WrongBase, PartialIsFailure, OtherTest, IgnoresShort, OtherApi]
    }
}
