//! Kernel: `block/blk-crypto-fallback.c`, `blk_crypto_alloc_enc_bio()` (7.3.4).
//!
//! Bounce pages for encrypting a bio. The array of pages lies at the end of the bio's own vector, memory that was used
//! before, so it is cleared for the bulk call; on v2 it need not be. What the call does not bring comes from a mempool,
//! page by page. The pool's reserve is not modelled: without a page it waits.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// Ticks that a mempool waits: five seconds.
const POOL_WAIT_SECONDS: u64 = 5;

/// Fills the vector with `nr_segs` pages: 0, or no return when the waits are used up.
///
/// # Errors
///
/// For more segments than an `int` counts.
pub fn blk_crypto_alloc_enc_bio<W: World>(
    env: &mut Env<'_, W>,
    bvec: &mut Box<[Slot]>,
    nr_segs: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("nr_segs", nr_segs)?;
    // GFP_KERNEL in a scope without I/O.
    let gfp = Gfp::NOIO;
    *bvec = env.used_memory(nr_segs);
    if form == Form::Before {
        env.clear(bvec);
    }
    let nr_allocated = env.alloc_pages_bulk(form, gfp, bvec, 0)?;
    if nr_allocated < nr_segs {
        return mempool_alloc_bulk(env, &bvec[nr_allocated.get()..], gfp);
    }
    Ok(Ret::OK)
}

/// `mempool_alloc_bulk()`: first without waiting, then as `gfp` allows, then a sleep.
#[cold]
fn mempool_alloc_bulk<W: World>(env: &mut Env<'_, W>, elems: &[Slot], gfp: Gfp) -> Result<Ret> {
    let patient = gfp | Gfp::NOMEMALLOC | Gfp::NORETRY | Gfp::NOWARN;
    let mut temp = patient.without(Gfp::DIRECT_RECLAIM | Gfp::IO);
    let mut allocated = 0;
    while let Some(elem) = elems.get(allocated) {
        if let Some(page) = env.alloc_page(temp)? {
            elem.write(&mut env.cx, allocated, page);
            allocated += 1;
            continue;
        }
        if temp != patient {
            temp = patient;
            continue;
        }
        if env.out_of_waits() {
            return Ok(Ret::GaveUp);
        }
        env.schedule_timeout(POOL_WAIT_SECONDS * env.hz);
    }
    Ok(Ret::OK)
}

/// The port. Its array is the vector.
#[derive(Debug)]
pub struct BlkCryptoAllocEncBio;

impl Port for BlkCryptoAllocEncBio {
    const INFO: Info =
        Info::of_today("blk_crypto_alloc_enc_bio", "block/blk-crypto-fallback.c", Array::Own, Short::Retries);
    type Work<'a> = Box<[Slot]>;

    fn work(_: &[Slot], _: &Input) -> Result<Box<[Slot]>> {
        Ok(Slot::array(0))
    }

    fn run<W: World>(env: &mut Env<'_, W>, bvec: &mut Box<[Slot]>, input: &Input, form: Form) -> Result<Ret> {
        blk_crypto_alloc_enc_bio(env, bvec, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, bvec: Box<[Slot]>) -> Result<Option<Box<[Slot]>>> {
        Ok(Some(bvec))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 2, 16, 32])
    }

    fn slips(form: Form) -> &'static [Slip] {
        match form {
            Form::Before => &[Slip::ForgetsClear, Slip::IgnoresShort, Slip::OtherApi],
            _ => &[Slip::IgnoresShort, Slip::OtherApi],
        }
    }
}
