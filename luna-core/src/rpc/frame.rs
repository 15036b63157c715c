//! The slim frame: a fixed header of 40 bytes, little-endian, then metadata, then payload (paper §4.1). Nothing is
//! serialised: the payload is whatever the application's bytes are.
//!
//! ```text
//!  0 version u8   1 kind u8      2 flags u16         4 method u16    6 status u16
//!  8 request id u64                                 16 metadata length u32
//! 20 payload length u32         24 credit u32       28 deadline u32, microseconds from now, 0 = none
//! 32 payload CRC-32C u32 (if the flag says so)      36 CRC-32C u32 of bytes 0..36
//! ```
//!
//! A header that cannot be trusted leaves no way to find the next frame: every [`FrameError`] ends the connection.

use core::fmt;

use super::status::Status;
use crate::crc32c;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 40;
/// The version of the format that this code speaks.
pub const VERSION: u8 = 1;
const CRC_AT: usize = HEADER_LEN - 4;

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
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The payload CRC field is valid.
    pub const PAYLOAD_CRC: Self = Self(1);
    const KNOWN: u16 = 1;

    /// Whether the payload CRC field is valid.
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
    /// Names the request, chosen by the client.
    pub id: u64,
    /// Bytes of metadata.
    pub metadata_len: u32,
    /// Bytes of payload.
    pub payload_len: u32,
    /// For credits; sent as 0 and not looked at by this version.
    pub credit: u32,
    /// Request: microseconds that the client is going to wait; 0 = for ever.
    pub deadline_us: u32,
    /// CRC-32C of the payload, if the flag says so.
    pub payload_crc: u32,
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
    Flags(u16),
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
    /// Metadata or payload on a kind of frame that has none.
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
            Self::Flags(b) => write!(f, "unknown frame flags {b:#06x}"),
            Self::MetadataTooLong { len, max } => write!(f, "{len} bytes of metadata, the limit is {max}"),
            Self::PayloadTooLong { len, max } => write!(f, "{len} bytes of payload, the limit is {max}"),
            Self::UnexpectedBody(k) => write!(f, "a {k:?} frame with a body"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Of a header's first four bytes: the kind, and the flags that there are.
const FIRST_WORD_VARIES: u32 = KIND_BITS | (Flags::KNOWN as u32) << 16;
const KIND_BITS: u32 = 0xff << 8;
/// The first four bytes of a frame of one of the two usual kinds without flags.
const PLAIN_REQUEST: u32 = REQUEST_BITS | VERSION as u32;
const PLAIN_RESPONSE: u32 = RESPONSE_BITS | VERSION as u32;
const REQUEST_BITS: u32 = (Kind::Request as u32) << 8;
const RESPONSE_BITS: u32 = (Kind::Response as u32) << 8;

/// `$bytes[$at..$at + N]` as a little-endian integer; the offsets are constants inside a fixed array.
macro_rules! le {
    ($int:ty, $bytes:expr, $at:expr) => {{
        let mut field = [0; size_of::<$int>()];
        field.copy_from_slice(&$bytes[$at..$at + size_of::<$int>()]);
        <$int>::from_le_bytes(field)
    }};
}

/// Of all but the CRC itself.
#[inline]
fn header_crc(bytes: &[u8; HEADER_LEN]) -> u32 {
    bytes.first_chunk::<CRC_AT>().map_or(0, crc32c::checksum)
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
            payload_crc: 0,
        }
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The first thing found wrong.
    #[inline]
    pub fn parse(bytes: &[u8; HEADER_LEN], limits: &FrameLimits) -> Result<Self, FrameError> {
        match Self::parse_usual(bytes, limits) {
            Some(header) => Ok(header),
            None => Self::parse_any(bytes, limits),
        }
    }

    /// A sound header of one of the two kinds that come all the time; `None` may still be one of another kind.
    #[inline(always)]
    pub(super) fn parse_usual(bytes: &[u8; HEADER_LEN], limits: &FrameLimits) -> Option<Self> {
        let first = le!(u32, bytes, 0);
        let (metadata_len, payload_len) = (le!(u32, bytes, 16), le!(u32, bytes, 20));
        let known = first & !FIRST_WORD_VARIES == u32::from(VERSION);
        let kind = match first & KIND_BITS {
            REQUEST_BITS => Kind::Request,
            RESPONSE_BITS => Kind::Response,
            _ => return None,
        };
        if !known || metadata_len > limits.metadata || payload_len > limits.payload {
            return None;
        }
        if header_crc(bytes) != le!(u32, bytes, CRC_AT) {
            return None;
        }
        Some(Self {
            kind,
            flags: Flags((first >> 16) as u16),
            method: le!(u16, bytes, 4),
            status: Status(le!(u16, bytes, 6)),
            id: le!(u64, bytes, 8),
            metadata_len,
            payload_len,
            credit: le!(u32, bytes, 24),
            deadline_us: le!(u32, bytes, 28),
            payload_crc: le!(u32, bytes, 32),
        })
    }

    /// A sound header of one of these two kinds, without metadata and flags, and with at most `most` bytes of payload;
    /// `None` may be sound too.
    #[inline(always)]
    pub(super) fn parse_plain(bytes: &[u8; HEADER_LEN], most: u32) -> Option<Self> {
        let first = le!(u32, bytes, 0);
        let kind = if first == PLAIN_REQUEST { Kind::Request } else { Kind::Response };
        // The length of the metadata above that of the payload: one comparison for both.
        let lens = le!(u64, bytes, 16).rotate_left(32);
        if first != PLAIN_REQUEST && first != PLAIN_RESPONSE
            || lens > u64::from(most)
            || header_crc(bytes) != le!(u32, bytes, CRC_AT)
        {
            return None;
        }
        Some(Self {
            kind,
            flags: Flags::NONE,
            method: le!(u16, bytes, 4),
            status: Status(le!(u16, bytes, 6)),
            id: le!(u64, bytes, 8),
            metadata_len: 0,
            payload_len: lens as u32,
            credit: le!(u32, bytes, 24),
            deadline_us: le!(u32, bytes, 28),
            payload_crc: le!(u32, bytes, 32),
        })
    }

    #[cold]
    #[inline(never)]
    fn parse_any(bytes: &[u8; HEADER_LEN], limits: &FrameLimits) -> Result<Self, FrameError> {
        let [version, kind, ..] = *bytes;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let computed = header_crc(bytes);
        let received = le!(u32, bytes, CRC_AT);
        if computed != received {
            return Err(FrameError::HeaderCrc { computed, received });
        }
        let kind = Kind::from_wire(kind).ok_or(FrameError::Kind(kind))?;
        let flags = le!(u16, bytes, 2);
        if flags & !Flags::KNOWN != 0 {
            return Err(FrameError::Flags(flags));
        }
        let header = Self {
            kind,
            flags: Flags(flags),
            method: le!(u16, bytes, 4),
            status: Status(le!(u16, bytes, 6)),
            id: le!(u64, bytes, 8),
            metadata_len: le!(u32, bytes, 16),
            payload_len: le!(u32, bytes, 20),
            credit: le!(u32, bytes, 24),
            deadline_us: le!(u32, bytes, 28),
            payload_crc: le!(u32, bytes, 32),
        };
        header.check(limits)?;
        Ok(header)
    }

    #[inline]
    fn check(&self, limits: &FrameLimits) -> Result<(), FrameError> {
        let (metadata, payload) = (self.metadata_len, self.payload_len);
        if metadata > limits.metadata {
            return Err(FrameError::MetadataTooLong { len: metadata, max: limits.metadata });
        }
        if payload > limits.payload {
            return Err(FrameError::PayloadTooLong { len: payload, max: limits.payload });
        }
        match self.kind {
            Kind::Request | Kind::Response => Ok(()),
            kind if metadata | payload != 0 => Err(FrameError::UnexpectedBody(kind)),
            _ => Ok(()),
        }
    }

    /// Writes the header, its CRC included.
    #[inline]
    pub fn write(&self, out: &mut [u8; HEADER_LEN]) {
        let Self { kind, flags, method, status, id, metadata_len, payload_len, credit, deadline_us, payload_crc } =
            *self;
        let first = u64::from(VERSION)
            | (kind as u64) << 8
            | u64::from(flags.0) << 16
            | u64::from(method) << 32
            | u64::from(status.0) << 48;
        out[0..8].copy_from_slice(&first.to_le_bytes());
        out[8..16].copy_from_slice(&id.to_le_bytes());
        out[16..20].copy_from_slice(&metadata_len.to_le_bytes());
        out[20..24].copy_from_slice(&payload_len.to_le_bytes());
        out[24..28].copy_from_slice(&credit.to_le_bytes());
        out[28..32].copy_from_slice(&deadline_us.to_le_bytes());
        out[32..36].copy_from_slice(&payload_crc.to_le_bytes());
        let crc = header_crc(out);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
