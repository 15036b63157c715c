//! Where the sequence numbers and timestamps of a flow begin, found out by opening it: both are functions of the stack's
//! seed, the flow and the clock, so that one pair of stacks tells what another of the same seeds will do.

use core::cell::Cell;
use std::rc::Rc;

use luna_core::nic::{Caps, NicQueue, QueueStats, RxBurst, TxMeta};
use luna_core::stack::{App, Bind, ConnId, Connect, Cx, Retained};
use luna_core::time::{Duration, Instant};
use luna_core::wire::{RxChecksum, TcpOptions, TcpPacket};
use luna_core::zbuf::{FragRef, FrameHead, Pool, Zbuf};

use crate::pair::{LinkConfig, PORT, Pair, PlainQueue};

/// An initial sequence number goes on by one in so many nanoseconds (RFC 6528 §3).
const SEQUENCE_TICK: u64 = 4_000;

/// What one end's numbers of a flow were at moment zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    sequence: u32,
    timestamp: u32,
}

impl Origin {
    /// The initial sequence number of a connection opened at `at`.
    #[must_use]
    pub fn initial_sequence(self, at: Instant) -> u32 {
        self.sequence.wrapping_add((at.as_nanos() / SEQUENCE_TICK) as u32)
    }

    /// The first moment from `from` on at which a connection is to be opened for `initial` to be its first number.
    #[must_use]
    pub fn opens_with(self, initial: u32, from: Instant) -> Instant {
        let ticks = initial.wrapping_sub(self.initial_sequence(from));
        // In the middle of the tick.
        Instant::from_nanos(from.as_nanos() / SEQUENCE_TICK * SEQUENCE_TICK + SEQUENCE_TICK / 2)
            + Duration::from_nanos(u64::from(ticks) * SEQUENCE_TICK)
    }

    /// The timestamp at `at`.
    #[must_use]
    pub fn timestamp(self, at: Instant) -> u32 {
        self.timestamp.wrapping_add(at.as_millis_u32())
    }

    /// When its timestamps begin anew.
    #[must_use]
    pub fn timestamps_wrap(self) -> Instant {
        Instant::from_nanos(((1 << 32) - u64::from(self.timestamp)) * 1_000_000)
    }
}

/// Both ends' of a flow: of the one that connects, of the one that listens.
pub type Origins = [Origin; 2];

type Seen = Rc<Cell<Option<(u32, u32)>>>;

/// A queue that looks at the SYNs it sends.
struct Watched {
    inner: PlainQueue,
    seen: Seen,
}

impl NicQueue for Watched {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }
    fn header_pool(&self) -> &Pool {
        self.inner.header_pool()
    }
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        self.inner.rx_burst(burst);
    }
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        if let Ok(packet) = TcpPacket::parse_frame(&header, RxChecksum::GOOD)
            && packet.tcp.flags.syn()
        {
            let options = TcpOptions::parse(packet.options(&header)).expect("our own SYN");
            let (tsval, _) = options.timestamps.expect("timestamps are offered");
            self.seen.set(Some((packet.tcp.seq.0, tsval)));
        }
        self.inner.tx(header, payload, meta)
    }
    fn flush(&mut self) {
        self.inner.flush();
    }
    fn reap(&mut self) -> usize {
        self.inner.reap()
    }
    fn stats(&self) -> QueueStats {
        self.inner.stats()
    }
}

struct Nothing;

impl App<Watched> for Nothing {
    fn on_data(&mut self, _: &mut Cx<'_, '_, Watched>, _: ConnId, _: Zbuf) -> Retained {
        Retained::NOTHING
    }
}

/// Opens flows to look at them.
pub struct Scout {
    pair: Pair<Watched, Nothing, Nothing>,
    seen: [Seen; 2],
}

impl Scout {
    /// With the seeds that every [`Pair`] has.
    #[must_use]
    pub fn new(link: &LinkConfig) -> Self {
        let seen = [Seen::default(), Seen::default()];
        let mut each = seen.clone().into_iter();
        let around = |inner| Watched { inner, seen: each.next().expect("a pair has two queues") };
        let mut pair = Pair::new(link, (Nothing, Nothing), around);
        pair.b.stack.cx(pair.now).listen(Bind::port(PORT), 0).expect("room for a listener");
        Self { pair, seen }
    }

    /// Lets time pass.
    pub fn advance(&mut self, d: Duration) {
        self.pair.advance(d);
    }

    /// Opens the flow from that port, and ends it. What its SYNs said, and when.
    ///
    /// # Panics
    /// When it does not come about.
    pub fn look(&mut self, port: u16) -> (Instant, [(u32, u32); 2]) {
        let at = self.pair.now;
        let to = Connect { ports: port..=port, ..Connect::to(self.pair.address_of_b()) };
        let conn = self.pair.a.stack.cx(at).connect(to).expect("nobody else has the port");
        self.pair.settle();
        self.pair.a.stack.cx(at).abort(conn).expect("open");
        self.pair.settle();
        (at, [0, 1].map(|end| self.seen[end].take().expect("both ends sent a SYN")))
    }

    /// Where the flow from that port begins.
    pub fn origins(&mut self, port: u16) -> Origins {
        let (at, seen) = self.look(port);
        seen.map(|(seq, tsval)| Origin {
            sequence: seq.wrapping_sub((at.as_nanos() / SEQUENCE_TICK) as u32),
            timestamp: tsval.wrapping_sub(at.as_millis_u32()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_pair_said_another_of_the_same_seeds_does_at_any_time() {
        let link = LinkConfig::new(1500, true);
        let origins = Scout::new(&link).origins(50_000);
        let mut other = Scout::new(&link);
        for hours in [0, 3, 40_000] {
            other.advance(Duration::from_secs(hours * 3600 + 17));
            let (at, seen) = other.look(50_000);
            for (origin, seen) in origins.iter().zip(seen) {
                assert_eq!((origin.initial_sequence(at), origin.timestamp(at)), seen, "{hours} hours on");
            }
        }
        assert_ne!(origins[0], origins[1]);
    }

    #[test]
    fn wraps_are_where_they_are_said_to_be() {
        let origin = Origin { sequence: 77, timestamp: u32::MAX - 5 };
        let from = Instant::from_nanos(123_456_789_012);
        for initial in [0, 1, 77, u32::MAX - 3] {
            let at = origin.opens_with(initial, from);
            assert!(at >= from || at.since(from).is_zero());
            assert_eq!(origin.initial_sequence(at), initial);
        }
        let wrap = origin.timestamps_wrap();
        assert_eq!(origin.timestamp(wrap), 0);
        assert_eq!(origin.timestamp(Instant::from_nanos(wrap.as_nanos() - 1)), u32::MAX);
    }
}
