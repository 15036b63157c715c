use super::*;

#[test]
fn objs_are_zeroed_aligned_and_io_addresses_are_identity() {
    let pool = pool(3000, 2000, Pages::Ordinary).unwrap();
    assert!(pool.capacity() >= 3000);
    assert_eq!(pool.data_capacity(), 2048);
    for zone in pool.zones() {
        assert_eq!(zone.base().addr().get() % ZONE_SIZE, 0);
    }
    let all: Vec<_> = core::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!(all.len(), pool.capacity());
    for mut obj in all {
        obj.set_len(2048);
        assert!(obj.iter().all(|b| *b == 0));
        assert_eq!(obj.io_addr().0, obj.as_ptr() as u64);
        obj.fill(0xa5);
    }
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn an_obj_larger_than_a_zone_is_refused() {
    assert!(matches!(pool(1, 4 << 20, Pages::Ordinary), Err(MemoryError::Pool(_))));
}

#[test]
fn too_much_memory_is_an_error_that_names_it() {
    let e = region(1 << 20, Pages::Huge).unwrap_err();
    assert!(e.to_string().contains("2097152 MiB of hugepage memory"), "{e}");
}
