//! Neighbour discovery (RFC 4861) as far as a host with static addresses needs it: solicitations and advertisements, and
//! duplicate address detection (RFC 4862 §5.4).

use core::net::{IpAddr, Ipv6Addr};

use luna_core::time::Instant;
use luna_core::wire::icmp::PROTOCOL_ICMPV6;
use luna_core::wire::{EtherType, MacAddr};
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv6Packet, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use super::frame::{Frame, HOPS_ON_LINK, Link, group_mac, icmp_pseudo, solicited_node};
use super::neighbor::Heard;
use super::{Control, Packet, Port};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Control {
    /// A message of types 133 to 137 whose checksum is right.
    pub(super) fn neighbor_discovery(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        port: &mut impl Port,
    ) {
        // A packet that a router forwarded has fewer.
        if packet.hops != HOPS_ON_LINK {
            self.counters.nd_refused += 1;
            return;
        }
        let parsed = Icmpv6Packet::new_checked(packet.payload).and_then(|icmp| {
            let coded = icmp.msg_code() != 0;
            NdiscRepr::parse(&icmp).map(|repr| (repr, coded))
        });
        match parsed {
            Err(_) => self.counters.malformed += 1,
            Ok((_, true)) => self.counters.nd_refused += 1,
            Ok((NdiscRepr::NeighborSolicit { target_addr, lladdr }, _)) => {
                self.solicited(now, packet, (src, dst), target_addr, mac_of(lladdr), port);
            }
            Ok((NdiscRepr::NeighborAdvert { flags, target_addr, lladdr }, _)) => {
                self.advertised(now, packet, dst, (flags, target_addr, mac_of(lladdr)), port);
            }
            Ok(_) => self.counters.ignored += 1,
        }
    }

    fn solicited(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        target: Ipv6Addr,
        mac: Option<MacAddr>,
        port: &mut impl Port,
    ) {
        let detecting = src.is_unspecified();
        let to_group = dst == solicited_node(target);
        if target.is_multicast() || src.is_multicast() || detecting && (!to_group || mac.is_some()) {
            self.counters.nd_refused += 1;
            return;
        }
        let target_ip = IpAddr::V6(target);
        if self.addrs.is_tentative(target_ip) {
            // Somebody else wants it as well (RFC 4862 §5.4.3). Who only asks for its owner asks again.
            if detecting {
                self.conflict(now, target_ip, packet.link.src, port);
            } else {
                self.counters.ignored += 1;
            }
            return;
        }
        if !self.addrs.has(target_ip) || !to_group && !self.addrs.has(dst.into()) {
            self.counters.not_ours += 1;
            return;
        }
        if let Some(mac) = mac.filter(|m| m.is_unicast()) {
            let how = Heard { solicited: false, overrides: true, creates: true };
            let (neighbors, rng, mut ask) = self.split(port);
            neighbors.heard(now, (src.into(), Some(mac)), how, rng, &mut ask);
        }
        let flags = NdiscNeighborFlags::OVERRIDE;
        let frame = if detecting {
            advertisement(self.link, (target, ALL_NODES), group_mac(ALL_NODES), target, flags)
        } else {
            let to = mac.unwrap_or(packet.link.src);
            advertisement(self.link, (target, src), to, target, flags | NdiscNeighborFlags::SOLICITED)
        };
        self.counters.answered += 1;
        self.send(frame.bytes(), 0..0, port);
    }

    fn advertised(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        dst: Ipv6Addr,
        (flags, target, mac): (NdiscNeighborFlags, Ipv6Addr, Option<MacAddr>),
        port: &mut impl Port,
    ) {
        let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
        if target.is_multicast() || dst.is_multicast() && solicited || mac.is_some_and(|m| !m.is_unicast()) {
            self.counters.nd_refused += 1;
            return;
        }
        let ip = IpAddr::V6(target);
        if self.addrs.knows(ip) {
            return self.conflict(now, ip, mac.unwrap_or(packet.link.src), port);
        }
        let overrides = flags.contains(NdiscNeighborFlags::OVERRIDE);
        let how = Heard { solicited, overrides, creates: false };
        let (neighbors, rng, mut ask) = self.split(port);
        neighbors.heard(now, (ip, mac), how, rng, &mut ask);
    }
}

/// A link-layer address option, if it is Ethernet's.
fn mac_of(raw: Option<RawHardwareAddress>) -> Option<MacAddr> {
    raw?.as_bytes().first_chunk::<6>().copied().map(MacAddr)
}

fn raw(mac: MacAddr) -> RawHardwareAddress {
    HardwareAddress::Ethernet(EthernetAddress(mac.0)).into()
}

/// Where is `ip`? To its group, or to where it was.
pub(super) fn solicitation(link: Link, us: Ipv6Addr, ip: Ipv6Addr, to: Option<MacAddr>) -> Frame {
    let repr = NdiscRepr::NeighborSolicit { target_addr: ip, lladdr: Some(raw(link.mac)) };
    let group = solicited_node(ip);
    match to {
        Some(mac) => build(link, (us, ip), mac, &repr),
        None => build(link, (us, group), group_mac(group), &repr),
    }
}

/// Has anybody `ip`?
pub(super) fn probe(link: Link, ip: Ipv6Addr) -> Frame {
    let group = solicited_node(ip);
    let repr = NdiscRepr::NeighborSolicit { target_addr: ip, lladdr: None };
    build(link, (Ipv6Addr::UNSPECIFIED, group), group_mac(group), &repr)
}

/// `ip` is here (RFC 4861 §7.2.6).
pub(super) fn announcement(link: Link, ip: Ipv6Addr) -> Frame {
    advertisement(link, (ip, ALL_NODES), group_mac(ALL_NODES), ip, NdiscNeighborFlags::OVERRIDE)
}

fn advertisement(
    link: Link,
    ends: (Ipv6Addr, Ipv6Addr),
    to: MacAddr,
    target: Ipv6Addr,
    flags: NdiscNeighborFlags,
) -> Frame {
    let repr = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr: Some(raw(link.mac)) };
    build(link, ends, to, &repr)
}

fn build(link: Link, ends: (Ipv6Addr, Ipv6Addr), to: MacAddr, repr: &NdiscRepr<'_>) -> Frame {
    let mut frame = Frame::new(link, to, EtherType::Ipv6);
    let len = repr.buffer_len();
    frame.ipv6(ends, PROTOCOL_ICMPV6, HOPS_ON_LINK, len);
    let message = frame.space(len);
    repr.emit(&mut Icmpv6Packet::new_unchecked(&mut *message));
    let mut sum = icmp_pseudo(ends.0.into(), ends.1.into(), len);
    sum.add(message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    frame
}
