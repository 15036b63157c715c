//! The machine's memory behind the image, given out at start and never taken back.

use core::ptr::NonNull;

use luna_core::zbuf::{DeviceKey, IoAddr, Region, ZONE_SIZE};

use crate::dma::DmaArea;
use crate::smmu::{IoSpace, MapError};

/// Memory that nobody uses yet. It may go to another core.
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u8>,
    /// What devices add to an address of the core's.
    io_offset: u64,
    len: usize,
}

// SAFETY: exclusive memory without any reference to it; moving it moves all of it.
unsafe impl Send for Arena {}

impl Arena {
    /// `len` bytes at `base`; devices reach what the core sees at `a` at `a + io_offset` (wrapping).
    ///
    /// # Safety
    /// The memory is mapped as normal memory, writable, used by nobody else, and stays so for ever; the offset is true
    /// for all of it.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize, io_offset: u64) -> Self {
        Self { base, io_offset, len }
    }

    /// Bytes left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.len
    }

    /// `len` bytes at a multiple of `align`, a power of two.
    fn take(&mut self, len: usize, align: usize) -> Option<NonNull<u8>> {
        let at = self.base.addr().get();
        let skip = at.checked_next_multiple_of(align)? - at;
        let used = skip.checked_add(len).filter(|used| *used <= self.len)?;
        self.len -= used;
        // SAFETY: inside the memory, by the comparison.
        let (start, rest) = unsafe { (self.base.add(skip), self.base.add(used)) };
        self.base = rest;
        Some(start)
    }

    /// `count` default values.
    pub fn slice<T: Default>(&mut self, count: usize) -> Option<&'static mut [T]> {
        let start = self.take(count.checked_mul(size_of::<T>())?, align_of::<T>())?.cast::<T>();
        for i in 0..count {
            // SAFETY: inside what was taken just now, which is aligned and nobody else's.
            unsafe { start.add(i).write(T::default()) };
        }
        // SAFETY: all of it was just written; it is given to nobody else, ever.
        Some(unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), count) })
    }

    /// One value, in place for good.
    pub fn put<T>(&mut self, value: T) -> Option<&'static mut T> {
        let start = self.take(size_of::<T>(), align_of::<T>())?.cast::<T>();
        // SAFETY: as in `slice`.
        Some(unsafe {
            start.write(value);
            &mut *start.as_ptr()
        })
    }

    /// `zones` zones of packet memory.
    pub fn zones(&mut self, zones: usize) -> Option<Region> {
        let start = self.take(zones.checked_mul(ZONE_SIZE)?, ZONE_SIZE)?;
        let io = |i: usize| self.io(start, i * ZONE_SIZE);
        // SAFETY: taken just now, by `new`'s contract exclusive, mapped for good, and where the offset says.
        unsafe { Region::new(start, zones, io, DeviceKey::default()) }.ok()
    }

    /// Memory for rings.
    pub fn dma(&mut self, len: usize) -> Option<DmaArea> {
        let start = self.take(len, 4096)?;
        // SAFETY: as in `zones`.
        Some(unsafe { DmaArea::new(start, self.io(start, 0), len) })
    }

    /// A part of it that begins at a multiple of `align` (a power of two): for another core, or for another use.
    pub fn split(&mut self, len: usize, align: usize) -> Option<Self> {
        let base = self.take(len, align)?;
        Some(Self { base, io_offset: self.io_offset, len })
    }

    /// The same memory, which devices reach through `space`; its start and length are multiples of 4096.
    ///
    /// # Errors
    /// [`MapError`].
    ///
    /// # Safety
    /// It is `space` that the devices which will be told of this memory go through.
    pub unsafe fn through(self, space: &mut impl IoSpace) -> Result<Self, MapError> {
        let IoAddr(io) = space.map(self.io(self.base, 0).0, self.len as u64)?;
        Ok(Self { io_offset: io.wrapping_sub(self.base.addr().get() as u64), ..self })
    }

    /// Where devices find its first byte.
    #[must_use]
    pub fn io_addr(&self) -> IoAddr {
        self.io(self.base, 0)
    }

    fn io(&self, start: NonNull<u8>, offset: usize) -> IoAddr {
        IoAddr((start.addr().get() as u64 + offset as u64).wrapping_add(self.io_offset))
    }
}

#[cfg(test)]
mod tests {
    use core::alloc::Layout;
    use std::alloc::alloc;

    use super::*;
    use crate::smmu::Offset;

    fn arena(len: usize) -> Arena {
        // SAFETY: the length is not zero.
        let base = NonNull::new(unsafe { alloc(Layout::from_size_align(len, 64).unwrap()) }).unwrap();
        // SAFETY: fresh memory, never freed.
        unsafe { Arena::new(base, len, 0x1_0000_0000) }
    }

    #[test]
    fn parts_are_aligned_and_apart_until_nothing_is_left() {
        let mut a = arena(4096);
        let bytes = a.slice::<u8>(3).unwrap();
        let words = a.slice::<u64>(4).unwrap();
        bytes.fill(0xff);
        assert_eq!(words, [0; 4]);
        words.fill(u64::MAX);
        assert_eq!(bytes, [0xff; 3]);
        *a.put(7u32).unwrap() += 1;
        let mut other = a.split(1000, 64).unwrap();
        assert!(other.slice::<u8>(1001).is_none() && other.slice::<u8>(1000).is_some());
        let left = a.left();
        assert!(left < 4096 - 1000 && a.slice::<u8>(left + 1).is_none() && a.slice::<u8>(left).is_some());
        assert!(a.slice::<u64>(usize::MAX / 4).is_none() && a.zones(1).is_none() && a.dma(1).is_none());
    }

    #[test]
    fn devices_reach_it_through_a_space() {
        let mut a = arena(4 * 4096);
        let mut part = a.split(2 * 4096, 4096).unwrap();
        let there = part.io_addr().0 + 0x5000;
        // SAFETY: no device is told of it.
        part = unsafe { part.through(&mut Offset(0x5000)) }.unwrap();
        let start = part.base.addr().get() as u64;
        assert_eq!(part.io_addr(), IoAddr(there), "from where devices found it before");
        let piece = part.dma(4096).unwrap().take(64, 64).unwrap();
        assert_eq!((piece.io(0).0, piece.base().addr().get() as u64), (there, start));
        assert_eq!(part.io_addr(), IoAddr(there + 4096), "the rest too");
        let odd = part.split(100, 4096).unwrap();
        // SAFETY: likewise.
        assert_eq!(unsafe { odd.through(&mut Offset(0)) }.err(), Some(MapError::Misaligned));
    }

    #[test]
    fn devices_find_zones_and_rings_at_the_offset() {
        let mut a = arena(3 * ZONE_SIZE);
        let mut dma = a.dma(8192).unwrap();
        let piece = dma.take(64, 64).unwrap();
        assert_eq!(piece.io(0).0, piece.base().addr().get() as u64 + 0x1_0000_0000);
        let region = a.zones(1).unwrap();
        let base = region.base().addr().get() as u64;
        let pool = luna_core::zbuf::Pool::new(region, luna_core::zbuf::ZoneLayout::plain(2048)).unwrap();
        let obj = pool.alloc().unwrap();
        assert_eq!(obj.io_addr().0 - obj.as_ptr().addr() as u64, 0x1_0000_0000);
        assert!(base.is_multiple_of(ZONE_SIZE as u64));
    }
}
