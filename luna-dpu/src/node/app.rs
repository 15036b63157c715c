//! The node as the stack's application: a session for each connection, echo behind those that came, the benchmark behind
//! the one that we opened.

use core::net::SocketAddr;

use luna_core::nic::NicQueue;
use luna_core::rpc::{
    ByteStream, CallId, CallSlot, DetachedReply, DetachedSlot, Handler, ReplyError, Request, Response, RpcError,
    Session, SessionConfig, SessionCx, Status,
};
use luna_core::stack::{App, Closed, ConnId, ConnStream, Cx, Retained};
use luna_core::zbuf::Zbuf;

use super::bench::Bench;
use super::bench_types::{BenchError, ECHO};
use crate::arena::Arena;

/// Payloads that wait for room to answer, of one connection.
pub(super) const PARKED: usize = 16;
/// A user number that no lane has.
const NOBODY: u64 = u64::MAX;

/// Memory of one connection's session.
#[derive(Default)]
pub struct Lane {
    open: Option<Open>,
    calls: Option<&'static mut [CallSlot]>,
    detached: Option<&'static mut [DetachedSlot]>,
}

struct Open {
    conn: ConnId,
    session: Session<'static>,
    charged: u32,
    parked: Echo,
    ours: bool,
    finished: bool,
}

impl Open {
    /// Answers wait for room: the echo's, or the session's own.
    fn waits(&self) -> bool {
        !self.parked.parked.is_empty() || self.session.poll_deadline().is_some()
    }
}

/// The sessions of one core.
pub struct Sessions {
    lanes: &'static mut [Lane],
}

impl Sessions {
    /// Memory for `count` connections, each with `calls` calls of ours in flight.
    pub fn new(arena: &mut Arena, count: usize, calls: usize) -> Option<Self> {
        let lanes = arena.slice::<Lane>(count)?;
        for lane in lanes.iter_mut() {
            lane.calls = Some(arena.slice(calls)?);
            lane.detached = Some(arena.slice(PARKED)?);
        }
        Some(Self { lanes })
    }
}

/// The echo service of one connection: an answer that finds no room waits.
#[derive(Default)]
struct Echo {
    parked: heapless::Deque<(DetachedReply, luna_core::rpc::FragVec), PARKED>,
    served: u64,
}

impl Echo {
    /// Answers what waits, oldest first.
    fn retry<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) {
        while let Some((reply, mut payload)) = self.parked.pop_front() {
            match cx.reply_detached(reply, Status::OK, &[], &mut payload) {
                Err(ReplyError::Stream(_) | ReplyError::NoObj) => {
                    let _ = self.parked.push_front((reply, payload));
                    return;
                }
                // Sent, or nobody waits for it.
                _ => self.served += 1,
            }
        }
    }
}

impl Handler for Echo {
    #[inline]
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, mut request: Request<'_>) {
        if request.method != ECHO {
            // The session answers in our stead should this fail.
            let _ = cx.reply_status(Status::NO_METHOD);
            return;
        }
        if self.parked.is_empty() && cx.reply_payload(Status::OK, &[], &mut request.payload).is_ok() {
            self.served += 1;
            return;
        }
        // No room: the client is told by the session when there is no room for that either.
        if let Ok(reply) = cx.detach() {
            let payload = core::mem::take(request.payload.into_frags());
            let _ = self.parked.push_back((reply, payload));
        }
    }

    fn on_response<S: ByteStream>(
        &mut self,
        _: &mut SessionCx<'_, '_, S>,
        _: CallId,
        _: u64,
        _: Result<Response<'_>, RpcError>,
    ) {
        // A server calls nobody.
    }

    fn on_cancel<S: ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>, reply: DetachedReply) {
        let mut kept = heapless::Deque::new();
        while let Some(entry) = self.parked.pop_front() {
            if entry.0 != reply {
                // As many as there were, at most.
                let _ = kept.push_back(entry);
            }
        }
        self.parked = kept;
    }
}

/// The application.
pub(super) struct NodeApp {
    lanes: &'static mut [Lane],
    pub(super) bench: Option<Bench>,
    /// Connections that have come and gone.
    pub(super) gone: u32,
    /// Requests answered by connections that are gone.
    pub(super) served: u64,
    pub(super) refused: u64,
    pub(super) protocol_errors: u64,
    /// The benchmark's connection is over.
    pub(super) bench_closed: bool,
    /// Something waits for room or for the other side's end.
    restless: bool,
}

impl NodeApp {
    pub(super) fn new(sessions: Sessions, bench: Option<Bench>) -> Self {
        Self {
            lanes: sessions.lanes,
            bench,
            gone: 0,
            served: 0,
            refused: 0,
            protocol_errors: 0,
            bench_closed: false,
            restless: false,
        }
    }

    /// Requests answered so far.
    pub(super) fn served(&self) -> u64 {
        self.served + self.lanes.iter().filter_map(|l| l.open.as_ref()).map(|o| o.parked.served).sum::<u64>()
    }

