//! `rte_mempool_ops` "luna_zbuf": a DPDK mempool that is a view of a Zbuf pool.
//!
//! Exactly one authority says which obj is free, the zone's free list. DPDK's enqueue drops a reference, its dequeue
//! takes a free obj, the mempool has no cache, and `populate` lays DPDK's objects exactly on the pool's. A Zbuf dropped
//! by the application is thereby at once a buffer that a device can be given, with no call into DPDK.
//!
//! A PMD may free from another thread than the pool's owner (see `owner`): such an obj goes home through the zone's
//! lock-free list. Another thread's dequeue is refused.

use core::cell::Cell;
use core::ffi::{c_int, c_uint, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::ffi::CString;

use dpdk_sys as sys;
use luna_core::zbuf::{IoAddr, Pool, raw};

use super::error::MemoryError;
use super::mbuf;
use super::memory::EalPool;
use super::owner::Owner;

const OPS_NAME: &[u8] = b"luna_zbuf\0";

/// A Zbuf pool whose objs are mbufs.
#[derive(Debug)]
pub(super) struct MbufPool {
    mempool: NonNull<sys::rte_mempool>,
    /// Shared with the mempool's operations by address.
    inner: NonNull<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: EalPool,
    owner: Owner,
    /// Sent frames whose first mbuf DPDK gave back on the owner's thread, ever.
    freed: Cell<u64>,
    /// The mempool is being taken apart: its objects must not be taken any more.
    closing: Cell<bool>,
}

/// Registers the operations. Once, after EAL started.
pub(super) fn register_ops() {
    let mut ops = sys::rte_mempool_ops {
        alloc: Some(alloc),
        free: Some(free),
        enqueue: Some(enqueue),
        dequeue: Some(dequeue),
        get_count: Some(get_count),
        populate: Some(populate),
        ..Default::default()
    };
    for (to, from) in ops.name.iter_mut().zip(OPS_NAME) {
        *to = *from as libc::c_char;
    }
    // SAFETY: DPDK copies the structure; the functions are those of this file.
    let index = unsafe { sys::rte_mempool_register_ops(&raw const ops) };
    debug_assert!(index >= 0, "the table of mempool operations is full");
}

impl MbufPool {
    /// Makes every obj of `pool` an mbuf with a private area of `private` bytes. Owned by this thread.
    pub(super) fn new(pool: EalPool, private: usize) -> Result<Self, MemoryError> {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let layout = pool.layout();
        let data_room = u16::try_from(pool.data_capacity()).unwrap_or(u16::MAX);
        let objs = pool.capacity();
        // DPDK rounds the object up to a cache line by itself; the distance of two objs must come out the same.
        let elt_size = layout.obj_size as usize - mbuf::HEADER_SIZE;
        debug_assert_eq!(mbuf::HEADER_SIZE + mbuf::MBUF_SIZE + private, layout.prefix as usize);
        let name = CString::new(format!("luna_{}", SERIAL.fetch_add(1, Ordering::Relaxed)));
        let refused = || MemoryError::Mempool(super::eal::strerror(super::eal::last_errno()));
        let name = name.map_err(|_| refused())?;
        let inner = Inner { pool, owner: Owner::here(), freed: Cell::new(0), closing: Cell::new(false) };
        let inner = NonNull::from(Box::leak(Box::new(inner)));
        // SAFETY: EAL runs, as EalPool exists.
        let mempool = unsafe {
            sys::rte_mempool_create_empty(
                name.as_ptr(),
                objs as c_uint,
                elt_size as c_uint,
                0,
                size_of::<sys::rte_pktmbuf_pool_private>() as c_uint,
                -1,
                sys::RTE_MEMPOOL_F_NO_SPREAD,
            )
        };
        let Some(mempool) = NonNull::new(mempool) else {
            // SAFETY: leaked above, not shared yet.
            drop(unsafe { Box::from_raw(inner.as_ptr()) });
            return Err(refused());
        };
        let this = Self { mempool, inner };
        this.populate(private, data_room, objs)?;
        Ok(this)
    }

    fn populate(&self, private: usize, data_room: u16, objs: usize) -> Result<(), MemoryError> {
        let mp = self.mempool.as_ptr();
        let refused = |ret: c_int| MemoryError::Mempool(super::eal::strerror(-ret));
        // SAFETY: the mempool is fresh; `inner` outlives it (dropped after it, or leaked with it).
        unsafe {
            let ret = sys::rte_mempool_set_ops_byname(mp, OPS_NAME.as_ptr().cast(), self.inner.as_ptr().cast());
            if ret != 0 {
                return Err(refused(ret));
            }
            let mut private_data = sys::rte_pktmbuf_pool_private {
                mbuf_data_room_size: data_room,
                mbuf_priv_size: private as u16,
                flags: 0,
            };
            sys::rte_pktmbuf_pool_init(mp, (&raw mut private_data).cast());
            for zone in self.pool().zones() {
                let base = zone.base().as_ptr().cast();
                let len = luna_core::zbuf::ZONE_SIZE;
                let ret = sys::rte_mempool_populate_iova(mp, base, zone.io_base().0, len, None, core::ptr::null_mut());
                if ret < 0 {
                    return Err(refused(ret));
                }
            }
            debug_assert_eq!((*mp).populated_size as usize, objs);
            sys::rte_mempool_obj_iter(mp, Some(sys::rte_pktmbuf_init), core::ptr::null_mut());
        }
        for zone in self.pool().zones() {
            for (obj, _) in zone.objs() {
                // SAFETY: each obj is free and has just become an mbuf.
                unsafe { mbuf::take(mbuf::of_obj(obj)) };
            }
        }
        Ok(())
    }

    fn inner(&self) -> &Inner {
        // SAFETY: freed only in `drop`; cells are touched by the owner's thread only.
        unsafe { self.inner.as_ref() }
    }

    /// The objs.
    #[inline(always)]
    pub(super) fn pool(&self) -> &Pool {
        &self.inner().pool
    }

    /// First byte of the memory behind the pool.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.inner().pool.base()
    }

    /// DPDK's view.
    pub(super) fn mempool(&self) -> NonNull<sys::rte_mempool> {
        self.mempool
    }

    /// Sent frames whose first mbuf DPDK gave back, ever.
    #[inline(always)]
    pub(super) fn freed(&self) -> u64 {
        self.inner().freed.get()
    }

    /// Takes an mbuf in the state that DPDK expects, marked as the driver's.
    #[inline(always)]
    pub(super) fn take_mbuf(&self) -> Option<*mut sys::rte_mbuf> {
        let obj = raw::obj_take(self.pool())?;
        // SAFETY: an obj of this pool, just taken.
        unsafe {
            let m = mbuf::of_obj(obj);
            mbuf::give(m);
            Some(m)
        }
    }

    /// Puts back an mbuf of [`MbufPool::take_mbuf`] that was not used.
    ///
    /// # Safety
    /// `m` is such an mbuf, and nobody else has it.
    pub(super) unsafe fn put_mbuf(&self, m: *mut sys::rte_mbuf) {
        // SAFETY: by contract.
        unsafe {
            mbuf::take(m);
            raw::obj_put(NonNull::new_unchecked(m.cast()));
        }
    }

    /// Puts the first mbuf of a frame back, which the device is done with and nobody has.
    ///
    /// # Safety
    /// `m` is of a pool of this thread, which owns this one too.
    #[inline(always)]
    pub(super) unsafe fn put_frame(&self, m: *mut sys::rte_mbuf) {
        // SAFETY: by contract.
        unsafe {
            debug_assert!(mbuf::is_frame(m));
            self.put_mbuf(m);
        }
        let freed = &self.inner().freed;
        freed.set(freed.get() + 1);
    }

    /// Gives the pool up, so that another thread can take it over: only when nobody but the driver holds an obj.
    pub(super) fn release(&self) -> bool {
        let inner = self.inner();
        if !inner.owner.is_here() || inner.pool.outstanding() != self.held().count() {
            return false;
        }
        inner.owner.release();
        true
    }

    /// Takes over a pool that nobody owns.
    pub(super) fn claim(&self) -> bool {
        self.inner().owner.claim()
    }

    /// The mbufs that the driver holds.
    fn held(&self) -> impl Iterator<Item = *mut sys::rte_mbuf> + '_ {
        // SAFETY: every obj of this pool is an mbuf.
        self.pool()
            .zones()
            .flat_map(|zone| zone.objs())
            .map(|(obj, _)| unsafe { mbuf::of_obj(obj) })
            .filter(|&m| unsafe { mbuf::is_held(m) })
    }

    /// Takes back what a closed device forgot. Returns how many objs.
    ///
    /// # Safety
    /// The device that used the pool is closed: nothing but this pool knows its mbufs. This thread owns the pool.
    pub(super) unsafe fn sweep(&self) -> usize {
        let forgotten: Vec<_> = self.held().collect();
        for &m in &forgotten {
            // SAFETY: the device is closed, so the mbuf is ours; segment by segment, as each is in the list itself.
            unsafe {
                sys::mbuf::set_next(m, core::ptr::null_mut());
                sys::mbuf::set_nb_segs(m, 1);
                sys::rte_pktmbuf_free_seg(m);
            }
        }
        forgotten.len()
    }
}

