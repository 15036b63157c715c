//! The DHCP client's place among the addresses: what comes of its answers, and how its messages leave.

use core::net::{IpAddr, Ipv4Addr};

use luna_core::time::Instant;
use luna_core::wire::{Checksum, EtherType};
use smoltcp::wire::{IpAddress, UdpPacket};

use super::address::Origin;
use super::dhcp::{self, Lease, Message, Outcome};
use super::frame::{self, Frame};
use super::icmp::Unreachable;
use super::{Control, Event, PROTOCOL_UDP, Packet, Port};

const UDP_HEADER: usize = 8;

impl Control {
    pub(super) fn poll_dhcp(&mut self, now: Instant, port: &mut impl Port) {
        // A lease that ran out begins anew in the same breath.
        for _ in 0..2 {
            let Some(dhcp) = &mut self.dhcp else { return };
            match dhcp.poll(now, &mut self.rng) {
                Ok(Some(message)) => return self.send_dhcp(&message, port),
                Ok(None) => return,
                Err(outcome) => self.dhcp_outcome(now, outcome, port),
            }
        }
    }

    /// The router that the lease in use names.
    pub(super) fn leased_router(&self) -> Option<Ipv4Addr> {
        self.lease().filter(|lease| self.addrs.has(lease.addr.into())).and_then(|lease| lease.router)
    }

    /// A datagram: the client's, or nobody's.
    pub(super) fn udp(&mut self, now: Instant, packet: &Packet<'_>, l4_good: bool, port: &mut impl Port) {
        let (src, dst) = (IpAddress::from(packet.src), IpAddress::from(packet.dst));
        let Some(udp) =
            UdpPacket::new_checked(packet.payload).ok().filter(|u| l4_good || u.verify_checksum(&src, &dst))
        else {
            self.counters.malformed += 1;
            return;
        };
        let ports = (udp.src_port(), udp.dst_port());
        match (&mut self.dhcp, packet.dst) {
            // To an address that is not ours yet, or to everybody.
            (Some(dhcp), IpAddr::V4(_)) if ports == (dhcp::SERVER_PORT, dhcp::CLIENT_PORT) => {
                match dhcp.input(now, packet.link.src, udp.payload()) {
                    Ok(None) => {}
                    Ok(Some(outcome)) => self.dhcp_outcome(now, outcome, port),
                    Err(()) => self.counters.dhcp_ignored += 1,
                }
            }
            _ => self.unreachable(now, packet, Unreachable::Port, port),
        }
    }

    fn dhcp_outcome(&mut self, now: Instant, outcome: Outcome, port: &mut impl Port) {
        match outcome {
            Outcome::Leased(lease) => self.use_lease(now, &lease, port),
            Outcome::Extended(lease, old_router) => {
                // The address stays; where to go from it may be another place.
                self.changed |= lease.router != old_router;
                port.event(Event::LeaseExtended(lease));
            }
            Outcome::Replaced(old, lease) => {
                self.lose(old.into(), port);
                self.use_lease(now, &lease, port);
            }
            Outcome::Refused(old) => {
                self.counters.dhcp_refused += 1;
                if let Some(old) = old {
                    self.lose(old.into(), port);
                }
                port.event(Event::DhcpRefused);
            }
            Outcome::Expired(old) => {
                self.counters.dhcp_expired += 1;
                self.lose(old.into(), port);
            }
        }
    }

    fn use_lease(&mut self, now: Instant, lease: &Lease, port: &mut impl Port) {
        let known = self.addrs.knows(lease.addr.into());
        if known || !self.addrs.add(now, lease.cidr(), Origin::Dhcp, self.detect, &mut self.rng) {
            // One of the static ones: a server that gives it to somebody is wrong, and is told so.
            self.counters.duplicates += 1;
            self.decline(now, port);
        }
    }

    pub(super) fn decline(&mut self, now: Instant, port: &mut impl Port) {
        let declined = self.dhcp.as_mut().and_then(|dhcp| dhcp.lease().copied().map(|lease| dhcp.decline(now, &lease)));
        if let Some(message) = declined {
            self.send_dhcp(&message, port);
        }
    }

    fn lose(&mut self, addr: IpAddr, port: &mut impl Port) {
        if self.addrs.remove(addr) {
            self.changed = true;
            port.event(Event::AddressLost(addr));
        }
    }

    fn send_dhcp(&mut self, message: &Message, port: &mut impl Port) {
        let Some(dhcp) = &self.dhcp else { return };
        let mut frame = Frame::new(self.link, message.to.0, EtherType::Ipv4);
        let len = UDP_HEADER + dhcp::MIN_LEN;
        let ends = (message.ciaddr, message.to.1);
        frame.ipv4(ends, PROTOCOL_UDP, frame::HOPS, len);
        let udp = frame.space(len);
        let Some((head, body)) = udp.split_first_chunk_mut::<UDP_HEADER>() else { return };
        let [len_high, len_low] = (len as u16).to_be_bytes();
        *head = [0, dhcp::CLIENT_PORT as u8, 0, dhcp::SERVER_PORT as u8, len_high, len_low, 0, 0];
        if !dhcp.emit(message, body) {
            self.counters.send_failed += 1;
            return;
        }
        let mut sum = Checksum::new();
        sum.add_pseudo_v4(ends.0.octets(), ends.1.octets(), PROTOCOL_UDP, len as u16);
        sum.add(udp);
        // 0 says that there is none (RFC 768).
        let sum = if sum.finish() == 0 { 0xffff } else { sum.finish() };
        if let Some(field) = udp.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        self.counters.dhcp_out += 1;
        self.send(frame.bytes(), 0..0, port);
    }
}
