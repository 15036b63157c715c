//! One connection whose ends take single segments: an in-order data segment, and a pure acknowledgment, each in bursts that
//! one turn takes in. What the time bench and the count of instructions measure.

use std::collections::VecDeque;

use luna_core::nic::{Caps, NicQueue, QueueStats, RX_BURST, RxBurst, RxFrame, TxMeta};
use luna_core::stack::{App, ConnId, Cx, Retained};
use luna_core::time::Duration;
use luna_core::zbuf::{Frag, FragRef, FrameHead, Pool, Zbuf};

use crate::echo::STEP;
use crate::memory;
use crate::pair::{LinkConfig, Pair, PlainQueue};

/// A queue that can be told to hand up frames one by one, so that each is acknowledged.
pub struct OneByOne {
    inner: PlainQueue,
    one_by_one: bool,
    waiting: VecDeque<RxFrame>,
}

impl NicQueue for OneByOne {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }
    fn header_pool(&self) -> &Pool {
        self.inner.header_pool()
    }
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        if !self.one_by_one {
            return self.inner.rx_burst(burst);
        }
        let mut taken = RxBurst::new();
        self.inner.rx_burst(&mut taken);
        self.waiting.extend((0..taken.len()).filter_map(|i| taken.take(i)));
        if let Some(frame) = self.waiting.pop_front() {
            burst.push(frame).expect("an empty burst");
        }
    }
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
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

/// Counts what it gets and is done with it.
#[derive(Default)]
pub struct Sink {
    bytes: u64,
    conn: Option<ConnId>,
}

impl App<OneByOne> for Sink {
    fn on_connected(&mut self, _: &mut Cx<'_, '_, OneByOne>, conn: ConnId) {
        self.conn = Some(conn);
    }
    fn on_data(&mut self, _: &mut Cx<'_, '_, OneByOne>, _: ConnId, data: Zbuf) -> Retained {
        self.bytes += u64::from(data.len());
        Retained::NOTHING
    }
}

/// The two ends.
pub type SegmentPair = Pair<OneByOne, Sink, Sink>;

const LONGER_THAN_ACK_DELAY: Duration = Duration::from_micros(200);

/// Segments of a burst.
pub const PIECES: u64 = RX_BURST as u64;

/// The connection, `a` sending.
pub struct Segments {
    /// Its ends.
    pub pair: SegmentPair,
    /// Its name at `a`.
    pub conn: ConnId,
    payload: Zbuf,
}

impl Segments {
    /// Connects. With `one_by_one`, `b` takes in a segment a turn and acknowledges each.
    ///
    /// # Panics
    /// When the connection does not come about.
    #[must_use]
    pub fn new(checksum_offload: bool, one_by_one: bool) -> Self {
        let mut link = LinkConfig::new(1500, checksum_offload);
        if one_by_one {
            link.tcp_b.ack_ratio = 1;
        }
        let around = |inner| OneByOne { inner, one_by_one: false, waiting: VecDeque::new() };
        let mut pair = SegmentPair::new(&link, (Sink::default(), Sink::default()), around);
        let conn = pair.connect();
        pair.settle();
        assert_eq!(pair.a.app.conn, Some(conn), "connected");
        let mss = pair.a.stack.cx(pair.now).info(conn).expect("connected").mss;
        let pool = memory::pool(1, 2048);
        let mut obj = pool.alloc().expect("a fresh pool");
        obj.append(mss.into()).expect("a segment fits").fill(0x5a);
        let path = pair.b.path;
        pair.b.stack.queue_mut(path).expect("the path exists").one_by_one = one_by_one;
        Self { pair, conn, payload: obj.freeze() }
    }

    /// `a` sends `n` full segments, which wait for `b` then.
    ///
    /// # Panics
    /// When the window does not take them.
    pub fn send(&mut self, n: u64) {
        let Pair { a, now, .. } = &mut self.pair;
        for i in 0..n {
            let mut iov = heapless::Vec::<Frag, 1>::new();
            iov.push(Frag::from(self.payload.clone())).expect("room for one");
            a.stack.cx(*now).send(self.conn, &mut iov, i).expect("the send buffer is empty");
        }
        a.stack.turn(*now, 256, &mut a.app);
        let info = a.stack.cx(*now).info(self.conn).expect("connected");
        assert_eq!(u64::from(info.in_flight), n * u64::from(info.mss), "the window takes a burst");
    }

    /// `n` data segments go to `b`; `turn` makes the turn that takes them in.
    ///
    /// # Panics
    /// When one did not take the fast path.
    pub fn data(&mut self, n: u64, turn: impl FnOnce(&mut SegmentPair)) {
        let before = self.pair.b.stack.counters().fast_path;
        self.send(n);
        self.pair.advance(STEP);
        turn(&mut self.pair);
        assert_eq!(self.pair.b.stack.counters().fast_path - before, n, "every segment takes the fast path");
        // A lone segment's acknowledgment is delayed.
        self.pair.advance(LONGER_THAN_ACK_DELAY);
        self.pair.settle();
    }

    /// `n` data segments go to `b`, which acknowledges each; `turn` makes the turn in which `a` takes that in.
    ///
    /// # Panics
    /// When there was anything but one acknowledgment for each segment.
    pub fn acks(&mut self, n: u64, turn: impl FnOnce(&mut SegmentPair)) {
        let before = self.pair.a.stack.counters().segments_in;
        self.send(n);
        self.pair.advance(STEP);
        let Pair { b, now, .. } = &mut self.pair;
        for _ in 0..n {
            b.stack.turn(*now, 256, &mut b.app);
        }
        turn(&mut self.pair);
        let info = self.pair.a.stack.cx(self.pair.now).info(self.conn).expect("connected");
        assert_eq!(info.in_flight, 0, "all is acknowledged");
        self.pair.settle();
        assert_eq!(self.pair.a.stack.counters().segments_in - before, n, "one acknowledgment for each segment");
    }
}
