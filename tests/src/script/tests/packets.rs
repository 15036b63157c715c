use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::script::ast::{Action, Body, IpFields, Packet};
use crate::script::parse;
use crate::script::wire::{self, Ends};

fn packet(text: &str) -> Packet {
    match parse(&format!("0 < {text}")).unwrap().events.remove(0).action {
        Action::Inbound(p) => p,
        other => panic!("{other:?}"),
    }
}

fn ends(v6: bool) -> Ends {
    let addr = |n: u8| -> IpAddr {
        if v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into()
        } else {
            Ipv4Addr::new(192, 0, 2, n).into()
        }
    };
    Ends { src: (addr(1), 5000), dst: (addr(2), 8080) }
}

fn build(text: &str, payload: &[u8], v6: bool) -> Vec<u8> {
    let p = packet(text);
    let Body::Tcp(s) = &p.body else { panic!() };
    let ends = ends(v6);
    wire::ip(ends.src.0, ends.dst.0, &p.ip, None, &wire::tcp(&ends, s, payload))
}

#[test]
fn what_is_built_reads_the_same() {
    for v6 in [false, true] {
        for text in [
            "S 7:7(0) win 65535 <mss 1460,sackOK,TS val 9 ecr 0,nop,wscale 7>",
            "P. 1:4(3) ack 8 win 3",
            "FEW. 1:1(0) ack 1 win 1",
        ] {
            let payload = if text.starts_with('P') { &b"abc"[..] } else { b"" };
            let seen = wire::read(&build(text, payload, v6)).unwrap();
            assert_eq!(seen.segment.to_string(), text);
            assert_eq!((seen.ends, &seen.payload[..]), (ends(v6), payload));
        }
    }
}

#[test]
fn luna_cores_parser_agrees() {
    use luna_core::wire::{TcpOptions, TcpPacket};
    for v6 in [false, true] {
        let ip = build("[ce] P. 1:4(3) ack 8 win 3 <nop,nop,TS val 5 ecr 6>", b"abc", v6);
        let parsed = TcpPacket::parse_ip(&ip, luna_core::wire::RxChecksum::default()).unwrap();
        assert_eq!((parsed.tcp.seq.0, parsed.tcp.ack.0, parsed.payload_len), (1, 8, 3));
        assert_eq!(TcpOptions::parse(parsed.options(&ip)).unwrap().timestamps, Some((5, 6)));
    }
}

#[test]
fn every_flipped_bit_that_a_checksum_covers_is_noticed() {
    let good = build("P. 1:4(3) ack 8 win 3", b"abc", false);
    assert!(wire::read(&good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(wire::read(&bad).is_err(), "bit {bit}");
    }
    assert!(wire::read(&build("S 1:1(0) win 3 badsum", b"", false)).is_err());
    assert!(wire::read(&build("S 1:1(0) win 3 doff 4", b"", false)).is_err());
    assert!(wire::read(&build("S 1:1(0) win 3 cut 10", b"", true)).is_err());
}

#[test]
fn extension_headers_form_a_chain() {
    let p = packet("[hop_by_hop, dest_opts] S 0:0(0) win 1");
    assert_eq!(p.ip, IpFields { extensions: vec![0, 60], ..IpFields::default() });
    let bytes = build("[hop_by_hop, dest_opts] S 0:0(0) win 1", b"", true);
    assert_eq!((bytes[6], bytes[40], bytes[48], bytes.len()), (0, 60, 6, 40 + 16 + 20));
    assert_eq!(&bytes[42..44], &[1, 4], "PadN");
}
