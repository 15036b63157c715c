use super::*;
use crate::wire::write_tcp_checksum;
use crate::wire::{HeaderTemplate, MacAddr, RxChecksum, SegmentHead, SeqNum, TcpFlags, TcpPacket, tcp_checksum};
use core::net::IpAddr;
use proptest::prelude::*;

fn hop(n: u32) -> Hop {
    Hop { rate: n as u16 + 1, queue: n as u16 * 3, time: n * 1_000_003, sent: n.wrapping_mul(0x9e37_79b9) }
}

fn telemetry(n: u32) -> Telemetry {
    let mut t = Telemetry { path: 0x1234, ..Telemetry::EMPTY };
    (0..n).for_each(|i| t.push(hop(i)));
    t
}

#[test]
fn records_say_what_they_are_made_of() {
    let h = Hop::new(25_000_000_000, 6401, 0x1_0000_0007, 0x2_0000_0009);
    assert_eq!(h, Hop { rate: 2500, queue: 101, time: 7, sent: 9 });
    assert_eq!((h.bytes_per_second(), h.queue_bytes()), (3_125_000_000, 6464));
    assert_eq!(Hop::new(1, u64::MAX, 0, 0), Hop { rate: 1, queue: u16::MAX, time: 0, sent: 0 });
    assert_eq!(Hop::new(u64::MAX, 0, 0, 0).rate, u16::MAX);
}

#[test]
fn the_layout_is_what_the_documentation_says() {
    let mut out = [0xff; MAX_LEN];
    let len = emit(&mut out, 2, Some(&telemetry(1)));
    assert_eq!(len, 12 + 3 * 12);
    assert_eq!(out[..2], [6, 12]);
    assert_eq!(out[4..12], [1, 2, 0, 1, 0, 0, 0x12, 0x34]);
    assert_eq!(out[12..36], [0; 24], "room");
    assert_eq!(out[36..48], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut sum = Checksum::new();
    sum.add(&out[..len]);
    assert_eq!(sum.finish(), 0);
}

#[test]
fn stamping_fills_the_room_in_order_and_then_only_counts() {
    let mut shim = [0; MAX_LEN];
    let back = telemetry(3);
    let len = emit(&mut shim, 2, Some(&back));
    let mut want = Telemetry::EMPTY;
    for i in 0..3u32 {
        assert_eq!(Shim::parse(&shim).unwrap().stamped, want, "after {i}");
        stamp(&mut shim, &hop(i), 1 << i).unwrap();
        want.path ^= 1 << i;
        want.push(hop(i));
        want.truncated = i >= 2;
        if i >= 2 {
            want.len = 2;
        }
    }
    let parsed = Shim::parse(&shim).unwrap();
    assert!(parsed.stamped.is_truncated());
    assert_eq!(parsed.stamped.iter().copied().collect::<Vec<_>>(), [hop(0), hop(1)]);
    assert_eq!((parsed.returned, usize::from(parsed.len)), (Some(back), len), "the rest is untouched");
}

#[test]
fn damage_is_seen() {
    let mut shim = [0; MAX_LEN];
    let len = emit(&mut shim, MAX_HOPS, Some(&telemetry(5)));
    assert_eq!(len, MAX_LEN);
    stamp(&mut shim, &hop(9), 3).unwrap();
    for bit in 0..len * 8 {
        let mut bad = shim;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Shim::parse(&bad[..len]).is_err(), "bit {bit}");
        assert!(stamp(&mut bad[..len], &hop(1), 1).is_err(), "bit {bit}");
    }
    for cut in 0..len {
        assert!(Shim::parse(&shim[..cut]).is_err());
    }
}

/// A frame with a shim in front of TCP, as the stack makes one.
fn frame(ipv6: bool, vlan: Option<u16>, payload: &[u8], back: Option<&Telemetry>) -> Vec<u8> {
    let ip =
        |n: u16| if ipv6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]) } else { IpAddr::from([10, 0, 0, n as u8]) };
    let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
    let template = HeaderTemplate::new(mac(1), mac(2), vlan, ip(1), ip(2), 5, 6, 64).unwrap();
    let head = SegmentHead {
        seq: SeqNum(7),
        ack: SeqNum(8),
        flags: TcpFlags::ACK,
        window: 9,
        ts: Some((10, 11)),
        ecn: 2,
        options: None,
    };
    let mut shim = [0; MAX_LEN];
    let n = emit(&mut shim, MAX_HOPS, back);
    let header_len = template.header_len(&head);
    let mut bytes = vec![0; header_len + n];
    template.emit(&mut bytes[..header_len], &head, payload.len() as u32);
    assert!(insert(&mut bytes, template.l2l3_len(), head.tcp_header_len(), ipv6, &shim[..n]));
    let l4 = template.l2l3_len() + n;
    let pseudo = template.pseudo_sum((head.tcp_header_len() + payload.len()) as u32);
    let sum = tcp_checksum(pseudo, &bytes[l4..], [payload]);
    write_tcp_checksum(&mut bytes, l4, sum);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
#[cfg_attr(not(all(feature = "ipv6", feature = "controllers")), ignore = "needs ipv6 and controllers")]
fn a_frame_is_stamped_on_the_way_and_stays_right() {
    for (ipv6, vlan) in [(false, None), (true, None), (false, Some(5)), (true, Some(5))] {
        let back = telemetry(4);
        let mut bytes = frame(ipv6, vlan, b"payload", Some(&back));
        for i in 0..4u32 {
            assert!(stamp_frame(&mut bytes, &hop(i), i as u16));
        }
        let packet = TcpPacket::parse_frame(&bytes, RxChecksum::UNKNOWN).expect("every checksum is right");
        assert_eq!(packet.payload(&bytes), b"payload");
        assert_eq!((packet.tcp.seq, packet.ecn()), (SeqNum(7), 2));
        assert_eq!(packet.fixed_timestamps(&bytes), Some((10, 11)));
        let shim = Shim::parse(packet.shim(&bytes)).unwrap();
        assert_eq!(shim.stamped.iter().copied().collect::<Vec<_>>(), [hop(0), hop(1), hop(2), hop(3)]);
        assert_eq!(shim.returned, Some(back));
        assert_eq!(packet.shim_len, shim.len);
    }
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn other_frames_have_no_shim() {
    let mut plain = frame(false, None, b"x", None);
    plain[23] = 6;
    let before = plain.clone();
    assert!(!stamp_frame(&mut plain, &hop(1), 1));
    assert_eq!(plain, before);
    assert!(!stamp_frame(&mut [], &hop(1), 1));
    let mut bad = frame(false, None, b"x", None);
    bad[40] ^= 1;
    assert_eq!(TcpPacket::parse_frame(&bad, RxChecksum::UNKNOWN), Err(ParseError::BadShim));
    assert_eq!(TcpPacket::parse_frame(&bad, RxChecksum::GOOD), Err(ParseError::BadShim), "no NIC checks that");
}

proptest! {
    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
        let _ = Shim::parse(&bytes);
        let _ = stamp_frame(&mut bytes, &hop(1), 1);
        let mut good = frame(cut % 2 == 0, None, &bytes, None);
        good.truncate(cut);
        let _ = stamp_frame(&mut good, &hop(1), 1);
        let _ = TcpPacket::parse_frame(&good, RxChecksum::UNKNOWN);
    }
}
