//! What `luna serve` offers: an echo and blobs, the same over Luna's stack and over the kernel's.
//!
//! [`Services`] is one thread's; [`Visit`] is the handler of one connection's session for the length of a callback. An
//! answer that finds no room in the stream, no memory, or a disk at work is detached and completed from a later turn.

mod blob;
pub mod store;
pub mod wire;
mod worker;

use std::collections::{HashMap, VecDeque};

use luna_core::rpc::{
    BodyError, ByteStream, CallId, DetachedReply, Handler, Payload, ReplyError, Request, RequestHead, Response,
    RpcError, Session, SessionCx, Status,
};
use luna_core::zbuf::Zbuf;

pub use blob::BlobService;
use blob::{Answer, Outcome};

use crate::link::{ConnKey, Transport};
use crate::report::Counters;

/// The services of one thread.
pub struct Services {
    blobs: Option<BlobService>,
    /// Who waits for what the disk is doing.
    waiting: HashMap<u64, (ConnKey, DetachedReply)>,
    echoes: u64,
    echo_bytes: u64,
    delayed: u64,
    lost: u64,
}

/// Of one connection: answers that could not be sent yet, and the chunk that is arriving.
#[derive(Default)]
pub struct Visitor {
    later: VecDeque<(DetachedReply, Pending)>,
    chunk: Option<(u64, u64)>,
}

enum Pending {
    Answer(Box<Answer>),
    /// A read for which there was no memory.
    Read(Vec<u8>),
}

/// The handler of one connection's session.
pub struct Visit<'a> {
    services: &'a mut Services,
    visitor: &'a mut Visitor,
    conn: ConnKey,
}

impl Services {
    /// An echo, and blobs if there is a store.
    #[must_use]
    pub fn new(blobs: Option<BlobService>) -> Self {
        Self { blobs, waiting: HashMap::new(), echoes: 0, echo_bytes: 0, delayed: 0, lost: 0 }
    }

    /// The handler of `conn`.
    pub fn visit<'a>(&'a mut self, conn: ConnKey, visitor: &'a mut Visitor) -> Visit<'a> {
        Visit { services: self, visitor, conn }
    }

    /// The connection is gone.
    pub fn forget(&mut self, conn: ConnKey) {
        self.waiting.retain(|_, (c, _)| *c != conn);
        if let Some(blobs) = &mut self.blobs {
            blobs.forget(conn);
        }
    }

    /// An answer that a disk has finished, and whose it is.
    pub(crate) fn poll(&mut self) -> Option<(ConnKey, Finished)> {
        let blobs = self.blobs.as_mut()?;
        while let Some((name, answer)) = blobs.poll() {
            if let Some((conn, reply)) = self.waiting.remove(&name) {
                return Some((conn, Finished { reply, answer: Box::new(answer) }));
            }
        }
        None
    }

    /// What was done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut all: Counters = [
            ("echoes", self.echoes),
            ("echo_bytes", self.echo_bytes),
            ("answers_delayed", self.delayed),
            ("answers_lost", self.lost),
        ]
        .into_iter()
        .collect();
        if let Some(blobs) = &self.blobs {
            all.add(&blobs.counters());
        }
        all
    }

    fn request(&mut self, conn: ConnKey, method: u16, metadata: &[u8]) -> Outcome {
        match &mut self.blobs {
            Some(blobs) => blobs.request(conn, method, metadata),
            None => Outcome::Done(no_blobs()),
        }
    }
}

/// A promised answer.
pub(crate) struct Finished {
    reply: DetachedReply,
    answer: Box<Answer>,
}

fn no_blobs() -> Answer {
    Answer::refuse(Status::NO_METHOD, "this server keeps no blobs: it was started without --root")
}

impl Visitor {
    /// Queues a promised answer; [`Visitor::retry`] sends it.
    pub(crate) fn finish(&mut self, finished: Finished) {
        self.later.push_back((finished.reply, Pending::Answer(finished.answer)));
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.later.is_empty()
    }

    /// Sends what waited, as far as that goes.
    pub fn retry<T: Transport>(
        &mut self,
        services: &mut Services,
        session: &mut Session<'_>,
        link: &mut T,
        conn: ConnKey,
    ) {
        while let Some((reply, pending)) = self.later.pop_front() {
            let mut answer = match pending {
                Pending::Answer(answer) => answer,
                Pending::Read(metadata) => match services.request(conn, wire::GET_READ, &metadata) {
                    Outcome::Done(answer) => Box::new(answer),
                    _ => {
                        self.later.push_front((reply, Pending::Read(metadata)));
                        return;
                    }
                },
            };
            let mut stream = link.stream(conn);
            let mut cx = session.cx(&mut stream);
            match cx.reply_detached(reply, answer.status, &answer.metadata, &mut *answer.payload) {
                Ok(()) => {}
                Err(ReplyError::Stream(luna_core::rpc::StreamError::Full) | ReplyError::NoObj) => {
                    self.later.push_front((reply, Pending::Answer(answer)));
                    return;
                }
                // Cancelled, late, or the connection is about to be gone.
                Err(_) => services.lost += 1,
            }
        }
    }
}

