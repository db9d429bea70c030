//! The kernel's callers of `alloc_pages_bulk()` that the patch of 28 February 2025 changes, each with all of the function
//! around the hunk, in the form before and the form after it.
//!
//! One file per caller, named after the kernel file: [`virtio_migrate`], [`btrfs`], [`erofs`], [`xfs`], [`page_pool`],
//! [`svc`]. In each, what differs between the forms stands side by side, and what does not stands once.
//! [`compact`] is the loop that the patch adds to two of them. A port runs in an [`env::Env`]: a machine, a CPU, an
//! observer, a fault plan, and [`env::Hooks`] for what else can fail. Unobserved, nothing is counted and nothing is
//! recorded; with [`env::Counting`] around the observer the same code yields a [`result::CallerResult`].
//! [`holes`] makes the arrays that callers are given.
//!
//! Nothing sleeps: a wait advances a virtual clock, and [`env::Env::max_waits`] bounds callers that never give up.

pub mod account;
pub mod btrfs;
pub mod call;
pub mod compact;
pub mod env;
pub mod erofs;
pub mod harness;
pub mod holes;
pub mod misuse;
pub mod own;
pub mod page_pool;
pub mod result;
pub mod svc;
pub mod sweep;
pub mod virtio_migrate;
pub mod xfs;

pub use env::{Counting, Env};
pub use result::{CallerResult, Form, Ret};

/// What is known about a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The kernel function.
    pub name: &'static str,
    /// The kernel file.
    pub file: &'static str,
    /// Forms there are.
    pub forms: &'static [Form],
}

/// All callers, in the order of the patch.
pub const CALLERS: [Caller; 6] = [
    Caller {
        name: "virtiovf_add_migration_pages",
        file: "drivers/vfio/pci/virtio/migrate.c",
        forms: virtio_migrate::FORMS,
    },
    Caller { name: "btrfs_alloc_page_array", file: "fs/btrfs/extent_io.c", forms: btrfs::FORMS },
    Caller { name: "z_erofs_gbuf_growsize", file: "fs/erofs/zutil.c", forms: erofs::FORMS },
    Caller { name: "xfs_buf_alloc_pages", file: "fs/xfs/xfs_buf.c", forms: xfs::FORMS },
    Caller { name: "__page_pool_alloc_pages_slow", file: "net/core/page_pool.c", forms: page_pool::FORMS },
    Caller { name: "svc_alloc_arg", file: "net/sunrpc/svc_xprt.c", forms: svc::FORMS },
];
