//! Headers to be sent. A connection keeps a [`HeaderTemplate`]: the bytes of Ethernet and IP that never change, and the sums
//! over them, so that a segment's header costs a copy, its own fields and no pass over the addresses.
//!
//! The TCP checksum field is left 0: the caller fills in the pseudo-header's sum where the NIC completes it
//! ([`HeaderTemplate::pseudo_sum`] and [`Checksum::fold`]), else the whole checksum ([`tcp_checksum`]).

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;

use super::bytes::put;
use super::ethernet::{self, EtherType, EthernetHeader, MacAddr};
use super::ipv4::{self, Ipv4Header};
use super::ipv6::{self, Ipv6Header};
use super::packet::pseudo_header_sum;
use super::tcp::{self, TcpHeader};
use super::tcp_options::{self, TcpOptions, emit_fixed_timestamps};
use super::{Checksum, PROTOCOL_TCP, SeqNum, TcpFlags};
use crate::parts::IPV6;

const PLAIN_V4: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
const TAGGED_V4: usize = ethernet::TAGGED_HEADER_LEN + ipv4::HEADER_LEN;
const PLAIN_V6: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN;
const TAGGED_V6: usize = ethernet::TAGGED_HEADER_LEN + ipv6::HEADER_LEN;

const TS_HEADER_LEN: usize = tcp::HEADER_LEN + tcp_options::TIMESTAMPS_LEN;

/// Length of plain headers: Ethernet, IPv4, TCP with timestamps alone.
pub(crate) const PLAIN_HEADER_LEN: usize = PLAIN_V4 + TS_HEADER_LEN;

/// What a template holds at most.
const ROOM: usize = PLAIN_HEADER_LEN;
const _: () = assert!(ROOM >= TAGGED_V6);

/// Source and destination address are of different families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyMismatch;

impl fmt::Display for FamilyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one address is IPv4, the other IPv6")
    }
}

impl core::error::Error for FamilyMismatch {}

/// The part of a segment's header that is its own.
#[derive(Clone, Copy, Debug)]
pub struct SegmentHead<'a> {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, scaled already.
    pub window: u16,
    /// Timestamps in their fixed layout. Not looked at if there are `options`.
    pub ts: Option<(u32, u32)>,
    /// The two ECN bits of the IP header.
    pub ecn: u8,
    /// All options (timestamps included) of a SYN or of a segment with SACK blocks.
    pub options: Option<&'a TcpOptions>,
}

impl SegmentHead<'_> {
    /// Length of the TCP header.
    #[inline]
    #[must_use]
    pub fn tcp_header_len(&self) -> usize {
        match (self.options, self.ts) {
            (Some(options), _) => tcp::HEADER_LEN + options.encoded_len(),
            (None, Some(_)) => TS_HEADER_LEN,
            (None, None) => tcp::HEADER_LEN,
        }
    }

    #[inline(always)]
    fn tcp_header(&self, ports: (u16, u16), header_len: usize) -> TcpHeader {
        TcpHeader {
            src_port: ports.0,
            dst_port: ports.1,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: 0,
            header_len: header_len as u8,
        }
    }
}

/// What the headers of a connection have in common.
///
/// Aligned, headers first: a CPU without unaligned access copies them in words then, not in halves of a word (aarch64 images:
/// 140 instructions a frame).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
pub struct HeaderTemplate {
    /// Ethernet and IP header with ECN 0 (the rest of the traffic class set), length and IPv4 checksum 0. Behind untagged
    /// IPv4 the TCP header of plain segments, as [`HeaderTemplate::prepare_plain`] left it.
    l2l3: [u8; ROOM],
    /// Not 0, so that an `Option` of it needs no more.
    l2l3_len: NonZeroU8,
    src_port: u16,
    dst_port: u16,
    /// The folded sum over the IPv4 header in `l2l3`; 0 for IPv6.
    ip_sum: u16,
    /// The folded sum over the pseudo-header, its length 0.
    pseudo_sum: u16,
}

