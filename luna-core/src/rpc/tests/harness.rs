//! Two sessions joined by byte streams that cut as the test wants, and an application that writes down what it saw.

use core::cell::RefCell;
use std::boxed::Box;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;
use std::{format, vec};

use heapless::VecView;

use crate::rpc::*;
use crate::time::{Duration, Instant};
use crate::zbuf::{Frag, Pool, Zbuf, ZbufMut, testing};

/// A pool of this thread that nobody uses any more, or a new one: test memory is leaked, and some tests need many ends.
fn pool(zones: usize, obj_size: u32) -> Rc<Pool> {
    std::thread_local! { static POOLS: RefCell<Vec<Rc<Pool>>> = const { RefCell::new(Vec::new()) } }
    POOLS.with_borrow_mut(|pools| {
        let unused = |p: &&Rc<Pool>| {
            p.layout().obj_size == obj_size
                && p.zones().count() == zones
                && Rc::strong_count(p) == 1
                && p.outstanding() == 0
        };
        if let Some(pool) = pools.iter().find(unused) {
            return pool.clone();
        }
        pools.push(Rc::new(testing::pool(zones, obj_size)));
        pools[pools.len() - 1].clone()
    })
}

/// One direction's sending end.
pub(super) struct Wire {
    pub(super) pool: Rc<Pool>,
    pub(super) out: VecDeque<Frag>,
    pub(super) tokens: Vec<u64>,
    pub(super) now: Instant,
    /// What `send` answers instead of taking anything.
    pub(super) refuse: Option<StreamError>,
    pub(super) no_objs: bool,
}

impl Wire {
    pub(super) fn new() -> Self {
        let pool = pool(1, 512);
        let now = Instant::from_nanos(1_000_000);
        Self { pool, out: VecDeque::new(), tokens: vec![], now, refuse: None, no_objs: false }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.out.iter().flat_map(|frag| frag.bytes().unwrap().to_vec()).collect()
    }
}

impl ByteStream for Wire {
    fn send(&mut self, iov: &mut VecView<Frag>, token: u64) -> Result<(), StreamError> {
        if let Some(e) = self.refuse {
            return Err(e);
        }
        assert!(iov.first().is_some_and(Frag::is_header), "a frame begins with its head");
        assert!(iov.iter().skip(1).all(|frag| !frag.is_header()));
        self.out.extend(iov.drain(..));
        self.tokens.push(token);
        Ok(())
    }

    fn alloc(&mut self) -> Option<ZbufMut> {
        if self.no_objs { None } else { self.pool.alloc() }
    }

    fn now(&self) -> Instant {
        self.now
    }
}

pub(super) type Outcome = Result<(Status, Vec<u8>, Vec<u8>), RpcError>;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Event {
    Request { method: u16, metadata: Vec<u8>, payload: Vec<u8>, deadline: Option<Instant> },
    Begin { method: u16, metadata: Vec<u8>, len: u32 },
    Body { cookie: u64, bytes: Vec<u8> },
    End { cookie: u64, result: Result<(), BodyError> },
    Response { call: CallId, user: u64, outcome: Outcome, streamed: bool },
    ResponseBegin { user: u64, status: Status, metadata: Vec<u8>, len: u32 },
    ResponseBody { user: u64, bytes: Vec<u8> },
    Cancel(DetachedReply),
    Pong(u32),
}

/// Methods that [`App`] serves.
pub(super) mod method {
    pub(in super::super) const ECHO: u16 = 1;
    pub(in super::super) const DETACH: u16 = 2;
    pub(in super::super) const SILENT: u16 = 3;
    pub(in super::super) const TWICE: u16 = 4;
    /// Calls the client back before answering.
    pub(in super::super) const CALL_BACK: u16 = 5;
    /// Keeps the payload.
    pub(in super::super) const KEEP: u16 = 6;
    /// Streamed: answered at its begin.
    pub(in super::super) const EARLY: u16 = 7;
    /// Streamed: detached at its begin.
    pub(in super::super) const DETACH_EARLY: u16 = 8;
    /// Streamed: answered within its body.
    pub(in super::super) const MIDDLE: u16 = 9;
    /// Streamed: refused by the trait's default.
    pub(in super::super) const DEFAULT: u16 = 10;
}

#[derive(Default)]
pub(super) struct App {
    pub(super) events: Vec<Event>,
    pub(super) names: Vec<DetachedReply>,
    pub(super) kept: Vec<Zbuf>,
    /// What `reply` and `detach` said.
    pub(super) replies: Vec<Result<(), ReplyError>>,
    /// Cancelled from within the next callback.
    pub(super) cancel_next: Option<CallId>,
    /// On a full stream, echo detaches.
    pub(super) detach_when_full: bool,
    streamed_method: u16,
    bodies: u64,
}

