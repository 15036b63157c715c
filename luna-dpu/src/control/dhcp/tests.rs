//! Stories with a DHCP server: the messages are smoltcp's on both sides of the test, the times RFC 2131's.

use std::vec::Vec;

use smoltcp::wire::{DhcpOption, EthernetFrame, Ipv4Packet, UdpPacket};

use super::super::testing::*;
use super::super::{ControlCounters, Event, Origin};
use super::*;

const SERVER: (MacAddr, Ipv4Addr) = (THEM, Ipv4Addr::new(10, 0, 0, 254));
const HOUR: u32 = 3_600;

/// What the client said, as a server reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Said {
    kind: DhcpMessageType,
    xid: u32,
    ciaddr: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    to: (MacAddr, Ipv4Addr),
    secs: u16,
}

fn said(frame: &[u8]) -> Option<Said> {
    let link = EthernetFrame::new_checked(frame).unwrap();
    if u16::from(link.ethertype()) != 0x0800 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(link.payload()).unwrap();
    assert!(ip.verify_checksum());
    let udp = UdpPacket::new_checked(ip.payload()).unwrap();
    if udp.dst_port() != 67 {
        return None;
    }
    assert!(udp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
    assert!(udp.payload().len() >= 300);
    let packet = DhcpPacket::new_checked(udp.payload()).unwrap();
    let repr = DhcpRepr::parse(&packet).unwrap();
    assert_eq!((repr.client_hardware_address.0, ip.src_addr()), (US.0, repr.client_ip));
    assert_eq!(repr.client_identifier, Some(EthernetAddress(US.0)));
    Some(Said {
        kind: repr.message_type,
        xid: repr.transaction_id,
        ciaddr: repr.client_ip,
        requested: repr.requested_ip,
        server: repr.server_identifier,
        to: (MacAddr(link.dst_addr().0), ip.dst_addr()),
        secs: repr.secs,
    })
}

fn all_said(frames: &[(u64, Vec<u8>)]) -> Vec<(u64, Said)> {
    frames.iter().filter_map(|(at, f)| said(f).map(|s| (*at, s))).collect()
}

#[derive(Clone, Copy)]
struct Reply {
    kind: DhcpMessageType,
    xid: u32,
    addr: Ipv4Addr,
    server: Ipv4Addr,
    lease: u32,
    mac: MacAddr,
    mask: [u8; 4],
    router: Ipv4Addr,
}

impl Reply {
    fn new(kind: DhcpMessageType, xid: u32, addr: Ipv4Addr) -> Self {
        Self { kind, xid, addr, server: SERVER.1, lease: HOUR, mac: US, mask: [255, 255, 255, 0], router: v4(253) }
    }

    fn frame(&self) -> Vec<u8> {
        let routers = [self.router.octets(), [10, 0, 0, 252]].concat();
        let extra = [DhcpOption { kind: 3, data: &routers }, DhcpOption { kind: 1, data: &self.mask }];
        let repr = DhcpRepr {
            message_type: self.kind,
            transaction_id: self.xid,
            secs: 0,
            client_hardware_address: EthernetAddress(self.mac.0),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: self.addr,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(self.server),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: Some(self.lease),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &extra,
        };
        let mut message = std::vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut message[..])).unwrap();
        udp((SERVER.0, SERVER.1, 67), (US, self.addr, 68), &message)
    }
}

/// Runs until the client says something.
fn next(w: &mut World) -> (u64, Said) {
    for _ in 0..100_000 {
        if let Some(first) = all_said(&w.run(100)).first() {
            return *first;
        }
    }
    panic!("it says nothing");
}

/// Up to the acknowledgment.
fn leased(args: &str) -> World {
    let mut w = World::new(args);
    let (_, discover) = next(&mut w);
    w.receive(&Reply::new(DhcpMessageType::Offer, discover.xid, v4(50)).frame());
    w.sent();
    w.receive(&Reply::new(DhcpMessageType::Ack, discover.xid, v4(50)).frame());
    w
}

/// And with its address in use.
fn bound() -> World {
    let mut w = leased("net.addr=dhcp");
    w.run(10_000);
    assert_eq!(w.events(), [Event::Address(Cidr { addr: v4(50).into(), prefix: 24 }, Origin::Dhcp)]);
    w.sent();
    w
}