static_assertions::const_assert!(size_of::<Option<HeaderTemplate>>() <= 80);

impl HeaderTemplate {
    /// A template for segments from `src` to `dst`. `vlan` is the 802.1Q tag control information.
    ///
    /// # Errors
    /// [`FamilyMismatch`], also for IPv6 where the feature of that name is off.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the fields of three headers; each has its own type or name"
    )]
    pub fn new(
        src_mac: MacAddr,
        dst_mac: MacAddr,
        vlan: Option<u16>,
        src: IpAddr,
        dst: IpAddr,
        src_port: u16,
        dst_port: u16,
        ttl: u8,
    ) -> Result<Self, FamilyMismatch> {
        let mut l2l3 = [0; ROOM];
        let mut l2 = |ethertype| EthernetHeader::new(dst_mac, src_mac, vlan, ethertype).emit(&mut l2l3);
        let (l2l3_len, ip_sum) = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let ip = Ipv4Header {
                    src,
                    dst,
                    protocol: PROTOCOL_TCP,
                    ttl,
                    tos: 0,
                    id: 0,
                    header_len: ipv4::HEADER_LEN as u8,
                    total_len: 0,
                    dont_fragment: true,
                };
                let start = l2(EtherType::Ipv4);
                let mut header = [0; ipv4::HEADER_LEN];
                ip.emit(&mut header);
                put::<10, 2, _>(&mut header, [0, 0]);
                let mut sum = Checksum::new();
                sum.add(&header);
                (append(&mut l2l3, start, &header), sum.fold())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) if IPV6 => {
                let ip = Ipv6Header {
                    src,
                    dst,
                    next_header: PROTOCOL_TCP,
                    hop_limit: ttl,
                    traffic_class: 0,
                    flow_label: 0,
                    payload_offset: ipv6::HEADER_LEN as u16,
                    payload_len: 0,
                };
                let start = l2(EtherType::Ipv6);
                let mut header = [0; ipv6::HEADER_LEN];
                ip.emit(&mut header);
                (append(&mut l2l3, start, &header), 0)
            }
            _ => return Err(FamilyMismatch),
        };
        if l2l3_len == PLAIN_V4 {
            put::<PLAIN_V4, 4, _>(&mut l2l3, (u32::from(src_port) << 16 | u32::from(dst_port)).to_be_bytes());
            if let Some(options) = l2l3.last_chunk_mut() {
                emit_fixed_timestamps(options, (0, 0));
            }
        }
        let pseudo_sum = pseudo_header_sum(src, dst, 0).fold();
        let l2l3_len = NonZeroU8::new(l2l3_len as u8).ok_or(FamilyMismatch)?;
        Ok(Self { l2l3, l2l3_len, src_port, dst_port, ip_sum, pseudo_sum })
    }

    /// Length of Ethernet and IP header: where TCP begins.
    #[inline]
    #[must_use]
    pub const fn l2l3_len(&self) -> usize {
        self.l2l3_len.get() as usize
    }

    /// Length of all headers of `seg`: the room that [`HeaderTemplate::emit`] wants.
    #[inline]
    #[must_use]
    pub fn header_len(&self, seg: &SegmentHead<'_>) -> usize {
        self.l2l3_len() + seg.tcp_header_len()
    }

    /// With `tos` as IPv4's type of service or IPv6's traffic class; its two low bits, ECN's, are each segment's own.
    #[must_use]
    pub fn with_tos(mut self, tos: u8) -> Self {
        let dscp = tos & !3;
        // Set before the ECN field: it is cleared here.
        let l3 = self.l2l3_len().saturating_sub(ipv4::HEADER_LEN);
        let v6 = self.l2l3_len().saturating_sub(ipv6::HEADER_LEN);
        if self.l2l3_len() == PLAIN_V4 || self.l2l3_len() == TAGGED_V4 {
            if let Some(ip) = self.l2l3.get_mut(l3..l3 + ipv4::HEADER_LEN) {
                ip[1] = dscp;
                let mut sum = Checksum::new();
                sum.add(ip);
                self.ip_sum = sum.fold();
            }
        } else if let Some([first, second, ..]) = self.l2l3.get_mut(v6..) {
            *first = *first & 0xf0 | dscp >> 4;
            *second = *second & 0x0f | dscp << 4;
        }
        self
    }

    /// Plain segments are sent with `ecn` in an IPv4 header's ECN field; others say it themselves.
    pub(crate) fn set_plain_ecn(&mut self, ecn: u8) {
        if self.l2l3_len() == PLAIN_V4
            && let Some(ip) = self.l2l3.get_mut(ethernet::HEADER_LEN..PLAIN_V4)
        {
            ip[1] = ip[1] & !3 | ecn & 3;
            let mut sum = Checksum::new();
            sum.add(ip);
            self.ip_sum = sum.fold();
        }
    }

    /// The neighbour's MAC address.
    #[must_use]
    pub fn dst_mac(&self) -> MacAddr {
        MacAddr(self.l2l3.first_chunk().copied().unwrap_or_default())
    }

    /// The neighbour has another MAC address now.
    pub fn set_dst_mac(&mut self, mac: MacAddr) {
        put::<0, 6, _>(&mut self.l2l3, mac.0);
    }

    /// The sum over the pseudo-header of a segment with `tcp_len` bytes of header and payload. A NIC that segments (TSO)
    /// wants it for a length of 0.
    #[inline]
    #[must_use]
    pub fn pseudo_sum(&self, tcp_len: u32) -> Checksum {
        let mut sum = Checksum::from_fold(self.pseudo_sum);
        sum.add_u32(tcp_len);
        sum
    }

    /// Writes the headers of a segment with `payload_len` bytes behind them into `out`, of [`HeaderTemplate::header_len`]
    /// bytes, and returns their length. The TCP checksum is 0. Writes nothing and returns 0 if `out` is too short or the
    /// packet exceeds what the IP length field can say.
    #[inline]
    pub fn emit(&self, out: &mut [u8], seg: &SegmentHead<'_>, payload_len: u32) -> usize {
        if let (PLAIN_V4, None, Some(ts)) = (self.l2l3_len(), seg.options, seg.ts)
            && let Some((l2l3, tcp)) = out.split_first_chunk_mut::<PLAIN_V4>()
            && let Some(tcp) = tcp.first_chunk_mut::<TS_HEADER_LEN>()
            && let Ok(total_len) = u16::try_from((ipv4::HEADER_LEN + TS_HEADER_LEN) as u64 + u64::from(payload_len))
        {
            self.emit_v4::<PLAIN_V4>(l2l3, total_len, seg.ecn);
            self.emit_tcp_timestamps(tcp, seg, ts);
            return PLAIN_V4 + TS_HEADER_LEN;
        }
        self.emit_general(out, seg, payload_len)
    }

    /// Every layout.
    #[inline(never)]
    fn emit_general(&self, out: &mut [u8], seg: &SegmentHead<'_>, payload_len: u32) -> usize {
        let tcp_header_len = seg.tcp_header_len();
        let Some(tcp_len) = payload_len.checked_add(tcp_header_len as u32) else {
            debug_assert!(false, "a payload of 4 GiB");
            return 0;
        };
        let Some((l2l3, tcp)) =
            out.split_at_mut_checked(self.l2l3_len()).filter(|(_, tcp)| tcp.len() >= tcp_header_len)
        else {
            debug_assert!(false, "no room for the headers");
            return 0;
        };
        if !self.emit_l2l3(l2l3, tcp_len, seg.ecn) {
            debug_assert!(false, "the packet exceeds the IP length field");
            return 0;
        }
        let header = seg.tcp_header((self.src_port, self.dst_port), tcp_header_len);
        header.emit(tcp);
        let options = tcp.get_mut(tcp::HEADER_LEN..tcp_header_len).unwrap_or_default();
        if let Some(all) = seg.options {
            all.emit(options);
        } else if let (Some(ts), Some(options)) = (seg.ts, options.first_chunk_mut()) {
            emit_fixed_timestamps(options, ts);
        }
        self.l2l3_len() + tcp_header_len
    }

    /// Ethernet and IP in front of `tcp_len` bytes; false if the length field cannot say so many.
    fn emit_l2l3(&self, out: &mut [u8], tcp_len: u32, ecn: u8) -> bool {
        let v4_len = tcp_len.checked_add(ipv4::HEADER_LEN as u32).and_then(|len| u16::try_from(len).ok());
        let v6_len = u16::try_from(tcp_len).ok();
        match (out.len(), v4_len, v6_len) {
            (PLAIN_V4, Some(len), _) => out.first_chunk_mut().map(|out| self.emit_v4::<PLAIN_V4>(out, len, ecn)),
            (TAGGED_V4, Some(len), _) => out.first_chunk_mut().map(|out| self.emit_v4::<TAGGED_V4>(out, len, ecn)),
            (PLAIN_V6, _, Some(len)) if IPV6 => {
                out.first_chunk_mut().map(|out| self.emit_v6::<PLAIN_V6>(out, len, ecn))
            }
            (TAGGED_V6, _, Some(len)) if IPV6 => {
                out.first_chunk_mut().map(|out| self.emit_v6::<TAGGED_V6>(out, len, ecn))
            }
            _ => None,
        }
        .is_some()
    }

    /// `N` bytes of Ethernet and IPv4. The checksum follows from the template's sum (RFC 1624: only fields that are 0 in the
    /// template are added).
    #[inline(always)]
    fn emit_v4<const N: usize>(&self, out: &mut [u8; N], total_len: u16, ecn: u8) {
        const { assert!(N == PLAIN_V4 || N == TAGGED_V4) };
        out.copy_from_slice(&self.l2l3[..N]);
        let ecn = ecn & 3;
        // What the template itself says is taken out again. Four terms of 16 bits: two folds suffice.
        let own = u32::from(!u16::from(self.l2l3[N - ipv4::HEADER_LEN + 1] & 3));
        let sum = u32::from(self.ip_sum) + u32::from(total_len) + u32::from(ecn) + own;
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum + (sum >> 16)) as u16;
        if let Some(ip) = out.last_chunk_mut::<{ ipv4::HEADER_LEN }>() {
            ip[1] = ip[1] & !3 | ecn;
            put::<2, 2, _>(ip, total_len.to_be_bytes());
            put::<10, 2, _>(ip, (!sum).to_be_bytes());
        }
    }

    /// `N` bytes of Ethernet and IPv6.
    #[inline(always)]
    fn emit_v6<const N: usize>(&self, out: &mut [u8; N], payload_len: u16, ecn: u8) {
        const { assert!(N == PLAIN_V6 || N == TAGGED_V6) };
        out.copy_from_slice(&self.l2l3[..N]);
        if let Some(ip) = out.last_chunk_mut::<{ ipv6::HEADER_LEN }>() {
            // The traffic class lies across the first two bytes; ECN is its low end.
            ip[1] |= (ecn & 3) << 4;
            put::<4, 2, _>(ip, payload_len.to_be_bytes());
        }
    }

    /// A TCP header with timestamps only.
    #[inline(always)]
    fn emit_tcp_timestamps(&self, out: &mut [u8; TS_HEADER_LEN], seg: &SegmentHead<'_>, ts: (u32, u32)) {
        let header = seg.tcp_header((self.src_port, self.dst_port), TS_HEADER_LEN);
        if let Some((fixed, options)) = out.split_first_chunk_mut::<{ tcp::HEADER_LEN }>() {
            header.emit_fixed(fixed);
            if let Some(options) = options.first_chunk_mut() {
                emit_fixed_timestamps(options, ts);
            }
        }
    }
}

