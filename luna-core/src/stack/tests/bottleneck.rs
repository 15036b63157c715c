//! Two stacks with a slow link between them: a finite queue that drops, marks or stamps, a delay, and a clock that jumps
//! from event to event. One direction is slow, the other only has the delay.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::collections::VecDeque;
use std::rc::Rc;

use super::harness::{self, PORT, addr, storage_for_tests};
use crate::nic::{Caps, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use crate::stack::*;
use crate::tcp::TcpInfo;
use crate::time::{Duration, Instant};
use crate::wire::int::{self, Hop};
use crate::wire::{MacAddr, RxChecksum, TcpPacket};
use crate::zbuf::{Frag, FragRef, FrameHead, Pool, Zbuf, testing};

/// The slow direction.
#[derive(Clone, Copy)]
pub(super) struct Slow {
    /// Bits per second.
    pub(super) rate: u64,
    /// One way, and the other.
    pub(super) delay: Duration,
    /// Bytes that the queue holds.
    pub(super) room: usize,
    /// From so many bytes on, capable segments are marked.
    pub(super) mark_at: Option<usize>,
    /// Stamp telemetry.
    pub(super) stamp: bool,
}

type Meddle = Box<dyn FnMut(&mut Vec<u8>, usize)>;

/// One direction.
pub(super) struct Wire {
    slow: Option<Slow>,
    delay: Duration,
    /// Waiting: when it came, when it leaves.
    queue: VecDeque<(Instant, Instant, Vec<u8>)>,
    free_at: Instant,
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
    sent: u64,
    pub(super) dropped: usize,
    pub(super) marked: usize,
    pub(super) frames: usize,
    /// Bytes queued, by departure.
    pub(super) depths: Vec<(Instant, usize)>,
    /// What to do with a frame before it is queued: count so far.
    pub(super) meddle: Meddle,
    /// What went in.
    pub(super) seen: Option<Vec<(Instant, Vec<u8>)>>,
}

/// Marks an IPv4 or IPv6 frame; false if it is not capable.
pub(super) fn mark(frame: &mut [u8]) -> bool {
    if frame[12..14] == [0x86, 0xdd] {
        if frame[15] & 0x30 == 0 {
            return false;
        }
        frame[15] |= 0x30;
        return true;
    }
    if frame[15] & 3 == 0 {
        return false;
    }
    frame[15] |= 3;
    frame[24..26].fill(0);
    let mut sum = crate::wire::Checksum::new();
    sum.add(&frame[14..34]);
    let sum = sum.finish().to_be_bytes();
    frame[24..26].copy_from_slice(&sum);
    true
}

fn transmission(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / rate)
}

impl Wire {
    fn new(slow: Option<Slow>, delay: Duration, now: Instant) -> Self {
        Self {
            slow,
            delay,
            queue: VecDeque::new(),
            free_at: now,
            on_the_way: VecDeque::new(),
            sent: 0,
            dropped: 0,
            marked: 0,
            frames: 0,
            depths: vec![],
            meddle: Box::new(|_, _| {}),
            seen: None,
        }
    }

    fn push(&mut self, now: Instant, mut frame: Vec<u8>) {
        self.advance(now);
        self.frames += 1;
        (self.meddle)(&mut frame, self.frames);
        if let Some(seen) = &mut self.seen {
            seen.push((now, frame.clone()));
        }
        let Some(slow) = self.slow else {
            self.on_the_way.push_back((now + self.delay, frame));
            return;
        };
        let queued: usize = self.queue.iter().map(|(_, _, f)| f.len()).sum();
        if queued + frame.len() > slow.room {
            self.dropped += 1;
            return;
        }
        if slow.mark_at.is_some_and(|k| queued >= k) && mark(&mut frame) {
            self.marked += 1;
        }
        self.free_at = self.free_at.max(now) + transmission(frame.len(), slow.rate);
        self.queue.push_back((now, self.free_at, frame));
    }

    fn advance(&mut self, now: Instant) {
        while let Some((_, leaves, _)) = self.queue.front()
            && *leaves <= now
        {
            let (_, leaves, mut frame) = self.queue.pop_front().unwrap();
            let behind = self.queue.iter().take_while(|(came, ..)| *came <= leaves).map(|(.., f)| f.len()).sum();
            self.depths.push((leaves, behind));
            self.sent += frame.len() as u64;
            if let Some(slow) = self.slow.filter(|s| s.stamp) {
                let hop = Hop::new(slow.rate, behind as u64, leaves.as_nanos(), self.sent);
                int::stamp_frame(&mut frame, &hop, 1);
            }
            self.on_the_way.push_back((leaves + self.delay, frame));
        }
    }

