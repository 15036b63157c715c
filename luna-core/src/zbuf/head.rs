//! The front of a frame on its way to a device.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use static_assertions::{assert_not_impl_any, const_assert_eq};

use super::handle::{Zbuf, ZbufMut, add_reference, drop_reference};
use super::region::{DeviceKey, IoAddr};
use super::zone::ZoneRef;

/// Bytes kept free before a message that is sent with the headers in front of it: those of a plain TCP frame.
pub(crate) const LEAD_LEN: usize = 66;

/// What a frame begins with: its headers, and what stands right behind them in the same obj. A queue reads all of it;
/// nobody writes it any more.
///
/// Others may hold the bytes behind the headers (they are sent again if they are lost), but no other head is of the same obj:
/// the obj's prefix is the driver's for as long as the head lives, and what [`FrameHead::into_zbuf`] makes of it. `!Send`.
pub struct FrameHead {
    ptr: NonNull<u8>,
    len: u32,
    obj: u32,
    not_send: PhantomData<*const ()>,
}

const_assert_eq!(size_of::<FrameHead>(), 16);
assert_not_impl_any!(FrameHead: Send, Sync, Clone);

impl FrameHead {
    /// Of an obj that others share, behind [`LEAD_LEN`] bytes that nobody else reads or writes.
    ///
    /// # Safety
    /// `ptr..ptr + len` lies in the data area of obj `obj`, to which the caller holds a reference; nobody else uses the first
    /// [`LEAD_LEN`] of these bytes, nor makes another head of the obj, until it is free.
    #[inline(always)]
    pub(super) unsafe fn leading(ptr: NonNull<u8>, len: u32, obj: u32) -> Self {
        // SAFETY: by contract.
        unsafe { add_reference(ptr, obj) };
        Self { ptr, len, obj, not_send: PhantomData }
    }

    #[inline(always)]
    fn zone(&self) -> ZoneRef<'_> {
        // SAFETY: a head points into an obj of one of our zones.
        unsafe { ZoneRef::of(self.ptr) }
    }

    /// The room of a plain frame's headers; `None` when it is shorter.
    #[inline(always)]
    pub(crate) fn lead_mut(&mut self) -> Option<&mut [u8; LEAD_LEN]> {
        // SAFETY: as many bytes, initialised, and only this handle's: it was the obj's only one, or made by `leading`.
        (self.len as usize >= LEAD_LEN).then(|| unsafe { self.ptr.cast().as_mut() })
    }

    /// Grows by `n` bytes at the end and returns them.
    ///
    /// # Safety
    /// This is the obj's only handle, which has that much tailroom.
    #[inline(always)]
    pub(super) unsafe fn append_known(&mut self, n: u32) -> &mut [u8] {
        let old = self.len as usize;
        self.len += n;
        // SAFETY: inside the obj's data area, and nobody else's, by contract.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr().add(old), n as usize) }
    }

    /// Length in bytes.
    #[must_use]
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First byte.
    #[must_use]
    #[inline(always)]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// Bus address of the first byte; those that follow are contiguous on the bus.
    #[must_use]
    #[inline(always)]
    pub fn io_addr(&self) -> IoAddr {
        self.zone().io_addr(self.ptr)
    }

    /// Device key of the region.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        self.zone().key()
    }

    /// Start of the obj: the driver's prefix, which is this head's alone.
    #[must_use]
    #[inline]
    pub fn obj_start(&self) -> NonNull<u8> {
        self.zone().obj_start(self.obj)
    }

    /// The same bytes to be kept until the device has read them.
    #[must_use]
    #[inline(always)]
    pub fn into_zbuf(self) -> Zbuf {
        let (ptr, len, obj) = self.into_parts();
        // SAFETY: the head's reference goes along.
        unsafe { Zbuf::adopt(ptr, len, obj) }
    }

    /// The writable handle, to put more behind it.
    ///
    /// # Errors
    /// The head itself, when others hold part of the obj.
    #[inline]
    pub fn try_into_mut(self) -> Result<ZbufMut, Self> {
        // SAFETY: `obj` is this handle's own obj.
        if unsafe { self.zone().count(self.obj) } != 1 {
            return Err(self);
        }
        let (ptr, len, obj) = self.into_parts();
        // SAFETY: the only reference, as just seen, goes along.
        Ok(unsafe { ZbufMut::adopt(ptr, len, obj) })
    }

    #[inline(always)]
    pub(super) fn into_parts(self) -> (NonNull<u8>, u32, u32) {
        let this = ManuallyDrop::new(self);
        (this.ptr, this.len, this.obj)
    }
}

impl From<ZbufMut> for FrameHead {
    #[inline(always)]
    fn from(buf: ZbufMut) -> Self {
        let (ptr, len, obj) = buf.into_obj_parts();
        Self { ptr, len, obj, not_send: PhantomData }
    }
}

impl Drop for FrameHead {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this handle's reference, dropped once.
        unsafe { drop_reference(self.ptr, self.obj) };
    }
}

impl Deref for FrameHead {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: the view lies in an initialised obj; the first bytes are this handle's, those behind are shared and not
        // written.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len as usize) }
    }
}

impl fmt::Debug for FrameHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameHead({:p}, {} bytes, obj {})", self.ptr, self.len, self.obj)
    }
}

#[cfg(test)]
mod tests;
