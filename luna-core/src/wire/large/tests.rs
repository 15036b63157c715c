extern crate std;

use core::net::IpAddr;
use std::vec::Vec;

use super::LargePacket;
use crate::wire::{
    HeaderTemplate, MAX_HEADER_LEN, MacAddr, RxChecksum, SegmentHead, SeqNum, TcpFlags, TcpOptions, TcpPacket,
    write_tcp_checksum,
};

fn template(v6: bool, vlan: Option<u16>) -> HeaderTemplate {
    let (src, dst): (IpAddr, IpAddr) = match v6 {
        false => ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()),
        true => ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()),
    };
    let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
    HeaderTemplate::new(mac(1), mac(2), vlan, src, dst, 40000, 80, 64).unwrap()
}

fn emit(template: &HeaderTemplate, head: &SegmentHead<'_>, payload_len: u32) -> Vec<u8> {
    let mut out = std::vec![0; template.header_len(head)];
    assert_eq!(template.emit(&mut out, head, payload_len), out.len());
    let tcp_len = head.tcp_header_len() as u32 + payload_len;
    write_tcp_checksum(&mut out, template.l2l3_len(), template.pseudo_sum(tcp_len).fold());
    out
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn each_segments_headers_are_those_it_would_have_been_sent_with() {
    let with_sack = TcpOptions { timestamps: Some((7, 9)), mss: Some(1460), ..TcpOptions::default() };
    for (v6, vlan, options) in
        [(false, None, None), (false, Some(7), Some(&with_sack)), (true, None, Some(&with_sack)), (true, Some(7), None)]
    {
        let template = template(v6, vlan);
        let (mss, total) = (1448, 10 * 1448 + 17);
        let head = |at: u32, flags| SegmentHead {
            // The sequence space wraps within the frame.
            seq: SeqNum(u32::MAX - 4000) + at,
            ack: SeqNum(0x2000),
            flags,
            window: 512,
            ts: Some((7, 9)),
            ecn: 2,
            options,
        };
        let all = TcpFlags::ACK | TcpFlags::PSH | TcpFlags::FIN | TcpFlags::CWR;
        let whole = emit(&template, &head(0, all), total);
        let large = LargePacket::parse(&whole).unwrap();
        assert_eq!((large.header_len(), large.payload_len()), (whole.len(), total));
        assert!(large.ip_checksum_holds(&whole));
        let mut at = 0;
        while at < total {
            let (len, last) = ((total - at).min(mss), at + mss >= total);
            let mut header = whole.clone();
            assert!(large.cut(&mut header, at, len, last));
            let flags = TcpFlags::ACK
                | if at == 0 { TcpFlags::CWR } else { TcpFlags::NONE }
                | if last { TcpFlags::PSH | TcpFlags::FIN } else { TcpFlags::NONE };
            assert_eq!(header, emit(&template, &head(at, flags), len), "at {at}, IPv6 {v6}, {vlan:?}");
            // And they parse, the IPv4 checksum verified.
            header.resize(header.len() + len as usize, 0);
            let rx = RxChecksum { l4: crate::wire::ChecksumVerdict::Good, ..RxChecksum::UNKNOWN };
            let packet = TcpPacket::parse_frame(&header, rx).unwrap();
            assert_eq!(u32::from(packet.payload_len), len);
            at += len;
        }
    }
}

#[test]
fn what_is_no_whole_tcp_header_is_refused() {
    let template = template(false, None);
    let head = SegmentHead {
        seq: SeqNum(1),
        ack: SeqNum(2),
        flags: TcpFlags::ACK,
        window: 5,
        ts: Some((7, 9)),
        ecn: 0,
        options: None,
    };
    let whole = emit(&template, &head, 3000);
    for len in 0..whole.len() {
        assert_eq!(LargePacket::parse(&whole[..len]), None, "{len} bytes");
    }
    // Each byte, with each value: never a panic, and never a cut outside of what was given.
    for i in 12..whole.len() {
        for value in 0..=255 {
            let mut bent = whole.clone();
            bent[i] = value;
            if let Some(large) = LargePacket::parse(&bent) {
                assert!(large.header_len() <= bent.len());
                let mut short = bent.clone();
                short.truncate(large.header_len() - 1);
                assert!(!large.cut(&mut short, 0, 1448, true));
                assert!(large.cut(&mut bent, 1448, 1448, false));
            }
        }
    }
    let large = LargePacket::parse(&whole).unwrap();
    assert!(!large.cut(&mut whole.clone(), 0, 65_535, true), "more than the length field can say");
    assert!(whole.len() <= MAX_HEADER_LEN);
}
