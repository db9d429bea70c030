//! Kernel: `mm/vmalloc.c`, `vm_area_alloc_pages()` for pages of order 0, and the way out of `__vmalloc_area_node()`
//! (7.3.4).
//!
//! Bulk calls of at most 100 pages each. The first that is short ends them, and the rest comes by the single-page path.
//! 7.3 tries larger blocks first and splits them; here memory is fragmented and there are none. Without a node the
//! pages come from the nearest one, as with the default memory policy.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// Pages of one bulk call at most.
pub const MAX_REQUEST: usize = 100;

/// Allocates `nr_pages` pages of an area: 0, or `-ENOMEM` for NULL.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn vmalloc_area_node<W: World>(
    env: &mut Env<'_, W>,
    area: &mut Box<[Slot]>,
    nr_pages: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_pages", nr_pages)?;
    let gfp = Gfp::KERNEL | Gfp::NOWARN;
    let Some(pages) = env.pointer_array(nr_pages) else { return Ok(Ret::NOMEM) };
    let nr_allocated = vm_area_alloc_pages(env, gfp, &pages, form)?;
    if nr_allocated != nr_pages {
        for slot in &pages[..nr_allocated] {
            env.free_page(env.used(slot.get())?)?;
        }
        return Ok(Ret::NOMEM);
    }
    for slot in &pages {
        env.used(slot.get())?;
    }
    *area = pages;
    Ok(Ret::OK)
}

fn vm_area_alloc_pages<W: World>(env: &mut Env<'_, W>, gfp: Gfp, pages: &[Slot], form: Form) -> Result<usize> {
    let mut nr_allocated = env.total(0);
    while nr_allocated < pages.len() {
        let nr_pages_request = MAX_REQUEST.min(pages.len() - nr_allocated.get());
        let part = &pages[..nr_allocated.get() + nr_pages_request];
        let nr = env.alloc_pages_bulk(form, gfp, part, nr_allocated.get())?;
        nr_allocated += nr;
        if nr != nr_pages_request {
            break;
        }
    }
    if nr_allocated == pages.len() {
        return Ok(pages.len());
    }
    let mut nr_allocated = nr_allocated.get();
    while nr_allocated < pages.len() {
        let Some(page) = env.alloc_page(gfp)? else { break };
        pages[nr_allocated].write(&mut env.cx, nr_allocated, page);
        nr_allocated += 1;
    }
    Ok(nr_allocated)
}

/// The port. Its array is the area's.
#[derive(Debug)]
pub struct VmAreaAllocPages;

impl Port for VmAreaAllocPages {
    const INFO: Info = Info::of_today("vm_area_alloc_pages", "mm/vmalloc.c", Array::Own, Short::Retries);
    type Work<'a> = Box<[Slot]>;

    fn work(_: &[Slot], _: &Input) -> Result<Box<[Slot]>> {
        Ok(Slot::array(0))
    }

    fn run<W: World>(env: &mut Env<'_, W>, area: &mut Box<[Slot]>, input: &Input, form: Form) -> Result<Ret> {
        vmalloc_area_node(env, area, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, area: Box<[Slot]>) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(area))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 101, 256])
    }

    fn slips(_: Form) -> &'static [Slip] {
        use Slip::{ForgetsClear, IgnoresShort, MixesCounts, OtherApi, WrongBase};
        &[MixesCounts, WrongBase, ForgetsClear, IgnoresShort, OtherApi]
    }
}