pub(super) fn concat(payload: &Payload<'_>) -> Vec<u8> {
    let bytes: Vec<u8> = payload.pieces().flatten().copied().collect();
    assert_eq!((bytes.len(), bytes.is_empty()), (payload.len() as usize, payload.is_empty()));
    bytes
}

impl App {
    fn note_detached<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) {
        let name = cx.detach();
        self.replies.push(name.map(|_| ()));
        self.names.extend(name.ok());
    }

    fn cancel_one<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) {
        if let Some(call) = self.cancel_next.take() {
            cx.cancel(call);
        }
    }

    pub(super) fn outcomes(&self) -> Vec<(u64, Outcome)> {
        let ends = self.events.iter().filter_map(|e| match e {
            Event::Response { user, outcome, .. } => Some((*user, outcome.clone())),
            _ => None,
        });
        ends.collect()
    }
}

impl Handler for App {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: Request<'_>) {
        let Request { method, metadata, deadline, payload: mut lent } = request;
        let payload = concat(&lent);
        self.events.push(Event::Request { method, metadata: metadata.to_vec(), payload, deadline });
        self.cancel_one(cx);
        match method {
            method::ECHO => {
                let done = cx.reply_payload(Status::OK, metadata, &mut lent);
                self.replies.push(done);
                if done.is_err() && self.detach_when_full {
                    self.note_detached(cx);
                }
            }
            method::DETACH => self.note_detached(cx),
            method::SILENT => {}
            method::TWICE => {
                self.replies.push(cx.reply_status(Status::NOT_FOUND));
                self.replies.push(cx.reply_status(Status::OK));
                self.note_detached(cx);
            }
            method::CALL_BACK => {
                cx.call(method::ECHO, b"back", &mut FragVec::new(), None, 99).unwrap();
                self.replies.push(cx.reply_status(Status::OK));
            }
            method::KEEP => {
                self.kept.extend(lent.frags().drain(..).map(|piece| piece.into_zbuf().unwrap()));
                self.replies.push(cx.reply_status(Status::OK));
            }
            _ => self.replies.push(cx.reply_status(Status::NO_METHOD)),
        }
    }

    fn on_response<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        call: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        self.cancel_one(cx);
        assert_eq!(cx.reply_status(Status::OK), Err(ReplyError::NothingToAnswer));
        assert_eq!(cx.detach(), Err(ReplyError::NothingToAnswer));
        let streamed = result.as_ref().is_ok_and(|r| r.streamed);
        let outcome = result.map(|mut r| {
            let bytes = concat(&r.payload);
            if user == KEEP_RESPONSE {
                self.kept.extend(r.payload.frags().drain(..).map(|piece| piece.into_zbuf().unwrap()));
            }
            (r.status, r.metadata.to_vec(), bytes)
        });
        self.events.push(Event::Response { call, user, outcome, streamed });
    }

    fn on_request_begin<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, request: RequestHead<'_>) -> u64 {
        let RequestHead { method, metadata, payload_len, .. } = request;
        if method == method::DEFAULT {
            return Bare.on_request_begin(cx, request);
        }
        self.events.push(Event::Begin { method, metadata: metadata.to_vec(), len: payload_len });
        self.streamed_method = method;
        match method {
            method::EARLY => self.replies.push(cx.reply_status(Status::DENIED)),
            method::DETACH_EARLY => self.note_detached(cx),
            _ => {}
        }
        self.bodies += 1;
        self.bodies
    }

    fn on_request_body<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, cookie: u64, chunk: Zbuf) {
        self.events.push(Event::Body { cookie, bytes: chunk.to_vec() });
        if self.streamed_method == method::MIDDLE {
            self.replies.push(cx.reply_status(Status::DENIED));
        }
    }

    fn on_request_end<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        cookie: u64,
        result: Result<(), BodyError>,
    ) {
        self.events.push(Event::End { cookie, result });
        if self.streamed_method == method::ECHO {
            let metadata = format!("{result:?}");
            self.replies.push(cx.reply(Status::OK, metadata.as_bytes(), &mut FragVec::new()));
        }
    }

    fn on_response_begin<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        _: CallId,
        user: u64,
        response: ResponseHead<'_>,
    ) {
        self.cancel_one(cx);
        let ResponseHead { status, metadata, payload_len } = response;
        self.events.push(Event::ResponseBegin { user, status, metadata: metadata.to_vec(), len: payload_len });
    }

    fn on_response_body<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _: CallId, user: u64, chunk: Zbuf) {
        self.cancel_one(cx);
        self.events.push(Event::ResponseBody { user, bytes: chunk.to_vec() });
    }

    fn on_cancel<S: ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>, reply: DetachedReply) {
        self.events.push(Event::Cancel(reply));
    }

    fn on_pong<S: ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>, nonce: u32) {
        self.events.push(Event::Pong(nonce));
    }
}

