//! Kernel: `drivers/vfio/pci/mlx5/cmd.c`, `mlx5vf_add_pages()` (7.3.4).
//!
//! The function is given the address of the pointer to its array. Its way out frees `*page_list[i]` for each page, which
//! is `*(page_list[i])`: from `i == 1` on it does not read the array but what lies in memory behind that pointer, and
//! follows it. In `struct mlx5_vhca_data_buffer` that is the state of the IOVA mapping. `(*page_list)[i]` is meant. So a
//! failure after two pages or more crashes, or frees what is not the caller's; the pages are lost either way.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Error, Result, Slot};

use super::port::{Array, Flag, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// The way out reads the array.
pub const REPAIRED: Flags = Flags(1);

/// Allocates an array and `npages` pages for it: 0 or `-ENOMEM`.
///
/// # Errors
///
/// When the way out follows what is not a page.
pub fn mlx5vf_add_pages<W: World>(
    env: &mut Env<'_, W>,
    page_list: &mut Box<[Slot]>,
    npages: usize,
    repaired: bool,
    form: Form,
) -> Result<Ret> {
    env.check_int("npages", npages)?;
    let Some(array) = env.pointer_array(npages) else { return Ok(Ret::NOMEM) };
    *page_list = array;
    let mut done = env.total(0);
    loop {
        let filled = env.alloc_pages_bulk(form, Gfp::KERNEL_ACCOUNT, page_list, done.get())?;
        if !filled {
            undo(env, page_list, done.get(), repaired)?;
            *page_list = Slot::array(0);
            return Ok(Ret::NOMEM);
        }
        done += filled;
        if done == npages {
            return Ok(Ret::OK);
        }
    }
}

#[cold]
fn undo<W: World>(env: &mut Env<'_, W>, page_list: &[Slot], done: usize, repaired: bool) -> Result<()> {
    for (i, slot) in page_list[..done].iter().enumerate() {
        if i > 0 && !repaired {
            return Err(Error::misuse(format!(
                "the error path for {done} pages frees *page_list[{i}], which is read past the pointer that page_list \
                 points to"
            )));
        }
        env.free_page(env.used(slot.get())?)?;
    }
    Ok(())
}

#[derive(Debug)]
pub struct Mlx5vfAddPages;

impl Port for Mlx5vfAddPages {
    const INFO: Info = Info {
        charged: true,
        flags: &[Flag { name: "repaired", help: "the way out frees (*page_list)[i]" }],
        ..Info::of_today("mlx5vf_add_pages", "drivers/vfio/pci/mlx5/cmd.c", Array::Own, Short::Retries)
    };
    type Work<'a> = Box<[Slot]>;

    fn work(_: &[Slot], _: &Input) -> Result<Box<[Slot]>> {
        Ok(Slot::array(0))
    }

    fn run<W: World>(env: &mut Env<'_, W>, list: &mut Box<[Slot]>, input: &Input, form: Form) -> Result<Ret> {
        mlx5vf_add_pages(env, list, input.pages, input.flags.has(REPAIRED), form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, list: Box<[Slot]>) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(list))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        let mut inputs = all_null(&[1, 2, 16, 64, 256]);
        inputs.push((Shape::empty(16), REPAIRED));
        inputs
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
