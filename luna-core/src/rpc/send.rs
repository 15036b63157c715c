//! Builds and sends frames: a head obj in front of the caller's payload, which is not touched.

use heapless::VecView;

use super::error::{CallError, ReplyError, StreamError};
use super::frame::{Flags, FrameHeader, HEADER_LEN, Kind};
use super::session::Core;
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
    /// Sends `header` (whose lengths and payload CRC are filled in here), `metadata` and `payload`; the stream reports `token`
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
            return Err(Unsent::Stream(StreamError::Closed));
        }
        let most = u64::from(self.limits.payload);
        let mut payload_len = 0;
        let mut foreign = false;
        for frag in payload.iter() {
            payload_len += u64::from(frag.len());
            foreign |= frag.is_foreign();
            if payload_len > most {
                return Err(Unsent::TooLarge);
            }
        }
        if metadata.len() > self.limits.metadata as usize || payload.len() == payload.capacity() {
            return Err(Unsent::TooLarge);
        }
        header.metadata_len = metadata.len() as u32;
        header.payload_len = payload_len as u32;
        if self.payload_crc {
            add_payload_crc(&mut header, payload);
        }
        let mut head = [0; HEADER_LEN];
        header.write(&mut head);
        // Whoever lent foreign memory waits to hear that it is free; for all else there are counts.
        let token = foreign.then_some(token);
        stream.send_frame(&head, metadata, payload, token).map_err(Unsent::Stream)?;
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

/// Foreign memory may change until it was sent, so a payload that has some goes without a CRC.
#[cold]
fn add_payload_crc(header: &mut FrameHeader, payload: &VecView<Frag>) {
    let mut crc = crc32c::Running::NEW;
    for frag in payload {
        let Some(bytes) = frag.bytes() else { return };
        crc.update(bytes);
    }
    header.flags = Flags::PAYLOAD_CRC;
    header.payload_crc = crc.finish();
}
