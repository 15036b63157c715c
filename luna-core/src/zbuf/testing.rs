//! Memory for this crate's unit tests: leaked, aligned, with a made-up bus address.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;

use super::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

/// Zones are at scattered bus addresses, as hugepages are.
pub(crate) fn io_of(zone: usize) -> IoAddr {
    IoAddr(0x1_0000_0000 + (zone as u64 * 7 + 3) * ZONE_SIZE as u64)
}

pub(crate) fn region(zones: usize) -> Region {
    let layout = Layout::from_size_align(zones * ZONE_SIZE, ZONE_SIZE).unwrap();
    // SAFETY: the size is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    // SAFETY: fresh, leaked memory.
    unsafe { Region::new(base, zones, io_of, DeviceKey(42)) }.unwrap()
}

pub(crate) fn pool(zones: usize, obj_size: u32) -> Pool {
    Pool::new(region(zones), ZoneLayout::plain(obj_size)).unwrap()
}

pub(crate) fn drain(pool: &Pool) -> Vec<super::ZbufMut> {
    core::iter::from_fn(|| pool.alloc()).collect()
}