impl Drop for MbufPool {
    fn drop(&mut self) {
        let inner = self.inner();
        if !inner.owner.claim() || inner.pool.outstanding() != 0 {
            log::warn!("a port's pool is still in use: its memory stays reserved until the process ends");
            return; // leaked, mempool and all: handles point into it
        }
        inner.closing.set(true);
        // SAFETY: every obj is home and the device closed: nobody uses the mempool or `inner` any more.
        unsafe {
            sys::rte_mempool_free(self.mempool.as_ptr());
            drop(Box::from_raw(self.inner.as_ptr()));
        }
    }
}

/// # Safety
/// `mp` is a mempool of [`MbufPool::new`].
#[inline(always)]
unsafe fn inner_of<'a>(mp: *const sys::rte_mempool) -> &'a Inner {
    // SAFETY: pool_config was set to a live Inner, which outlives the mempool.
    unsafe { &*(*mp).pool_config.cast::<Inner>() }
}

unsafe extern "C" fn alloc(_: *mut sys::rte_mempool) -> c_int {
    0
}

unsafe extern "C" fn free(_: *mut sys::rte_mempool) {}

unsafe extern "C" fn enqueue(mp: *mut sys::rte_mempool, objs: *const *mut c_void, n: c_uint) -> c_int {
    // SAFETY: DPDK passes `n` objects of this mempool, whose references it gives away with the call.
    unsafe {
        let inner = inner_of(mp);
        let here = inner.owner.is_here();
        let mut frames = 0;
        for i in 0..n as usize {
            let m = (*objs.add(i)).cast::<sys::rte_mbuf>();
            let obj = NonNull::new_unchecked(m.cast::<u8>());
            frames += u64::from(mbuf::is_frame(m));
            mbuf::take(m);
            if here {
                raw::obj_put(obj);
            } else {
                // The driver has one reference of an obj, whoever else may have some.
                raw::obj_put_elsewhere(obj);
            }
        }
        if here {
            inner.freed.set(inner.freed.get() + frames);
        }
    }
    0
}

