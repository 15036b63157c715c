extern crate std;

use core::net::IpAddr;
use proptest::prelude::*;
use std::vec::Vec;

use super::{ChecksumVerdict, PlainSegment, RxChecksum, TcpPacket, continues};
use crate::wire::{
    HeaderTemplate, MacAddr, ParseError, SegmentHead, SeqNum, TcpFlags, fixed_timestamps, tcp_checksum,
    write_tcp_checksum,
};

/// 10.0.0.1:40000 to 10.0.0.2:80, PSH|ACK with timestamps, "hello" and one byte of padding. The checksums were worked out
/// apart from this code.
const V4_FRAME: [u8; 72] = [
    0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
    0x45, 0x02, 0x00, 0x39, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x26, 0xbb, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    0x9c, 0x40, 0x00, 0x50, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x20, 0x00, 0x80, 0x18, 0x02, 0x00, 0x50, 0x3b, 0,
    0, // TCP
    1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, // options
    b'h', b'e', b'l', b'l', b'o', 0xaa,
];

/// The same between fd00::1 and fd00::2, without padding.
fn v6_frame() -> Vec<u8> {
    let mut frame = V4_FRAME[..12].to_vec();
    frame.extend([0x86, 0xdd, 0x60, 0x20, 0, 0, 0, 37, 6, 64]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    frame.extend(&V4_FRAME[34..71]);
    frame[54 + 16..54 + 18].copy_from_slice(&[0x6a, 0x39]);
    frame
}

fn tagged(frame: &[u8], tci: u16) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    tagged.extend([0x81, 0x00]);
    tagged.extend(tci.to_be_bytes());
    tagged.extend(&frame[12..]);
    tagged
}

fn check(frame: &[u8], packet: &TcpPacket, src: &str, dst: &str) {
    assert_eq!((packet.src_mac, packet.dst_mac), (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])));
    assert_eq!((packet.src, packet.dst), (src.parse::<IpAddr>().unwrap(), dst.parse::<IpAddr>().unwrap()));
    assert_eq!((packet.tos, packet.ecn()), (2, 2));
    let tcp = packet.tcp;
    assert_eq!((tcp.src_port, tcp.dst_port, tcp.seq, tcp.ack), (40000, 80, SeqNum(0x1000), SeqNum(0x2000)));
    assert_eq!((tcp.flags, tcp.window, tcp.urgent, tcp.header_len), (TcpFlags::PSH | TcpFlags::ACK, 512, 0, 32));
    assert_eq!(packet.payload(frame), b"hello");
    assert_eq!(fixed_timestamps(packet.options(frame)), Some((7, 9)));
    assert_eq!(packet.fixed_timestamps(frame), Some((7, 9)));
    assert_eq!(packet.segment_len(), 5);
    assert!(packet.is_unicast());
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn known_frames() {
    for rx in [RxChecksum::GOOD, RxChecksum::UNKNOWN] {
        let packet = TcpPacket::parse_frame(&V4_FRAME, rx).unwrap();
        check(&V4_FRAME, &packet, "10.0.0.1", "10.0.0.2");
        assert_eq!((packet.vlan, packet.payload_offset), (None, 66));
        let frame = tagged(&V4_FRAME, 0x2005);
        let packet = TcpPacket::parse_frame(&frame, rx).unwrap();
        check(&frame, &packet, "10.0.0.1", "10.0.0.2");
        assert_eq!((packet.vlan, packet.payload_offset), (Some(0x2005), 70));
        let frame = v6_frame();
        let packet = TcpPacket::parse_frame(&frame, rx).unwrap();
        check(&frame, &packet, "fd00::1", "fd00::2");
        assert_eq!((packet.vlan, packet.payload_offset), (None, 86));
        let frame = tagged(&frame, 7);
        let packet = TcpPacket::parse_frame(&frame, rx).unwrap();
        check(&frame, &packet, "fd00::1", "fd00::2");
        assert_eq!((packet.vlan, packet.payload_offset), (Some(7), 90));
    }
}

