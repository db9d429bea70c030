//! All integration tests of the crate in one program: a program each compiles its generic code again.

mod common;
mod drivers_vfio_pci_virtio_migrate;
mod fs_btrfs_extent_io;
mod fs_erofs_zutil;
mod fs_xfs_xfs_buf;
mod generators;
mod marks;
mod net_sunrpc_svc_xprt;