impl Visit<'_> {
    fn answer<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, mut answer: Answer) {
        // Behind those that wait, or memory could go round for ever to the quick.
        let result = cx.reply(answer.status, &answer.metadata, &mut *answer.payload);
        match result {
            Ok(()) => {}
            Err(ReplyError::Stream(luna_core::rpc::StreamError::Full) | ReplyError::NoObj) => {
                self.keep(cx, Pending::Answer(Box::new(answer)));
            }
            Err(e) => {
                self.services.lost += 1;
                log::debug!("an answer is lost: {e}");
            }
        }
    }

    fn keep<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, pending: Pending) {
        match cx.detach() {
            Ok(reply) => {
                self.services.delayed += 1;
                self.visitor.later.push_back((reply, pending));
            }
            // The session has told the client that we are busy.
            Err(_) => self.services.lost += 1,
        }
    }

    fn echo<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, mut payload: Payload<'_>) {
        self.services.echoes += 1;
        self.services.echo_bytes += u64::from(payload.len());
        match cx.reply_payload(Status::OK, &[], &mut payload) {
            Ok(()) => {}
            Err(_) => {
                let payload = Box::new(core::mem::take(payload.frags()));
                self.answer(cx, Answer { payload, ..Answer::ok(&[]) });
            }
        }
    }

    fn outcome<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, outcome: Outcome, metadata: &[u8]) {
        match outcome {
            Outcome::Done(answer) => self.answer(cx, answer),
            Outcome::Later(name) => match cx.detach() {
                Ok(reply) => {
                    self.services.waiting.insert(name, (self.conn, reply));
                }
                Err(_) => self.services.lost += 1,
            },
            Outcome::Again => self.keep(cx, Pending::Read(metadata.to_vec())),
        }
    }

    fn put_begin(&mut self, metadata: &[u8]) -> Result<(u64, u64), Answer> {
        match &mut self.services.blobs {
            Some(blobs) => blobs.put_begin(self.conn, metadata),
            None => Err(no_blobs()),
        }
    }

    fn put_data(&mut self, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Answer> {
        match &mut self.services.blobs {
            Some(blobs) => blobs.put_data(self.conn, handle, offset, bytes),
            None => Err(no_blobs()),
        }
    }

    fn put_whole(&mut self, metadata: &[u8], payload: &Payload<'_>) -> Result<(), Answer> {
        let (handle, mut offset) = self.put_begin(metadata)?;
        for piece in payload.pieces() {
            self.put_data(handle, offset, piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }
}

impl Handler for Visit<'_> {
    #[inline]
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: Request<'_>) {
        match request.method {
            wire::ECHO => self.echo(cx, request.payload),
            wire::PUT_DATA => {
                let answer = match self.put_whole(request.metadata, &request.payload) {
                    Ok(()) => Answer::ok(&[]),
                    Err(answer) => answer,
                };
                self.answer(cx, answer);
            }
            method => {
                let outcome = self.services.request(self.conn, method, request.metadata);
                self.outcome(cx, outcome, request.metadata);
            }
        }
    }

    fn on_response<S: ByteStream>(
        &mut self,
        _cx: &mut SessionCx<'_, '_, S>,
        _call: CallId,
        _user: u64,
        _result: Result<Response<'_>, RpcError>,
    ) {
        // A server makes no calls.
    }

    fn on_request_begin<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: RequestHead<'_>) -> u64 {
        self.visitor.chunk = None;
        let problem = match request.method {
            wire::PUT_DATA => match self.put_begin(request.metadata) {
                Ok(chunk) => {
                    self.visitor.chunk = Some(chunk);
                    return 0;
                }
                Err(answer) => answer,
            },
            _ => Answer::refuse(Status::TOO_LARGE, "only a chunk of a put may have more than 64 KiB of payload"),
        };
        self.answer(cx, problem);
        0
    }

    fn on_request_body<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _cookie: u64, chunk: Zbuf) {
        let Some((handle, offset)) = self.visitor.chunk else { return };
        match self.put_data(handle, offset, &chunk) {
            Ok(()) => self.visitor.chunk = Some((handle, offset + u64::from(chunk.len()))),
            Err(answer) => {
                self.visitor.chunk = None;
                self.answer(cx, answer);
            }
        }
    }

    fn on_request_end<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        _cookie: u64,
        result: Result<(), BodyError>,
    ) {
        if self.visitor.chunk.take().is_none() {
            return;
        }
        match result {
            Ok(()) => self.answer(cx, Answer::ok(&[])),
            Err(BodyError::Corrupt) => {
                self.answer(cx, Answer::refuse(Status::CORRUPT, "a chunk arrived damaged; start the put again"));
            }
            Err(BodyError::ConnectionLost) => {}
        }
    }

    fn on_cancel<S: ByteStream>(&mut self, _cx: &mut SessionCx<'_, '_, S>, reply: DetachedReply) {
        self.visitor.later.retain(|(r, _)| *r != reply);
        let conn = self.conn;
        self.services.waiting.retain(|_, (c, r)| (*c, *r) != (conn, reply));
    }
}
