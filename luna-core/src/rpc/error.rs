//! Why something did not happen.

use core::fmt;

use super::frame::FrameError;

/// Why a byte stream did not take a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// No room now: try again when the stream says that it is writable.
    Full,
    /// The stream takes no more data, for ever.
    Closed,
    /// More than the stream can ever hold.
    TooLarge,
    /// Foreign memory in it was revoked.
    Revoked,
    /// No obj for the frame's head.
    NoObj,
}

/// Why a call was not made. The payload is still the caller's, nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// All call slots are in use.
    TooManyInFlight,
    /// Metadata or payload is over the limit, or the I/O vector has no room for the frame's head in front.
    TooLarge,
    /// No obj for the frame's head.
    NoObj,
    /// The stream does not take it.
    Stream(StreamError),
}

/// Why an answer was not sent. The payload is still the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyError {
    /// This callback has no request, or it was answered or detached already.
    NothingToAnswer,
    /// The name is not one of a request that waits for its answer: answered, cancelled, or its connection is gone.
    Stale,
    /// All slots for detached replies are in use; the request was answered with [`Busy`](super::Status::BUSY).
    TableFull,
    /// The client's deadline has passed: nobody waits. The name is stale from now on.
    DeadlinePassed,
    /// Metadata or payload is over the limit, or the I/O vector has no room for the frame's head in front.
    TooLarge,
    /// No obj for the frame's head.
    NoObj,
    /// The stream does not take it.
    Stream(StreamError),
}

/// How a call ended without a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RpcError {
    /// Cancelled here.
    Cancelled,
    /// The deadline passed; the server may have executed it.
    DeadlineExceeded,
    /// The connection ended.
    ConnectionLost {
        /// Whether the server may have seen the request: if so, it must not be issued again unless it is idempotent.
        maybe_executed: bool,
    },
    /// The response's payload does not match its CRC.
    Corrupt,
    /// The response's payload arrived in more pieces than can be held.
    Fragmented,
}

/// How a request's body that was being streamed ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// The payload does not match its CRC.
    Corrupt,
    /// The connection ended.
    ConnectionLost,
}

/// Why the session cannot go on: the connection has to be aborted, then `handle_closed` called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionError {
    /// What arrived is no frame.
    Frame(FrameError),
    /// More answers of this layer's own (busy, unanswered, ...) wait for room in the stream than can be kept.
    CannotAnswer,
    /// The session ended earlier.
    Ended,
}

/// Why a session cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// More than [`MAX_METADATA`](super::MAX_METADATA).
    Metadata(u32),
    /// More than [`MAX_GATHER`](super::MAX_GATHER).
    Gather(u32),
    /// More slots than [`MAX_SLOTS`](super::MAX_SLOTS).
    Slots(usize),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the stream has no room now",
            Self::Closed => "the stream is closed for sending",
            Self::TooLarge => "more than the stream can hold",
            Self::Revoked => "a fragment's memory was revoked",
            Self::NoObj => "no obj for the frame's head",
        })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyInFlight => f.write_str("all call slots are in use"),
            Self::TooLarge => f.write_str("the request is larger than the limits"),
            Self::NoObj => f.write_str("no obj for the frame's head"),
            Self::Stream(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToAnswer => f.write_str("no request to answer here"),
            Self::Stale => f.write_str("the request does not wait for an answer any more"),
            Self::TableFull => f.write_str("all slots for detached replies are in use"),
            Self::DeadlinePassed => f.write_str("the client's deadline has passed"),
            Self::TooLarge => f.write_str("the answer is larger than the limits"),
            Self::NoObj => f.write_str("no obj for the frame's head"),
            Self::Stream(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::ConnectionLost { maybe_executed: true } => "connection lost; the request may have been executed",
            Self::ConnectionLost { maybe_executed: false } => "connection lost; the request was not executed",
            Self::Corrupt => "the response's payload is corrupt",
            Self::Fragmented => "the response's payload came in too many pieces",
        })
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the body is corrupt",
            Self::ConnectionLost => "connection lost within the body",
        })
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(e) => write!(f, "the peer broke the protocol: {e}"),
            Self::CannotAnswer => f.write_str("too many answers wait for room in the stream"),
            Self::Ended => f.write_str("the session has ended"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(n) => write!(f, "a metadata limit of {n} is above {}", super::MAX_METADATA),
            Self::Gather(n) => write!(f, "a gather limit of {n} is above {}", super::MAX_GATHER),
            Self::Slots(n) => write!(f, "a table of {n} slots is above {}", super::MAX_SLOTS),
        }
    }
}

impl core::error::Error for StreamError {}
impl core::error::Error for CallError {}
impl core::error::Error for ReplyError {}
impl core::error::Error for RpcError {}
impl core::error::Error for BodyError {}
impl core::error::Error for SessionError {}
impl core::error::Error for ConfigError {}

impl From<FrameError> for SessionError {
    fn from(e: FrameError) -> Self {
        Self::Frame(e)
    }
}
