//! Kernel: `drivers/firewire/core-iso.c`, `fw_iso_buffer_alloc()` (7.3.4).
//!
//! The pages of an isochronous buffer, below 4 GiB. One bulk call brings all of them or the buffer is refused.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{ALL_OR_NOTHING, Slip};

/// `struct fw_iso_buffer`, as far as pages go.
#[derive(Debug, Default)]
pub struct FwIsoBuffer {
    /// `pages`.
    pub pages: Box<[Slot]>,
}

/// Allocates `page_count` pages for the buffer: 0 or `-ENOMEM`.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn fw_iso_buffer_alloc<W: World>(
    env: &mut Env<'_, W>,
    buffer: &mut FwIsoBuffer,
    page_count: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("page_count", page_count)?;
    let Some(page_array) = env.pointer_array(page_count) else { return Ok(Ret::NOMEM) };
    let nr_populated = env.alloc_pages_bulk(form, Gfp::KERNEL | Gfp::DMA32 | Gfp::ZERO, &page_array, 0)?;
    if nr_populated != page_count {
        env.release_slots(&page_array[..nr_populated.get()])?;
        return Ok(Ret::NOMEM);
    }
    buffer.pages = page_array;
    Ok(Ret::OK)
}

#[derive(Debug)]
pub struct FwIsoBufferAlloc;

impl Port for FwIsoBufferAlloc {
    const INFO: Info = Info::of_today("fw_iso_buffer_alloc", "drivers/firewire/core-iso.c", Array::Own, Short::Fails);
    type Work<'a> = FwIsoBuffer;

    fn work(_: &[Slot], _: &Input) -> Result<FwIsoBuffer> {
        Ok(FwIsoBuffer::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, buffer: &mut FwIsoBuffer, input: &Input, form: Form) -> Result<Ret> {
        fw_iso_buffer_alloc(env, buffer, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, buffer: FwIsoBuffer) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(buffer.pages))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 64])
    }

    fn slips(_: Form) -> &'static [Slip] {
        ALL_OR_NOTHING
    }
}
