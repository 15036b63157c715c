//! From bytes to frames: head, metadata and payload, however the stream cuts them.

mod deliver;
mod whole;

use core::hint::cold_path;

use super::error::{BodyError, SessionError};
use super::frame::{FrameError, FrameHeader, FrameLimits, HEADER_LEN, Kind, PAYLOAD_CRC_LEN};
use super::gather::{Fragmented, Gather};
use super::handler::{Handler, RequestHead, ResponseHead};
use super::server::{Answer, Current};
use super::session::{MAX_METADATA, Session};
use super::stream::ByteStream;
use crate::crc32c;
use crate::time::Instant;
use crate::zbuf::{CopyCounter, Zbuf};

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Head,
    Metadata,
    Payload,
}

/// Where the payload goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sink {
    /// Kept until it is whole.
    Gather,
    /// To the handler as it arrives; what `on_request_begin` returned.
    Request(u64),
    /// To the handler as it arrives.
    Response,
    /// Nobody wants it.
    Discard,
}

/// The frame that is arriving.
pub(super) struct Receiver {
    stage: Stage,
    sink: Sink,
    /// Bytes of head or metadata that are here.
    got: u32,
    /// Bytes of payload that are not here; 0 between frames.
    missing: u32,
    /// The payload is gathered and has no CRC: pieces that do not complete it are kept, and that is all.
    plain: bool,
    gather_limit: u32,
    /// Most payload of a frame that goes the shortest way: within that limit and the session's.
    plain_limit: u32,
    header: FrameHeader,
    deadline: Instant,
    crc: crc32c::Running,
    gather: Gather,
    head: [u8; HEADER_LEN],
    /// What the payload's CRC should be, where there is one.
    payload_crc: u32,
    /// Behind that CRC, if there is one.
    metadata: [u8; PAYLOAD_CRC_LEN + MAX_METADATA],
}

/// Moves bytes from the front of `data` to `buf[*got..want]`; true when those are complete.
fn fill(buf: &mut [u8], got: &mut u32, want: u32, data: &mut Zbuf) -> bool {
    let n = (want - *got).min(data.len());
    let to = buf.get_mut(*got as usize..(*got + n) as usize);
    if let (Some(to), Some(from)) = (to, data.get(..n as usize)) {
        to.copy_from_slice(from);
    }
    data.trim_front(n);
    *got += n;
    *got == want
}

impl Receiver {
    /// `max_payload` is the largest that is accepted at all.
    pub(super) fn new(gather_limit: u32, max_payload: u32) -> Self {
        Self {
            stage: Stage::Head,
            sink: Sink::Discard,
            got: 0,
            missing: 0,
            plain: false,
            gather_limit,
            plain_limit: gather_limit.min(max_payload),
            header: FrameHeader::new(Kind::Ping, 0),
            deadline: Instant::FAR,
            crc: crc32c::Running::NEW,
            gather: Gather::new(gather_limit),
            head: [0; HEADER_LEN],
            payload_crc: 0,
            metadata: [0; PAYLOAD_CRC_LEN + MAX_METADATA],
        }
    }

    #[inline]
    pub(super) fn held(&self) -> u32 {
        self.gather.held()
    }

    /// Nothing more is going to arrive.
    pub(super) fn forget_payload(&mut self) {
        self.gather.clear();
        self.plain = false;
    }

    /// Whether so many bytes are payload to be kept, and not the last of it: most segments of a larger payload.
    #[inline(always)]
    pub(super) fn keeps(&self, len: u32) -> bool {
        self.plain && len < self.missing
    }

    /// Keeps a chunk for which [`Receiver::keeps`], unless there is more to do; the bytes held for it, or the chunk.
    #[inline(always)]
    pub(super) fn try_keep(&mut self, chunk: Zbuf) -> Result<u32, Zbuf> {
        let len = chunk.len();
        let held = self.gather.retain_whole(chunk)?;
        self.missing -= len;
        Ok(held)
    }

    /// Whether so many bytes complete a payload that is to be kept: most often its last segment.
    #[inline(always)]
    pub(super) fn completes(&self, len: u32) -> bool {
        self.plain && len == self.missing && len != 0 && !self.gather.is_full()
    }

    /// Whether so many bytes complete such a payload and go on behind it.
    #[inline(always)]
    pub(super) fn completes_within(&self, len: u32) -> bool {
        self.plain && len > self.missing && self.missing != 0 && !self.gather.is_full()
    }

