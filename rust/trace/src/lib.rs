//! Traces of the kernel's page allocator: read ([`text`]), and followed on an emulated machine ([`follow`]).
//!
//! This crate opens no files: lines come in as bytes.

pub mod follow;
pub mod gfp;
pub mod lines;
pub mod tally;
pub mod text;
pub mod what_if;
pub mod write;
