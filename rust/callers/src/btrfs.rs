//! Kernel: `fs/btrfs/extent_io.c`, `btrfs_alloc_page_array()` (v6.14).
//!
//! The patch makes the caller compact the array first, count the pages itself and pass the rest. So pages move when a
//! hole lies before them, one attempt is enough to see that there is no memory, and a failure frees all pages, where
//! the form before frees those in front of the first hole. v3 leaves the compaction to the call and frees all pages too.

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::Fault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Probe;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Error, Pfn, Result, Slot};

use crate::compact::compact;
use crate::env::{Counting, Env, Hooks};
use crate::misuse::Slip;
use crate::result::{CallerResult, Form, Ret};

/// Forms of this caller.
pub const FORMS: &[Form] = &[Form::Before, Form::After, Form::V3];

/// Fills the array: 0 or `-ENOMEM`.
///
/// # Errors
///
/// For a form that this caller does not have, for more slots than an `int` counts, and when a slot that is to be freed
/// holds something that is not an owned page.
pub fn btrfs_alloc_page_array<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    page_array: &[Slot],
    nofail: bool,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_pages", page_array.len())?;
    let gfp = if nofail { Gfp::NOFS | Gfp::NOFAIL } else { Gfp::NOFS };
    match form.among(FORMS)? {
        Form::Before | Form::Tracked => before(env, page_array, gfp),
        Form::After => after(env, page_array, gfp),
        Form::V3 => v3(env, page_array, gfp),
    }
}

fn before<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    page_array: &[Slot],
    gfp: Gfp,
) -> Result<Ret> {
    let pages = page_array.len();
    let (mut allocated, mut ret) = (0, 0);
    while env.goes_on(allocated, pages, ret) {
        let last = allocated;
        ret = env.bulk_whole::<NullOnly>(gfp, page_array, allocated)?;
        allocated = env.position(allocated, ret);
        if !env.progress(ret, pages, allocated != last, ret != 0) {
            return free_all(env, page_array, allocated);
        }
    }
    Ok(Ret::OK)
}

fn after<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    page_array: &[Slot],
    gfp: Gfp,
) -> Result<Ret> {
    let pages = page_array.len();
    let mut allocated = compact(&mut env.cx, page_array);
    let mut ret = 0;
    while env.goes_on(allocated, pages, ret) {
        let (last, asked) = (ret, pages - allocated);
        ret = env.bulk_rest::<OutputOnly>(gfp, page_array, allocated)?;
        allocated = env.sum(allocated, ret);
        if !env.progress(ret, asked, ret != 0, ret != last) {
            return free_all(env, page_array, allocated);
        }
    }
    Ok(Ret::OK)
}

fn v3<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    page_array: &[Slot],
    gfp: Gfp,
) -> Result<Ret> {
    loop {
        match env.refill(gfp, page_array)? {
            Refilled::All => return Ok(Ret::OK),
            Refilled::Partly => {}
            Refilled::Nothing => {
                for (i, slot) in page_array.iter().enumerate() {
                    if slot.test(&mut env.cx, i) {
                        free_slot(env, slot, i)?;
                    }
                }
                return Ok(Ret::NOMEM);
            }
        }
    }
}

/// The way out of both forms: the first `allocated` slots hold pages.
#[cold]
fn free_all<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    page_array: &[Slot],
    allocated: usize,
) -> Result<Ret> {
    let Some(slots) = page_array.get(..allocated) else {
        return Err(Error::misuse(format!("the caller frees {allocated} slots of {}", page_array.len())));
    };
    for (i, slot) in slots.iter().enumerate() {
        free_slot(env, slot, i)?;
    }
    Ok(Ret::NOMEM)
}

/// Frees the page of slot `i` and clears the slot.
fn free_slot<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    slot: &Slot,
    i: usize,
) -> Result<()> {
    env.free_page(slot.get())?;
    if !env.slips(Slip::ForgetsClear) {
        slot.write(&mut env.cx, i, Pfn::NULL);
    }
    Ok(())
}

/// One observed run.
///
/// # Errors
///
/// As [`btrfs_alloc_page_array`].
pub fn run<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, Counting<P>, F, H>,
    page_array: &[Slot],
    nofail: bool,
    form: Form,
) -> Result<CallerResult> {
    let ret = btrfs_alloc_page_array(env, page_array, nofail, form);
    let ret = env.ended(ret)?;
    Ok(env.report(ret, None))
}
