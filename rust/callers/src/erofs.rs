//! Kernel: `fs/erofs/zutil.c`, `z_erofs_gbuf_growsize()` (v6.14).
//!
//! The array is a copy of the buffer's pages followed by NULL slots. The patch passes the rest of it instead of all of
//! it, so the watermark gate asks for less; calls and outcome stay the same. v3 makes it a refill.

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::Fault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Probe;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Error, Result, Slot};

use crate::env::{Counting, Env, Hooks};
use crate::misuse::Slip;
use crate::result::{CallerResult, Form, Ret};

/// Forms of this caller.
pub const FORMS: &[Form] = &[Form::Before, Form::After, Form::V3];

/// The global buffers.
#[derive(Debug, Default)]
pub struct Gbufs {
    /// Pages of each buffer.
    pub bufs: Vec<Box<[Slot]>>,
    /// `z_erofs_gbuf_nrpages`: the size that all buffers have reached.
    pub nrpages: usize,
}

impl Gbufs {
    /// `count` empty buffers.
    pub fn new(count: usize) -> Gbufs {
        Gbufs { bufs: (0..count).map(|_| Slot::array(0)).collect(), nrpages: 0 }
    }
}

/// Grows every buffer to `nrpages` pages: 0 or `-ENOMEM`. Buffers that were grown before a failure stay grown.
///
/// # Errors
///
/// For a form that this caller does not have, or more pages than an `int` counts.
pub fn z_erofs_gbuf_growsize<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    gbufs: &mut Gbufs,
    nrpages: usize,
    form: Form,
) -> Result<Ret> {
    let form = form.among(FORMS)?;
    env.check_int("nrpages", nrpages)?;
    // Nobody knows how many mounts rely on the size, so it never shrinks.
    if nrpages <= gbufs.nrpages {
        return Ok(Ret::OK);
    }
    for gbuf in &mut gbufs.bufs {
        if gbuf.len() >= nrpages {
            continue;
        }
        let Some(tmp_pages) = env.pointer_array(nrpages) else { return Ok(Ret::NOMEM) };
        for (j, (to, from)) in tmp_pages.iter().zip(gbuf.iter()).enumerate() {
            to.write(&mut env.cx, j, from.get());
        }
        let filled = match form {
            Form::Before | Form::Tracked => before(env, &tmp_pages, gbuf.len())?,
            Form::After => after(env, &tmp_pages, gbuf.len())?,
            Form::V3 => v3(env, &tmp_pages)?,
        };
        if !filled || H::ON && env.hooks.vmap_fails(nrpages) {
            for (j, slot) in tmp_pages.iter().enumerate() {
                if slot.test(&mut env.cx, j) && gbuf.get(j).is_none_or(|old| old.get() != slot.get()) {
                    env.free_page(slot.get())?;
                }
            }
            return Ok(Ret::NOMEM);
        }
        *gbuf = tmp_pages;
    }
    gbufs.nrpages = nrpages;
    Ok(Ret::OK)
}

fn before<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    tmp_pages: &[Slot],
    have: usize,
) -> Result<bool> {
    let mut j = have;
    loop {
        let last = j;
        let ret = env.bulk_whole::<NullOnly>(Gfp::KERNEL, tmp_pages, j)?;
        j = env.position(j, ret);
        if !env.progress(ret, tmp_pages.len(), last != j, ret != 0) {
            return Ok(false);
        }
        if j == tmp_pages.len() || env.slips(Slip::IgnoresShort) {
            return Ok(true);
        }
    }
}

fn after<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    tmp_pages: &[Slot],
    have: usize,
) -> Result<bool> {
    let (mut last, mut j) = (have, 0);
    while env.goes_on(last, tmp_pages.len(), j) {
        let (previous, asked) = (j, tmp_pages.len() - last);
        j = env.bulk_rest::<OutputOnly>(Gfp::KERNEL, tmp_pages, last)?;
        if !env.progress(j, asked, j != 0, j != previous) {
            return Ok(false);
        }
        last = env.sum(last, j);
    }
    Ok(true)
}

fn v3<L: Locking, P: Probe, F: Fault, H: Hooks>(env: &mut Env<'_, L, P, F, H>, tmp_pages: &[Slot]) -> Result<bool> {
    loop {
        match env.refill(Gfp::KERNEL, tmp_pages)? {
            Refilled::All => return Ok(true),
            Refilled::Partly => {}
            Refilled::Nothing => return Ok(false),
        }
    }
}

/// One observed run on one buffer that has `have` pages already, which come from the same machine, uncounted and
/// without injected failures. `array` is the buffer afterwards.
///
/// # Errors
///
/// As [`z_erofs_gbuf_growsize`]; also when the machine does not have `have` pages, none of which is kept then.
pub fn run<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, Counting<P>, F, H>,
    have: usize,
    nrpages: usize,
    form: Form,
) -> Result<CallerResult> {
    form.among(FORMS)?;
    env.check_int("nrpages", nrpages)?;
    if have > crate::env::MAX_POINTERS {
        return Err(Error::invalid(format!("have {have} is above {}", crate::env::MAX_POINTERS)));
    }
    let pages = crate::holes::Shape::full(have).fill(env.machine, env.cx.cpu)?;
    run_on(env, pages, nrpages, form)
}

/// The same on a buffer of these pages.
///
/// # Errors
///
/// As [`z_erofs_gbuf_growsize`].
pub fn run_on<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, Counting<P>, F, H>,
    pages: Box<[Slot]>,
    nrpages: usize,
    form: Form,
) -> Result<CallerResult> {
    let mut gbufs = Gbufs { nrpages: pages.len(), bufs: vec![pages] };
    let ret = z_erofs_gbuf_growsize(env, &mut gbufs, nrpages, form);
    let ret = env.ended(ret)?;
    Ok(env.report(ret, gbufs.bufs.pop()))
}
