//! A received TCP segment, read once from the frame. The plain case (untagged, IPv4 without options, checksums verified by
//! the NIC) is straight-line; everything else, errors included, is one call away.

use core::net::{IpAddr, Ipv4Addr};

use super::bytes::{be16, be32, take};
use super::ethernet::{self, EtherType, EthernetHeader, MacAddr};
use super::ipv4::{self, Ipv4Header};
use super::ipv6::Ipv6Header;
use super::tcp::{self, TcpFlags, TcpHeader};
use super::tcp_options::{self, fixed_timestamps};
use super::{Checksum, PROTOCOL_TCP, ParseError, int};
use crate::parts::IPV6;

/// What the NIC says about one checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChecksumVerdict {
    /// It is right, or the data cannot have been damaged (a neighbour on the same machine that leaves it unfinished).
    Good,
    /// It was not looked at: software does.
    #[default]
    Unknown,
    /// It is wrong.
    Bad,
}

/// What the NIC says about a frame's checksums. The default is that it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxChecksum {
    /// The IPv4 header's; not looked at for IPv6.
    pub ip: ChecksumVerdict,
    /// TCP's.
    pub l4: ChecksumVerdict,
}

impl RxChecksum {
    /// Both verified.
    pub const GOOD: Self = Self { ip: ChecksumVerdict::Good, l4: ChecksumVerdict::Good };
    /// Neither looked at.
    pub const UNKNOWN: Self = Self { ip: ChecksumVerdict::Unknown, l4: ChecksumVerdict::Unknown };

    #[inline]
    pub(crate) const fn is_good(self) -> bool {
        matches!(self, Self::GOOD)
    }
}

/// A TCP segment within the bytes that it was parsed from: lengths and offsets are checked, checksums are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpPacket {
    /// Source MAC address; zeros for a bare IP packet.
    pub src_mac: MacAddr,
    /// Destination MAC address; zeros for a bare IP packet.
    pub dst_mac: MacAddr,
    /// The 802.1Q tag control information, if the frame has a tag.
    pub vlan: Option<u16>,
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// DSCP and ECN, of either IP version.
    pub tos: u8,
    /// The fixed TCP header.
    pub tcp: TcpHeader,
    /// Where the payload begins; the options end there.
    pub payload_offset: u16,
    /// Length of the payload: padding is not part of it.
    pub payload_len: u16,
    /// Length of the telemetry shim between IP and TCP; 0 without one.
    pub shim_len: u16,
}

/// Ethernet, IPv4 and TCP without options anywhere.
const PLAIN_LEN: usize = ethernet::HEADER_LEN + PLAIN_IP_TCP_LEN;
const PLAIN_IP_TCP_LEN: usize = ipv4::HEADER_LEN + tcp::HEADER_LEN;

impl TcpPacket {
    /// Parses an Ethernet frame.
    ///
    /// # Errors
    /// Any [`ParseError`] except [`ParseError::BadOption`]: options are read by whoever needs them.
    #[inline]
    pub fn parse_frame(frame: &[u8], rx: RxChecksum) -> Result<Self, ParseError> {
        if rx.is_good()
            && let Some(packet) = Self::parse_plain(frame)
        {
            return Ok(packet);
        }
        Self::parse_checked(frame, rx)
    }

    /// Parses an IP packet that has no link header. Offsets count from its start.
    ///
    /// # Errors
    /// As [`TcpPacket::parse_frame`].
    pub fn parse_ip(packet: &[u8], rx: RxChecksum) -> Result<Self, ParseError> {
        let version = packet.first().ok_or(ParseError::Short)? >> 4;
        let none = MacAddr::default();
        let link = EthernetHeader { dst: none, src: none, vlan: None, ethertype: EtherType::Other(0), header_len: 0 };
        match version {
            4 => Self::parse_ipv4(packet, &link, rx),
            6 if IPV6 => Self::parse_ipv6(packet, &link, rx),
            _ => Err(ParseError::BadVersion),
        }
    }

