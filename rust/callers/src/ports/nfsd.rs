//! Kernel: `fs/nfsd/nfs4state.c`, `alloc_init_dir_deleg()` (7.3.4).
//!
//! A directory delegation has a small constant number of pages for its notifications: one. A bulk call that brings one
//! page brings all, so what makes such calls short does no harm here.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{ALL_OR_NOTHING, Slip};

pub const NOTIFY4_PAGE_ARRAY_SIZE: usize = 1;

/// `struct nfsd4_cb_notify`, as far as pages go.
#[derive(Debug, Default)]
pub struct CbNotify {
    pub ncn_pages: Box<[Slot]>,
}

/// Allocates the delegation's pages: 0, or `-ENOMEM` for NULL.
///
/// # Errors
///
/// Those of the machine.
pub fn alloc_init_dir_deleg<W: World>(env: &mut Env<'_, W>, ncn: &mut CbNotify, form: Form) -> Result<Ret> {
    let Some(pages) = env.pointer_array(NOTIFY4_PAGE_ARRAY_SIZE) else { return Ok(Ret::NOMEM) };
    ncn.ncn_pages = pages;
    let npages = env.alloc_pages_bulk(form, Gfp::KERNEL, &ncn.ncn_pages, 0)?;
    if npages != NOTIFY4_PAGE_ARRAY_SIZE {
        put_stid(env, ncn)?;
        return Ok(Ret::NOMEM);
    }
    // The queue of events.
    if env.array_fails(1) {
        put_stid(env, ncn)?;
        return Ok(Ret::NOMEM);
    }
    Ok(Ret::OK)
}

/// `nfs4_put_stid()`: frees the pages that the delegation has.
fn put_stid<W: World>(env: &mut Env<'_, W>, ncn: &mut CbNotify) -> Result<()> {
    for slot in core::mem::take(&mut ncn.ncn_pages).iter().filter(|slot| slot.raw() != 0) {
        env.free_page(slot.get())?;
    }
    Ok(())
}

#[derive(Debug)]
pub struct AllocInitDirDeleg;

impl Port for AllocInitDirDeleg {
    const INFO: Info = Info {
        pages: Some(NOTIFY4_PAGE_ARRAY_SIZE),
        example: ".",
        ..Info::of_today("alloc_init_dir_deleg", "fs/nfsd/nfs4state.c", Array::Own, Short::Fails)
    };
    type Work<'a> = CbNotify;

    fn work(_: &[Slot], _: &Input) -> Result<CbNotify> {
        Ok(CbNotify::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, ncn: &mut CbNotify, _: &Input, form: Form) -> Result<Ret> {
        alloc_init_dir_deleg(env, ncn, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, ncn: CbNotify) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(ncn.ncn_pages))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[NOTIFY4_PAGE_ARRAY_SIZE])
    }

    fn slips(_: Form) -> &'static [Slip] {
        ALL_OR_NOTHING
    }
}
