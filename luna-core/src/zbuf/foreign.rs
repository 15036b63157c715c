//! Foreign memory: guest pages, application hugepages. Somebody else writes it concurrently, so it is never a `&[u8]`:
//! it has bus addresses and a volatile copy, nothing more.
//!
//! A [`ForeignRegion`] is a descriptor obj in one of our own zones (base, length, bus addresses, device key). A
//! [`Foreign`] buffer is a second, small descriptor obj that counts the references to one buffer: retransmission queue
//! and device each hold one, so that its last reference is the moment at which the owner may reuse the memory. No count
//! lives in foreign memory, and no foreign address is ever masked: a guest cannot forge either.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use static_assertions::{assert_not_impl_any, const_assert_eq};

use super::handle::{add_reference, drop_reference};
use super::pool::Pool;
use super::region::{DeviceKey, IoAddr};
use super::zone::ZoneRef;
use crate::parts::FOREIGN;

/// How devices reach a foreign region.
#[derive(Clone, Copy, Debug)]
pub enum ForeignIo<'a> {
    /// One contiguous range of bus addresses.
    Contiguous(IoAddr),
    /// One address for every `1 << page_shift` bytes, the first for the page at the region's base.
    Pages {
        /// log2 of the page size, 12 to 30.
        page_shift: u8,
        /// As many as pages.
        pages: &'a [IoAddr],
    },
}

/// Why foreign memory cannot be registered or used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignError {
    /// The page table does not match the length, or the page size is not between 4 KiB and 1 GiB.
    BadPages,
    /// The region is empty or larger than 4 GiB (register it in parts).
    BadLength,
    /// No free obj for the descriptor, or the pool's objs cannot hold it.
    OutOfObjs,
    /// The buffer reaches beyond the region.
    OutOfRange,
    /// The region was revoked.
    Revoked,
    /// The feature `foreign` is off.
    LeftOut,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadPages => "the page table does not cover the foreign region exactly",
            Self::BadLength => "a foreign region has between 1 byte and 4 GiB: register larger memory in parts",
            Self::OutOfObjs => "no free obj (large enough) for a foreign descriptor",
            Self::OutOfRange => "the buffer reaches beyond its foreign region",
            Self::Revoked => "the foreign region was revoked",
            Self::LeftOut => "this build has no foreign memory",
        })
    }
}

impl core::error::Error for ForeignError {}

/// In the region's descriptor obj; the page addresses follow it.
#[repr(C)]
struct RegionDesc {
    base: NonNull<u8>,
    len: u64,
    key: DeviceKey,
    first: IoAddr,
    obj: u32,
    page_shift: u8,
    revoked: Cell<bool>,
}

/// In a buffer's descriptor obj.
#[repr(C)]
struct BufferDesc {
    region: NonNull<u8>,
    region_obj: u32,
    obj: u32,
}

const CONTIGUOUS: u8 = 63;

/// Registered foreign memory. Dropping it revokes it; the descriptor lives until the last buffer is gone. `!Send`.
pub struct ForeignRegion {
    desc: NonNull<u8>,
    obj: u32,
    not_send: PhantomData<*const ()>,
}

impl ForeignRegion {
    /// Registers `len` bytes at `base`; descriptors come from `pool`.
    ///
    /// # Errors
    /// [`ForeignError`], nothing registered.
    ///
    /// # Safety
    /// The memory stays mapped and `io` stays true until [`ForeignRegion::is_idle`] says yes after
    /// [`ForeignRegion::revoke`]. Others may write it at any time.
    pub unsafe fn register(
        pool: &Pool,
        base: NonNull<u8>,
        len: u64,
        io: ForeignIo<'_>,
        key: DeviceKey,
    ) -> Result<Self, ForeignError> {
        if !FOREIGN {
            return Err(ForeignError::LeftOut);
        }
        if len == 0 || len > 1 << 32 {
            return Err(ForeignError::BadLength);
        }
        let (page_shift, first, pages) = match io {
            ForeignIo::Contiguous(first) => (CONTIGUOUS, first, &[][..]),
            ForeignIo::Pages { page_shift, pages } => {
                let wanted = if (12..=30).contains(&page_shift) { len.div_ceil(1 << page_shift) } else { 0 };
                if wanted == 0 || wanted != pages.len() as u64 {
                    return Err(ForeignError::BadPages);
                }
                (page_shift, IoAddr(0), pages)
            }
        };
        let mut obj = pool.alloc().ok_or(ForeignError::OutOfObjs)?;
        let need = size_of::<RegionDesc>() + size_of_val(pages);
        if (obj.set_len(need as u32) as usize) < need || !obj.as_ptr().addr().is_multiple_of(align_of::<RegionDesc>()) {
            return Err(ForeignError::OutOfObjs);
        }
        let (desc, _, obj) = obj.into_obj_parts();
        // SAFETY: the obj has `need` bytes at an address aligned for the descriptor, exclusively ours.
        unsafe {
            desc.cast::<RegionDesc>().write(RegionDesc {
                base,
                len,
                key,
                first,
                obj,
                page_shift,
                revoked: Cell::new(false),
            });
            let table = desc.add(size_of::<RegionDesc>()).cast::<IoAddr>();
            for (i, page) in pages.iter().enumerate() {
                table.add(i).write(*page);
            }
        }
        Ok(Self { desc, obj, not_send: PhantomData })
    }

