//! Arrays in memory that a device reads and writes.

use core::ptr::NonNull;

use crate::dma::DmaPiece;

/// A power of two of `T`s, shared with a device. Every access is volatile, and its index is taken modulo the length.
pub(crate) struct Shared<T> {
    base: NonNull<T>,
    mask: u16,
}

// SAFETY: an address in memory that was given to its holder for good; nothing in it is tied to a core.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// `count` of them at byte `offset` of `memory`; both must fit and be aligned, which the ring's layout sees to.
    pub(crate) fn new(memory: &DmaPiece, offset: usize, count: u16) -> Self {
        assert!(count.is_power_of_two() && offset + usize::from(count) * size_of::<T>() <= memory.len());
        // SAFETY: inside the piece, as just checked.
        let base = unsafe { memory.base().add(offset) }.cast::<T>();
        assert!(base.is_aligned());
        Self { base, mask: count - 1 }
    }

    #[inline(always)]
    pub(crate) fn at(&self, i: u16) -> NonNull<T> {
        // SAFETY: the mask keeps it inside.
        unsafe { self.base.add(usize::from(i & self.mask)) }
    }

    #[inline(always)]
    pub(crate) fn read(&self, i: u16) -> T {
        // SAFETY: inside the piece, which is mapped for good; all types here are plain numbers, good with any bits.
        unsafe { self.at(i).read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn write(&self, i: u16, value: T) {
        // SAFETY: as in `read`; the memory is the ring's own and the device's.
        unsafe { self.at(i).write_volatile(value) };
    }
}
