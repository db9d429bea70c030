//! All integration tests of the crate in one program: a program each compiles its generic code again.

mod emulated;
mod fuzz_seeds;
