//! What becomes of callers when things fail, or when they are written wrong.

pub mod account;
pub mod harness;
pub mod misuse;
pub mod score;
pub mod stops;
pub mod sweep;
