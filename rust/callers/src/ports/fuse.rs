//! Kernel: `fs/fuse/readdir.c`, `fuse_readdir_alloc_buf()` (7.3.4).
//!
//! The buffer of a directory read. It shrinks to what one bulk call brought; only without any page the read fails.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null, copy};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{ONE_CALL, Slip};

/// Allocates up to `nr_pages` pages: 0, or `-ENOMEM` for NULL.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn fuse_readdir_alloc_buf<W: World>(
    env: &mut Env<'_, W>,
    buf: &mut Box<[Slot]>,
    nr_pages: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_pages", nr_pages)?;
    let Some(pages) = env.pointer_array(nr_pages) else { return Ok(Ret::NOMEM) };
    let nr_alloc = env.alloc_pages_bulk(form, Gfp::KERNEL, &pages, 0)?;
    if !nr_alloc {
        return Ok(Ret::NOMEM);
    }
    let pages = &pages[nr_alloc.slots()];
    // The folios.
    if env.array_fails(pages.len()) {
        env.release_slots(pages)?;
        return Ok(Ret::NOMEM);
    }
    for slot in pages {
        env.used(slot.get())?;
    }
    *buf = copy(pages);
    Ok(Ret::OK)
}

/// The port. Its array is the buffer.
#[derive(Debug)]
pub struct FuseReaddirAllocBuf;

impl Port for FuseReaddirAllocBuf {
    const INFO: Info = Info::of_today("fuse_readdir_alloc_buf", "fs/fuse/readdir.c", Array::Own, Short::Accepts);
    type Work<'a> = Box<[Slot]>;

    fn work(_: &[Slot], _: &Input) -> Result<Box<[Slot]>> {
        Ok(Slot::array(0))
    }

    fn run<W: World>(env: &mut Env<'_, W>, buf: &mut Box<[Slot]>, input: &Input, form: Form) -> Result<Ret> {
        fuse_readdir_alloc_buf(env, buf, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, buf: Box<[Slot]>) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(buf))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 32])
    }

    fn slips(_: Form) -> &'static [Slip] {
        ONE_CALL
    }
}
