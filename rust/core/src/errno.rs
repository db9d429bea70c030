//! Kernel: `include/uapi/asm-generic/errno-base.h`: the errors that kernel functions return here.

/// `EAGAIN` on x86.
pub const EAGAIN: i32 = 11;
/// `ENOMEM` on x86.
pub const ENOMEM: i32 = 12;
