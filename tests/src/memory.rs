//! Memory for pools without DPDK and without hugepages: aligned to 2 MiB, with made-up bus addresses, leaked.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::{alloc_zeroed, handle_alloc_error};

use luna_core::zbuf::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

fn io_of(zone: usize) -> IoAddr {
    IoAddr(0x1_0000_0000 + (zone as u64 * 7 + 3) * ZONE_SIZE as u64)
}

/// `zones` times 2 MiB, for the rest of the process's life. Bus addresses are scattered, as those of hugepages are.
#[must_use]
pub fn region(zones: usize) -> Region {
    let layout = Layout::from_size_align(zones * ZONE_SIZE, ZONE_SIZE).expect("a sensible number of zones");
    assert!(zones > 0, "a region has at least one zone");
    // SAFETY: the size is not zero.
    let base = unsafe { alloc_zeroed(layout) };
    let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
    // SAFETY: fresh memory, aligned, used by nobody else and never freed; no device is given its address.
    unsafe { Region::new(base, zones, io_of, DeviceKey(0)) }.expect("aligned, and at least one zone")
}

/// The region of a pool of [`region`]'s memory, for another pool; nothing while somebody holds an obj of it.
#[must_use]
pub fn reclaim(pool: Pool) -> Option<Region> {
    if pool.outstanding() > 0 {
        return None;
    }
    let (base, zones) = (pool.zones().next()?.base(), pool.zones().count());
    // SAFETY: the whole of a region made above, never freed; the pool is gone and nobody held an obj of it.
    unsafe { Region::new(base, zones, io_of, DeviceKey(0)) }.ok()
}

/// A pool over such a region.
#[must_use]
pub fn pool(zones: usize, obj_size: u32) -> &'static Pool {
    let pool = Pool::new(region(zones), ZoneLayout::plain(obj_size)).expect("a multiple of 64 that fits a zone");
    Box::leak(Box::new(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_hands_out_all_its_objs_each_at_its_own_bus_address() {
        let pool = pool(2, 4096);
        let objs: Vec<_> = core::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!((objs.len(), pool.available()), (pool.capacity(), 0));
        let mut addrs: Vec<_> = objs.iter().map(|o| o.io_addr()).collect();
        addrs.sort_unstable();
        assert!(addrs.windows(2).all(|w| w[1].0 - w[0].0 >= 4096));
        drop(objs);
        assert_eq!(pool.outstanding(), 0);
    }
}
