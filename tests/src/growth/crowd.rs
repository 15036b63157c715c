//! Many connections between two stacks, an RPC session on each, and one request at a time, each on another connection.

use core::net::SocketAddr;

use luna_core::nic::{NicQueue, QueueStats};
use luna_core::rpc::{CallSlot, DetachedSlot, Handler, Session, SessionConfig};
use luna_core::stack::{App, Bind, Closed, ConnId, ConnStream, Connect, Cx, Retained};
use luna_core::time::Duration;
use luna_core::zbuf::{Zbuf, ZbufMut};
use luna_host::storage::Capacity;

use crate::echo::{EchoClient, EchoServer, STEP};
use crate::memory;
use crate::pair::{End, LinkConfig, PORT, Pair, PlainQueue};
use crate::scenario::{Answer, Report, pattern};

/// Ports that the server listens on: two addresses and one of them make at most 64 k connections.
const LISTENERS: usize = 4;
/// Handshakes under way at one time.
const AT_ONCE: usize = 64;
/// From one connection to the next: not its neighbour in any table. Prime, so that every connection has its turn.
const STRIDE: usize = 7919;

/// One end: a session for each connection, in the order of the stack's table.
pub struct Members<H> {
    sessions: Vec<Session<'static>>,
    conns: Vec<Option<ConnId>>,
    open: usize,
    handler: H,
    /// Connections in the order in which they are asked; empty at the end that answers.
    order: Vec<usize>,
    turn: usize,
    /// Requests still to be asked.
    left: u64,
    verify: bool,
    /// Time between an answer and the next request, long enough for every timer of the connection to have fired; zero: the
    /// callback of the answer sends it.
    pause: Duration,
}

impl<H> Members<H> {
    fn new(n: usize, handler: H) -> Self {
        let mut calls = &mut Vec::leak(vec![CallSlot::default(); n])[..];
        let mut detached = &mut Vec::leak(vec![DetachedSlot::default(); n])[..];
        let sessions = (0..n).map(|_| {
            let (call, rest) = core::mem::take(&mut calls).split_at_mut(1);
            calls = rest;
            let (slot, rest) = core::mem::take(&mut detached).split_at_mut(1);
            detached = rest;
            Session::new(SessionConfig::DEFAULT, call, slot).expect("the default limits")
        });
        let sessions = sessions.collect();
        let conns = vec![None; n];
        Self {
            sessions,
            conns,
            open: 0,
            handler,
            order: Vec::new(),
            turn: 0,
            left: 0,
            verify: false,
            pause: Duration::ZERO,
        }
    }

    /// Only these are asked from now on, one after the other.
    pub(super) fn ask_only(&mut self, order: Vec<usize>) {
        (self.order, self.turn) = (order, 0);
    }

    /// Connections open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    fn opened(&mut self, conn: ConnId) {
        self.conns[conn.slot() as usize] = Some(conn);
        self.open += 1;
    }
}

impl Members<EchoClient> {
    /// The next request, on the next connection.
    #[inline]
    fn ask<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>) {
        let slot = self.order[self.turn];
        self.turn = if self.turn + 1 == self.order.len() { 0 } else { self.turn + 1 };
        let conn = self.conns[slot].expect("all are open");
        self.left -= 1;
        // One at a time: or the response would send the next, on its own connection.
        self.handler.begin(1, self.verify);
        self.handler.call(&mut self.sessions[slot].cx(&mut ConnStream { cx, conn }), 0);
    }
}

/// What a member does once a callback of its session is over.
trait Next<Q: NicQueue>: Sized {
    fn next(members: &mut Members<Self>, cx: &mut Cx<'_, '_, Q>);
}

impl<Q: NicQueue> Next<Q> for EchoClient {
    #[inline(always)]
    fn next(members: &mut Members<Self>, cx: &mut Cx<'_, '_, Q>) {
        if members.left > 0 && members.handler.outstanding() == 0 && members.pause.is_zero() {
            members.ask(cx);
        }
    }
}

impl<Q: NicQueue> Next<Q> for EchoServer {
    #[inline(always)]
    fn next(_: &mut Members<Self>, _: &mut Cx<'_, '_, Q>) {}
}

