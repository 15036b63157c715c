//! The two handles of an obj: [`ZbufMut`], its only writer, and [`Zbuf`], a counted view. 16 bytes each.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Bound, Deref, DerefMut, RangeBounds};
use core::ptr::NonNull;

use static_assertions::{assert_not_impl_any, const_assert_eq};

use super::region::{DeviceKey, IoAddr};
use super::zone::ZoneRef;

/// A shared, read-only view of part of an obj: cloning adds a reference, dropping removes one, and the obj goes back to
/// its zone's free list with the last (paper §6.1). `!Send`.
pub struct Zbuf {
    ptr: NonNull<u8>,
    len: u32,
    obj: u32,
    not_send: PhantomData<*const ()>,
}

/// The only handle of an obj: may write, has head- and tailroom. [`ZbufMut::freeze`] makes it shareable. `!Send`.
pub struct ZbufMut {
    ptr: NonNull<u8>,
    len: u32,
    obj: u32,
    not_send: PhantomData<*const ()>,
}

const_assert_eq!(size_of::<Zbuf>(), 16);
const_assert_eq!(size_of::<Option<Zbuf>>(), 16);
const_assert_eq!(size_of::<ZbufMut>(), 16);
assert_not_impl_any!(Zbuf: Send, Sync);
assert_not_impl_any!(ZbufMut: Send, Sync);

/// Adds a reference to obj `obj` around `ptr`.
///
/// # Panics
/// At 2^32 references, which takes handles that were forgotten: a count that wrapped would free an obj in use.
///
/// # Safety
/// `ptr` lies in obj `obj` of one of our zones, and the caller holds a reference.
#[inline(always)]
pub(super) unsafe fn add_reference(ptr: NonNull<u8>, obj: u32) {
    // SAFETY: by contract.
    let zone = unsafe { ZoneRef::of(ptr) };
    // SAFETY: by contract.
    let ctx = unsafe { zone.ctx(obj) };
    let count = ctx.count.get().wrapping_add(1);
    if count == 0 {
        too_many();
    }
    ctx.count.set(count);
}

/// References held to obj `obj` around `ptr`.
///
/// # Safety
/// As [`add_reference`].
#[inline(always)]
pub(super) unsafe fn references(ptr: NonNull<u8>, obj: u32) -> u32 {
    // SAFETY: by contract.
    unsafe { ZoneRef::of(ptr).count(obj) }
}

#[cold]
#[inline(never)]
fn too_many() -> ! {
    panic!("2^32 references to one obj")
}

/// Drops a reference to obj `obj` around `ptr`.
///
/// # Safety
/// As [`add_reference`], and the caller's reference is gone afterwards.
#[inline(always)]
pub(super) unsafe fn drop_reference(ptr: NonNull<u8>, obj: u32) {
    // SAFETY: by contract.
    let zone = unsafe { ZoneRef::of(ptr) };
    // SAFETY: by contract.
    let ctx = unsafe { zone.ctx(obj) };
    let count = ctx.count.get();
    debug_assert!(count > 0, "reference dropped twice");
    if count == 1 {
        zone.push_free(obj);
    } else {
        ctx.count.set(count - 1);
    }
}

/// `range` as `(start, end)` inside `len`; out-of-range ends are clamped, as a slice of nothing is harmless here.
#[inline]
pub(super) fn clamp(range: impl RangeBounds<u32>, len: u32) -> (u32, u32) {
    let start = match range.start_bound() {
        Bound::Included(&n) => n,
        Bound::Excluded(&n) => n.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&n) => n.saturating_add(1),
        Bound::Excluded(&n) => n,
        Bound::Unbounded => len,
    };
    let end = end.min(len);
    (start.min(end), end)
}

impl Zbuf {
    /// # Safety
    /// `ptr..ptr + len` lies in the data area of obj `obj`, and the caller gives one reference away.
    #[inline(always)]
    pub(super) unsafe fn adopt(ptr: NonNull<u8>, len: u32, obj: u32) -> Self {
        Self { ptr, len, obj, not_send: PhantomData }
    }

