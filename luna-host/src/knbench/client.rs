//! The benchmark's client: some connections, each a closed loop of `iodepth` requests.

use core::net::SocketAddr;
use core::time::Duration;
use std::time::Instant;

use luna_core::rpc::{
    ByteStream, CallError, CallId, FragVec, Handler, Request, Response, RpcError, SessionConfig, SessionCx, Status,
    StreamError,
};
use luna_core::zbuf::{Frag, Pool, Zbuf};

use super::stats::Latencies;
use crate::client::{CONNECT_PATIENCE, ClientError, LINGER};
use crate::link::{Closed, ConnKey, ConnectError, Endpoint, Transport};
use crate::pattern;
use crate::peer::{Peer, Tables};
use crate::report::Counters;
use crate::server::session_counters;
use crate::service::wire;

/// Largest message: what a session hands over whole.
pub const MAX_SIZE: u32 = luna_core::rpc::MAX_GATHER;
/// How long one request may take.
const DEADLINE: luna_core::time::Duration = luna_core::time::Duration::from_secs(10);
/// How long the end may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnbenchConfig {
    /// The server.
    pub remote: SocketAddr,
    /// Payload bytes each way, 1 to [`MAX_SIZE`].
    pub size: u32,
    /// Requests in flight per connection.
    pub iodepth: u32,
    /// Connections.
    pub connections: u32,
    /// How long to run before it counts.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// Compare every response with its request.
    pub verify: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Start,
    Connecting(Instant),
    Warmup(Instant),
    Measure(Instant),
    /// Nothing new is sent.
    Drain(Instant),
    /// The last acknowledgments leave.
    Linger(Instant),
    Over,
}

/// One of the `iodepth` requests of a connection.
#[derive(Clone, Copy)]
struct Ticket {
    sent: Instant,
    seed: u64,
}

struct Lane {
    peer: Option<Box<Peer>>,
    tickets: Vec<Ticket>,
    /// Tickets that found no room.
    waiting: Vec<u32>,
    up: bool,
}

/// What all lanes share.
struct Shared {
    config: KnbenchConfig,
    pool: &'static Pool,
    /// The payload of every request, unless each has its own to be verified.
    common: Vec<Zbuf>,
    phase: Phase,
    latencies: Latencies,
    completed: u64,
    errors: u64,
    next_seed: u64,
    failure: Option<ClientError>,
    in_flight: u64,
}

/// The benchmark's client.
pub struct Knbench {
    shared: Shared,
    lanes: Vec<Lane>,
    measured: Duration,
    ended: Counters,
}

/// The handler of one connection's session.
struct LaneVisit<'a> {
    shared: &'a mut Shared,
    tickets: &'a mut [Ticket],
    waiting: &'a mut Vec<u32>,
}

impl Knbench {
    /// Will run `config`, with payload in objs of `pool`.
    ///
    /// # Errors
    /// When the pool cannot hold one message.
    pub fn new(config: KnbenchConfig, pool: &'static Pool) -> Result<Self, ClientError> {
        let common = payload(pool, config.size, 0).ok_or(ConnectError::Exhausted("payload memory"))?;
        let lane = || Lane {
            peer: None,
            tickets: vec![Ticket { sent: Instant::now(), seed: 0 }; config.iodepth as usize],
            waiting: Vec::with_capacity(config.iodepth as usize),
            up: false,
        };
        Ok(Self {
            lanes: (0..config.connections).map(|_| lane()).collect(),
            shared: Shared {
                config,
                pool,
                common,
                phase: Phase::Start,
                latencies: Latencies::new(),
                completed: 0,
                errors: 0,
                next_seed: 1,
                failure: None,
                in_flight: 0,
            },
            measured: Duration::ZERO,
            ended: Counters::new(),
        })
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.phase == Phase::Over
    }

