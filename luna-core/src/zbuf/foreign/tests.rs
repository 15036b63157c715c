use super::super::testing::pool;
use super::*;
use crate::zbuf::Frag;

fn guest(len: usize) -> NonNull<u8> {
    let memory: &'static mut [u8] = Vec::leak((0..len).map(|i| (i % 251) as u8).collect());
    NonNull::from(memory).cast()
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn a_buffer_counts_its_references_and_the_region_its_buffers() {
    let pool = pool(1, 256);
    // SAFETY: leaked memory.
    let region = unsafe {
        ForeignRegion::register(&pool, guest(8192), 8192, ForeignIo::Contiguous(IoAddr(0x5000)), DeviceKey(9))
    }
    .unwrap();
    assert!(region.is_idle());
    let a = region.buffer(&pool, 100, 1000).unwrap();
    let b = region.buffer(&pool, 100, 1000).unwrap();
    assert!(a.is_unique() && b.is_unique() && !region.is_idle());
    let mut part = a.clone();
    part.trim_front(10);
    part.truncate(20);
    assert!(!a.is_unique() && b.is_unique(), "buffers count apart");
    assert_eq!(part.io_piece(), Some((IoAddr(0x5000 + 110), 20)));
    let mut out = [0; 64];
    assert_eq!(part.copy_to(&mut out), Some(20));
    assert_eq!(out[0], 110);
    assert_eq!(part.device_key(), DeviceKey(9));
    drop((a, b));
    assert!(!region.is_idle());
    drop(part);
    assert!(region.is_idle());
    drop(region);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn revoked_memory_gives_no_address_and_no_bytes() {
    let pool = pool(1, 256);
    // SAFETY: leaked memory.
    let region =
        unsafe { ForeignRegion::register(&pool, guest(64), 64, ForeignIo::Contiguous(IoAddr(0)), DeviceKey(0)) }
            .unwrap();
    let frag = Frag::from(region.buffer(&pool, 0, 64).unwrap());
    region.revoke();
    assert!(frag.is_revoked() && !region.is_idle());
    assert_eq!(frag.copy_to(&mut [0; 8]), None);
    assert_eq!(frag.with_foreign(Foreign::io_piece), Some(None));
    assert_eq!(region.buffer(&pool, 0, 1).err(), Some(ForeignError::Revoked));
    drop(frag);
    assert!(region.is_idle());
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn pages_are_cut_where_they_end() {
    let pool = pool(1, 256);
    let pages = [IoAddr(0x10_0000), IoAddr(0x90_0000), IoAddr(0x20_0000)];
    let io = ForeignIo::Pages { page_shift: 12, pages: &pages };
    // SAFETY: leaked memory.
    let region = unsafe { ForeignRegion::register(&pool, guest(3 * 4096), 3 * 4096, io, DeviceKey(0)) }.unwrap();
    let mut buf = region.buffer(&pool, 4000, 5000).unwrap();
    let mut pieces = Vec::new();
    while let Some((addr, n)) = buf.io_piece() {
        pieces.push((addr.0, n));
        buf.trim_front(n);
    }
    assert_eq!(pieces, [(0x10_0000 + 4000, 96), (0x90_0000, 4096), (0x20_0000, 808)]);
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn what_does_not_fit_is_refused_and_leaks_nothing() {
    let pool = pool(1, 128);
    let base = guest(4096);
    let io = ForeignIo::Contiguous(IoAddr(0));
    // SAFETY: leaked memory; the refusals never touch it.
    let reg = |len, io| unsafe { ForeignRegion::register(&pool, base, len, io, DeviceKey(0)) };
    assert_eq!(reg(0, io).err(), Some(ForeignError::BadLength));
    assert_eq!(reg((1 << 32) + 1, io).err(), Some(ForeignError::BadLength));
    assert_eq!(reg(4096, ForeignIo::Pages { page_shift: 12, pages: &[] }).err(), Some(ForeignError::BadPages));
    assert_eq!(reg(4096, ForeignIo::Pages { page_shift: 3, pages: &[] }).err(), Some(ForeignError::BadPages));
    let many = [IoAddr(0); 64];
    let too_many = ForeignIo::Pages { page_shift: 12, pages: &many };
    assert_eq!(reg(64 * 4096, too_many).err(), Some(ForeignError::OutOfObjs));
    let region = reg(4096, io).unwrap();
    for (offset, len) in [(4096, 1), (0, 4097), (u64::MAX, 2), (0, 0)] {
        assert_eq!(region.buffer(&pool, offset, len).err(), Some(ForeignError::OutOfRange));
    }
    drop(region);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn the_last_bytes_of_four_gib_can_be_trimmed_away() {
    let pool = pool(1, 512);
    let io = ForeignIo::Contiguous(IoAddr(0x10_0000));
    // SAFETY: nothing reads it.
    let region = unsafe { ForeignRegion::register(&pool, guest(4096), 1 << 32, io, DeviceKey(0)) }.unwrap();
    let mut end = region.buffer(&pool, (1 << 32) - 16, 16).unwrap();
    end.trim_front(16);
    assert!(end.is_empty() && end.io_piece().is_none());
}
