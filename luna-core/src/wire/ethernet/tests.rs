extern crate std;

use proptest::prelude::*;
use std::string::ToString;

use super::{EtherType, EthernetHeader, MacAddr, MacAddrError};
use crate::wire::ParseError;

const DST: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 2]);
const SRC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 1]);

#[test]
fn untagged() {
    let frame = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45];
    let header = EthernetHeader::parse(&frame).unwrap();
    assert_eq!(header, EthernetHeader { dst: DST, src: SRC, vlan: None, ethertype: EtherType::Ipv4, header_len: 14 });
    let mut out = [0xaa; 15];
    assert_eq!(header.emit(&mut out), 14);
    assert_eq!(out[..14], frame[..14]);
    assert_eq!(out[14], 0xaa, "wrote behind the header");
}

#[test]
fn tagged() {
    let frame = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0x00, 0x60, 0x2a, 0x86, 0xdd];
    let header = EthernetHeader::parse(&frame).unwrap();
    assert_eq!((header.vlan, header.ethertype, header.header_len), (Some(0x602a), EtherType::Ipv6, 18));
    let mut out = [0; 18];
    assert_eq!(header.emit(&mut out), 18);
    assert_eq!(out, frame);
    for len in 0..18 {
        assert_eq!(EthernetHeader::parse(&frame[..len]), Err(ParseError::Short), "{len}");
    }
}

#[test]
fn stacked_tags_and_lengths_are_other() {
    let mut frame = [0; 18];
    frame[12..].copy_from_slice(&[0x81, 0, 0, 1, 0x81, 0]);
    assert_eq!(EthernetHeader::parse(&frame).unwrap().ethertype, EtherType::Other(0x8100));
    frame[12..14].copy_from_slice(&[0x88, 0xa8]);
    assert_eq!(EthernetHeader::parse(&frame).unwrap().ethertype, EtherType::Other(0x88a8));
    frame[12..14].copy_from_slice(&[0, 46]);
    assert_eq!(EthernetHeader::parse(&frame).unwrap().ethertype, EtherType::Other(46));
}

#[test]
fn mac_text() {
    let mac: MacAddr = "02:aB:00:ff:10:9c".parse().unwrap();
    assert_eq!(mac, MacAddr([0x02, 0xab, 0, 0xff, 0x10, 0x9c]));
    assert_eq!(mac.to_string(), "02:ab:00:ff:10:9c");
    for bad in [
        "",
        "02",
        "02:00:00:00:00",
        "02:00:00:00:00:00:00",
        "02:00:00:00:00:0",
        "+2:00:00:00:00:00",
        "02-00-00-00-00-00",
        "0g:00:00:00:00:00",
        "02:00:00:00:00:00:",
        "é:00:00:00:00:00",
    ] {
        assert_eq!(bad.parse::<MacAddr>(), Err(MacAddrError), "{bad}");
    }
}

#[test]
fn mac_kinds() {
    assert!(MacAddr::BROADCAST.is_multicast() && !MacAddr::BROADCAST.is_unicast());
    assert!(MacAddr([0x01, 0, 0x5e, 0, 0, 1]).is_multicast());
    assert!(SRC.is_unicast() && !SRC.is_multicast());
    assert!(!MacAddr::default().is_unicast());
}

proptest! {
    #[test]
    fn round_trip(dst: [u8; 6], src: [u8; 6], vlan: Option<u16>, ethertype: u16) {
        // A second tag would be read as the first.
        prop_assume!(vlan.is_some() || ethertype != 0x8100);
        let header = EthernetHeader::new(MacAddr(dst), MacAddr(src), vlan, EtherType::from(ethertype));
        let mut out = [0; 18];
        let len = header.emit(&mut out);
        prop_assert_eq!(EthernetHeader::parse(&out[..len]), Ok(header));
        prop_assert_eq!(MacAddr(src).to_string().parse::<MacAddr>(), Ok(MacAddr(src)));
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(header) = EthernetHeader::parse(&bytes) {
            prop_assert!(usize::from(header.header_len) <= bytes.len());
        }
    }
}
