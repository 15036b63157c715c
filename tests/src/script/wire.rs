//! Bare IP packets: those that arrive are built here, those that were sent are read and judged. Written apart from
//! luna-core's parser and builder, which are under test.

use core::net::IpAddr;

use super::ast::{Damage, Ecn, Icmp, IpFields, Segment, TcpOption};
use super::options;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Addresses and ports of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// Who sends.
    pub src: (IpAddr, u16),
    /// Who receives.
    pub dst: (IpAddr, u16),
}

/// The ones' complement sum of `bytes` and `sum`, folded.
fn sum(bytes: &[u8], start: u32) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut total = u64::from(start) + words.iter().map(|w| u64::from(u16::from_be_bytes(*w))).sum::<u64>();
    if let [last] = rest {
        total += u64::from(*last) << 8;
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u32
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Sum over the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u32 {
    let mut bytes = [octets(src), octets(dst)].concat();
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend(u32::from(protocol).to_be_bytes());
    sum(&bytes, 0)
}

/// A segment with its numbers as they go on the wire.
#[must_use]
pub fn tcp(ends: &Ends, s: &Segment, payload: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(60);
    header.extend(ends.src.1.to_be_bytes());
    header.extend(ends.dst.1.to_be_bytes());
    header.extend(s.seq.to_be_bytes());
    header.extend(s.ack.unwrap_or(0).to_be_bytes());
    let option_len: usize = s.options.iter().flatten().map(TcpOption::encoded_len).sum();
    let Damage { checksum: bad_checksum, data_offset, cut } = s.damage;
    let words = data_offset.unwrap_or(5 + (option_len / 4) as u8);
    header.extend([words << 4 | (s.flags >> 8) as u8 & 1, s.flags as u8]);
    header.extend(s.win.unwrap_or(0).to_be_bytes());
    header.extend([0, 0]);
    header.extend(s.urg.unwrap_or(0).to_be_bytes());
    for option in s.options.iter().flatten() {
        option.encode(&mut header);
    }
    header.extend(payload);
    header.truncate(cut.map_or(usize::MAX, usize::from));
    let check = !sum(&header, pseudo_header(ends.src.0, ends.dst.0, TCP, header.len())) as u16;
    if let Some(field) = header.get_mut(16..18) {
        field.copy_from_slice(&(check ^ u16::from(bad_checksum)).to_be_bytes());
    }
    header
}

/// An ICMP error about `quoted`, an IP packet of which RFC 792's 64 bits (and a little more, RFC 1812) are given.
#[must_use]
pub fn icmp(src: IpAddr, dst: IpAddr, m: &Icmp, quoted: &[u8]) -> Vec<u8> {
    let v6 = src.is_ipv6();
    let mut message = vec![m.kind, m.code, 0, 0];
    let mtu = m.mtu.unwrap_or(0);
    // ICMP has 16 bits for it (RFC 1191 §4), ICMPv6 32 (RFC 4443 §3.2).
    message.extend(if v6 { mtu } else { mtu & 0xffff }.to_be_bytes());
    message.extend(&quoted[..quoted.len().min(if v6 { 1200 } else { 48 })]);
    let start = if v6 { pseudo_header(src, dst, ICMPV6, message.len()) } else { 0 };
    let check = !sum(&message, start) as u16;
    message[2..4].copy_from_slice(&check.to_be_bytes());
    message
}

/// Protocol of ICMP for the family of `addr`.
#[must_use]
pub fn icmp_protocol(addr: IpAddr) -> u8 {
    if addr.is_ipv6() { ICMPV6 } else { ICMP }
}

/// The IP header in front of `payload`.
#[must_use]
pub fn ip(src: IpAddr, dst: IpAddr, fields: &IpFields, protocol: Option<u8>, payload: &[u8]) -> Vec<u8> {
    let protocol = protocol.unwrap_or(TCP);
    let ecn = fields.ecn.map_or(0, Ecn::bits);
    let ttl = fields.ttl.unwrap_or(64);
    let mut packet;
    if src.is_ipv4() {
        let fragment = u16::from(fields.df.unwrap_or(true) && !fields.more_fragments) << 14
            | u16::from(fields.more_fragments) << 13;
        packet = vec![0x45, ecn];
        packet.extend((20 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([ttl, protocol, 0, 0]);
        packet.extend(octets(src));
        packet.extend(octets(dst));
        let check = !sum(&packet, 0) as u16;
        packet[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        let mut chain = fields.extensions.clone();
        chain.push(protocol);
        packet = vec![0x60, ecn << 4, 0, 0];
        packet.extend((8 * fields.extensions.len() as u16 + payload.len() as u16).to_be_bytes());
        packet.extend([chain[0], ttl]);
        packet.extend(octets(src));
        packet.extend(octets(dst));
        for next in &chain[1..] {
            // Eight bytes each: PadN in options headers, segments left 0 in a routing header, an atomic fragment.
            packet.extend([*next, 0, 0, 0, 0, 0, 0, 0]);
        }
        for (i, kind) in fields.extensions.iter().enumerate() {
            if matches!(kind, 0 | 60) {
                packet[40 + 8 * i + 2..][..2].copy_from_slice(&[1, 4]);
            }
        }
    }
    packet.extend(payload);
    packet
}

/// A packet that was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From where to where.
    pub ends: Ends,
    /// The IP header's part.
    pub ip: IpFields,
    /// The segment, its numbers as on the wire.
    pub segment: Segment,
    /// Payload.
    pub payload: Vec<u8>,
}

fn word16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads a packet that was sent.
///
/// # Errors
/// What is wrong with it: lengths, checksums, fields that a sender must leave 0.
pub fn read(packet: &[u8]) -> Result<Seen, String> {
    let version = packet.first().ok_or("an empty packet")? >> 4;
    let (src, dst, ip, segment) = match version {
        4 => read_ipv4(packet)?,
        6 => read_ipv6(packet)?,
        other => return Err(format!("IP version {other}")),
    };
    if segment.len() < 20 {
        return Err("shorter than a TCP header".into());
    }
    let total = sum(segment, pseudo_header(src, dst, TCP, segment.len()));
    if total != 0xffff {
        return Err(format!("wrong TCP checksum: sum {total:#06x}"));
    }
    let header_len = usize::from(segment[12] >> 4) * 4;
    if !(20..=segment.len()).contains(&header_len) {
        return Err(format!("data offset {header_len}"));
    }
    if segment[12] & 0x0e != 0 {
        return Err("reserved bits are set (RFC 9293 §3.1: must be zero)".into());
    }
    let flags = u16::from(segment[12] & 1) << 8 | u16::from(segment[13]);
    let has = |bit: u16| flags & bit != 0;
    if !has(super::ast::ACK) && word32(segment, 8) != 0 {
        return Err("an acknowledgment number without ACK".into());
    }
    let payload = segment[header_len..].to_vec();
    Ok(Seen {
        ends: Ends { src: (src, word16(segment, 0)), dst: (dst, word16(segment, 2)) },
        ip,
        segment: Segment {
            flags,
            seq: word32(segment, 4),
            len: payload.len() as u32,
            ack: has(super::ast::ACK).then(|| word32(segment, 8)),
            win: Some(word16(segment, 14)),
            urg: has(0x20).then(|| word16(segment, 18)),
            options: Some(options::decode(&segment[20..header_len])),
            data: None,
            damage: Damage::default(),
        },
        payload,
    })
}

type Carried<'a> = (IpAddr, IpAddr, IpFields, &'a [u8]);

fn read_ipv4(packet: &[u8]) -> Result<Carried<'_>, String> {
    if packet.len() < 20 || packet[0] != 0x45 {
        return Err("an IPv4 header of other than 20 bytes".into());
    }
    if sum(&packet[..20], 0) != 0xffff {
        return Err("wrong IPv4 header checksum".into());
    }
    if usize::from(word16(packet, 2)) != packet.len() {
        return Err(format!("total length {} in a packet of {}", word16(packet, 2), packet.len()));
    }
    if packet[9] != TCP {
        return Err(format!("protocol {}", packet[9]));
    }
    if word16(packet, 6) & 0x3fff != 0 {
        return Err("a fragment".into());
    }
    let addr = |at: usize| IpAddr::from([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    let ip = IpFields {
        ecn: Some(Ecn::from_bits(packet[1])),
        ttl: Some(packet[8]),
        df: Some(packet[6] & 0x40 != 0),
        ..IpFields::default()
    };
    Ok((addr(12), addr(16), ip, &packet[20..]))
}

fn read_ipv6(packet: &[u8]) -> Result<Carried<'_>, String> {
    if packet.len() < 40 {
        return Err("shorter than an IPv6 header".into());
    }
    if usize::from(word16(packet, 4)) != packet.len() - 40 {
        return Err(format!("payload length {} in a packet of {}", word16(packet, 4), packet.len()));
    }
    if packet[6] != TCP {
        return Err(format!("next header {}", packet[6]));
    }
    let addr = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&packet[at..at + 16]);
        IpAddr::from(octets)
    };
    let ecn = Ecn::from_bits(packet[1] >> 4);
    let ip = IpFields { ecn: Some(ecn), ttl: Some(packet[7]), ..IpFields::default() };
    Ok((addr(8), addr(24), ip, &packet[40..]))
}
