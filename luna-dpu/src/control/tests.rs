//! Packet stories: ARP, neighbour discovery, addresses, echo and errors, and what none of it may be moved by.

use std::vec::Vec;

use luna_core::wire::{Checksum, MacAddr};
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv4Repr, Icmpv6Repr, IpProtocol, NdiscNeighborFlags, NdiscRepr,
};

use super::frame::{group_mac, solicited_node};
use super::neighbor::State;
use super::testing::*;
use super::*;

const ARGS: &str = "net.addr=10.0.0.1/24 net.addr=fd00::1/64";

fn arps(frames: &[(u64, Vec<u8>)]) -> Vec<(u64, Arp)> {
    frames.iter().filter_map(|(at, f)| Arp::read(f).map(|a| (*at, a))).collect()
}

#[test]
fn an_address_is_probed_for_three_times_then_announced_twice() {
    for seed in 0..50 {
        let mut w = World::seeded("net.addr=10.0.0.1/24", seed);
        let sent = arps(&w.run(20_000));
        let probe = Arp::request((US, Ipv4Addr::UNSPECIFIED), v4(1));
        let announcement = Arp::request((US, v4(1)), v4(1));
        let what: Vec<Arp> = sent.iter().map(|(_, a)| *a).collect();
        assert_eq!(what, [probe, probe, probe, announcement, announcement]);
        let at: Vec<u64> = sent.iter().map(|(at, _)| *at).collect();
        // RFC 5227 §1.1: PROBE_WAIT, PROBE_MIN to PROBE_MAX twice, ANNOUNCE_WAIT, ANNOUNCE_INTERVAL.
        assert!(at[0] <= 1_000, "{at:?}");
        assert!((1_000..=2_000).contains(&(at[1] - at[0])) && (1_000..=2_000).contains(&(at[2] - at[1])), "{at:?}");
        assert_eq!((at[3] - at[2], at[4] - at[3]), (2_000, 2_000));
        assert_eq!(w.events(), [Event::Address("10.0.0.1/24".cidr(), Origin::Static)]);
    }
}

trait ToCidr {
    fn cidr(self) -> Cidr;
}

impl ToCidr for &str {
    fn cidr(self) -> Cidr {
        NetArgs::parse(&std::format!("net.addr={self}")).unwrap().addrs[0]
    }
}

#[test]
fn an_address_is_not_answered_for_before_it_is_taken() {
    let mut w = World::new("net.addr=10.0.0.1/24");
    w.run(100);
    w.sent();
    let ask = Arp::request((THEM, v4(2)), v4(1)).frame();
    w.receive(&ask);
    assert!(w.sent().is_empty());
    assert!(w.control.path_config().addrs.is_empty());
    w.run(10_000);
    w.sent();
    w.receive(&ask);
    assert_eq!(w.sent().len(), 1);
    assert_eq!(w.control.path_config().addrs.len(), 1);
}

#[test]
fn an_address_that_somebody_has_or_also_wants_is_not_taken() {
    let objections = [
        // The owner answers the probe; somebody speaks from it; somebody else probes for it.
        Arp::reply((THEM, v4(1)), (US, Ipv4Addr::UNSPECIFIED)).frame(),
        Arp::request((THEM, v4(1)), v4(9)).frame(),
        Arp::request((THEM, Ipv4Addr::UNSPECIFIED), v4(1)).frame(),
    ];
    for objection in objections {
        let mut w = World::new("net.addr=10.0.0.1/24");
        w.run(2_500);
        w.receive(&objection);
        w.run(20_000);
        assert_eq!(w.events(), [Event::Duplicate(v4(1).into(), THEM)]);
        assert_eq!(w.control.counters().duplicates, 1);
        assert!(w.sent().iter().all(|f| Arp::read(f).unwrap().sender.1.is_unspecified()), "never announced");
    }
}

#[test]
fn an_address_in_use_is_defended_every_ten_seconds_and_kept() {
    let mut w = World::ready(ARGS);
    let claim = Arp::request((THEM, v4(1)), v4(1)).frame();
    w.receive(&claim);
    assert_eq!(Arp::read(&w.sent()[0]), Some(Arp::request((US, v4(1)), v4(1))));
    assert_eq!(w.events(), [Event::Conflict(v4(1).into(), THEM)]);
    w.receive(&claim);
    assert!(w.sent().is_empty() && w.events().is_empty(), "not twice within the interval");
    w.run(10_000);
    w.receive(&claim);
    assert_eq!(w.sent().len(), 1);
    assert_eq!(w.control.counters().conflicts, 3);
    assert!(w.control.addrs.has(v4(1).into()));
}