    /// The parts, the reference going with them.
    #[inline(always)]
    pub(super) fn into_parts(self) -> (NonNull<u8>, u32, u32) {
        let this = ManuallyDrop::new(self);
        (this.ptr, this.len, this.obj)
    }

    #[inline(always)]
    fn zone(&self) -> ZoneRef<'_> {
        // SAFETY: a Zbuf points into an obj of one of our zones.
        unsafe { ZoneRef::of(self.ptr) }
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

    /// Another view of part of this one; a range beyond the end is cut at the end.
    #[must_use]
    #[inline]
    pub fn slice(&self, range: impl RangeBounds<u32>) -> Self {
        let (start, end) = clamp(range, self.len);
        let mut out = self.clone();
        out.trim_front(start);
        out.truncate(end - start);
        out
    }

    /// Cuts off and returns the first `n` bytes (all of them, when there are fewer); this keeps the rest.
    #[must_use]
    #[inline]
    pub fn split_to(&mut self, n: u32) -> Self {
        let mut head = self.clone();
        head.truncate(n);
        self.trim_front(n);
        head
    }

    /// Forgets the first `n` bytes.
    #[inline]
    pub fn trim_front(&mut self, n: u32) {
        if n < self.len {
            // SAFETY: still inside the view. An emptied view keeps its pointer, or it might name the next obj.
            self.ptr = unsafe { self.ptr.add(n as usize) };
            self.len -= n;
        } else {
            self.len = 0;
        }
    }

    /// Forgets all behind the first `n` bytes.
    #[inline]
    pub fn truncate(&mut self, n: u32) {
        self.len = self.len.min(n);
    }

    /// All but the `len` bytes from `start` on is forgotten; everything, if there are not as many.
    #[inline(always)]
    pub(crate) fn narrow(&mut self, start: u32, len: u32) {
        if len == 0 || start.saturating_add(len) > self.len {
            core::hint::cold_path();
            self.len = 0;
            return;
        }
        // SAFETY: still inside the view, and not its end.
        self.ptr = unsafe { self.ptr.add(start as usize) };
        self.len = len;
    }

    /// Bus address of the first byte. The whole view is contiguous for the device: objs never cross a zone.
    #[must_use]
    #[inline]
    pub fn io_addr(&self) -> IoAddr {
        self.zone().io_addr(self.ptr)
    }

    /// Device key of the region.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        self.zone().key()
    }

    /// Bytes of memory that this view keeps from being reused: the whole obj.
    #[must_use]
    #[inline]
    pub fn true_size(&self) -> u32 {
        self.zone().obj_size()
    }

    /// Whether this is the obj's only reference.
    #[must_use]
    #[inline]
    pub fn is_unique(&self) -> bool {
        // SAFETY: `obj` is this handle's own obj.
        unsafe { self.zone().count(self.obj) == 1 }
    }

    /// Start of the obj, the driver's prefix included.
    #[must_use]
    pub fn obj_start(&self) -> NonNull<u8> {
        self.zone().obj_start(self.obj)
    }

    /// The writable handle, when nobody else holds the obj (received memory reused for sending, paper §6.2).
    ///
    /// # Errors
    /// The view itself, when it is shared.
    #[inline]
    pub fn try_into_mut(self) -> Result<ZbufMut, Self> {
        if !self.is_unique() {
            return Err(self);
        }
        let (ptr, len, obj) = self.into_parts();
        Ok(ZbufMut { ptr, len, obj, not_send: PhantomData })
    }
}

impl Clone for Zbuf {
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: this handle holds a reference to its obj.
        unsafe { add_reference(self.ptr, self.obj) };
        Self { ptr: self.ptr, len: self.len, obj: self.obj, not_send: PhantomData }
    }
}

impl Drop for Zbuf {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this handle's reference, dropped once.
        unsafe { drop_reference(self.ptr, self.obj) };
    }
}

impl Deref for Zbuf {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: the view lies in an initialised obj that nobody writes while it is shared.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len as usize) }
    }
}

impl fmt::Debug for Zbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zbuf({:p}, {} bytes, obj {})", self.ptr, self.len, self.obj)
    }
}

