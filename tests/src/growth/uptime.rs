//! A day of simulated uptime: echoes each hour, and at the moments when sequence numbers and timestamps begin anew.
//!
//! Between them every timer fires when it is due: keepalives of some idle connections turn the wheel, whose last level goes
//! round in 9.8 hours. The clock is moved from deadline to deadline.

use luna_core::stack::{Bind, Connect, Turn};
use luna_core::time::Instant;
use luna_host::storage::Capacity;

use super::crowd::{self, Ends};
use super::origins::{Origins, Scout};
use crate::echo::STEP;
use crate::pair::{LinkConfig, PORT, Pair};
use crate::scenario::Report;

/// Payload of a request.
const SIZE: u32 = 4096;
/// Verified echoes before those that count: a connection that was idle for long begins carefully.
const WARM_UP: u64 = 16;
/// Connections that are only kept alive.
const IDLE: usize = 32;
/// Hours.
const HOURS: u64 = 24;
/// The client's ports.
const PORTS: core::ops::RangeInclusive<u16> = 20_000..=60_000;

/// Which echoes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// After so many hours.
    Hour(u64),
    /// Sequence numbers of the end that connects (0) or listens (1) begin anew meanwhile.
    Sequence(usize),
    /// Its timestamps do.
    Timestamps(usize),
}

impl Window {
    /// In words.
    #[must_use]
    pub fn name(self) -> String {
        let end = |end| if end == 0 { "client" } else { "server" };
        match self {
            Self::Hour(h) => format!("after {h} h"),
            Self::Sequence(e) => format!("sequence numbers of the {} wrap", end(e)),
            Self::Timestamps(e) => format!("timestamps of the {} wrap", end(e)),
        }
    }
}

struct Event {
    at: Instant,
    window: Window,
    /// The port of its connection, and where its numbers begin.
    flow: (u16, Origins),
}

/// The two stacks, and what is to be done with them.
pub struct Uptime {
    pair: Ends,
    events: Vec<Event>,
    rpcs: u64,
    /// The connection in use: its flow, when it was opened, and what each end had sent before.
    opened: (u16, Instant, [u64; 2]),
    /// Ports of the connections that are open, and their places in the client's table.
    slots: Vec<(u16, usize)>,
}

fn hour(h: u64) -> Instant {
    Instant::from_nanos(h * 3600 * 1_000_000_000)
}

/// Within the second to the last hour, and not near a full one.
fn is_apart(at: Instant) -> bool {
    let minute = at.as_nanos() / 60_000_000_000 % 60;
    (hour(1)..hour(HOURS - 1)).contains(&at) && (5..55).contains(&minute)
}

impl Uptime {
    /// Windows of `rpcs` echoes.
    ///
    /// # Panics
    /// When no flow has its wraps within the day.
    #[must_use]
    pub fn new(rpcs: u64) -> Self {
        let capacity = Capacity { connections: IDLE + 8, ..LinkConfig::new(1500, true).capacity };
        let link = LinkConfig { capacity, ..LinkConfig::new(1500, true) };
        let mut pair = Pair::new(&link, crowd::members(IDLE + 8, SIZE), |queue| queue);
        pair.b.stack.cx(pair.now).listen(Bind::port(PORT), 0).expect("room for a listener");
        let mut scout = Scout::new(&link);
        let mut ports = PORTS;
        let mut flow = || ports.next().map(|port| (port, scout.origins(port))).expect("one of so many flows is right");
        let steady = flow();
        let mut events: Vec<Event> =
            (1..=HOURS).map(|h| Event { at: hour(h), window: Window::Hour(h), flow: steady }).collect();
        // Bytes that each end sends before the middle of the window, and heads of frames.
        let middle = (WARM_UP + rpcs / 2) as u32 * (SIZE + luna_core::rpc::HEADER_LEN as u32);
        for end in [0, 1] {
            let (at, chosen) = loop {
                let found = flow();
                let at = found.1[end].opens_with(middle.wrapping_neg(), hour(1));
                if is_apart(at) {
                    break (at, found);
                }
            };
            events.push(Event { at, window: Window::Sequence(end), flow: chosen });
            let (at, chosen) = loop {
                let found = flow();
                let at = found.1[end].timestamps_wrap();
                if is_apart(at) {
                    break (at, found);
                }
            };
            // An echo takes a turn of both ends.
            let early = STEP.times(WARM_UP + rpcs / 2);
            let at = Instant::from_nanos(at.as_nanos() - early.as_nanos());
            events.push(Event { at, window: Window::Timestamps(end), flow: chosen });
        }
        events.sort_by_key(|e| core::cmp::Reverse(e.at));
        let now = pair.now;
        let mut uptime = Self { pair, events, rpcs, opened: (0, now, [0; 2]), slots: Vec::new() };
        let first_idle = ports.next().expect("ports are left");
        let idle = (first_idle..).take(IDLE);
        idle.for_each(|port| uptime.open(port));
        uptime.open(steady.0);
        uptime
    }

