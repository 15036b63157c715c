//! The server's half: the request being handled, replies kept for later, and answers that the session owes.

use heapless::VecView;

use super::error::{ReplyError, SessionError};
use super::frame::{FrameHeader, Kind};
use super::handler::Handler;
use super::session::{Core, Session};
use super::status::Status;
use super::stream::ByteStream;
use super::table::Slot;
use crate::time::{Duration, Instant};
use crate::zbuf::Frag;

/// Answers that may wait for room in the stream.
pub(super) const MAX_OWED: usize = 32;
/// When to try again to send them, should nothing happen before.
const OWED_RETRY: Duration = Duration::from_millis(1);

/// Names a request whose answer comes later: (slot, generation) and the session's tag. Stale once answered, once the
/// client cancelled, and once the connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DetachedReply(pub(super) u64);

impl DetachedReply {
    /// As a number.
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }
}

/// Memory for one detached reply.
pub type DetachedSlot = Slot<PendingReply>;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingReply {
    /// The client's name for it.
    request: u64,
    /// [`Instant::FAR`] = none.
    deadline: Instant,
}

/// How far the request at hand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Open,
    Given,
    Detached,
}

/// The request at hand: being handled, or its body is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) answer: Answer,
}

impl Current {
    pub(super) const NONE: Self = Self { id: 0, deadline: Instant::FAR, answer: Answer::Given };
}

/// An answer without payload that the stream had no room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    id: u64,
    status: Status,
}

fn response(id: u64, status: Status) -> FrameHeader {
    FrameHeader { status, ..FrameHeader::new(Kind::Response, id) }
}

impl Core<'_> {
    /// Answers the request at hand.
    #[inline(always)]
    pub(super) fn reply<S: ByteStream>(
        &mut self,
        stream: &mut S,
        status: Status,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
    ) -> Result<(), ReplyError> {
        if self.current.answer != Answer::Open {
            return Err(ReplyError::NothingToAnswer);
        }
        self.send_frame(stream, response(self.current.id, status), metadata, payload, 0)?;
        self.current.answer = Answer::Given;
        Ok(())
    }

    /// [`Core::reply`] with a payload that is copied.
    #[inline(always)]
    pub(super) fn reply_copied<S: ByteStream>(
        &mut self,
        stream: &mut S,
        status: Status,
        metadata: &[u8],
        bytes: &[u8],
    ) -> Result<(), ReplyError> {
        if self.current.answer != Answer::Open {
            return Err(ReplyError::NothingToAnswer);
        }
        self.send_copied(stream, response(self.current.id, status), metadata, bytes)?;
        self.current.answer = Answer::Given;
        Ok(())
    }

    /// Keeps the request at hand for later.
    #[inline]
    pub(super) fn detach<S: ByteStream>(&mut self, stream: &mut S) -> Result<DetachedReply, ReplyError> {
        let Current { id, deadline, answer } = self.current;
        if answer != Answer::Open {
            return Err(ReplyError::NothingToAnswer);
        }
        if let Some(name) = self.detached.insert(PendingReply { request: id, deadline }) {
            self.current.answer = Answer::Detached;
            return Ok(DetachedReply(name));
        }
        self.counters.detached_refused += 1;
        self.answer_for_handler(stream, Status::BUSY);
        Err(ReplyError::TableFull)
    }

    pub(super) fn reply_detached<S: ByteStream>(
        &mut self,
        stream: &mut S,
        reply: DetachedReply,
        status: Status,
        metadata: &[u8],
        payload: &mut VecView<Frag>,
    ) -> Result<(), ReplyError> {
        let Some(&PendingReply { request, deadline }) = self.detached.get(reply.0) else {
            self.counters.stale_replies += 1;
            return Err(ReplyError::Stale);
        };
        if deadline != Instant::FAR && stream.now() >= deadline {
            self.detached.remove(reply.0);
            self.counters.late_replies += 1;
            return Err(ReplyError::DeadlinePassed);
        }
        self.send_frame_apart(stream, response(request, status), metadata, payload, 0)?;
        self.detached.remove(reply.0);
        Ok(())
    }

    /// Answers the request at hand in the handler's stead.
    #[cold]
    pub(super) fn answer_for_handler<S: ByteStream>(&mut self, stream: &mut S, status: Status) {
        let id = self.current.id;
        self.current.answer = Answer::Given;
        if self.send_bare(stream, response(id, status)).is_ok() {
            return;
        }
        self.counters.answers_delayed += 1;
        if self.owed.is_empty() {
            self.owed_retry = stream.now() + OWED_RETRY;
        }
        if self.owed.push_back(Owed { id, status }).is_err() {
            self.overrun = true;
        }
    }

    /// Sends what is owed, as far as the stream takes it.
    #[cold]
    pub(super) fn send_owed<S: ByteStream>(&mut self, stream: &mut S) {
        while let Some(&Owed { id, status }) = self.owed.front() {
            if self.send_bare(stream, response(id, status)).is_err() {
                self.owed_retry = stream.now() + OWED_RETRY;
                return;
            }
            self.owed.pop_front();
        }
    }

    /// After a callback that was given the request at hand for the last time.
    #[inline]
    pub(super) fn require_answer<S: ByteStream>(&mut self, stream: &mut S) -> Result<(), SessionError> {
        if self.current.answer == Answer::Open {
            self.counters.unanswered += 1;
            self.answer_for_handler(stream, Status::UNANSWERED);
        }
        if self.overrun { Err(SessionError::CannotAnswer) } else { Ok(()) }
    }
}

impl Session<'_> {
    /// The client does not want this answer any more. Only a detached request can be cancelled: any other was answered
    /// before the next frame was looked at.
    #[cold]
    pub(super) fn cancel_received<S: ByteStream, H: Handler>(&mut self, id: u64, stream: &mut S, handler: &mut H) {
        let Some(name) = self.core.detached.find(|reply| reply.request == id) else {
            self.core.counters.stale_cancels += 1;
            return;
        };
        self.core.counters.cancels += 1;
        self.core.detached.remove(name);
        handler.on_cancel(&mut self.core.cx(stream), DetachedReply(name));
    }

    /// Makes all detached replies stale: the connection is gone.
    pub(super) fn lose_replies<S: ByteStream, H: Handler>(&mut self, stream: &mut S, handler: &mut H) {
        for i in 0..self.core.detached.len() {
            let Some((name, _)) = self.core.detached.at(i) else { continue };
            self.core.detached.remove(name);
            handler.on_cancel(&mut self.core.cx(stream), DetachedReply(name));
        }
    }
}
