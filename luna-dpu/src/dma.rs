//! Memory that goes back and forth between a core and a device: the coherence seam.
//!
//! On most machines devices snoop the caches and there is nothing to do ([`Coherent`]). Some DPUs' do not: there data
//! must be written back before the device reads it, and a cache must not hold (or write back over) what the device
//! writes ([`NonCoherent`]). Rings are small and touched all the time: such boards map them uncached, so that the seam is
//! for objs only, whose size is a multiple of 64 bytes: whole cache lines of nobody else.

use core::ptr::NonNull;

/// How ranges of memory change hands.
///
/// # Safety
/// After [`DmaSync::to_device`] a device reads what was last written by the core, and after [`DmaSync::from_device`] the
/// core reads what the device wrote, whatever caches held. Neither changes memory that the range's cache lines do not
/// cover.
pub unsafe trait DmaSync {
    /// The core wrote `len` bytes at `start`, the device will read them: write them back.
    fn to_device(&self, start: NonNull<u8>, len: usize);

    /// The device will write `len` bytes at `start`: nothing of them may stay in a cache, where its write-back would
    /// overwrite the device's data.
    fn for_device(&self, start: NonNull<u8>, len: usize);

    /// The device wrote `len` bytes at `start`, the core will read them: forget what was fetched meanwhile.
    fn from_device(&self, start: NonNull<u8>, len: usize);
}

/// Devices snoop the caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coherent;

// SAFETY: on a coherent machine caches are never between a core and a device; ordering is the drivers' barriers.
unsafe impl DmaSync for Coherent {
    #[inline(always)]
    fn to_device(&self, _: NonNull<u8>, _: usize) {}
    #[inline(always)]
    fn for_device(&self, _: NonNull<u8>, _: usize) {}
    #[inline(always)]
    fn from_device(&self, _: NonNull<u8>, _: usize) {}
}

/// Devices see memory only: caches are written back and invalidated by address.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonCoherent {
    /// Bytes of the smallest data cache line.
    line: usize,
}

#[cfg(target_arch = "aarch64")]
impl NonCoherent {
    /// With the line size of this machine.
    #[must_use]
    pub fn new() -> Self {
        let ctr: u64;
        // SAFETY: reads the cache type register, which every exception level may.
        unsafe { core::arch::asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
        // DminLine: log2 of the number of 4-byte words.
        Self { line: 4 << (ctr >> 16 & 0xf) }
    }
}

#[cfg(target_arch = "aarch64")]
impl Default for NonCoherent {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_arch = "aarch64")]
macro_rules! by_line {
    ($line:expr, $start:expr, $len:expr, $op:literal) => {
        for line in lines($start, $len, $line) {
            // SAFETY: maintenance by address of mapped memory, which the range's owner vouches for.
            unsafe { core::arch::asm!(concat!("dc ", $op, ", {}"), in(reg) line, options(nostack, preserves_flags)) };
        }
        crate::barrier::complete();
    };
}

// SAFETY: `cvac` writes lines back to the point of coherency, where devices look; `civac` also forgets them.
#[cfg(target_arch = "aarch64")]
unsafe impl DmaSync for NonCoherent {
    fn to_device(&self, start: NonNull<u8>, len: usize) {
        by_line!(self.line, start, len, "cvac");
    }

    fn for_device(&self, start: NonNull<u8>, len: usize) {
        by_line!(self.line, start, len, "civac");
    }

    fn from_device(&self, start: NonNull<u8>, len: usize) {
        // Nothing in the range is dirty, so writing back changes nothing; plain invalidation would lose a neighbour's
        // bytes should a range ever not be whole lines.
        by_line!(self.line, start, len, "civac");
    }
}

/// Start addresses of the cache lines that `len` bytes at `start` touch.
#[cfg(any(test, target_arch = "aarch64"))]
fn lines(start: NonNull<u8>, len: usize, line: usize) -> impl Iterator<Item = usize> {
    let start = start.addr().get();
    let end = if len == 0 { start } else { start.saturating_add(len) };
    let first = if len == 0 { start } else { start & !(line - 1) };
    (first..end).step_by(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_touched_line_once_and_no_other() {
        let of = |start: usize, len| {
            let start = NonNull::new(core::ptr::without_provenance_mut(start)).unwrap();
            lines(start, len, 64).collect::<Vec<_>>()
        };
        assert_eq!(of(64, 64), [64]);
        assert_eq!(of(65, 64), [64, 128]);
        assert_eq!(of(127, 1), [64]);
        assert_eq!(of(127, 2), [64, 128]);
        assert_eq!(of(100, 0), []);
    }
}