#[test]
fn arp_requests_for_us_are_answered_and_remembered() {
    let mut w = World::ready(ARGS);
    w.receive(&Arp::request((THEM, v4(2)), v4(1)).frame());
    assert_eq!(Arp::read(&w.sent()[0]), Some(Arp::reply((US, v4(1)), (THEM, v4(2)))));
    assert_eq!(w.control.neighbors.lookup(v4(2).into()), Some(THEM));
    assert!(w.told().is_empty(), "the stack did not ask");
    // Then it asks, and knows at once; what is stale is looked at again while it is used.
    w.resolve(v4(2));
    assert_eq!(w.told(), [(v4(2).into(), Some(THEM))]);
    assert_eq!(w.control.neighbors.state(v4(2).into()), Some(State::Delay));
    // For others: not answered, not remembered.
    w.receive(&Arp::request((OTHER, v4(3)), v4(2)).frame());
    assert!(w.sent().is_empty());
    assert_eq!(w.control.neighbors.lookup(v4(3).into()), None);
}

#[test]
fn a_neighbour_is_asked_for_until_it_answers() {
    let mut w = World::ready(ARGS);
    w.wire.used.push(v4(2).into());
    w.resolve(v4(2));
    let ask = Arp::request((US, v4(1)), v4(2));
    assert_eq!(Arp::read(&w.sent()[0]), Some(ask));
    let sent = arps(&w.run(2_500));
    assert_eq!(sent.len(), 2, "once a second");
    assert!(w.told().is_empty());
    w.sent();
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    assert_eq!(w.told(), [(v4(2).into(), Some(THEM))]);
    assert_eq!(w.control.neighbors.state(v4(2).into()), Some(State::Reachable));
    assert!(w.sent().is_empty());
}

#[test]
fn a_neighbour_in_use_that_does_not_answer_is_asked_for_at_a_slower_pace_one_that_is_not_is_forgotten() {
    let mut w = World::ready(ARGS);
    w.wire.used.push(v4(2).into());
    w.resolve(v4(2));
    w.resolve(v4(3));
    let sent = arps(&w.run(60_000));
    let asked = |ip| sent.iter().filter(|(_, a)| a.target.1 == ip).count();
    assert_eq!(asked(v4(3)), 2, "and one at once");
    assert!((12..=15).contains(&asked(v4(2))), "{}", asked(v4(2)));
    assert_eq!(w.control.counters().unresolved, 2);
    assert_eq!(w.control.neighbors.state(v4(3).into()), None);
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    assert_eq!(w.told(), [(v4(2).into(), Some(THEM))], "late, but it came");
}

#[test]
fn a_neighbour_in_use_is_probed_and_its_silence_is_told() {
    let mut w = World::ready(ARGS);
    w.wire.used.push(v4(2).into());
    w.resolve(v4(2));
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    w.wire.sent.clear();
    w.wire.neighbors.clear();
    // Reachable for 15 to 45 s, then 5 s of delay, then a probe to its address alone.
    let start = w.now.as_nanos() / 1_000_000;
    let (at, probe) = loop {
        if let Some(first) = arps(&w.run(100)).first() {
            break *first;
        }
    };
    assert!((20_000..=50_000).contains(&(at - start)), "{at} {start}");
    assert_eq!(probe, Arp { to: THEM, ..Arp::request((US, v4(1)), v4(2)) });
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    assert_eq!(w.control.neighbors.state(v4(2).into()), Some(State::Reachable));
    assert!(w.told().is_empty(), "nothing new");
    // Now it is gone: three probes, then the stack is told, then everybody is asked.
    w.sent();
    let sent = arps(&w.run(54_000));
    let to: Vec<MacAddr> = sent.iter().map(|(_, a)| a.to).collect();
    assert_eq!(to[..4], [THEM, THEM, THEM, MacAddr::BROADCAST]);
    assert_eq!(w.told(), [(v4(2).into(), None)]);
    // It comes back elsewhere.
    w.receive(&Arp::reply((OTHER, v4(2)), (US, v4(1))).frame());
    assert_eq!(w.told(), [(v4(2).into(), Some(OTHER))]);
}