    fn next(&self) -> Instant {
        let leaves = self.queue.front().map_or(Instant::FAR, |q| q.1);
        self.on_the_way.front().map_or(Instant::FAR, |w| w.0).min(leaves)
    }
}

/// One end's queue.
pub(super) struct Port {
    now: Rc<Cell<Instant>>,
    tx: Rc<RefCell<Wire>>,
    rx: Rc<RefCell<Wire>>,
    caps: Caps,
    header: &'static Pool,
    data: &'static Pool,
}

impl NicQueue for Port {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn header_pool(&self) -> &Pool {
        self.header
    }
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        let now = self.now.get();
        let mut wire = self.rx.borrow_mut();
        wire.advance(now);
        while burst.room() > 0
            && let Some((at, _)) = wire.on_the_way.front()
            && *at <= now
        {
            let (_, frame) = wire.on_the_way.pop_front().unwrap();
            let mut obj = self.data.alloc().expect("receive objs");
            obj.append(frame.len() as u32).unwrap().copy_from_slice(&frame);
            // What TCP's checksum is good for is tested elsewhere; behind a shim no device looks.
            let good = int::find(&frame).is_none();
            let checksum = if good { RxChecksum::GOOD } else { RxChecksum::UNKNOWN };
            burst.push(RxFrame { data: obj.freeze(), meta: RxMeta { checksum, rss_hash: 0 } }).unwrap();
        }
    }
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], _: TxMeta) -> Result<(), FrameHead> {
        let mut frame = header.to_vec();
        for frag in payload {
            frame.extend_from_slice(frag.bytes().unwrap());
        }
        assert!(frame.len() <= usize::from(self.caps.mtu) + 14, "a frame of {} bytes", frame.len());
        TcpPacket::parse_frame(&frame, RxChecksum::UNKNOWN).expect("what the stack sends is well formed");
        self.tx.borrow_mut().push(self.now.get(), frame);
        Ok(())
    }
    fn flush(&mut self) {}
    fn reap(&mut self) -> usize {
        0
    }
    fn stats(&self) -> QueueStats {
        QueueStats::default()
    }
}

/// Sends as much as it is told to, and counts.
#[derive(Default)]
pub(super) struct Bulk {
    pub(super) conns: Vec<ConnId>,
    left: Vec<usize>,
    chunk: Option<Zbuf>,
    pub(super) received: usize,
    pub(super) per_conn: Vec<(ConnId, usize)>,
    pub(super) finished: Vec<(ConnId, Instant)>,
    pub(super) closed: Vec<Closed>,
}

impl Bulk {
    fn go_on(&mut self, cx: &mut Cx<'_, '_, Port>, conn: ConnId) {
        let Some(i) = self.conns.iter().position(|c| *c == conn) else { return };
        let chunk = self.chunk.clone().unwrap();
        let n = self.left[i].min(chunk.len() as usize);
        if n == 0 {
            return;
        }
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::from(chunk.slice(..n as u32))).unwrap();
        if cx.send(conn, &mut iov, 0).is_ok() {
            self.left[i] -= n;
        }
    }
}

impl App<Port> for Bulk {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Port>, conn: ConnId, _: u64, _: SocketAddr) {
        self.per_conn.push((conn, 0));
    }
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Port>, conn: ConnId, data: Zbuf) -> Retained {
        self.received += data.len() as usize;
        if let Some(c) = self.per_conn.iter_mut().find(|c| c.0 == conn) {
            c.1 += data.len() as usize;
        }
        self.finished.push((conn, cx.now()));
        Retained::NOTHING
    }
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Port>, conn: ConnId, _: u64, _: Released) {
        self.go_on(cx, conn);
    }
    fn on_closed(&mut self, _: &mut Cx<'_, '_, Port>, _: ConnId, closed: Closed) {
        self.closed.push(closed);
    }
}

/// a sends to b through the slow link.
pub(super) struct Bottleneck {
    time: Rc<Cell<Instant>>,
    pub(super) there: Rc<RefCell<Wire>>,
    pub(super) back: Rc<RefCell<Wire>>,
    pub(super) a: Stack<'static, Port>,
    pub(super) b: Stack<'static, Port>,
    pub(super) app_a: Bulk,
    pub(super) app_b: Bulk,
    o: harness::Options,
}

