//! Kernel: `io_uring/memmap.c`, `io_region_allocate_pages()` (7.3.4).
//!
//! The memory of a region is a compound page if there is one that is large enough; here there was none. Then one bulk
//! call brings all pages or the region is refused: no second call is made. The request is charged, so with memory
//! cgroups that account kernel memory the bulk call brings one page, and every region of more than one is refused.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{ALL_OR_NOTHING, Slip};

/// `struct io_mapped_region`, as far as pages go.
#[derive(Debug, Default)]
pub struct IoMappedRegion {
    /// `pages`.
    pub pages: Box<[Slot]>,
}

/// Allocates `nr_pages` pages for the region: 0 or `-ENOMEM`.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn io_region_allocate_pages<W: World>(
    env: &mut Env<'_, W>,
    mr: &mut IoMappedRegion,
    nr_pages: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_pages", nr_pages)?;
    let gfp = Gfp::KERNEL_ACCOUNT | Gfp::ZERO | Gfp::NOWARN;
    let Some(pages) = env.pointer_array(nr_pages) else { return Ok(Ret::NOMEM) };
    let nr_allocated = env.alloc_pages_bulk_node(form, gfp, None, &pages)?;
    if nr_allocated != nr_pages {
        env.release_slots(&pages[..nr_allocated.get()])?;
        return Ok(Ret::NOMEM);
    }
    mr.pages = pages;
    Ok(Ret::OK)
}

#[derive(Debug)]
pub struct IoRegionAllocatePages;

impl Port for IoRegionAllocatePages {
    const INFO: Info = Info {
        charged: true,
        ..Info::of_today("io_region_allocate_pages", "io_uring/memmap.c", Array::Own, Short::Fails)
    };
    type Work<'a> = IoMappedRegion;

    fn work(_: &[Slot], _: &Input) -> Result<IoMappedRegion> {
        Ok(IoMappedRegion::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, mr: &mut IoMappedRegion, input: &Input, form: Form) -> Result<Ret> {
        io_region_allocate_pages(env, mr, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, mr: IoMappedRegion) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(mr.pages))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 129])
    }

    fn slips(_: Form) -> &'static [Slip] {
        ALL_OR_NOTHING
    }
}