#[test]
fn a_neighbour_that_moves_is_told_and_then_verified() {
    let mut w = World::ready(ARGS);
    w.wire.used.push(v4(2).into());
    w.resolve(v4(2));
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    w.wire.sent.clear();
    w.wire.neighbors.clear();
    w.receive(&Arp::request((OTHER, v4(2)), v4(2)).frame());
    assert_eq!(w.told(), [(v4(2).into(), Some(OTHER))]);
    let sent = arps(&w.run(6_000));
    assert_eq!(sent[0].1.to, OTHER, "is it really there?");
}

#[test]
fn an_unused_neighbour_is_forgotten_after_ten_minutes_without_a_probe() {
    let mut w = World::ready(ARGS);
    w.resolve(v4(2));
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    w.wire.sent.clear();
    w.wire.neighbors.clear();
    assert!(w.run(599_000).is_empty());
    assert_eq!(w.control.neighbors.lookup(v4(2).into()), Some(THEM));
    w.run(10_000);
    assert_eq!(w.told(), [(v4(2).into(), None)]);
    assert_eq!(w.control.neighbors.lookup(v4(2).into()), None);
}

#[test]
fn a_flood_of_requests_does_not_push_out_a_neighbour_in_use() {
    let mut w = World::ready("net.addr=10.0.0.1/16");
    w.wire.used.push(v4(2).into());
    w.resolve(v4(2));
    w.receive(&Arp::reply((THEM, v4(2)), (US, v4(1))).frame());
    for n in 0..1_000u16 {
        let [a, b] = n.to_be_bytes();
        w.receive(&Arp::request((MacAddr([2, 9, 9, 9, a, b]), Ipv4Addr::new(10, 0, 1 + a, b)), v4(1)).frame());
    }
    assert_eq!(w.control.neighbors.lookup(v4(2).into()), Some(THEM));
    assert_eq!(w.control.counters().neighbors_evicted, 1_000 - 31);
    // And 31 that we ask for find room, at the cost of those; the next does not.
    for n in 10..42 {
        w.wire.used.push(v4(n).into());
        w.resolve(v4(n));
    }
    assert_eq!(w.control.counters().neighbors_full, 1);
}

fn mac(m: MacAddr) -> Option<smoltcp::wire::RawHardwareAddress> {
    Some(HardwareAddress::Ethernet(EthernetAddress(m.0)).into())
}

fn advert(src: (MacAddr, Ipv6Addr), dst: (MacAddr, Ipv6Addr), flags: NdiscNeighborFlags, target: Ipv6Addr) -> Vec<u8> {
    let repr = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr: mac(src.0) };
    icmpv6(src, dst, 255, &Icmpv6Repr::Ndisc(repr))
}

