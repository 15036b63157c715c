//! The fast path: one in-order data segment, and one pure acknowledgment, through a live connection with all its features.
//!
//! 32 of them arrive in one burst and the turn that takes them in is timed: per segment that is parse, look-up, TCP and
//! callback, and a 32nd of a turn with its output.

use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luna_core::nic::{Caps, NicQueue, QueueStats, RX_BURST, RxBurst, RxFrame, TxFrags, TxMeta};
use luna_core::stack::{App, ConnId, Cx, Retained};
use luna_core::zbuf::{Frag, Pool, Zbuf, ZbufMut};
use luna_tests::echo::STEP;
use luna_tests::memory;
use luna_tests::pair::{LinkConfig, Pair, PlainQueue};

/// A queue that can be told to hand up frames one by one, so that each is acknowledged.
struct OneByOne {
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
    fn tx(&mut self, header: ZbufMut, payload: &mut TxFrags, meta: TxMeta) -> Result<(), ZbufMut> {
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
struct Sink {
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

type SegmentPair = Pair<OneByOne, Sink, Sink>;

const PIECES: u64 = RX_BURST as u64;

struct Bench {
    pair: SegmentPair,
    conn: ConnId,
    payload: Zbuf,
}

impl Bench {
    fn new(checksum_offload: bool, one_by_one: bool) -> Self {
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

    /// `a` sends a burst's worth of full segments, which wait for `b` then.
    fn send_burst(&mut self) {
        let Pair { a, now, .. } = &mut self.pair;
        for i in 0..PIECES {
            let mut iov = heapless::Vec::<Frag, 1>::new();
            iov.push(Frag::from(self.payload.clone())).expect("room for one");
            a.stack.cx(*now).send(self.conn, &mut iov, i).expect("the send buffer is empty");
        }
        a.stack.turn(*now, 256, &mut a.app);
        let info = a.stack.cx(*now).info(self.conn).expect("connected");
        assert_eq!(u64::from(info.in_flight), PIECES * u64::from(info.mss), "the window takes a burst");
    }
}

fn data(c: &mut Criterion, name: &str, checksum_offload: bool) {
    let mut bench = Bench::new(checksum_offload, false);
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Elements(PIECES));
    group.bench_function(name, |b| {
        b.iter_custom(|n| {
            let mut sum = Duration::ZERO;
            let before = bench.pair.b.stack.counters().fast_path;
            for _ in 0..n {
                bench.send_burst();
                bench.pair.advance(STEP);
                let Pair { b, now, .. } = &mut bench.pair;
                let start = Instant::now();
                b.stack.turn(*now, 256, &mut b.app);
                sum += start.elapsed();
                bench.pair.settle();
            }
            let fast = bench.pair.b.stack.counters().fast_path - before;
            assert_eq!(fast, n * PIECES, "every segment takes the fast path");
            sum
        });
    });
}

fn data_segment(c: &mut Criterion) {
    data(c, "32 in-order data segments, checksums offloaded", true);
    data(c, "32 in-order data segments, checksums in software", false);
}

fn pure_ack(c: &mut Criterion) {
    let mut bench = Bench::new(true, true);
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Elements(PIECES));
    group.bench_function("32 pure acknowledgments", |b| {
        b.iter_custom(|n| {
            let mut sum = Duration::ZERO;
            let before = bench.pair.a.stack.counters().segments_in;
            for _ in 0..n {
                bench.send_burst();
                bench.pair.advance(STEP);
                let Pair { a, b, now } = &mut bench.pair;
                for _ in 0..PIECES {
                    b.stack.turn(*now, 256, &mut b.app);
                }
                let start = Instant::now();
                a.stack.turn(*now, 256, &mut a.app);
                sum += start.elapsed();
                let info = a.stack.cx(*now).info(bench.conn).expect("connected");
                assert_eq!(info.in_flight, 0, "all is acknowledged");
                bench.pair.settle();
            }
            let segments = bench.pair.a.stack.counters().segments_in - before;
            assert_eq!(segments, n * PIECES, "one acknowledgment for each segment");
            sum
        });
    });
}

criterion_group!(benches, data_segment, pure_ack);
criterion_main!(benches);
