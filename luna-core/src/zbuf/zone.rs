//! One 2 MiB zone: header, one context per obj, objs (paper Figure 6). All arithmetic from an address to its obj is here.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use static_assertions::const_assert_eq;

use super::region::{DeviceKey, IoAddr};
use super::return_list::ReturnList;

/// Size and alignment of a zone: one hugepage.
pub const ZONE_SIZE: usize = 2 << 20;
const MAGIC: u64 = 0x4c75_6e61_5a6f_6e65; // "LunaZone"
/// End of a free list.
pub(super) const NONE: u32 = u32::MAX;

/// How a pool cuts its zones: every obj `obj_size` bytes apart, the first `prefix` of each reserved for the driver.
///
/// A DPDK port keeps its `rte_mbuf` in the prefix; users see only the `obj_size - prefix` bytes behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneLayout {
    /// Distance of two objs in bytes; a multiple of 64.
    pub obj_size: u32,
    /// Bytes at the start of each obj that belong to the driver.
    pub prefix: u32,
}

impl ZoneLayout {
    /// A layout without driver prefix.
    #[must_use]
    pub const fn plain(obj_size: u32) -> Self {
        Self { obj_size, prefix: 0 }
    }

    /// Objs that fit one zone, and the offset of the first; `None` when not even one fits or the sizes make no sense.
    #[must_use]
    pub const fn fit(self) -> Option<(u32, u32)> {
        if self.obj_size == 0 || !self.obj_size.is_multiple_of(64) || self.prefix >= self.obj_size {
            return None;
        }
        let room = ZONE_SIZE - CTX_OFFSET;
        let mut count = room / (self.obj_size as usize + size_of::<ObjCtx>());
        while count > 0 {
            let offset = (CTX_OFFSET + count * size_of::<ObjCtx>()).next_multiple_of(64);
            if offset + count * self.obj_size as usize <= ZONE_SIZE {
                return Some((count as u32, offset as u32));
            }
            count -= 1;
        }
        None
    }
}

/// The metadata of one obj (`ctx` in the paper's Figure 6).
#[repr(C)]
pub(super) struct ObjCtx {
    /// References held; 0 while the obj is on a free list.
    pub(super) count: Cell<u32>,
    /// Next obj of the list that this one is on.
    pub(super) next: Cell<u32>,
}

#[repr(C, align(64))]
pub(super) struct ZoneHeader {
    magic: u64,
    io_base: IoAddr,
    key: DeviceKey,
    obj_size: u32,
    prefix: u32,
    obj_count: u32,
    objs_offset: u32,
    free_head: Cell<u32>,
    free_count: Cell<u32>,
    /// On a line of its own: other threads write it.
    returned: ReturnList,
}

/// Where the contexts begin.
const CTX_OFFSET: usize = size_of::<ZoneHeader>();
#[cfg(not(loom))]
const_assert_eq!(CTX_OFFSET, 128);
const_assert_eq!(size_of::<ObjCtx>(), 8);

impl ZoneHeader {
    /// Writes a header with no objs yet.
    ///
    /// # Safety
    /// `zone` is the start of an aligned, writable, exclusively owned 2 MiB.
    pub(super) unsafe fn init(zone: NonNull<u8>, io_base: IoAddr, key: DeviceKey) {
        // SAFETY: aligned and writable by contract; nobody reads it yet.
        unsafe {
            zone.cast::<Self>().write(Self {
                magic: MAGIC,
                io_base,
                key,
                obj_size: 0,
                prefix: 0,
                obj_count: 0,
                objs_offset: 0,
                free_head: Cell::new(NONE),
                free_count: Cell::new(0),
                returned: ReturnList::new(),
            });
        }
    }
}

/// A zone that is known to be one of ours and alive, for as long as the pool that lent it.
///
/// ```compile_fail
/// use luna_core::zbuf::{Pool, ZoneRef};
/// fn escape(pool: Pool) -> ZoneRef<'static> {
///     pool.zones().next().expect("a zone")
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneRef<'p>(NonNull<u8>, PhantomData<&'p ()>);