#[test]
fn ipv6_addresses_are_detected_and_announced_with_the_links_own() {
    let mut w = World::new("net.addr=fd00::1/64");
    let sent = w.run(10_000);
    let link_local: Ipv6Addr = "fe80::ff:fe00:1".parse().unwrap();
    let mut probes = Vec::new();
    let mut announced = Vec::new();
    for (at, frame) in &sent {
        let (to, ends, repr) = read_ndisc(frame).unwrap();
        match repr {
            NdiscRepr::NeighborSolicit { target_addr, lladdr: None } => {
                assert_eq!(ends, (Ipv6Addr::UNSPECIFIED, solicited_node(target_addr)));
                assert_eq!(to, group_mac(ends.1));
                probes.push((*at, target_addr));
            }
            NdiscRepr::NeighborAdvert { flags, target_addr, lladdr } => {
                assert_eq!((flags, lladdr), (NdiscNeighborFlags::OVERRIDE, mac(US)));
                assert_eq!(ends, (target_addr, "ff02::1".parse().unwrap()));
                announced.push((*at, target_addr));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(probes.len(), 2);
    assert_eq!(announced.len(), 4);
    for (at, target) in probes {
        assert!(target == v6(1) || target == link_local);
        assert_eq!(announced.iter().find(|a| a.1 == target).unwrap().0, at + 1_000);
    }
}

#[test]
fn an_ipv6_address_that_somebody_has_or_also_wants_is_not_taken() {
    let group = solicited_node(v6(1));
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let objections = [
        advert((THEM, v6(1)), (group_mac(all), all), NdiscNeighborFlags::OVERRIDE, v6(1)),
        solicit((THEM, Ipv6Addr::UNSPECIFIED), (group_mac(group), group), v6(1), None),
    ];
    for objection in objections {
        let mut w = World::new("net.addr=fd00::1/64");
        w.receive(&objection);
        w.run(10_000);
        assert!(w.events().contains(&Event::Duplicate(v6(1).into(), THEM)));
        assert!(!w.control.addrs.knows(v6(1).into()));
    }
}

#[test]
fn solicitations_for_us_are_answered() {
    let mut w = World::ready(ARGS);
    let group = solicited_node(v6(1));
    w.receive(&solicit((THEM, v6(2)), (group_mac(group), group), v6(1), Some(THEM)));
    let sent = w.sent();
    let (to, ends, repr) = read_ndisc(&sent[0]).unwrap();
    assert_eq!((to, ends), (THEM, (v6(1), v6(2))));
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    assert_eq!(repr, NdiscRepr::NeighborAdvert { flags, target_addr: v6(1), lladdr: mac(US) });
    assert_eq!(w.control.neighbors.lookup(v6(2).into()), Some(THEM));
    // Somebody wants our address: everybody is told that it is taken.
    w.receive(&solicit((OTHER, Ipv6Addr::UNSPECIFIED), (group_mac(group), group), v6(1), None));
    let sent = w.sent();
    let (to, ends, _) = read_ndisc(&sent[0]).unwrap();
    assert_eq!((to, ends.1), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), "ff02::1".parse().unwrap()));
}

#[test]
fn an_ipv6_neighbour_is_asked_for_and_probed() {
    let mut w = World::ready(ARGS);
    w.wire.used.push(v6(2).into());
    w.resolve(v6(2));
    let sent = w.sent();
    let (to, ends, repr) = read_ndisc(&sent[0]).unwrap();
    assert_eq!((to, ends), (group_mac(solicited_node(v6(2))), (v6(1), solicited_node(v6(2)))));
    assert_eq!(repr, NdiscRepr::NeighborSolicit { target_addr: v6(2), lladdr: mac(US) });
    let yes = |m| advert((m, v6(2)), (US, v6(1)), NdiscNeighborFlags::SOLICITED, v6(2));
    w.receive(&yes(THEM));
    assert_eq!(w.told(), [(v6(2).into(), Some(THEM))]);
    assert_eq!(w.control.neighbors.state(v6(2).into()), Some(State::Reachable));
    // RFC 4861 §7.2.5: another address without the override flag is not believed, but makes us doubt.
    w.receive(&advert((OTHER, v6(2)), (US, v6(1)), NdiscNeighborFlags::SOLICITED, v6(2)));
    assert_eq!(w.control.neighbors.lookup(v6(2).into()), Some(THEM));
    let sent = w.run(6_000);
    let (to, ends, _) = read_ndisc(&sent[0].1).unwrap();
    assert_eq!((to, ends), (THEM, (v6(1), v6(2))), "probed where it was");
    w.receive(&yes(THEM));
    assert_eq!(w.control.neighbors.state(v6(2).into()), Some(State::Reachable));
    assert!(w.told().is_empty());
    let moved = NdiscNeighborFlags::OVERRIDE | NdiscNeighborFlags::SOLICITED;
    w.receive(&advert((OTHER, v6(2)), (US, v6(1)), moved, v6(2)));
    assert_eq!(w.told(), [(v6(2).into(), Some(OTHER))]);
}

#[test]
fn neighbour_discovery_that_was_forwarded_or_contradicts_itself_is_refused() {
    let mut w = World::ready(ARGS);
    let group = solicited_node(v6(1));
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let ns = NdiscRepr::NeighborSolicit { target_addr: v6(1), lladdr: mac(THEM) };
    let to_group = (group_mac(group), group);
    let refused = [
        icmpv6((THEM, v6(2)), to_group, 254, &Icmpv6Repr::Ndisc(ns)),
        solicit((THEM, Ipv6Addr::UNSPECIFIED), to_group, v6(1), Some(THEM)),
        solicit((THEM, Ipv6Addr::UNSPECIFIED), (US, v6(1)), v6(1), None),
        solicit((THEM, v6(2)), to_group, all, Some(THEM)),
        advert((THEM, v6(2)), (group_mac(all), all), NdiscNeighborFlags::SOLICITED, v6(2)),
        advert((THEM, v6(2)), (US, v6(1)), NdiscNeighborFlags::SOLICITED, all),
    ];
    for (i, frame) in refused.iter().enumerate() {
        w.receive(frame);
        assert_eq!(w.control.counters().nd_refused, i as u64 + 1, "{i}");
    }
    assert!(w.sent().is_empty() && w.told().is_empty());
}

const PING: Icmpv4Repr<'_> = Icmpv4Repr::EchoRequest { ident: 0x1234, seq_no: 7, data: b"twenty-one bytes here" };

#[test]
fn echo_requests_are_answered_byte_for_byte() {
    let mut w = World::ready(ARGS);
    let long: Vec<u8> = (0..1_400).map(|i| (i * 7) as u8).collect();
    for data in [&b""[..], b"x", &long] {
        let ping = Icmpv4Repr::EchoRequest { ident: 0x1234, seq_no: 7, data };
        w.receive(&icmp((THEM, v4(2)), (US, v4(1)), &ping));
        let pong = Icmpv4Repr::EchoReply { ident: 0x1234, seq_no: 7, data };
        let mut expected = icmp((US, v4(1)), (THEM, v4(2)), &pong);
        let mut got = w.sent().remove(0);
        // The flags and with them the header checksum differ: what we send is never to be cut.
        assert_eq!(got[20..22], [0x40, 0]);
        assert!(holds(&got[14..34]));
        for f in [&mut expected, &mut got] {
            f[20..22].fill(0);
            f[24..26].fill(0);
        }
        assert_eq!(got, expected);
        let ping = Icmpv6Repr::EchoRequest { ident: 9, seq_no: 8, data };
        w.receive(&icmpv6((THEM, v6(2)), (US, v6(1)), 64, &ping));
        let pong = Icmpv6Repr::EchoReply { ident: 9, seq_no: 8, data };
        assert_eq!(w.sent(), [icmpv6((US, v6(1)), (THEM, v6(2)), 64, &pong)]);
    }
    assert_eq!(w.control.counters().echoes, 6);
}

#[test]
fn echo_requests_to_groups_from_groups_or_damaged_are_not_answered() {
    let mut w = World::ready(ARGS);
    let broadcast = Ipv4Addr::new(10, 0, 0, 255);
    w.receive(&icmp((THEM, v4(2)), (MacAddr::BROADCAST, broadcast), &PING));
    w.receive(&icmp((THEM, v4(2)), (MacAddr::BROADCAST, v4(1)), &PING));
    w.receive(&icmp((THEM, v4(2)), (US, v4(9)), &PING));
    assert_eq!(w.control.counters().not_ours, 3);
    w.receive(&icmp((THEM, broadcast), (US, v4(1)), &PING));
    w.receive(&icmp((THEM, Ipv4Addr::new(224, 0, 0, 1)), (US, v4(1)), &PING));
    assert_eq!(w.control.counters().ignored, 2);
    let good = icmp((THEM, v4(2)), (US, v4(1)), &PING);
    for i in 14..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 0x10;
        w.receive(&bad);
    }
    // A fragment: right checksum, but not all of it.
    let mut piece = good;
    piece[20] |= 0x20;
    piece[24..26].fill(0);
    let mut sum = Checksum::new();
    sum.add(&piece[14..34]);
    piece[24..26].copy_from_slice(&sum.finish().to_be_bytes());
    w.receive(&piece);
    assert_eq!(w.control.counters().fragments, 1);
    assert!(w.sent().is_empty());
    assert_eq!(w.control.counters().echoes, 0);
}

