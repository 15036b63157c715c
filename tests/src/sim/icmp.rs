//! What routers answer: ICMP errors about frames that did not get through (RFC 792, 1191, 1812; ICMPv6: RFC 4443).

use luna_core::wire::Checksum;
use luna_core::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};

use super::frame::{Frame, Tag};

/// What a router, or somebody who plays one, says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Complaint {
    /// Too large for the next link, which takes this; 0: unsaid.
    TooBig(u32),
    /// The host does not answer; it may later.
    Unreachable,
    /// It is forbidden to go there.
    Forbidden,
}

/// How much of a packet is quoted (RFC 1812 §4.3.2.3: the error shall not exceed 576 bytes).
const QUOTED: usize = 512;

/// The error about `frame`, to whoever sent it. None when it is no IP packet.
pub(super) fn error(frame: &[u8], complaint: Complaint) -> Option<Frame> {
    let l3 = if frame.get(12..14)? == [0x81, 0x00] { 18 } else { 14 };
    let packet = frame.get(l3..)?;
    let quote = &packet[..packet.len().min(QUOTED)];
    let mut bytes = Vec::with_capacity(l3 + 48 + quote.len());
    bytes.extend_from_slice(frame.get(6..12)?);
    bytes.extend_from_slice(&[2, 0, 0, 0, 0xff, 0xfe]);
    bytes.extend_from_slice(frame.get(12..l3)?);
    let ipv6 = packet.first()? >> 4 == 6;
    let (kind, code, word) = match (complaint, ipv6) {
        (Complaint::TooBig(mtu), false) => (3, 4, mtu & 0xffff),
        (Complaint::TooBig(mtu), true) => (2, 0, mtu),
        (Complaint::Unreachable, false) => (3, 1, 0),
        (Complaint::Unreachable, true) => (1, 3, 0),
        (Complaint::Forbidden, false) => (3, 13, 0),
        (Complaint::Forbidden, true) => (1, 1, 0),
    };
    let mut message = vec![kind, code, 0, 0];
    message.extend_from_slice(&word.to_be_bytes());
    message.extend_from_slice(quote);
    let len = message.len();
    let mut sum = Checksum::new();
    if ipv6 {
        let to: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
        let mut from = to;
        from[15] = 0xfe;
        bytes.extend_from_slice(&[0x60, 0, 0, 0]);
        bytes.extend_from_slice(&(len as u16).to_be_bytes());
        bytes.extend_from_slice(&[PROTOCOL_ICMPV6, 64]);
        bytes.extend_from_slice(&from);
        bytes.extend_from_slice(&to);
        sum.add_pseudo_v6(from, to, PROTOCOL_ICMPV6, len as u32);
    } else {
        let to: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
        let start = bytes.len();
        bytes.extend_from_slice(&[0x45, 0]);
        bytes.extend_from_slice(&(len as u16 + 20).to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 64, PROTOCOL_ICMP, 0, 0]);
        bytes.extend_from_slice(&[to[0], to[1], to[2], 254]);
        bytes.extend_from_slice(&to);
        fix_ip_checksum(&mut bytes[start..]);
    }
    sum.add(&message);
    message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    bytes.extend_from_slice(&message);
    Some(Frame { bytes, tag: Tag { forged: true, ..Tag::default() } })
}

/// Makes the checksum of an IPv4 header without options right.
pub(super) fn fix_ip_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let mut sum = Checksum::new();
    sum.add(&header[..20]);
    header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use luna_core::wire::{HeaderTemplate, IcmpError, IcmpKind, MacAddr, SegmentHead, SeqNum, TcpFlags};

    fn frame(vlan: Option<u16>, src: core::net::IpAddr, dst: core::net::IpAddr) -> Vec<u8> {
        let template = HeaderTemplate::new(MacAddr([2; 6]), MacAddr([4; 6]), vlan, src, dst, 7, 8, 64).unwrap();
        let (seq, ack) = (SeqNum(77), SeqNum(1));
        let head = SegmentHead { seq, ack, flags: TcpFlags::ACK, window: 9, ts: None, ecn: 0, options: None };
        let mut bytes = vec![0; template.header_len(&head)];
        template.emit(&mut bytes, &head, 1000);
        bytes.resize(bytes.len() + 1000, 0);
        bytes
    }

    #[test]
    fn the_stack_reads_what_routers_say() {
        for (src, dst) in [
            ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
            ([0xfd00, 0, 0, 0, 0, 0, 0, 1].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 2].into()),
        ] {
            for vlan in [None, Some(9)] {
                let frame = frame(vlan, src, dst);
                let kinds = [
                    (Complaint::TooBig(900), IcmpKind::TooBig(900)),
                    (Complaint::Unreachable, IcmpKind::Soft),
                    (Complaint::Forbidden, IcmpKind::Hard),
                ];
                for (complaint, kind) in kinds {
                    let error = IcmpError::parse_frame(&error(&frame, complaint).unwrap().bytes).unwrap();
                    assert_eq!((error.kind, error.local, error.remote), (kind, src, dst));
                    assert_eq!((error.local_port, error.remote_port, error.seq), (7, 8, SeqNum(77)));
                    assert!(error.quoted_len > 1000);
                }
            }
        }
    }
}
