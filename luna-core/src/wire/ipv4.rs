//! The IPv4 header (RFC 791). Options are skipped, fragments refused; what is sent has no options and, by RFC 6864, an
//! identification of 0 with DF set.

use core::net::Ipv4Addr;

use super::bytes::{be16, put, take};
use super::{Checksum, ParseError};

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or an offset.
const FRAGMENT_MASK: u16 = 0x3fff;

/// An IPv4 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Header {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// What follows: 6 is TCP.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Length with options.
    pub header_len: u8,
    /// Length of header and payload.
    pub total_len: u16,
    /// The DF bit.
    pub dont_fragment: bool,
}

impl Ipv4Header {
    /// Reads the header at the start of `bytes`, behind whose `total_len` there may be padding. `verify`: check the header
    /// checksum, since nobody else did.
    ///
    /// # Errors
    /// [`ParseError::Short`], [`BadVersion`](ParseError::BadVersion), [`BadHeaderLen`](ParseError::BadHeaderLen),
    /// [`BadTotalLen`](ParseError::BadTotalLen), [`BadIpChecksum`](ParseError::BadIpChecksum) or
    /// [`Fragment`](ParseError::Fragment).
    #[inline]
    pub fn parse(bytes: &[u8], verify: bool) -> Result<Self, ParseError> {
        let head = bytes.first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        let version_ihl = head[0];
        if version_ihl >> 4 != 4 {
            return Err(ParseError::BadVersion);
        }
        let header_len = (version_ihl & 0x0f) << 2;
        let total_len = be16::<2, _>(head);
        if usize::from(header_len) < HEADER_LEN {
            return Err(ParseError::BadHeaderLen);
        }
        let header = bytes.get(..usize::from(header_len)).ok_or(ParseError::BadHeaderLen)?;
        if total_len < u16::from(header_len) || usize::from(total_len) > bytes.len() {
            return Err(ParseError::BadTotalLen);
        }
        if verify && !checksum_holds(header) {
            return Err(ParseError::BadIpChecksum);
        }
        let fragment = be16::<6, _>(head);
        if fragment & FRAGMENT_MASK != 0 {
            return Err(ParseError::Fragment);
        }
        Ok(Self {
            src: Ipv4Addr::from(take::<12, 4, _>(head)),
            dst: Ipv4Addr::from(take::<16, 4, _>(head)),
            protocol: head[9],
            ttl: head[8],
            tos: head[1],
            id: be16::<4, _>(head),
            header_len,
            total_len,
            dont_fragment: fragment & DONT_FRAGMENT != 0,
        })
    }

    /// Writes a header of 20 bytes with its checksum and returns its length; 0 if `out` is too short. There are no options
    /// to write, so `header_len` is not looked at.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        debug_assert!(out.len() >= HEADER_LEN, "no room for an IPv4 header");
        let Some(out) = out.first_chunk_mut::<HEADER_LEN>() else {
            return 0;
        };
        let fragment = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        put::<0, 2, _>(out, [0x45, self.tos]);
        put::<2, 2, _>(out, self.total_len.to_be_bytes());
        put::<4, 2, _>(out, self.id.to_be_bytes());
        put::<6, 2, _>(out, fragment.to_be_bytes());
        put::<8, 4, _>(out, [self.ttl, self.protocol, 0, 0]);
        put::<12, 4, _>(out, self.src.octets());
        put::<16, 4, _>(out, self.dst.octets());
        let mut sum = Checksum::new();
        sum.add(out);
        put::<10, 2, _>(out, sum.finish().to_be_bytes());
        HEADER_LEN
    }
}

/// Whether the checksum of a whole header (options included) is right.
#[inline(always)]
pub(super) fn checksum_holds(header: &[u8]) -> bool {
    let mut sum = Checksum::new();
    sum.add(header);
    sum.finish() == 0
}

#[cfg(test)]
mod tests;
