//! Kernel: `drivers/vfio/pci/virtio/migrate.c`, `virtiovf_add_migration_pages()` (v6.14).
//!
//! The patch drops one statement here: the clearing of the pages just taken from the list before the next round. The
//! list starts at slot 0 in every round, so both forms are given NULL slots and do the same. v3 makes the same change.

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::Fault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::pfn::PAGE_SIZE;
use bulkpages_core::probe::Probe;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Pfn, Result, Slot};

use crate::env::{Counting, Env, Hooks};
use crate::misuse::Slip;
use crate::result::{CallerResult, Form, Ret};

/// Forms of this caller.
pub const FORMS: &[Form] = &[Form::Before, Form::After, Form::V3];
/// Pages of one round: as many pointers as a page holds.
pub const MAX_FILL: usize = PAGE_SIZE as usize / size_of::<u64>();

/// `struct virtiovf_data_buffer`, as far as pages go.
#[derive(Clone, Debug, Default)]
pub struct DataBuffer {
    /// The scatter table.
    pub table: Vec<Pfn>,
    /// Bytes that were added in full rounds.
    pub allocated_length: u64,
}

/// Adds `npages` pages to the buffer: 0 or `-ENOMEM`. Pages of earlier rounds stay in the table when a round fails.
///
/// # Errors
///
/// For a form that this caller does not have, or more pages than an `int` counts.
pub fn virtiovf_add_migration_pages<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, P, F, H>,
    buf: &mut DataBuffer,
    npages: usize,
    form: Form,
) -> Result<Ret> {
    let form = form.among(FORMS)?;
    env.check_int("npages", npages)?;
    let gfp = Gfp::KERNEL_ACCOUNT;
    let mut to_alloc = npages;
    let mut to_fill = npages.min(MAX_FILL);
    let Some(page_list) = env.pointer_array(to_fill) else { return Ok(Ret::NOMEM) };
    let mut filled = 0;
    loop {
        let last = filled;
        let list = &page_list[..to_fill];
        filled = match form {
            Form::Before | Form::Tracked => env.bulk_whole::<NullOnly>(gfp, list, 0)?,
            Form::After | Form::V3 => env.bulk_rest::<OutputOnly>(gfp, list, 0)?,
        };
        if !env.progress(filled, to_fill, filled != 0, filled != last) {
            return Ok(Ret::NOMEM);
        }
        if !env.slips(Slip::MixesCounts) {
            to_alloc -= filled;
        }
        if H::ON && env.hooks.append_fails(filled) {
            for slot in list[..filled].iter().rev() {
                env.free_page(slot.get())?;
            }
            return Ok(Ret::NOMEM);
        }
        buf.table.extend(list[..filled].iter().map(Slot::get));
        buf.allocated_length += filled as u64 * PAGE_SIZE;
        if form == Form::Before {
            env.clear(&list[..filled]);
        }
        to_fill = to_alloc.min(MAX_FILL);
        if !env.goes_on(0, to_alloc, filled) {
            return Ok(Ret::OK);
        }
    }
}

/// One observed run on an empty buffer; `array` is the scatter table, whatever the outcome.
///
/// # Errors
///
/// As [`virtiovf_add_migration_pages`].
pub fn run<L: Locking, P: Probe, F: Fault, H: Hooks>(
    env: &mut Env<'_, L, Counting<P>, F, H>,
    npages: usize,
    form: Form,
) -> Result<CallerResult> {
    let mut buf = DataBuffer::default();
    let ret = virtiovf_add_migration_pages(env, &mut buf, npages, form);
    let ret = env.ended(ret)?;
    env.stat("allocated_length", buf.allocated_length);
    let array = Slot::array(buf.table.len());
    for (slot, &page) in array.iter().zip(&buf.table) {
        slot.set(page);
    }
    Ok(env.report(ret, Some(array)))
}