/// Header prediction without the port's word: any damaged bit is seen, by the reading or by the checksums.
#[test]
fn plain_segments_are_verified_by_software() {
    let good = PlainSegment::read(&V4_FRAME).unwrap();
    assert_eq!((good.payload_len, good.seq, good.tsval), (5, SeqNum(0x1000), 7));
    let verdict = |ip, l4| PlainSegment::checksums_hold(&V4_FRAME, RxChecksum { ip, l4 });
    let verdicts = [ChecksumVerdict::Good, ChecksumVerdict::Unknown, ChecksumVerdict::Bad];
    for ip in verdicts {
        for l4 in verdicts {
            assert_eq!(verdict(ip, l4), ip != ChecksumVerdict::Bad && l4 != ChecksumVerdict::Bad, "{ip:?} {l4:?}");
        }
    }
    // Behind the Ethernet header, which no checksum covers, and before the padding.
    for bit in 14 * 8..71 * 8 {
        let mut frame = V4_FRAME;
        frame[bit / 8] ^= 1 << (bit % 8);
        let taken = PlainSegment::read(&frame).is_some() && PlainSegment::checksums_hold(&frame, RxChecksum::UNKNOWN);
        assert!(!taken, "bit {bit}");
    }
    let mut cut = V4_FRAME;
    cut[71] = 0;
    assert!(PlainSegment::checksums_hold(&cut, RxChecksum::UNKNOWN), "padding does not count");
}

