//! The shortest way for what comes all the time: a frame of one of the two usual kinds, without metadata and payload CRC, that
//! lies in one chunk as a whole; and the beginning of one that does not. Everything else goes the general way.

use core::hint::cold_path;

use super::{Sink, Stage, some_deadline};
use crate::rpc::error::SessionError;
use crate::rpc::frame::{FrameHeader, HEADER_LEN, Kind};
use crate::rpc::handler::{Handler, Request, Response};
use crate::rpc::payload::{MAX_COPIED, Payload};
use crate::rpc::server::{Answer, Current};
use crate::rpc::session::Session;
use crate::rpc::stream::{ByteStream, FragVec};
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

/// Puts the payload of a frame in its list.
#[inline(always)]
fn add(list: &mut FragVec, payload: Zbuf) {
    let kept = list.push(Frag::from(payload));
    debug_assert!(kept.is_ok(), "an empty list");
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
            if FrameHeader::payload_len_of(bytes) <= MAX_COPIED as u32 {
                let before = data.len();
                match self.take_small(data, stream, handler)? {
                    Some(rest) if rest.len() < before => data = rest,
                    left => return Ok(left),
                }
                continue;
            }
            let Some(header) = FrameHeader::parse_plain(bytes, self.rx.plain_limit) else {
                cold_path();
                return Ok(Some(data));
            };
            let len = header.payload_len;
            let here = data.len() - HEADER_LEN as u32;
            if here < len {
                return Ok(self.begin_usual(data, header, stream));
            }
            // Not the session's own list: of this one it is known how much it holds.
            let mut list = FragVec::new();
            let rest = if here == len {
                data.trim_front(HEADER_LEN as u32);
                add(&mut list, data);
                None
            } else {
                let mut part = data.clone();
                part.trim_front(HEADER_LEN as u32);
                part.truncate(len);
                add(&mut list, part);
                data.trim_front(HEADER_LEN as u32 + len);
                Some(data)
            };
            self.take_one(&header, Payload::owned(&mut list), stream, handler)?;
            match rest {
                Some(rest) => data = rest,
                None => return Ok(None),
            }
        }
    }

    /// A frame that fills the chunk, as most do whose payload fits a segment. Without the loop around the others, which
    /// would keep registers for what goes on behind it.
    #[inline(always)]
    pub(in crate::rpc) fn take_lone<S: ByteStream, H: Handler>(
        &mut self,
        mut data: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<Option<Zbuf>, SessionError> {
        let plain = data.first_chunk().and_then(|bytes| FrameHeader::parse_plain(bytes, self.rx.plain_limit));
        let Some(header) = plain else {
            cold_path();
            return Ok(Some(data));
        };
        data.trim_front(HEADER_LEN as u32);
        let mut list = FragVec::new();
        add(&mut list, data);
        self.take_one(&header, Payload::owned(&mut list), stream, handler)?;
        self.settle(stream, handler);
        Ok(None)
    }

    /// The beginning of a frame.
    #[inline(always)]
    pub(in crate::rpc) fn begin<S: ByteStream>(&mut self, data: Zbuf, stream: &mut S) -> Option<Zbuf> {
        let plain = data.first_chunk().and_then(|bytes| FrameHeader::parse_plain(bytes, self.rx.plain_limit));
        let Some(header) = plain else {
            cold_path();
            return Some(data);
        };
        self.begin_usual(data, header, stream)
    }

    /// Small frames, which are read where they stand. Apart: neither way has registers to spare for the other.
    #[inline(never)]
    pub(in crate::rpc) fn take_small<S: ByteStream, H: Handler>(
        &mut self,
        mut data: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<Option<Zbuf>, SessionError> {
        let mut rest: &[u8] = &data;
        let most = self.rx.plain_limit.min(MAX_COPIED as u32);
        while let Some((bytes, behind)) = rest.split_first_chunk::<HEADER_LEN>()
            && let Some(header) = FrameHeader::parse_plain(bytes, most)
        {
            let Some((payload, behind)) = behind.split_at_checked(header.payload_len as usize) else {
                let taken = data.len() - rest.len() as u32;
                data.trim_front(taken);
                return Ok(self.begin_usual(data, header, stream));
            };
            let mut list = FragVec::new();
            self.take_one(&header, Payload::lent(&mut list, &data, payload), stream, handler)?;
            if behind.is_empty() {
                self.settle(stream, handler);
                return Ok(None);
            }
            rest = behind;
        }
        let taken = data.len() - rest.len() as u32;
        data.trim_front(taken);
        Ok(Some(data))
    }

    #[inline(always)]
    fn take_one<S: ByteStream, H: Handler>(
        &mut self,
        header: &FrameHeader,
        payload: Payload<'_>,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        self.core.counters.frames_in += 1;
        if header.kind == Kind::Request {
            return self.request_whole(header, payload, stream, handler);
        }
        self.response_whole(header, payload, stream, handler);
        Ok(())
    }

    #[inline(always)]
    fn request_whole<S: ByteStream, H: Handler>(
        &mut self,
        header: &FrameHeader,
        payload: Payload<'_>,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let core = &mut self.core;
        core.counters.requests += 1;
        let deadline = deadline_of(header, stream);
        core.current = Current { id: header.id, deadline, answer: Answer::Open };
        let request = Request { method: header.method, metadata: &[], deadline: some_deadline(deadline), payload };
        stage!(stream, Application);
        handler.on_request(&mut core.request_cx(stream), request);
        stage!(stream, Rpc);
        core.require_answer(stream)
    }

    #[inline(always)]
    fn response_whole<S: ByteStream, H: Handler>(
        &mut self,
        header: &FrameHeader,
        payload: Payload<'_>,
        stream: &mut S,
        handler: &mut H,
    ) {
        let core = &mut self.core;
        let id = core.call_of(header.id);
        if let Some(call) = core.end_call(id) {
            core.counters.responses += 1;
            let response = Response { status: header.status, metadata: &[], payload, streamed: false };
            stage!(stream, Application);
            handler.on_response(&mut core.cx(stream), id, call.user(), Ok(response));
            stage!(stream, Rpc);
        } else {
            cold_path();
            core.counters.stale_responses += 1;
            core.counters.discarded_bytes += u64::from(header.payload_len);
        }
    }

    /// The head and the first piece of a payload that is going to be put together. What is not plainly so comes back.
    #[inline(always)]
    fn begin_usual<S: ByteStream>(&mut self, mut data: Zbuf, header: FrameHeader, stream: &mut S) -> Option<Zbuf> {
        if header.kind == Kind::Response && self.core.waiting_call(self.core.call_of(header.id)).is_none() {
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