/// A call with this `user` keeps its response's payload.
pub(super) const KEEP_RESPONSE: u64 = 7777;

/// Only what the trait requires.
struct Bare;

impl Handler for Bare {
    fn on_request<S: ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>, _: Request<'_>) {}
    fn on_response<S: ByteStream>(
        &mut self,
        _: &mut SessionCx<'_, '_, S>,
        _: CallId,
        _: u64,
        _: Result<Response<'_>, RpcError>,
    ) {
    }
}

/// One side: session, stream, application, and the objs that a NIC would receive into.
pub(super) struct End {
    pub(super) session: Session<'static>,
    pub(super) wire: Wire,
    pub(super) app: App,
    pub(super) rx: Rc<Pool>,
}

impl End {
    pub(super) fn new(config: SessionConfig, slots: usize) -> Self {
        let calls = Box::leak(vec![CallSlot::default(); slots].into_boxed_slice());
        let detached = Box::leak(vec![DetachedSlot::default(); slots].into_boxed_slice());
        let session = Session::new(config, calls, detached).unwrap();
        Self { session, wire: Wire::new(), app: App::default(), rx: pool(2, 2048) }
    }

    /// Bytes in an obj of this side.
    pub(super) fn received(&self, bytes: &[u8]) -> Zbuf {
        let mut obj = self.rx.alloc_with_headroom(66).expect("a free receive obj");
        obj.append(bytes.len() as u32).expect("no more than an obj").copy_from_slice(bytes);
        obj.freeze()
    }

    pub(super) fn handle(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut data = self.received(bytes);
        // Every other length by the shortest way first, as a stack would: nothing but `held` may tell.
        if bytes.len().is_multiple_of(2) {
            let before = self.session.held();
            data = match self.session.try_keep(data) {
                Ok(more) => {
                    assert_eq!(self.session.held() - before, more);
                    return Ok(());
                }
                Err(data) => data,
            };
        }
        self.session.handle_data(data, &mut self.wire, &mut self.app)
    }

    pub(super) fn call(
        &mut self,
        method: u16,
        metadata: &[u8],
        payload: &[u8],
        deadline: Option<Duration>,
        user: u64,
    ) -> Result<CallId, CallError> {
        let mut iov = self.iov(payload);
        let before = iov.len();
        let call = self.session.call(&mut self.wire, method, metadata, &mut iov, deadline, user);
        assert_eq!(iov.len(), if call.is_ok() { 0 } else { before }, "drained or untouched");
        call
    }

    pub(super) fn iov(&self, payload: &[u8]) -> FragVec {
        payload.chunks(1900).map(|part| Frag::from(self.received(part))).collect()
    }

    pub(super) fn reply_detached(&mut self, name: DetachedReply, payload: &[u8]) -> Result<(), ReplyError> {
        let mut iov = self.iov(payload);
        self.session.cx(&mut self.wire).reply_detached(name, Status::OK, b"later", &mut iov)
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        self.wire.now = now;
        self.session.handle_timeout(now, &mut self.wire, &mut self.app);
    }

    pub(super) fn closed(&mut self, maybe_executed: bool) {
        self.wire.refuse = Some(StreamError::Closed);
        self.session.handle_closed(maybe_executed, &mut self.wire, &mut self.app);
    }

    /// Everything given back?
    pub(super) fn objs(&self) -> usize {
        self.rx.outstanding() + self.wire.pool.outstanding()
    }
}

pub(super) struct Pair {
    pub(super) a: End,
    pub(super) b: End,
}

/// Moves what `from` sent to `to`, in chunks of at most `size` bytes.
pub(super) fn carry(from: &mut End, to: &mut End, size: usize) {
    let bytes = from.wire.bytes();
    from.wire.out.clear();
    for chunk in bytes.chunks(size) {
        to.handle(chunk).unwrap();
    }
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(SessionConfig::DEFAULT, 4)
    }

    pub(super) fn with(config: SessionConfig, slots: usize) -> Self {
        Self { a: End::new(config, slots), b: End::new(config, slots) }
    }

    /// Until nobody has anything to say.
    pub(super) fn settle(&mut self, size: usize) {
        while !(self.a.wire.out.is_empty() && self.b.wire.out.is_empty()) {
            carry(&mut self.a, &mut self.b, size);
            carry(&mut self.b, &mut self.a, size);
        }
    }
}

/// A pattern that shows misplaced bytes.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0]).collect()
}