    fn desc(&self) -> &RegionDesc {
        // SAFETY: this handle's reference keeps the descriptor alive; what changes in it is a cell.
        unsafe { self.desc.cast::<RegionDesc>().as_ref() }
    }

    /// A buffer of `len` bytes at `offset`, its descriptor from `pool`.
    ///
    /// # Errors
    /// [`ForeignError::OutOfRange`], [`ForeignError::Revoked`], [`ForeignError::OutOfObjs`].
    pub fn buffer(&self, pool: &Pool, offset: u64, len: u32) -> Result<Foreign, ForeignError> {
        let d = self.desc();
        if d.revoked.get() {
            return Err(ForeignError::Revoked);
        }
        let end = offset.checked_add(u64::from(len)).ok_or(ForeignError::OutOfRange)?;
        if len == 0 || len >= 1 << 30 || end > d.len || offset > u64::from(u32::MAX) {
            return Err(ForeignError::OutOfRange);
        }
        let mut obj = pool.alloc().ok_or(ForeignError::OutOfObjs)?;
        let need = size_of::<BufferDesc>() as u32;
        if obj.set_len(need) < need || !obj.as_ptr().addr().is_multiple_of(align_of::<BufferDesc>()) {
            return Err(ForeignError::OutOfObjs);
        }
        let (desc, _, obj) = obj.into_obj_parts();
        // SAFETY: this handle holds the region's descriptor; the buffer's descriptor is a fresh obj of the right size.
        unsafe {
            add_reference(self.desc, self.obj);
            desc.cast::<BufferDesc>().write(BufferDesc { region: self.desc, region_obj: self.obj, obj });
        }
        Ok(Foreign { desc, len, offset: offset as u32, not_send: PhantomData })
    }

    /// Stops new use: no new buffers, no new bus addresses or copies from old ones. What a device already holds it
    /// keeps until its completion: wait for [`ForeignRegion::is_idle`] before unmapping.
    pub fn revoke(&self) {
        self.desc().revoked.set(true);
    }

    /// Whether no buffer of this region is left anywhere.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        // SAFETY: the descriptor is an obj of one of our zones, alive by this handle's reference.
        unsafe { ZoneRef::of(self.desc).count(self.obj) == 1 }
    }
}

impl Drop for ForeignRegion {
    fn drop(&mut self) {
        self.revoke();
        // SAFETY: this handle's reference, dropped once.
        unsafe { drop_reference(self.desc, self.obj) };
    }
}

impl fmt::Debug for ForeignRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForeignRegion({} bytes, revoked {})", self.desc().len, self.desc().revoked.get())
    }
}

/// Part of a foreign buffer; clones and slices count on the buffer's descriptor. `!Send`.
pub struct Foreign {
    desc: NonNull<u8>,
    len: u32,
    offset: u32,
    not_send: PhantomData<*const ()>,
}

const_assert_eq!(size_of::<Foreign>(), 16);
assert_not_impl_any!(Foreign: Send, Sync);
assert_not_impl_any!(ForeignRegion: Send, Sync);

impl Foreign {
    #[inline]
    pub(super) fn into_parts(self) -> (NonNull<u8>, u32, u32) {
        let this = ManuallyDrop::new(self);
        (this.desc, this.len, this.offset)
    }

    /// # Safety
    /// The parts came from [`Foreign::into_parts`], their reference with them.
    #[inline]
    pub(super) unsafe fn from_parts(desc: NonNull<u8>, len: u32, offset: u32) -> Self {
        Self { desc, len, offset, not_send: PhantomData }
    }

