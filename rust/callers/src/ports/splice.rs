//! Kernel: `fs/splice.c`, `copy_splice_read()` (7.3.4).
//!
//! Pages to read a file into on their way to a pipe. The read shrinks to what one bulk call brought; only without any
//! page it fails. The file has enough data here, so every page goes into the pipe.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null, copy};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{ONE_CALL, Slip};

/// Fills up to `npages` buffers of the pipe: 0 for a read of any length, or `-ENOMEM`.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn copy_splice_read<W: World>(
    env: &mut Env<'_, W>,
    pipe: &mut Box<[Slot]>,
    npages: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("npages", npages)?;
    let Some(pages) = env.pointer_array(npages) else { return Ok(Ret::NOMEM) };
    let npages = env.alloc_pages_bulk(form, Gfp::USER, &pages, 0)?;
    if !npages {
        return Ok(Ret::NOMEM);
    }
    let pages = &pages[npages.slots()];
    for slot in pages {
        env.used(slot.get())?;
    }
    *pipe = copy(pages);
    Ok(Ret::OK)
}

/// The port. Its array is what the pipe holds.
#[derive(Debug)]
pub struct CopySpliceRead;

impl Port for CopySpliceRead {
    const INFO: Info = Info::of_today("copy_splice_read", "fs/splice.c", Array::Own, Short::Accepts);
    type Work<'a> = Box<[Slot]>;

    fn work(_: &[Slot], _: &Input) -> Result<Box<[Slot]>> {
        Ok(Slot::array(0))
    }

    fn run<W: World>(env: &mut Env<'_, W>, pipe: &mut Box<[Slot]>, input: &Input, form: Form) -> Result<Ret> {
        copy_splice_read(env, pipe, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, pipe: Box<[Slot]>) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(pipe))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16])
    }

    fn slips(_: Form) -> &'static [Slip] {
        ONE_CALL
    }
}
