use super::*;
use crate::dpdk::{Eal, EalConfig, Memory};

struct SendPtr(*mut sys::rte_mbuf);
// SAFETY: the test hands the mbuf over and does not touch it meanwhile.
unsafe impl Send for SendPtr {}

/// One test, as EAL starts once in a process. `cargo test -p luna-host --features dpdk --lib -- --ignored`, as root.
#[test]
#[ignore = "needs root and 32 free hugepages"]
fn the_mempool_is_a_view_of_the_free_list() {
    let eal = Eal::start(&EalConfig { memory_mb: 64, ..EalConfig::default() }).unwrap();
    let layout = mbuf::layout(0, 2048);
    let memory: Memory = eal.memory(2).unwrap();
    let mempool = MbufPool::new(memory.into_pool(layout).unwrap(), 0).unwrap();
    let (pool, mp) = (mempool.pool(), mempool.mempool().as_ptr());
    let all = pool.capacity();

    // SAFETY: an mbuf pool of this thread; every mbuf is freed once.
    unsafe {
        assert_eq!(sys::rte_mempool_avail_count(mp) as usize, all);
        let m = sys::rte_pktmbuf_alloc(mp);
        assert!(!m.is_null());
        assert_eq!(pool.outstanding(), 1);
        assert_eq!(sys::mbuf::data(m).addr(), m.addr() + mbuf::MBUF_SIZE + mbuf::HEADROOM as usize);
        assert_eq!(usize::from(sys::mbuf::buf_len(m)), pool.data_capacity() as usize);

        // The obj's address for devices is the zone's, whichever side is asked.
        let zone =
            pool.zones().find(|zone| m.addr() - zone.base().as_ptr().addr() < luna_core::zbuf::ZONE_SIZE).unwrap();
        let io = zone.io_base().0 + (m.addr() - zone.base().as_ptr().addr() + mbuf::MBUF_SIZE) as u64;
        assert_eq!(sys::mbuf::buf_iova(m), io);

        // Freed elsewhere, it comes home by the return list, and counts are not touched there.
        let travelling = SendPtr(m);
        std::thread::spawn(move || {
            let travelling = travelling;
            sys::rte_pktmbuf_free(travelling.0);
        })
        .join()
        .unwrap();
        assert_eq!(pool.outstanding(), 0);
        assert_eq!(mempool.freed(), 0, "frees of other threads are no completions seen here");

        // Another thread gets nothing.
        struct SendPool(*mut sys::rte_mempool);
        // SAFETY: as SendPtr.
        unsafe impl Send for SendPool {}
        let other = SendPool(mp);
        let got = std::thread::spawn(move || {
            let other = other;
            sys::rte_pktmbuf_alloc(other.0).is_null()
        });
        assert!(got.join().unwrap(), "a thread that does not own the pool was given an obj");

        // All or nothing in bulk.
        let mut many = vec![core::ptr::null_mut(); all + 1];
        assert_ne!(sys::rte_pktmbuf_alloc_bulk(mp, many.as_mut_ptr(), all as u32 + 1), 0);
        assert_eq!(pool.outstanding(), 0);
        assert_eq!(sys::rte_pktmbuf_alloc_bulk(mp, many.as_mut_ptr(), all as u32), 0);
        assert!(pool.alloc().is_none(), "the pool and the mempool share one free list");
        assert_eq!(mempool.sweep(), all, "what the driver holds is marked");
        assert_eq!(pool.outstanding(), 0);

        // The application's objs are not the driver's.
        let held = pool.alloc().unwrap();
        assert_eq!(mempool.sweep(), 0);
        assert!(!mempool.release(), "a pool with objs out does not move");
        drop(held);
        assert!(mempool.release() && mempool.claim());
    }
    drop(mempool);
    let again = eal.memory(2).unwrap().into_pool(layout).unwrap();
    assert_eq!(again.capacity(), all);
}