    /// A connection from that port, the one in use from now on.
    fn open(&mut self, port: u16) {
        let to = Connect { ports: port..=port, ..Connect::to(self.pair.address_of_b()) };
        let before = self.pair.a.app.open();
        let conn = self.pair.a.stack.cx(self.pair.now).connect(to).expect("room for a connection");
        self.opened = (port, self.pair.now, self.sent());
        self.pair.settle();
        assert_eq!((self.pair.a.app.open(), self.pair.b.app.open()), (before + 1, before + 1), "open at both ends");
        self.slots.push((port, conn.slot() as usize));
    }

    fn sent(&self) -> [u64; 2] {
        [self.pair.a.stack.counters().bytes_out, self.pair.b.stack.counters().bytes_out]
    }

    /// Lets time pass until `at`, and every timer fire when it is due.
    fn pass_until(&mut self, at: Instant) {
        loop {
            let Pair { now, a, b, .. } = &mut self.pair;
            let turns = [a.stack.turn(*now, 256, &mut a.app), b.stack.turn(*now, 256, &mut b.app)];
            let next = turns.into_iter().map(|t| match t {
                Turn::Busy => *now,
                Turn::IdleUntil(t) => t,
            });
            let next = next.min().unwrap_or(at).min(at);
            if turns.iter().all(|t| matches!(t, Turn::IdleUntil(_))) && *now >= at {
                return;
            }
            *now = next.max(*now);
        }
    }

    /// The next window: what is to be counted happens in `count`, which is given what to run. `None`: the day is over.
    ///
    /// # Panics
    /// When what is to wrap does not, or anything went wrong.
    pub fn next(&mut self, count: impl FnOnce(&mut Self)) -> Option<(Window, Report)> {
        let Event { at, window, flow: (port, origins) } = self.events.pop()?;
        self.pass_until(at);
        if !self.slots.iter().any(|(p, _)| *p == port) {
            // Timestamps are the flow's whenever it is opened; sequence numbers are of this moment.
            self.open(port);
        }
        let slot = self.slots.iter().find(|(p, _)| *p == port).map(|(_, slot)| *slot);
        self.pair.a.app.ask_only(vec![slot.expect("open")]);
        crowd::run(&mut self.pair, WARM_UP, true);
        let (before, began, sent) = (crowd::report(&self.pair, SIZE), self.pair.now, self.sent());
        count(self);
        let (after, ended) = (crowd::report(&self.pair, SIZE), self.pair.now);
        for (end, origin) in origins.iter().enumerate() {
            let stamps = [began, ended].map(|t| origin.timestamp(t));
            assert_eq!(stamps[0] > stamps[1], window == Window::Timestamps(end), "{window:?}: {stamps:?}");
            if let Window::Sequence(e) = window
                && e == end
            {
                let (_, opened, before) = self.opened;
                let number = |sent: u64| origin.initial_sequence(opened).wrapping_add(1 + (sent - before[end]) as u32);
                let numbers = [number(sent[end]), number(self.sent()[end])];
                assert!(numbers[0] > numbers[1], "{window:?}: {numbers:?}");
            }
        }
        crowd::run(&mut self.pair, WARM_UP, true);
        self.assert_healthy();
        Some((window, after.since(&before)))
    }

    /// What is counted of a window.
    #[inline]
    pub fn run(&mut self) {
        crowd::run(&mut self.pair, self.rpcs, false);
    }

    fn assert_healthy(&self) {
        let mut duplicates = 0;
        for c in [self.pair.a.stack.counters(), self.pair.b.stack.counters()] {
            assert_eq!((c.retransmits, c.rtos, c.out_of_order, c.timeouts), (0, 0, 0, 0), "lossless");
            duplicates += c.duplicates;
        }
        assert_eq!(duplicates, self.keepalives(), "nothing came twice but keepalives");
    }

    /// Keepalives that were sent, by both ends.
    #[must_use]
    pub fn keepalives(&self) -> u64 {
        self.pair.a.stack.counters().keepalives + self.pair.b.stack.counters().keepalives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_hours_and_every_wrap_is_met() {
        let mut uptime = Uptime::new(400);
        let mut seen = Vec::new();
        while let Some((window, report)) = uptime.next(Uptime::run) {
            assert_eq!(report.rpcs, 400);
            seen.push(window);
        }
        for window in [Window::Sequence(0), Window::Sequence(1), Window::Timestamps(0), Window::Timestamps(1)] {
            assert!(seen.contains(&window), "{window:?}");
        }
        assert_eq!(seen.iter().filter(|w| matches!(w, Window::Hour(_))).count(), 24);
        // Two ends, of which the one that asked first is asked no more for a while.
        let least = (IDLE * 24 * 3600 / 30 / 2) as u64;
        assert!(uptime.keepalives() > least, "the wheel turned: {}", uptime.keepalives());
    }
}