    /// Requests completed so far, the warm-up's included.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.shared.completed
    }

    /// How much of the run is done, from 0 to 1; `None` while connecting.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        let KnbenchConfig { warmup, duration, .. } = self.shared.config;
        let all = (warmup + duration).as_secs_f64().max(1e-9);
        match self.shared.phase {
            Phase::Start | Phase::Connecting(_) => None,
            Phase::Warmup(since) => Some((since.elapsed().as_secs_f64() / all).min(1.0)),
            Phase::Measure(since) => Some(((warmup + since.elapsed()).as_secs_f64() / all).min(1.0)),
            Phase::Drain(_) | Phase::Linger(_) | Phase::Over => Some(1.0),
        }
    }

    /// Ends the run early; what was measured until now counts.
    pub fn stop(&mut self) {
        if let Phase::Measure(since) = self.shared.phase {
            self.measured = since.elapsed();
        }
        if !matches!(self.shared.phase, Phase::Over | Phase::Linger(_) | Phase::Drain(_)) {
            self.shared.phase = Phase::Drain(Instant::now());
        }
    }

    /// What was measured: latencies, in what time, requests that failed, and the sessions' counters.
    ///
    /// # Errors
    /// Why the run was cut short.
    pub fn finish(self) -> Result<(Latencies, Duration, u64, Counters), ClientError> {
        let mut counters = self.ended;
        for peer in self.lanes.iter().filter_map(|l| l.peer.as_ref()) {
            counters.add(&session_counters(peer.session.counters()));
        }
        match self.shared.failure {
            Some(e) => Err(e),
            None => Ok((self.shared.latencies, self.measured, self.shared.errors, counters)),
        }
    }

    fn fail(&mut self, e: ClientError) {
        self.shared.failure.get_or_insert(e);
        self.stop();
    }

    fn connect<T: Transport>(&mut self, link: &mut T) {
        let iodepth = self.shared.config.iodepth as usize;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let peer = link.connect(self.shared.config.remote, i as u64).map_err(ClientError::from).and_then(|conn| {
                let config = SessionConfig { tag: i as u16, ..SessionConfig::DEFAULT };
                Peer::new(conn, config, Tables::new(iodepth, 0))
                    .map_err(|_| ConnectError::Exhausted("--iodepth is above a session's limit").into())
            });
            match peer {
                Ok(peer) => lane.peer = Some(Box::new(peer)),
                Err(e) => return self.fail(e),
            }
        }
    }

    fn begin<T: Transport>(&mut self, link: &mut T) {
        self.shared.phase = Phase::Warmup(Instant::now());
        for lane in &mut self.lanes {
            lane.waiting.extend(0..self.shared.config.iodepth);
        }
        self.fill(link);
    }

    /// Sends what found no room before.
    fn fill<T: Transport>(&mut self, link: &mut T) {
        if !matches!(self.shared.phase, Phase::Warmup(_) | Phase::Measure(_)) {
            return;
        }
        for lane in &mut self.lanes {
            let Lane { peer: Some(peer), tickets, waiting, .. } = lane else { continue };
            if waiting.is_empty() {
                continue;
            }
            let mut again = core::mem::take(waiting);
            let mut visit = LaneVisit { shared: &mut self.shared, tickets, waiting };
            let mut stream = link.stream(peer.conn);
            let mut cx = peer.session.cx(&mut stream);
            for ticket in again.drain(..) {
                visit.send(&mut cx, ticket);
            }
        }
    }

    fn tick<T: Transport>(&mut self, link: &mut T) {
        let KnbenchConfig { remote, warmup, duration, .. } = self.shared.config;
        match self.shared.phase {
            Phase::Start => {
                self.shared.phase = Phase::Connecting(Instant::now());
                self.connect(link);
            }
            Phase::Connecting(since) if since.elapsed() > CONNECT_PATIENCE => self.fail(ClientError::Silence(remote)),
            Phase::Connecting(_) if self.lanes.iter().all(|l| l.up) => self.begin(link),
            Phase::Warmup(since) if since.elapsed() >= warmup => {
                self.shared.latencies.clear();
                self.shared.errors = 0;
                self.shared.phase = Phase::Measure(Instant::now());
            }
            Phase::Measure(since) if since.elapsed() >= duration => self.stop(),
            Phase::Drain(since) => {
                if self.shared.in_flight == 0 || since.elapsed() > DRAIN_PATIENCE || self.shared.failure.is_some() {
                    for peer in self.lanes.iter().filter_map(|l| l.peer.as_ref()) {
                        match self.shared.failure {
                            Some(_) => link.abort(peer.conn),
                            None => link.shutdown(peer.conn),
                        }
                    }
                    if self.lanes.iter().all(|l| l.peer.is_none()) || since.elapsed() > DRAIN_PATIENCE {
                        self.shared.phase = Phase::Linger(Instant::now());
                    }
                }
            }
            Phase::Linger(since) if since.elapsed() > LINGER => self.shared.phase = Phase::Over,
            Phase::Connecting(_) | Phase::Warmup(_) | Phase::Measure(_) | Phase::Linger(_) | Phase::Over => {}
        }
    }
}