impl<Q: NicQueue, H: Handler + Next<Q>> App<Q> for Members<H> {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId, _: u64, _: SocketAddr) {
        self.opened(conn);
    }

    fn on_connected(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.opened(conn);
    }

    #[inline(always)]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        match self.sessions[conn.slot() as usize].try_keep(data) {
            Ok(more) => Retained(more),
            Err(data) => self.handle_data(cx, conn, data),
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let Self { sessions, handler, .. } = self;
        sessions[conn.slot() as usize].handle_writable(&mut ConnStream { cx, conn }, handler);
    }

    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        panic!("a connection ended: {}", closed.reason);
    }
}

impl<H: Handler> Members<H> {
    /// What is not only to be kept.
    #[inline(never)]
    fn handle_data<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained
    where
        H: Next<Q>,
    {
        let Self { sessions, handler, .. } = self;
        let session = &mut sessions[conn.slot() as usize];
        let before = session.held();
        session.handle_data(data, &mut ConnStream { cx, conn }, handler).expect("the other end speaks the protocol");
        let more = session.held().wrapping_sub(before);
        H::next(self, cx);
        if (more as i32) < 0 {
            cx.release(conn, more.wrapping_neg()).expect("the connection is alive");
            return Retained(0);
        }
        Retained(more)
    }
}

/// Both ends.
pub(super) type Ends = Pair<PlainQueue, Members<EchoClient>, Members<EchoServer>>;

/// The applications of both, with room for `n` connections; requests are of `size` bytes.
pub(super) fn members(n: usize, size: u32) -> (Members<EchoClient>, Members<EchoServer>) {
    (Members::new(n, EchoClient::new(vec![payload(size)], Answer::Echo)), Members::new(n, EchoServer::Echo))
}

/// `rpcs` echoes, one after the other.
pub(super) fn run(pair: &mut Ends, rpcs: u64, verify: bool) {
    let Pair { now, a: End { stack, app, .. }, .. } = pair;
    (app.left, app.verify) = (rpcs, verify);
    app.ask(&mut stack.cx(*now));
    let mut idle = 0;
    while pair.a.app.left + pair.a.app.handler.outstanding() > 0 {
        idle = if pair.turn() { idle + 1 } else { 0 };
        assert!(idle < 1_000_000, "the echo hangs");
        pair.advance(STEP);
        if pair.a.app.left > 0 && pair.a.app.handler.outstanding() == 0 {
            pause(pair);
        }
    }
}

/// The acknowledgment of the answer has left, alone. Every timer fires in the turn that sends the next request.
#[inline(never)]
fn pause(pair: &mut Ends) {
    pair.advance(pair.a.app.pause);
    let Pair { now, a: End { stack, app, .. }, .. } = pair;
    app.ask(&mut stack.cx(*now));
}

/// What happened so far, with payloads of `size`.
pub(super) fn report(pair: &Ends, size: u32) -> Report {
    let Pair { a, b, .. } = pair;
    let rpcs = a.app.handler.done();
    let frames = |stats: Option<QueueStats>| stats.unwrap_or_default().tx_frames;
    Report {
        rpcs,
        frames: frames(a.stack.queue_stats(a.path)) + frames(b.stack.queue_stats(b.path)),
        payload: 2 * rpcs * u64::from(size),
        copied: a.stack.copies().small.bytes + b.stack.copies().small.bytes,
        fast_path: a.stack.counters().fast_path + b.stack.counters().fast_path,
    }
}

/// The pair of stacks with all their connections.
pub struct Crowd {
    pair: Ends,
    size: u32,
}

/// Payload that a client asks with.
fn payload(size: u32) -> Zbuf {
    let obj = size.max(64).next_multiple_of(64);
    let pool = memory::pool((obj as usize).div_ceil(1 << 20) + 1, obj);
    let mut buf: ZbufMut = pool.alloc().expect("a fresh pool");
    let bytes = buf.append(size).expect("objs of the payload's size");
    bytes.iter_mut().enumerate().for_each(|(i, b)| *b = pattern(0, i));
    buf.freeze()
}

