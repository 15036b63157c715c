//! The RPC echo over two Luna stacks: payload leaves from zbufs, is echoed from the objs it arrived in, and is never copied.

mod client;
mod peer;
mod server;

use luna_core::nic::NicQueue;
use luna_core::rpc::{CallSlot, DetachedSlot, Session, SessionConfig};
use luna_core::stack::ConnId;
use luna_core::time::Duration;
use luna_core::zbuf::Zbuf;

use crate::memory;
use crate::pair::{End, LinkConfig, Pair, PlainQueue};
use crate::scenario::{Answer, EchoLoop, Report, Scenario, pattern};

pub use client::EchoClient;
pub use peer::Peer;
pub use server::EchoServer;

/// Time that passes between two turns of an end. It makes round-trip times, and no timer fires by it.
pub const STEP: Duration = Duration::from_micros(2);

/// A client and a server in one thread, connected.
pub struct EchoPair {
    pair: Pair<PlainQueue, Peer<EchoClient>, Peer<EchoServer>>,
    scenario: Scenario,
}

impl EchoPair {
    /// Connects them.
    ///
    /// # Panics
    /// When the connection does not come about.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self::with_link(scenario, &LinkConfig::new(scenario.mtu, !scenario.checksums))
    }

    /// With a link of the caller's choice.
    ///
    /// # Panics
    /// When the connection does not come about.
    #[must_use]
    pub fn with_link(scenario: Scenario, link: &LinkConfig) -> Self {
        let Scenario { depth, size, answer, digest, .. } = scenario;
        let obj = size.max(64).next_multiple_of(64);
        // The answers of one turn are acknowledged in the next.
        let pool = |objs: usize| memory::pool((objs * obj as usize).div_ceil(1 << 20) + 1, obj);
        let client = Peer::new(session(depth, digest), EchoClient::new(payloads(depth, size), answer));
        let server = match answer {
            Answer::Echo => EchoServer::Echo,
            Answer::Touch => EchoServer::Touch(pool(4 * depth)),
        };
        let server = Peer::new(session(depth, digest), server);
        let mut pair = Pair::new(link, (client, server), |queue| queue);
        pair.connect();
        for _ in 0..100 {
            pair.settle();
            if pair.a.app.conn.is_some() && pair.b.app.conn.is_some() {
                return Self { pair, scenario };
            }
            pair.advance(STEP);
        }
        panic!("the pair did not connect");
    }

    fn run_with(&mut self, rpcs: u64, verify: bool) {
        let Pair { now, a, .. } = &mut self.pair;
        a.app.handler.begin(rpcs, verify);
        let first = rpcs.min(self.scenario.depth as u64) as usize;
        for slot in 0..first {
            let End { stack, app, .. } = a;
            app.start(&mut stack.cx(*now), slot);
        }
        let mut idle = 0;
        while self.pair.a.app.handler.outstanding() > 0 {
            idle = if self.pair.turn() { idle + 1 } else { 0 };
            assert!(idle < 1_000_000, "the echo hangs");
            self.pair.advance(STEP);
        }
    }

    /// One more echo, stopped half-way: what is under way has a timer behind it, and none is left when all is acknowledged.
    fn assert_timers_live(&mut self) {
        let Pair { now, a, .. } = &mut self.pair;
        let conn = a.app.conn.expect("connected");
        a.app.handler.begin(1, true);
        a.app.start(&mut a.stack.cx(*now), 0);
        a.stack.turn(*now, 256, &mut a.app);
        let info = a.stack.cx(*now).info(conn).expect("still connected");
        assert!(info.in_flight > 0 && info.timer.is_some_and(|left| left <= info.rto), "a timer runs: {info:?}");
        while self.pair.a.app.handler.outstanding() > 0 {
            self.pair.turn();
            self.pair.advance(STEP);
        }
    }

    /// The stacks below.
    pub fn pair(&mut self) -> &mut Pair<PlainQueue, Peer<EchoClient>, Peer<EchoServer>> {
        &mut self.pair
    }
}

/// The payload of each slot, in objs of a pool of their own.
pub(crate) fn payloads(depth: usize, size: u32) -> Vec<Zbuf> {
    let obj = size.max(64).next_multiple_of(64);
    let pool = memory::pool((depth * obj as usize).div_ceil(1 << 20) + 1, obj);
    let fill = |slot| {
        let mut buf = pool.alloc().expect("the pool has an obj for each request");
        let bytes = buf.append(size).expect("objs of the payload's size");
        bytes.iter_mut().enumerate().for_each(|(i, b)| *b = pattern(slot, i));
        buf.freeze()
    };
    (0..depth).map(fill).collect()
}

