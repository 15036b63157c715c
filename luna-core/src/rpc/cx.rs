//! What callbacks, and the application outside of them, do with a session.

use heapless::VecView;

use super::client::CallId;
use super::counters::SessionCounters;
use super::error::{CallError, ReplyError};
use super::frame::Kind;
use super::payload::{MAX_COPIED, Payload};
use super::server::DetachedReply;
use super::session::Core;
use super::status::Status;
use super::stream::ByteStream;
use crate::time::{Duration, Instant};
use crate::zbuf::Frag;

/// A session and its stream, for the length of a callback or of [`Session::cx`](super::Session::cx).
pub struct SessionCx<'a, 'm, S> {
    core: &'a mut Core<'m>,
    stream: &'a mut S,
    /// Whether this callback is about the request at hand.
    in_request: bool,
}

impl<'m> Core<'m> {
    #[inline(always)]
    pub(super) fn cx<'a, S>(&'a mut self, stream: &'a mut S) -> SessionCx<'a, 'm, S> {
        SessionCx { core: self, stream, in_request: false }
    }

    #[inline(always)]
    pub(super) fn request_cx<'a, S>(&'a mut self, stream: &'a mut S) -> SessionCx<'a, 'm, S> {
        SessionCx { core: self, stream, in_request: true }
    }
}

impl<S: ByteStream> SessionCx<'_, '_, S> {
    /// The time of this turn.
    #[inline]
    pub fn now(&self) -> Instant {
        self.stream.now()
    }

    /// The stream below.
    #[inline]
    pub fn stream(&mut self) -> &mut S {
        self.stream
    }

    /// Calls that have not ended.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.core.calls.live()
    }

    /// Requests that wait for a detached reply.
    #[inline]
    pub fn detached(&self) -> u32 {
        self.core.detached.live()
    }

    /// What happened so far.
    #[inline]
    pub fn counters(&self) -> &SessionCounters {
        &self.core.counters
    }

    /// Issues a request. `payload` needs room for one more fragment (the frame's head) and is drained.
    /// [`Handler::on_response`](super::Handler::on_response) gets `user` with the answer, or with the error after
    /// `deadline`, counted from now.
    ///
    /// # Errors
    /// Nothing was sent and `payload` is untouched.
    #[inline(always)]
    pub fn call(
        &mut self,
        method: u16,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
        deadline: Option<Duration>,
        user: u64,
    ) -> Result<CallId, CallError> {
        stage!(before = self.stream, Rpc);
        let called = self.core.call(self.stream, method, metadata, payload, deadline, user);
        stage!(self.stream; back to before);
        called
    }

    /// [`SessionCx::call`] with a small payload, which is copied: [`MAX_COPIED`] bytes with the metadata. It takes no obj.
    ///
    /// # Errors
    /// Nothing was sent.
    #[inline(always)]
    pub fn call_copied(
        &mut self,
        method: u16,
        metadata: &[u8],
        payload: &[u8],
        deadline: Option<Duration>,
        user: u64,
    ) -> Result<CallId, CallError> {
        stage!(before = self.stream, Rpc);
        let called = self.core.call_copied(self.stream, method, metadata, payload, deadline, user);
        stage!(self.stream; back to before);
        called
    }

    /// Gives up a call: tells the server, and ends the call with [`RpcError::Cancelled`](super::RpcError::Cancelled)
    /// soon after the present callback. False when the call had ended.
    pub fn cancel(&mut self, call: CallId) -> bool {
        self.core.cancel(self.stream, call)
    }

    /// Answers the request that this callback is about. `payload` needs room for one more fragment and is drained.
    ///
    /// # Errors
    /// Nothing was sent and `payload` is untouched. After [`ReplyError::Stream`] the request may be detached, to be
    /// answered when there is room.
    #[inline(always)]
    pub fn reply(&mut self, status: Status, metadata: &[u8], payload: &mut VecView<Frag>) -> Result<(), ReplyError> {
        if !self.in_request {
            return Err(ReplyError::NothingToAnswer);
        }
        stage!(before = self.stream, Rpc);
        let replied = self.core.reply(self.stream, status, metadata, payload);
        stage!(self.stream; back to before);
        replied
    }

    /// [`SessionCx::reply`] with a small payload, which is copied: [`MAX_COPIED`] bytes with the metadata. It takes no obj.
    ///
    /// # Errors
    /// Nothing was sent.
    #[inline(always)]
    pub fn reply_copied(&mut self, status: Status, metadata: &[u8], payload: &[u8]) -> Result<(), ReplyError> {
        if !self.in_request {
            return Err(ReplyError::NothingToAnswer);
        }
        stage!(before = self.stream, Rpc);
        let replied = self.core.reply_copied(self.stream, status, metadata, payload);
        stage!(self.stream; back to before);
        replied
    }

    /// [`SessionCx::reply`] with what arrived: copied if it is small, else in the objs that it arrived in.
    ///
    /// # Errors
    /// Nothing was sent and `payload` is what it was. As [`SessionCx::reply`].
    #[inline(always)]
    pub fn reply_payload(
        &mut self,
        status: Status,
        metadata: &[u8],
        payload: &mut Payload<'_>,
    ) -> Result<(), ReplyError> {
        match payload.lent_bytes() {
            Some(bytes) if metadata.len() + bytes.len() <= MAX_COPIED => self.reply_copied(status, metadata, bytes),
            _ => self.reply(status, metadata, payload.frags()),
        }
    }

    /// Answers with nothing but a status.
    ///
    /// # Errors
    /// As [`SessionCx::reply`].
    pub fn reply_status(&mut self, status: Status) -> Result<(), ReplyError> {
        self.reply(status, &[], &mut heapless::Vec::<Frag, 1>::new())
    }

    /// Keeps the request that this callback is about, to be answered by [`SessionCx::reply_detached`].
    ///
    /// # Errors
    /// [`ReplyError::TableFull`] (the client was told that we are busy) or [`ReplyError::NothingToAnswer`].
    #[inline]
    pub fn detach(&mut self) -> Result<DetachedReply, ReplyError> {
        if !self.in_request {
            return Err(ReplyError::NothingToAnswer);
        }
        self.core.detach(self.stream)
    }

    /// Answers a detached request. `payload` needs room for one more fragment and is drained.
    ///
    /// # Errors
    /// Nothing was sent and `payload` is untouched. The name stays good unless the error is [`ReplyError::Stale`] or
    /// [`ReplyError::DeadlinePassed`].
    pub fn reply_detached(
        &mut self,
        reply: DetachedReply,
        status: Status,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
    ) -> Result<(), ReplyError> {
        stage!(before = self.stream, Rpc);
        let replied = self.core.reply_detached(self.stream, reply, status, metadata, payload);
        stage!(self.stream; back to before);
        replied
    }

    /// Asks the peer for a sign of life: [`Handler::on_pong`](super::Handler::on_pong) with the same nonce.
    ///
    /// # Errors
    /// It was not sent.
    pub fn ping(&mut self, nonce: u32) -> Result<(), CallError> {
        Ok(self.core.send_control(self.stream, Kind::Ping, u64::from(nonce))?)
    }
}
