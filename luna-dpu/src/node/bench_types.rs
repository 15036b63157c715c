//! What a benchmark tells, in images without its client too.

use core::fmt;

use luna_core::rpc::{CallError, RpcError, Status};
use luna_core::time::Duration;

/// Gives the payload back: the method of luna-host's service.
pub(super) const ECHO: u16 = 1;

/// Why a benchmark failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BenchError {
    /// A request ended without an answer.
    Call(RpcError),
    /// The server refused one.
    Refused(Status),
    /// An answer is not what was sent.
    Mismatch(u64),
    /// A request could not be sent.
    NotSent(CallError),
    /// The connection ended, or never came to be.
    Closed(luna_core::stack::CloseReason),
    /// There is no way to connect.
    Unreachable(luna_core::stack::ConnectError),
    /// It took too long.
    Patience,
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(e) => write!(f, "a request failed: {e}"),
            Self::Refused(status) => write!(f, "the server refused a request: {status}"),
            Self::Mismatch(seed) => write!(f, "the answer to request {seed} is not what was sent"),
            Self::NotSent(e) => write!(f, "a request cannot be sent: {e}"),
            Self::Closed(reason) => write!(f, "the connection ended: {reason:?}"),
            Self::Unreachable(e) => write!(f, "cannot connect: {e:?}"),
            Self::Patience => f.write_str("it takes too long"),
        }
    }
}

impl core::error::Error for BenchError {}

/// What a benchmark measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BenchReport {
    /// Requests answered as they should be.
    pub completed: u32,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// The shortest time of a request.
    pub fastest: Duration,
    /// The longest.
    pub slowest: Duration,
}
