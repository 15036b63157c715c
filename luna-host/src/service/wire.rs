//! Methods of the services, and what is in their metadata: little-endian integers, then text.
//!
//! ```text
//! method        request metadata            request payload   answer metadata            answer payload
//! ECHO          -                           anything          -                          the same
//! PUT_OPEN      size u64, name              -                 handle u64                 -
//! PUT_DATA      handle u64, offset u64      the bytes         -                          -
//! PUT_COMMIT    handle u64                  -                 SHA-256                    -
//! GET_OPEN      name                        -                 handle u64, size u64       -
//! GET_READ      handle u64, offset u64,     -                 -                          the bytes
//!               length u32
//! GET_HASH      handle u64                  -                 SHA-256                    -
//! CLOSE         handle u64                  -                 -                          -
//! ```
//!
//! Chunks of a put arrive in order; anything else may be in flight together. A handle is good on its own connection only.
//! An answer with another status than OK has a sentence for people in its metadata.

use luna_core::rpc::{MAX_METADATA, Status};

use super::store::{HASH_LEN, Hash, StoreError};

/// Gives the payload back.
pub const ECHO: u16 = 1;
/// Starts to store a blob.
pub const PUT_OPEN: u16 = 16;
/// The next bytes of it.
pub const PUT_DATA: u16 = 17;
/// It is complete.
pub const PUT_COMMIT: u16 = 18;
/// Opens a blob.
pub const GET_OPEN: u16 = 19;
/// A range of it.
pub const GET_READ: u16 = 20;
/// What all of it hashes to.
pub const GET_HASH: u16 = 21;
/// Gives a handle back; an unfinished put is forgotten.
pub const CLOSE: u16 = 22;

/// No space on the server's disk.
pub const NO_SPACE: Status = Status(Status::FIRST_USER.0);
/// The handle is not, or not any more, one of this connection's.
pub const STALE: Status = Status(Status::FIRST_USER.0 + 1);

/// Largest range of one read, and largest chunk that the client sends.
pub const MAX_CHUNK: u32 = 1 << 20;

/// Metadata of an answer.
pub type Meta = heapless::Vec<u8, MAX_METADATA>;

/// Takes fields off the front of metadata.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// The next 32 bytes.
    pub fn hash(&mut self) -> Option<Hash> {
        self.take::<HASH_LEN>()
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Puts fields together.
#[must_use]
pub fn meta(fields: &[&[u8]]) -> Meta {
    let mut out = Meta::new();
    for field in fields {
        // What is too long is cut: a name was limited before, and a sentence may lose its end.
        let room = out.capacity() - out.len();
        let field = field.get(..room).unwrap_or(field);
        let fits = out.extend_from_slice(field);
        debug_assert!(fits.is_ok());
    }
    out
}

/// A sentence as metadata, cut where a character ends.
#[must_use]
pub fn sentence(text: &str) -> Meta {
    meta(&[text.get(..text.floor_char_boundary(MAX_METADATA)).unwrap_or_default().as_bytes()])
}

/// How a client learns of an error.
#[must_use]
pub fn status_of(e: &StoreError) -> Status {
    match e {
        StoreError::NotFound(_) => Status::NOT_FOUND,
        StoreError::NoSpace { .. } => NO_SPACE,
        StoreError::Denied { .. } => Status::DENIED,
        StoreError::Io { .. } => Status::INTERNAL,
        StoreError::Name(_)
        | StoreError::NotAFile(_)
        | StoreError::Offset { .. }
        | StoreError::TooLong { .. }
        | StoreError::Incomplete { .. } => Status::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_short_ones_are_none() {
        let m = meta(&[&7u64.to_le_bytes(), &9u32.to_le_bytes(), b"name"]);
        let mut f = Fields(&m);
        assert_eq!((f.u64(), f.u32(), f.rest()), (Some(7), Some(9), &b"name"[..]));
        assert_eq!((f.u64(), f.hash(), f.u32()), (None, None, Some(u32::from_le_bytes(*b"name"))));
    }

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        let text = "x".repeat(MAX_METADATA - 1) + "ä";
        assert_eq!(sentence(&text).len(), MAX_METADATA - 1);
        assert_eq!(sentence("short").as_slice(), b"short");
    }
}
