//! A closed loop: every response sends the next request.

use luna_core::rpc::{
    ByteStream, CallId, Handler, MAX_COPIED, Payload, Request, Response, RpcError, SessionCx, Status,
};
use luna_core::zbuf::{Frag, Zbuf};

use super::server::fill_of;
use crate::scenario::Answer;

/// The method that it calls.
const ECHO: u16 = 1;

/// As many requests in flight as there are payloads; the request in slot `i` carries payload `i`, again and again.
pub struct EchoClient {
    payloads: Vec<Zbuf>,
    to_send: u64,
    in_flight: u64,
    done: u64,
    verify: bool,
    answer: Answer,
}

impl EchoClient {
    /// With a payload for each request in flight, and what is to come back.
    #[must_use]
    pub fn new(payloads: Vec<Zbuf>, answer: Answer) -> Self {
        Self { payloads, to_send: 0, in_flight: 0, done: 0, verify: false, answer }
    }

    /// Something else is to come back.
    #[cfg(test)]
    pub(super) fn expect(&mut self, answer: Answer) {
        self.answer = answer;
    }

    /// Plans `rpcs` more requests.
    pub(crate) fn begin(&mut self, rpcs: u64, verify: bool) {
        assert_eq!(self.outstanding(), 0, "the last run has ended");
        self.to_send = rpcs;
        self.verify = verify;
    }

    /// Requests planned or in flight.
    #[inline]
    pub(crate) fn outstanding(&self) -> u64 {
        self.to_send + self.in_flight
    }

    /// Requests answered.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    #[cold]
    #[inline(never)]
    fn verify(&self, payload: Payload<'_>, slot: usize) {
        let sent: &[u8] = &self.payloads[slot];
        match self.answer {
            Answer::Echo => verify(payload.pieces(), sent),
            Answer::Touch => verify(payload.pieces(), &vec![fill_of(sent[0]); sent.len()]),
        }
    }

    #[inline]
    pub(crate) fn call<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, slot: usize) {
        let payload = &self.payloads[slot];
        let called = if payload.len() as usize <= MAX_COPIED {
            cx.call_copied(ECHO, &[], payload, None, slot as u64)
        } else {
            let mut iov = heapless::Vec::<Frag, 2>::new();
            iov.push(Frag::from(payload.clone())).expect("room for two");
            cx.call(ECHO, &[], &mut iov, None, slot as u64)
        };
        called.expect("a call slot and room for each request in flight");
        self.to_send -= 1;
        self.in_flight += 1;
    }
}

/// Panics unless `pieces` are the bytes of `sent`.
#[inline(never)]
pub(super) fn verify<'a>(pieces: impl Iterator<Item = &'a [u8]>, sent: &[u8]) {
    let mut rest = sent;
    for piece in pieces {
        let (head, tail) = rest.split_at(piece.len());
        assert!(piece == head, "the payload comes back as it was sent");
        rest = tail;
    }
    assert!(rest.is_empty(), "the payload comes back whole");
}

impl Handler for EchoClient {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _: Request<'_>) {
        let _ = cx.reply_status(Status::NO_METHOD);
    }

    #[inline(always)]
    fn on_response<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        _: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        let response = result.expect("nothing fails here");
        assert!(response.status.is_ok());
        let slot = user as usize;
        if self.verify {
            self.verify(response.payload, slot);
        }
        self.in_flight -= 1;
        self.done += 1;
        if self.to_send > 0 {
            self.call(cx, slot);
        }
    }
}
