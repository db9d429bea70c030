//! Callers of the kernel's `alloc_pages_bulk()`: those that the patch of 28 February 2025 changes, each with all of the
//! function around the hunk, in the form before and the form after it; and those of 7.3.
//!
//! [`ports`] has one file per caller and the register of all. In each file the kernel's own loop stands as the kernel has
//! it, and what differs between the forms stands side by side. A port runs in an [`env::Env`]: a machine, a CPU, an
//! observer, a fault plan, and [`env::Hooks`] for what else can fail. Unobserved, nothing is counted and nothing is
//! recorded; with [`env::Counting`] around the observer the same code yields a [`result::CallerResult`].
//! [`holes`] makes the arrays that callers are given. [`study`] runs them all under every failure, and with every wrong
//! line. [`call`] is one call of the API under failures, [`own`] the steps of callers that are written elsewhere.
//!
//! Nothing sleeps: a wait advances a virtual clock, and [`env::Env::max_waits`] bounds callers that never give up.

pub mod call;
pub mod env;
pub mod holes;
pub mod own;
pub mod ports;
pub mod result;
pub mod study;

pub use env::{Counting, Env};
pub use ports::{Caller, Port};
pub use result::{CallerResult, Form, Ret};