    fn buffer_desc(&self) -> &BufferDesc {
        // SAFETY: this handle's reference keeps the descriptor alive; it is written once, before any handle exists.
        unsafe { self.desc.cast::<BufferDesc>().as_ref() }
    }

    fn region(&self) -> &RegionDesc {
        // SAFETY: the buffer's descriptor holds a reference to the region's.
        unsafe { self.buffer_desc().region.cast::<RegionDesc>().as_ref() }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Device key of the region.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        self.region().key
    }

    /// Whether the region was revoked: nothing of it may be given to a device any more.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.region().revoked.get()
    }

    /// Whether this is the only reference to its buffer: no device and no retransmission queue holds it.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        // SAFETY: the descriptor is an obj of one of our zones, alive by this handle's reference.
        unsafe { ZoneRef::of(self.desc).count(self.buffer_desc().obj) == 1 }
    }

    /// References to its buffer, this one included.
    #[must_use]
    pub fn references(&self) -> u32 {
        // SAFETY: the descriptor is an obj of one of our zones, alive by this handle's reference.
        unsafe { ZoneRef::of(self.desc).count(self.buffer_desc().obj) }
    }

    /// Whether both are parts of one buffer: what [`Foreign::references`] counts together.
    #[must_use]
    pub fn same_buffer(&self, other: &Self) -> bool {
        self.desc == other.desc
    }

    /// Forgets the first `n` bytes.
    pub fn trim_front(&mut self, n: u32) {
        let n = n.min(self.len);
        self.len -= n;
        // An emptied part keeps its offset: behind the last byte of 4 GiB there is none.
        if self.len > 0 {
            self.offset += n;
        }
    }

    /// Forgets all behind the first `n` bytes.
    pub fn truncate(&mut self, n: u32) {
        self.len = self.len.min(n);
    }

    /// Bus address of the first byte and how many bytes from there are contiguous for a device; `None` when empty or
    /// revoked.
    #[must_use]
    pub fn io_piece(&self) -> Option<(IoAddr, u32)> {
        let d = self.region();
        if d.revoked.get() || self.len == 0 {
            return None;
        }
        let offset = u64::from(self.offset);
        if d.page_shift == CONTIGUOUS {
            return Some((IoAddr(d.first.0 + offset), self.len));
        }
        let size = 1u64 << d.page_shift;
        let inside = offset & (size - 1);
        // SAFETY: the table has one entry per page of the region, and the offset was checked against its length.
        let page = unsafe {
            let table = self.buffer_desc().region.add(size_of::<RegionDesc>()).cast::<IoAddr>();
            table.add((offset >> d.page_shift) as usize).read()
        };
        Some((IoAddr(page.0 + inside), self.len.min((size - inside) as u32)))
    }

    /// Copies the bytes out with volatile reads, as much as fits; `None` when revoked. Two copies may differ: the
    /// memory is somebody else's.
    #[must_use]
    pub fn copy_to(&self, dst: &mut [u8]) -> Option<usize> {
        let d = self.region();
        if d.revoked.get() {
            return None;
        }
        let n = dst.len().min(self.len as usize);
        // SAFETY: offset + len is inside the region, checked when the buffer was made.
        let src = unsafe { d.base.add(self.offset as usize) }.as_ptr().cast_const();
        for (i, byte) in dst.iter_mut().take(n).enumerate() {
            // SAFETY: `i < len`; the region stays mapped until it is idle, and volatile reads tolerate other writers.
            *byte = unsafe { src.add(i).read_volatile() };
        }
        Some(n)
    }
}

impl Clone for Foreign {
    fn clone(&self) -> Self {
        // SAFETY: this handle holds a reference to the descriptor.
        unsafe { add_reference(self.desc, self.buffer_desc().obj) };
        Self { desc: self.desc, len: self.len, offset: self.offset, not_send: PhantomData }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let BufferDesc { region, region_obj, obj } = *self.buffer_desc();
        let last = self.is_unique();
        // SAFETY: this handle's reference, and with the last one the buffer's reference to its region.
        unsafe {
            drop_reference(self.desc, obj);
            if last {
                drop_reference(region, region_obj);
            }
        }
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({} bytes at offset {})", self.len, self.offset)
    }
}

#[cfg(test)]
mod tests;
