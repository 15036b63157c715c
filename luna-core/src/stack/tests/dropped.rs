//! Frames that are none of our business: dropped, counted by reason, and nothing else happens.

use super::harness::*;
use crate::Counters;
use crate::nic::NicQueue;
use crate::stack::*;
use crate::wire::{
    HeaderTemplate, MacAddr, SegmentHead, SeqNum, TcpFlags, TcpOptions, tcp_checksum, write_tcp_checksum,
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
    let good = syn(None, ours(), Some(&options), |_| {});
    assert_eq!((good.bad_options, good.passive_opens), (0, 1));
    // MSS with a length of 0.
    let bad = syn(None, ours(), Some(&options), |frame| frame[14 + 20 + 20 + 1] = 0);
    assert_eq!((bad.bad_options, bad.passive_opens), (1, 0));
}
