//! Packets made by hand: what is no good is counted, and peers that say little get what the RFCs say.

use core::net::IpAddr;

use super::harness::*;
use crate::socket::*;
use crate::tcp::TcpConfig;
use crate::time::{Duration, Instant};
use crate::wire::{
    HeaderTemplate, MacAddr, ParseError, SegmentHead, SeqNum, TcpFlags, tcp_checksum, write_tcp_checksum,
};

const PEER_PORT: u16 = 4242;

/// A bare packet from the peer to port [`PORT`] of ours.
pub(super) fn packet(o: &Options, flags: TcpFlags, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let mac = MacAddr([0; 6]);
    let template = HeaderTemplate::new(mac, mac, None, ip(o, 2), ip(o, 1), PEER_PORT, PORT, 64).unwrap();
    let head = SegmentHead { seq: SeqNum(seq), ack: SeqNum(ack), flags, window: 9999, ts: None, ecn: 0, options: None };
    let mut out = vec![0; template.header_len(&head)];
    template.emit(&mut out, &head, payload.len() as u32);
    let l4 = template.l2l3_len();
    let sum = tcp_checksum(template.pseudo_sum((20 + payload.len()) as u32), &out[l4..], [payload]);
    write_tcp_checksum(&mut out, l4, sum);
    out.extend_from_slice(payload);
    out.split_off(14)
}

