use super::*;
use crate::wire::{HeaderTemplate, MacAddr, SegmentHead, TcpFlags};

/// An ICMP error from `router` that quotes `frame`, an untagged Ethernet frame, to its sender; as an Ethernet frame.
pub(crate) fn icmp_about(frame: &[u8], code: (u8, u8), rest: u32, quote: usize) -> Vec<u8> {
    let packet = &frame[14..];
    let mut message = vec![code.0, code.1, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(&packet[..packet.len().min(quote)]);
    let mut out = [&frame[6..12], &[2, 9, 9, 9, 9, 9]].concat();
    out.extend(&frame[12..14]);
    let len = message.len();
    if packet[0] >> 4 == 4 {
        let mut sum = Checksum::new();
        sum.add(&message);
        message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
        let ip = Ipv4Header {
            src: Ipv4Addr::new(192, 0, 2, 1),
            dst: Ipv4Addr::from(*packet[12..].first_chunk::<4>().unwrap()),
            protocol: PROTOCOL_ICMP,
            ttl: 60,
            tos: 0,
            id: 7,
            header_len: 20,
            total_len: 20 + len as u16,
            dont_fragment: false,
        };
        let mut header = [0; 20];
        ip.emit(&mut header);
        out.extend(header);
    } else {
        let ip = Ipv6Header {
            src: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            dst: Ipv6Addr::from(*packet[8..].first_chunk::<16>().unwrap()),
            next_header: PROTOCOL_ICMPV6,
            hop_limit: 60,
            traffic_class: 0,
            flow_label: 0,
            payload_offset: 40,
            payload_len: len as u16,
        };
        let mut sum = Checksum::new();
        sum.add_pseudo_v6(ip.src.octets(), ip.dst.octets(), PROTOCOL_ICMPV6, len as u32);
        sum.add(&message);
        message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
        let mut header = [0; 40];
        ip.emit(&mut header);
        out.extend(header);
    }
    out.extend(message);
    out
}

fn segment(v6: bool) -> Vec<u8> {
    let ip = |n: u8| if v6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n.into()]) } else { IpAddr::from([10, 0, 0, n]) };
    let t =
        HeaderTemplate::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2; 6]), None, ip(1), ip(2), 1234, 80, 64).unwrap();
    let head = SegmentHead {
        seq: SeqNum(0xdead_beef),
        ack: SeqNum(1),
        flags: TcpFlags::ACK,
        window: 9,
        ts: None,
        ecn: 0,
        options: None,
    };
    let mut out = vec![0; t.header_len(&head)];
    t.emit(&mut out, &head, 1000);
    out.resize(out.len() + 1000, 7);
    out
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn what_is_quoted_is_found_whatever_the_length_of_the_quote() {
    for v6 in [false, true] {
        let sent = segment(v6);
        let (code, ip_len) = if v6 { ((1, 3), 40) } else { ((3, 1), 20) };
        for quote in [ip_len + 8, ip_len + 20, 2000] {
            let e = IcmpError::parse_frame(&icmp_about(&sent, code, 0, quote)).unwrap();
            assert_eq!((e.kind, e.code), (IcmpKind::Soft, code));
            assert_eq!((e.local_port, e.remote_port, e.seq), (1234, 80, SeqNum(0xdead_beef)));
            assert_eq!((e.local.is_ipv6(), e.quoted_len), (v6, ip_len as u32 + 1020));
            assert_ne!(e.local, e.remote);
        }
        for quote in 0..ip_len + 8 {
            assert_eq!(IcmpError::parse_frame(&icmp_about(&sent, code, 0, quote)), Err(ParseError::BadIcmp), "{quote}");
        }
    }
}

