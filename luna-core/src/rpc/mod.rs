//! RPC over one byte stream (paper §4.1): slim frames ([`FrameHeader`]) and the [`Session`] that sends and takes them.
//!
//! A session is a state machine like everything in this crate: bytes come in by [`Session::handle_data`], time by
//! [`Session::handle_timeout`], and what it has to say goes out through the caller's [`ByteStream`]. The same code thus
//! runs over a connection of our own TCP and over a kernel socket. Both ends are equal: each may call and serve.
//!
//! Who owns what: the caller owns session, stream, handler and the slots of the two tables; the session owns the chunks
//! of the one payload that is being put together ([`Session::held`] tells how much memory that pins).
//!
//! Invariants:
//! - Every call that was accepted completes exactly once, by [`Handler::on_response`].
//! - Every request is answered exactly once, unless the client cancelled it: the session answers for a handler that does not.
//! - Payload is never copied, except what is small: what would pin a large obj (copy-break), and what is sent as small; both
//!   are counted.
//! - Whatever arrives, nothing panics, all tables are bounded, and everything dropped is counted by reason.
//!
//! Absent here: retries (a request that may have been executed is the application's to repeat), credits, and the
//! choice of a connection.

mod client;
mod counters;
mod cx;
mod error;
mod frame;
mod gather;
mod handler;
mod payload;
mod receive;
mod send;
mod server;
mod session;
mod status;
mod stream;
mod table;

pub use client::{CallId, CallSlot};
pub use counters::SessionCounters;
pub use cx::SessionCx;
pub use error::{BodyError, CallError, ConfigError, ReplyError, RpcError, SessionError, StreamError};
pub use frame::{Flags, FrameError, FrameHeader, FrameLimits, HEADER_LEN, Kind, VERSION};
pub use gather::{MAX_CHUNKS, MAX_GATHER};
pub use handler::{Handler, Request, RequestHead, Response, ResponseHead};
pub use payload::{MAX_COPIED, Payload};
pub use server::{DetachedReply, DetachedSlot};
pub use session::{MAX_METADATA, Session, SessionConfig};
pub use status::Status;
pub use stream::{ByteStream, FragVec};
pub use table::{MAX_SLOTS, Slot};

#[cfg(test)]
mod tests;