#[test]
fn what_finds_nobody_is_told_so_at_a_limited_rate() {
    let mut w = World::ready(ARGS);
    let datagram = udp((THEM, v4(2), 1000), (US, v4(1), 2000), &[5; 900]);
    for _ in 0..50 {
        w.receive(&datagram);
    }
    let sent = w.sent();
    assert_eq!(sent.len(), 10);
    assert_eq!((w.control.counters().errors_out, w.control.counters().errors_limited), (10, 40));
    let error = &sent[0];
    assert_eq!((error.len(), error[34], error[35]), (14 + 576, 3, 3));
    assert!(holds(&error[14..34]) && holds(&error[34..]));
    assert_eq!(error[42..], datagram[14..][..548], "it quotes what it is about");
    w.run(1_000);
    // IPv6, and a protocol that nobody speaks.
    let mut other = ipv6((THEM, v6(2)), (US, v6(1)), IpProtocol::Unknown(132), 64, &[1; 40]);
    w.receive(&other);
    let error = w.sent().remove(0);
    assert_eq!((error[54], error[55], &error[58..62]), (4, 1, &[0, 0, 0, 6][..]));
    assert_eq!(error[62..], other[14..]);
    // Not about what went to more than us.
    other[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    w.receive(&other);
    w.receive(&udp((THEM, v4(2), 1), (MacAddr::BROADCAST, v4(1), 2), &[]));
    w.receive(&udp((THEM, v4(2), 1), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST, 2), &[]));
    assert!(w.sent().is_empty());
}

