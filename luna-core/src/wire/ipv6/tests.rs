extern crate std;

use core::net::Ipv6Addr;
use proptest::prelude::*;
use std::vec::Vec;

use super::{Ipv6Header, MAX_EXTENSIONS};
use crate::wire::ParseError;

/// A packet whose payload is `payload`, announced by `next`.
fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = std::vec![0x6a, 0xb1, 0x23, 0x45];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

/// Extension headers given as (kind, bytes behind the next-header byte), then 5 bytes of protocol `upper`.
fn extended(extensions: &[(u8, &[u8])], upper: u8) -> Result<Ipv6Header, ParseError> {
    let mut payload = Vec::new();
    for (nth, (_, body)) in extensions.iter().enumerate() {
        payload.push(extensions.get(nth + 1).map_or(upper, |next| next.0));
        payload.extend(*body);
    }
    payload.extend([1, 2, 3, 4, 5]);
    Ipv6Header::parse(&packet(extensions.first().map_or(upper, |first| first.0), &payload))
}

const PADDED: &[u8] = &[0, 1, 4, 0, 0, 0, 0];

#[test]
fn known_answer() {
    let bytes = packet(6, &[9; 8]);
    let header = Ipv6Header::parse(&bytes).unwrap();
    assert_eq!(
        header,
        Ipv6Header {
            src: "fe80::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            next_header: 6,
            hop_limit: 64,
            traffic_class: 0xab,
            flow_label: 0x12345,
            payload_offset: 40,
            payload_len: 8,
        }
    );
    let mut out = [0; 40];
    assert_eq!(header.emit(&mut out), 40);
    assert_eq!(out, bytes[..40]);
}

#[test]
fn lengths() {
    let bytes = packet(6, &[9; 8]);
    for len in 0..40 {
        assert_eq!(Ipv6Header::parse(&bytes[..len]), Err(ParseError::Short), "{len}");
    }
    for len in 40..48 {
        assert_eq!(Ipv6Header::parse(&bytes[..len]), Err(ParseError::BadTotalLen), "{len}");
    }
    let mut padded = bytes.clone();
    padded.extend([0; 6]);
    assert_eq!(Ipv6Header::parse(&padded), Ipv6Header::parse(&bytes));
    let mut v4 = bytes;
    v4[0] = 0x45;
    assert_eq!(Ipv6Header::parse(&v4), Err(ParseError::BadVersion));
}

#[test]
fn extensions_are_skipped() {
    let header = extended(&[(0, PADDED)], 6).unwrap();
    assert_eq!((header.next_header, header.payload_offset, header.payload_len), (6, 48, 5));
    let long = {
        let mut long = std::vec![1, 1, 12];
        long.extend([0; 12]);
        long
    };
    // Routing of another type with no segments left.
    let routing: &[u8] = &[0, 4, 0, 0, 0, 0, 0];
    let header = extended(&[(0, PADDED), (60, &long), (43, routing), (60, PADDED)], 6).unwrap();
    assert_eq!((header.next_header, header.payload_offset, header.payload_len), (6, 40 + 8 + 16 + 8 + 8, 5));
    // Single padding bytes, and an unknown option that may be skipped.
    assert!(extended(&[(60, &[0, 0, 0, 0x1e, 2, 7, 7])], 6).is_ok());
    assert_eq!(extended(&[], 17).unwrap().next_header, 17);
}

#[test]
fn extensions_that_are_refused() {
    assert_eq!(extended(&[(44, PADDED)], 6), Err(ParseError::Fragment));
    assert_eq!(extended(&[(0, PADDED), (44, PADDED)], 6), Err(ParseError::Fragment));
    assert_eq!(extended(&[(60, PADDED), (0, PADDED)], 6), Err(ParseError::BadExtension), "hop-by-hop second");
    assert_eq!(extended(&[(43, &[0, 0, 0, 0, 0, 0, 0])], 6), Err(ParseError::RoutingHeader), "type 0");
    assert_eq!(extended(&[(43, &[0, 4, 1, 0, 0, 0, 0])], 6), Err(ParseError::RoutingHeader), "segments left");
    for kind in [0x40, 0x80, 0xc2] {
        assert_eq!(extended(&[(0, &[0, kind, 4, 0, 0, 0, 0])], 6), Err(ParseError::BadExtension), "option {kind:#x}");
    }
    assert_eq!(extended(&[(60, &[0, 1, 5, 0, 0, 0, 0])], 6), Err(ParseError::BadExtension), "option past the end");
    assert_eq!(extended(&[(60, &[0, 0, 0, 0, 0, 0, 1])], 6), Err(ParseError::BadExtension), "option without length");
}

#[test]
fn extensions_are_bounded() {
    let full = [(60, PADDED); MAX_EXTENSIONS];
    assert_eq!(extended(&full, 6).unwrap().next_header, 6);
    let over = [(60, PADDED); MAX_EXTENSIONS + 1];
    assert_eq!(extended(&over, 6), Err(ParseError::TooManyExtensions));
    let mut late = over;
    late[MAX_EXTENSIONS] = (44, PADDED);
    assert_eq!(extended(&late, 6), Err(ParseError::Fragment));
}

#[test]
fn extension_lengths() {
    // Announced, but the payload is empty, one byte, or ends inside.
    for payload in [&[][..], &[6], &[6, 0, 1, 4, 0, 0, 0], &[6, 1, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]] {
        for kind in [0, 43, 60] {
            assert_eq!(Ipv6Header::parse(&packet(kind, payload)), Err(ParseError::Short), "{kind} {payload:?}");
        }
    }
    // The longest chain there can be keeps its offsets in 16 bits.
    let mut longest = std::vec![255];
    for len in [253, 253, 253, 253, 253, 253, 253, 253, 4] {
        longest.extend([1, len]);
        longest.extend(std::vec![0; usize::from(len)]);
    }
    assert_eq!(longest.len(), 2047);
    let extensions: Vec<(u8, &[u8])> = (0..MAX_EXTENSIONS).map(|_| (60, &longest[..])).collect();
    let header = extended(&extensions, 6).unwrap();
    assert_eq!(usize::from(header.payload_offset), 40 + 2048 * MAX_EXTENSIONS);
    assert_eq!(header.payload_len, 5);
}

proptest! {
    #[test]
    fn round_trip(src: [u8; 16], dst: [u8; 16], hop_limit: u8, traffic_class: u8, flow_label in 0u32..1 << 20, len in 0u16..100) {
        let header = Ipv6Header {
            src: src.into(), dst: dst.into(), next_header: 6, hop_limit, traffic_class, flow_label, payload_offset: 40,
            payload_len: len,
        };
        let mut out = [0; 140];
        prop_assert_eq!(header.emit(&mut out), 40);
        prop_assert_eq!(Ipv6Header::parse(&out), Ok(header));
    }

    #[test]
    fn random_extensions(next in prop::sample::select(&[0u8, 43, 44, 60, 6][..]), payload in proptest::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(&[0u8, 1, 43, 60, 6][..])], 0..120)) {
        if let Ok(header) = Ipv6Header::parse(&packet(next, &payload)) {
            prop_assert_eq!(usize::from(header.payload_offset) + usize::from(header.payload_len), 40 + payload.len());
        }
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Ipv6Header::parse(&bytes);
    }
}
