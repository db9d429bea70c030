//! Kernel: `fs/xfs/xfs_buf.c`, `xfs_buf_alloc_pages()` (v6.14; gone in 6.15).
//!
//! The array starts all NULL. The patch passes the rest of it after each call that brought something, so later calls
//! ask the watermark gate for less. Except for read-ahead the caller never gives up. v3 came after this caller went.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Pfn, Result, Slot};

use super::port::{Array, Flag, Flags, Info, Input, Port, Short};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// `XB_PAGES`: buffers of up to so many pages have their array in the buffer itself.
pub const XB_PAGES: usize = 2;
/// `XBF_READ_AHEAD`: the buffer is only read ahead, so failure is an option.
pub const READ_AHEAD: Flags = Flags(1);
/// Without `XBF_READ`: the buffer is not about to be read, so its pages are zeroed.
pub const ZEROED: Flags = Flags(2);

/// Flags of the page requests.
pub const fn gfp(flags: Flags) -> Gfp {
    let mut gfp = Gfp::KERNEL.0 | Gfp::NOWARN.0;
    if flags.has(READ_AHEAD) {
        gfp |= Gfp::NORETRY.0;
    }
    if flags.has(ZEROED) {
        gfp |= Gfp::ZERO.0;
    }
    Gfp(gfp)
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
/// For more pages than an `int` counts.
pub fn xfs_buf_alloc_pages<W: World>(
    env: &mut Env<'_, W>,
    bp: &mut XfsBuf,
    page_count: usize,
    flags: Flags,
    form: Form,
) -> Result<Ret> {
    env.check_int("page_count", page_count)?;
    bp.pages = if page_count <= XB_PAGES {
        Slot::array(page_count)
    } else {
        let Some(pages) = env.pointer_array(page_count) else { return Ok(Ret::NOMEM) };
        pages
    };
    match form {
        Form::Before | Form::Tracked => before(env, bp, flags),
        Form::After | Form::V3 => after(env, bp, flags),
    }
}

fn before<W: World>(env: &mut Env<'_, W>, bp: &mut XfsBuf, flags: Flags) -> Result<Ret> {
    let mut filled = env.position(0);
    loop {
        let last = filled;
        filled = env.alloc_pages_bulk_v1(gfp(flags), &bp.pages)?;
        if filled == bp.pages.len() {
            env.stat("xb_page_found", 1);
            return Ok(Ret::OK);
        }
        if filled == last
            && let Some(ret) = retry(env, bp, flags)?
        {
            return Ok(ret);
        }
    }
}

fn after<W: World>(env: &mut Env<'_, W>, bp: &mut XfsBuf, flags: Flags) -> Result<Ret> {
    let mut filled = env.total(0);
    loop {
        let ret = env.alloc_pages_bulk_v2(gfp(flags), &bp.pages, filled.get())?;
        filled += ret;
        if filled == bp.pages.len() {
            env.stat("xb_page_found", 1);
            return Ok(Ret::OK);
        }
        if !ret && let Some(ret) = retry(env, bp, flags)? {
            return Ok(ret);
        }
    }
}

/// A call that brought nothing: read-ahead fails, everybody else waits.
#[cold]
fn retry<W: World>(env: &mut Env<'_, W>, bp: &mut XfsBuf, flags: Flags) -> Result<Option<Ret>> {
    if flags.has(READ_AHEAD) {
        free_pages(env, bp)?;
        return Ok(Some(Ret::NOMEM));
    }
    if env.out_of_waits() {
        return Ok(Some(Ret::GaveUp));
    }
    env.stat("xb_page_retries", 1);
    env.memalloc_retry_wait(gfp(flags));
    Ok(None)
}

/// `xfs_buf_free_pages()`. The task is credited the whole buffer as reclaimed, whatever was in it.
#[cold]
fn free_pages<W: World>(env: &mut Env<'_, W>, bp: &mut XfsBuf) -> Result<()> {
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

/// The port. Its array is the buffer's; all NULL after `-ENOMEM`.
#[derive(Debug)]
pub struct XfsBufAllocPages;

impl Port for XfsBufAllocPages {
    const INFO: Info = Info {
        flags: &[
            Flag { name: "read_ahead", help: "the buffer is only read ahead" },
            Flag { name: "zeroed", help: "the buffer is not about to be read, so its pages are zeroed" },
        ],
        today: false,
        counted: "page_count",
        ..Info::of_patch(
            "xfs_buf_alloc_pages",
            "fs/xfs/xfs_buf.c",
            &[Form::Before, Form::After],
            Array::Own,
            Short::Retries,
        )
    };
    type Work<'a> = XfsBuf;

    fn work(_: &[Slot], _: &Input) -> Result<XfsBuf> {
        Ok(XfsBuf::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, bp: &mut XfsBuf, input: &Input, form: Form) -> Result<Ret> {
        xfs_buf_alloc_pages(env, bp, input.pages, input.flags, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, bp: XfsBuf) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(bp.pages))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        let counts = [1, 2, 3, 4, 8, 16, 64];
        counts.into_iter().flat_map(|n| [Flags::NONE, READ_AHEAD].map(|flags| (Shape::empty(n), flags))).collect()
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
