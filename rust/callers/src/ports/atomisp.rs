//! Kernel: `drivers/staging/media/atomisp/pci/hmm/hmm_bo.c`, `alloc_private_pages()` (7.3.4).
//!
//! One bulk call, and what it did not bring comes by the single-page path. In 6.1 and 6.12 the driver gave everything
//! back after a short call.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// `struct hmm_buffer_object`, as far as pages go.
#[derive(Debug, Default)]
pub struct HmmBufferObject {
    /// `pages`.
    pub pages: Box<[Slot]>,
}

/// Allocates `pgnr` pages for the object: 0 or `-ENOMEM`.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn alloc_private_pages<W: World>(
    env: &mut Env<'_, W>,
    bo: &mut HmmBufferObject,
    pgnr: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("pgnr", pgnr)?;
    let Some(pages) = env.pointer_array(pgnr) else { return Ok(Ret::NOMEM) };
    let found = env.alloc_pages_bulk(form, Gfp::KERNEL, &pages, 0)?;
    if found < pgnr {
        for i in found.get()..pgnr {
            let Some(page) = env.alloc_page(Gfp::KERNEL)? else {
                free_pages_bulk_array(env, &pages[..i])?;
                return Ok(Ret::NOMEM);
            };
            pages[i].write(&mut env.cx, i, page);
        }
    }
    // set_pages_array_uc(), which changes how the pages are mapped.
    if env.vmap_fails(pgnr) {
        free_pages_bulk_array(env, &pages)?;
        return Ok(Ret::NOMEM);
    }
    for slot in &pages {
        env.used(slot.get())?;
    }
    bo.pages = pages;
    Ok(Ret::OK)
}

#[cold]
fn free_pages_bulk_array<W: World>(env: &mut Env<'_, W>, page_array: &[Slot]) -> Result<()> {
    page_array.iter().try_for_each(|slot| env.free_page(env.used(slot.get())?))
}

#[derive(Debug)]
pub struct AllocPrivatePages;

impl Port for AllocPrivatePages {
    const INFO: Info = Info::of_today(
        "alloc_private_pages",
        "drivers/staging/media/atomisp/pci/hmm/hmm_bo.c",
        Array::Own,
        Short::Retries,
    );
    type Work<'a> = HmmBufferObject;

    fn work(_: &[Slot], _: &Input) -> Result<HmmBufferObject> {
        Ok(HmmBufferObject::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, bo: &mut HmmBufferObject, input: &Input, form: Form) -> Result<Ret> {
        alloc_private_pages(env, bo, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, bo: HmmBufferObject) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(bo.pages))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 64])
    }

    fn slips(_: Form) -> &'static [Slip] {
        &[Slip::ForgetsClear, Slip::IgnoresShort, Slip::OtherApi]
    }
}