impl ZbufMut {
    /// # Safety
    /// `ptr..ptr + len` lies in the data area of obj `obj`, whose only reference the caller gives away.
    #[inline(always)]
    pub(super) unsafe fn adopt(ptr: NonNull<u8>, len: u32, obj: u32) -> Self {
        Self { ptr, len, obj, not_send: PhantomData }
    }

    #[inline(always)]
    pub(super) fn into_obj_parts(self) -> (NonNull<u8>, u32, u32) {
        let this = ManuallyDrop::new(self);
        (this.ptr, this.len, this.obj)
    }

    #[inline(always)]
    fn zone(&self) -> ZoneRef<'_> {
        // SAFETY: a ZbufMut points into an obj of one of our zones.
        unsafe { ZoneRef::of(self.ptr) }
    }

    #[inline]
    fn data_start(&self) -> NonNull<u8> {
        let zone = self.zone();
        // SAFETY: the prefix is smaller than the obj.
        unsafe { zone.obj_start(self.obj).add(zone.prefix() as usize) }
    }

    /// Unused bytes in front.
    #[must_use]
    #[inline]
    pub fn headroom(&self) -> u32 {
        (self.ptr.addr().get() - self.data_start().addr().get()) as u32
    }

    /// Unused bytes behind.
    #[must_use]
    #[inline]
    pub fn tailroom(&self) -> u32 {
        let zone = self.zone();
        zone.obj_size() - zone.prefix() - self.headroom() - self.len
    }

    /// Grows by `n` bytes at the front and returns them; `None` without enough headroom.
    #[inline]
    pub fn prepend(&mut self, n: u32) -> Option<&mut [u8]> {
        if n > self.headroom() {
            return None;
        }
        // SAFETY: inside the obj's data area, as just checked.
        self.ptr = unsafe { self.ptr.sub(n as usize) };
        self.len += n;
        self.get_mut(..n as usize)
    }

    /// Grows by `n` bytes at the end and returns them; `None` without enough tailroom.
    #[inline]
    pub fn append(&mut self, n: u32) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        let old = self.len as usize;
        self.len += n;
        self.get_mut(old..)
    }

    /// Sets the length, up to the obj's end; what was never written reads as zero or as an earlier user's bytes.
    /// Returns the new length.
    #[inline]
    pub fn set_len(&mut self, n: u32) -> u32 {
        self.len = n.min(self.len + self.tailroom());
        self.len
    }

    /// Forgets the first `n` bytes.
    #[inline]
    pub fn trim_front(&mut self, n: u32) {
        if n < self.len {
            // SAFETY: still inside the view.
            self.ptr = unsafe { self.ptr.add(n as usize) };
            self.len -= n;
        } else {
            self.len = 0;
        }
    }

    /// Forgets all behind the first `n` bytes.
    #[inline]
    pub fn truncate(&mut self, n: u32) {
        self.len = self.len.min(n);
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

    /// Bus address of the first byte.
    #[must_use]
    #[inline]
    pub fn io_addr(&self) -> IoAddr {
        self.zone().io_addr(self.ptr)
    }

    /// Device key of the region.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        self.zone().key()
    }

    /// Start of the obj, the driver's prefix included.
    #[must_use]
    #[inline]
    pub fn obj_start(&self) -> NonNull<u8> {
        self.zone().obj_start(self.obj)
    }

    /// Ends writing: the shareable handle of the same bytes.
    #[must_use]
    #[inline(always)]
    pub fn freeze(self) -> Zbuf {
        let (ptr, len, obj) = self.into_obj_parts();
        Zbuf { ptr, len, obj, not_send: PhantomData }
    }
}

impl Drop for ZbufMut {
    #[inline(always)]
    fn drop(&mut self) {
        let zone = self.zone();
        // SAFETY: `obj` is this handle's own obj.
        debug_assert_eq!(unsafe { zone.count(self.obj) }, 1, "a writer is the only handle");
        zone.push_free(self.obj);
    }
}

impl Deref for ZbufMut {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: the view lies in an initialised obj, and only this handle writes it.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for ZbufMut {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as deref, and `&mut self` makes this the only access.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len as usize) }
    }
}

impl fmt::Debug for ZbufMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZbufMut({:p}, {} bytes, obj {})", self.ptr, self.len, self.obj)
    }
}

#[cfg(test)]
mod tests;