    /// The options. `frame` is what this was parsed from.
    #[inline]
    #[must_use]
    pub fn options<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let end = usize::from(self.payload_offset);
        let start = end + tcp::HEADER_LEN - usize::from(self.tcp.header_len);
        frame.get(start..end).unwrap_or_default()
    }

    /// TSval and TSecr, if they are all the options and in their fixed layout (see [`fixed_timestamps`]).
    #[inline]
    #[must_use]
    pub fn fixed_timestamps(&self, frame: &[u8]) -> Option<(u32, u32)> {
        if usize::from(self.tcp.header_len) != tcp::HEADER_LEN + tcp_options::TIMESTAMPS_LEN {
            return None;
        }
        let headers = frame.get(..usize::from(self.payload_offset))?;
        fixed_timestamps(headers.last_chunk::<{ tcp_options::TIMESTAMPS_LEN }>()?)
    }

    /// The payload. `frame` is what this was parsed from.
    #[inline]
    #[must_use]
    pub fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload_offset);
        frame.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }

    /// How much of the sequence space the segment takes: payload, SYN and FIN.
    #[inline]
    #[must_use]
    pub fn segment_len(&self) -> u32 {
        u32::from(self.payload_len) + u32::from(self.tcp.flags.syn()) + u32::from(self.tcp.flags.fin())
    }

    /// The ECN bits: 3 is "congestion experienced" (RFC 3168).
    #[inline]
    #[must_use]
    pub const fn ecn(&self) -> u8 {
        self.tos & 3
    }

    /// Whether it goes from one host to one host. Nothing else may open a connection (RFC 9293 section 3.9.2.3), and only
    /// the stack knows its own subnet's broadcast address.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        let group = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
        };
        !self.dst_mac.is_multicast() && !group(self.src) && !group(self.dst)
    }

    /// The plain case, and only if nothing is wrong with it.
    #[inline(always)]
    fn parse_plain(frame: &[u8]) -> Option<Self> {
        let head = frame.first_chunk::<PLAIN_LEN>()?;
        // EtherType, version and header length, DSCP and ECN.
        let start = be32::<12, _>(head);
        // Flags and fragment offset, time to live, protocol.
        let middle = be32::<20, _>(head);
        let total_len = be16::<16, _>(head);
        let tcp = TcpHeader::from_fixed(&take::<34, 20, _>(head));
        let headers = ipv4::HEADER_LEN as u16 + u16::from(tcp.header_len);
        if start & 0xffff_ff00 != 0x0800_4500
            || middle & 0x3fff_00ff != u32::from(PROTOCOL_TCP)
            || usize::from(tcp.header_len) < tcp::HEADER_LEN
            || total_len < headers
            || usize::from(total_len) > frame.len() - ethernet::HEADER_LEN
        {
            return None;
        }
        Some(Self {
            src_mac: MacAddr(take::<6, 6, _>(head)),
            dst_mac: MacAddr(take::<0, 6, _>(head)),
            vlan: None,
            src: IpAddr::V4(Ipv4Addr::from(take::<26, 4, _>(head))),
            dst: IpAddr::V4(Ipv4Addr::from(take::<30, 4, _>(head))),
            tos: start as u8,
            tcp,
            payload_offset: ethernet::HEADER_LEN as u16 + headers,
            payload_len: total_len - headers,
            shim_len: 0,
        })
    }

    /// What needs its checksums verified, is not plain, or not right.
    #[inline(never)]
    fn parse_checked(frame: &[u8], rx: RxChecksum) -> Result<Self, ParseError> {
        match Self::parse_plain(frame) {
            Some(packet) => packet.check_plain(frame, rx),
            None => Self::parse_layers(frame, rx),
        }
    }

    /// Acts on the verdicts for a packet from `parse_plain`.
    #[inline(always)]
    fn check_plain(self, frame: &[u8], rx: RxChecksum) -> Result<Self, ParseError> {
        let head = frame.first_chunk::<PLAIN_LEN>().ok_or(ParseError::Short)?;
        let ip: [u8; ipv4::HEADER_LEN] = take::<14, 20, _>(head);
        check(rx.ip, || ipv4::checksum_holds(&ip), ParseError::BadIpChecksum)?;
        let end = usize::from(self.payload_offset) + usize::from(self.payload_len);
        let segment = frame.get(PLAIN_LEN - tcp::HEADER_LEN..end).ok_or(ParseError::BadTotalLen)?;
        check(rx.l4, || segment_holds(self.src, self.dst, segment), ParseError::BadTcpChecksum)?;
        Ok(self)
    }

    /// Every case, layer by layer.
    fn parse_layers(frame: &[u8], rx: RxChecksum) -> Result<Self, ParseError> {
        let link = EthernetHeader::parse(frame)?;
        match link.ethertype {
            EtherType::Ipv4 => Self::parse_ipv4(frame, &link, rx),
            EtherType::Ipv6 if IPV6 => Self::parse_ipv6(frame, &link, rx),
            _ => Err(ParseError::NotIp),
        }
    }

    fn parse_ipv4(frame: &[u8], link: &EthernetHeader, rx: RxChecksum) -> Result<Self, ParseError> {
        let packet = frame.get(usize::from(link.header_len)..).ok_or(ParseError::Short)?;
        let ip = Ipv4Header::parse(packet, rx.ip == ChecksumVerdict::Unknown)?;
        if rx.ip == ChecksumVerdict::Bad {
            return Err(ParseError::BadIpChecksum);
        }
        let segment =
            packet.get(usize::from(ip.header_len)..usize::from(ip.total_len)).ok_or(ParseError::BadTotalLen)?;
        let (protocol, shim) = int::skip(ip.protocol, segment)?;
        if protocol != PROTOCOL_TCP {
            return Err(ParseError::NotTcp);
        }
        let offset = u16::from(link.header_len) + u16::from(ip.header_len);
        Self::parse_segment(link, IpAddr::V4(ip.src), IpAddr::V4(ip.dst), ip.tos, offset, shim, segment, rx.l4)
    }

    fn parse_ipv6(frame: &[u8], link: &EthernetHeader, rx: RxChecksum) -> Result<Self, ParseError> {
        let packet = frame.get(usize::from(link.header_len)..).ok_or(ParseError::Short)?;
        let ip = Ipv6Header::parse(packet)?;
        let (start, len) = (usize::from(ip.payload_offset), usize::from(ip.payload_len));
        let segment = packet.get(start..start + len).ok_or(ParseError::BadTotalLen)?;
        let (protocol, shim) = int::skip(ip.next_header, segment)?;
        if protocol != PROTOCOL_TCP {
            return Err(ParseError::NotTcp);
        }
        let offset = u16::from(link.header_len) + ip.payload_offset;
        let (src, dst) = (IpAddr::V6(ip.src), IpAddr::V6(ip.dst));
        Self::parse_segment(link, src, dst, ip.traffic_class, offset, shim, segment, rx.l4)
    }

    /// The shim in front of TCP. `frame` is what this was parsed from.
    #[must_use]
    pub fn shim<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let end = usize::from(self.payload_offset).saturating_sub(self.tcp.header_len.into());
        frame.get(end.saturating_sub(self.shim_len.into())..end).unwrap_or_default()
    }

    /// `segment`, at most 65535 bytes, stands at `offset` of the frame, behind a shim of `shim` bytes that begins it. In line,
    /// so that the addresses' family is known.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "they are what the layers below found")]
    fn parse_segment(
        link: &EthernetHeader,
        src: IpAddr,
        dst: IpAddr,
        tos: u8,
        offset: u16,
        shim: u16,
        segment: &[u8],
        verdict: ChecksumVerdict,
    ) -> Result<Self, ParseError> {
        let offset = offset + shim;
        let segment = segment.get(shim.into()..).ok_or(ParseError::BadShim)?;
        let tcp = TcpHeader::parse(segment)?;
        check(verdict, || segment_holds(src, dst, segment), ParseError::BadTcpChecksum)?;
        let header_len = u16::from(tcp.header_len);
        Ok(Self {
            src_mac: link.src,
            dst_mac: link.dst,
            vlan: link.vlan,
            src,
            dst,
            tos,
            tcp,
            payload_offset: offset + header_len,
            payload_len: segment.len() as u16 - header_len,
            shim_len: shim,
        })
    }
}

