//! ICMP errors about what we sent (RFC 792, 1191, 1812; ICMPv6: RFC 4443): read only. Echo and everything else is for whoever
//! owns the interface.
//!
//! An error quotes the packet that caused it, at least 8 bytes behind its IP header: the ports and the sequence number, by
//! which the stack judges whether it is about something in flight (RFC 5927 §4.1).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::{be16, be32, take};
use super::ethernet::{EtherType, EthernetHeader};
use super::ipv4::{self, Ipv4Header};
use super::ipv6::{self, Ipv6Header};
use super::{Checksum, PROTOCOL_TCP, ParseError, SeqNum, int};
use crate::parts::IPV6;

/// The IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// The next header value of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// What an ICMP error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpKind {
    /// The packet was larger than the next link takes: its MTU; 0 from routers older than RFC 1191.
    TooBig(u32),
    /// It did not get there, and that may pass (RFC 1122 §4.2.3.9's soft errors).
    Soft,
    /// It did not get there, and repeating it is no use: no such protocol or port, or forbidden.
    Hard,
}

/// An ICMP error about a TCP segment of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// What it says.
    pub kind: IcmpKind,
    /// ICMP type and code, as they stand on the wire.
    pub code: (u8, u8),
    /// Source of the packet quoted: us.
    pub local: IpAddr,
    /// Its destination.
    pub remote: IpAddr,
    /// Its source port.
    pub local_port: u16,
    /// Its destination port.
    pub remote_port: u16,
    /// Its sequence number.
    pub seq: SeqNum,
    /// Its length, IP header included.
    pub quoted_len: u32,
}

impl IcmpError {
    /// Reads an Ethernet frame.
    ///
    /// # Errors
    /// [`ParseError::NotTcp`] for what is no ICMP error about a TCP segment; else what is wrong with it.
    pub fn parse_frame(frame: &[u8]) -> Result<Self, ParseError> {
        let link = EthernetHeader::parse(frame)?;
        let packet = frame.get(usize::from(link.header_len)..).ok_or(ParseError::Short)?;
        match link.ethertype {
            EtherType::Ipv4 | EtherType::Ipv6 => Self::parse_ip(packet),
            _ => Err(ParseError::NotIp),
        }
    }