fn listening(o: &Options) -> (End, SocketId, Instant) {
    let now = Instant::from_nanos(1_000_000_000);
    let mut end = End::new(o, 1, now);
    let l = end.socket().unwrap();
    end.bind(l, (IpAddr::from([0, 0, 0, 0]), PORT).into()).unwrap();
    end.listen(l, 4).unwrap();
    (end, l, now)
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn a_peer_that_does_not_say_its_segment_size_gets_the_default() {
    for (ipv6, tcp, mss) in [
        (false, BASE, 536),
        (true, BASE, 1220),
        (false, TcpConfig { default_mss: 400, ..BASE }, 400),
        (true, TcpConfig { default_mss_v6: 900, ..BASE }, 900),
    ] {
        let o = Options { ipv6, tcp: [tcp; 2], ..Options::default() };
        let (mut end, l, now) = listening(&o);
        end.input(now, &packet(&o, TcpFlags::SYN, 100, 0, b"")).unwrap();
        let answer = end.take(now).unwrap();
        assert_eq!((see(&answer).ack, see(&answer).flags), (101, 0x12));
        end.input(now, &packet(&o, TcpFlags::ACK, 101, see(&answer).seq + 1, b"")).unwrap();
        let (s, from) = end.accept(l).unwrap();
        assert_eq!((from.ip(), from.port()), (ip(&o, 2), PEER_PORT));
        assert_eq!(end.info(s).unwrap().mss, mss);
        end.send(now, s, &[7; 2000]).unwrap();
        assert_eq!(see(&end.take(now).unwrap()).len, usize::from(mss));
    }
}

#[test]
fn writes_share_segments() {
    let o = Options { tcp: [TcpConfig { initial_window: 1, ..BASE }; 2], ..Options::default() };
    let (mut end, l, now) = listening(&o);
    end.input(now, &packet(&o, TcpFlags::SYN, 100, 0, b"")).unwrap();
    let iss = see(&end.take(now).unwrap()).seq;
    end.input(now, &packet(&o, TcpFlags::ACK, 101, iss + 1, b"")).unwrap();
    let (s, _) = end.accept(l).unwrap();
    end.send(now, s, &[1; 536]).unwrap();
    assert_eq!(end.drain(now).len(), 1, "the congestion window is one segment");
    for i in 0..10 {
        assert_eq!(end.send(now, s, &[i; 300]), Ok(300));
    }
    assert!(end.drain(now).is_empty());
    end.input(now, &packet(&o, TcpFlags::ACK, 101, iss + 537, b"")).unwrap();
    let lens: Vec<_> = end.drain(now).iter().map(|p| see(p).len).collect();
    assert_eq!(lens, [536, 536]);
}

#[test]
fn packets_that_are_no_good_are_counted() {
    let o = Options::default();
    let (mut end, _l, now) = listening(&o);
    let syn = packet(&o, TcpFlags::SYN, 100, 0, b"");
    for (packet, error) in
        [(&[][..], InputError::BadVersion), (&[0x50; 40], InputError::BadVersion), (&[0x45; 1600], InputError::TooLong)]
    {
        assert_eq!(end.input(now, packet), Err(error));
    }
    assert_eq!((end.stats().bad_version, end.stats().too_long), (2, 1));
    let bare = end.pool.alloc_len(40).unwrap();
    assert_eq!(end.input_zbuf(now, bare).unwrap_err(), InputError::BadVersion);
    let mut no_headroom = end.pool.alloc().unwrap();
    no_headroom.append(syn.len() as u32).unwrap().copy_from_slice(&syn);
    assert_eq!(end.input_zbuf(now, no_headroom), Err(InputError::TooLong));
    let mut count = |at: usize, xor: u8, cut: usize| {
        let mut bad = syn.clone();
        bad[at] ^= xor;
        bad.truncate(bad.len() - cut);
        let before = *end.counters();
        end.input(now, &bad).unwrap();
        assert!(end.take(now).is_none(), "no answer");
        let after = end.counters();
        let malformed = ParseError::ALL.iter().find(|e| after.malformed[e.index()] > before.malformed[e.index()]);
        (malformed.map(|e| e.as_str()), after.not_ours - before.not_ours)
    };
    assert!(count(36, 1, 0).0.is_some(), "TCP checksum");
    assert!(count(10, 1, 0).0.is_some(), "IP checksum");
    assert!(count(0, 0, 5).0.is_some(), "cut");
    assert!(count(32, 0xf0, 0).0.is_some(), "data offset");
    assert!(count(9, 1, 0).0.is_some(), "not TCP");
    // To somebody else: the address's change makes both checksums wrong, so it is made anew.
    let to_other = {
        let mac = MacAddr([0; 6]);
        let other = IpAddr::from([10, 0, 0, 77]);
        let template = HeaderTemplate::new(mac, mac, None, ip(&o, 2), other, PEER_PORT, PORT, 64).unwrap();
        let head = SegmentHead {
            seq: SeqNum(1),
            ack: SeqNum(0),
            flags: TcpFlags::SYN,
            window: 1,
            ts: None,
            ecn: 0,
            options: None,
        };
        let mut out = vec![0; 54];
        template.emit(&mut out, &head, 0);
        let sum = tcp_checksum(template.pseudo_sum(20), &out[34..], [&[][..]]);
        write_tcp_checksum(&mut out, 34, sum);
        out.split_off(14)
    };
    end.input(now, &to_other).unwrap();
    assert_eq!((end.counters().not_ours, end.take(now)), (1, None));
    end.input(now, &syn).unwrap();
    assert!(end.take(now).is_some(), "the good one is answered");
}

#[test]
fn the_clock_moves_on_before_a_call_acts() {
    let o = Options::default();
    let (mut end, l, now) = listening(&o);
    end.input(now, &packet(&o, TcpFlags::SYN, 100, 0, b"")).unwrap();
    let iss = see(&end.take(now).unwrap()).seq;
    end.input(now, &packet(&o, TcpFlags::ACK, 101, iss + 1, b"")).unwrap();
    let (s, _) = end.accept(l).unwrap();
    end.send(now, s, b"lost").unwrap();
    assert_eq!(end.drain(now).len(), 1);
    // The retransmission was due long before the next call.
    let later = now + Duration::from_secs(1);
    end.send(later, s, b"next").unwrap();
    let out: Vec<_> = end.drain(later).iter().map(|p| (see(p).seq - iss, see(p).len)).collect();
    assert_eq!(out[0], (1, 4), "first what was lost");
    assert!(out.contains(&(5, 4)) || out.len() == 1, "{out:?}");
    assert_eq!(end.counters().rtos, 1);
    assert!(end.poll_at() > later);
    // A clock that goes back stands still.
    assert!(end.poll(now) > later);
}