/// Objs with the pattern of `seed`; `None` when memory is short.
fn payload(pool: &Pool, size: u32, seed: u64) -> Option<Vec<Zbuf>> {
    let mut bytes = vec![0; size as usize];
    pattern::fill(&mut bytes, seed);
    let mut pieces = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let mut obj = pool.alloc()?;
        let n = obj.set_len(rest.len() as u32) as usize;
        let (piece, others) = rest.split_at_checked(n)?;
        obj.copy_from_slice(piece);
        pieces.push(obj.freeze());
        rest = others;
    }
    Some(pieces)
}

/// Whether a response is what was sent.
fn is_right(payload: &[Frag], size: u32, seed: Option<u64>) -> bool {
    let len: u64 = payload.iter().map(|p| u64::from(p.len())).sum();
    let Some(seed) = seed else { return len == u64::from(size) };
    let mut at = 0;
    len == u64::from(size)
        && payload.iter().all(|piece| {
            let start = at;
            at += piece.len() as usize;
            piece.bytes().is_some_and(|bytes| pattern::matches(bytes, seed, start))
        })
}

impl LaneVisit<'_> {
    #[inline]
    fn send<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, ticket: u32) {
        let Some(slot) = self.tickets.get_mut(ticket as usize) else { return };
        let mut out = FragVec::new();
        let fresh;
        let pieces = if self.shared.config.verify {
            slot.seed = self.shared.next_seed;
            self.shared.next_seed += 1;
            match payload(self.shared.pool, self.shared.config.size, slot.seed) {
                Some(pieces) => {
                    fresh = pieces;
                    &fresh
                }
                None => return self.waiting.push(ticket),
            }
        } else {
            &self.shared.common
        };
        for piece in pieces {
            if out.push(Frag::from(piece.clone())).is_err() {
                break;
            }
        }
        slot.sent = Instant::now();
        match cx.call(wire::ECHO, &[], &mut out, Some(DEADLINE), u64::from(ticket)) {
            Ok(_) => self.shared.in_flight += 1,
            Err(CallError::Stream(StreamError::Full) | CallError::NoObj | CallError::TooManyInFlight) => {
                self.waiting.push(ticket);
            }
            // The connection's end is told by itself.
            Err(CallError::Stream(StreamError::Closed)) => self.shared.errors += 1,
            Err(why) => {
                self.shared.errors += 1;
                self.shared.failure.get_or_insert(ClientError::NotSent { what: "an echo", why });
            }
        }
    }
}

