//! The slim frame: a fixed header of 24 bytes, little-endian, then metadata, then payload (paper §4.1). Nothing is
//! serialised: the payload is whatever the application's bytes are.
//!
//! ```text
//!  0 version u4, kind u4     1 flags u8      2 metadata length u16    4 payload length u32
//!  8 method (request) or status (response) u16        10 request id, 48 bits
//! 16 deadline (request: microseconds from now, 0 = none) or credit (response) u32
//! 20 CRC-32C u32 of bytes 0..20
//! 24 CRC-32C u32 of the payload, only if the flag says so; not counted as metadata
//! ```
//!
//! Three words of 8 bytes, each read and written as one. A header that cannot be trusted leaves no way to find the next
//! frame: every [`FrameError`] ends the connection.

use core::fmt;

use super::status::Status;
use crate::crc32c;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 24;
/// The version of the format that this code speaks.
pub const VERSION: u8 = 2;
/// Bytes of a payload's CRC, between header and metadata where there is one.
pub(super) const PAYLOAD_CRC_LEN: usize = 4;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Client to server: do this.
    Request = 1,
    /// Server to client: the answer.
    Response = 2,
    /// Client to server: the answer is not wanted any more. No body.
    Cancel = 3,
    /// Are you there? No body.
    Ping = 4,
    /// The answer to a ping, with its id. No body.
    Pong = 5,
}

impl Kind {
    #[inline]
    const fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Cancel,
            4 => Self::Ping,
            5 => Self::Pong,
            _ => return None,
        })
    }
}

/// Flag bits of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The payload's CRC stands behind the header.
    pub const PAYLOAD_CRC: Self = Self(1);
    const KNOWN: u8 = 1;

    /// Whether the payload's CRC stands behind the header.
    #[must_use]
    #[inline]
    pub const fn has_payload_crc(self) -> bool {
        self.0 & Self::PAYLOAD_CRC.0 != 0
    }
}

/// A parsed header: its kind, flags and version are known ones, its lengths within the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// What the frame is.
    pub kind: Kind,
    /// Flag bits.
    pub flags: Flags,
    /// Request: what to do.
    pub method: u16,
    /// Response: how it went.
    pub status: Status,
    /// Names the request, chosen by the client: 48 bits, others are not sent.
    pub id: u64,
    /// Bytes of metadata.
    pub metadata_len: u16,
    /// Bytes of payload.
    pub payload_len: u32,
    /// Response: for credits; sent as 0 and not looked at by this version.
    pub credit: u32,
    /// Request: microseconds that the client is going to wait; 0 = for ever.
    pub deadline_us: u32,
}

/// The largest frame that is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLimits {
    /// Bytes of metadata.
    pub metadata: u32,
    /// Bytes of payload.
    pub payload: u32,
}

/// Why bytes are no frame of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Another version of the format.
    Version(u8),
    /// The header's CRC does not match.
    HeaderCrc {
        /// Of the bytes that arrived.
        computed: u32,
        /// What the header says.
        received: u32,
    },
    /// A kind that this version does not have.
    Kind(u8),
    /// A flag that this version does not have.
    Flags(u8),
    /// More metadata than the limit.
    MetadataTooLong {
        /// What the header says.
        len: u32,
        /// The limit.
        max: u32,
    },
    /// More payload than the limit.
    PayloadTooLong {
        /// What the header says.
        len: u32,
        /// The limit.
        max: u32,
    },
    /// Metadata, payload or its CRC on a kind of frame that has none.
    UnexpectedBody(Kind),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(v) => write!(f, "frame version {v}, this is version {VERSION}"),
            Self::HeaderCrc { computed, received } => {
                write!(f, "frame header CRC {received:#010x} instead of {computed:#010x}")
            }
            Self::Kind(k) => write!(f, "unknown frame kind {k}"),
            Self::Flags(b) => write!(f, "unknown frame flags {b:#04x}"),
            Self::MetadataTooLong { len, max } => write!(f, "{len} bytes of metadata, the limit is {max}"),
            Self::PayloadTooLong { len, max } => write!(f, "{len} bytes of payload, the limit is {max}"),
            Self::UnexpectedBody(k) => write!(f, "a {k:?} frame with a body"),
        }
    }
}

impl core::error::Error for FrameError {}

/// The first four bytes of a frame of one of the two usual kinds without flags and metadata.
const PLAIN_REQUEST: u32 = first_byte(Kind::Request) as u32;
const PLAIN_RESPONSE: u32 = first_byte(Kind::Response) as u32;
const VERSION_BITS: u8 = 0xf;

#[inline(always)]
const fn first_byte(kind: Kind) -> u8 {
    VERSION | (kind as u8) << 4
}

