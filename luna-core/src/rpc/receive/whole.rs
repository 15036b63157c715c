//! The shortest way for what comes all the time: a frame of one of the two usual kinds, without metadata and payload CRC, that
//! lies in one chunk as a whole; and the beginning of one that does not. Everything else goes the general way.

use super::{Sink, Stage, some_deadline};
use crate::rpc::client::CallId;
use crate::rpc::error::SessionError;
use crate::rpc::frame::{FrameHeader, HEADER_LEN, Kind};
use crate::rpc::handler::{Handler, Request, Response};
use crate::rpc::server::{Answer, Current};
use crate::rpc::session::Session;
use crate::rpc::stream::ByteStream;
use crate::time::{Duration, Instant};
use crate::zbuf::{Frag, Zbuf};

/// When a request's deadline passes.
#[inline(always)]
pub(super) fn deadline_of<S: ByteStream>(header: &FrameHeader, stream: &S) -> Instant {
    match header.deadline_us {
        0 => Instant::FAR,
        us => stream.now() + Duration::from_micros(u64::from(us)),
    }
}

impl Session<'_> {
    /// Between frames: takes whole usual frames off the front of `data`, and the beginning of one that is plainly to be kept.
    /// What is left, if anything, is for the general way.
    #[inline(always)]
    pub(in crate::rpc) fn take_whole<S: ByteStream, H: Handler>(
        &mut self,
        mut data: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<Option<Zbuf>, SessionError> {
        loop {
            let Some(bytes) = data.first_chunk::<HEADER_LEN>() else { return Ok(Some(data)) };
            let Some(header) = FrameHeader::parse_usual(bytes, &self.core.limits) else { return Ok(Some(data)) };
            let len = header.payload_len;
            if header.metadata_len != 0 || header.flags.has_payload_crc() || len > self.rx.gather_limit {
                return Ok(Some(data));
            }
            let here = data.len() - HEADER_LEN as u32;
            if here < len {
                return Ok(self.begin_usual(data, header, stream));
            }
            let rest = if here == len {
                data.trim_front(HEADER_LEN as u32);
                self.keep_whole(data);
                None
            } else {
                if len > 0 {
                    let mut payload = data.clone();
                    payload.trim_front(HEADER_LEN as u32);
                    payload.truncate(len);
                    self.keep_whole(payload);
                }
                data.trim_front(HEADER_LEN as u32 + len);
                Some(data)
            };
            self.core.counters.frames_in += 1;
            if header.kind == Kind::Request {
                self.request_whole(&header, stream, handler)?;
            } else {
                self.response_whole(&header, stream, handler);
            }
            match rest {
                Some(rest) => data = rest,
                None => return Ok(None),
            }
        }
    }

    #[inline(always)]
    fn keep_whole(&mut self, payload: Zbuf) {
        if !payload.is_empty() {
            let kept = self.rx.gather.chunks.push(Frag::from(payload));
            debug_assert!(kept.is_ok(), "empty between frames");
        }
    }

    #[inline(always)]
    fn request_whole<S: ByteStream, H: Handler>(
        &mut self,
        header: &FrameHeader,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        core.counters.requests += 1;
        let deadline = deadline_of(header, stream);
        core.current = Current { id: header.id, deadline, answer: Answer::Open };
        let request = Request {
            method: header.method,
            metadata: &[],
            deadline: some_deadline(deadline),
            payload: &mut rx.gather.chunks,
        };
        stage!(stream, Application);
        handler.on_request(&mut core.request_cx(stream), request);
        stage!(stream, Rpc);
        rx.gather.clear();
        core.require_answer(stream)
    }

    #[inline(always)]
    fn response_whole<S: ByteStream, H: Handler>(&mut self, header: &FrameHeader, stream: &mut S, handler: &mut H) {
        let Self { rx, core } = self;
        if let Some(call) = core.end_call(header.id) {
            core.counters.responses += 1;
            let payload = &mut rx.gather.chunks;
            let response = Response { status: header.status, metadata: &[], payload, streamed: false };
            stage!(stream, Application);
            handler.on_response(&mut core.cx(stream), CallId(header.id), call.user(), Ok(response));
            stage!(stream, Rpc);
        } else {
            core.counters.stale_responses += 1;
            core.counters.discarded_bytes += u64::from(header.payload_len);
        }
        rx.gather.clear();
    }

    /// The head and the first piece of a payload that is going to be put together. What is not plainly so comes back.
    #[inline(always)]
    fn begin_usual<S: ByteStream>(&mut self, mut data: Zbuf, header: FrameHeader, stream: &mut S) -> Option<Zbuf> {
        if header.kind == Kind::Response && self.core.waiting_call(header.id).is_none() {
            return Some(data);
        }
        let rx = &mut self.rx;
        let first = data.len() - HEADER_LEN as u32;
        if first != 0 {
            // Before anything is changed: a chunk that is not simply kept goes the general way with its head.
            if !rx.gather.takes_whole(first, &data) {
                return Some(data);
            }
            data.trim_front(HEADER_LEN as u32);
            let kept = rx.gather.retain_whole(data);
            debug_assert!(kept.is_ok(), "as just asked");
        }
        rx.stage = Stage::Payload;
        rx.sink = Sink::Gather;
        rx.plain = true;
        rx.missing = header.payload_len - first;
        rx.deadline = if header.kind == Kind::Request { deadline_of(&header, stream) } else { Instant::FAR };
        rx.header = header;
        None
    }
}
