//! Trials of the emulated allocator: whole timing loops, so that nothing but the thing measured is inside the clock.
//!
//! The loops are those of `bench.c`, which measured the real kernel: allocate into an array, read the clock on both
//! sides, then free what was allocated with the single-page free. Emulated time is the emulator's, never the kernel's.

pub mod bench;
pub mod clock;
pub mod contention;
pub mod counts;
pub mod fill;
pub mod steps;
pub mod stream;
pub mod stress;
pub mod timed;
pub mod trial;
pub mod windows;

pub use bench::{Row, bench_core};
pub use contention::Contention;
pub use counts::Counts;
pub use fill::{Fill, Filler};
pub use steps::Steps;
pub use stream::Stream;
pub use trial::{Api, Sample, Workload};
pub use windows::Windows;
