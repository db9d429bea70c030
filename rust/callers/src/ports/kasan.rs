//! Kernel: `mm/kasan/shadow.c`, `___alloc_pages_bulk()` and `__kasan_populate_vmalloc_do()` (7.3.4).
//!
//! Shadow memory of a vmalloc area. A page of pointers is filled in a loop that passes the rest; the page tables take the
//! pages out of it, and the next 512 follow. A failure frees the pages of its own round; those of earlier rounds stay
//! in the page tables.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::pfn::PAGE_SIZE;
use bulkpages_core::{Pfn, Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// Pages of one round: as many pointers as a page holds.
pub const ROUND: usize = PAGE_SIZE as usize / size_of::<u64>();

/// Populates `nr_total` pages of shadow: 0 or `-ENOMEM`. `shadow` is what the page tables hold.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn kasan_populate_vmalloc<W: World>(
    env: &mut Env<'_, W>,
    shadow: &mut Vec<Pfn>,
    mut nr_total: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_total", nr_total)?;
    // `data.pages`: a zeroed page that serves as the array.
    let Some(page) = env.alloc_page(Gfp::KERNEL | Gfp::ZERO)? else { return Ok(Ret::NOMEM) };
    let Some(pages) = env.pointer_array(ROUND) else {
        env.free_page(page)?;
        return Ok(Ret::NOMEM);
    };
    let mut ret = Ret::OK;
    while nr_total > 0 {
        let nr_pages = nr_total.min(ROUND);
        ret = alloc_pages_bulk(env, &pages[..nr_pages], form)?;
        if ret != Ret::OK {
            break;
        }
        for slot in &pages[..nr_pages] {
            shadow.push(env.used(slot.get())?);
            if !env.slips(Slip::ForgetsClear) {
                slot.set(Pfn::NULL);
            }
        }
        nr_total -= nr_pages;
    }
    env.free_page(page)?;
    Ok(ret)
}

/// `___alloc_pages_bulk()`.
fn alloc_pages_bulk<W: World>(env: &mut Env<'_, W>, pages: &[Slot], form: Form) -> Result<Ret> {
    let mut populated = env.total(0);
    while populated < pages.len() {
        let nr_populated = env.alloc_pages_bulk(form, Gfp::KERNEL, pages, populated.get())?;
        if !nr_populated {
            for i in 0..populated.get() {
                if pages[i].test(&mut env.cx, i) {
                    env.free_page(pages[i].get())?;
                    env.clear_slot(pages, i);
                }
            }
            return Ok(Ret::NOMEM);
        }
        populated += nr_populated;
    }
    Ok(Ret::OK)
}

/// The port. Its array is what the page tables hold.
#[derive(Debug)]
pub struct KasanPopulateVmalloc;

impl Port for KasanPopulateVmalloc {
    const INFO: Info = Info::of_today("kasan_populate_vmalloc", "mm/kasan/shadow.c", Array::Own, Short::Retries);
    type Work<'a> = Vec<Pfn>;

    fn work(_: &[Slot], input: &Input) -> Result<Vec<Pfn>> {
        Ok(Vec::with_capacity(input.pages.min(1 << 20)))
    }

    fn run<W: World>(env: &mut Env<'_, W>, shadow: &mut Vec<Pfn>, input: &Input, form: Form) -> Result<Ret> {
        kasan_populate_vmalloc(env, shadow, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, shadow: Vec<Pfn>) -> Result<Option<Box<[Slot]>>> {
        let array = Slot::array(shadow.len());
        for (slot, &page) in array.iter().zip(&shadow) {
            slot.set(page);
        }
        Ok(Some(array))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 64, 513])
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
