//! A pool: all zones of a region cut into objs of one size, owned by one thread.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::handle::ZbufMut;
use super::head::FrameHead;
use super::region::Region;
use super::zone::{ZONE_SIZE, ZoneLayout, ZoneRef};

/// Why a region cannot become a [`Pool`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolError {
    /// The obj size is zero, no multiple of 64, not larger than the prefix, or larger than a zone.
    BadLayout(ZoneLayout),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLayout(l) => write!(
                f,
                "objs of {} bytes with a prefix of {} do not fit a 2 MiB zone: use a multiple of 64 above the prefix",
                l.obj_size, l.prefix
            ),
        }
    }
}

impl core::error::Error for PoolError {}

/// A source of objs of one size. `!Send`: made on the thread that owns it, from a [`Region`], which can travel.
#[derive(Debug)]
pub struct Pool {
    base: NonNull<u8>,
    zones: u32,
    capacity: u32,
    layout: ZoneLayout,
    /// Where obj 0's data begins, from the start of a zone; the same in all of them.
    data_offset: u32,
    data_capacity: u32,
    /// The zone that the next obj comes from.
    current: Cell<ZoneRef<'static>>,
    not_send: PhantomData<*const ()>,
}

/// A head in the making, whose tailroom need not be worked out from its address.
pub(crate) struct Fresh {
    head: FrameHead,
    /// Bytes behind those in use.
    room: u32,
}

impl Fresh {
    /// Grows by `n` bytes and returns them; `None` without room.
    #[inline(always)]
    pub(crate) fn append(&mut self, n: u32) -> Option<&mut [u8]> {
        self.room = self.room.checked_sub(n)?;
        // SAFETY: there was room for them: what the obj had behind the bytes it began with, less what was appended since;
        // and the obj was just allocated, so that this is its only handle.
        Some(unsafe { self.head.append_known(n) })
    }

    /// To be sent.
    #[inline(always)]
    pub(crate) fn into_head(self) -> FrameHead {
        self.head
    }
}

impl Pool {
    /// Cuts `region` into objs, all zeroed and free.
    ///
    /// # Errors
    /// [`PoolError::BadLayout`].
    pub fn new(region: Region, layout: ZoneLayout) -> Result<Self, PoolError> {
        let Some((_, objs_offset)) = layout.fit() else { return Err(PoolError::BadLayout(layout)) };
        let base = region.base();
        let mut capacity = 0;
        for i in 0..region.zones() {
            // SAFETY: a Region is exclusive, initialised, and `i` is below its number of zones.
            capacity += unsafe { ZoneRef::at(base.add(i * ZONE_SIZE)).carve(layout) };
        }
        // SAFETY: a region has at least one zone.
        let current = Cell::new(unsafe { ZoneRef::at(base) });
        Ok(Self {
            base,
            zones: region.zones() as u32,
            capacity,
            layout,
            data_offset: objs_offset + layout.prefix,
            data_capacity: layout.obj_size - layout.prefix,
            current,
            not_send: PhantomData,
        })
    }

    /// A whole obj, empty, writing from its first byte; `None` when all objs are in use.
    #[inline]
    #[must_use]
    pub fn alloc(&self) -> Option<ZbufMut> {
        self.alloc_at(0, 0)
    }

    /// A whole obj, empty, with `headroom` bytes in front for [`ZbufMut::prepend`]; `None` when all objs are in use or
    /// the obj is not larger than that.
    #[inline]
    #[must_use]
    pub fn alloc_with_headroom(&self, headroom: u32) -> Option<ZbufMut> {
        if headroom >= self.data_capacity() {
            return None;
        }
        self.alloc_at(headroom, 0)
    }

    /// A whole obj with its first `len` bytes in use.
    #[inline]
    #[must_use]
    pub fn alloc_len(&self, len: u32) -> Option<ZbufMut> {
        if len > self.data_capacity() {
            return None;
        }
        self.alloc_at(0, len)
    }

    /// As [`Pool::alloc_len`], its tailroom at hand.
    #[inline(always)]
    pub(crate) fn alloc_fresh(&self, len: u32) -> Option<Fresh> {
        let room = self.data_capacity().checked_sub(len)?;
        Some(Fresh { head: self.alloc_at(0, len)?.into(), room })
    }

    /// An obj with `len` bytes in use behind `headroom`, which together fit its data area.
    #[inline(always)]
    fn alloc_at(&self, headroom: u32, len: u32) -> Option<ZbufMut> {
        debug_assert!(headroom + len <= self.data_capacity);
        let (zone, obj) = self.take()?;
        let offset = self.data_offset as usize + obj as usize * self.layout.obj_size as usize;
        // SAFETY: the obj was just taken with count 1, and what the caller asks for is inside its data area.
        unsafe { Some(ZbufMut::adopt(zone.base().add(offset + headroom as usize), len, obj)) }
    }

    /// A free obj with count 1.
    #[inline(always)]
    pub(super) fn take(&self) -> Option<(ZoneRef<'_>, u32)> {
        let zone = self.current.get();
        match zone.pop_free() {
            Some(obj) => Some((zone, obj)),
            None => self.take_elsewhere(),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_elsewhere(&self) -> Option<(ZoneRef<'_>, u32)> {
        for zone in self.zones() {
            if zone.free_count() == 0 {
                zone.harvest();
            }
            if let Some(obj) = zone.pop_free() {
                // SAFETY: one of this pool's zones; the cell lives and dies with the pool.
                self.current.set(unsafe { ZoneRef::at(zone.base()) });
                return Some((zone, obj));
            }
        }
        None
    }

    /// Objs that can be had now, those that other threads gave back included.
    #[must_use]
    pub fn available(&self) -> usize {
        self.zones()
            .map(|z| {
                z.harvest();
                z.free_count() as usize
            })
            .sum()
    }

    /// Objs in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Objs that somebody holds.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.capacity() - self.available()
    }

    /// Bytes of each obj that users see.
    #[must_use]
    #[inline]
    pub fn data_capacity(&self) -> u32 {
        self.data_capacity
    }

    /// How the zones are cut.
    #[must_use]
    pub fn layout(&self) -> ZoneLayout {
        self.layout
    }

    /// The zones, for drivers that register them or prepare obj prefixes.
    pub fn zones(&self) -> impl Iterator<Item = ZoneRef<'_>> + '_ {
        // SAFETY: the region had `zones` zones at `base`.
        (0..self.zones as usize).map(|i| unsafe { ZoneRef::at(self.base.add(i * ZONE_SIZE)) })
    }

    /// Whether `ptr` lies in one of this pool's zones.
    #[must_use]
    #[inline]
    pub fn contains(&self, ptr: NonNull<u8>) -> bool {
        ptr.addr().get().wrapping_sub(self.base.addr().get()) < self.zones as usize * ZONE_SIZE
    }
}

#[cfg(test)]
mod tests;
