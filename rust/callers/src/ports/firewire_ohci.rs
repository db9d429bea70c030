//! Kernel: `drivers/firewire/ohci.c`, `ar_context_init()` (7.3.4).
//!
//! The receive buffer of a context: eight pages below 4 GiB, mapped in a row with the first two once more behind them,
//! so that a packet may cross the end. One bulk call brings all pages or the context is refused.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::pfn::PAGE_SIZE;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// `AR_BUFFERS`: pages of the buffer, 32 KiB.
pub const AR_BUFFERS: usize = (32 << 10) / PAGE_SIZE as usize;
/// `AR_WRAPAROUND_PAGES`: pages that are mapped twice.
pub const AR_WRAPAROUND_PAGES: usize = 2;

/// `struct ar_context`, as far as pages go.
#[derive(Debug, Default)]
pub struct ArContext {
    /// `pages`.
    pub pages: Box<[Slot]>,
}

/// Allocates the pages of the context: 0 or `-ENOMEM`.
///
/// # Errors
///
/// Those of the machine.
pub fn ar_context_init<W: World>(env: &mut Env<'_, W>, ctx: &mut ArContext, form: Form) -> Result<Ret> {
    // On the stack, and cleared by its initialiser.
    let pages = Slot::array(AR_BUFFERS + AR_WRAPAROUND_PAGES);
    let buffers = &pages[..AR_BUFFERS];
    let nr_populated = env.alloc_pages_bulk(form, Gfp::KERNEL | Gfp::DMA32, buffers, 0)?;
    if nr_populated != AR_BUFFERS {
        env.release_slots(&buffers[..nr_populated.get()])?;
        return Ok(Ret::NOMEM);
    }
    for i in 0..AR_WRAPAROUND_PAGES {
        pages[AR_BUFFERS + i].set(pages[i].get());
    }
    if env.vmap_fails(pages.len()) {
        env.release_slots(buffers)?;
        return Ok(Ret::NOMEM);
    }
    for slot in buffers {
        if env.dma_map_fails(env.used(slot.get())?) {
            env.release_slots(buffers)?;
            return Ok(Ret::NOMEM);
        }
    }
    ctx.pages = super::port::copy(buffers);
    Ok(Ret::OK)
}

#[derive(Debug)]
pub struct ArContextInit;

impl Port for ArContextInit {
    const INFO: Info = Info {
        pages: Some(AR_BUFFERS),
        example: "........",
        ..Info::of_today("ar_context_init", "drivers/firewire/ohci.c", Array::Own, Short::Fails)
    };
    type Work<'a> = ArContext;

    fn work(_: &[Slot], _: &Input) -> Result<ArContext> {
        Ok(ArContext::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, ctx: &mut ArContext, _: &Input, form: Form) -> Result<Ret> {
        ar_context_init(env, ctx, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, ctx: ArContext) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(ctx.pages))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[AR_BUFFERS])
    }

    fn slips(_: Form) -> &'static [Slip] {
        &[Slip::IgnoresShort, Slip::OtherApi]
    }
}
