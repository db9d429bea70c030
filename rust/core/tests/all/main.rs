//! All integration tests of the crate in one program: a program each compiles its generic code again.

mod boot;
mod cma;
mod conformance;
mod differences;
mod eras;
mod formulas;
mod hostile;
mod kit;
mod micro;
mod properties;
mod reclaim;
mod rules;
mod threads;
mod traps;
mod vectors;
mod zone_types;
