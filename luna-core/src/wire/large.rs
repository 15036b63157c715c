//! Packets larger than a segment: how the headers of each segment follow from those of the whole (what TSO, and LRO the other
//! way round, are about). For devices made of software, and for queues that are handed whole what came in segments.

use super::checksum::Checksum;
use super::{EtherType, EthernetHeader, PROTOCOL_TCP, TcpFlags, ipv4, ipv6, tcp};

/// Where the headers of a TCP packet are that holds many segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargePacket {
    l3: usize,
    l4: usize,
    header_len: usize,
    payload_len: u32,
    ipv6: bool,
}

impl LargePacket {
    /// Finds the headers in the first bytes of a frame: Ethernet with or without a tag, IPv4 with or without options, IPv6
    /// without extension headers. `None` when it is anything else, or when they are cut off.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let link = EthernetHeader::parse(frame).ok()?;
        let l3 = usize::from(link.header_len);
        let (ipv6, l4, protocol) = match link.ethertype {
            EtherType::Ipv4 => {
                let len = 4 * usize::from(frame.get(l3)? & 15);
                (false, (len >= ipv4::HEADER_LEN).then_some(l3 + len)?, *frame.get(l3 + 9)?)
            }
            EtherType::Ipv6 => (true, l3 + ipv6::HEADER_LEN, *frame.get(l3 + 6)?),
            _ => return None,
        };
        let header_len = l4 + 4 * usize::from(frame.get(l4 + 12)? >> 4);
        let end = if ipv6 { l4 + usize::from(be16(frame, l3 + 4)?) } else { l3 + usize::from(be16(frame, l3 + 2)?) };
        let payload_len = end.checked_sub(header_len)? as u32;
        let whole = header_len >= l4 + tcp::HEADER_LEN && header_len <= frame.len();
        (protocol == PROTOCOL_TCP && whole).then_some(Self { l3, l4, header_len, payload_len, ipv6 })
    }

    /// Bytes of all headers.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of payload, as the IP header says.
    #[must_use]
    pub fn payload_len(&self) -> u32 {
        self.payload_len
    }

    /// Whether the checksum of the IPv4 header in `frame`, which this was parsed from, is right; IPv6 has none.
    #[must_use]
    pub fn ip_checksum_holds(&self, frame: &[u8]) -> bool {
        let mut sum = Checksum::new();
        sum.add(frame.get(self.l3..self.l4).unwrap_or_default());
        self.ipv6 || sum.finish() == 0
    }

    /// Makes the headers of one segment of `header`, a copy of the whole's: the one with `len` bytes of payload that begins `at`
    /// bytes behind the whole's first. FIN and PSH stay on the `last` one, CWR on the first (RFC 3168 §6.1.2); the checksum
    /// field becomes the pseudo-header's sum, for whoever completes it or needs none. False when `header` is too short, or
    /// the packet too long for its length field.
    #[must_use]
    pub fn cut(&self, header: &mut [u8], at: u32, len: u32, last: bool) -> bool {
        let (l3, l4) = (self.l3, self.l4);
        let tcp_len = (self.header_len - l4) as u64 + u64::from(len);
        let length = if self.ipv6 { tcp_len } else { tcp_len + (l4 - l3) as u64 };
        let (Ok(length), true) = (u16::try_from(length), header.len() >= self.header_len) else { return false };
        let addresses = l3 + if self.ipv6 { 8 } else { 12 }..l3 + if self.ipv6 { 40 } else { 20 };
        let (Some(addresses), Some(seq)) = (header.get(addresses), be32(header, l4 + 4)) else { return false };
        let mut pseudo = Checksum::new();
        pseudo.add(addresses);
        pseudo.add_u16(u16::from(PROTOCOL_TCP));
        pseudo.add_u32(tcp_len as u32);
        if self.ipv6 {
            put(header, l3 + 4, &length.to_be_bytes());
        } else {
            put(header, l3 + 2, &length.to_be_bytes());
            put(header, l3 + 10, &[0, 0]);
            let mut sum = Checksum::new();
            sum.add(header.get(l3..l4).unwrap_or_default());
            put(header, l3 + 10, &sum.finish().to_be_bytes());
        }
        put(header, l4 + 4, &seq.wrapping_add(at).to_be_bytes());
        put(header, l4 + tcp::CHECKSUM_OFFSET, &pseudo.fold().to_be_bytes());
        let mut absent = TcpFlags::NONE;
        if !last {
            absent = absent.union(TcpFlags::FIN).union(TcpFlags::PSH);
        }
        if at != 0 {
            absent = absent.union(TcpFlags::CWR);
        }
        if let Some(flags) = header.get_mut(l4 + 13) {
            *flags &= !absent.bits();
        }
        true
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

fn put(header: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = header.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        to.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