unsafe extern "C" fn dequeue(mp: *mut sys::rte_mempool, objs: *mut *mut c_void, n: c_uint) -> c_int {
    // SAFETY: DPDK passes room for `n` pointers.
    unsafe {
        let inner = inner_of(mp);
        if inner.closing.get() {
            return 0; // rte_mempool_free takes every object, to forget it
        }
        if !inner.owner.is_here() {
            return -libc::EPERM;
        }
        for i in 0..n as usize {
            let Some(obj) = raw::obj_take(&inner.pool) else {
                for j in 0..i {
                    let m = (*objs.add(j)).cast::<sys::rte_mbuf>();
                    mbuf::take(m);
                    raw::obj_put(NonNull::new_unchecked(m.cast()));
                }
                return -libc::ENOBUFS;
            };
            let m = mbuf::of_obj(obj);
            mbuf::give(m);
            objs.add(i).write(m.cast());
        }
    }
    0
}

unsafe extern "C" fn get_count(mp: *const sys::rte_mempool) -> c_uint {
    // SAFETY: a mempool of ours.
    let inner = unsafe { inner_of(mp) };
    // Another thread must not harvest the return list; it only asks for diagnostics.
    if inner.owner.is_here() { inner.pool.available() as c_uint } else { 0 }
}

/// Names to DPDK the objs that already lie in the zone at `vaddr`.
unsafe extern "C" fn populate(
    mp: *mut sys::rte_mempool,
    max_objs: c_uint,
    vaddr: *mut c_void,
    _iova: sys::rte_iova_t,
    _len: usize,
    add: sys::rte_mempool_populate_obj_cb_t,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: a mempool of ours.
    let inner = unsafe { inner_of(mp) };
    let Some(add) = add else { return -libc::EINVAL };
    let Some(zone) = inner.pool.zones().find(|zone| core::ptr::eq(zone.base().as_ptr().cast(), vaddr)) else {
        return -libc::EINVAL;
    };
    let mut n = 0;
    for (obj, IoAddr(io)) in zone.objs().take(max_objs as usize) {
        // SAFETY: the object header is in the obj's prefix, before the object that DPDK sees.
        unsafe { add(mp, arg, mbuf::of_obj(obj).cast(), io + mbuf::HEADER_SIZE as u64) };
        n += 1;
    }
    n
}

#[cfg(test)]
mod tests;
