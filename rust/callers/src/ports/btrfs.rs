//! Kernel: `fs/btrfs/extent_io.c`, `btrfs_alloc_page_array()` (v6.14, the same in 7.3).
//!
//! The patch makes the caller compact the array first, count the pages itself and pass the rest. So pages move when a
//! hole lies before them, one attempt is enough to see that there is no memory, and a failure frees all pages, where
//! the form before frees those in front of the first hole. v3 leaves the compaction to the call and frees all pages too.

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Error, Result, Slot};

use super::compact::compact;
use super::port::{Array, Flag, Flags, Info, Input, Port, Short, given};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// Adds `__GFP_NOFAIL`.
pub const NOFAIL: Flags = Flags(1);

/// Fills the array: 0 or `-ENOMEM`.
///
/// # Errors
///
/// For more slots than an `int` counts, and when a slot that is to be freed holds something that is not an owned page.
pub fn btrfs_alloc_page_array<W: World>(
    env: &mut Env<'_, W>,
    page_array: &[Slot],
    nofail: bool,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_pages", page_array.len())?;
    let gfp = if nofail { Gfp::NOFS | Gfp::NOFAIL } else { Gfp::NOFS };
    match form {
        Form::Before | Form::Tracked => before(env, page_array, gfp),
        Form::After => after(env, page_array, gfp),
        Form::V3 => v3(env, page_array, gfp),
    }
}

fn before<W: World>(env: &mut Env<'_, W>, page_array: &[Slot], gfp: Gfp) -> Result<Ret> {
    let mut allocated = env.position(0);
    while allocated < page_array.len() {
        let last = allocated;
        allocated = env.alloc_pages_bulk_v1(gfp, page_array)?;
        if allocated == last {
            return free_all(env, page_array, allocated.get());
        }
    }
    Ok(Ret::OK)
}

fn after<W: World>(env: &mut Env<'_, W>, page_array: &[Slot], gfp: Gfp) -> Result<Ret> {
    let compacted = compact(&mut env.cx, page_array);
    let mut allocated = env.total(compacted);
    while allocated < page_array.len() {
        let ret = env.alloc_pages_bulk_v2(gfp, page_array, allocated.get())?;
        allocated += ret;
        if !ret {
            return free_all(env, page_array, allocated.get());
        }
    }
    Ok(Ret::OK)
}

fn v3<W: World>(env: &mut Env<'_, W>, page_array: &[Slot], gfp: Gfp) -> Result<Ret> {
    loop {
        match env.alloc_pages_bulk_refill(gfp, page_array)? {
            Refilled::All => return Ok(Ret::OK),
            Refilled::Partly => {}
            Refilled::Nothing => {
                for (i, slot) in page_array.iter().enumerate() {
                    if slot.test(&mut env.cx, i) {
                        env.free_page(slot.get())?;
                        env.clear_slot(page_array, i);
                    }
                }
                return Ok(Ret::NOMEM);
            }
        }
    }
}

/// The way out of both forms: the first `allocated` slots hold pages.
#[cold]
fn free_all<W: World>(env: &mut Env<'_, W>, page_array: &[Slot], allocated: usize) -> Result<Ret> {
    if allocated > page_array.len() {
        return Err(Error::misuse(format!("the caller frees {allocated} slots of {}", page_array.len())));
    }
    for i in 0..allocated {
        env.free_page(page_array[i].get())?;
        env.clear_slot(page_array, i);
    }
    Ok(Ret::NOMEM)
}

#[derive(Debug)]
pub struct BtrfsAllocPageArray;

impl Port for BtrfsAllocPageArray {
    const INFO: Info = Info {
        flags: &[Flag { name: "nofail", help: "with __GFP_NOFAIL" }],
        ..Info::of_patch(
            "btrfs_alloc_page_array",
            "fs/btrfs/extent_io.c",
            &[Form::Before, Form::After, Form::V3],
            Array::Given,
            Short::Retries,
        )
    };
    type Work<'a> = &'a [Slot];

    fn work<'a>(slots: &'a [Slot], input: &Input) -> Result<&'a [Slot]> {
        given(slots, input)
    }

    fn run<W: World>(env: &mut Env<'_, W>, slots: &mut &[Slot], input: &Input, form: Form) -> Result<Ret> {
        btrfs_alloc_page_array(env, slots, input.flags.has(NOFAIL), form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, _: &[Slot]) -> Result<Option<Box<[Slot]>>> {
        Ok(None)
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        Shape::patterns(&[1, 2, 4, 8, 16, 64]).into_iter().map(|shape| (shape, Flags::NONE)).collect()
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
