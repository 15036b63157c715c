//! From EL3, where the machine starts when there is no firmware, to aarch64-rt's entry at EL1.

use core::arch::naked_asm;

/// EL1h, exceptions masked.
const SPSR: u64 = 0x3c5;
/// Non-secure below EL3 (NS), 64 bits (RW), HVC on (HCE), bits that are reserved as one.
const SCR: u64 = 1 | 3 << 4 | 1 << 8 | 1 << 10;
/// EL1 is 64 bits (RW).
const HCR: u64 = 1 << 31;
/// No traps of floating point; bits that are reserved as one.
const CPTR_EL2: u64 = 0x33ff;
/// EL1 may read the counters and timers.
const CNTHCTL: u64 = 3;
/// Bits that are reserved as one: MMU and caches off, little-endian.
const SCTLR_EL1: u64 = 0x30d0_0800;

unsafe extern "C" {
    /// aarch64-rt's.
    fn entry() -> !;
}

/// The image's first instruction. Firmware that starts it lower down is welcome: then this only goes on.
///
/// # Safety
/// Called by the machine alone.
#[unsafe(naked)]
#[unsafe(link_section = ".init.from_el3")]
#[unsafe(no_mangle)]
unsafe extern "C" fn from_el3() -> ! {
    naked_asm!(
        // Without firmware every core starts here, and there is nobody to start them again: one goes on.
        "mrs x9, mpidr_el1",
        "tst x9, #0xffffff",
        "b.eq 1f",
        "0:",
        "wfe",
        "b 0b",
        "1:",
        "mrs x9, currentel",
        "cmp x9, #(3 << 2)",
        "b.ne {entry}",
        "msr cptr_el3, xzr",
        "mov x9, #{scr}",
        "msr scr_el3, x9",
        "mov x9, #{hcr}",
        "msr hcr_el2, x9",
        "mov x9, #{cptr}",
        "msr cptr_el2, x9",
        "mov x9, #{cnthctl}",
        "msr cnthctl_el2, x9",
        "msr cntvoff_el2, xzr",
        // What EL1 sees as its own identity.
        "mrs x9, midr_el1",
        "msr vpidr_el2, x9",
        "mrs x9, mpidr_el1",
        "msr vmpidr_el2, x9",
        "movz x9, #{sctlr_high}, lsl #16",
        "movk x9, #{sctlr_low}",
        "msr sctlr_el1, x9",
        "mov x9, #{spsr}",
        "msr spsr_el3, x9",
        "adrp x9, {entry}",
        "add x9, x9, :lo12:{entry}",
        "msr elr_el3, x9",
        "isb",
        "eret",
        entry = sym entry,
        scr = const SCR,
        hcr = const HCR,
        cptr = const CPTR_EL2,
        cnthctl = const CNTHCTL,
        sctlr_high = const SCTLR_EL1 >> 16,
        sctlr_low = const SCTLR_EL1 & 0xffff,
        spsr = const SPSR,
    )
}
