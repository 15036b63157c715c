//! The seam for drivers: objs as bare pointers while a device or a foreign pool structure holds them.
//!
//! A pointer handed out here carries one reference. Whoever holds it gives it back exactly once.

use core::ptr::NonNull;

use super::handle::{Zbuf, ZbufMut, drop_reference};
use super::head::FrameHead;
use super::pool::Pool;
use super::zone::ZoneRef;

/// A [`Zbuf`] taken apart, its reference inside: for a device's completion cookie.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RawZbuf {
    ptr: NonNull<u8>,
    len: u32,
    obj: u32,
}

/// Takes a free obj: the pointer is to its start (the driver's prefix); count 1.
#[must_use]
#[inline]
pub fn obj_take(pool: &Pool) -> Option<NonNull<u8>> {
    pool.take().map(|(zone, obj)| zone.obj_start(obj))
}

/// Drops the reference that a bare pointer into an obj carries.
///
/// # Safety
/// `ptr` points into an obj of one of our zones, descends from its region, and carries a reference; the pool's owner
/// thread calls.
#[inline]
pub unsafe fn obj_put(ptr: NonNull<u8>) {
    // SAFETY: by contract.
    unsafe {
        let obj = ZoneRef::of(ptr).index_of(ptr);
        drop_reference(ptr, obj);
    }
}

/// Adopts an obj of count 1 whose data is `data..data + len`.
///
/// # Safety
/// As [`obj_put`]; no other reference exists, and the range lies behind the prefix of one obj.
#[must_use]
#[inline]
pub unsafe fn from_parts(data: NonNull<u8>, len: u32) -> ZbufMut {
    // SAFETY: by contract.
    unsafe {
        let obj = ZoneRef::of(data).index_of(data);
        ZbufMut::adopt(data, len, obj)
    }
}

/// Takes a unique handle apart without dropping its reference: first byte and length.
#[must_use]
#[inline]
pub fn into_parts(buf: ZbufMut) -> (NonNull<u8>, u32) {
    let (ptr, len, _) = buf.into_obj_parts();
    (ptr, len)
}

/// Takes a frame's head apart without dropping its reference: first byte and length. The reference may be one of several, so it
/// goes back by [`obj_put`], or from another thread by [`obj_put_elsewhere`].
#[must_use]
#[inline]
pub fn head_into_parts(head: FrameHead) -> (NonNull<u8>, u32) {
    let (ptr, len, _) = head.into_parts();
    (ptr, len)
}

/// As [`obj_put`], from a thread that does not own the pool: its owner drops the reference when it looks for free objs.
///
/// # Safety
/// As [`obj_put`] but for the thread; no other reference of the obj is given back this way meanwhile.
#[inline]
pub unsafe fn obj_put_elsewhere(ptr: NonNull<u8>) {
    // SAFETY: by contract.
    unsafe {
        let zone = ZoneRef::of(ptr);
        zone.push_returned(zone.index_of(ptr));
    }
}

/// Takes a view apart without dropping its reference.
#[must_use]
#[inline]
pub fn into_raw(buf: Zbuf) -> RawZbuf {
    let (ptr, len, obj) = buf.into_parts();
    RawZbuf { ptr, len, obj }
}

/// Puts a view together again.
///
/// # Safety
/// `raw` came from [`into_raw`] and is used once; the pool's owner thread calls.
#[must_use]
#[inline]
pub unsafe fn from_raw(raw: RawZbuf) -> Zbuf {
    // SAFETY: by contract.
    unsafe { Zbuf::adopt(raw.ptr, raw.len, raw.obj) }
}
