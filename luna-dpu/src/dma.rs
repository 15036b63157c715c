//! Memory that goes back and forth between a core and a device: the coherence seam.
//!
//! On most machines devices snoop the caches and there is nothing to do ([`Coherent`]). Some DPUs' do not: there data
//! must be written back before the device reads it, and a cache must not hold (or write back over) what the device
//! writes (`NonCoherent`). Rings are small and touched all the time: such boards map them uncached, so that the seam is
//! for objs only, whose size is a multiple of 64 bytes: whole cache lines of nobody else.

use core::ptr::NonNull;

use luna_core::zbuf::IoAddr;

/// How ranges of memory change hands.
///
/// # Safety
/// After [`DmaSync::device_reads`] a device reads what was last written by the core, and after [`DmaSync::device_wrote`] the
/// core reads what the device wrote, whatever caches held. Neither changes memory that the range's cache lines do not
/// cover.
pub unsafe trait DmaSync {
    /// The core wrote `len` bytes at `start`, the device will read them: write them back.
    fn device_reads(&self, start: NonNull<u8>, len: usize);

    /// The device will write `len` bytes at `start`: nothing of them may stay in a cache, where its write-back would
    /// overwrite the device's data.
    fn device_writes(&self, start: NonNull<u8>, len: usize);

    /// The device wrote `len` bytes at `start`, the core will read them: forget what was fetched meanwhile.
    fn device_wrote(&self, start: NonNull<u8>, len: usize);
}

/// Devices snoop the caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coherent;

// SAFETY: on a coherent machine caches are never between a core and a device; ordering is the drivers' barriers.
unsafe impl DmaSync for Coherent {
    #[inline(always)]
    fn device_reads(&self, _: NonNull<u8>, _: usize) {}
    #[inline(always)]
    fn device_writes(&self, _: NonNull<u8>, _: usize) {}
    #[inline(always)]
    fn device_wrote(&self, _: NonNull<u8>, _: usize) {}
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
    fn device_reads(&self, start: NonNull<u8>, len: usize) {
        by_line!(self.line, start, len, "cvac");
    }

    fn device_writes(&self, start: NonNull<u8>, len: usize) {
        by_line!(self.line, start, len, "civac");
    }

    fn device_wrote(&self, start: NonNull<u8>, len: usize) {
        // Nothing in the range is dirty, so writing back changes nothing; plain invalidation would lose a neighbour's
        // bytes should a range ever not be whole lines.
        by_line!(self.line, start, len, "civac");
    }
}

/// Memory for rings and other structures that a device reads and writes, given out piece by piece and never taken back.
#[derive(Debug)]
pub struct DmaArea {
    base: NonNull<u8>,
    io: IoAddr,
    len: usize,
    used: usize,
}

/// A piece of a [`DmaArea`]: zeroed, exclusively its holder's and the device's, for ever.
#[derive(Debug)]
pub struct DmaPiece {
    base: NonNull<u8>,
    io: IoAddr,
    len: usize,
}

// SAFETY: exclusive memory without any reference to it; moving it moves all of it.
unsafe impl Send for DmaPiece {}

impl DmaArea {
    /// `len` bytes at `base`, which devices reach at `io`.
    ///
    /// # Safety
    /// The memory is mapped (uncached where devices do not snoop), writable, used by nobody else, and stays so for ever;
    /// `io` tells the truth for all of it.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, io: IoAddr, len: usize) -> Self {
        Self { base, io, len, used: 0 }
    }

    /// `len` zeroed bytes, aligned to `align` (a power of two) for the core and for the device; `None` when no room is left.
    pub fn take(&mut self, len: usize, align: usize) -> Option<DmaPiece> {
        let at = self.base.addr().get().checked_add(self.used)?;
        let skip = at.checked_next_multiple_of(align)? - at;
        let start = self.used.checked_add(skip)?;
        let io = IoAddr(self.io.0 + start as u64);
        if len > self.len.checked_sub(start)? || !io.0.is_multiple_of(align as u64) {
            return None;
        }
        self.used = start + len;
        // SAFETY: inside the area, by the comparison; nobody else has this part of it.
        let base = unsafe {
            let base = self.base.add(start);
            base.write_bytes(0, len);
            base
        };
        Some(DmaPiece { base, io, len })
    }
}

impl DmaPiece {
    /// Zeroes it. No device is using it.
    pub(crate) fn clear(&mut self) {
        // SAFETY: exclusive memory of so many bytes.
        unsafe { self.base.write_bytes(0, self.len) };
    }

    /// First byte.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the device finds byte `offset`.
    #[must_use]
    pub fn io(&self, offset: usize) -> IoAddr {
        IoAddr(self.io.0 + offset as u64)
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
pub(crate) mod fake;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_zeroed_and_apart() {
        #[repr(align(4096))]
        struct Memory([u8; 8192]);
        let memory = Box::leak(Box::new(Memory([0xff; 8192])));
        let base = NonNull::new(memory.0.as_mut_ptr()).unwrap();
        // SAFETY: leaked memory of nobody else.
        let mut area = unsafe { DmaArea::new(base, IoAddr(0x8000_0000), 8192) };
        let a = area.take(10, 2).unwrap();
        let b = area.take(4096, 4096).unwrap();
        assert_eq!((a.io(4), b.io(0)), (IoAddr(0x8000_0004), IoAddr(0x8000_1000)));
        assert_eq!(b.base().addr().get() - a.base().addr().get(), 4096);
        assert!(memory.0[..10].iter().chain(&memory.0[4096..]).all(|b| *b == 0) && memory.0[10] == 0xff);
        assert!(area.take(1, 1).is_none() && area.take(0, 1).is_some() && area.take(usize::MAX, 1).is_none());
        // SAFETY: as above; the device sees it at an odd place.
        let mut odd = unsafe { DmaArea::new(base, IoAddr(0x8000_0001), 8192) };
        assert!(odd.take(16, 16).is_none(), "aligned for the core only");
    }

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