fn counters(w: &World) -> ControlCounters {
    *w.control.counters()
}

#[test]
fn discover_offer_request_ack_probe_use() {
    let mut w = World::new("net.addr=dhcp");
    let (at, discover) = next(&mut w);
    assert!(at <= 1_000);
    assert_eq!(
        (discover.kind, discover.to, discover.requested),
        (DhcpMessageType::Discover, (MacAddr::BROADCAST, Ipv4Addr::BROADCAST), None)
    );
    w.sent();
    w.receive(&Reply::new(DhcpMessageType::Offer, discover.xid, v4(50)).frame());
    let request = said(&w.sent()[0]).unwrap();
    assert_eq!(request.kind, DhcpMessageType::Request);
    assert_eq!(
        (request.requested, request.server, request.ciaddr),
        (Some(v4(50)), Some(SERVER.1), v4(0).min(Ipv4Addr::UNSPECIFIED))
    );
    assert_eq!((request.xid, request.to, request.secs), (discover.xid, discover.to, discover.secs));
    w.receive(&Reply::new(DhcpMessageType::Ack, discover.xid, v4(50)).frame());
    assert!(w.control.path_config().addrs.is_empty(), "probed for first");
    let sent = w.run(10_000);
    let arp: Vec<Arp> = sent.iter().filter_map(|(_, f)| Arp::read(f)).collect();
    let probe = Arp::request((US, Ipv4Addr::UNSPECIFIED), v4(50));
    assert_eq!(arp[..4], [probe, probe, probe, Arp::request((US, v4(50)), v4(50))]);
    let config = w.control.path_config();
    assert_eq!(config.addrs[..], [Cidr { addr: v4(50).into(), prefix: 24 }]);
    assert_eq!(config.gateway_v4, Some(v4(253).into()), "the first router of two");
}

#[test]
fn discovers_are_repeated_at_doubling_intervals_up_to_a_minute() {
    let mut w = World::new("net.addr=dhcp");
    let sent = all_said(&w.run(400_000));
    assert!(sent.iter().all(|(_, s)| s.kind == DhcpMessageType::Discover && s.xid == sent[0].1.xid));
    let gaps: Vec<u64> = sent.windows(2).map(|s| s[1].0 - s[0].0).collect();
    for (i, gap) in gaps.iter().enumerate() {
        let nominal = (4_000u64 << i.min(4)).min(64_000);
        assert!((nominal - 1_000..=nominal + 1_000).contains(gap), "{gaps:?}");
    }
    assert!(gaps.len() >= 7);
    assert_eq!(u64::from(sent[3].1.secs), (sent[3].0 - sent[0].0) / 1_000);
    let mut other = World::seeded("net.addr=dhcp", 8);
    assert_ne!(all_said(&other.run(400_000)), sent, "clients differ");
}

#[test]
fn requests_that_nobody_answers_end_in_a_new_search() {
    let mut w = World::new("net.addr=dhcp");
    let (_, discover) = next(&mut w);
    w.receive(&Reply::new(DhcpMessageType::Offer, discover.xid, v4(50)).frame());
    let sent = all_said(&w.run(200_000));
    let kinds: Vec<_> = sent.iter().map(|(_, s)| s.kind).take(4).collect();
    use DhcpMessageType::{Discover, Request};
    // One request went at once.
    assert_eq!(kinds, [Request, Request, Request, Discover]);
    assert_ne!(sent[3].1.xid, discover.xid);
}

#[test]
fn a_refusal_ends_in_a_new_search() {
    let mut w = World::new("net.addr=dhcp");
    let (_, discover) = next(&mut w);
    w.receive(&Reply::new(DhcpMessageType::Offer, discover.xid, v4(50)).frame());
    w.sent();
    w.receive(&Reply::new(DhcpMessageType::Nak, discover.xid, v4(50)).frame());
    assert_eq!(w.events(), [Event::DhcpRefused]);
    assert_eq!(said(&w.sent()[0]).unwrap().kind, DhcpMessageType::Discover);
}

