//! Kernel: `fs/xfs/xfs_buf.c`, `xfs_buf_alloc_pages()` (v6.14; gone in 6.15).
//!
//! The array starts all NULL. The patch passes the rest of it after each call that brought something, so later calls
//! ask the watermark gate for less. Except for read-ahead the caller never gives up. v3 came after this caller went.

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::Fault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Probe;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Pfn, Result, Slot};

use crate::env::{Counting, Env, Hooks};
use crate::misuse::Slip;
use crate::result::{CallerResult, Form, Ret};

/// Forms of this caller.
pub const FORMS: &[Form] = &[Form::Before, Form::After];
/// `XB_PAGES`: buffers of up to so many pages have their array in the buffer itself.
pub const XB_PAGES: usize = 2;

/// `XBF_READ` and `XBF_READ_AHEAD`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XbfFlags {
    /// The buffer is about to be read, so its pages need not be zeroed.
    pub read: bool,
    /// The buffer is only read ahead, so failure is an option.
    pub read_ahead: bool,
}

impl XbfFlags {
    /// Flags of the page requests.
    pub const fn gfp(self) -> Gfp {
        let mut gfp = Gfp::KERNEL.0 | Gfp::NOWARN.0;
        if self.read_ahead {
            gfp |= Gfp::NORETRY.0;
        }
        if !self.read {
            gfp |= Gfp::ZERO.0;
        }
        Gfp(gfp)
    }
}

/// `struct xfs_buf`, as far as pages go.
#[derive(Debug, Default)]
pub struct XfsBuf {
    /// `b_pages`, whose length is `b_page_count`.
    pub pages: Box<[Slot]>,
}

/// Allocates `page_count` pages for the buffer: 0 or `-ENOMEM`. When the waits are used up, pages obtained so far stay
/// in the buffer.
///
/// # Errors
///
/// For a form that this caller does not have, or more pages than an `int` counts.
pub fn xfs_buf_alloc_pages<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    bp: &mut XfsBuf,
    page_count: usize,
    flags: XbfFlags,
    form: Form,
) -> Result<Ret> {
    let form = form.among(FORMS)?;
    env.check_int("page_count", page_count)?;
    let gfp = flags.gfp();
    bp.pages = if page_count <= XB_PAGES {
        Slot::array(page_count)
    } else {
        let Some(pages) = env.pointer_array(page_count) else { return Ok(Ret::NOMEM) };
        pages
    };
    let (mut filled, mut ret) = (0, 0);
    loop {
        let (last, previous) = (filled, ret);
        let progress = match form {
            Form::Before | Form::Tracked => {
                ret = env.bulk_whole::<NullOnly>(gfp, &bp.pages, filled)?;
                filled = env.position(filled, ret);
                env.progress(ret, page_count, filled != last, ret != 0)
            }
            Form::After | Form::V3 => {
                ret = env.bulk_rest::<OutputOnly>(gfp, &bp.pages, filled)?;
                filled = env.sum(filled, ret);
                env.progress(ret, page_count - last, ret != 0, ret != previous)
            }
        };
        if filled == page_count || env.slips(Slip::IgnoresShort) && ret > 0 {
            env.stat("xb_page_found", 1);
            return Ok(Ret::OK);
        }
        if progress {
            continue;
        }
        if flags.read_ahead {
            free_pages(env, bp)?;
            return Ok(Ret::NOMEM);
        }
        if env.out_of_waits() {
            return Ok(Ret::GaveUp);
        }
        env.stat("xb_page_retries", 1);
        env.memalloc_retry_wait(gfp);
    }
}

/// `xfs_buf_free_pages()`. The task is credited the whole buffer as reclaimed, whatever was in it.
#[cold]
fn free_pages<L: Locking, P: Probe, F: Fault, H: Hooks>(env: &mut Env<'_, L, P, F, H>, bp: &mut XfsBuf) -> Result<()> {
    for (i, slot) in bp.pages.iter().enumerate() {
        if slot.test(&mut env.cx, i) {
            env.free_page(slot.get())?;
            // The kernel frees the array next; nobody stores to it.
            slot.set(Pfn::NULL);
        }
    }
    env.stat("reclaimed_pages", bp.pages.len() as u64);
    Ok(())
}

/// One observed run. `array` is the buffer's; all NULL after `-ENOMEM`.
///
/// # Errors
///
/// As [`xfs_buf_alloc_pages`].
pub fn run<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, Counting<P>, F, H>,
    page_count: usize,
    flags: XbfFlags,
    form: Form,
) -> Result<CallerResult> {
    let mut bp = XfsBuf::default();
    let ret = xfs_buf_alloc_pages(env, &mut bp, page_count, flags, form);
    let ret = env.ended(ret)?;
    Ok(env.report(ret, Some(bp.pages)))
}
