use super::super::testing::{drain, io_of, pool, region};
use super::super::{IoAddr, Parcel, Pool, PoolError, Region, RegionError, ZONE_SIZE, ZoneLayout};
use core::ptr::NonNull;

#[test]
fn every_obj_is_handed_out_once_and_comes_home() {
    let pool = pool(2, 2048);
    let capacity = pool.capacity();
    assert!(capacity >= 2 * 1019, "1019 2 KiB objs fit a zone");
    let all = drain(&pool);
    assert_eq!(all.len(), capacity);
    assert!(pool.alloc().is_none());
    let mut starts: Vec<_> = all.iter().map(|b| b.obj_start().addr().get()).collect();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), capacity, "no obj twice");
    for w in starts.windows(2) {
        assert!(w[1] - w[0] >= 2048, "objs overlap");
    }
    drop(all);
    assert_eq!(pool.outstanding(), 0);
    assert_eq!(drain(&pool).len(), capacity);
}

#[test]
fn io_address_is_the_zones_base_plus_offset() {
    let pool = pool(3, 4096);
    for buf in drain(&pool) {
        let zone = pool.zones().position(|z| z.base().addr().get() == buf.as_ptr().addr() & !(ZONE_SIZE - 1)).unwrap();
        let offset = (buf.as_ptr().addr() & (ZONE_SIZE - 1)) as u64;
        assert_eq!(buf.io_addr(), IoAddr(io_of(zone).0 + offset));
    }
}

#[test]
fn prefix_belongs_to_the_driver() {
    let pool = Pool::new(region(1), ZoneLayout { obj_size: 2432, prefix: 256 }).unwrap();
    assert_eq!(pool.data_capacity(), 2176);
    let buf = pool.alloc().unwrap();
    assert_eq!(buf.headroom(), 0);
    assert_eq!(buf.tailroom(), 2176);
    assert_eq!(buf.as_ptr().addr() - buf.obj_start().addr().get(), 256);
}

#[test]
fn bad_layouts_and_regions_are_refused() {
    for layout in [
        ZoneLayout::plain(0),
        ZoneLayout::plain(100),
        ZoneLayout { obj_size: 128, prefix: 128 },
        ZoneLayout::plain(4 << 20),
        ZoneLayout::plain(2 << 20),
    ] {
        assert_eq!(Pool::new(region(1), layout).err(), Some(PoolError::BadLayout(layout)));
    }
    let odd = NonNull::new(core::ptr::without_provenance_mut(ZONE_SIZE + 64)).unwrap();
    // SAFETY: refused before any access.
    assert_eq!(unsafe { Region::new(odd, 1, io_of, Default::default()) }.err(), Some(RegionError::Unaligned));
    // SAFETY: refused before any access.
    let none = unsafe {
        Region::new(NonNull::new(core::ptr::without_provenance_mut(ZONE_SIZE)).unwrap(), 0, io_of, Default::default())
    };
    assert_eq!(none.err(), Some(RegionError::BadZoneCount));
}

#[test]
fn headroom_is_bounded() {
    let pool = pool(1, 256);
    assert!(pool.alloc_with_headroom(256).is_none());
    let buf = pool.alloc_with_headroom(255).unwrap();
    assert_eq!((buf.headroom(), buf.tailroom()), (255, 1));
}

#[test]
fn a_region_splits_into_pools_of_different_sizes() {
    let (front, rest) = region(3).split_off_front(1).unwrap();
    assert_eq!((front.zones(), rest.zones()), (1, 2));
    let small = Pool::new(front, ZoneLayout::plain(128)).unwrap();
    let large = Pool::new(rest, ZoneLayout::plain(4096)).unwrap();
    let buf = small.alloc().unwrap();
    assert!(small.contains(buf.obj_start()) && !large.contains(buf.obj_start()));
    assert!(region(1).split_off_front(1).is_err());
}

#[test]
fn objs_dropped_on_another_thread_are_found_again() {
    let pool = pool(1, 4096);
    let parcels: Vec<Parcel> = drain(&pool).into_iter().map(Parcel::new).collect();
    assert!(pool.alloc().is_none());
    std::thread::scope(|s| {
        s.spawn(move || drop(parcels));
    });
    assert!(pool.alloc().is_some(), "alloc harvests the return list");
    assert_eq!(pool.outstanding(), 0);
}