#[test]
fn answers_of_others_and_answers_without_what_is_needed_are_ignored() {
    let mut w = World::new("net.addr=dhcp");
    let (_, discover) = next(&mut w);
    let offer = Reply::new(DhcpMessageType::Offer, discover.xid, v4(50));
    w.sent();
    for bad in [
        Reply { xid: discover.xid ^ 1, ..offer },
        Reply { mac: OTHER, ..offer },
        Reply { kind: DhcpMessageType::Ack, ..offer },
        Reply { addr: Ipv4Addr::UNSPECIFIED, ..offer },
    ] {
        w.receive(&bad.frame());
    }
    assert_eq!(counters(&w).dhcp_ignored, 4);
    w.receive(&offer.frame());
    w.sent();
    let ack = Reply { kind: DhcpMessageType::Ack, ..offer };
    for bad in [
        Reply { server: v4(77), ..ack },
        Reply { lease: 0, ..ack },
        Reply { mask: [255, 0, 255, 0], ..ack },
        Reply { addr: Ipv4Addr::new(224, 0, 0, 5), ..ack },
    ] {
        w.receive(&bad.frame());
    }
    assert_eq!(counters(&w).dhcp_ignored, 8);
    assert!(w.sent().is_empty() && w.control.lease().is_none());
    w.receive(&ack.frame());
    assert!(w.control.lease().is_some());
}

#[test]
fn an_address_that_somebody_has_is_declined_and_another_asked_for() {
    let mut w = leased("net.addr=dhcp");
    w.run(3_000);
    w.sent();
    w.receive(&Arp::reply((OTHER, v4(50)), (US, Ipv4Addr::UNSPECIFIED)).frame());
    assert_eq!(w.events(), [Event::Duplicate(v4(50).into(), OTHER)]);
    let decline = said(&w.sent()[0]).unwrap();
    assert_eq!(
        (decline.kind, decline.requested, decline.server),
        (DhcpMessageType::Decline, Some(v4(50)), Some(SERVER.1))
    );
    let before = w.now.as_nanos() / 1_000_000;
    let (at, discover) = next(&mut w);
    assert_eq!((discover.kind, at - before), (DhcpMessageType::Discover, 10_000));
}

#[test]
fn a_leased_address_is_defended_once_then_given_up() {
    let mut w = bound();
    let claim = Arp::request((OTHER, v4(50)), v4(50)).frame();
    w.receive(&claim);
    w.receive(&claim);
    assert_eq!(w.events(), [Event::Conflict(v4(50).into(), OTHER), Event::AddressLost(v4(50).into())]);
    assert_eq!(said(w.sent().last().unwrap()).unwrap().kind, DhcpMessageType::Decline);
    assert!(w.control.path_config().addrs.is_empty());
}

#[test]
fn a_lease_is_renewed_at_half_of_its_time_with_its_server() {
    let mut w = bound();
    let lease = *w.control.lease().unwrap();
    let (at, renew) = next(&mut w);
    assert_eq!(at, lease.renew_at.as_nanos() / 1_000_000);
    assert_eq!((renew.kind, renew.ciaddr, renew.to), (DhcpMessageType::Request, v4(50), SERVER));
    assert_eq!((renew.requested, renew.server), (None, None), "RFC 2131 §4.3.2: neither in a renewal");
    w.receive(&Reply::new(DhcpMessageType::Ack, renew.xid, v4(50)).frame());
    assert!(matches!(w.events()[..], [Event::LeaseExtended(l)] if l.expires_at > lease.expires_at));
    assert_eq!(w.control.path_config().addrs.len(), 1);
}

#[test]
fn a_renewal_may_name_another_router() {
    let mut w = bound();
    w.control.changed = false;
    for (router, changes) in [(253, false), (7, true), (7, false)] {
        let (_, renew) = next(&mut w);
        w.receive(&Reply { router: v4(router), ..Reply::new(DhcpMessageType::Ack, renew.xid, v4(50)) }.frame());
        assert!(matches!(w.events()[..], [Event::LeaseExtended(_)]));
        assert_eq!(w.control.path_config().gateway_v4, Some(v4(router).into()));
        assert_eq!(core::mem::take(&mut w.control.changed), changes, "the stack is told of router {router}");
    }
}

