//! A world around a [`Control`]: time by hand, what it sent, and frames made by smoltcp for it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use std::vec::Vec;

use luna_core::time::{Duration, Instant};
use luna_core::wire::{Checksum, MacAddr};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, HardwareAddress,
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    NdiscRepr, UdpPacket, UdpRepr,
};

use super::{Control, ControlConfig, Event, NetArgs, Port};

pub(super) const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(super) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

pub(super) fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

pub(super) fn v6(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)
}

/// What a [`Control`] does to the world, written down.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) events: Vec<Event>,
    pub(super) neighbors: Vec<(IpAddr, Option<MacAddr>)>,
    pub(super) used: Vec<IpAddr>,
    pub(super) full: bool,
    /// The frame that is being handled.
    frame: Vec<u8>,
}

impl Port for Wire {
    fn send(&mut self, head: &[u8], tail: Range<usize>) -> bool {
        if self.full {
            return false;
        }
        let mut frame = head.to_vec();
        frame.extend_from_slice(&self.frame[tail]);
        self.sent.push(frame);
        true
    }

    fn in_use(&mut self, ip: IpAddr) -> bool {
        self.used.contains(&ip)
    }

    fn neighbor(&mut self, ip: IpAddr, mac: Option<MacAddr>) -> bool {
        self.neighbors.push((ip, mac));
        true
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// A control plane, its wire and its clock.
pub(super) struct World {
    pub(super) control: Control,
    pub(super) wire: Wire,
    pub(super) now: Instant,
}

impl World {
    pub(super) fn new(args: &str) -> Self {
        Self::seeded(args, 7)
    }

    pub(super) fn seeded(args: &str, seed: u64) -> Self {
        let config = ControlConfig { mac: US, mtu: 1500, net: NetArgs::parse(args).unwrap(), seed };
        let control = Control::new(&config, Instant::ZERO).unwrap();
        Self { control, wire: Wire::default(), now: Instant::ZERO }
    }

    /// With its addresses taken and announced, and nothing on record.
    pub(super) fn ready(args: &str) -> Self {
        let mut w = Self::new(&std::format!("{args} net.detect=off"));
        w.run(5_000);
        w.wire.sent.clear();
        w.wire.events.clear();
        w
    }

    pub(super) fn receive(&mut self, frame: &[u8]) {
        self.wire.frame = frame.to_vec();
        self.control.input(self.now, frame, false, &mut self.wire);
        self.wire.frame.clear();
        self.control.poll(self.now, &mut self.wire);
    }

    pub(super) fn resolve(&mut self, ip: impl Into<IpAddr>) {
        self.control.resolve(self.now, ip.into(), &mut self.wire);
    }

    /// Lets `ms` milliseconds pass, timer by timer, and returns what was sent, with the time in ms since the start.
    pub(super) fn run(&mut self, ms: u64) -> Vec<(u64, Vec<u8>)> {
        let end = self.now + Duration::from_millis(ms);
        let mut out = Vec::new();
        for _ in 0..100_000 {
            let before = self.wire.sent.len();
            let next = self.control.poll(self.now, &mut self.wire);
            assert!(next > self.now, "a timer that was served is due again");
            for frame in &self.wire.sent[before..] {
                out.push((self.now.as_nanos() / 1_000_000, frame.clone()));
            }
            if next > end {
                self.now = end;
                return out;
            }
            self.now = next;
        }
        panic!("timers never end");
    }

    pub(super) fn sent(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.wire.sent)
    }

    pub(super) fn told(&mut self) -> Vec<(IpAddr, Option<MacAddr>)> {
        core::mem::take(&mut self.wire.neighbors)
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.wire.events)
    }
}

pub(super) fn ethernet(src: MacAddr, dst: MacAddr, ethertype: EthernetProtocol, body: &[u8]) -> Vec<u8> {
    let repr = EthernetRepr { src_addr: EthernetAddress(src.0), dst_addr: EthernetAddress(dst.0), ethertype };
    let mut bytes = std::vec![0; 14 + body.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    repr.emit(&mut frame);
    frame.payload_mut().copy_from_slice(body);
    bytes
}

/// ARP as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Arp {
    pub(super) request: bool,
    pub(super) sender: (MacAddr, Ipv4Addr),
    pub(super) target: (MacAddr, Ipv4Addr),
    pub(super) to: MacAddr,
}

impl Arp {
    pub(super) fn request(sender: (MacAddr, Ipv4Addr), target: Ipv4Addr) -> Self {
        Self { request: true, sender, target: (MacAddr::default(), target), to: MacAddr::BROADCAST }
    }