#[test]
fn frames_of_others_and_other_vlans_are_dropped_and_ours_tagged() {
    let mut w = World::ready("net.addr=10.0.0.1/24 net.vlan=100");
    let plain = Arp::request((THEM, v4(2)), v4(1)).frame();
    let tagged = |tci: u16| {
        let mut frame = plain[..12].to_vec();
        frame.extend([0x81, 0]);
        frame.extend(tci.to_be_bytes());
        frame.extend(&plain[12..]);
        frame
    };
    w.receive(&plain);
    w.receive(&tagged(101));
    assert!(w.sent().is_empty());
    assert_eq!(w.control.counters().not_ours, 2);
    w.receive(&tagged(0x6000 | 100));
    assert_eq!(w.sent()[0][12..18], [0x81, 0, 0, 100, 8, 6], "any priority in, ours out");
    let mut elsewhere = tagged(100);
    elsewhere[..6].copy_from_slice(&OTHER.0);
    w.receive(&elsewhere);
    assert_eq!(w.control.counters().not_ours, 3);
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let mut w = World::ready(ARGS);
    w.wire.full = true;
    w.receive(&Arp::request((THEM, v4(2)), v4(1)).frame());
    w.receive(&icmp((THEM, v4(2)), (US, v4(1)), &PING));
    assert_eq!((w.control.counters().send_failed, w.control.counters().echoes), (2, 0));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let with = |args: &str| {
        let config = ControlConfig { mac: US, mtu: 1500, net: NetArgs::parse(args).unwrap(), seed: 1 };
        Control::new(&config, Instant::ZERO).map(|_| ())
    };
    assert_eq!(with(""), Err(ControlError::NoAddress));
    for bad in ["224.0.0.1", "0.0.0.0", "127.0.0.1", "ff02::1", "::"] {
        assert_eq!(with(&std::format!("net.addr={bad}/8")), Err(ControlError::BadAddress(bad.parse().unwrap())));
    }
    let eight: String = (1..9).map(|n| std::format!("net.addr=10.0.0.{n}/24 ")).collect();
    assert_eq!(with(&eight), Ok(()));
    assert_eq!(with(&(eight.clone() + "net.addr=dhcp")), Err(ControlError::TooManyAddresses));
    let eight = eight.replace("10.0.0.8/24", "fd00::8/64");
    assert_eq!(with(&eight), Err(ControlError::TooManyAddresses));
}

