//! A parcel: the one way for an obj to another thread. Unique, bytes only, `Send`.

use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::handle::{Zbuf, ZbufMut};
use super::pool::Pool;
use super::zone::ZoneRef;

/// An obj on its way between threads. Dropped anywhere, it returns through its zone's lock-free list; opened again
/// only by the pool that owns it.
#[derive(Debug)]
pub struct Parcel {
    ptr: NonNull<u8>,
    len: u32,
    obj: u32,
}

// SAFETY: a parcel is the obj's only reference, touches no count, and goes home through an atomic list.
unsafe impl Send for Parcel {}

impl Parcel {
    /// Makes a parcel of a writable handle.
    #[must_use]
    #[inline(always)]
    pub fn new(buf: ZbufMut) -> Self {
        let (ptr, len, obj) = buf.into_obj_parts();
        Self { ptr, len, obj }
    }

    /// The handle again, on the owner's thread.
    ///
    /// # Errors
    /// The parcel itself, when it is of another pool.
    #[inline]
    pub fn open(self, pool: &Pool) -> Result<ZbufMut, Self> {
        if !pool.contains(self.ptr) {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: the obj's only reference; a `Pool` is `!Send`, so holding it proves that this is its thread.
        Ok(unsafe { ZbufMut::adopt(this.ptr, this.len, this.obj) })
    }

    /// [`Parcel::open`] where the pool is known.
    ///
    /// # Safety
    /// The parcel is of `pool`.
    #[inline(always)]
    pub(crate) unsafe fn open_own(self, pool: &Pool) -> ZbufMut {
        debug_assert!(pool.contains(self.ptr));
        let this = ManuallyDrop::new(self);
        // SAFETY: as `open`; the caller vouches for the pool.
        unsafe { ZbufMut::adopt(this.ptr, this.len, this.obj) }
    }

    /// Bytes from the parcel's first to the end of its obj: how far [`Parcel::set_len`] may go.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> u32 {
        let zone = self.zone();
        let used = self.ptr.addr().get() - zone.obj_start(self.obj).addr().get();
        zone.obj_size() - used as u32
    }

    /// Sets the length, up to [`Parcel::capacity`]; returns the new length.
    #[inline]
    pub fn set_len(&mut self, n: u32) -> u32 {
        self.len = n.min(self.capacity());
        self.len
    }

    #[inline]
    fn zone(&self) -> ZoneRef<'_> {
        // SAFETY: a parcel points into an obj of one of our zones.
        unsafe { ZoneRef::of(self.ptr) }
    }
}

impl TryFrom<Zbuf> for Parcel {
    type Error = Zbuf;
    /// Fails, with the view, when others hold the obj.
    fn try_from(buf: Zbuf) -> Result<Self, Zbuf> {
        buf.try_into_mut().map(Self::new)
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.zone().push_returned(self.obj);
    }
}

impl Deref for Parcel {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: initialised memory of an obj that only this parcel refers to.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Parcel {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as deref; `&mut self` makes it the only access.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len as usize) }
    }
}

#[cfg(test)]
mod tests;