impl Bottleneck {
    pub(super) fn new(o: &harness::Options, slow: Slow) -> Self {
        let start = Instant::from_nanos(1_000_000_000);
        let time = Rc::new(Cell::new(start));
        let there = Rc::new(RefCell::new(Wire::new(Some(slow), slow.delay, start)));
        let back = Rc::new(RefCell::new(Wire::new(None, slow.delay, start)));
        let pool = |zones, size| -> &'static Pool { Box::leak(Box::new(testing::pool(zones, size))) };
        let (header, data) = (pool(8, 512), pool(16, 2048));
        let stack = |n: u8, tx: &Rc<RefCell<Wire>>, rx: &Rc<RefCell<Wire>>, tcp| {
            let caps = Caps {
                mac: MacAddr([2, 0, 0, 0, 0, n]),
                mtu: o.mtu,
                max_tx_segments: 8,
                tx_checksum: false,
                foreign: false,
                prompt_completion: true,
                max_tso_payload: 0,
                max_tso_payload_v6: 0,
            };
            let queue = Port { now: time.clone(), tx: tx.clone(), rx: rx.clone(), caps, header, data };
            let config = StackConfig { id: n, seed: [n.wrapping_mul(37); 32], tcp };
            let mut stack = Stack::new(config, storage_for_tests(o), start).unwrap();
            let mut path = PathConfig::default();
            path.addrs.push(Cidr { addr: addr(o, n.into()), prefix: if o.ipv6 { 64 } else { 24 } }).unwrap();
            let path = stack.add_path(queue, path).unwrap();
            let other = 3 - n;
            assert!(stack.cx(start).neighbor(path, addr(o, other.into()), Some(MacAddr([2, 0, 0, 0, 0, other]))));
            stack
        };
        let (mut a, mut b) = (stack(1, &there, &back, o.tcp_a), stack(2, &back, &there, o.tcp_b));
        b.cx(start).listen(Bind::port(PORT), 0).unwrap();
        let mut chunk = pool(1, 16 << 10).alloc().unwrap();
        chunk.append(16 << 10).unwrap();
        let app_a = Bulk { chunk: Some(chunk.freeze()), ..Bulk::default() };
        // A look at what is to do, so that both have turned once.
        let mut app_b = Bulk::default();
        b.turn(start, 1, &mut app_b);
        a.turn(start, 1, &mut Bulk::default());
        Self { time, there, back, a, b, app_a, app_b, o: o.clone() }
    }

    pub(super) fn now(&self) -> Instant {
        self.time.get()
    }

    /// Another connection, with `bytes` to send, 64 KiB of them queued at any time.
    pub(super) fn connect(&mut self, bytes: usize) -> ConnId {
        let now = self.now();
        let to = Connect::to(SocketAddr::new(addr(&self.o, 2), PORT));
        let conn = self.a.cx(now).connect(to).unwrap();
        self.app_a.conns.push(conn);
        self.app_a.left.push(bytes);
        for _ in 0..16 {
            self.app_a.go_on(&mut self.a.cx(now), conn);
        }
        conn
    }

    /// More to send.
    pub(super) fn add(&mut self, conn: ConnId, bytes: usize) {
        let now = self.now();
        let i = self.app_a.conns.iter().position(|c| *c == conn).unwrap();
        self.app_a.left[i] += bytes;
        for _ in 0..16 {
            self.app_a.go_on(&mut self.a.cx(now), conn);
        }
    }

    pub(super) fn run(&mut self, d: Duration) {
        let end = self.now() + d;
        loop {
            let now = self.now();
            let mut next = self.there.borrow().next().min(self.back.borrow().next());
            let mut busy = false;
            for turn in [self.a.turn(now, 256, &mut self.app_a), self.b.turn(now, 256, &mut self.app_b)] {
                match turn {
                    Turn::Busy => busy = true,
                    Turn::IdleUntil(t) => next = next.min(t),
                }
            }
            if busy {
                continue;
            }
            next = next.min(self.there.borrow().next()).min(self.back.borrow().next());
            if next > end {
                self.time.set(end);
                return;
            }
            self.time.set(next.max(now + Duration::from_nanos(1)));
            let now = self.now();
            self.there.borrow_mut().advance(now);
            self.back.borrow_mut().advance(now);
        }
    }

    pub(super) fn info(&mut self, conn: ConnId) -> TcpInfo {
        let now = self.now();
        self.a.cx(now).info(conn).unwrap()
    }

    /// Bytes that b's application got in the next `d`, and the depths of the queue meanwhile: mean and largest.
    pub(super) fn measure(&mut self, d: Duration) -> (usize, f64, usize) {
        let before = self.app_b.received;
        self.there.borrow_mut().depths.clear();
        self.run(d);
        let wire = self.there.borrow();
        let depths = &wire.depths;
        let mean = depths.iter().map(|d| d.1 as f64).sum::<f64>() / depths.len().max(1) as f64;
        let most = depths.iter().map(|d| d.1).max().unwrap_or(0);
        (self.app_b.received - before, mean, most)
    }
}
