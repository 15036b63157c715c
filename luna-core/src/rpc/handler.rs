//! What a session tells the application.

use super::client::CallId;
use super::cx::SessionCx;
use super::error::{BodyError, RpcError};
use super::payload::Payload;
use super::server::DetachedReply;
use super::status::Status;
use super::stream::ByteStream;
use crate::time::Instant;
use crate::zbuf::Zbuf;

/// A request that has arrived whole.
#[derive(Debug)]
pub struct Request<'a> {
    /// What to do.
    pub method: u16,
    /// The client's metadata.
    pub metadata: &'a [u8],
    /// When the client stops waiting.
    pub deadline: Option<Instant>,
    /// The payload.
    pub payload: Payload<'a>,
}

/// The beginning of a request whose payload is larger than the gather limit.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// What to do.
    pub method: u16,
    /// The client's metadata.
    pub metadata: &'a [u8],
    /// When the client stops waiting.
    pub deadline: Option<Instant>,
    /// Bytes that are going to follow.
    pub payload_len: u32,
}

/// A response that has arrived whole.
#[derive(Debug)]
pub struct Response<'a> {
    /// How it went.
    pub status: Status,
    /// The server's metadata.
    pub metadata: &'a [u8],
    /// As a request's. Empty if it was streamed.
    pub payload: Payload<'a>,
    /// Whether the payload went to [`Handler::on_response_body`] before.
    pub streamed: bool,
}

/// The beginning of a response whose payload is larger than the gather limit.
#[derive(Debug)]
pub struct ResponseHead<'a> {
    /// How it went.
    pub status: Status,
    /// The server's metadata.
    pub metadata: &'a [u8],
    /// Bytes that are going to follow.
    pub payload_len: u32,
}

/// The application's end of a session. Every callback may use the session through its [`SessionCx`].
#[allow(unused_variables)]
pub trait Handler {
    /// A request. Answer it ([`SessionCx::reply`]) or keep it for later ([`SessionCx::detach`]) before returning;
    /// otherwise the session answers [`Status::UNANSWERED`].
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: Request<'_>);

    /// The end of a call: exactly once for every [`CallId`]. `user` is what the call was made with.
    fn on_response<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        call: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    );

    /// A request with a large payload begins. It may be answered here (what follows is then dropped, and nothing more
    /// is said of it), detached, or left open until its end. What this returns comes with the rest of the body.
    fn on_request_begin<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: RequestHead<'_>) -> u64 {
        let _ = cx.reply_status(Status::TOO_LARGE);
        0
    }

    /// A piece of the body. `cookie` is what `on_request_begin` returned.
    fn on_request_body<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, cookie: u64, chunk: Zbuf) {}

    /// The body is complete, or will never be. The last chance to answer or detach.
    fn on_request_end<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        cookie: u64,
        result: Result<(), BodyError>,
    ) {
    }

    /// A response with a large payload begins; [`Handler::on_response`] still ends the call.
    fn on_response_begin<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        call: CallId,
        user: u64,
        response: ResponseHead<'_>,
    ) {
    }

    /// A piece of the body.
    fn on_response_body<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, call: CallId, user: u64, chunk: Zbuf) {
    }

    /// Nobody waits for this answer any more: the client cancelled, or the connection ended. The name is stale.
    fn on_cancel<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, reply: DetachedReply) {}

    /// The peer answered [`SessionCx::ping`].
    fn on_pong<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, nonce: u32) {}
}
