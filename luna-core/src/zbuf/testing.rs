//! Memory for this crate's unit tests: leaked, aligned, with a made-up bus address.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::sync::Mutex;

use super::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

/// Zones are at scattered bus addresses, as hugepages are.
pub(crate) fn io_of(zone: usize) -> IoAddr {
    IoAddr(0x1_0000_0000 + (zone as u64 * 7 + 3) * ZONE_SIZE as u64)
}

/// Regions whose pools are done with: their size and address. Fresh memory costs a page fault for every 4 KiB, which is
/// most of the time of a test that makes many pools.
static SPARE: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

pub(crate) fn region(zones: usize) -> Region {
    let mut spare = SPARE.lock().unwrap();
    let found = spare.iter().position(|s| s.0 == zones).map(|i| spare.swap_remove(i).1);
    drop(spare);
    let base = found.and_then(|a| NonNull::new(core::ptr::with_exposed_provenance_mut(a)));
    let base = base.unwrap_or_else(|| {
        let layout = Layout::from_size_align(zones * ZONE_SIZE, ZONE_SIZE).unwrap();
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap()
    });
    // SAFETY: leaked memory, fresh or given back by `recycle`.
    unsafe { Region::new(base, zones, io_of, DeviceKey(42)) }.unwrap()
}

/// Takes the memory of a pool for the next [`region`], when every obj came home.
pub(crate) fn recycle(pool: Pool) {
    if pool.outstanding() == 0
        && let Some(first) = pool.zones().next()
    {
        SPARE.lock().unwrap().push((pool.zones().count(), first.base().as_ptr().expose_provenance()));
    }
}

pub(crate) fn pool(zones: usize, obj_size: u32) -> Pool {
    Pool::new(region(zones), ZoneLayout::plain(obj_size)).unwrap()
}

pub(crate) fn drain(pool: &Pool) -> Vec<super::ZbufMut> {
    core::iter::from_fn(|| pool.alloc()).collect()
}
