extern crate std;

use core::net::Ipv4Addr;
use proptest::prelude::*;

use super::Ipv4Header;
use crate::wire::ParseError;

/// The header that is everybody's example: its checksum is 0xb861.
const KNOWN: [u8; 20] = [
    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00,
    0xc7,
];

fn known_packet() -> [u8; 0x73] {
    let mut packet = [0; 0x73];
    packet[..20].copy_from_slice(&KNOWN);
    packet
}

#[test]
fn known_answer() {
    let header = Ipv4Header::parse(&known_packet(), true).unwrap();
    assert_eq!(
        header,
        Ipv4Header {
            src: Ipv4Addr::new(192, 168, 0, 1),
            dst: Ipv4Addr::new(192, 168, 0, 199),
            protocol: 17,
            ttl: 64,
            tos: 0,
            id: 0,
            header_len: 20,
            total_len: 0x73,
            dont_fragment: true,
        }
    );
    let mut out = [0; 20];
    assert_eq!(header.emit(&mut out), 20);
    assert_eq!(out, KNOWN);
}

#[test]
fn every_refusal() {
    let change = |at: usize, value: u8| {
        let mut packet = known_packet();
        packet[at] = value;
        Ipv4Header::parse(&packet, false)
    };
    assert_eq!(change(0, 0x65), Err(ParseError::BadVersion));
    assert_eq!(change(0, 0x44), Err(ParseError::BadHeaderLen));
    assert_eq!(change(3, 19), Err(ParseError::BadTotalLen));
    assert_eq!(change(3, 0x74), Err(ParseError::BadTotalLen));
    // The bits of the offset, then "more fragments".
    for bit in 0..14 {
        let (at, value) = if bit < 8 { (7, 1 << bit) } else { (6, 1 << (bit - 8)) };
        assert_eq!(change(at, value), Err(ParseError::Fragment), "bit {bit}");
    }
    assert!(change(6, 0x80).is_ok(), "the reserved bit is nobody's business");
    assert!(change(3, 0x14).is_ok(), "the rest is padding");
    for len in 0..20 {
        assert_eq!(Ipv4Header::parse(&KNOWN[..len], true), Err(ParseError::Short), "{len}");
    }
    assert_eq!(Ipv4Header::parse(&known_packet()[..0x72], true), Err(ParseError::BadTotalLen));
    let mut options = KNOWN;
    options[0] = 0x46;
    options[3] = 20;
    assert_eq!(Ipv4Header::parse(&options, false), Err(ParseError::BadHeaderLen), "options outside the packet");
}

#[test]
fn each_byte_is_under_the_checksum() {
    // Without what would be refused for itself: version and lengths (0, 2, 3).
    for at in [1].into_iter().chain(4..20) {
        let mut packet = known_packet();
        packet[at] ^= 0x80;
        assert_eq!(Ipv4Header::parse(&packet, true), Err(ParseError::BadIpChecksum), "byte {at}");
    }
    let mut shorter = known_packet();
    shorter[3] -= 1;
    assert_eq!(Ipv4Header::parse(&shorter, true), Err(ParseError::BadIpChecksum));
}

#[test]
fn options_are_skipped_and_summed() {
    let mut packet = [0; 30];
    packet[..20].copy_from_slice(&KNOWN);
    packet[0] = 0x46;
    packet[3] = 30;
    packet[20..24].copy_from_slice(&[1, 1, 1, 0]);
    // The sum changed by 0x0100 (header length), 30 - 0x73 (total length) and the options.
    assert_eq!(Ipv4Header::parse(&packet, true), Err(ParseError::BadIpChecksum));
    let mut sum = 0u32;
    packet[10..12].fill(0);
    for pair in packet[..24].chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let header = Ipv4Header::parse(&packet, true).unwrap();
    assert_eq!((header.header_len, header.total_len), (24, 30));
}

proptest! {
    #[test]
    fn round_trip(src: [u8; 4], dst: [u8; 4], protocol: u8, ttl: u8, tos: u8, id: u16, total_len in 20u16..60, df: bool) {
        let header = Ipv4Header {
            src: src.into(), dst: dst.into(), protocol, ttl, tos, id, header_len: 20, total_len, dont_fragment: df,
        };
        let mut out = [0; 60];
        prop_assert_eq!(header.emit(&mut out), 20);
        prop_assert_eq!(Ipv4Header::parse(&out, true), Ok(header));
        prop_assert!(out[20..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100), verify: bool) {
        let mut bytes = bytes;
        for force in [false, true] {
            // Past the first check in half of the cases.
            if force && let Some(first) = bytes.first_mut() {
                *first = *first & 0x0f | 0x40;
            }
            if let Ok(header) = Ipv4Header::parse(&bytes, verify) {
                prop_assert!(header.header_len >= 20 && u16::from(header.header_len) <= header.total_len);
                prop_assert!(usize::from(header.total_len) <= bytes.len());
            }
        }
    }
}