impl HeaderTemplate {
    /// Takes in what the plain segments of a burst have in common: untagged IPv4, an ACK with timestamps. False, and nothing
    /// done, when the template's are not plain.
    ///
    /// It stays in memory, where [`HeaderTemplate::emit_plain`] copies it from: in registers it would be in the way of
    /// everything else that a burst does.
    #[inline(always)]
    pub(crate) fn prepare_plain(&mut self, ack: SeqNum, window: u16, ts: (u32, u32)) -> bool {
        const TCP: usize = PLAIN_V4;
        if self.l2l3_len() != PLAIN_V4 {
            return false;
        }
        let control = 0x8000_0000 | u32::from(TcpFlags::ACK.bits()) << 16 | u32::from(window);
        put::<{ TCP + 8 }, 4, _>(&mut self.l2l3, ack.0.to_be_bytes());
        put::<{ TCP + 12 }, 4, _>(&mut self.l2l3, control.to_be_bytes());
        put::<{ TCP + 24 }, 4, _>(&mut self.l2l3, ts.0.to_be_bytes());
        put::<{ TCP + 28 }, 4, _>(&mut self.l2l3, ts.1.to_be_bytes());
        true
    }

    /// Writes the header of a plain segment, as prepared, with `payload_len` bytes behind it (a full segment fits the IP
    /// length field) and leaves the folded pseudo-header sum in the checksum field.
    #[inline(always)]
    pub(crate) fn emit_plain(&self, out: &mut [u8; PLAIN_HEADER_LEN], seq: SeqNum, push: bool, payload_len: u16) {
        const IP: usize = ethernet::HEADER_LEN;
        const TCP: usize = PLAIN_V4;
        *out = self.l2l3;
        let total_len = (ipv4::HEADER_LEN + TS_HEADER_LEN) as u16 + payload_len;
        let fold = |sum: u16, len: u16| {
            let sum = u32::from(sum) + u32::from(len);
            (sum + (sum >> 16)) as u16
        };
        put::<{ IP + 2 }, 2, _>(out, total_len.to_be_bytes());
        put::<{ IP + 10 }, 2, _>(out, (!fold(self.ip_sum, total_len)).to_be_bytes());
        put::<{ TCP + 4 }, 4, _>(out, seq.0.to_be_bytes());
        out[TCP + 13] = TcpFlags::ACK.bits() | u8::from(push) << 3;
        let pseudo = fold(self.pseudo_sum, TS_HEADER_LEN as u16 + payload_len);
        put::<{ TCP + 16 }, 2, _>(out, pseudo.to_be_bytes());
    }
}

