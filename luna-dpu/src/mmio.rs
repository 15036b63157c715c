//! Device registers: words at byte offsets of a mapped range.
//!
//! Drivers are written against [`Registers`], so that their tests drive a device made of plain Rust. [`Mmio`] is the
//! real one, over `safe-mmio`, whose aarch64 accesses are single load and store instructions (a volatile access may
//! become a form that a hypervisor cannot emulate). It orders nothing against memory: see [`crate::barrier`].

use core::ptr::NonNull;

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPureWrite;

/// Registers of a device, little-endian, by byte offset. An access beyond their length reads all ones and writes
/// nothing, as a bus without a device does.
pub trait Registers {
    /// Reads a byte.
    fn read8(&self, offset: usize) -> u8;
    /// Reads 16 bits at an even offset.
    fn read16(&self, offset: usize) -> u16;
    /// Reads 32 bits at a multiple of 4.
    fn read32(&self, offset: usize) -> u32;
    /// Writes a byte.
    fn write8(&self, offset: usize, value: u8);
    /// Writes 16 bits at an even offset.
    fn write16(&self, offset: usize, value: u16);
    /// Writes 32 bits at a multiple of 4.
    fn write32(&self, offset: usize, value: u32);

    /// Writes 64 bits as two halves, the low one first, at a multiple of 4.
    fn write64(&self, offset: usize, value: u64) {
        self.write32(offset, value as u32);
        self.write32(offset + 4, (value >> 32) as u32);
    }
}

/// A mapped register range. Copies of it name the same registers: who may use which is for the driver to arrange.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: it is an address with the right to access registers there, which every core has; registers are no memory, so
// that there is nothing to tear or to race on in Rust's sense.
unsafe impl Send for Mmio {}

impl Mmio {
    /// The `len` bytes at `base`.
    ///
    /// # Safety
    /// They are mapped as device memory for as long as this or a copy of it lives, `base` is a multiple of 8, and no Rust
    /// reference to them exists. What writing there does to the machine is the driver's to answer for.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `len` bytes of it from `offset`, a multiple of 4; `None` when they are not all in it.
    #[must_use]
    pub fn part(&self, offset: usize, len: usize) -> Option<Self> {
        if !offset.is_multiple_of(4) || offset > self.len || len > self.len - offset {
            return None;
        }
        // SAFETY: `offset` is inside the range.
        Some(Self { base: unsafe { self.base.add(offset) }, len })
    }

    /// Where it begins, for crates that bring a layout of the registers of their own.
    #[must_use]
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The register at `offset`; `None` when it is outside or misaligned.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<UniqueMmioPointer<'_, ReadPureWrite<T>>> {
        let fits = offset <= self.len && size_of::<T>() <= self.len - offset && offset.is_multiple_of(size_of::<T>());
        // SAFETY: inside the range, which is mapped by `new`'s contract; the pointer lives for one access, on one core.
        fits.then(|| unsafe { UniqueMmioPointer::new(self.base.add(offset).cast()) })
    }
}

impl Registers for Mmio {
    #[inline(always)]
    fn read8(&self, offset: usize) -> u8 {
        self.at(offset).map_or(!0, |r| r.read())
    }

    #[inline(always)]
    fn read16(&self, offset: usize) -> u16 {
        self.at(offset).map_or(!0, |r| r.read())
    }

    #[inline(always)]
    fn read32(&self, offset: usize) -> u32 {
        self.at(offset).map_or(!0, |r| r.read())
    }

    #[inline(always)]
    fn write8(&self, offset: usize, value: u8) {
        if let Some(mut r) = self.at(offset) {
            r.write(value);
        }
    }

    #[inline(always)]
    fn write16(&self, offset: usize, value: u16) {
        if let Some(mut r) = self.at(offset) {
            r.write(value);
        }
    }

    #[inline(always)]
    fn write32(&self, offset: usize, value: u32) {
        if let Some(mut r) = self.at(offset) {
            r.write(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(8))]
    struct Memory([u8; 16]);

    #[test]
    fn accesses_are_little_endian_and_stay_inside() {
        let memory = Box::leak(Box::new(Memory([0; 16])));
        let base = NonNull::new(memory.0.as_mut_ptr()).unwrap();
        // SAFETY: leaked memory that nobody else uses; it stands for registers.
        let r = unsafe { Mmio::new(base, 12) };
        r.write64(0, 0x0102_0304_0506_0708);
        assert_eq!((r.read8(0), r.read16(2), r.read32(4)), (8, 0x0506, 0x0102_0304));
        r.write32(12, 7);
        r.write32(10, 7);
        r.write32(usize::MAX - 3, 7);
        r.write16(11, 7);
        r.write8(12, 7);
        assert_eq!((r.read32(8), r.read32(12), r.read8(12), r.read16(1)), (0, !0, !0, !0));
        let part = r.part(4, 8).unwrap();
        assert_eq!(part.read32(0), 0x0102_0304);
        assert!(r.part(4, 9).is_none() && r.part(16, 0).is_none() && r.part(2, 2).is_none());
        assert!(part.part(usize::MAX - 3, 8).is_none());
    }
}
