//! One connection's session: what the loop that owns the connection calls.

use heapless::VecView;

use super::client::{CallId, CallSlot, PendingCall};
use super::counters::SessionCounters;
use super::cx::SessionCx;
use super::error::{CallError, ConfigError, SessionError};
use super::frame::{FrameHeader, FrameLimits, HEADER_LEN};
use super::gather::MAX_GATHER;
use super::handler::Handler;
use super::payload::MAX_COPIED;
use super::receive::Receiver;
use super::server::{Current, DetachedSlot, MAX_OWED, Owed, PendingReply};
use super::stream::ByteStream;
use super::table::{MAX_SLOTS, Table};
use crate::parts::LEADS;
use crate::time::{Duration, Instant};
use crate::zbuf::{Frag, Zbuf};

/// Most metadata of a frame, in bytes.
pub const MAX_METADATA: usize = 256;

/// The limits of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionConfig {
    /// Part of every name, so that one session's name means nothing to another. Any value will do.
    pub tag: u16,
    /// Largest metadata, both ways; at most [`MAX_METADATA`].
    pub max_metadata: u32,
    /// Largest payload, both ways.
    pub max_payload: u32,
    /// Largest payload that is handed over whole; larger ones come in pieces as they arrive. At most [`MAX_GATHER`].
    /// Objs of up to four times as many bytes (and two more) may be held meanwhile: the receive window must allow for that.
    pub gather_limit: u32,
    /// Whether payloads are sent with a CRC-32C. One that arrives is always checked.
    pub payload_crc: bool,
}

impl SessionConfig {
    /// Whole payloads up to 64 KiB, streamed up to 1 GiB, no payload CRC.
    pub const DEFAULT: Self = Self {
        tag: 0,
        max_metadata: MAX_METADATA as u32,
        max_payload: 1 << 30,
        gather_limit: MAX_GATHER,
        payload_crc: false,
    };
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// All but the incoming side: what callbacks may touch while an incoming frame is lent to them.
pub(super) struct Core<'m> {
    pub(super) limits: FrameLimits,
    pub(super) payload_crc: bool,
    /// No more frames in or out.
    pub(super) ended: bool,
    /// An answer was lost for lack of room in `owed`.
    pub(super) overrun: bool,
    pub(super) current: Current,
    pub(super) calls: Table<'m, PendingCall>,
    pub(super) detached: Table<'m, PendingReply>,
    /// No call expires before.
    pub(super) next_expiry: Instant,
    /// Cancelled calls that the application has not been told of.
    pub(super) unsettled: u32,
    pub(super) counters: SessionCounters,
    pub(super) owed: heapless::Deque<Owed, MAX_OWED>,
    pub(super) owed_retry: Instant,
}

/// RPC over one byte stream, as client, server or both.
pub struct Session<'m> {
    pub(super) rx: Receiver,
    pub(super) core: Core<'m>,
}

impl<'m> Session<'m> {
    /// A session for a new connection. It can have as many calls in flight as `calls` has slots, and keep as many
    /// requests for later as `detached`.
    ///
    /// # Errors
    /// A limit above its maximum.
    pub fn new(
        config: SessionConfig,
        calls: &'m mut [CallSlot],
        detached: &'m mut [DetachedSlot],
    ) -> Result<Self, ConfigError> {
        let SessionConfig { tag, max_metadata, max_payload, gather_limit, payload_crc } = config;
        if max_metadata > MAX_METADATA as u32 {
            return Err(ConfigError::Metadata(max_metadata));
        }
        if gather_limit > MAX_GATHER {
            return Err(ConfigError::Gather(gather_limit));
        }
        let slots = calls.len().max(detached.len());
        if slots > MAX_SLOTS {
            return Err(ConfigError::Slots(slots));
        }
        Ok(Self {
            rx: Receiver::new(gather_limit, max_payload),
            core: Core {
                limits: FrameLimits { metadata: max_metadata, payload: max_payload },
                payload_crc,
                ended: false,
                overrun: false,
                current: Current::NONE,
                calls: Table::new(calls, tag),
                detached: Table::new(detached, tag),
                next_expiry: Instant::FAR,
                unsettled: 0,
                counters: SessionCounters::default(),
                owed: heapless::Deque::new(),
                owed_retry: Instant::FAR,
            },
        })
    }