impl Handler for LaneVisit<'_> {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _request: Request<'_>) {
        // The session answers in our stead should this fail.
        let _ = cx.reply_status(Status::NO_METHOD);
    }

    #[inline]
    fn on_response<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        _call: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        let Some(ticket) = self.tickets.get(user as usize) else { return };
        let shared = &mut *self.shared;
        let seed = shared.config.verify.then_some(ticket.seed);
        shared.in_flight -= 1;
        match result {
            Ok(r) if r.status.is_ok() && is_right(r.payload, shared.config.size, seed) => {
                shared.completed += 1;
                shared.latencies.record(ticket.sent.elapsed().as_nanos() as u64);
            }
            // Told once, by the connection's end.
            Err(RpcError::ConnectionLost { .. }) => {
                shared.errors += 1;
                return;
            }
            Ok(r) if !r.status.is_ok() => {
                shared.failure.get_or_insert(ClientError::Refused {
                    what: "an echo",
                    status: r.status,
                    message: String::from_utf8_lossy(r.metadata).into_owned(),
                });
            }
            Ok(_) => {
                shared.errors += 1;
                shared.failure.get_or_insert(ClientError::Nonsense("an echo"));
            }
            Err(why) => {
                shared.errors += 1;
                shared.failure.get_or_insert(ClientError::Call { what: "an echo", why });
            }
        }
        if matches!(self.shared.phase, Phase::Warmup(_) | Phase::Measure(_)) {
            self.send(cx, user as u32);
        }
    }
}

impl Endpoint for Knbench {
    fn on_accepted<T: Transport>(&mut self, _link: &mut T, _conn: ConnKey, _remote: SocketAddr) -> Option<u64> {
        None
    }

    fn on_connected<T: Transport>(&mut self, _link: &mut T, _conn: ConnKey, user: u64) {
        if let Some(lane) = self.lanes.get_mut(user as usize) {
            lane.up = true;
        }
    }

    #[inline]
    fn on_data<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64, data: Zbuf) -> u32 {
        let Some(Lane { peer: Some(peer), tickets, waiting, .. }) = self.lanes.get_mut(user as usize) else {
            return 0;
        };
        let mut visit = LaneVisit { shared: &mut self.shared, tickets, waiting };
        match peer.on_data(link, data, &mut visit) {
            Ok(kept) => kept,
            Err(e) => {
                log::error!("connection aborted: {e}");
                link.abort(conn);
                0
            }
        }
    }

    fn on_fin<T: Transport>(&mut self, link: &mut T, conn: ConnKey, _user: u64) {
        link.shutdown(conn);
    }

    fn on_writable<T: Transport>(&mut self, _link: &mut T, _conn: ConnKey, _user: u64) {
        // Every turn tries again what found no room.
    }

    fn on_closed<T: Transport>(&mut self, link: &mut T, conn: ConnKey, closed: Closed) {
        let of_conn = |lane: &&mut Lane| lane.peer.as_ref().is_some_and(|peer| peer.conn == conn);
        let Some(lane) = self.lanes.iter_mut().find(of_conn) else { return };
        let up = lane.up;
        if let Some(mut peer) = lane.peer.take() {
            let mut visit =
                LaneVisit { shared: &mut self.shared, tickets: &mut lane.tickets, waiting: &mut lane.waiting };
            peer.on_closed(link, closed.maybe_delivered, &mut visit);
            self.ended.add(&session_counters(peer.session.counters()));
        }
        if !matches!(self.shared.phase, Phase::Drain(_) | Phase::Linger(_) | Phase::Over) {
            let (remote, why) = (self.shared.config.remote, closed.kind);
            self.fail(if up { ClientError::Lost { remote, why } } else { ClientError::Connect { remote, why } });
        }
    }

    #[inline]
    fn poll<T: Transport>(&mut self, link: &mut T) {
        if self.shared.failure.is_some() {
            self.stop();
        }
        self.tick(link);
        self.fill(link);
        for lane in &mut self.lanes {
            let Lane { peer: Some(peer), tickets, waiting, .. } = lane else { continue };
            peer.poll(link, &mut LaneVisit { shared: &mut self.shared, tickets, waiting });
        }
    }
}
