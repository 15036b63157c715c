extern crate std;

use core::net::IpAddr;
use std::string::ToString;
use std::vec::Vec;

use super::{FamilyMismatch, HeaderTemplate, SegmentHead, tcp_checksum, write_tcp_checksum};
use crate::wire::ethernet::{EthernetHeader, MacAddr};
use crate::wire::{Checksum, Ipv4Header, Ipv6Header, MAX_HEADER_LEN, SeqNum, TcpFlags, TcpHeader, TcpOptions};

const SRC_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const DST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const V4: (&str, &str) = ("10.0.0.1", "10.0.0.2");
const V6: (&str, &str) = ("fd00::1", "fd00::2");

fn template((src, dst): (&str, &str), vlan: Option<u16>) -> HeaderTemplate {
    let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    HeaderTemplate::new(SRC_MAC, DST_MAC, vlan, src, dst, 40000, 80, 64).unwrap()
}

fn seg<'a>() -> SegmentHead<'a> {
    SegmentHead {
        seq: SeqNum(0x1000),
        ack: SeqNum(0x2000),
        flags: TcpFlags::PSH | TcpFlags::ACK,
        window: 512,
        ts: Some((7, 9)),
        ecn: 2,
        options: None,
    }
}

fn emit(template: &HeaderTemplate, seg: &SegmentHead<'_>, payload_len: u32) -> Vec<u8> {
    let mut out = std::vec![0xee; template.header_len(seg)];
    assert_eq!(template.emit(&mut out, seg, payload_len), out.len());
    out
}

