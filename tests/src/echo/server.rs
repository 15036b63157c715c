//! Answers every request: with its own payload, or with another buffer.

use luna_core::rpc::{
    ByteStream, CallId, FragVec, Handler, ReplyError, Request, Response, RpcError, SessionCx, Status,
};
use luna_core::zbuf::{Frag, Pool};

/// The echo service.
pub enum EchoServer {
    /// The response is made of the objs that the request arrived in.
    Echo,
    /// The response is a fresh obj of this pool, filled with what `fill_of` says.
    Touch(&'static Pool),
}

/// What a touched answer is filled with: of the request's first byte, so that no answer is right by chance.
pub(super) fn fill_of(first: u8) -> u8 {
    first.wrapping_mul(3).wrapping_add(1)
}

/// Answers with a fresh obj. Apart: the plain echo has no need of its room.
#[inline(never)]
fn touched<S: ByteStream>(cx: &mut SessionCx<'_, '_, S>, pool: &Pool, payload: &[Frag]) -> Result<(), ReplyError> {
    let first = payload.first().and_then(|f| f.bytes()?.first().copied()).unwrap_or_default();
    let len = payload.iter().map(Frag::len).sum();
    let mut answer = pool.alloc().expect("an obj for each request in flight");
    answer.append(len).expect("objs of the payload's size").fill(fill_of(first));
    let mut iov = FragVec::new();
    iov.push(answer.freeze().into()).expect("room");
    cx.reply(Status::OK, &[], &mut iov)
}

impl Handler for EchoServer {
    #[inline(always)]
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, mut request: Request<'_>) {
        let sent = match self {
            Self::Echo => cx.reply_payload(Status::OK, &[], &mut request.payload),
            Self::Touch(pool) => touched(cx, pool, request.payload.into_frags()),
        };
        sent.expect("there is room for a response to each request in flight");
    }

    fn on_response<S: ByteStream>(
        &mut self,
        _: &mut SessionCx<'_, '_, S>,
        _: CallId,
        _: u64,
        _: Result<Response<'_>, RpcError>,
    ) {
        panic!("this server calls nobody");
    }
}
