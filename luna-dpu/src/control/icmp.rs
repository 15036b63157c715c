//! ICMP and ICMPv6: echo is answered, and what finds nobody here is told so, at a limited rate.
//!
//! Payloads are not copied: an answer is a new head, and the bytes of the received frame behind it.

use core::net::IpAddr;

use luna_core::time::Instant;
use luna_core::wire::EtherType;
use luna_core::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};

use super::frame::{Frame, HOPS, icmp_pseudo};
use super::{Control, Packet, Port};
use crate::parts::IPV6;

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Neighbour discovery's types (RFC 4861 §4).
const ND: core::ops::RangeInclusive<u8> = 133..=137;

/// What an error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unreachable {
    /// Nobody listens on this (UDP) port.
    Port,
    /// Nobody speaks this protocol.
    Protocol,
}

/// Largest errors: RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c).
const MAX_ERROR_V4: usize = 576;
const MAX_ERROR_V6: usize = 1280;

impl Control {
    pub(super) fn icmp(&mut self, packet: &Packet<'_>, port: &mut impl Port) {
        let Some((message, _)) = self.icmp_message(packet) else { return };
        match message {
            [ECHO_REQUEST, 0] => self.echo(packet, ECHO_REPLY, port),
            _ => self.counters.ignored += 1,
        }
    }

    pub(super) fn icmpv6(&mut self, now: Instant, packet: &Packet<'_>, port: &mut impl Port) {
        let Some((message, ends)) = self.icmp_message(packet) else { return };
        match (message, ends) {
            ([ECHO_REQUEST_V6, 0], _) => self.echo(packet, ECHO_REPLY_V6, port),
            ([kind, _], (IpAddr::V6(src), IpAddr::V6(dst))) if ND.contains(&kind) => {
                self.neighbor_discovery(now, packet, (src, dst), port);
            }
            _ => self.counters.ignored += 1,
        }
    }

    /// Type and code of a message whose checksum is right.
    fn icmp_message(&mut self, packet: &Packet<'_>) -> Option<([u8; 2], (IpAddr, IpAddr))> {
        let mut sum = icmp_pseudo(packet.src, packet.dst, packet.payload.len());
        sum.add(packet.payload);
        let head = packet.payload.first_chunk::<8>();
        let Some(head) = head.filter(|_| sum.finish() == 0) else {
            self.counters.malformed += 1;
            return None;
        };
        Some(([head[0], head[1]], (packet.src, packet.dst)))
    }

    /// Answers an echo request that was sent to us alone: an answer to a group's would make us a part of an amplifier
    /// (RFC 1122 §3.2.2.6).
    fn echo(&mut self, packet: &Packet<'_>, kind: u8, port: &mut impl Port) {
        if !self.addrs.has(packet.dst) || packet.link.dst.is_multicast() {
            self.counters.not_ours += 1;
            return;
        }
        if !self.is_one_host(packet.src) {
            self.counters.ignored += 1;
            return;
        }
        let Some((request, data)) = packet.payload.split_first_chunk::<8>() else { return };
        let [.., id_high, id_low, seq_high, seq_low] = *request;
        let head = [kind, 0, 0, 0, id_high, id_low, seq_high, seq_low];
        let start = packet.payload_at + head.len();
        if self.answer(packet, head, start, data, port) {
            self.counters.echoes += 1;
        }
    }

    /// Tells the sender that its packet found nobody (RFC 1122 §3.2.2.1, RFC 4443 §3.1 and §3.4), unless it went to more
    /// than us, or no one host sent it.
    pub(super) fn unreachable(&mut self, now: Instant, packet: &Packet<'_>, what: Unreachable, port: &mut impl Port) {
        if !self.addrs.has(packet.dst) {
            self.counters.not_ours += 1;
            return;
        }
        let v4 = !IPV6 || packet.dst.is_ipv4();
        // An unknown next header is pointed at, and behind extension headers we do not know where it stands.
        let pointless = !v4 && what == Unreachable::Protocol && packet.payload_at != packet.ip_at + 40;
        if packet.link.dst.is_multicast() || !self.is_one_host(packet.src) || pointless {
            self.counters.ignored += 1;
            return;
        }
        if !self.errors.allow(now) {
            self.counters.errors_limited += 1;
            return;
        }
        let head = match (v4, what) {
            (true, Unreachable::Protocol) => [3, 2, 0, 0, 0, 0, 0, 0],
            (true, Unreachable::Port) => [3, 3, 0, 0, 0, 0, 0, 0],
            (false, Unreachable::Protocol) => [4, 1, 0, 0, 0, 0, 0, 6],
            (false, Unreachable::Port) => [1, 4, 0, 0, 0, 0, 0, 0],
        };
        let room = if v4 { MAX_ERROR_V4.min(self.mtu.into()) - 28 } else { MAX_ERROR_V6 - 48 };
        let end = packet.payload_at + packet.payload.len();
        let quote = packet.frame.get(packet.ip_at..end.min(packet.ip_at + room)).unwrap_or_default();
        if self.answer(packet, head, packet.ip_at, quote, port) {
            self.counters.errors_out += 1;
        }
    }

    /// Sends a message back to where a packet came from: `head`, completed with the checksum, and `data`, which stands at
    /// `start` of the received frame.
    fn answer(
        &mut self,
        packet: &Packet<'_>,
        mut head: [u8; 8],
        start: usize,
        data: &[u8],
        port: &mut impl Port,
    ) -> bool {
        let len = head.len() + data.len();
        let mut sum = icmp_pseudo(packet.dst, packet.src, len);
        sum.add(&head);
        sum.add(data);
        [head[2], head[3]] = sum.finish().to_be_bytes();
        let to = packet.link.src;
        let mut frame = match (packet.dst, packet.src) {
            (IpAddr::V4(us), IpAddr::V4(them)) => {
                let mut frame = Frame::new(self.link, to, EtherType::Ipv4);
                frame.ipv4((us, them), PROTOCOL_ICMP, HOPS, len);
                frame
            }
            (IpAddr::V6(us), IpAddr::V6(them)) if IPV6 => {
                let mut frame = Frame::new(self.link, to, EtherType::Ipv6);
                frame.ipv6((us, them), PROTOCOL_ICMPV6, HOPS, len);
                frame
            }
            _ => return false,
        };
        frame.put(&head);
        self.send(frame.bytes(), start..start + data.len(), port)
    }

    /// Whether it names one host (RFC 1122 §3.2.2).
    fn is_one_host(&self, src: IpAddr) -> bool {
        let group = src.is_multicast() || src.is_unspecified() || src.is_loopback() || self.addrs.is_broadcast(src);
        !group && !self.addrs.has(src)
    }
}