/// The frame of `packet/tests.rs`, its TCP checksum 0.
const KNOWN: [u8; 66] = [
    0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
    0x45, 0x02, 0x00, 0x39, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x26, 0xbb, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    0x9c, 0x40, 0x00, 0x50, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x20, 0x00, 0x80, 0x18, 0x02, 0x00, 0, 0, 0,
    0, // TCP
    1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9,
];

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn the_type_of_service_is_the_templates_and_ecn_the_segments() {
    for (addrs, l3) in [(V4, 14), (V6, 14)] {
        let template = template(addrs, None).with_tos(0xb9);
        let header = emit(&template, &seg(), 5);
        if addrs == V4 {
            assert_eq!(header[15], 0xb8 | 2);
            let mut sum = Checksum::new();
            sum.add(&header[l3..l3 + 20]);
            assert_eq!(sum.finish(), 0, "the header's checksum covers it");
        } else {
            assert_eq!(header[l3..l3 + 2], [0x6b, (0x8 | 2) << 4]);
        }
        assert_eq!(template.with_tos(0), super::tests::template(addrs, None));
        assert_eq!(template.dst_mac(), DST_MAC);
    }
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn known_answer() {
    let template = template(V4, None);
    let mut header = emit(&template, &seg(), 5);
    assert_eq!(header, KNOWN);
    let pseudo = template.pseudo_sum(32 + 5);
    let sum = tcp_checksum(pseudo, &header[34..], [&b"h"[..], b"", b"ell", b"o"]);
    assert_eq!(sum, 0x503b);
    write_tcp_checksum(&mut header, 34, sum);
    assert_eq!(header[50..52], [0x50, 0x3b]);
    // A NIC given the folded pseudo-header sum arrives at the same.
    write_tcp_checksum(&mut header, 34, pseudo.fold());
    let mut nic = Checksum::new();
    nic.add(&header[34..]);
    nic.add(b"hello");
    assert_eq!(nic.finish(), 0x503b);
    let template = self::template(V6, None);
    let header = emit(&template, &seg(), 5);
    assert_eq!(tcp_checksum(template.pseudo_sum(37), &header[54..], [&b"hello"[..]]), 0x6a39);
}

#[test]
fn fast_and_general_layout_are_the_same() {
    let template = template(V4, None);
    for (payload_len, ecn) in [(0, 0), (1, 1), (1448, 2), (8948, 3), (65535 - 52, 0)] {
        let seg = SegmentHead { ecn, ..seg() };
        let mut general = [0; 66];
        assert_eq!(template.emit_general(&mut general, &seg, payload_len), 66);
        assert_eq!(emit(&template, &seg, payload_len), general);
        assert!(Ipv4Header::parse(&[&general[14..], &std::vec![0; payload_len as usize]].concat(), true).is_ok());
    }
}

/// The incremental checksum against the full one, for every length and ECN there is.
#[test]
fn ipv4_checksum_for_every_length() {
    for destination in ["10.0.0.2", "255.255.255.254", "0.0.0.1"] {
        let template = template(("10.0.0.1", destination), None);
        let mut out = [0; 66];
        for payload_len in 0..=65535 - 52 {
            let seg = SegmentHead { ecn: payload_len as u8 & 3, ..seg() };
            assert_eq!(template.emit(&mut out, &seg, payload_len), 66);
            let mut sum = Checksum::new();
            sum.add(&out[14..34]);
            assert_eq!(sum.finish(), 0, "{destination} {payload_len}");
        }
    }
}

/// With the longest length there is, every sum that a template can have: among them those that carry twice.
#[test]
fn ipv4_checksum_for_every_sum() {
    let mut out = [0; 66];
    for low in 0..=u16::MAX {
        let [c, d] = low.to_be_bytes();
        let (src, dst) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, c, d]));
        let template = HeaderTemplate::new(SRC_MAC, DST_MAC, None, src, dst, 1, 2, 64).unwrap();
        for ecn in 0..4 {
            assert_eq!(template.emit(&mut out, &SegmentHead { ecn, ..seg() }, 65535 - 52), 66);
            let mut sum = Checksum::new();
            sum.add(&out[14..34]);
            assert_eq!(sum.finish(), 0, "{dst} {ecn}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn every_layout() {
    let syn = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some((1, 2)),
        ..TcpOptions::default()
    };
    let mut sack = TcpOptions { timestamps: Some((3, 4)), ..TcpOptions::default() };
    for left in [10, 30, 50] {
        assert!(sack.sack.push(SeqNum(left), SeqNum(left + 10)));
    }
    let heads = [
        (20, SegmentHead { ts: None, ..seg() }),
        (32, seg()),
        (40, SegmentHead { ts: Some((8, 8)), options: Some(&syn), flags: TcpFlags::SYN, ..seg() }),
        (60, SegmentHead { ts: None, options: Some(&sack), ecn: 3, ..seg() }),
    ];
    for addresses in [V4, V6] {
        for vlan in [None, Some(0xe123)] {
            let template = template(addresses, vlan);
            let l2 = if vlan.is_some() { 18 } else { 14 };
            let l3 = if addresses == V4 { 20 } else { 40 };
            assert_eq!(template.l2l3_len(), l2 + l3);
            for (tcp_len, head) in &heads {
                let out = emit(&template, head, 7);
                assert_eq!(out.len(), l2 + l3 + tcp_len);
                let ethernet = EthernetHeader::parse(&out).unwrap();
                assert_eq!((ethernet.src, ethernet.dst, ethernet.vlan), (SRC_MAC, DST_MAC, vlan));
                let packet = [&out[l2..], &[0; 7]].concat();
                if addresses == V4 {
                    let ip = Ipv4Header::parse(&packet, true).unwrap();
                    assert_eq!((ip.src.to_string(), ip.dst.to_string()), (V4.0.into(), V4.1.into()));
                    assert_eq!((ip.tos, ip.id, ip.dont_fragment, ip.ttl, ip.protocol), (head.ecn, 0, true, 64, 6));
                    assert_eq!(usize::from(ip.total_len), packet.len());
                } else {
                    let ip = Ipv6Header::parse(&packet).unwrap();
                    assert_eq!((ip.src.to_string(), ip.dst.to_string()), (V6.0.into(), V6.1.into()));
                    assert_eq!((ip.traffic_class, ip.flow_label, ip.hop_limit, ip.next_header), (head.ecn, 0, 64, 6));
                    assert_eq!(usize::from(ip.payload_len), packet.len() - 40);
                }
                let tcp = TcpHeader::parse(&packet[l3..]).unwrap();
                let expected = TcpHeader {
                    src_port: 40000,
                    dst_port: 80,
                    seq: head.seq,
                    ack: head.ack,
                    flags: head.flags,
                    window: 512,
                    urgent: 0,
                    header_len: *tcp_len as u8,
                };
                assert_eq!(tcp, expected);
                assert_eq!(packet[l3 + 16..l3 + 18], [0, 0], "the checksum is the caller's");
                let options = TcpOptions::parse(&packet[l3 + 20..l3 + tcp_len]).unwrap();
                let expected =
                    head.options.copied().unwrap_or(TcpOptions { timestamps: head.ts, ..TcpOptions::default() });
                assert_eq!(options, expected);
            }
        }
    }
    assert_eq!(template(V6, Some(1)).header_len(&heads[3].1), MAX_HEADER_LEN);
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn room_behind_the_header_is_left_alone() {
    for addresses in [V4, V6] {
        let template = template(addresses, Some(1));
        let mut out = [0xee; 128];
        let len = template.emit(&mut out, &seg(), 0);
        assert!(out[len..].iter().all(|&byte| byte == 0xee));
    }
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn pseudo_header_sums() {
    for (addresses, len) in [(V4, 0), (V4, 1500), (V4, 65515), (V6, 0), (V6, 65535)] {
        let mut full = Checksum::new();
        match (addresses.0.parse().unwrap(), addresses.1.parse().unwrap()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => full.add_pseudo_v4(src.octets(), dst.octets(), 6, len as u16),
            (IpAddr::V6(src), IpAddr::V6(dst)) => full.add_pseudo_v6(src.octets(), dst.octets(), 6, len),
            _ => unreachable!(),
        }
        assert_eq!(template(addresses, None).pseudo_sum(len).fold(), full.fold());
    }
}

#[test]
fn new_neighbour() {
    let mut template = template(V4, Some(5));
    let before = emit(&template, &seg(), 1);
    template.set_dst_mac(MacAddr([6; 6]));
    let after = emit(&template, &seg(), 1);
    assert_eq!(after[..6], [6; 6]);
    assert_eq!(after[6..], before[6..]);
}

#[test]
fn families_do_not_mix() {
    let (v4, v6) = ("10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
    for (src, dst) in [(v4, v6), (v6, v4)] {
        assert_eq!(HeaderTemplate::new(SRC_MAC, DST_MAC, None, src, dst, 1, 2, 64), Err(FamilyMismatch));
    }
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "no room"))]
fn no_room_writes_nothing() {
    let mut out = [0xee; 65];
    assert_eq!(template(V4, None).emit(&mut out, &seg(), 0), 0);
    assert_eq!(out, [0xee; 65]);
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "exceeds"))]
fn a_packet_beyond_the_length_field_is_refused() {
    let mut out = [0xee; 66];
    assert_eq!(template(V4, None).emit(&mut out, &seg(), 65535 - 51), 0);
    assert_eq!(out, [0xee; 66]);
}