    /// Bytes arrived, in order.
    ///
    /// # Errors
    /// The session is over: abort the connection and call [`Session::handle_closed`].
    #[inline]
    pub fn handle_data<S: ByteStream, H: Handler>(
        &mut self,
        mut data: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        stage!(before = stream, Rpc);
        if self.rx.is_between_frames()
            && let Some(head) = data.first_chunk()
            && !self.core.ended
            && self.core.owed.is_empty()
        {
            let len = FrameHeader::payload_len_of(head);
            let taken = if !LEADS {
                Ok(Some(data))
            } else if len <= MAX_COPIED as u32 {
                self.take_small(data, stream, handler)
            } else if len == data.len() - HEADER_LEN as u32 {
                self.take_lone(data, stream, handler)
            } else if len > data.len() - HEADER_LEN as u32 {
                Ok(self.begin(data, stream))
            } else {
                Ok(Some(data))
            };
            match taken {
                Ok(None) => {
                    stage!(stream; back to before);
                    return Ok(());
                }
                Ok(Some(left)) => data = left,
                Err(e) => return Err(self.fail(e)),
            }
        }
        let taken = if !self.rx.keeps(data.len()) {
            self.take_frames(data, stream, handler)
        } else if self.rx.keep(data, stream, &mut self.core.counters.copy_break).is_ok() {
            Ok(())
        } else {
            self.fragmented(stream, handler)
        };
        stage!(stream; back to before);
        taken
    }

    /// The shortest way for bytes that arrived: when there is nothing to do but to keep them, the bytes of memory that
    /// [`Session::held`] grew by. To be tried before [`Session::handle_data`] by whoever wants it inlined.
    ///
    /// # Errors
    /// The bytes, for [`Session::handle_data`].
    #[inline(always)]
    pub fn try_keep(&mut self, data: Zbuf) -> Result<u32, Zbuf> {
        if self.rx.keeps(data.len()) { self.rx.try_keep(data) } else { Err(data) }
    }

    /// The long way. Whoever wants the short one without it tries [`Session::try_keep`] first.
    #[inline]
    fn take_frames<S: ByteStream, H: Handler>(
        &mut self,
        data: Zbuf,
        stream: &mut S,
        handler: &mut H,
    ) -> Result<(), SessionError> {
        if self.core.ended {
            return Err(SessionError::Ended);
        }
        if !self.core.owed.is_empty() {
            self.core.send_owed(stream);
        }
        let mut rest = Some(data);
        while let Some(mut data) = rest {
            if self.rx.is_between_frames() {
                match self.take_whole(data, stream, handler) {
                    Ok(Some(left)) => data = left,
                    Ok(None) => break,
                    Err(e) => return Err(self.fail(e)),
                }
            }
            if self.rx.completes(data.len()) {
                self.rx.complete(data, &mut self.core.counters.copy_break);
                rest = None;
            } else if self.rx.completes_within(data.len()) {
                let end = data.split_to(self.rx.missing());
                self.rx.complete(end, &mut self.core.counters.copy_break);
                rest = Some(data);
            } else {
                rest = match self.advance(data, stream, handler) {
                    Ok(rest) => rest,
                    Err(e) => return Err(self.fail(e)),
                };
            }
            if self.rx.is_complete()
                && let Err(e) = self.finish(stream, handler)
            {
                return Err(self.fail(e));
            }
        }
        self.settle(stream, handler);
        Ok(())
    }