impl ZoneRef<'_> {
    /// The zone of an address.
    ///
    /// # Safety
    /// `ptr` lies in an obj of an initialised zone and carries the provenance of its region; the zone outlives the
    /// lifetime that the caller chooses.
    #[inline(always)]
    pub(super) unsafe fn of(ptr: NonNull<u8>) -> Self {
        let base = ptr.as_ptr().map_addr(|a| a & !(ZONE_SIZE - 1));
        // SAFETY: a zone never starts at address 0 (the region's base is a NonNull multiple of 2 MiB).
        let zone = Self(unsafe { NonNull::new_unchecked(base) }, PhantomData);
        debug_assert_eq!(zone.header().magic, MAGIC, "address outside every zone");
        zone
    }

    /// The zone that starts at `base`.
    ///
    /// # Safety
    /// `base` is the start of an initialised zone, which outlives the lifetime that the caller chooses.
    pub(super) unsafe fn at(base: NonNull<u8>) -> Self {
        Self(base, PhantomData)
    }

    #[inline(always)]
    fn header(&self) -> &ZoneHeader {
        // SAFETY: a ZoneRef exists only for an initialised zone; what changes in the header is in cells or atomics.
        unsafe { self.0.cast::<ZoneHeader>().as_ref() }
    }

    /// The context of obj `obj`.
    ///
    /// # Safety
    /// `obj` is below the zone's obj count.
    #[inline(always)]
    pub(super) unsafe fn ctx(&self, obj: u32) -> &ObjCtx {
        debug_assert!(obj < self.header().obj_count);
        // SAFETY: contexts stand at CTX_OFFSET, `obj` is in range by contract, and contexts are cells.
        unsafe { self.0.add(CTX_OFFSET).cast::<ObjCtx>().add(obj as usize).as_ref() }
    }

    /// References held to obj `obj`.
    ///
    /// # Safety
    /// `obj` is below the zone's obj count.
    #[inline(always)]
    pub(super) unsafe fn count(&self, obj: u32) -> u32 {
        // SAFETY: by contract.
        unsafe { self.ctx(obj) }.count.get()
    }

    /// Cuts the zone into objs, all free and zeroed. Returns how many.
    ///
    /// # Safety
    /// The zone is exclusively the caller's and no handle points into it; `layout.fit()` is `Some`.
    pub(super) unsafe fn carve(self, layout: ZoneLayout) -> u32 {
        let (count, offset) = layout.fit().unwrap_or((0, 0));
        let header = self.0.cast::<ZoneHeader>();
        // SAFETY: exclusive by contract; the bytes behind the header are the zone's own.
        unsafe {
            self.0.add(CTX_OFFSET).write_bytes(0, ZONE_SIZE - CTX_OFFSET);
            let h = &mut *header.as_ptr();
            h.obj_size = layout.obj_size;
            h.prefix = layout.prefix;
            h.obj_count = count;
            h.objs_offset = offset;
        }
        // Pushed last to first, so that objs are handed out in address order.
        for obj in (0..count).rev() {
            self.push_free(obj);
        }
        count
    }

    /// Puts an obj on the free list: its last reference is gone.
    #[inline(always)]
    pub(super) fn push_free(&self, obj: u32) {
        let h = self.header();
        // SAFETY: callers pass the index of an obj of this zone.
        let ctx = unsafe { self.ctx(obj) };
        ctx.count.set(0);
        ctx.next.set(h.free_head.get());
        h.free_head.set(obj);
        h.free_count.set(h.free_count.get() + 1);
    }

    /// Takes a free obj, count 1; `None` when the zone is exhausted.
    #[inline(always)]
    pub(super) fn pop_free(&self) -> Option<u32> {
        let h = self.header();
        let obj = h.free_head.get();
        if obj == NONE {
            return None;
        }
        // SAFETY: the free list holds only indices of this zone.
        let ctx = unsafe { self.ctx(obj) };
        h.free_head.set(ctx.next.get());
        h.free_count.set(h.free_count.get() - 1);
        ctx.count.set(1);
        Some(obj)
    }

    /// Gives a reference back from a thread that does not own the zone; one of an obj at a time.
    pub(super) fn push_returned(&self, obj: u32) {
        // SAFETY: callers pass the index of an obj of this zone; its link is theirs, as it is on no free list while they hold
        // a reference, nor on the return list, until it is published here.
        let ctx = unsafe { self.ctx(obj) };
        self.header().returned.push(obj, |next| ctx.next.set(next));
    }

    /// Drops the references that other threads gave back. Owner thread only. Returns how many.
    pub(super) fn harvest(&self) -> u32 {
        let mut obj = self.header().returned.take_all();
        let mut n = 0;
        while obj != NONE {
            // SAFETY: the return list holds only indices of this zone, and taking it made them ours.
            let ctx = unsafe { self.ctx(obj) };
            let (next, count) = (ctx.next.get(), ctx.count.get());
            if count > 1 {
                // A frame that left, part of which is kept to be sent again.
                ctx.count.set(count - 1);
            } else {
                self.push_free(obj);
            }
            obj = next;
            n += 1;
        }
        n
    }

    /// First byte of the zone.
    #[must_use]
    #[inline(always)]
    pub fn base(&self) -> NonNull<u8> {
        self.0
    }

    /// Bus address of the zone's first byte.
    #[must_use]
    #[inline(always)]
    pub fn io_base(&self) -> IoAddr {
        self.header().io_base
    }

    /// Device key of the zone's region.
    #[must_use]
    #[inline(always)]
    pub fn key(&self) -> DeviceKey {
        self.header().key
    }

    /// Distance of two objs in bytes.
    #[must_use]
    #[inline(always)]
    pub fn obj_size(&self) -> u32 {
        self.header().obj_size
    }

    /// Driver's bytes at the start of each obj.
    #[must_use]
    #[inline(always)]
    pub fn prefix(&self) -> u32 {
        self.header().prefix
    }

    /// Number of objs.
    #[must_use]
    pub fn obj_count(&self) -> u32 {
        self.header().obj_count
    }

    /// Objs on the free list.
    #[must_use]
    pub fn free_count(&self) -> u32 {
        self.header().free_count.get()
    }

    /// The start (driver prefix) of obj `obj`; `None` when there is no such obj.
    #[must_use]
    pub fn obj(&self, obj: u32) -> Option<NonNull<u8>> {
        (obj < self.obj_count()).then(|| self.obj_start(obj))
    }

    /// Start and bus address of every obj, for a driver that prepares the prefixes.
    pub fn objs(self) -> impl Iterator<Item = (NonNull<u8>, IoAddr)> {
        (0..self.obj_count()).map(move |i| {
            let start = self.obj_start(i);
            (start, self.io_addr(start))
        })
    }

    #[inline(always)]
    pub(super) fn obj_start(&self, obj: u32) -> NonNull<u8> {
        let h = self.header();
        // SAFETY: `obj` is an index of this zone, so its bytes lie inside it.
        unsafe { self.0.add(h.objs_offset as usize + obj as usize * h.obj_size as usize) }
    }

    /// The index of the obj around `ptr`: the one division, off the hot path (adopting a driver's buffer).
    #[inline]
    pub(super) fn index_of(&self, ptr: NonNull<u8>) -> u32 {
        let offset = (ptr.addr().get() & (ZONE_SIZE - 1)) as u32;
        (offset - self.header().objs_offset) / self.header().obj_size
    }

    /// Bus address of a byte of this zone.
    #[inline(always)]
    pub(super) fn io_addr(&self, ptr: NonNull<u8>) -> IoAddr {
        IoAddr(self.io_base().0 + (ptr.addr().get() & (ZONE_SIZE - 1)) as u64)
    }
}
