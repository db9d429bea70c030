//! The ports: one file per kernel function that calls the bulk API, and the register that everything reads.
//!
//! Another caller is another file, with its [`Port`], and a line in the register.

pub mod alloc_tag;
pub mod atomisp;
pub mod blk_crypto;
pub mod btrfs;
pub mod compact;
pub mod erofs;
pub mod firewire_iso;
pub mod firewire_ohci;
pub mod fuse;
pub mod io_uring;
pub mod kasan;
pub mod mlx5;
pub mod nfsd;
pub mod page_pool;
pub mod port;
pub mod splice;
pub mod svc;
pub mod svc_fill;
pub mod virtio_migrate;
pub mod vmalloc;
pub mod xfs;

use bulkpages_core::{Error, Result, Slot};

use crate::env::{Counted, Env, World};
use crate::result::{CallerResult, Form};

pub use port::{Array, Flag, Flags, Info, Input, Port, Short};

/// Something to do with a port, whichever it is.
pub trait Visit {
    /// What comes of it.
    type Out;
    fn visit<K: Port>(self) -> Self::Out;
}

macro_rules! register {
    ($($name:ident => $port:path, $fills:ident;)*) => {
        /// A caller of the bulk API: an entry of the register.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Caller { $($name),* }

        impl Caller {
            /// All of them: those of the patch in its order, then the others.
            pub const ALL: &[Caller] = &[$(Caller::$name),*];

            /// Does something with the port.
            #[inline]
            pub fn visit<V: Visit>(self, visit: V) -> V::Out {
                match self { $(Caller::$name => visit.visit::<$port>()),* }
            }

            /// Whether whole fills by it are timed.
            pub const fn is_timed(self) -> bool {
                match self { $(Caller::$name => matches!(Fills::$fills, Fills::Timed)),* }
            }

            /// Does something with the port, if fills by it are timed: a timing loop is compiled for each observer and
            /// each kind of lock.
            #[inline]
            pub fn visit_timed<V: Visit>(self, visit: V) -> Option<V::Out> {
                match self { $(Caller::$name => if_timed!($fills, visit.visit::<$port>())),* }
            }
        }
    };
}

macro_rules! if_timed {
    (Timed, $visit:expr) => {
        Some($visit)
    };
    (Untimed, $visit:expr) => {
        None
    };
}

/// Whether whole fills by a caller are timed.
enum Fills {
    Timed,
    Untimed,
}

register! {
    Vfio => virtio_migrate::VirtiovfAddMigrationPages, Timed;
    Btrfs => btrfs::BtrfsAllocPageArray, Timed;
    Erofs => erofs::ZErofsGbufGrowsize, Timed;
    Xfs => xfs::XfsBufAllocPages, Timed;
    // The kernel's own benchmark times it.
    PagePool => page_pool::PagePoolAllocPagesSlow, Untimed;
    Svc => svc::SvcAllocArg, Timed;
    SvcFill => svc_fill::SvcFillPages, Untimed;
    Mlx5 => mlx5::Mlx5vfAddPages, Untimed;
    IoUring => io_uring::IoRegionAllocatePages, Untimed;
    FirewireIso => firewire_iso::FwIsoBufferAlloc, Untimed;
    FirewireOhci => firewire_ohci::ArContextInit, Untimed;
    Nfsd => nfsd::AllocInitDirDeleg, Untimed;
    BlkCrypto => blk_crypto::BlkCryptoAllocEncBio, Untimed;
    Fuse => fuse::FuseReaddirAllocBuf, Untimed;
    Splice => splice::CopySpliceRead, Untimed;
    Vmalloc => vmalloc::VmAreaAllocPages, Untimed;
    Kasan => kasan::KasanPopulateVmalloc, Untimed;
    AllocTag => alloc_tag::VmModuleTagsPopulate, Untimed;
    Atomisp => atomisp::AllocPrivatePages, Untimed;
}

impl Caller {
    /// What is known about it.
    pub fn info(self) -> Info {
        struct What;
        impl Visit for What {
            type Out = Info;
            fn visit<K: Port>(self) -> Info {
                K::INFO
            }
        }
        self.visit(What)
    }

    /// The kernel function.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The caller of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn parse(name: &str) -> Result<Caller> {
        Caller::ALL.iter().copied().find(|caller| caller.name() == name).ok_or_else(|| {
            let known: Vec<_> = Caller::ALL.iter().map(|caller| caller.name()).collect();
            Error::invalid(format!("caller {name:?} is not one of {}", known.join(", ")))
        })
    }

    /// One observed run on `slots`: the array of somebody, or what a caller that brings its own has already.
    ///
    /// # Errors
    ///
    /// When a check of the kernel ends the caller; for a form or a flag that it does not have, and an array that it
    /// cannot get.
    pub fn run<W: Counted>(
        self,
        env: &mut Env<'_, W>,
        slots: &[Slot],
        input: &Input,
        form: Form,
    ) -> Result<CallerResult> {
        struct Run<'e, 'm, 's, W: World> {
            env: &'e mut Env<'m, W>,
            slots: &'s [Slot],
            input: &'s Input,
            form: Form,
        }
        impl<W: Counted> Visit for Run<'_, '_, '_, W> {
            type Out = Result<CallerResult>;
            fn visit<K: Port>(self) -> Result<CallerResult> {
                run::<K, W>(self.env, self.slots, self.input, self.form)
            }
        }
        self.visit(Run { env, slots, input, form })
    }
}

/// One observed run of one port.
///
/// # Errors
///
/// As [`Caller::run`].
pub fn run<K: Port, W: Counted>(
    env: &mut Env<'_, W>,
    slots: &[Slot],
    input: &Input,
    form: Form,
) -> Result<CallerResult> {
    let mut work = K::work(slots, input)?;
    run_on::<K, W>(env, &mut work, input, form).and_then(|mut result| {
        result.array = K::end(env, work)?;
        Ok(result)
    })
}

/// The same on what the caller was given before; the result has no array.
///
/// # Errors
///
/// As [`Caller::run`].
pub fn run_on<K: Port, W: Counted>(
    env: &mut Env<'_, W>,
    work: &mut K::Work<'_>,
    input: &Input,
    form: Form,
) -> Result<CallerResult> {
    let ret = form.among(K::INFO.forms).and_then(|form| K::run(env, work, input, form));
    let ret = env.ended(ret)?;
    Ok(env.report(ret, None))
}
