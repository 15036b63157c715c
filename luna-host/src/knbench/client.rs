//! The benchmark's client: some connections of one thread, and the phases of a run.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use luna_core::rpc::SessionConfig;
use luna_core::zbuf::{Pool, Zbuf};

use super::gate::Gate;
use super::lane::{Counting, Lane, LaneVisit, Shared};
use super::load::{Load, Schedule};
use super::payload;
use super::stats::Latencies;
use crate::client::{CONNECT_PATIENCE, ClientError, LINGER};
use crate::link::{Closed, ConnKey, ConnectError, Endpoint, Transport};
use crate::machine;
use crate::peer::{Peer, Tables};
use crate::report::Counters;
use crate::server::session_counters;

/// Largest message: what a session hands over whole.
pub const MAX_SIZE: u32 = luna_core::rpc::MAX_GATHER;
/// How long the end may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// What one thread is to run.
#[derive(Clone, PartialEq, Debug)]
pub struct KnbenchConfig {
    /// The server's threads; connection `k` of thread `i` goes to number `i + k`, round and round.
    pub remotes: Vec<SocketAddr>,
    /// Which thread this is, from 0.
    pub thread: usize,
    /// Payload bytes each way, 1 to [`MAX_SIZE`].
    pub size: u32,
    /// Requests in flight per connection, at most.
    pub iodepth: u32,
    /// Connections of this thread.
    pub connections: u32,
    /// What makes requests leave.
    pub load: Load,
    /// How long to run before it counts.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// Compare every response with its request.
    pub verify: bool,
}

impl KnbenchConfig {
    pub(super) fn is_open(&self) -> bool {
        self.load != Load::Closed
    }

    fn remote(&self, lane: usize) -> Option<SocketAddr> {
        let n = self.remotes.len().max(1);
        self.remotes.get((self.thread + lane) % n).copied()
    }
}

/// What was measured by one thread.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of requests that were answered, and of those that were not until the end, how long that was at least.
    pub latencies: Latencies,
    /// In what time.
    pub elapsed: Duration,
    /// Requests that ended otherwise than with a right answer.
    pub errors: u64,
    /// Requests of an open loop that were due and had no answer when the run ended.
    pub unfinished: u64,
    /// What the sessions counted, the warm-up's included.
    pub counters: Counters,
    /// CPU time of the whole process in that time, user and system.
    pub cpu: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Start,
    Connecting(Instant),
    /// Connected; other threads may not be.
    Ready(Instant),
    Warmup(Instant),
    Measure(Instant),
    /// Nothing new is sent.
    Drain(Instant),
    /// The last acknowledgments leave.
    Linger(Instant),
    Over,
}

/// The benchmark's client.
pub struct Knbench {
    shared: Shared,
    lanes: Vec<Lane>,
    /// Where an open loop looks for a free ticket next.
    turn_of: usize,
    gate: Arc<Gate>,
    phase: Phase,
    measure_from: Option<Instant>,
    measured: Duration,
    cpu_before: Duration,
    cpu: Duration,
    unfinished: u64,
    ended: Counters,
}

impl Knbench {
    /// Will run `config`, with payload in objs of `pool`, once all threads of `gate` are connected.
    ///
    /// # Errors
    /// When the pool cannot hold one message.
    pub fn new(config: KnbenchConfig, pool: &'static Pool, gate: Arc<Gate>) -> Result<Self, ClientError> {
        let common = payload::make(pool, config.size, 0).ok_or(ConnectError::Exhausted("payload memory"))?;
        Ok(Self {
            lanes: (0..config.connections).map(|_| Lane::new(config.iodepth)).collect(),
            shared: Shared {
                config,
                pool,
                common,
                schedule: None,
                counting: Counting::No,
                sending: false,
                latencies: Latencies::new(),
                last_completion: None,
                completed: 0,
                errors: 0,
                next_seed: 1,
                failure: None,
                in_flight: 0,
            },
            turn_of: 0,
            gate,
            phase: Phase::Start,
            measure_from: None,
            measured: Duration::ZERO,
            cpu_before: Duration::ZERO,
            cpu: Duration::ZERO,
            unfinished: 0,
            ended: Counters::new(),
        })
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
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
        match self.phase {
            Phase::Start | Phase::Connecting(_) | Phase::Ready(_) => None,
            Phase::Warmup(since) => Some((since.elapsed().as_secs_f64() / all).min(1.0)),
            Phase::Measure(since) => Some(((warmup + since.elapsed()).as_secs_f64() / all).min(1.0)),
            Phase::Drain(_) | Phase::Linger(_) | Phase::Over => Some(1.0),
        }
    }

