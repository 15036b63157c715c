extern crate std;

use proptest::prelude::*;
use std::format;

use super::{TcpFlags, TcpHeader};
use crate::wire::{ParseError, SeqNum};

const KNOWN: [u8; 24] = [
    0xc0, 0x01, 0x1f, 0x90, 0x01, 0x02, 0x03, 0x04, 0xa1, 0xb2, 0xc3, 0xd4, 0x60, 0x18, 0x72, 0x10, 0xde, 0xad, 0x00,
    0x05, 1, 1, 1, 0,
];

#[test]
fn known_answer() {
    let header = TcpHeader::parse(&KNOWN).unwrap();
    assert_eq!(
        header,
        TcpHeader {
            src_port: 0xc001,
            dst_port: 8080,
            seq: SeqNum(0x0102_0304),
            ack: SeqNum(0xa1b2_c3d4),
            flags: TcpFlags::PSH | TcpFlags::ACK,
            window: 0x7210,
            urgent: 5,
            header_len: 24,
        }
    );
    let mut out = [0xee; 21];
    assert_eq!(header.emit(&mut out), 20);
    let mut expected = KNOWN;
    expected[16..18].fill(0);
    assert_eq!(out[..20], expected[..20]);
    assert_eq!(out[20], 0xee, "wrote behind the header");
}

#[test]
fn lengths() {
    for len in 0..20 {
        assert_eq!(TcpHeader::parse(&KNOWN[..len]), Err(ParseError::Short), "{len}");
    }
    for len in 20..24 {
        assert_eq!(TcpHeader::parse(&KNOWN[..len]), Err(ParseError::BadDataOffset), "{len}");
    }
    for offset in 0..16u8 {
        let mut bytes = [0; 60];
        bytes[12] = offset << 4 | 0x0f;
        let parsed = TcpHeader::parse(&bytes).map(|header| header.header_len);
        assert_eq!(parsed, if offset < 5 { Err(ParseError::BadDataOffset) } else { Ok(offset * 4) });
    }
}

#[test]
fn flags() {
    let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
    assert!(syn_ack.contains(TcpFlags::SYN) && syn_ack.contains(syn_ack) && !syn_ack.contains(TcpFlags::FIN));
    assert!(
        !TcpFlags::SYN.contains(syn_ack) && TcpFlags::SYN.intersects(syn_ack) && !TcpFlags::FIN.intersects(syn_ack)
    );
    assert!(syn_ack.syn() && syn_ack.ack() && !syn_ack.fin());
    assert_eq!(syn_ack.without(TcpFlags::ACK), TcpFlags::SYN);
    assert_eq!(syn_ack & TcpFlags::ACK, TcpFlags::ACK);
    assert!(TcpFlags::NONE.is_empty() && !syn_ack.is_empty());
    assert_eq!(format!("{syn_ack:?} {:?}", TcpFlags::NONE), "SYN|ACK -");
    let mut flags = TcpFlags::NONE;
    flags.set_cwr(true);
    flags |= TcpFlags::ECE;
    assert_eq!(flags.bits(), 0xc0);
    // The constants and the named bits agree.
    let named = |bits| {
        let f = TcpFlags::from_bits(bits);
        [f.fin(), f.syn(), f.rst(), f.psh(), f.ack(), f.urg(), f.ece(), f.cwr()]
    };
    use TcpFlags as F;
    let order = [F::FIN, F::SYN, F::RST, F::PSH, F::ACK, F::URG, F::ECE, F::CWR];
    for (at, flag) in order.iter().enumerate() {
        let mut expected = [false; 8];
        expected[at] = true;
        assert_eq!(named(flag.bits()), expected);
    }
}

proptest! {
    #[test]
    fn round_trip(ports: (u16, u16), seq: u32, ack: u32, flags: u8, window: u16, urgent: u16, words in 5u8..=15) {
        let header = TcpHeader {
            src_port: ports.0, dst_port: ports.1, seq: SeqNum(seq), ack: SeqNum(ack), flags: TcpFlags::from_bits(flags),
            window, urgent, header_len: words * 4,
        };
        let mut out = [0; 60];
        prop_assert_eq!(header.emit(&mut out), 20);
        prop_assert_eq!(TcpHeader::parse(&out), Ok(header));
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
        if let Ok(header) = TcpHeader::parse(&bytes) {
            prop_assert!((20..=60).contains(&header.header_len) && usize::from(header.header_len) <= bytes.len());
        }
    }
}
