//! Luna on QEMU's `virt` machine: its memory map, its devices, and where everything begins.
//!
//! Built by `cargo xtask dpu` for `aarch64-unknown-none`; for other targets there is only a program that says so.
#![cfg_attr(target_os = "none", no_std, no_main)]
// That image has no devices, and uses less of what is here.
#![cfg_attr(feature = "pair", allow(dead_code, unused_imports, unused_variables))]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is an image for aarch64 without an operating system: `cargo xtask dpu run --board qemu-virt`");
}
