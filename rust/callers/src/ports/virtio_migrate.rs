//! Kernel: `drivers/vfio/pci/virtio/migrate.c`, `virtiovf_add_migration_pages()` (v6.14, the same in 7.3).
//!
//! The patch drops one statement here: the clearing of the pages just taken from the list before the next round. The
//! list starts at slot 0 in every round, so both forms are given NULL slots and do the same. v3 makes the same change.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::pfn::PAGE_SIZE;
use bulkpages_core::{Pfn, Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, Hooks, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// Pages of one round: as many pointers as a page holds.
pub const MAX_FILL: usize = PAGE_SIZE as usize / size_of::<u64>();

/// `struct virtiovf_data_buffer`, as far as pages go.
#[derive(Clone, Debug, Default)]
pub struct DataBuffer {
    pub table: Vec<Pfn>,
    /// Bytes that were added in full rounds.
    pub allocated_length: u64,
}

/// Adds `npages` pages to the buffer: 0 or `-ENOMEM`. Pages of earlier rounds stay in the table when a round fails.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn virtiovf_add_migration_pages<W: World>(
    env: &mut Env<'_, W>,
    buf: &mut DataBuffer,
    npages: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("npages", npages)?;
    let mut to_alloc = env.total(npages);
    let mut to_fill = npages.min(MAX_FILL);
    let Some(page_list) = env.pointer_array(to_fill) else { return Ok(Ret::NOMEM) };
    loop {
        let filled = env.alloc_pages_bulk(form, Gfp::KERNEL_ACCOUNT, &page_list[..to_fill], 0)?;
        if !filled {
            return Ok(Ret::NOMEM);
        }
        to_alloc -= filled;
        let added = &page_list[..filled.get()];
        if W::Hooks::ON && env.hooks.append_fails(filled.get()) {
            for slot in added.iter().rev() {
                env.free_page(slot.get())?;
            }
            return Ok(Ret::NOMEM);
        }
        buf.table.extend(added.iter().map(Slot::get));
        buf.allocated_length += filled.get() as u64 * PAGE_SIZE;
        if form == Form::Before {
            env.clear(added);
        }
        to_fill = to_alloc.get().min(MAX_FILL);
        if to_alloc == 0 {
            return Ok(Ret::OK);
        }
    }
}

/// The port. Its array is the scatter table, whatever the outcome.
#[derive(Debug)]
pub struct VirtiovfAddMigrationPages;

impl Port for VirtiovfAddMigrationPages {
    const INFO: Info = Info {
        charged: true,
        counted: "npages",
        ..Info::of_patch(
            "virtiovf_add_migration_pages",
            "drivers/vfio/pci/virtio/migrate.c",
            &[Form::Before, Form::After, Form::V3],
            Array::Own,
            Short::Retries,
        )
    };
    type Work<'a> = DataBuffer;

    fn work(_: &[Slot], input: &Input) -> Result<DataBuffer> {
        Ok(DataBuffer { table: Vec::with_capacity(input.pages.min(1 << 20)), allocated_length: 0 })
    }

    fn run<W: World>(env: &mut Env<'_, W>, buf: &mut DataBuffer, input: &Input, form: Form) -> Result<Ret> {
        let ret = virtiovf_add_migration_pages(env, buf, input.pages, form);
        env.stat("allocated_length", buf.allocated_length);
        ret
    }

    fn end<W: World>(_: &mut Env<'_, W>, buf: DataBuffer) -> Result<Option<Box<[Slot]>>> {
        let array = Slot::array(buf.table.len());
        for (slot, &page) in array.iter().zip(&buf.table) {
            slot.set(page);
        }
        Ok(Some(array))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 64, 256, 513, 1_100])
    }

    fn slips(form: Form) -> &'static [Slip] {
        use Slip::{ForgetsClear, IgnoresShort, MixesCounts, OtherApi, OtherTest, PartialIsFailure};
        // The list is passed whole, and the clearing is what the patch takes out.
        match form {
            Form::Before => &[MixesCounts, ForgetsClear, PartialIsFailure, OtherTest, IgnoresShort, OtherApi],
            _ => &[MixesCounts, PartialIsFailure, OtherTest, IgnoresShort, OtherApi],
        }
    }
}
