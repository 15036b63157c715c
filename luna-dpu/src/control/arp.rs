//! ARP over Ethernet for IPv4 (RFC 826), with the address conflict rules of RFC 5227.

use core::net::{IpAddr, Ipv4Addr};

use luna_core::time::Instant;
use luna_core::wire::{EtherType, EthernetHeader, MacAddr};
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

use super::frame::{Frame, Link};
use super::neighbor::Heard;
use super::{Control, Port};

impl Control {
    pub(super) fn arp(&mut self, now: Instant, link: &EthernetHeader, body: &[u8], port: &mut impl Port) {
        let parsed = ArpPacket::new_checked(body).and_then(|packet| ArpRepr::parse(&packet));
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = parsed
        else {
            self.counters.malformed += 1;
            return;
        };
        let (mac, sender, target) = (MacAddr(source_hardware_addr.0), source_protocol_addr, target_protocol_addr);
        if !mac.is_unicast() || mac == self.link.mac {
            self.counters.malformed += 1;
            return;
        }
        let request = operation == ArpOperation::Request;
        if self.addrs.knows(sender.into()) {
            // RFC 5227 §2.1.1 and §2.4: whatever it says, it says that it has our address.
            return self.conflict(now, sender.into(), mac, port);
        }
        if sender.is_unspecified() {
            // A probe of somebody who wants `target`. If we only want it too, neither gets it.
            if request && self.addrs.is_tentative(target.into()) {
                return self.conflict(now, target.into(), mac, port);
            }
        } else if sender.is_broadcast() || sender.is_multicast() {
            self.counters.malformed += 1;
            return;
        } else {
            let ip = IpAddr::V4(sender);
            let how = Heard {
                solicited: !request && link.dst == self.link.mac && self.neighbors.awaits(ip),
                overrides: true,
                creates: request && self.addrs.has(target.into()),
            };
            let (neighbors, rng, mut ask) = self.split(port);
            neighbors.heard(now, (ip, Some(mac)), how, rng, &mut ask);
        }
        if request && self.addrs.has(target.into()) {
            self.counters.answered += 1;
            let frame = build(self.link, ArpOperation::Reply, target, (mac, mac), sender);
            self.send(frame.bytes(), 0..0, port);
        } else if request {
            self.counters.ignored += 1;
        }
    }
}

/// Who has `ip`? To everybody, or to where it was.
pub(super) fn request(link: Link, us: Ipv4Addr, ip: Ipv4Addr, to: Option<MacAddr>) -> Frame {
    build(link, ArpOperation::Request, us, (to.unwrap_or(MacAddr::BROADCAST), MacAddr::default()), ip)
}

/// Who has `ip`, asked by nobody: disturbs nobody's cache (RFC 5227 §2.1.1).
pub(super) fn probe(link: Link, ip: Ipv4Addr) -> Frame {
    request(link, Ipv4Addr::UNSPECIFIED, ip, None)
}

/// Gratuitous ARP: both addresses are ours (RFC 5227 §2.3).
pub(super) fn announcement(link: Link, ip: Ipv4Addr) -> Frame {
    request(link, ip, ip, None)
}

fn build(link: Link, operation: ArpOperation, us: Ipv4Addr, to: (MacAddr, MacAddr), target: Ipv4Addr) -> Frame {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(link.mac.0),
        source_protocol_addr: us,
        target_hardware_addr: EthernetAddress(to.1.0),
        target_protocol_addr: target,
    };
    let mut frame = Frame::new(link, to.0, EtherType::Arp);
    repr.emit(&mut ArpPacket::new_unchecked(frame.space(repr.buffer_len())));
    frame
}