/// Everything above, cut short, damaged, and damaged with the checksums made right again: no panic, and every frame is
/// accounted for.
#[test]
fn no_frame_makes_it_panic_and_none_goes_uncounted() {
    let group = solicited_node(v6(1));
    let seeds = [
        Arp::request((THEM, v4(2)), v4(1)).frame(),
        Arp::reply((THEM, v4(2)), (US, v4(1))).frame(),
        solicit((THEM, v6(2)), (group_mac(group), group), v6(1), Some(THEM)),
        advert((THEM, v6(2)), (US, v6(1)), NdiscNeighborFlags::OVERRIDE, v6(2)),
        icmp((THEM, v4(2)), (US, v4(1)), &PING),
        icmpv6((THEM, v6(2)), (US, v6(1)), 64, &Icmpv6Repr::EchoRequest { ident: 1, seq_no: 2, data: b"abc" }),
        udp((THEM, v4(2), 67), (US, v4(1), 68), &dhcp_offer()),
        ipv6((THEM, v6(2)), (US, v6(1)), IpProtocol::HopByHop, 255, &[58, 0, 1, 4, 0, 0, 0, 0, 135, 0, 0, 0]),
    ];
    let mut rng = Jitter::new(1);
    let mut w = World::ready("net.addr=10.0.0.1/24 net.addr=fd00::1/64 net.addr=dhcp");
    w.wire.used.push(v4(2).into());
    w.resolve(v4(2));
    w.resolve(v6(2));
    for round in 0..200_000u64 {
        let pick = (rng.next() % seeds.len() as u64) as usize;
        let mut frame = seeds[pick].clone();
        for _ in 0..rng.next() % 4 {
            // Mostly behind the link header, where the parsers are.
            let at = (rng.next() % frame.len() as u64) as usize;
            frame[at] = if rng.next().is_multiple_of(2) { rng.next() as u8 } else { frame[at] ^ 1 << (rng.next() % 8) };
        }
        if rng.next().is_multiple_of(4) {
            frame.truncate((rng.next() % (frame.len() as u64 + 1)) as usize);
        }
        if rng.next().is_multiple_of(2) {
            repair(&mut frame);
        }
        if round % 64 == 0 {
            w.run(rng.next() % 30_000);
        }
        w.receive(&frame);
        w.wire.sent.clear();
        w.wire.events.clear();
        w.wire.neighbors.clear();
    }
    let c = *w.control.counters();
    assert_eq!(c.frames_in, 200_000);
    for (name, n) in [
        ("malformed", c.malformed),
        ("not_ours", c.not_ours),
        ("nd_refused", c.nd_refused),
        ("ignored", c.ignored),
        ("fragments", c.fragments),
        ("answered", c.answered),
        ("echoes", c.echoes),
        ("dhcp_ignored", c.dhcp_ignored),
        ("errors_out", c.errors_out),
    ] {
        assert!(n > 0, "{name} was never reached");
    }
}

fn dhcp_offer() -> Vec<u8> {
    let mut message = std::vec![0; 260];
    message[..4].copy_from_slice(&[2, 1, 6, 0]);
    message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message[240..260].copy_from_slice(&[53, 1, 2, 54, 4, 10, 0, 0, 2, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255]);
    message
}

/// Makes the checksums of a damaged packet right, so that what is behind them is reached.
fn repair(frame: &mut [u8]) {
    let Some((link, body)) = frame.split_at_mut_checked(14) else { return };
    let mut sum = Checksum::new();
    match [link[12], link[13]] {
        [8, 0] if body.len() >= 28 => {
            body[10..12].fill(0);
            let len = usize::from(body[0] & 15) * 4;
            sum.add(&body[..len.min(body.len())]);
            body[10..12].copy_from_slice(&sum.finish().to_be_bytes());
            if body[9] == 1 && len == 20 {
                body[22..24].fill(0);
                let end = usize::from(u16::from_be_bytes([body[2], body[3]])).clamp(24, body.len());
                let mut sum = Checksum::new();
                sum.add(&body[20..end]);
                body[22..24].copy_from_slice(&sum.finish().to_be_bytes());
            } else if len == 20 && body[9] == 17 {
                // None (RFC 768).
                body[26..28].fill(0);
            }
        }
        [0x86, 0xdd] if body.len() >= 48 && body[6] == 58 => {
            let len = usize::from(u16::from_be_bytes([body[4], body[5]])).clamp(8, body.len() - 40);
            body[42..44].fill(0);
            let ends = (body[8..24].try_into().unwrap(), body[24..40].try_into().unwrap());
            sum.add_pseudo_v6(ends.0, ends.1, 58, len as u32);
            sum.add(&body[40..40 + len]);
            body[42..44].copy_from_slice(&sum.finish().to_be_bytes());
        }
        _ => {}
    }
}