/// What header prediction needs of a plain segment: Ethernet, IPv4 without options, ACK and perhaps PSH, timestamps alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainSegment {
    /// As in the flow key of IPv4.
    pub(crate) addrs: u64,
    pub(crate) ports: u32,
    pub(crate) seq: super::SeqNum,
    pub(crate) ack: super::SeqNum,
    pub(crate) window: u16,
    pub(crate) tsval: u32,
    pub(crate) payload_len: u32,
}

impl PlainSegment {
    /// Bytes before the payload.
    pub(crate) const HEADERS: u32 = 66;

    /// The payload's length of a frame that is known to be plain: the IP packet's, for the frame may be padded.
    #[inline(always)]
    pub(crate) fn payload_len_of(frame: &[u8]) -> u32 {
        const IP_AND_TCP: u32 = PlainSegment::HEADERS - ethernet::HEADER_LEN as u32;
        let total = frame.get(16..).and_then(|rest| rest.first_chunk().copied());
        total.map_or(0, |total| u32::from(u16::from_be_bytes(total)).wrapping_sub(IP_AND_TCP))
    }

    /// Reads a frame; `None` when it is not plain. Checksums are not looked at, see [`PlainSegment::checksums_hold`].
    #[inline(always)]
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let head = frame.first_chunk::<66>()?;
        let total_len = be16::<16, _>(head);
        // A mark (both ECN bits set) carries into the bit above; with an odd DSCP, which is no standard one, others do too.
        if be32::<12, _>(head).wrapping_add(1) & 0xffff_ff04 != 0x0800_4500
            || be32::<20, _>(head) & 0x3fff_00ff != u32::from(PROTOCOL_TCP)
            || be16::<46, _>(head) & 0xfff7 != 0x8010
            || be32::<54, _>(head) != 0x0101_080a
            || total_len < 52
            || usize::from(total_len) > frame.len() - ethernet::HEADER_LEN
        {
            return None;
        }
        Some(Self {
            addrs: u64::from(u32::from_ne_bytes(take::<26, 4, _>(head))) << 32
                | u64::from(u32::from_ne_bytes(take::<30, 4, _>(head))),
            ports: be32::<34, _>(head),
            seq: super::SeqNum(be32::<38, _>(head)),
            ack: super::SeqNum(be32::<42, _>(head)),
            window: be16::<48, _>(head),
            tsval: be32::<58, _>(head),
            payload_len: u32::from(total_len) - 52,
        })
    }

    /// Whether the checksums of a frame that [`PlainSegment::read`] took are right, where the port did not look at them.
    pub(crate) fn checksums_hold(frame: &[u8], rx: RxChecksum) -> bool {
        let Some(head) = frame.first_chunk::<66>() else { return false };
        let total_len = be16::<16, _>(head);
        let end = ethernet::HEADER_LEN + usize::from(total_len);
        let Some(segment) = frame.get(PLAIN_LEN - tcp::HEADER_LEN..end) else { return false };
        let tcp_holds = || {
            let mut sum = Checksum::new();
            let tcp_len = total_len - ipv4::HEADER_LEN as u16;
            sum.add_pseudo_v4(take::<26, 4, _>(head), take::<30, 4, _>(head), PROTOCOL_TCP, tcp_len);
            sum.add(segment);
            sum.finish() == 0
        };
        check(rx.ip, || ipv4::checksum_holds(&take::<14, 20, _>(head)), ParseError::BadIpChecksum).is_ok()
            && check(rx.l4, tcp_holds, ParseError::BadTcpChecksum).is_ok()
    }
}

