//! Kernel: `fs/erofs/zutil.c`, `z_erofs_gbuf_growsize()` (v6.14, the same in 7.3).
//!
//! The array is a copy of the buffer's pages followed by NULL slots. The patch passes the rest of it instead of all of
//! it, so the watermark gate asks for less; calls and outcome stay the same. v3 makes it a refill.

use bulkpages_core::bulk::refill::Refilled;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, copy};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::{Slip, of_loop};

/// The global buffers.
#[derive(Debug, Default)]
pub struct Gbufs {
    /// Pages of each buffer.
    pub bufs: Vec<Box<[Slot]>>,
    /// `z_erofs_gbuf_nrpages`: the size that all buffers have reached.
    pub nrpages: usize,
}

impl Gbufs {
    /// `count` empty buffers.
    pub fn new(count: usize) -> Gbufs {
        Gbufs { bufs: (0..count).map(|_| Slot::array(0)).collect(), nrpages: 0 }
    }
}

/// Grows every buffer to `nrpages` pages: 0 or `-ENOMEM`. Buffers that were grown before a failure stay grown.
///
/// # Errors
///
/// For more pages than an `int` counts.
pub fn z_erofs_gbuf_growsize<W: World>(
    env: &mut Env<'_, W>,
    gbufs: &mut Gbufs,
    nrpages: usize,
    form: Form,
) -> Result<Ret> {
    env.check_int("nrpages", nrpages)?;
    // Nobody knows how many mounts rely on the size, so it never shrinks.
    if nrpages <= gbufs.nrpages {
        return Ok(Ret::OK);
    }
    for gbuf in &mut gbufs.bufs {
        if gbuf.len() >= nrpages {
            continue;
        }
        let Some(tmp_pages) = env.pointer_array(nrpages) else { return Ok(Ret::NOMEM) };
        for (j, (to, from)) in tmp_pages.iter().zip(gbuf.iter()).enumerate() {
            to.write(&mut env.cx, j, from.get());
        }
        let filled = match form {
            Form::Before | Form::Tracked => before(env, &tmp_pages, gbuf.len())?,
            Form::After => after(env, &tmp_pages, gbuf.len())?,
            Form::V3 => v3(env, &tmp_pages)?,
        };
        if !filled || env.vmap_fails(nrpages) {
            for (j, slot) in tmp_pages.iter().enumerate() {
                if slot.test(&mut env.cx, j) && gbuf.get(j).is_none_or(|old| old.get() != slot.get()) {
                    env.free_page(slot.get())?;
                }
            }
            return Ok(Ret::NOMEM);
        }
        *gbuf = tmp_pages;
    }
    gbufs.nrpages = nrpages;
    Ok(Ret::OK)
}

fn before<W: World>(env: &mut Env<'_, W>, tmp_pages: &[Slot], have: usize) -> Result<bool> {
    let mut j = env.position(have);
    loop {
        let last = j;
        j = env.alloc_pages_bulk_v1(Gfp::KERNEL, tmp_pages)?;
        if j == last {
            return Ok(false);
        }
        if j == tmp_pages.len() {
            return Ok(true);
        }
    }
}

fn after<W: World>(env: &mut Env<'_, W>, tmp_pages: &[Slot], have: usize) -> Result<bool> {
    let mut last = env.total(have);
    while last < tmp_pages.len() {
        let j = env.alloc_pages_bulk_v2(Gfp::KERNEL, tmp_pages, last.get())?;
        if !j {
            return Ok(false);
        }
        last += j;
    }
    Ok(true)
}

fn v3<W: World>(env: &mut Env<'_, W>, tmp_pages: &[Slot]) -> Result<bool> {
    loop {
        match env.alloc_pages_bulk_refill(Gfp::KERNEL, tmp_pages)? {
            Refilled::All => return Ok(true),
            Refilled::Partly => {}
            Refilled::Nothing => return Ok(false),
        }
    }
}

/// The port, on one buffer. Its array is the buffer afterwards.
#[derive(Debug)]
pub struct ZErofsGbufGrowsize;

impl Port for ZErofsGbufGrowsize {
    const INFO: Info = Info {
        counted: "nrpages",
        ..Info::of_patch(
            "z_erofs_gbuf_growsize",
            "fs/erofs/zutil.c",
            &[Form::Before, Form::After, Form::V3],
            Array::Prefix,
            Short::Retries,
        )
    };
    type Work<'a> = Gbufs;

    fn work(slots: &[Slot], _: &Input) -> Result<Gbufs> {
        Ok(Gbufs { nrpages: slots.len(), bufs: vec![copy(slots)] })
    }

    fn run<W: World>(env: &mut Env<'_, W>, gbufs: &mut Gbufs, input: &Input, form: Form) -> Result<Ret> {
        z_erofs_gbuf_growsize(env, gbufs, input.pages, form)
    }

    fn end<W: World>(_: &mut Env<'_, W>, mut gbufs: Gbufs) -> Result<Option<Box<[Slot]>>> {
        Ok(gbufs.bufs.pop())
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        let sizes = [(0, 1), (0, 2), (0, 16), (4, 16), (15, 16), (0, 64), (16, 64), (64, 256)];
        sizes.into_iter().map(|(have, n)| (Shape::prefix_of(n, have), Flags::NONE)).collect()
    }

    fn slips(form: Form) -> &'static [Slip] {
        of_loop(form)
    }
}
