//! Barriers between a core and devices.
//!
//! The language's fences order cores among themselves; on aarch64 they are *inner* shareable (`dmb ish`), and a device may
//! stand outside that domain. What is shared with one needs the outer shareable forms, as in Linux: `dma_wmb` is `dmb
//! oshst`, `dma_rmb` is `dmb oshld`. On other machines (where only tests run, and the device is another thread at most)
//! they are the language's fences.

/// Stores before it are seen by devices before stores after it: between descriptor and index, and before a doorbell.
#[inline(always)]
pub fn write() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier touches no register and no memory of the program's.
    unsafe {
        core::arch::asm!("dmb oshst", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "aarch64"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
}

/// Loads before it are done before loads and stores after it: between a completion's index and what it announces.
#[inline(always)]
pub fn read() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `write`.
    unsafe {
        core::arch::asm!("dmb oshld", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "aarch64"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
}

/// Everything before it is seen by devices before everything after it: between a store that a device reads and a load
/// that tells whether it did (whether it wants a doorbell).
#[inline(always)]
pub fn full() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `write`.
    unsafe {
        core::arch::asm!("dmb osh", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "aarch64"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// Everything before it is complete, not only ordered: after cache maintenance.
#[inline(always)]
pub fn complete() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `write`.
    unsafe {
        core::arch::asm!("dsb osh", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "aarch64"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}
