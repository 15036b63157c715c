//! The same echo over two Luna stacks without the RPC layer: messages of one length on a byte stream, the server giving back what
//! arrives as it arrives. It is what the C stacks were measured with, so it is what their figures are compared with like for like.

use core::net::SocketAddr;

use luna_core::nic::NicQueue;
use luna_core::stack::{App, Closed, ConnId, Cx, Retained};
use luna_core::zbuf::{Frag, Zbuf};

use crate::echo::{STEP, assert_end_healthy, payloads};
use crate::pair::{LinkConfig, Pair, PlainQueue};
use crate::scenario::{EchoLoop, Report, Scenario};

fn send<Q: NicQueue>(cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) {
    let mut iov = heapless::Vec::<Frag, 1>::new();
    iov.push(data.into()).expect("room for one");
    cx.send_message(conn, [&[], &[]], &mut iov, None).expect("room for what is in flight");
}

/// Gives back what comes.
#[derive(Default)]
struct Server {
    conn: Option<ConnId>,
}

impl<Q: NicQueue> App<Q> for Server {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId, _: u64, _: SocketAddr) {
        self.conn = Some(conn);
    }

    #[inline(always)]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        send(cx, conn, data);
        Retained::NOTHING
    }

    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        panic!("the connection ended: {}", closed.reason);
    }
}

/// Sends a message for each that is back. Of every slot one is in flight, and they come back in order.
struct Client {
    conn: Option<ConnId>,
    payloads: Vec<Zbuf>,
    size: u32,
    /// Bytes of the first message in flight that are still to come.
    missing: u32,
    slot: usize,
    to_send: u64,
    in_flight: u64,
    done: u64,
    verify: bool,
}

impl Client {
    fn verify(&self, data: &[u8]) {
        let (mut slot, mut at, mut rest) = (self.slot, (self.size - self.missing) as usize, data);
        while !rest.is_empty() {
            let expected = &self.payloads[slot][at..];
            let n = expected.len().min(rest.len());
            assert!(rest[..n] == expected[..n], "the message comes back as it was sent");
            rest = &rest[n..];
            (slot, at) = ((slot + 1) % self.payloads.len(), 0);
        }
    }
}

impl<Q: NicQueue> App<Q> for Client {
    fn on_connected(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.conn = Some(conn);
    }

    #[inline(always)]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        if self.verify {
            self.verify(&data);
        }
        let mut got = data.len();
        drop(data);
        while got >= self.missing {
            got -= self.missing;
            self.missing = self.size;
            self.done += 1;
            self.in_flight -= 1;
            let slot = self.slot;
            self.slot = if slot + 1 == self.payloads.len() { 0 } else { slot + 1 };
            if self.to_send > 0 {
                self.to_send -= 1;
                self.in_flight += 1;
                send(cx, conn, self.payloads[slot].clone());
            }
        }
        self.missing -= got;
        Retained::NOTHING
    }

    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        panic!("the connection ended: {}", closed.reason);
    }
}

/// A client and a server in one thread, connected.
pub struct StreamEcho {
    pair: Pair<PlainQueue, Client, Server>,
    scenario: Scenario,
}

impl StreamEcho {
    /// Connects them.
    ///
    /// # Panics
    /// When the connection does not come about.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let Scenario { depth, size, mtu, checksums, .. } = scenario;
        let client = Client {
            conn: None,
            payloads: payloads(depth, size),
            size,
            missing: size,
            slot: 0,
            to_send: 0,
            in_flight: 0,
            done: 0,
            verify: false,
        };
        let mut pair = Pair::new(&LinkConfig::new(mtu, !checksums), (client, Server::default()), |queue| queue);
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
        let client = &mut a.app;
        // A run ends with nothing in flight and begins with the first slot, wherever the last one ended.
        (client.slot, client.verify) = (0, verify);
        let first = rpcs.min(self.scenario.depth as u64);
        (client.to_send, client.in_flight) = (rpcs - first, first);
        let conn = client.conn.expect("connected");
        for slot in 0..first as usize {
            let payload = client.payloads[slot].clone();
            send(&mut a.stack.cx(*now), conn, payload);
        }
        let mut idle = 0;
        while self.pair.a.app.in_flight > 0 {
            idle = if self.pair.turn() { idle + 1 } else { 0 };
            assert!(idle < 1_000_000, "the echo hangs");
            self.pair.advance(STEP);
        }
    }
}

impl EchoLoop for StreamEcho {
    fn run(&mut self, rpcs: u64) {
        self.run_with(rpcs, false);
    }

    fn run_verified(&mut self, rpcs: u64) {
        self.run_with(rpcs, true);
    }

    fn report(&self) -> Report {
        let Pair { a, b, .. } = &self.pair;
        let rpcs = a.app.done;
        let frames = |stats: Option<luna_core::nic::QueueStats>| stats.unwrap_or_default().tx_frames;
        Report {
            rpcs,
            frames: frames(a.stack.queue_stats(a.path)) + frames(b.stack.queue_stats(b.path)),
            payload: 2 * rpcs * u64::from(self.scenario.size),
            copied: a.stack.copies().small.bytes + b.stack.copies().small.bytes,
            fast_path: a.stack.counters().fast_path + b.stack.counters().fast_path,
        }
    }

    fn assert_healthy(&mut self) {
        let Pair { now, a, b, .. } = &mut self.pair;
        let (there, back) = (a.app.conn.expect("connected"), b.app.conn.expect("connected"));
        assert_end_healthy(a, there, *now);
        assert_end_healthy(b, back, *now);
        let report = self.report();
        assert!(report.fast_path * 10 >= (report.frames - 3) * 9, "nearly all take the fast path: {report:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for (size, mtu) in [(1, 1500), (64, 1500), (4096, 1500), (4096, 9000), (32 << 10, 1500)] {
            for depth in [1, 16] {
                let mut echo = StreamEcho::new(Scenario::new(size, mtu, depth, depth == 1));
                echo.run_verified(50);
                echo.run(50);
                echo.run_verified(7);
                assert_eq!(echo.report().rpcs, 107);
                echo.assert_healthy();
            }
        }
    }

    #[test]
    #[should_panic(expected = "as it was sent")]
    fn a_wrong_byte_is_noticed() {
        let mut echo = StreamEcho::new(Scenario::new(64, 1500, 1, false));
        echo.pair.a.app.payloads.push(payloads(2, 64).remove(1));
        echo.pair.a.app.payloads.swap(0, 1);
        let conn = echo.pair.a.app.conn.unwrap();
        let other = echo.pair.a.app.payloads[1].clone();
        send(&mut echo.pair.a.stack.cx(echo.pair.now), conn, other);
        echo.run_verified(1);
    }
}
