//! The fixed TCP header (RFC 9293 section 3.1). Options are in `tcp_options`, checksums in `packet` and `build`: they need
//! the addresses.

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};

use bitfield::bitfield;

use super::bytes::{be16, be32, put};
use super::{ParseError, SeqNum};

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;
/// Length of a header with all the options that the data offset allows.
pub const MAX_HEADER_LEN: usize = 60;
/// Where the checksum stands.
pub const CHECKSUM_OFFSET: usize = 16;

bitfield! {
    /// The control bits.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct TcpFlags(u8);
    /// No more data from the sender.
    pub fin, set_fin: 0;
    /// Synchronize sequence numbers.
    pub syn, set_syn: 1;
    /// Reset the connection.
    pub rst, set_rst: 2;
    /// Push.
    pub psh, set_psh: 3;
    /// The acknowledgment field counts.
    pub ack, set_ack: 4;
    /// The urgent pointer counts.
    pub urg, set_urg: 5;
    /// ECN-Echo (RFC 3168).
    pub ece, set_ece: 6;
    /// Congestion window reduced (RFC 3168).
    pub cwr, set_cwr: 7;
}

impl TcpFlags {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// FIN.
    pub const FIN: Self = Self(0x01);
    /// SYN.
    pub const SYN: Self = Self(0x02);
    /// RST.
    pub const RST: Self = Self(0x04);
    /// PSH.
    pub const PSH: Self = Self(0x08);
    /// ACK.
    pub const ACK: Self = Self(0x10);
    /// URG.
    pub const URG: Self = Self(0x20);
    /// ECE.
    pub const ECE: Self = Self(0x40);
    /// CWR.
    pub const CWR: Self = Self(0x80);

    /// From the byte on the wire.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte on the wire.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other`'s bits are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other`'s bits is set.
    #[inline]
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits without `other`'s.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no bit is set.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for TcpFlags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for TcpFlags {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut separator = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 >> bit & 1 != 0 {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if self.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

/// The fixed part of a TCP header. The checksum is not part of it: whoever parses has checked it, whoever emits fills it in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte, or of the SYN.
    pub seq: SeqNum,
    /// Acknowledgment number; counts if ACK is set.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, not scaled.
    pub window: u16,
    /// Urgent pointer; counts if URG is set.
    pub urgent: u16,
    /// Length with options, a multiple of 4 from 20 to 60.
    pub header_len: u8,
}

impl TcpHeader {
    /// Reads the header at the start of a segment; its options lie within `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Short`] or [`ParseError::BadDataOffset`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let head = bytes.first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        let header = Self::from_fixed(head);
        let len = usize::from(header.header_len);
        if len < HEADER_LEN || len > bytes.len() {
            return Err(ParseError::BadDataOffset);
        }
        Ok(header)
    }

    /// The fields as they stand; `header_len` is not checked.
    #[inline(always)]
    pub(super) fn from_fixed(head: &[u8; HEADER_LEN]) -> Self {
        Self {
            src_port: be16::<0, _>(head),
            dst_port: be16::<2, _>(head),
            seq: SeqNum(be32::<4, _>(head)),
            ack: SeqNum(be32::<8, _>(head)),
            // The low half holds reserved bits (RFC 9293: ignored).
            header_len: (head[12] & 0xf0) >> 2,
            flags: TcpFlags(head[13]),
            window: be16::<14, _>(head),
            urgent: be16::<18, _>(head),
        }
    }

    /// Writes the fixed 20 bytes with a checksum of 0 and returns their length; 0 if `out` is too short. Options, up to
    /// `header_len`, are the caller's.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        debug_assert!(out.len() >= HEADER_LEN, "no room for a TCP header");
        let Some(out) = out.first_chunk_mut::<HEADER_LEN>() else {
            return 0;
        };
        self.emit_fixed(out);
        HEADER_LEN
    }

    #[inline(always)]
    pub(super) fn emit_fixed(&self, out: &mut [u8; HEADER_LEN]) {
        debug_assert!(
            self.header_len.is_multiple_of(4) && (HEADER_LEN..=MAX_HEADER_LEN).contains(&usize::from(self.header_len))
        );
        put::<0, 2, _>(out, self.src_port.to_be_bytes());
        put::<2, 2, _>(out, self.dst_port.to_be_bytes());
        put::<4, 4, _>(out, self.seq.0.to_be_bytes());
        put::<8, 4, _>(out, self.ack.0.to_be_bytes());
        put::<12, 2, _>(out, [self.header_len << 2, self.flags.0]);
        put::<14, 2, _>(out, self.window.to_be_bytes());
        put::<16, 4, _>(out, u32::from(self.urgent).to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