/// A telemetry shim stands between IP and TCP of connections that run HPCC.
#[test]
#[cfg_attr(not(all(feature = "ipv6", feature = "controllers")), ignore = "needs ipv6 and controllers")]
fn what_is_quoted_is_found_behind_a_shim() {
    for v6 in [false, true] {
        let mut sent = segment(v6);
        let (ip_len, protocol_at, code) = if v6 { (40, 20, (1, 3)) } else { (20, 23, (3, 1)) };
        let mut shim = [0; int::MAX_LEN];
        let len = int::emit(&mut shim, 2, None);
        sent.splice(14 + ip_len..14 + ip_len, shim[..len].iter().copied());
        sent[protocol_at] = int::PROTOCOL;
        let read = |quote| IcmpError::parse_frame(&icmp_about(&sent, code, 0, quote));
        for quote in [ip_len + len + 8, 2000] {
            let e = read(quote).unwrap();
            assert_eq!((e.kind, e.local_port, e.remote_port, e.seq), (IcmpKind::Soft, 1234, 80, SeqNum(0xdead_beef)));
        }
        for quote in 0..ip_len + len + 8 {
            assert_eq!(read(quote), Err(ParseError::BadIcmp), "{quote}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn types_and_codes_have_the_meaning_of_their_rfcs() {
    let kind =
        |v6: bool, code, rest| IcmpError::parse_frame(&icmp_about(&segment(v6), code, rest, 100)).map(|e| e.kind);
    for code in 0..=15 {
        let want = match code {
            2 | 3 | 9 | 10 | 13 => IcmpKind::Hard,
            4 => IcmpKind::TooBig(1400),
            _ => IcmpKind::Soft,
        };
        assert_eq!(kind(false, (3, code), 1400), Ok(want), "{code}");
    }
    assert_eq!(kind(false, (11, 0), 0), Ok(IcmpKind::Soft));
    assert_eq!(kind(false, (4, 0), 0), Err(ParseError::NotTcp), "source quench: RFC 6633");
    assert_eq!(kind(false, (8, 0), 0), Err(ParseError::NotTcp), "echo");
    assert_eq!(kind(true, (2, 0), 1280), Ok(IcmpKind::TooBig(1280)));
    for code in 0..=6 {
        let want = if matches!(code, 0 | 2 | 3) { IcmpKind::Soft } else { IcmpKind::Hard };
        assert_eq!(kind(true, (1, code), 0), Ok(want), "{code}");
    }
    assert_eq!(kind(true, (4, 1), 0), Ok(IcmpKind::Hard));
    assert_eq!(kind(true, (128, 0), 0), Err(ParseError::NotTcp));
}

/// Nothing that arrives makes it panic, and no damage goes unnoticed but in what no checksum covers.
#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn damage_is_noticed() {
    use proptest::prelude::*;
    proptest!(|(v6: bool, at in 14usize..100, bit in 0u32..8, cut in 0usize..200)| {
        let code = if v6 { (1, 3) } else { (3, 1) };
        let good = icmp_about(&segment(v6), code, 0, 60);
        let mut frame = good.clone();
        let covered = at >= if v6 { 14 + 8 } else { 14 };
        frame[at] ^= 1 << bit;
        if covered && (v6 || at != 0) {
            prop_assert!(IcmpError::parse_frame(&frame).is_err(), "{at} {bit}");
        }
        let _ = IcmpError::parse_frame(&good[..cut.min(good.len())]);
        let _ = IcmpError::parse_ip(&good[cut.min(good.len())..]);
    });
}

#[test]
fn an_error_about_somebody_elses_packet_is_none_of_ours() {
    let sent = segment(false);
    let mut error = icmp_about(&sent, (3, 1), 0, 60);
    // To another address than the one that it quotes, and right by its checksum.
    error[14 + 19] ^= 1;
    let mut ip = [0; 20];
    ip.copy_from_slice(&error[14..34]);
    ip[10..12].fill(0);
    let mut sum = Checksum::new();
    sum.add(&ip);
    error[24..26].copy_from_slice(&sum.finish().to_be_bytes());
    assert_eq!(IcmpError::parse_frame(&error), Err(ParseError::BadIcmp));
    let mut udp = sent;
    udp[14 + 9] = 17;
    assert_eq!(IcmpError::parse_frame(&icmp_about(&udp, (3, 3), 0, 60)), Err(ParseError::NotTcp));
}