    /// Bytes of payload that are not here.
    #[inline(always)]
    pub(super) fn missing(&self) -> u32 {
        self.missing
    }

    /// Keeps them.
    #[inline]
    pub(super) fn complete(&mut self, chunk: Zbuf, copies: &mut CopyCounter) {
        self.missing = 0;
        let kept = self.gather.push(chunk, copies);
        debug_assert!(kept.is_ok(), "there was room");
    }

    /// Whether nothing of the next frame is here.
    #[inline(always)]
    pub(super) fn is_between_frames(&self) -> bool {
        self.stage == Stage::Head && self.got == 0
    }

    /// Whether the frame is here with all that belongs to it.
    #[inline(always)]
    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Payload && self.missing == 0
    }

    /// Keeps them.
    #[inline]
    pub(super) fn keep<S: ByteStream>(
        &mut self,
        chunk: Zbuf,
        stream: &mut S,
        copies: &mut CopyCounter,
    ) -> Result<(), Fragmented> {
        self.missing -= chunk.len();
        self.gather.retain(chunk, stream, copies)
    }

    /// Takes the head off the front of `data`; false when there is not enough yet.
    #[inline(always)]
    fn take_head(&mut self, data: &mut Zbuf, limits: &FrameLimits) -> Result<bool, FrameError> {
        self.header = match data.first_chunk::<HEADER_LEN>() {
            Some(bytes) if self.got == 0 => {
                let header = FrameHeader::parse(bytes, limits)?;
                data.trim_front(HEADER_LEN as u32);
                header
            }
            _ => {
                cold_path();
                if !fill(&mut self.head, &mut self.got, HEADER_LEN as u32, data) {
                    return Ok(false);
                }
                self.got = 0;
                FrameHeader::parse(&self.head, limits)?
            }
        };
        self.stage = Stage::Metadata;
        Ok(true)
    }

    /// Takes the payload's CRC and the metadata, which is always copied: it is small, and handlers may give the payload's obj away.
    #[inline]
    fn take_metadata(&mut self, data: &mut Zbuf) -> bool {
        let len = crc_len(&self.header) + u32::from(self.header.metadata_len);
        if len != 0 && !fill(&mut self.metadata, &mut self.got, len, data) {
            return false;
        }
        if self.header.flags.has_payload_crc() {
            self.payload_crc = self.metadata.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        }
        self.stage = Stage::Payload;
        self.got = 0;
        self.missing = self.header.payload_len;
        true
    }

    #[inline]
    fn payload_is_intact(&self) -> bool {
        !self.header.flags.has_payload_crc() || self.crc.finish() == self.payload_crc
    }
}

/// The metadata that arrived with `header`.
#[inline]
fn metadata_of<'a>(buf: &'a [u8; PAYLOAD_CRC_LEN + MAX_METADATA], header: &FrameHeader) -> &'a [u8] {
    let start = crc_len(header) as usize;
    buf.get(start..start + usize::from(header.metadata_len)).unwrap_or_default()
}

/// Bytes between the header and the metadata.
#[inline]
fn crc_len(header: &FrameHeader) -> u32 {
    if header.flags.has_payload_crc() { PAYLOAD_CRC_LEN as u32 } else { 0 }
}

/// As the handler sees it.
#[inline]
fn some_deadline(at: Instant) -> Option<Instant> {
    (at != Instant::FAR).then_some(at)
}

