//! Frames that are none of our business: dropped, counted by reason, and nothing else happens.

use super::harness::*;
use crate::Counters;
use crate::nic::NicQueue;
use crate::stack::*;
use crate::time::Duration;
use crate::wire::{
    HeaderTemplate, MacAddr, ParseError, SegmentHead, SeqNum, TcpFlags, TcpOptions, tcp_checksum, write_tcp_checksum,
};
use core::net::IpAddr;

const SYN: SegmentHead<'static> =
    SegmentHead { seq: SeqNum(1), ack: SeqNum(0), flags: TcpFlags::SYN, window: 1000, ts: None, ecn: 0, options: None };

/// Delivers a SYN for the listener on b, changed by `change`, and returns b's counters.
fn syn(to_mac: Option<MacAddr>, to: IpAddr, options: Option<&TcpOptions>, change: impl FnOnce(&mut [u8])) -> Counters {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let mac = p.b.queue().caps().mac;
    let from = MacAddr([2, 0, 0, 0, 0, 1]);
    let t = HeaderTemplate::new(from, to_mac.unwrap_or(mac), None, addr(&o, 1), to, 999, PORT, 64).unwrap();
    let head = SegmentHead { options, ..SYN };
    let mut frame = p.b.pools.data.alloc().unwrap();
    frame.set_len(t.header_len(&head) as u32);
    t.emit(&mut frame, &head, 0);
    change(&mut frame);
    let l4 = t.l2l3_len();
    let sum = tcp_checksum(t.pseudo_sum(head.tcp_header_len() as u32), &frame[l4..], []);
    write_tcp_checksum(&mut frame, l4, sum);
    p.b.queue().inject.push_back(frame.freeze());
    p.settle();
    let c = *p.b.stack.counters();
    assert_eq!(c.resets_out, 0);
    c
}

fn ours() -> IpAddr {
    addr(&Options::default(), 2)
}

#[test]
fn an_ordinary_syn_opens() {
    assert_eq!(syn(None, ours(), None, |_| {}).passive_opens, 1);
}

#[test]
fn another_hosts_frame_is_not_ours() {
    let other_mac = syn(Some(MacAddr([2, 0, 0, 0, 0, 77])), ours(), None, |_| {});
    assert_eq!((other_mac.not_ours, other_mac.passive_opens), (1, 0));
    let other_ip = syn(None, addr(&Options::default(), 77), None, |_| {});
    assert_eq!((other_ip.not_ours, other_ip.passive_opens), (1, 0));
}

#[test]
fn a_group_opens_nothing() {
    let broadcast = syn(Some(MacAddr([0xff; 6])), ours(), None, |_| {});
    assert_eq!((broadcast.not_unicast, broadcast.passive_opens), (1, 0));
    let multicast = syn(None, IpAddr::from([224, 0, 0, 1]), None, |_| {});
    assert_eq!((multicast.not_unicast, multicast.passive_opens), (1, 0));
}

#[test]
fn unusable_options_are_counted() {
    let options = TcpOptions { mss: Some(1460), ..TcpOptions::default() };
    let bad_option = ParseError::BadOption.index();
    let good = syn(None, ours(), Some(&options), |_| {});
    assert_eq!((good.malformed[bad_option], good.passive_opens), (0, 1));
    // MSS with a length of 0.
    let bad = syn(None, ours(), Some(&options), |frame| frame[14 + 20 + 20 + 1] = 0);
    assert_eq!((bad.malformed[bad_option], bad.passive_opens), (1, 0));
}

/// The last frame put before b, changed.
fn change_injected(p: &mut Pair, change: impl FnOnce(&mut [u8])) {
    let mut frame = p.b.queue().inject.pop_back().unwrap().try_into_mut().expect("nobody else has it");
    change(&mut frame);
    p.b.queue().inject.push_back(frame.freeze());
}

#[test]
fn an_untagged_frame_is_no_segment_of_a_connection_in_a_vlan() {
    for vouched in [true, false] {
        let (mut p, a, b) = Pair::open(&Options { vlan: Some(5), ..Options::default() });
        p.b.queue().vouched = vouched;
        // The first would be in order; header prediction must not take it either.
        let data = p.a.buffer(100, 0);
        p.a.send(p.now, a, &data, 1).unwrap();
        p.settle();
        p.b.forge(b, |f| f.payload = vec![1; 10]);
        p.b.forge(b, |f| f.flags = TcpFlags::RST);
        p.settle();
        assert_eq!((p.b.stack.counters().not_ours, p.b.app.received.len(), p.b.app.closed.len()), (2, 100, 0));
    }
}

#[test]
fn a_frame_to_another_host_is_no_segment_of_ours() {
    let (mut p, _, b) = Pair::open(&Options::default());
    for reset in [false, true] {
        p.b.forge(b, |f| match reset {
            true => f.flags = TcpFlags::RST,
            false => {
                f.seq += 100;
                f.payload = vec![1; 10];
            }
        });
        change_injected(&mut p, |frame| frame[5] = 77);
    }
    p.settle();
    assert_eq!((p.b.stack.counters().not_ours, p.b.stack.counters().out_of_order, p.b.app.closed.len()), (2, 0, 0));
}

/// The urgent pointer is a mark in the stream, no more; whoever does not look at it gets all bytes (RFC 9293 §3.8.5).
#[test]
fn urgent_data_is_data() {
    let (mut p, _, b) = Pair::open(&Options::default());
    p.b.forge(b, |f| {
        f.flags = TcpFlags::ACK.union(TcpFlags::URG);
        f.payload = vec![7; 10];
    });
    p.settle();
    assert_eq!(p.b.app.received, [7; 10]);
}

#[test]
fn what_waits_for_a_neighbour_is_counted() {
    let o = Options { known_neighbors: false, ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    let to = Connect::to((addr(&o, 2), PORT).into());
    p.a.stack.cx(now).connect(to).unwrap();
    p.settle();
    assert_eq!(
        (p.a.stack.counters().no_neighbor, p.a.app.neighbors.len(), p.a.stack.counters().segments_out),
        (1, 1, 0)
    );
}

/// The clock jumped and more is waiting than one turn takes: it goes first, timers after.
#[test]
fn timers_wait_for_the_frames_of_a_stolen_cpu() {
    let (mut p, a, _) = Pair::open(&Options::default());
    let data = p.a.buffer(16_000, 0);
    for i in 0..4 {
        p.a.send(p.now, a, &data, i).unwrap();
    }
    p.spin(0);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!(p.b.stack.counters().clock_jumps, 0);
    let later = p.now + Duration::from_millis(30);
    p.b.stack.turn(later, 32, &mut p.b.app);
    assert_eq!(p.b.stack.counters().clock_jumps, 1);
}