/// What a run of segments may differ in: sequence number, PSH, TSecr, checksums and identification; nothing else.
#[test]
fn only_what_differs_in_its_place_alone_continues_a_run() {
    let next = |change: &dyn Fn(&mut [u8])| {
        let mut frame = V4_FRAME;
        frame[38..42].copy_from_slice(&0x1005u32.to_be_bytes());
        change(&mut frame);
        continues(&V4_FRAME, &frame, SeqNum(0x1005))
    };
    assert_eq!(next(&|_| ()), Some(5));
    assert_eq!(continues(&V4_FRAME, &V4_FRAME, SeqNum(0x1005)), None, "the same segment again");
    // TSecr among them: header prediction does not read it.
    let free = |i: usize| i < 12 || matches!(i, 16..20 | 24..26 | 50..54 | 62..66) || i >= 66;
    for bit in 0..66 * 8 {
        let push = bit == 47 * 8 + 3;
        let taken = next(&|frame| frame[bit / 8] ^= 1 << (bit % 8)).is_some();
        if push || free(bit / 8) && !matches!(bit / 8, 16 | 17) {
            assert!(taken, "bit {bit}");
        } else if !free(bit / 8) {
            assert!(!taken, "bit {bit}");
        }
    }
    assert_eq!(next(&|frame| frame[16..18].copy_from_slice(&52u16.to_be_bytes())), None, "a bare acknowledgment");
    assert_eq!(next(&|frame| frame[16..18].copy_from_slice(&53u16.to_be_bytes())), Some(1), "a shorter one");
    assert_eq!(next(&|frame| frame[16..18].copy_from_slice(&9000u16.to_be_bytes())), None, "longer than the frame");
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn bare_ip() {
    for frame in [V4_FRAME.to_vec(), v6_frame()] {
        let whole = TcpPacket::parse_frame(&frame, RxChecksum::UNKNOWN).unwrap();
        let bare = TcpPacket::parse_ip(&frame[14..], RxChecksum::UNKNOWN).unwrap();
        assert_eq!(bare.payload(&frame[14..]), b"hello");
        assert_eq!(bare.options(&frame[14..]), whole.options(&frame));
        let none = MacAddr::default();
        let expected = TcpPacket { src_mac: none, dst_mac: none, payload_offset: whole.payload_offset - 14, ..whole };
        assert_eq!(bare, expected);
    }
    assert_eq!(TcpPacket::parse_ip(&[], RxChecksum::GOOD), Err(ParseError::Short));
    assert_eq!(TcpPacket::parse_ip(&[0x55; 40], RxChecksum::GOOD), Err(ParseError::BadVersion));
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn verdicts() {
    use ChecksumVerdict::{Bad, Good, Unknown};
    let mut bad_ip = V4_FRAME;
    bad_ip[24] ^= 1;
    let mut bad_tcp = V4_FRAME;
    bad_tcp[70] ^= 1;
    let parse = |frame: &[u8], ip, l4| {
        let rx = RxChecksum { ip, l4 };
        let parsed = TcpPacket::parse_frame(frame, rx);
        assert_eq!(TcpPacket::parse_layers(frame, rx), parsed);
        parsed.map(|packet| packet.payload_len)
    };
    assert_eq!(parse(&V4_FRAME, Bad, Good), Err(ParseError::BadIpChecksum));
    assert_eq!(parse(&V4_FRAME, Good, Bad), Err(ParseError::BadTcpChecksum));
    assert_eq!(parse(&bad_ip, Good, Good), Ok(5), "the NIC is believed");
    assert_eq!(parse(&bad_tcp, Good, Good), Ok(5), "the NIC is believed");
    assert_eq!(parse(&bad_ip, Unknown, Good), Err(ParseError::BadIpChecksum));
    assert_eq!(parse(&bad_tcp, Good, Unknown), Err(ParseError::BadTcpChecksum));
    assert_eq!(parse(&bad_ip, Good, Unknown), Ok(5));
    assert_eq!(parse(&bad_tcp, Unknown, Good), Ok(5));
    let mut bad_v6 = v6_frame();
    bad_v6[60] ^= 0x80;
    assert_eq!(parse(&bad_v6, Good, Unknown), Err(ParseError::BadTcpChecksum));
    assert_eq!(parse(&v6_frame(), Bad, Unknown), Ok(5), "there is no IPv6 header checksum");
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn each_bit_of_the_segment_is_under_the_checksum() {
    for frame in [V4_FRAME[..71].to_vec(), v6_frame()] {
        let tcp = frame.len() - 37;
        // From the source address on, the data offset aside: that is another error.
        for bit in (tcp - 8) * 8..frame.len() * 8 {
            let mut frame = frame.clone();
            frame[bit / 8] ^= 0x80 >> (bit % 8);
            if bit / 8 == tcp + 12 && bit % 8 < 4 {
                continue;
            }
            let rx = RxChecksum { ip: ChecksumVerdict::Good, l4: ChecksumVerdict::Unknown };
            assert_eq!(TcpPacket::parse_frame(&frame, rx), Err(ParseError::BadTcpChecksum), "bit {bit}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn every_refusal() {
    let change = |at: usize, value: u8| {
        let mut frame = V4_FRAME;
        frame[at] = value;
        let plain = TcpPacket::parse_frame(&frame, RxChecksum::GOOD).map(|packet| packet.payload_len);
        // Layer by layer it comes to the same.
        assert_eq!(TcpPacket::parse_layers(&frame, RxChecksum::GOOD).map(|packet| packet.payload_len), plain);
        plain
    };
    assert_eq!(change(12, 0x09), Err(ParseError::NotIp));
    assert_eq!(change(13, 0x06), Err(ParseError::NotIp), "ARP");
    assert_eq!(change(14, 0x65), Err(ParseError::BadVersion));
    assert_eq!(change(14, 0x44), Err(ParseError::BadHeaderLen));
    assert_eq!(change(17, 19), Err(ParseError::BadTotalLen));
    assert_eq!(change(17, 20), Err(ParseError::Short), "no TCP header");
    assert_eq!(change(17, 39), Err(ParseError::Short), "half a TCP header");
    assert_eq!(change(17, 51), Err(ParseError::BadDataOffset), "options outside the packet");
    assert_eq!(change(17, 52), Ok(0));
    assert_eq!(change(17, 58), Ok(6), "all of the frame");
    assert_eq!(change(17, 59), Err(ParseError::BadTotalLen));
    assert_eq!(change(16, 0xff), Err(ParseError::BadTotalLen));
    for bit in 0..14 {
        let (at, value) = if bit < 8 { (21, 1 << bit) } else { (20, 1 << (bit - 8)) };
        assert_eq!(change(at, value), Err(ParseError::Fragment), "bit {bit}");
    }
    assert_eq!(change(23, 17), Err(ParseError::NotTcp));
    for offset in 0..16u8 {
        let expected = match offset {
            0..5 => Err(ParseError::BadDataOffset),
            5..=9 => Ok(37 - u16::from(offset) * 4),
            _ => Err(ParseError::BadDataOffset),
        };
        assert_eq!(change(46, offset << 4), expected, "data offset {offset}");
    }
    for len in 0..71 {
        let expected = if len < 34 { ParseError::Short } else { ParseError::BadTotalLen };
        assert_eq!(TcpPacket::parse_frame(&V4_FRAME[..len], RxChecksum::GOOD), Err(expected), "{len}");
    }
    let mut wrong = v6_frame();
    wrong[20] = 58;
    assert_eq!(TcpPacket::parse_frame(&wrong, RxChecksum::GOOD), Err(ParseError::NotTcp));
    wrong[12..14].copy_from_slice(&[8, 0]);
    assert_eq!(TcpPacket::parse_frame(&wrong, RxChecksum::GOOD), Err(ParseError::BadVersion));
    let twice = tagged(&tagged(&V4_FRAME, 1), 2);
    assert_eq!(TcpPacket::parse_frame(&twice, RxChecksum::GOOD), Err(ParseError::NotIp));
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn ip_options_and_extension_headers() {
    // IPv4 with 4 bytes of options.
    let mut frame = V4_FRAME[..34].to_vec();
    frame.extend([1, 1, 1, 0]);
    frame.extend(&V4_FRAME[34..71]);
    frame[14] = 0x46;
    frame[17] += 4;
    let rx = RxChecksum { ip: ChecksumVerdict::Good, l4: ChecksumVerdict::Unknown };
    let packet = TcpPacket::parse_frame(&frame, rx).unwrap();
    check(&frame, &packet, "10.0.0.1", "10.0.0.2");
    assert_eq!(packet.payload_offset, 70);
    // IPv6 with hop-by-hop and destination options.
    let v6 = v6_frame();
    let mut frame = v6[..54].to_vec();
    frame.extend([60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]);
    frame.extend(&v6[54..]);
    frame[19] += 16;
    frame[20] = 0;
    let packet = TcpPacket::parse_frame(&frame, RxChecksum::UNKNOWN).unwrap();
    check(&frame, &packet, "fd00::1", "fd00::2");
    assert_eq!(packet.payload_offset, 102);
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn groups_are_not_unicast() {
    let change = |at: usize, bytes: &[u8]| {
        let mut frame = V4_FRAME;
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        TcpPacket::parse_frame(&frame, RxChecksum::GOOD).unwrap().is_unicast()
    };
    assert!(change(0, &[2]));
    assert!(!change(0, &[0xff; 6]) && !change(0, &[1, 0, 0x5e]));
    assert!(!change(30, &[255; 4]) && !change(30, &[224, 0, 0, 1]) && !change(30, &[0; 4]));
    assert!(!change(26, &[255; 4]) && !change(26, &[239, 1, 1, 1]) && !change(26, &[0; 4]));
    for (at, first) in [(22, 0xff), (38, 0xff)] {
        let mut frame = v6_frame();
        frame[at] = first;
        assert!(!TcpPacket::parse_frame(&frame, RxChecksum::GOOD).unwrap().is_unicast());
    }
}

#[test]
fn errors_have_distinct_names_and_places() {
    assert_eq!(ParseError::ALL.len(), ParseError::COUNT);
    for (at, error) in ParseError::ALL.iter().enumerate() {
        assert_eq!(error.index(), at);
        assert!(ParseError::ALL.iter().filter(|other| other.as_str() == error.as_str()).count() == 1);
        assert_eq!(std::format!("{error}"), error.as_str());
    }
}

/// Whatever was parsed lies within the frame.
fn assert_inside(frame: &[u8], packet: &TcpPacket) {
    assert_eq!(packet.payload(frame).len(), usize::from(packet.payload_len));
    assert_eq!(packet.options(frame).len(), usize::from(packet.tcp.header_len) - 20);
    assert_eq!(packet.src.is_ipv4(), packet.dst.is_ipv4());
    assert_eq!(packet.fixed_timestamps(frame), fixed_timestamps(packet.options(frame)));
}

fn verdict() -> impl Strategy<Value = ChecksumVerdict> {
    prop::sample::select(&[ChecksumVerdict::Good, ChecksumVerdict::Unknown, ChecksumVerdict::Bad][..])
}

proptest! {
    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), ip in verdict(), l4 in verdict()) {
        let rx = RxChecksum { ip, l4 };
        if let Ok(packet) = TcpPacket::parse_frame(&bytes, rx) {
            assert_inside(&bytes, &packet);
        }
        if let Ok(packet) = TcpPacket::parse_ip(&bytes, rx) {
            assert_inside(&bytes, &packet);
        }
    }

    /// Frames that are nearly right: a few bytes changed, cut or padded. The plain path and the layers agree on every one.
    #[test]
    fn mutants(v6: bool, tag: Option<u16>, changes in proptest::collection::vec((0usize..120, any::<u8>()), 0..4), len in 0usize..120,
        ip in verdict(), l4 in verdict()) {
        let mut frame = if v6 { v6_frame() } else { V4_FRAME.to_vec() };
        if let Some(tci) = tag {
            frame = tagged(&frame, tci);
        }
        frame.resize(if len < 60 { frame.len() } else { len }, 0);
        for (at, value) in changes {
            let at = at % frame.len();
            frame[at] = value;
        }
        let rx = RxChecksum { ip, l4 };
        prop_assert_eq!(TcpPacket::parse_frame(&frame, rx), TcpPacket::parse_layers(&frame, rx));
        let general = TcpPacket::parse_layers(&frame, RxChecksum::GOOD);
        prop_assert_eq!(TcpPacket::parse_frame(&frame, RxChecksum::GOOD), general);
        if let Ok(packet) = general {
            assert_inside(&frame, &packet);
        }
        // Software may find more wrong with it, but nothing else in it.
        if let Ok(packet) = TcpPacket::parse_frame(&frame, RxChecksum::UNKNOWN) {
            prop_assert_eq!(Ok(packet), general);
        }
    }

    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn what_is_built_is_parsed(v6: bool, vlan: Option<u16>, addresses: ([u8; 16], [u8; 16]), ports: (u16, u16), seq: u32, ack: u32,
        flags: u8, window: u16, ts: Option<(u32, u32)>, ecn in 0u8..4, payload in proptest::collection::vec(any::<u8>(), 0..200), cut: usize) {
        let address = |bytes: [u8; 16]| if v6 { IpAddr::from(bytes) } else { IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]) };
        let (src, dst) = (address(addresses.0), address(addresses.1));
        let macs = (MacAddr([2, 9, 8, 7, 6, 5]), MacAddr([2, 1, 2, 3, 4, 5]));
        let template = HeaderTemplate::new(macs.0, macs.1, vlan, src, dst, ports.0, ports.1, 64).unwrap();
        let seg = SegmentHead { seq: SeqNum(seq), ack: SeqNum(ack), flags: TcpFlags::from_bits(flags), window, ts, ecn, options: None };
        let mut frame = std::vec![0xee; template.header_len(&seg)];
        prop_assert_eq!(template.emit(&mut frame, &seg, payload.len() as u32), frame.len());
        let l4 = template.l2l3_len();
        let (one, two) = payload.split_at(cut % (payload.len() + 1));
        let pseudo = template.pseudo_sum((frame.len() - l4 + payload.len()) as u32);
        let sum = tcp_checksum(pseudo, &frame[l4..], [one, two]);
        write_tcp_checksum(&mut frame, l4, sum);
        frame.extend(&payload);
        let packet = TcpPacket::parse_frame(&frame, RxChecksum::UNKNOWN).unwrap();
        prop_assert_eq!(packet.payload(&frame), payload);
        prop_assert_eq!((packet.src_mac, packet.dst_mac, packet.vlan), (macs.0, macs.1, vlan));
        prop_assert_eq!((packet.src, packet.dst, packet.tos), (src, dst, ecn));
        let tcp = packet.tcp;
        prop_assert_eq!((tcp.src_port, tcp.dst_port, tcp.seq.0, tcp.ack.0), (ports.0, ports.1, seq, ack));
        prop_assert_eq!((tcp.flags.bits(), tcp.window, tcp.urgent), (flags, window, 0));
        prop_assert_eq!(fixed_timestamps(packet.options(&frame)), ts);
    }
}
