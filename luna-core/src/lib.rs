#![no_std]
//! Luna core.
#[cfg(test)]
extern crate std;
pub mod wire;
pub mod zbuf;