/// Copies `header` to `at`, which leaves room for it, and returns where it ends.
fn append(l2l3: &mut [u8; ROOM], at: usize, header: &[u8]) -> usize {
    for (to, from) in l2l3.iter_mut().skip(at).zip(header) {
        *to = *from;
    }
    at + header.len()
}

/// The TCP checksum, as [`write_tcp_checksum`] wants it: `pseudo` is the sum of the pseudo-header, `tcp_header` has a
/// checksum field of 0, the pieces of the payload follow in their order and may have odd lengths.
#[inline]
pub fn tcp_checksum<'a>(pseudo: Checksum, tcp_header: &[u8], payload: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut sum = pseudo;
    sum.add(tcp_header);
    for piece in payload {
        sum.add(piece);
    }
    sum.finish()
}

/// Stores `sum` in the checksum field of the TCP header at `l4_offset` of `header`: a finished checksum, or the folded
/// pseudo-header sum for a NIC to complete.
#[inline]
pub fn write_tcp_checksum(header: &mut [u8], l4_offset: usize, sum: u16) {
    let field = header.get_mut(l4_offset + tcp::CHECKSUM_OFFSET..).and_then(|rest| rest.first_chunk_mut::<2>());
    debug_assert!(field.is_some(), "no TCP header at this offset");
    if let Some(field) = field {
        *field = sum.to_be_bytes();
    }
}

#[cfg(test)]
mod tests;
