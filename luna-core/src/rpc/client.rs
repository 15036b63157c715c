//! The client's half: calls in flight, their deadlines and their ends.

use heapless::VecView;

use super::error::{CallError, RpcError, StreamError};
use super::frame::{FrameHeader, Kind};
use super::handler::Handler;
use super::send::Unsent;
use super::session::{Core, Session};
use super::stream::ByteStream;
use super::table::{Slot, untagged};
use crate::time::{Duration, Instant};
use crate::zbuf::Frag;

/// Names a call in flight: (slot, generation), which the peer is told, and the session's tag. Stale once the call has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallId(pub(super) u64);

impl CallId {
    /// As a number: what the stream gets as the token of the call's frame, if its payload has foreign memory.
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }
}

/// Memory for one call in flight.
pub type CallSlot = Slot<PendingCall>;

/// A call that has not ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingCall {
    user: u64,
    /// [`Instant::FAR`] = none.
    deadline: Instant,
    /// Cancelled, but the application has not been told yet.
    cancelled: bool,
}

impl PendingCall {
    #[inline]
    pub(super) fn user(&self) -> u64 {
        self.user
    }
}

/// As the header has it: microseconds, at least one. What is longer than 71 minutes is cut for the server; the client
/// keeps its own.
fn wire_deadline(deadline: Duration) -> u32 {
    u32::try_from(deadline.as_nanos().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}

impl Core<'_> {
    #[inline(always)]
    pub(super) fn call<S: ByteStream>(
        &mut self,
        stream: &mut S,
        method: u16,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
        deadline: Option<Duration>,
        user: u64,
    ) -> Result<CallId, CallError> {
        self.call_by(stream, method, deadline, user, |core, stream, header, name| {
            core.send_frame(stream, header, metadata, payload, name)
        })
    }

    /// [`Core::call`] with a payload that is copied.
    #[inline(always)]
    pub(super) fn call_copied<S: ByteStream>(
        &mut self,
        stream: &mut S,
        method: u16,
        metadata: &[u8],
        bytes: &[u8],
        deadline: Option<Duration>,
        user: u64,
    ) -> Result<CallId, CallError> {
        self.call_by(stream, method, deadline, user, |core, stream, header, _| {
            core.send_copied(stream, header, metadata, bytes)
        })
    }

    /// `send` gets the header without what it says of the body, and the call's name.
    #[inline(always)]
    fn call_by<S: ByteStream>(
        &mut self,
        stream: &mut S,
        method: u16,
        deadline: Option<Duration>,
        user: u64,
        send: impl FnOnce(&mut Self, &mut S, FrameHeader, u64) -> Result<(), Unsent>,
    ) -> Result<CallId, CallError> {
        if self.ended {
            return Err(CallError::Stream(StreamError::Closed));
        }
        let expires = deadline.map_or(Instant::FAR, |d| stream.now() + d);
        let Some(name) = self.calls.insert(PendingCall { user, deadline: expires, cancelled: false }) else {
            self.counters.calls_refused += 1;
            return Err(CallError::TooManyInFlight);
        };
        let mut header = FrameHeader::new(Kind::Request, untagged(name));
        header.method = method;
        header.deadline_us = deadline.map_or(0, wire_deadline);
        if let Err(unsent) = send(self, stream, header, name) {
            self.calls.remove(name);
            return Err(unsent.into());
        }
        self.counters.calls += 1;
        self.next_expiry = self.next_expiry.min(expires);
        Ok(CallId(name))
    }

    /// Tells the server, and marks the call; `settle` tells the application.
    pub(super) fn cancel<S: ByteStream>(&mut self, stream: &mut S, call: CallId) -> bool {
        match self.calls.get_mut(call.0) {
            Some(pending) if !pending.cancelled => pending.cancelled = true,
            _ => return false,
        }
        self.unsettled += 1;
        self.counters.calls_cancelled += 1;
        self.send_cancel(stream, call);
        true
    }

    fn send_cancel<S: ByteStream>(&mut self, stream: &mut S, call: CallId) {
        if self.send_control(stream, Kind::Cancel, untagged(call.0)).is_err() {
            self.counters.cancels_unsent += 1;
        }
    }

    /// The call that the peer knows as `id`.
    #[inline(always)]
    pub(super) fn call_of(&self, id: u64) -> CallId {
        CallId(self.calls.tagged(id))
    }

    /// The call that a response belongs to, if it still waits.
    #[inline]
    pub(super) fn waiting_call(&self, call: CallId) -> Option<&PendingCall> {
        self.calls.get(call.0).filter(|call| !call.cancelled)
    }

    /// Ends a call that still waits.
    #[inline]
    pub(super) fn end_call(&mut self, call: CallId) -> Option<PendingCall> {
        self.calls.remove_if(call.0, |call| !call.cancelled)
    }
}

impl Session<'_> {
    /// Tells the application of the calls that it cancelled.
    #[inline]
    pub(super) fn settle<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        if self.core.unsettled > 0 {
            self.settle_scan(stream, handler);
        }
    }

    #[cold]
    fn settle_scan<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        for i in 0..self.core.calls.len() {
            if self.core.unsettled == 0 {
                return;
            }
            let Some((name, &PendingCall { user, cancelled: true, .. })) = self.core.calls.at(i) else { continue };
            self.core.calls.remove(name);
            self.core.unsettled -= 1;
            handler.on_response(&mut self.core.cx(stream), CallId(name), user, Err(RpcError::Cancelled));
        }
    }

    /// Ends the calls whose deadline is not after `now`.
    pub(super) fn expire<S: ByteStream, H: Handler>(&mut self, now: Instant, stream: &mut S, handler: &mut H) {
        if now < self.core.next_expiry {
            return;
        }
        // Calls made meanwhile lower it again.
        self.core.next_expiry = Instant::FAR;
        for i in 0..self.core.calls.len() {
            let Some((name, &PendingCall { user, deadline, cancelled: false })) = self.core.calls.at(i) else {
                continue;
            };
            if deadline > now {
                self.core.next_expiry = self.core.next_expiry.min(deadline);
                continue;
            }
            self.core.calls.remove(name);
            self.core.counters.calls_expired += 1;
            self.core.send_cancel(stream, CallId(name));
            handler.on_response(&mut self.core.cx(stream), CallId(name), user, Err(RpcError::DeadlineExceeded));
        }
    }

    /// Ends all calls: the connection is gone.
    pub(super) fn lose_calls<S: ByteStream, H: Handler>(
        &mut self,
        maybe_executed: bool,
        stream: &mut S,
        handler: &mut H,
    ) {
        self.core.next_expiry = Instant::FAR;
        for i in 0..self.core.calls.len() {
            let Some((name, &PendingCall { user, cancelled, .. })) = self.core.calls.at(i) else { continue };
            self.core.calls.remove(name);
            let error = if cancelled {
                self.core.unsettled -= 1;
                RpcError::Cancelled
            } else {
                self.core.counters.calls_lost += 1;
                RpcError::ConnectionLost { maybe_executed }
            };
            handler.on_response(&mut self.core.cx(stream), CallId(name), user, Err(error));
        }
    }
}
