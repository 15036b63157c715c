//! What a core says of itself, and its counter.

use core::arch::asm;

/// Exception level.
pub type Level = u8;

/// The exception level that this core runs at.
#[must_use]
pub fn level() -> Level {
    let current: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, currentel", out(reg) current, options(nomem, nostack, preserves_flags)) };
    (current >> 2 & 3) as Level
}

/// Lets this core use the floating-point and SIMD registers at EL2, where the start-up code's setting (for EL1) does not
/// reach. To be called first of all: compiled code uses them as it likes.
#[inline(always)]
pub fn enable_simd() {
    if level() == 2 {
        // SAFETY: clears the trap bit (TFP); the bits that are reserved as one stay so.
        unsafe {
            asm!(
                "mrs {t}, cptr_el2",
                "bic {t}, {t}, #(1 << 10)",
                "msr cptr_el2, {t}",
                "isb",
                t = out(reg) _,
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

/// This core's affinity (MPIDR without its flags).
#[must_use]
pub fn core_id() -> u64 {
    let mpidr: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack, preserves_flags)) };
    mpidr & 0xff_00ff_ffff
}

/// The virtual counter, the same on all cores. Not read ahead of what comes before.
#[must_use]
#[inline(always)]
pub fn counter() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// Ticks of [`counter`] in a second; 0 when firmware left it unset.
#[must_use]
pub fn counter_frequency() -> u64 {
    let hz: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
    hz
}

/// Sleeps until an event: another core's `sev`, an interrupt, or nothing at all (it may always return).
#[inline(always)]
pub fn wait_for_event() {
    // SAFETY: a hint.
    unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) };
}
