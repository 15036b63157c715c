//! Zbuf memory out of DPDK's own segments.
//!
//! A 2 MiB-aligned memzone, since memif's zero-copy mode and virtio_user can share only DPDK's segments with the other
//! process, and memif only those of the first segment list (its descriptors name region 1 and nothing else).
//! Memory goes back to DPDK when a pool of it is dropped with every obj at home; with objs still out it stays, and EAL
//! with it, for the rest of the process: a leak is harmless, a dangling Zbuf is not.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::ffi::CString;
use std::sync::Arc;

use dpdk_sys as sys;
use luna_core::zbuf::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

use super::eal::EalShared;
use super::error::MemoryError;

/// Contiguous zones of DPDK memory, not yet cut into objs. `Send`: the thread that will own the pool makes it.
#[derive(Debug)]
pub struct Memory {
    region: Option<Region>,
    zone: Memzone,
}

/// A Zbuf pool in DPDK memory.
#[derive(Debug)]
pub struct EalPool {
    pool: Pool,
    zone: ManuallyDrop<Memzone>,
}

/// A memzone, given back when dropped.
#[derive(Debug)]
struct Memzone {
    zone: NonNull<sys::rte_memzone>,
    _eal: Arc<EalShared>,
}

// SAFETY: memzone functions take DPDK's own lock, and the descriptor is only read here.
unsafe impl Send for Memzone {}

impl Memory {
    /// Takes `zones` zones and `slack` bytes behind them.
    pub(super) fn reserve(eal: &Arc<EalShared>, zones: usize, slack: usize) -> Result<Self, MemoryError> {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let exhausted = MemoryError::Exhausted { zones };
        let name = format!("luna_zbuf_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let Ok(name) = CString::new(name) else { return Err(exhausted) };
        let Some(len) = zones.checked_mul(ZONE_SIZE).and_then(|len| len.checked_add(slack)) else {
            return Err(exhausted);
        };
        // SAFETY: EAL runs (`eal` says so).
        let zone = unsafe { sys::rte_memzone_reserve_aligned(name.as_ptr(), len, -1, 0, ZONE_SIZE as u32) };
        let Some(zone) = NonNull::new(zone.cast_mut()) else { return Err(exhausted) };
        let zone = Memzone { zone, _eal: Arc::clone(eal) };
        let base = zone.base();
        if !in_first_segment_list(base) {
            return Err(MemoryError::NotShared);
        }
        let mut io = Vec::with_capacity(zones);
        for i in 0..zones {
            // SAFETY: inside the memzone.
            let iova = unsafe { sys::rte_mem_virt2iova(base.as_ptr().add(i * ZONE_SIZE).cast::<c_void>()) };
            if iova == sys::BAD_IOVA {
                return Err(MemoryError::NoIoAddress);
            }
            io.push(IoAddr(iova));
        }
        let io_of = |i: usize| io.get(i).copied().unwrap_or_default();
        // SAFETY: the memzone is `zones` zones of memory that DPDK gave to us alone; `EalPool` and `Memory` keep it
        // while a handle may exist. The addresses are DPDK's own.
        let region = unsafe { Region::new(base, zones, io_of, DeviceKey(0)) }?;
        Ok(Self { region: Some(region), zone })
    }

    /// Cuts it into objs.
    ///
    /// # Errors
    /// [`MemoryError::Pool`].
    pub fn into_pool(mut self, layout: ZoneLayout) -> Result<EalPool, MemoryError> {
        let Some(region) = self.region.take() else { return Err(MemoryError::Exhausted { zones: 0 }) };
        let pool = Pool::new(region, layout)?;
        Ok(EalPool { pool, zone: ManuallyDrop::new(self.zone) })
    }

    /// Zones of 2 MiB that hold `objs` objs of `layout`.
    #[must_use]
    pub fn zones_for(layout: ZoneLayout, objs: usize) -> usize {
        layout.fit().map_or(1, |(per_zone, _)| objs.div_ceil(per_zone.max(1) as usize)).max(1)
    }
}

impl Memzone {
    fn base(&self) -> NonNull<u8> {
        // SAFETY: the descriptor lives as long as the memzone.
        let address = unsafe { (*self.zone.as_ptr()).__bindgen_anon_1.addr };
        // A reserved memzone is never at address zero; a dangling pointer would fail the segment look-up.
        NonNull::new(address.cast::<u8>()).unwrap_or(NonNull::dangling())
    }
}

impl Drop for Memzone {
    fn drop(&mut self) {
        // SAFETY: reserved here, freed once.
        unsafe { sys::rte_memzone_free(self.zone.as_ptr()) };
    }
}

impl EalPool {
    /// First byte of the memory.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.zone.base()
    }
}

impl Deref for EalPool {
    type Target = Pool;
    #[inline]
    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for EalPool {
    fn drop(&mut self) {
        let out = self.pool.outstanding();
        if out == 0 {
            // SAFETY: dropped once, here; no handle points into the memory.
            unsafe { ManuallyDrop::drop(&mut self.zone) };
        } else {
            log::warn!("a pool was dropped with {out} objs in use: its memory stays reserved until the process ends");
        }
    }
}

/// Whether `ptr` lies in the segment list that memif shares.
fn in_first_segment_list(ptr: NonNull<u8>) -> bool {
    unsafe extern "C" fn first(list: *const sys::rte_memseg_list, _: *const sys::rte_memseg, arg: *mut c_void) -> i32 {
        // SAFETY: `arg` is the local below; the list is locked during the walk.
        unsafe { arg.cast::<*const sys::rte_memseg_list>().write(list) };
        1 // stop
    }
    let mut list: *const sys::rte_memseg_list = core::ptr::null();
    // SAFETY: the callback gets a pointer to `list`, which outlives the walk.
    unsafe {
        sys::rte_memseg_walk(Some(first), (&raw mut list).cast());
        !list.is_null() && core::ptr::eq(list, sys::rte_mem_virt2memseg_list(ptr.as_ptr().cast()))
    }
}
