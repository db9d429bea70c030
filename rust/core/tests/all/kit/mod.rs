//! What tests of the core share: machines made to measure, calls that are watched, and the recordings.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod booted;
mod calls;
mod recordings;
mod zones;

pub(crate) use booted::*;
pub(crate) use calls::*;
pub(crate) use recordings::*;
pub(crate) use zones::*;
