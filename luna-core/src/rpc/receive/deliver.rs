//! What becomes of a frame that is complete, or of no use.

use super::{Sink, Stage, metadata_of, some_deadline};
use crate::rpc::error::{BodyError, RpcError, SessionError};
use crate::rpc::frame::Kind;
use crate::rpc::handler::{Handler, Request, Response};
use crate::rpc::payload::Payload;
use crate::rpc::server::{Answer, Current};
use crate::rpc::session::Session;
use crate::rpc::status::Status;
use crate::rpc::stream::ByteStream;

impl Session<'_> {
    #[cold]
    pub(in crate::rpc) fn refuse_fragmented<S: ByteStream, H: Handler>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        core.counters.fragmented_payloads += 1;
        core.counters.discarded_bytes += u64::from(rx.header.payload_len - rx.missing);
        rx.gather.clear();
        rx.plain = false;
        rx.sink = Sink::Discard;
        self.refuse(Status::FRAGMENTED, RpcError::Fragmented, stream, handler)
    }

    /// Ends a request or a call whose payload is of no use.
    #[cold]
    fn refuse<S: ByteStream, H: Handler>(
        &mut self,
        status: Status,
        error: RpcError,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        let id = rx.header.id;
        if rx.header.kind == Kind::Request {
            core.current = Current { id, deadline: rx.deadline, answer: Answer::Open };
            core.answer_for_handler(stream, status);
            return if core.overrun { Err(SessionError::CannotAnswer) } else { Ok(()) };
        }
        let id = core.call_of(id);
        match core.end_call(id) {
            Some(call) => handler.on_response(&mut core.cx(stream), id, call.user(), Err(error)),
            None => core.counters.stale_responses += 1,
        }
        Ok(())
    }

    /// The frame is complete.
    #[inline]
    pub(in crate::rpc) fn finish<S: ByteStream, H: Handler>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        rx.stage = Stage::Head;
        core.counters.frames_in += 1;
        if rx.sink != Sink::Gather {
            return self.finish_streamed(stream, handler);
        }
        if !rx.payload_is_intact() {
            core.counters.corrupt_payloads += 1;
            rx.gather.clear();
            return self.refuse(Status::CORRUPT, RpcError::Corrupt, stream, handler);
        }
        match rx.header.kind {
            Kind::Request => self.deliver_request(stream, handler),
            Kind::Response => {
                self.deliver_response(stream, handler);
                Ok(())
            }
            kind => {
                self.finish_control(kind, stream, handler);
                Ok(())
            }
        }
    }

    #[inline(never)]
    fn deliver_request<S: ByteStream, H: Handler>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let Self { rx, core } = self;
        let header = &rx.header;
        core.counters.requests += 1;
        core.current = Current { id: header.id, deadline: rx.deadline, answer: Answer::Open };
        let request = Request {
            method: header.method,
            metadata: metadata_of(&rx.metadata, header),
            deadline: some_deadline(rx.deadline),
            payload: Payload::owned(&mut rx.gather.chunks),
        };
        stage!(stream, Application);
        handler.on_request(&mut core.request_cx(stream), request);
        stage!(stream, Rpc);
        rx.gather.clear();
        core.require_answer(stream)
    }

    #[inline(never)]
    fn deliver_response<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        let Self { rx, core } = self;
        let header = &rx.header;
        let id = core.call_of(header.id);
        if let Some(call) = core.end_call(id) {
            core.counters.responses += 1;
            let response = Response {
                status: header.status,
                metadata: metadata_of(&rx.metadata, header),
                payload: Payload::owned(&mut rx.gather.chunks),
                streamed: rx.sink == Sink::Response,
            };
            stage!(stream, Application);
            handler.on_response(&mut core.cx(stream), id, call.user(), Ok(response));
            stage!(stream, Rpc);
        } else {
            // It was waiting when the head arrived.
            core.counters.stale_responses += 1;
            core.counters.discarded_bytes += u64::from(header.payload_len);
        }
        rx.gather.clear();
    }

    #[cold]
    fn finish_streamed<S: ByteStream, H: Handler>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        let intact = self.rx.payload_is_intact();
        match self.rx.sink {
            Sink::Request(cookie) => {
                let result = if intact { Ok(()) } else { Err(BodyError::Corrupt) };
                let core = &mut self.core;
                core.counters.corrupt_payloads += u64::from(!intact);
                handler.on_request_end(&mut core.request_cx(stream), cookie, result);
                core.require_answer(stream)
            }
            Sink::Response if !intact => {
                self.core.counters.corrupt_payloads += 1;
                self.refuse(Status::CORRUPT, RpcError::Corrupt, stream, handler)
            }
            Sink::Response => {
                self.deliver_response(stream, handler);
                Ok(())
            }
            Sink::Gather | Sink::Discard => Ok(()),
        }
    }

    #[cold]
    fn finish_control<S: ByteStream, H: Handler>(&mut self, kind: Kind, stream: &mut S, handler: &mut H) {
        let id = self.rx.header.id;
        match kind {
            Kind::Cancel => self.cancel_received(id, stream, handler),
            Kind::Ping => {
                let core = &mut self.core;
                core.counters.pings += 1;
                if core.send_control(stream, Kind::Pong, id).is_err() {
                    core.counters.pongs_unsent += 1;
                }
            }
            Kind::Pong => handler.on_pong(&mut self.core.cx(stream), id as u32),
            Kind::Request | Kind::Response => {}
        }
    }
}
