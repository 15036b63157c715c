#![no_std]
//! Luna core.
pub mod wire;
pub mod zbuf;
pub mod nic;