#[test]
fn a_lease_that_nobody_extends_is_asked_for_of_everybody_and_then_lost() {
    let mut w = bound();
    let lease = *w.control.lease().unwrap();
    let ms = |t: Instant| t.as_nanos() / 1_000_000;
    let left = ms(lease.expires_at) - ms(w.now);
    let sent = all_said(&w.run(left + 1_000));
    let (t1, t2, end) = (ms(lease.renew_at), ms(lease.rebind_at), ms(lease.expires_at));
    assert_eq!((t2 - t1, end - t1), (1_350_000, 1_800_000), "seven eighths, and a half");
    let to_server: Vec<u64> = sent.iter().filter(|s| s.1.to == SERVER).map(|s| s.0).collect();
    // Half of what is left until T2, a minute at least.
    assert_eq!(to_server[..3], [t1, t1 + 675_000, t1 + 1_012_500]);
    assert!(to_server.windows(2).all(|w| w[1] - w[0] >= 60_000));
    let rebinds: Vec<u64> = sent
        .iter()
        .filter(|s| s.1.to.1 == Ipv4Addr::BROADCAST && s.1.kind == DhcpMessageType::Request)
        .map(|s| s.0)
        .collect();
    assert_eq!(rebinds[..2], [t2, t2 + 225_000]);
    assert_eq!(w.events(), [Event::AddressLost(v4(50).into())]);
    assert_eq!(counters(&w).dhcp_expired, 1);
    assert_eq!(sent.last().unwrap().1.kind, DhcpMessageType::Discover, "and it begins again");
    assert_eq!(sent.last().unwrap().0, end);
}

#[test]
fn a_server_that_moves_us_to_another_address_is_followed() {
    let mut w = bound();
    let (_, renew) = next(&mut w);
    w.receive(&Reply::new(DhcpMessageType::Ack, renew.xid, v4(51)).frame());
    assert_eq!(w.events(), [Event::AddressLost(v4(50).into())]);
    w.run(10_000);
    assert_eq!(w.control.path_config().addrs[..], [Cidr { addr: v4(51).into(), prefix: 24 }]);
    // A refusal of a renewal takes the address at once (§4.4.5).
    w.events();
    let (_, renew) = next(&mut w);
    w.receive(&Reply::new(DhcpMessageType::Nak, renew.xid, v4(51)).frame());
    assert_eq!(w.events(), [Event::AddressLost(v4(51).into()), Event::DhcpRefused]);
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let mut w = World::new("net.addr=dhcp net.detect=off");
    let (_, discover) = next(&mut w);
    let offer = Reply { lease: u32::MAX, ..Reply::new(DhcpMessageType::Offer, discover.xid, v4(50)) };
    w.receive(&offer.frame());
    w.receive(&Reply { kind: DhcpMessageType::Ack, ..offer }.frame());
    assert!(all_said(&w.run(1_000_000_000)).is_empty());
    assert_eq!(w.control.path_config().addrs.len(), 1);
}

#[test]
fn an_offer_of_an_address_that_is_ours_already_is_declined() {
    let mut w = leased("net.addr=10.0.0.50/24 net.addr=dhcp");
    assert_eq!(said(w.sent().last().unwrap()).unwrap().kind, DhcpMessageType::Decline);
    w.run(5_000);
    assert_eq!(counters(&w).duplicates, 1);
}

/// Answers to the right exchange, damaged behind what names it: no panic, and no lease without an address of a host.
#[test]
fn no_answer_makes_it_panic() {
    let mut rng = Jitter::new(3);
    let mut leases = 0;
    for seed in 0..4_000 {
        let mut w = World::seeded("net.addr=dhcp net.detect=off", seed);
        let (_, discover) = next(&mut w);
        let offer = Reply::new(DhcpMessageType::Offer, discover.xid, v4(50));
        w.receive(&offer.frame());
        let kind = [DhcpMessageType::Ack, DhcpMessageType::Nak, DhcpMessageType::Offer][(rng.next() % 3) as usize];
        let mut frame = Reply { kind, ..offer }.frame();
        // No UDP checksum (RFC 768).
        frame[40..42].fill(0);
        for _ in 0..=rng.next() % 3 {
            let at = 42 + 16 + (rng.next() % (frame.len() as u64 - 58)) as usize;
            frame[at] = rng.next() as u8;
        }
        w.receive(&frame);
        if let Some(lease) = w.control.lease() {
            leases += 1;
            assert!(is_host(lease.addr) && lease.prefix > 0 && lease.expires_at > w.now);
        }
        w.run(10_000);
    }
    assert!(leases > 200, "{leases}");
}