    #[cold]
    fn fragmented<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) -> Result<(), SessionError> {
        let refused = self.refuse_fragmented(stream, handler);
        self.settle(stream, handler);
        refused.map_err(|e| self.fail(e))
    }

    #[cold]
    fn fail(&mut self, e: SessionError) -> SessionError {
        if matches!(e, SessionError::Frame(_)) {
            self.core.counters.protocol_errors += 1;
        }
        self.core.ended = true;
        self.rx.forget_payload();
        e
    }

    /// The stream has room again.
    pub fn handle_writable<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        self.core.send_owed(stream);
        self.settle(stream, handler);
    }

    /// Time has passed: ends the calls that have expired.
    pub fn handle_timeout<S: ByteStream, H: Handler>(&mut self, now: Instant, stream: &mut S, handler: &mut H) {
        if now >= self.core.owed_retry {
            self.core.owed_retry = Instant::FAR;
            self.core.send_owed(stream);
        }
        self.expire(now, stream, handler);
        self.settle(stream, handler);
    }

    /// When [`Session::handle_timeout`] has something to do. It may turn out to have nothing: a call may have ended.
    #[must_use]
    #[inline]
    pub fn poll_deadline(&self) -> Option<Instant> {
        if self.core.unsettled > 0 {
            return Some(Instant::ZERO);
        }
        let at = self.core.next_expiry.min(self.core.owed_retry);
        (at != Instant::FAR).then_some(at)
    }

    /// The connection is gone. Every call ends with [`RpcError::ConnectionLost`](super::RpcError::ConnectionLost), every
    /// detached reply becomes stale. `maybe_executed`: whether bytes may have reached the peer.
    pub fn handle_closed<S: ByteStream, H: Handler>(&mut self, maybe_executed: bool, stream: &mut S, handler: &mut H) {
        self.core.ended = true;
        self.core.owed.clear();
        self.core.owed_retry = Instant::FAR;
        self.abandon_frame(stream, handler);
        self.lose_calls(maybe_executed, stream, handler);
        self.lose_replies(stream, handler);
    }

    /// The memory of the two tables, for another session.
    #[must_use]
    pub fn into_slots(self) -> (&'m mut [CallSlot], &'m mut [DetachedSlot]) {
        (self.core.calls.into_slots(), self.core.detached.into_slots())
    }

    /// What callbacks get, for use outside of them. Cancelled calls are reported by the next `handle_` of any kind.
    #[inline]
    pub fn cx<'a, S: ByteStream>(&'a mut self, stream: &'a mut S) -> SessionCx<'a, 'm, S> {
        self.core.cx(stream)
    }

    /// [`SessionCx::call`].
    ///
    /// # Errors
    /// Nothing was sent and `payload` is untouched.
    #[inline]
    pub fn call<S: ByteStream>(
        &mut self,
        stream: &mut S,
        method: u16,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
        deadline: Option<Duration>,
        user: u64,
    ) -> Result<CallId, CallError> {
        self.core.call(stream, method, metadata, payload, deadline, user)
    }

    /// [`SessionCx::cancel`], with the handler told before this returns.
    pub fn cancel<S: ByteStream, H: Handler>(&mut self, call: CallId, stream: &mut S, handler: &mut H) -> bool {
        let live = self.core.cancel(stream, call);
        self.settle(stream, handler);
        live
    }

    /// Bytes of memory, in whole objs, that the payload being put together keeps from reuse.
    #[must_use]
    #[inline]
    pub fn held(&self) -> u32 {
        self.rx.held()
    }

    /// Calls that have not ended.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.core.calls.live()
    }

    /// Whether nothing is under way: no call, no detached reply, no part of a frame.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let Core { calls, detached, owed, .. } = &self.core;
        calls.live() == 0 && detached.live() == 0 && owed.is_empty() && self.rx.is_between_frames()
    }

    /// Whether what arrived so far ends with a frame: the only place where a peer may finish.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.rx.is_between_frames()
    }

    /// What happened so far.
    #[must_use]
    #[inline]
    pub fn counters(&self) -> &SessionCounters {
        &self.core.counters
    }
}

// A server has one per connection: what it costs is a decision.
#[cfg(target_pointer_width = "64")]
static_assertions::const_assert!(size_of::<Session<'_>>() <= 2304);