    /// Reads an IP packet.
    ///
    /// # Errors
    /// As [`IcmpError::parse_frame`].
    pub fn parse_ip(packet: &[u8]) -> Result<Self, ParseError> {
        match packet.first().ok_or(ParseError::Short)? >> 4 {
            4 => {
                let ip = Ipv4Header::parse(packet, true)?;
                if ip.protocol != PROTOCOL_ICMP {
                    return Err(ParseError::NotTcp);
                }
                let message = packet.get(usize::from(ip.header_len)..usize::from(ip.total_len));
                let message = message.ok_or(ParseError::BadTotalLen)?;
                let mut sum = Checksum::new();
                sum.add(message);
                read(message, sum, Family::V4, IpAddr::V4(ip.dst))
            }
            6 if IPV6 => {
                let ip = Ipv6Header::parse(packet)?;
                if ip.next_header != PROTOCOL_ICMPV6 {
                    return Err(ParseError::NotTcp);
                }
                let (start, len) = (usize::from(ip.payload_offset), usize::from(ip.payload_len));
                let message = packet.get(start..start + len).ok_or(ParseError::BadTotalLen)?;
                let mut sum = Checksum::new();
                sum.add_pseudo_v6(ip.src.octets(), ip.dst.octets(), PROTOCOL_ICMPV6, len as u32);
                sum.add(message);
                read(message, sum, Family::V6, IpAddr::V6(ip.dst))
            }
            _ => Err(ParseError::BadVersion),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Reads a message whose checksum's sum is `sum`, sent to `to`.
fn read(message: &[u8], sum: Checksum, family: Family, to: IpAddr) -> Result<IcmpError, ParseError> {
    let (head, quote) = message.split_first_chunk::<8>().ok_or(ParseError::Short)?;
    let code = (head[0], head[1]);
    let kind = match family {
        Family::V4 => kind_v4(code, be16::<6, _>(head)),
        Family::V6 => kind_v6(code, be32::<4, _>(head)),
    };
    let Some(kind) = kind else { return Err(ParseError::NotTcp) };
    if sum.finish() != 0 {
        return Err(ParseError::BadIcmp);
    }
    let (local, remote, quoted_len, segment) = match family {
        Family::V4 => quoted_v4(quote)?,
        Family::V6 => quoted_v6(quote)?,
    };
    let segment = segment.first_chunk::<8>().ok_or(ParseError::BadIcmp)?;
    // Whom it was sent to is who sent what it quotes.
    if local != to {
        return Err(ParseError::BadIcmp);
    }
    Ok(IcmpError {
        kind,
        code,
        local,
        remote,
        local_port: be16::<0, _>(segment),
        remote_port: be16::<2, _>(segment),
        seq: SeqNum(be32::<4, _>(segment)),
        quoted_len,
    })
}

/// RFC 1122 §3.2.2.1 and §4.2.3.9, RFC 1812 §5.2.7.1. Source quench is ignored (RFC 6633).
fn kind_v4(code: (u8, u8), mtu: u16) -> Option<IcmpKind> {
    match code {
        (3, 4) => Some(IcmpKind::TooBig(mtu.into())),
        // Protocol, port; administratively prohibited: network, host, communication.
        (3, 2 | 3 | 9 | 10 | 13) => Some(IcmpKind::Hard),
        // The rest of "unreachable"; time exceeded; parameter problem.
        (3 | 11 | 12, _) => Some(IcmpKind::Soft),
        _ => None,
    }
}

/// RFC 4443 §3.
fn kind_v6(code: (u8, u8), mtu: u32) -> Option<IcmpKind> {
    match code {
        (2, _) => Some(IcmpKind::TooBig(mtu)),
        // Prohibited, port, policy, reject route; next header not known.
        (1, 1 | 4 | 5 | 6) | (4, 1) => Some(IcmpKind::Hard),
        (1 | 3 | 4, _) => Some(IcmpKind::Soft),
        _ => None,
    }
}

type Quoted<'a> = (IpAddr, IpAddr, u32, &'a [u8]);

/// TCP in a quotation: behind the telemetry shim, when there is one. That may be cut off as well, which its checksum would
/// not survive.
fn behind_shim(protocol: u8, payload: &[u8]) -> Result<&[u8], ParseError> {
    let (protocol, skipped) = int::skip_quoted(protocol, payload).ok_or(ParseError::BadIcmp)?;
    if protocol != PROTOCOL_TCP {
        return Err(ParseError::NotTcp);
    }
    payload.get(skipped..).ok_or(ParseError::BadIcmp)
}

/// The packet quoted is cut off: its length field counts what is not there.
fn quoted_v4(quote: &[u8]) -> Result<Quoted<'_>, ParseError> {
    let head = quote.first_chunk::<{ ipv4::HEADER_LEN }>().ok_or(ParseError::BadIcmp)?;
    let header_len = usize::from(head[0] & 15) * 4;
    if head[0] >> 4 != 4 || header_len < ipv4::HEADER_LEN || be16::<6, _>(head) & 0x1fff != 0 {
        return Err(ParseError::BadIcmp);
    }
    let [src, dst] = [take::<12, 4, _>(head), take::<16, 4, _>(head)].map(|a| IpAddr::V4(Ipv4Addr::from(a)));
    let segment = behind_shim(head[9], quote.get(header_len..).ok_or(ParseError::BadIcmp)?)?;
    Ok((src, dst, be16::<2, _>(head).into(), segment))
}

/// What we send has no extension headers.
fn quoted_v6(quote: &[u8]) -> Result<Quoted<'_>, ParseError> {
    let (head, rest) = quote.split_first_chunk::<{ ipv6::HEADER_LEN }>().ok_or(ParseError::BadIcmp)?;
    if head[0] >> 4 != 6 {
        return Err(ParseError::BadIcmp);
    }
    let rest = behind_shim(head[6], rest)?;
    let [src, dst] = [take::<8, 16, _>(head), take::<24, 16, _>(head)].map(|a| IpAddr::V6(Ipv6Addr::from(a)));
    Ok((src, dst, u32::from(be16::<4, _>(head)) + ipv6::HEADER_LEN as u32, rest))
}

#[cfg(test)]
pub(crate) mod tests;
