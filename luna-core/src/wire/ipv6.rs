//! The IPv6 header and the extension headers in front of TCP (RFC 8200). Their number is bounded, their options are walked
//! only to honour those that ask to be refused. Fragments and source routing are refused; nothing is sent with extensions.

use core::net::Ipv6Addr;

use super::ParseError;
use super::bytes::{be16, be32, put, take};

/// Length of the fixed header.
pub const HEADER_LEN: usize = 40;
/// How many extension headers are followed. Each is at most 2048 bytes long, so offsets fit 16 bits.
pub const MAX_EXTENSIONS: usize = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// An IPv6 header, its extension headers skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Header {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// What follows the extension headers: 6 is TCP.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Where the payload begins, from the start of this header.
    pub payload_offset: u16,
    /// Length of the payload, extension headers not counted.
    pub payload_len: u16,
}

impl Ipv6Header {
    /// Reads the header at the start of `bytes`, behind whose payload there may be padding.
    ///
    /// # Errors
    /// [`ParseError::Short`], [`BadVersion`](ParseError::BadVersion), [`BadTotalLen`](ParseError::BadTotalLen),
    /// [`Fragment`](ParseError::Fragment), [`BadExtension`](ParseError::BadExtension),
    /// [`RoutingHeader`](ParseError::RoutingHeader) or [`TooManyExtensions`](ParseError::TooManyExtensions).
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (head, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        let first = be32::<0, _>(head);
        if first >> 28 != 6 {
            return Err(ParseError::BadVersion);
        }
        let payload_len = be16::<4, _>(head);
        let payload = rest.get(..usize::from(payload_len)).ok_or(ParseError::BadTotalLen)?;
        let (next_header, skipped) = match head[6] {
            extension @ (HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) => skip_extensions(extension, payload)?,
            upper => (upper, 0),
        };
        Ok(Self {
            src: Ipv6Addr::from(take::<8, 16, _>(head)),
            dst: Ipv6Addr::from(take::<24, 16, _>(head)),
            next_header,
            hop_limit: head[7],
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0x000f_ffff,
            payload_offset: HEADER_LEN as u16 + skipped,
            payload_len: payload_len - skipped,
        })
    }

    /// Writes the fixed header, which `payload_len` bytes follow, and returns its length; 0 if `out` is too short.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        debug_assert!(out.len() >= HEADER_LEN, "no room for an IPv6 header");
        debug_assert!(self.flow_label >> 20 == 0, "a flow label of more than 20 bits");
        let Some(out) = out.first_chunk_mut::<HEADER_LEN>() else {
            return 0;
        };
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        put::<0, 4, _>(out, first.to_be_bytes());
        put::<4, 2, _>(out, self.payload_len.to_be_bytes());
        put::<6, 2, _>(out, [self.next_header, self.hop_limit]);
        put::<8, 16, _>(out, self.src.octets());
        put::<24, 16, _>(out, self.dst.octets());
        HEADER_LEN
    }
}

/// Follows the extension headers at the start of `payload`: the upper protocol, and how many bytes were skipped.
#[cold]
fn skip_extensions(first: u8, payload: &[u8]) -> Result<(u8, u16), ParseError> {
    let mut kind = first;
    let mut skipped = 0u16;
    let mut rest = payload;
    for nth in 0..=MAX_EXTENSIONS {
        match kind {
            // Hop-by-hop options only come first (RFC 8200 section 4.1).
            HOP_BY_HOP if nth != 0 => return Err(ParseError::BadExtension),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Err(ParseError::Fragment),
            upper => return Ok((upper, skipped)),
        }
        if nth == MAX_EXTENSIONS {
            break;
        }
        let &[next, units, ..] = rest else {
            return Err(ParseError::Short);
        };
        let len = (usize::from(units) + 1) * 8;
        let (extension, after) = rest.split_at_checked(len).ok_or(ParseError::Short)?;
        match (kind, extension) {
            // RFC 8200 section 4.4: an unknown type is skipped only if no segments are left. RFC 5095: no type 0.
            (ROUTING, &[_, _, routing_type, segments_left, ..]) if routing_type == 0 || segments_left != 0 => {
                return Err(ParseError::RoutingHeader);
            }
            (ROUTING, _) => {}
            (_, options) => check_options(options.get(2..).unwrap_or_default())?,
        }
        kind = next;
        rest = after;
        skipped += len as u16;
    }
    Err(ParseError::TooManyExtensions)
}

/// Walks hop-by-hop or destination options. We know none but padding: the two high bits of the others say whether they
/// may be skipped (RFC 8200 section 4.2).
fn check_options(options: &[u8]) -> Result<(), ParseError> {
    let mut rest = options;
    loop {
        rest = match *rest {
            [] => return Ok(()),
            [0, ref after @ ..] => after,
            [kind, _, ..] if kind >> 6 != 0 => return Err(ParseError::BadExtension),
            [_, len, ref after @ ..] => after.get(usize::from(len)..).ok_or(ParseError::BadExtension)?,
            [_] => return Err(ParseError::BadExtension),
        };
    }
}

#[cfg(test)]
mod tests;