impl Crowd {
    /// Opens `n` connections; requests are of `size` bytes and come back as they are.
    ///
    /// # Panics
    /// When they do not come about.
    #[must_use]
    pub fn new(n: usize, size: u32) -> Self {
        let plain = LinkConfig::new(1500, true);
        let capacity = Capacity { connections: n, listeners: LISTENERS, recoveries: 16, controls: 0, ..plain.capacity };
        let link = LinkConfig { capacity, ..plain };
        let mut pair = Pair::new(&link, members(n, size), |queue| queue);
        let to = pair.address_of_b();
        for i in 0..LISTENERS {
            let bind = Bind { backlog: u32::MAX, ..Bind::port(PORT + i as u16) };
            pair.b.stack.cx(pair.now).listen(bind, 0).expect("room for a listener");
        }
        let mut begun = 0;
        while begun < n {
            let mut cx = pair.a.stack.cx(pair.now);
            let more = AT_ONCE.min(n - begun);
            for i in begun..begun + more {
                let remote = (to.ip(), PORT + (i % LISTENERS) as u16).into();
                cx.connect(Connect { ports: 1024..=65535, ..Connect::to(remote) }).expect("room for a connection");
            }
            begun += more;
            pair.settle();
            pair.advance(STEP);
        }
        assert_eq!((pair.a.app.open(), pair.b.app.open()), (n, n), "all are open at both ends");
        // Whatever divides the number of connections: each has its turn once in a round.
        let stride = (STRIDE..).find(|s| gcd(*s, n) == 1).expect("there is always one");
        pair.a.app.ask_only((0..n).map(|i| i * stride % n).collect());
        Self { pair, size }
    }

    /// Lets so much time pass between an answer and the next request, as passes on each of many connections.
    pub fn pause(&mut self, pause: Duration) {
        self.pair.a.app.pause = pause;
    }

    /// `rpcs` echoes, one after the other, each on the next connection.
    pub fn run(&mut self, rpcs: u64) {
        run(&mut self.pair, rpcs, false);
    }

    /// The same, with every byte that comes back compared.
    pub fn run_verified(&mut self, rpcs: u64) {
        run(&mut self.pair, rpcs, true);
    }

    /// What happened since the connections were opened.
    #[must_use]
    pub fn report(&self) -> Report {
        report(&self.pair, self.size)
    }

    /// Connections that a request was answered on.
    #[must_use]
    pub fn used(&self) -> usize {
        self.pair.b.app.sessions.iter().filter(|s| s.counters().requests > 0).count()
    }

    /// Panics unless all went as in a lossless network with everything in use.
    ///
    /// # Panics
    /// See above.
    pub fn assert_healthy(&mut self) {
        let Pair { now, a, b, .. } = &mut self.pair;
        for slot in [0, a.app.conns.len() / 2, a.app.conns.len() - 1] {
            let conn = a.app.conns[slot].expect("open");
            let info = a.stack.cx(*now).info(conn).expect("still open");
            assert!(info.timestamps && info.sack && info.window_scale.0 > 0, "{info:?}");
            assert!(info.srtt.as_nanos() > 0, "round trips are measured: {info:?}");
        }
        for c in [a.stack.counters(), b.stack.counters()] {
            assert_eq!((c.retransmits, c.rtos, c.syn_retransmits, c.out_of_order, c.duplicates), (0, 0, 0, 0, 0));
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_evenly_and_come_back_whole() {
        for (n, size) in [(1, 4096), (7, 64), (500, 4096), (7919, 64)] {
            let mut crowd = Crowd::new(n, size);
            crowd.run_verified(2 * n as u64);
            assert_eq!(crowd.used(), n, "every connection had its turn");
            let each = crowd.pair.b.app.sessions.iter().map(|s| s.counters().requests);
            assert!(each.clone().all(|r| r == 2), "and no more of them than the others");
            crowd.pause(Duration::from_millis(2));
            crowd.run(10);
            assert_eq!(crowd.report().rpcs, 2 * n as u64 + 10);
            crowd.assert_healthy();
        }
    }
}