/// The header's three words.
#[inline(always)]
fn words(bytes: &[u8; HEADER_LEN]) -> [u64; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// Of all but the CRC itself.
#[inline(always)]
fn header_crc([a, b, c]: [u64; 3]) -> u32 {
    crc32c::of_words(a, b, c as u32)
}

impl FrameHeader {
    /// A header of that kind and id, everything else 0.
    #[must_use]
    #[inline]
    pub const fn new(kind: Kind, id: u64) -> Self {
        Self {
            kind,
            flags: Flags::NONE,
            method: 0,
            status: Status::OK,
            id,
            metadata_len: 0,
            payload_len: 0,
            credit: 0,
            deadline_us: 0,
        }
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The first thing found wrong.
    #[inline]
    pub fn parse(bytes: &[u8; HEADER_LEN], limits: &FrameLimits) -> Result<Self, FrameError> {
        match Self::parse_plain(bytes, limits.payload) {
            Some(header) => Ok(header),
            None => Self::parse_any(bytes, limits),
        }
    }

    /// The length of payload that a header states, whatever else it says.
    #[inline(always)]
    pub(super) fn payload_len_of(bytes: &[u8; HEADER_LEN]) -> u32 {
        let [first, ..] = words(bytes);
        (first >> 32) as u32
    }

    /// A sound header of one of the two kinds that come all the time, without metadata and flags, and with at most `most` bytes
    /// of payload; `None` may be sound too.
    #[inline(always)]
    pub(super) fn parse_plain(bytes: &[u8; HEADER_LEN], most: u32) -> Option<Self> {
        let words @ [first, _, last] = words(bytes);
        let kind = match first as u32 {
            PLAIN_REQUEST => Kind::Request,
            PLAIN_RESPONSE => Kind::Response,
            _ => return None,
        };
        if (first >> 32) as u32 > most || header_crc(words) != (last >> 32) as u32 {
            return None;
        }
        Some(Self::of_words(kind, words))
    }

    /// What stands in a header of that kind, whatever it is.
    #[inline(always)]
    fn of_words(kind: Kind, [first, second, last]: [u64; 3]) -> Self {
        let (code, number) = (second as u16, last as u32);
        let mut header = Self {
            flags: Flags((first >> 8) as u8),
            metadata_len: (first >> 16) as u16,
            payload_len: (first >> 32) as u32,
            ..Self::new(kind, second >> 16)
        };
        match kind {
            Kind::Request => (header.method, header.deadline_us) = (code, number),
            Kind::Response => (header.status, header.credit) = (Status(code), number),
            Kind::Cancel | Kind::Ping | Kind::Pong => {}
        }
        header
    }

    #[cold]
    #[inline(never)]
    fn parse_any(bytes: &[u8; HEADER_LEN], limits: &FrameLimits) -> Result<Self, FrameError> {
        let [first, flags, ..] = *bytes;
        if first & VERSION_BITS != VERSION {
            return Err(FrameError::Version(first & VERSION_BITS));
        }
        let words @ [.., last] = words(bytes);
        let computed = header_crc(words);
        let received = (last >> 32) as u32;
        if computed != received {
            return Err(FrameError::HeaderCrc { computed, received });
        }
        let kind = first >> 4;
        let kind = Kind::from_wire(kind).ok_or(FrameError::Kind(kind))?;
        if flags & !Flags::KNOWN != 0 {
            return Err(FrameError::Flags(flags));
        }
        let header = Self::of_words(kind, words);
        header.check(limits)?;
        Ok(header)
    }

    #[inline]
    fn check(&self, limits: &FrameLimits) -> Result<(), FrameError> {
        let (metadata, payload) = (u32::from(self.metadata_len), self.payload_len);
        if metadata > limits.metadata {
            return Err(FrameError::MetadataTooLong { len: metadata, max: limits.metadata });
        }
        if payload > limits.payload {
            return Err(FrameError::PayloadTooLong { len: payload, max: limits.payload });
        }
        match self.kind {
            Kind::Request | Kind::Response => Ok(()),
            kind if metadata | payload != 0 || self.flags != Flags::NONE => Err(FrameError::UnexpectedBody(kind)),
            _ => Ok(()),
        }
    }

    /// Writes the header, its CRC included. What its kind does not have is not written.
    #[inline(always)]
    pub fn write(&self, out: &mut [u8; HEADER_LEN]) {
        let Self { kind, flags, method, status, id, metadata_len, payload_len, credit, deadline_us } = *self;
        let (code, number) = match kind {
            Kind::Request => (method, deadline_us),
            Kind::Response => (status.0, credit),
            Kind::Cancel | Kind::Ping | Kind::Pong => (0, 0),
        };
        let first = u64::from(first_byte(kind))
            | u64::from(flags.0) << 8
            | u64::from(metadata_len) << 16
            | u64::from(payload_len) << 32;
        let second = u64::from(code) | id << 16;
        let crc = crc32c::of_words(first, second, number);
        let last = u64::from(number) | u64::from(crc) << 32;
        let (to, _) = out.as_chunks_mut::<8>();
        for (to, word) in to.iter_mut().zip([first, second, last]) {
            *to = word.to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests;