    /// Ends the run early; what was measured until now counts.
    pub fn stop(&mut self) {
        if matches!(self.phase, Phase::Over | Phase::Linger(_) | Phase::Drain(_)) {
            return;
        }
        let now = Instant::now();
        let mut end = now;
        if let Phase::Measure(since) = self.phase {
            // A turn may have been long.
            end = now.min(since + self.shared.config.duration);
            self.measured = now.duration_since(since);
            self.cpu = machine::process_cpu_time().saturating_sub(self.cpu_before);
        }
        self.shared.sending = false;
        self.shared.counting = match self.shared.counting {
            // What was due until then is still sent, and counts.
            Counting::Due(start, _) if self.shared.failure.is_none() => Counting::Due(start, Some(end)),
            _ => Counting::No,
        };
        if self.shared.counting == Counting::No {
            self.shared.schedule = None;
        }
        self.phase = Phase::Drain(now);
    }

    /// What was measured.
    ///
    /// # Errors
    /// Why the run was cut short.
    pub fn finish(self) -> Result<Outcome, ClientError> {
        let mut counters = self.ended;
        for peer in self.lanes.iter().filter_map(|l| l.peer.as_ref()) {
            counters.add(&session_counters(peer.session.counters()));
        }
        let Shared { failure, latencies, errors, last_completion, .. } = self.shared;
        if let Some(e) = failure {
            return Err(e);
        }
        // An open loop is over when the last of what was due is answered.
        let until_last = self.measure_from.zip(last_completion).map(|(from, last)| last.duration_since(from));
        let elapsed = until_last.unwrap_or_default().max(self.measured);
        Ok(Outcome { latencies, elapsed, errors, unfinished: self.unfinished, counters, cpu: self.cpu })
    }

    fn fail(&mut self, e: ClientError) {
        self.gate.fail();
        self.shared.failure.get_or_insert(e);
        self.stop();
    }