fn session(depth: usize, digest: bool) -> Session<'static> {
    let calls = Vec::leak(vec![CallSlot::default(); depth]);
    let detached = Vec::leak(vec![DetachedSlot::default(); depth]);
    let config = SessionConfig { payload_crc: digest, ..SessionConfig::DEFAULT };
    Session::new(config, calls, detached).expect("the default limits")
}

/// Payload bytes that this end copied.
fn copied<Q: NicQueue, H>(end: &End<Q, Peer<H>>) -> u64 {
    let copies = end.stack.copies();
    let queue = end.stack.queue_stats(end.path).unwrap_or_default();
    let session = end.app.session.counters();
    copies.small.bytes + copies.foreign.bytes + queue.rx_copied.bytes + queue.tx_copied.bytes + session.copy_break.bytes
}

fn frames<Q: NicQueue, A>(end: &End<Q, A>) -> u64 {
    end.stack.queue_stats(end.path).unwrap_or_default().tx_frames
}

/// Panics unless an end's connection is as in a lossless network with every feature in use.
pub(crate) fn assert_end_healthy<Q: NicQueue, A>(end: &mut End<Q, A>, conn: ConnId, now: luna_core::time::Instant) {
    let info = end.stack.cx(now).info(conn).expect("still connected");
    assert!(info.timestamps && info.sack, "timestamps and SACK are in use: {info:?}");
    assert!(info.window_scale.0 > 0 && info.window_scale.1 > 0, "windows are scaled: {info:?}");
    assert!(info.srtt > Duration::ZERO, "round trips are measured: {info:?}");
    let c = end.stack.counters();
    assert!(c.rtt_samples > 0, "round trips are measured");
    assert_eq!((c.retransmits, c.rtos, c.syn_retransmits, c.fast_recoveries), (0, 0, 0, 0), "lossless");
    assert_eq!((c.out_of_order, c.duplicates, c.outside_window, c.malformed.iter().sum::<u64>()), (0, 0, 0, 0));
    let queue = end.stack.queue_stats(end.path).expect("the path exists");
    assert_eq!((queue.tx_dropped, queue.rx_no_obj, queue.rx_too_long), (0, 0, 0));
    assert_eq!(end.stack.copies().foreign.bytes, 0, "there is no foreign memory");
    assert_eq!((queue.rx_copied.bytes, queue.tx_copied.bytes), (0, 0), "the queue copies no payload");
}

impl EchoLoop for EchoPair {
    fn run(&mut self, rpcs: u64) {
        self.run_with(rpcs, false);
    }

    fn run_verified(&mut self, rpcs: u64) {
        self.run_with(rpcs, true);
    }

    fn report(&self) -> Report {
        let Pair { a, b, .. } = &self.pair;
        let rpcs = a.app.handler.done();
        Report {
            rpcs,
            frames: frames(a) + frames(b),
            payload: 2 * rpcs * u64::from(self.scenario.size),
            copied: copied(a) + copied(b),
            fast_path: a.stack.counters().fast_path + b.stack.counters().fast_path,
        }
    }

    fn assert_healthy(&mut self) {
        self.assert_timers_live();
        let Pair { now, a, b, .. } = &mut self.pair;
        let (there, back) = (a.app.conn.expect("connected"), b.app.conn.expect("connected"));
        assert_end_healthy(a, there, *now);
        assert_end_healthy(b, back, *now);
        assert!(a.app.session.is_idle() && b.app.session.is_idle());
        let report = self.report();
        if self.scenario.depth == 1 && self.scenario.size >= 4096 {
            assert_eq!(report.copied, 0, "no payload byte is copied: {report:?}");
        } else if self.scenario.size >= 4096 {
            // Scraps that a segment's boundary cuts off a payload are copied on purpose: chaining them costs more.
            assert!(report.copied * 10 < report.payload, "hardly any payload is copied: {report:?}");
        }
        // All but the handshake's.
        assert!(report.fast_path * 10 >= (report.frames - 3) * 9, "nearly all take the fast path: {report:?}");
    }
}

#[cfg(test)]
mod tests;
