//! Answers every request with its own payload.

use luna_core::rpc::{ByteStream, CallId, Handler, Request, Response, RpcError, SessionCx, Status};

/// The echo service: the response is made of the objs that the request arrived in.
pub struct EchoServer;

impl Handler for EchoServer {
    #[inline]
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: Request<'_>) {
        cx.reply(Status::OK, &[], request.payload).expect("there is room for a response to each request in flight");
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