    pub(super) fn reply(sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Self {
        Self { request: false, sender, target, to: target.0 }
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let repr = ArpRepr::EthernetIpv4 {
            operation: if self.request { ArpOperation::Request } else { ArpOperation::Reply },
            source_hardware_addr: EthernetAddress(self.sender.0.0),
            source_protocol_addr: self.sender.1,
            target_hardware_addr: EthernetAddress(self.target.0.0),
            target_protocol_addr: self.target.1,
        };
        let mut body = std::vec![0; repr.buffer_len()];
        repr.emit(&mut ArpPacket::new_unchecked(&mut body[..]));
        ethernet(self.sender.0, self.to, EthernetProtocol::Arp, &body)
    }

    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).unwrap();
        if frame.ethertype() != EthernetProtocol::Arp {
            return None;
        }
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        } = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).unwrap()).unwrap()
        else {
            return None;
        };
        assert_eq!(frame.src_addr(), source_hardware_addr);
        Some(Self {
            request: operation == ArpOperation::Request,
            sender: (MacAddr(source_hardware_addr.0), source_protocol_addr),
            target: (MacAddr(target_hardware_addr.0), target_protocol_addr),
            to: MacAddr(frame.dst_addr().0),
        })
    }
}

pub(super) fn ipv4(
    src: (MacAddr, Ipv4Addr),
    dst: (MacAddr, Ipv4Addr),
    protocol: IpProtocol,
    payload: &[u8],
) -> Vec<u8> {
    let repr =
        Ipv4Repr { src_addr: src.1, dst_addr: dst.1, next_header: protocol, payload_len: payload.len(), hop_limit: 64 };
    let mut body = std::vec![0; 20 + payload.len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut body[..]);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    packet.payload_mut().copy_from_slice(payload);
    ethernet(src.0, dst.0, EthernetProtocol::Ipv4, &body)
}

pub(super) fn ipv6(
    src: (MacAddr, Ipv6Addr),
    dst: (MacAddr, Ipv6Addr),
    next_header: IpProtocol,
    hops: u8,
    payload: &[u8],
) -> Vec<u8> {
    let repr = Ipv6Repr { src_addr: src.1, dst_addr: dst.1, next_header, payload_len: payload.len(), hop_limit: hops };
    let mut body = std::vec![0; 40 + payload.len()];
    let mut packet = Ipv6Packet::new_unchecked(&mut body[..]);
    repr.emit(&mut packet);
    packet.payload_mut().copy_from_slice(payload);
    ethernet(src.0, dst.0, EthernetProtocol::Ipv6, &body)
}

pub(super) fn icmp(src: (MacAddr, Ipv4Addr), dst: (MacAddr, Ipv4Addr), repr: &Icmpv4Repr<'_>) -> Vec<u8> {
    let mut message = std::vec![0; repr.buffer_len()];
    repr.emit(&mut Icmpv4Packet::new_unchecked(&mut message[..]), &ChecksumCapabilities::default());
    ipv4(src, dst, IpProtocol::Icmp, &message)
}

pub(super) fn icmpv6(src: (MacAddr, Ipv6Addr), dst: (MacAddr, Ipv6Addr), hops: u8, repr: &Icmpv6Repr<'_>) -> Vec<u8> {
    let mut message = std::vec![0; repr.buffer_len()];
    let caps = ChecksumCapabilities::default();
    repr.emit(&src.1, &dst.1, &mut Icmpv6Packet::new_unchecked(&mut message[..]), &caps);
    ipv6(src, dst, IpProtocol::Icmpv6, hops, &message)
}

pub(super) fn udp(src: (MacAddr, Ipv4Addr, u16), dst: (MacAddr, Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr { src_port: src.2, dst_port: dst.2 };
    let mut datagram = std::vec![0; 8 + payload.len()];
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut datagram[..]),
        &src.1.into(),
        &dst.1.into(),
        payload.len(),
        |to| to.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    ipv4((src.0, src.1), (dst.0, dst.1), IpProtocol::Udp, &datagram)
}

pub(super) fn solicit(
    src: (MacAddr, Ipv6Addr),
    dst: (MacAddr, Ipv6Addr),
    target: Ipv6Addr,
    mac: Option<MacAddr>,
) -> Vec<u8> {
    let lladdr = mac.map(|m| HardwareAddress::Ethernet(EthernetAddress(m.0)).into());
    icmpv6(src, dst, 255, &Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: target, lladdr }))
}

/// An IPv6 packet that was sent, its ICMPv6 checksum verified by smoltcp: link destination, ends, hop limit, message.
pub(super) fn read_ndisc(frame: &[u8]) -> Option<(MacAddr, (Ipv6Addr, Ipv6Addr), NdiscRepr<'_>)> {
    let link = EthernetFrame::new_checked(frame).unwrap();
    if link.ethertype() != EthernetProtocol::Ipv6 {
        return None;
    }
    let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    let ip = Ipv6Repr::parse(&packet).unwrap();
    assert_eq!(ip.hop_limit, 255);
    let icmp = Icmpv6Packet::new_checked(&frame[54..]).unwrap();
    let caps = ChecksumCapabilities::default();
    match Icmpv6Repr::parse(&ip.src_addr, &ip.dst_addr, &icmp, &caps).unwrap() {
        Icmpv6Repr::Ndisc(repr) => Some((MacAddr(link.dst_addr().0), (ip.src_addr, ip.dst_addr), repr)),
        _ => None,
    }
}

/// Whether the Internet checksum over an ICMP message holds.
pub(super) fn holds(message: &[u8]) -> bool {
    let mut sum = Checksum::new();
    sum.add(message);
    sum.finish() == 0
}
