use super::*;

const CONFIG: LinkConfig = LinkConfig {
    rate: 1_000_000_000,
    delay: 10_000,
    jitter: 0,
    jitter_reorders: false,
    queue: 3000,
    mtu: 1500,
    ecn_threshold: None,
    faults: Faults { loss: 0, burst: None, reorder: 0, reorder_by: 0, duplicate: 0, corrupt: 0 },
};

fn frame(len: usize) -> Frame {
    Frame { bytes: vec![0; len], ..Frame::default() }
}

fn link(config: LinkConfig) -> Link {
    Link::new(config, Node::Stack(0), Node::Switch(0), Rng::new(1))
}

#[test]
fn frames_take_their_time_in_turn_and_a_full_queue_refuses() {
    let mut l = link(CONFIG);
    assert_eq!(l.push(frame(976)).unwrap(), Some(8000), "1000 bytes at 1 Gb/s");
    assert_eq!(l.push(frame(1476)).unwrap(), None);
    assert!(l.push(frame(1476)).is_err(), "3000 bytes in all");
    let (out, next) = l.sent(8000);
    assert_eq!((out.arrivals.len(), out.arrivals[0].at, next), (1, 18_000, Some(12_000)));
    let (_, next) = l.sent(20_000);
    assert_eq!((next, l.queued(), l.idle()), (None, 0, true));
}

#[test]
fn dead_links_and_large_frames_lose() {
    let mut l = link(CONFIG);
    l.push(frame(1600)).unwrap();
    assert_eq!(l.sent(0).0.lost.map(|l| l.1), Some(Loss::TooLarge));
    l.dead = 1;
    l.push(frame(100)).unwrap();
    assert_eq!(l.sent(0).0.lost.map(|l| l.1), Some(Loss::Blackhole));
}

#[test]
fn jitter_keeps_the_order_unless_told_otherwise() {
    for reorders in [false, true] {
        let mut l = link(LinkConfig { jitter: 100_000, jitter_reorders: reorders, ..CONFIG });
        let mut at = Vec::new();
        for i in 0..100 {
            l.push(frame(100)).unwrap();
            at.push(l.sent(i * 1000).0.arrivals[0].at);
        }
        assert_eq!(at.is_sorted(), !reorders);
    }
}

#[test]
fn marking_keeps_checksums_and_leaves_others_alone() {
    use luna_core::wire::{EtherType, EthernetHeader, Ipv4Header, MacAddr};
    let mut bytes = vec![0; 60];
    let l2 = EthernetHeader::new(MacAddr([2; 6]), MacAddr([4; 6]), None, EtherType::Ipv4).emit(&mut bytes);
    bytes[l2..l2 + 20].copy_from_slice(&[0x45, 2, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let mut sum = luna_core::wire::Checksum::new();
    sum.add(&bytes[l2..l2 + 20]);
    let sum = sum.finish();
    bytes[l2 + 10..l2 + 12].copy_from_slice(&sum.to_be_bytes());
    assert!(mark_congestion(&mut bytes));
    let header = Ipv4Header::parse(&bytes[l2..], true).expect("its checksum still holds");
    assert_eq!(header.tos & 3, 3);
    assert!(!mark_congestion(&mut bytes), "marked already");
    bytes[l2 + 1] = 0;
    assert!(!mark_congestion(&mut bytes), "not an ECN transport");
}