impl Session<'_> {
    /// Takes what belongs to the present frame off the front of `data`, and returns the rest, if any. The caller
    /// finishes the frame when it is complete.
    #[inline]
    pub(super) fn advance<S: ByteStream, H: Handler>(
        &mut self,
        mut data: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<Option<Zbuf>, SessionError> {
        if self.rx.stage != Stage::Payload {
            if self.rx.stage == Stage::Head && !self.rx.take_head(&mut data, &self.core.limits)? {
                return Ok(None);
            }
            if !self.rx.take_metadata(&mut data) {
                return Ok(None);
            }
            self.begin_payload(stream, handler)?;
        }
        let rx = &mut self.rx;
        let n = rx.missing.min(data.len());
        let mut rest = None;
        if n > 0 {
            let chunk = if n < data.len() {
                let chunk = data.split_to(n);
                rest = Some(data);
                chunk
            } else {
                data
            };
            rx.missing -= n;
            self.take_payload(chunk, stream, handler)?;
        } else if !data.is_empty() {
            rest = Some(data);
        }
        Ok(rest)
    }

    /// Decides where the payload of the frame goes whose head and metadata are here.
    #[inline]
    fn begin_payload<S: ByteStream, H: Handler>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let rx = &mut self.rx;
        let header = &rx.header;
        if header.flags.has_payload_crc() {
            rx.crc = crc32c::Running::NEW;
        }
        rx.sink = Sink::Gather;
        rx.plain = header.payload_len <= rx.gather_limit && !header.flags.has_payload_crc();
        if header.kind == Kind::Request {
            rx.deadline = whole::deadline_of(header, stream);
            if header.payload_len > rx.gather_limit {
                return self.begin_streamed_request(stream, handler);
            }
        } else if header.kind == Kind::Response {
            if self.core.waiting_call(self.core.call_of(header.id)).is_none() {
                self.core.counters.stale_responses += 1;
                rx.sink = Sink::Discard;
                rx.plain = false;
            } else if header.payload_len > rx.gather_limit {
                self.begin_streamed_response(stream, handler);
            }
        }
        Ok(())
    }

    #[cold]
    fn begin_streamed_request<S: ByteStream, H: Handler>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        let (header, deadline) = (&rx.header, rx.deadline);
        core.counters.requests += 1;
        core.current = Current { id: header.id, deadline, answer: Answer::Open };
        let cookie = handler.on_request_begin(
            &mut core.request_cx(stream),
            RequestHead {
                method: header.method,
                metadata: metadata_of(&rx.metadata, header),
                deadline: some_deadline(deadline),
                payload_len: header.payload_len,
            },
        );
        rx.sink = Sink::Request(cookie);
        self.check_answered()
    }

    /// Once a streamed request was answered, the rest of its body goes nowhere.
    fn check_answered(&mut self) -> Result<(), SessionError> {
        if self.core.overrun {
            return Err(SessionError::CannotAnswer);
        }
        if self.core.current.answer == Answer::Given {
            self.rx.sink = Sink::Discard;
        }
        Ok(())
    }

    #[cold]
    fn begin_streamed_response<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        let Self { rx, core } = self;
        rx.sink = Sink::Response;
        let header = &rx.header;
        let call = core.call_of(header.id);
        let user = core.waiting_call(call).map_or(0, |call| call.user());
        let head = ResponseHead {
            status: header.status,
            metadata: metadata_of(&rx.metadata, header),
            payload_len: header.payload_len,
        };
        handler.on_response_begin(&mut core.cx(stream), call, user, head);
    }

    /// Takes a piece of payload.
    #[inline]
    fn take_payload<S: ByteStream, H: Handler>(
        &mut self,
        chunk: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        if rx.header.flags.has_payload_crc() {
            rx.crc.update(&chunk);
        }
        if rx.sink != Sink::Gather {
            return self.pass_on(chunk, stream, handler);
        }
        let copies = &mut core.counters.copy_break;
        let kept = match rx.missing {
            0 => rx.gather.push(chunk, copies),
            _ => rx.gather.retain(chunk, stream, copies),
        };
        match kept {
            Ok(()) => Ok(()),
            Err(Fragmented) => self.refuse_fragmented(stream, handler),
        }
    }

    /// A piece of a payload that is not gathered.
    #[cold]
    fn pass_on<S: ByteStream, H: Handler>(
        &mut self,
        chunk: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        let call = core.call_of(rx.header.id);
        match rx.sink {
            Sink::Request(cookie) => {
                handler.on_request_body(&mut core.request_cx(stream), cookie, chunk);
                return self.check_answered();
            }
            Sink::Response => match core.waiting_call(call).map(|call| call.user()) {
                Some(user) => {
                    handler.on_response_body(&mut core.cx(stream), call, user, chunk);
                    return Ok(());
                }
                None => {
                    core.counters.stale_responses += 1;
                    rx.sink = Sink::Discard;
                }
            },
            Sink::Gather | Sink::Discard => {}
        }
        core.counters.discarded_bytes += u64::from(chunk.len());
        Ok(())
    }

    /// The connection ended, perhaps within a frame.
    pub(super) fn abandon_frame<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        let Self { rx, core } = self;
        rx.forget_payload();
        if let (Stage::Payload, Sink::Request(cookie)) = (rx.stage, rx.sink) {
            // Without the right to answer: nobody is there.
            handler.on_request_end(&mut core.cx(stream), cookie, Err(BodyError::ConnectionLost));
        }
        rx.stage = Stage::Head;
        rx.got = 0;
    }
}