    /// A lane for a connection; its number.
    pub(super) fn open(&mut self, conn: ConnId, ours: bool) -> Option<u64> {
        let i = self.lanes.iter().position(|l| l.open.is_none() && l.calls.is_some())?;
        let lane = self.lanes.get_mut(i)?;
        let config = SessionConfig { tag: i as u16, ..SessionConfig::DEFAULT };
        let session = Session::new(config, lane.calls.take()?, lane.detached.take()?).ok()?;
        lane.open = Some(Open { conn, session, charged: 0, parked: Echo::default(), ours, finished: false });
        Some(i as u64)
    }

    /// Sends what waits, and ends what is done. Once every turn.
    pub(super) fn poll<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>) {
        let busy = self.restless || self.bench.is_some();
        if !busy {
            return;
        }
        self.restless = false;
        let Self { lanes, bench, restless, .. } = self;
        for open in lanes.iter_mut().filter_map(|l| l.open.as_mut()) {
            let now = cx.now();
            let stream = &mut ConnStream { cx, conn: open.conn };
            if let Some(bench) = bench.as_mut().filter(|_| open.ours) {
                if open.session.poll_deadline().is_some_and(|at| at <= now) {
                    open.session.handle_timeout(now, stream, bench);
                }
                bench.fill(&mut open.session.cx(stream));
                if bench.is_over() && !open.finished {
                    open.finished = true;
                    let _ = if bench.failure().is_some() { cx.abort(open.conn) } else { cx.shutdown(open.conn) };
                }
                continue;
            }
            if open.session.poll_deadline().is_some_and(|at| at <= now) {
                open.session.handle_timeout(now, stream, &mut open.parked);
            }
            open.parked.retry(&mut open.session.cx(stream));
            let waits = open.waits();
            if open.finished && !waits && open.session.is_idle() {
                let _ = cx.shutdown(open.conn);
            } else {
                *restless |= waits || open.finished;
            }
        }
    }

    /// Takes the user number's lane, if it is that connection's.
    #[inline(always)]
    fn lane(lanes: &mut [Lane], user: u64) -> Option<&mut Open> {
        lanes.get_mut(usize::try_from(user).ok()?)?.open.as_mut()
    }
}

impl<Q: NicQueue> App<Q> for NodeApp {
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, _: u64, _: SocketAddr) {
        match self.open(conn, false) {
            Some(user) => {
                let _ = cx.set_user(conn, user);
            }
            None => {
                self.refused += 1;
                let _ = cx.set_user(conn, NOBODY);
                let _ = cx.abort(conn);
            }
        }
    }

    fn on_connected(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId) {
        if let Some(bench) = &mut self.bench {
            bench.begin();
        }
    }

    #[inline]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        let user = cx.user(conn).unwrap_or(NOBODY);
        let Self { lanes, bench, restless, protocol_errors, .. } = self;
        let Some(open) = Self::lane(lanes, user) else { return Retained::NOTHING };
        let data = match open.session.try_keep(data) {
            Ok(more) => {
                open.charged += more;
                return Retained(more);
            }
            Err(data) => data,
        };
        let mut stream = ConnStream { cx, conn };
        let taken = match bench.as_mut().filter(|_| open.ours) {
            Some(bench) => open.session.handle_data(data, &mut stream, bench),
            None => open.session.handle_data(data, &mut stream, &mut open.parked),
        };
        if taken.is_err() {
            *protocol_errors += 1;
            let _ = cx.abort(conn);
            return Retained::NOTHING;
        }
        *restless |= open.waits();
        let (held, before) = (open.session.held(), open.charged);
        open.charged = held;
        if held < before {
            let _ = cx.release(conn, before - held);
        }
        Retained(held.saturating_sub(before))
    }

    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let user = cx.user(conn).unwrap_or(NOBODY);
        if let Some(open) = Self::lane(self.lanes, user) {
            if !open.ours {
                open.finished = true;
            }
            self.restless = true;
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let user = cx.user(conn).unwrap_or(NOBODY);
        if let Some(open) = Self::lane(self.lanes, user).filter(|open| !open.ours) {
            open.session.handle_writable(&mut ConnStream { cx, conn }, &mut open.parked);
        }
        self.restless = true;
    }

    fn on_closed(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, closed: Closed) {
        let of_conn = |l: &&mut Lane| l.open.as_ref().is_some_and(|o| o.conn == conn);
        let Some(lane) = self.lanes.iter_mut().find(of_conn) else { return };
        let Some(mut open) = lane.open.take() else { return };
        let mut stream = ConnStream { cx, conn };
        match self.bench.as_mut().filter(|_| open.ours) {
            Some(bench) => {
                if !bench.is_over() {
                    bench.fail(BenchError::Closed(closed.reason));
                }
                open.session.handle_closed(closed.maybe_delivered, &mut stream, bench);
                self.bench_closed = true;
            }
            None => {
                open.session.handle_closed(closed.maybe_delivered, &mut stream, &mut open.parked);
                self.served += open.parked.served;
                self.gone += 1;
            }
        }
        let (calls, detached) = open.session.into_slots();
        lane.calls = Some(calls);
        lane.detached = Some(detached);
    }
}
