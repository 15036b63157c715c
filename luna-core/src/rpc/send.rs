//! Builds and sends frames: a head obj in front of the caller's payload, which is not touched.

use core::hint::cold_path;

use heapless::VecView;

use super::error::{CallError, ReplyError, StreamError};
use super::frame::{Flags, FrameHeader, FrameLimits, HEADER_LEN, Kind, PAYLOAD_CRC_LEN};
use super::payload::MAX_COPIED;
use super::session::{Core, MAX_METADATA};
use super::stream::ByteStream;
use crate::crc32c;
use crate::zbuf::Frag;

/// Why a frame was not sent; the payload is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unsent {
    TooLarge,
    Stream(StreamError),
}

impl From<Unsent> for CallError {
    fn from(e: Unsent) -> Self {
        match e {
            Unsent::TooLarge => Self::TooLarge,
            Unsent::Stream(StreamError::NoObj) => Self::NoObj,
            Unsent::Stream(e) => Self::Stream(e),
        }
    }
}

impl From<Unsent> for ReplyError {
    fn from(e: Unsent) -> Self {
        match e {
            Unsent::TooLarge => Self::TooLarge,
            Unsent::Stream(StreamError::NoObj) => Self::NoObj,
            Unsent::Stream(e) => Self::Stream(e),
        }
    }
}

impl Core<'_> {
    /// Sends `header` (whose lengths and flags are filled in here), `metadata` and `payload`; the stream reports `token`
    /// once it has released foreign memory. Inlined where every
    /// call and every answer comes by: most of the header is constant there.
    #[inline(always)]
    pub(super) fn send_frame<S: ByteStream>(
        &mut self,
        stream: &mut S,
        mut header: FrameHeader,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
        token: u64,
    ) -> Result<(), Unsent> {
        if self.ended {
            cold_path();
            return Err(Unsent::Stream(StreamError::Closed));
        }
        let most = u64::from(self.limits.payload);
        let (payload_len, foreign) = match payload.as_slice() {
            [only] => (u64::from(only.len()), only.is_foreign()),
            many => measure(many, most),
        };
        let too_large = payload_len > most || metadata.len() > self.limits.metadata as usize;
        if too_large || payload.len() == payload.capacity() {
            cold_path();
            return Err(Unsent::TooLarge);
        }
        header.metadata_len = metadata.len() as u16;
        header.payload_len = payload_len as u32;
        // Whoever lent foreign memory waits to hear that it is free; for all else there are counts.
        let token = foreign.then_some(token);
        if self.payload_crc {
            send_with_crc(stream, header, metadata, payload, token).map_err(Unsent::Stream)?;
        } else {
            let mut head = [0; HEADER_LEN];
            header.write(&mut head);
            stream.send_frame(&head, metadata, payload, token).map_err(Unsent::Stream)?;
        }
        self.counters.frames_out += 1;
        Ok(())
    }

    /// [`Core::send_frame`] of a payload that is copied.
    #[inline(always)]
    pub(super) fn send_copied<S: ByteStream>(
        &mut self,
        stream: &mut S,
        mut header: FrameHeader,
        metadata: &[u8],
        bytes: &[u8],
    ) -> Result<(), Unsent> {
        if self.ended {
            cold_path();
            return Err(Unsent::Stream(StreamError::Closed));
        }
        let FrameLimits { metadata: most_metadata, payload: most } = self.limits;
        if metadata.len() + bytes.len() > MAX_COPIED
            || bytes.len() > most as usize
            || metadata.len() > most_metadata as usize
        {
            cold_path();
            return Err(Unsent::TooLarge);
        }
        header.metadata_len = metadata.len() as u16;
        header.payload_len = bytes.len() as u32;
        if self.payload_crc {
            copied_with_crc(stream, header, metadata, bytes).map_err(Unsent::Stream)?;
        } else {
            let mut head = [0; HEADER_LEN];
            header.write(&mut head);
            stream.send_copied(&head, metadata, bytes).map_err(Unsent::Stream)?;
        }
        self.counters.frames_out += 1;
        Ok(())
    }

    /// [`Core::send_frame`] for the rest.
    #[inline(never)]
    pub(super) fn send_frame_apart<S: ByteStream>(
        &mut self,
        stream: &mut S,
        header: FrameHeader,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
        token: u64,
    ) -> Result<(), Unsent> {
        self.send_frame(stream, header, metadata, payload, token)
    }

    /// Sends a frame without metadata and payload.
    pub(super) fn send_bare<S: ByteStream>(&mut self, stream: &mut S, header: FrameHeader) -> Result<(), Unsent> {
        self.send_frame_apart(stream, header, &[], &mut heapless::Vec::<Frag, 1>::new(), 0)
    }

    /// Sends a frame that is nothing but kind and id.
    pub(super) fn send_control<S: ByteStream>(&mut self, stream: &mut S, kind: Kind, id: u64) -> Result<(), Unsent> {
        self.send_bare(stream, FrameHeader::new(kind, id))
    }
}

/// Bytes of a payload, and whether any of it is foreign memory. It stops at more than `most`.
#[inline(always)]
fn measure(payload: &[Frag], most: u64) -> (u64, bool) {
    let (mut len, mut foreign) = (0, false);
    for frag in payload {
        len += u64::from(frag.len());
        foreign |= frag.is_foreign();
        if len > most {
            break;
        }
    }
    (len, foreign)
}

/// What stands behind a head: a payload's CRC, and the metadata.
type Behind = heapless::Vec<u8, { PAYLOAD_CRC_LEN + MAX_METADATA }>;

fn behind(crc: &[u8], metadata: &[u8]) -> Behind {
    let mut behind = Behind::new();
    let fits = behind.extend_from_slice(crc).and_then(|()| behind.extend_from_slice(metadata));
    debug_assert!(fits.is_ok(), "within the limits");
    behind
}

#[cold]
#[inline(never)]
fn copied_with_crc<S: ByteStream>(
    stream: &mut S,
    mut header: FrameHeader,
    metadata: &[u8],
    bytes: &[u8],
) -> Result<(), StreamError> {
    let mut crc = crc32c::Running::NEW;
    crc.update(bytes);
    header.flags = Flags::PAYLOAD_CRC;
    let mut head = [0; HEADER_LEN];
    header.write(&mut head);
    stream.send_copied(&head, &behind(&crc.finish().to_le_bytes(), metadata), bytes)
}

/// Sends a frame whose payload has a CRC: the stream takes it for the beginning of the metadata.
#[cold]
#[inline(never)]
fn send_with_crc<S: ByteStream>(
    stream: &mut S,
    mut header: FrameHeader,
    metadata: &[u8],
    payload: &mut VecView<Frag>,
    token: Option<u64>,
) -> Result<(), StreamError> {
    let mut head = [0; HEADER_LEN];
    let has_body = matches!(header.kind, Kind::Request | Kind::Response);
    let crc = payload_crc(payload).filter(|_| has_body).map(u32::to_le_bytes);
    if crc.is_some() {
        header.flags = Flags::PAYLOAD_CRC;
    }
    header.write(&mut head);
    stream.send_frame(&head, &behind(crc.as_ref().map_or(&[], |crc| crc), metadata), payload, token)
}

/// Foreign memory may change until it was sent, so a payload that has some goes without a CRC.
#[cold]
fn payload_crc(payload: &VecView<Frag>) -> Option<u32> {
    let mut crc = crc32c::Running::NEW;
    for frag in payload {
        crc.update(frag.bytes()?);
    }
    Some(crc.finish())
}