/// Whether `frame` is the next segment after `first`, a plain one, whose sender changed nothing but the sequence number, now
/// `seq`: its payload's length. PSH may differ, and TSecr, which nobody reads.
#[inline(always)]
pub(crate) fn continues(first: &[u8], frame: &[u8], seq: super::SeqNum) -> Option<u32> {
    let (first, head) = (first.first_chunk::<66>()?, frame.first_chunk::<66>()?);
    let total_len = be16::<16, _>(head);
    // Acknowledgment number, data offset, flags, window.
    let pushed = u64::from_ne_bytes([0, 0, 0, 0, 0, TcpFlags::PSH.bits(), 0, 0]);
    let control = |h| u64::from_ne_bytes(take::<42, 8, 66>(h)) | pushed;
    if take::<12, 4, _>(head) != take::<12, 4, _>(first)
        || take::<20, 4, _>(head) != take::<20, 4, _>(first)
        || take::<26, 8, _>(head) != take::<26, 8, _>(first)
        || take::<34, 4, _>(head) != take::<34, 4, _>(first)
        || be32::<38, _>(head) != seq.0
        || control(head) != control(first)
        || take::<54, 8, _>(head) != take::<54, 8, _>(first)
        || total_len <= 52
        || usize::from(total_len) > frame.len() - ethernet::HEADER_LEN
    {
        return None;
    }
    Some(u32::from(total_len) - 52)
}

/// Acts on a verdict; `holds` is the software's check.
#[inline(always)]
fn check(verdict: ChecksumVerdict, holds: impl FnOnce() -> bool, error: ParseError) -> Result<(), ParseError> {
    let good = match verdict {
        ChecksumVerdict::Good => true,
        ChecksumVerdict::Unknown => holds(),
        ChecksumVerdict::Bad => false,
    };
    if good { Ok(()) } else { Err(error) }
}

/// Whether the checksum of a segment is right.
#[inline(always)]
fn segment_holds(src: IpAddr, dst: IpAddr, segment: &[u8]) -> bool {
    let mut sum = pseudo_header_sum(src, dst, segment.len() as u32);
    sum.add(segment);
    sum.finish() == 0
}

/// The sum of a TCP pseudo-header. Addresses of different families have none and count as nothing.
#[inline]
pub(super) fn pseudo_header_sum(src: IpAddr, dst: IpAddr, len: u32) -> Checksum {
    let mut sum = Checksum::new();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum.add_pseudo_v4(src.octets(), dst.octets(), PROTOCOL_TCP, len as u16),
        (IpAddr::V6(src), IpAddr::V6(dst)) if IPV6 => sum.add_pseudo_v6(src.octets(), dst.octets(), PROTOCOL_TCP, len),
        _ => debug_assert!(false, "addresses of two families"),
    }
    sum
}

#[cfg(test)]
mod tests;