    fn connect<T: Transport>(&mut self, link: &mut T) {
        let config = &self.shared.config;
        let iodepth = config.iodepth as usize;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let connected = match config.remote(i) {
                Some(remote) => link.connect(remote, i as u64).map_err(ClientError::from),
                None => Err(ConnectError::Exhausted("no server's address").into()),
            };
            let peer = connected.and_then(|conn| {
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
        let now = Instant::now();
        self.phase = Phase::Warmup(now);
        let KnbenchConfig { load, iodepth, thread, .. } = self.shared.config;
        match load {
            Load::Closed => {
                self.shared.sending = true;
                self.lanes.iter_mut().for_each(|lane| lane.waiting.extend(0..iodepth));
            }
            Load::Open { rate, arrivals } => {
                self.shared.schedule = Some(Schedule::new(now, rate, arrivals, thread as u64));
                // The last is taken first.
                self.lanes.iter_mut().for_each(|lane| lane.free.extend((0..iodepth).rev()));
            }
        }
        self.fill(link);
    }

    fn measure(&mut self) {
        let now = Instant::now();
        self.phase = Phase::Measure(now);
        self.measure_from = Some(now);
        self.cpu_before = machine::process_cpu_time();
        self.shared.errors = 0;
        self.shared.counting =
            if self.shared.config.is_open() { Counting::Due(now, None) } else { Counting::Completions };
    }

    /// Sends what found no room before, and in an open loop what is due.
    #[inline]
    fn fill<T: Transport>(&mut self, link: &mut T) {
        let open = self.shared.schedule.is_some();
        if !self.shared.sending && !self.shared.config.is_open() {
            return;
        }
        for lane in &mut self.lanes {
            let Lane { peer: Some(peer), tickets, waiting, free, .. } = lane else { continue };
            if waiting.is_empty() {
                continue;
            }
            let mut again = core::mem::take(waiting);
            let mut visit = LaneVisit { shared: &mut self.shared, tickets, waiting, free };
            let mut stream = link.stream(peer.conn);
            let mut cx = peer.session.cx(&mut stream);
            for ticket in again.drain(..) {
                visit.send(&mut cx, ticket, None);
            }
        }
        if open {
            self.send_due(link);
        }
    }

    /// An open loop's requests that are due, connection after connection, while there are free tickets.
    fn send_due<T: Transport>(&mut self, link: &mut T) {
        let now = Instant::now();
        let mut full = 0;
        while full < self.lanes.len() {
            let at = self.turn_of % self.lanes.len();
            self.turn_of = at + 1;
            let Some(lane) = self.lanes.get_mut(at) else { return };
            let Lane { peer: Some(peer), tickets, waiting, free, .. } = lane else {
                full += 1;
                continue;
            };
            let Some(ticket) = free.pop() else {
                full += 1;
                continue;
            };
            let Some(due) = self.shared.take_due(now) else {
                free.push(ticket);
                // This connection's turn has not passed.
                self.turn_of = at;
                return;
            };
            full = 0;
            let mut stream = link.stream(peer.conn);
            LaneVisit { shared: &mut self.shared, tickets, waiting, free }.send(
                &mut peer.session.cx(&mut stream),
                ticket,
                Some(due),
            );
        }
    }

    /// What was due and has no answer counts with the time that has passed.
    fn count_unfinished(&mut self) {
        let now = Instant::now();
        let mut late = |since: Instant, shared: &mut Shared| {
            if shared.counts(since) {
                shared.latencies.record(now.duration_since(since).as_nanos() as u64);
                self.unfinished += 1;
            }
        };
        for since in self.lanes.iter().flat_map(Lane::unanswered) {
            late(since, &mut self.shared);
        }
        while let Some(since) = self.shared.take_due(now) {
            late(since, &mut self.shared);
        }
        self.shared.counting = Counting::No;
        self.shared.schedule = None;
    }

    fn is_drained(&self) -> bool {
        self.shared.in_flight == 0
            && self.shared.schedule.is_none()
            && (!self.shared.config.is_open() || self.lanes.iter().all(|lane| lane.waiting.is_empty()))
    }

    fn tick<T: Transport>(&mut self, link: &mut T) {
        let KnbenchConfig { warmup, duration, .. } = self.shared.config;
        match self.phase {
            Phase::Start => {
                self.phase = Phase::Connecting(Instant::now());
                self.connect(link);
            }
            Phase::Connecting(since) if since.elapsed() > CONNECT_PATIENCE => {
                let silent = self.lanes.iter().position(|lane| !lane.up).and_then(|i| self.shared.config.remote(i));
                self.fail(silent.map_or(ClientError::Interrupted, ClientError::Silence));
            }
            Phase::Connecting(_) if self.lanes.iter().all(|l| l.up) => {
                self.gate.arrive();
                self.phase = Phase::Ready(Instant::now());
            }
            Phase::Ready(_) if self.gate.is_open() => self.begin(link),
            // The one that failed says why.
            Phase::Ready(since) if self.gate.has_failed() || since.elapsed() > 2 * CONNECT_PATIENCE => {
                self.fail(ClientError::Interrupted);
            }
            Phase::Warmup(since) if since.elapsed() >= warmup => self.measure(),
            Phase::Measure(since) if since.elapsed() >= duration => self.stop(),
            Phase::Drain(since) => {
                let overdue = since.elapsed() > DRAIN_PATIENCE;
                if self.is_drained() || overdue || self.shared.failure.is_some() {
                    self.count_unfinished();
                    for peer in self.lanes.iter().filter_map(|l| l.peer.as_ref()) {
                        match self.shared.failure {
                            Some(_) => link.abort(peer.conn),
                            None => link.shutdown(peer.conn),
                        }
                    }
                    if self.lanes.iter().all(|l| l.peer.is_none()) || overdue {
                        self.phase = Phase::Linger(Instant::now());
                    }
                }
            }
            Phase::Linger(since) if since.elapsed() >= LINGER => self.phase = Phase::Over,
            Phase::Connecting(_)
            | Phase::Ready(_)
            | Phase::Warmup(_)
            | Phase::Measure(_)
            | Phase::Linger(_)
            | Phase::Over => {}
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
        let Some(Lane { peer: Some(peer), tickets, waiting, free, .. }) = self.lanes.get_mut(user as usize) else {
            return 0;
        };
        let mut visit = LaneVisit { shared: &mut self.shared, tickets, waiting, free };
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
        let of_conn = |lane: &Lane| lane.peer.as_ref().is_some_and(|peer| peer.conn == conn);
        let Some(at) = self.lanes.iter().position(of_conn) else { return };
        let remote = self.shared.config.remote(at);
        let Some(Lane { peer, tickets, waiting, free, up }) = self.lanes.get_mut(at) else { return };
        let up = *up;
        if let Some(mut peer) = peer.take() {
            let mut visit = LaneVisit { shared: &mut self.shared, tickets, waiting, free };
            peer.on_closed(link, closed.maybe_delivered, &mut visit);
            self.ended.add(&session_counters(peer.session.counters()));
        }
        let ending = matches!(self.phase, Phase::Drain(_) | Phase::Linger(_) | Phase::Over);
        if let (Some(remote), false) = (remote, ending) {
            let why = closed.kind;
            self.fail(if up { ClientError::Lost { remote, why } } else { ClientError::Connect { remote, why } });
        }
    }

    #[inline]
    fn poll<T: Transport>(&mut self, link: &mut T) {
        if self.shared.failure.is_some() {
            self.gate.fail();
            self.stop();
        }
        self.tick(link);
        self.fill(link);
        for lane in &mut self.lanes {
            let Lane { peer: Some(peer), tickets, waiting, free, .. } = lane else { continue };
            peer.poll(link, &mut LaneVisit { shared: &mut self.shared, tickets, waiting, free });
        }
    }
}
