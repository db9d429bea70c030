//! Kernel: `mm/alloc_tag.c`, `vm_module_tags_populate()` (7.3.4).
//!
//! Pages for the allocation tags of a module that is loaded. The array lives as long as the kernel: `vm_module_tags`
//! has the pages of all modules, and a call works on the slots behind those in use. The loop passes the rest.
//!
//! The way out releases the pages and leaves their pointers in the array. A second call would start at the same slots,
//! and v1 would take them for populated and map pages that were freed; v2 would store over them. In 7.3.4 there is no
//! second call: the first failure switches the profiling off for good. [`AGAIN`] asks what if there were one.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flag, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// A failure does not switch the profiling off, and the next module is loaded.
pub const AGAIN: Flags = Flags(1);

/// `vm_module_tags`, as far as pages go.
#[derive(Debug, Default)]
pub struct VmModuleTags {
    /// `pages`: all slots that there are.
    pub pages: Box<[Slot]>,
    /// `nr_pages`: slots in use.
    pub nr_pages: usize,
}

/// Populates `more_pages` slots behind those in use: 0 or `-ENOMEM`.
///
/// # Errors
///
/// When a page that is released is not owned.
pub fn vm_module_tags_populate<W: World>(
    env: &mut Env<'_, W>,
    tags: &mut VmModuleTags,
    more_pages: usize,
    form: Form,
) -> Result<Ret> {
    let next_page = &tags.pages[tags.nr_pages..tags.nr_pages + more_pages];
    let gfp = Gfp::KERNEL | Gfp::NOWARN;
    let mut nr = env.total(0);
    while nr < more_pages {
        let allocated = env.alloc_pages_bulk(form, gfp, next_page, nr.get())?;
        if !allocated {
            break;
        }
        nr += allocated;
    }
    if nr < more_pages || env.vmap_fails(nr.get()) {
        env.release_slots(&next_page[..nr.get()])?;
        return Ok(Ret::NOMEM);
    }
    tags.nr_pages += more_pages;
    Ok(Ret::OK)
}

/// The port. Its array is what is in use.
#[derive(Debug)]
pub struct VmModuleTagsPopulate;

impl Port for VmModuleTagsPopulate {
    const INFO: Info = Info {
        flags: &[Flag {
            name: "again",
            help: "a failure does not switch profiling off, and the next module is loaded",
        }],
        ..Info::of_today("vm_module_tags_populate", "mm/alloc_tag.c", Array::Own, Short::Retries)
    };
    type Work<'a> = VmModuleTags;

    fn work(_: &[Slot], _: &Input) -> Result<VmModuleTags> {
        Ok(VmModuleTags::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, tags: &mut VmModuleTags, input: &Input, form: Form) -> Result<Ret> {
        env.check_int("more_pages", input.pages)?;
        let Some(pages) = env.pointer_array(input.pages) else { return Ok(Ret::NOMEM) };
        tags.pages = pages;
        let ret = vm_module_tags_populate(env, tags, input.pages, form)?;
        if ret == Ret::NOMEM && input.flags.has(AGAIN) {
            return vm_module_tags_populate(env, tags, input.pages, form);
        }
        Ok(ret)
    }

    fn end<W: World>(_: &mut Env<'_, W>, tags: VmModuleTags) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(super::port::copy(&tags.pages[..tags.nr_pages])))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 64])
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
