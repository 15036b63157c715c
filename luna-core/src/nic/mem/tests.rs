use super::*;
use crate::nic::RxBurst;
use crate::zbuf::Frag;
use crate::zbuf::testing;

const META: TxMeta =
    TxMeta { l2_len: 14, l3_len: 20, l4_len: 20, ipv6: false, offload_checksum: true, segment_size: 0 };

fn port(n: u8) -> MemPort {
    MemPort { mac: MacAddr([2, 0, 0, 0, 0, n]), mtu: 1500, checksum_offload: true }
}

#[test]
fn a_frame_is_gathered_into_the_receivers_posted_obj() {
    let (rx_a, hd_a, rx_b, hd_b) =
        (testing::pool(1, 2048), testing::pool(1, 512), testing::pool(1, 2048), testing::pool(1, 512));
    let mut link = MemLink::new();
    let (a, b) = link.split();
    {
        let mut a = MemQueue::new(a, port(1), &rx_a, &hd_a).unwrap();
        let mut b = MemQueue::new(b, port(2), &rx_b, &hd_b).unwrap();
        let mut header = a.header_pool().alloc().unwrap();
        header.append(54).unwrap().fill(7);
        let mut payload = rx_a.alloc().unwrap();
        payload.append(1000).unwrap().fill(9);
        let payload = Frag::from(payload.freeze());
        a.tx(header.into(), &[payload.lend()], META).unwrap();
        drop(payload);
        assert_eq!(hd_a.outstanding(), 0, "the header came back");
        let mut burst = RxBurst::new();
        b.rx_burst(&mut burst);
        assert_eq!(burst.len(), 1);
        let frame = burst.take(0).unwrap();
        assert!(rx_b.contains(frame.data.as_ptr()));
        assert_eq!((frame.data.len(), frame.data[53], frame.data[54]), (1054, 7, 9));
        assert_eq!((a.stats().tx_bytes, b.stats().rx_bytes), (1054, 1054));
    }
    drop(link);
    assert_eq!((rx_a.outstanding(), rx_b.outstanding()), (0, 0), "posted objs come home");
}

#[test]
fn a_full_ring_hands_back_and_an_empty_one_drops() {
    let (rx_a, hd_a, rx_b, hd_b) =
        (testing::pool(1, 2048), testing::pool(1, 512), testing::pool(2, 8192), testing::pool(1, 512));
    let mut link = MemLink::new();
    let (a, b) = link.split();
    let mut a = MemQueue::new(a, port(1), &rx_a, &hd_a).unwrap();
    let b = MemQueue::new(b, port(2), &rx_b, &hd_b).unwrap();
    let posted = rx_b.outstanding();
    assert!(posted < MEM_RING - 1, "this pool is smaller than the ring");
    for i in 0..posted + 10 {
        let mut header = a.header_pool().alloc().unwrap();
        header.append(60).unwrap();
        a.tx(header.into(), &[], META).unwrap();
        assert_eq!(a.stats().tx_dropped, (i + 1).saturating_sub(posted) as u64);
    }
    drop(b);
    assert!(!a.peer_alive());
}

#[test]
fn an_mtu_beyond_the_objs_is_refused() {
    let (rx, hd) = (testing::pool(1, 1024), testing::pool(1, 512));
    let mut link = MemLink::new();
    let (a, _b) = link.split();
    assert_eq!(MemQueue::new(a, port(1), &rx, &hd).err(), Some(MemQueueError::ObjTooSmall));
}

#[test]
fn frames_of_somebody_else_are_taken_out_and_the_rest_keeps_its_order() {
    let pool = testing::pool(1, 256);
    let frame = |n: u8| {
        let mut obj = pool.alloc().unwrap();
        obj.append(1).unwrap().fill(n);
        RxFrame { data: obj.freeze(), meta: RxMeta { checksum: RxChecksum::GOOD, rss_hash: 0 } }
    };
    // Every pattern of six frames, from every start.
    for pattern in 0..64u8 {
        for from in 0..7usize {
            let mut burst = RxBurst::new();
            for n in 0..6 {
                burst.push(frame(n)).unwrap();
            }
            let others = |n: u8| pattern >> n & 1 == 1 && usize::from(n) >= from;
            let mut taken = Vec::new();
            burst.divert(from, |f| pattern >> f.data[0] & 1 == 1, |f| taken.push(f.data[0]));
            assert_eq!(taken, (0..6).filter(|n| others(*n)).collect::<Vec<_>>());
            let left: Vec<u8> = (0..burst.len()).map(|i| burst.take(i).unwrap().data[0]).collect();
            assert_eq!(left, (0..6).filter(|n| !others(*n)).collect::<Vec<_>>());
        }
    }
    assert_eq!(pool.outstanding(), 0, "each was dropped once");
}
