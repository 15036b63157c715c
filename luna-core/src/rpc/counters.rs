//! What a session did and what it dropped, by reason.

use crate::zbuf::CopyCounter;

/// Counts since the session began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionCounters {
    /// Whole frames taken in.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Requests that arrived.
    pub requests: u64,
    /// Calls made.
    pub calls: u64,
    /// Calls that ended with a response.
    pub responses: u64,
    /// Responses to calls that had ended before, dropped.
    pub stale_responses: u64,
    /// Payload bytes of such responses, of requests that were answered early or refused, dropped.
    pub discarded_bytes: u64,
    /// Headers that broke the protocol (and ended the session).
    pub protocol_errors: u64,
    /// Calls refused because all slots were in use.
    pub calls_refused: u64,
    /// Calls cancelled here.
    pub calls_cancelled: u64,
    /// Calls whose deadline passed.
    pub calls_expired: u64,
    /// Calls that ended with the connection.
    pub calls_lost: u64,
    /// Cancel frames that the stream did not take: the server then works in vain.
    pub cancels_unsent: u64,
    /// Cancel frames that arrived for a request that waits for its answer.
    pub cancels: u64,
    /// Cancel frames for any other request, ignored.
    pub stale_cancels: u64,
    /// Requests answered `BUSY` because all slots for detached replies were in use.
    pub detached_refused: u64,
    /// Requests that the handler neither answered nor detached.
    pub unanswered: u64,
    /// Replies to names that are stale, dropped.
    pub stale_replies: u64,
    /// Replies after the client's deadline, dropped.
    pub late_replies: u64,
    /// Payloads whose CRC did not match.
    pub corrupt_payloads: u64,
    /// Payloads in more pieces than can be held, refused.
    pub fragmented_payloads: u64,
    /// Answers of this layer's own that had to wait for room in the stream.
    pub answers_delayed: u64,
    /// Pings that arrived.
    pub pings: u64,
    /// Pings that could not be answered for lack of room in the stream.
    pub pongs_unsent: u64,
    /// Payload bytes copied because their chunk was small against the obj that it pinned.
    pub copy_break: CopyCounter,
}
