//! Luna on QEMU's `sbsa-ref` machine: really different from `virt`. It starts at EL3, its RAM begins at 1 TiB, there is no
//! PSCI (hence one core), its NIC is an e1000e behind PCIe, and its device tree says next to nothing.
//!
//! Built by `cargo xtask dpu` for `aarch64-unknown-none`; for other targets there is only a program that says so.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is an image for aarch64 without an operating system: `cargo xtask dpu run --board sbsa-ref`");
}
