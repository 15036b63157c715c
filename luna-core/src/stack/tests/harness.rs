//! What the stack's tests share: a tampering queue, an application that records, a pair with a clock.

use core::mem::ManuallyDrop;
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

pub(super) use super::tamper::{Fate, FateFn, Tamper};
use crate::nic::{MemLink, MemPort, MemQueue};
use crate::stack::*;
use crate::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry, TcpConfig, TcpInfo};
use crate::time::{Duration, Instant};
use crate::wire::MacAddr;
use crate::zbuf::{Frag, Pool, Zbuf, testing};

pub(super) type Queue = Tamper<MemQueue<'static, 'static>>;

/// What an application saw, and how it behaves.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) accepted: Vec<(ConnId, u64, SocketAddr)>,
    pub(super) connected: Vec<ConnId>,
    pub(super) received: Vec<u8>,
    pub(super) chunks: Vec<(usize, u32)>,
    pub(super) fins: Vec<ConnId>,
    pub(super) released: Vec<(u64, Released)>,
    pub(super) closed: Vec<(ConnId, Closed)>,
    pub(super) writable: usize,
    pub(super) neighbors: Vec<IpAddr>,
    /// What it says at once of a neighbour that is asked for.
    pub(super) answers: Option<MacAddr>,
    /// Send everything back.
    pub(super) echo: bool,
    /// Keep the views and say so.
    pub(super) keep: bool,
    pub(super) kept: Vec<Zbuf>,
    /// Close when the peer finishes.
    pub(super) close_on_fin: bool,
    pub(super) abort_on_data: bool,
    pub(super) close_on_data: bool,
    pub(super) close_on_released: bool,
    pub(super) abort_on_open: bool,
    pub(super) close_on_open: bool,
    /// Sent by every connection whenever it is told of room.
    pub(super) greedy: Option<Zbuf>,
    /// What else it does with data.
    pub(super) talk: Option<fn(&mut Cx<'_, '_, Queue>, ConnId, &Zbuf)>,
    /// Not yet echoed, for want of room.
    pub(super) backlog: VecDeque<Zbuf>,
}

impl Recorder {
    fn opened(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId) {
        if self.abort_on_open {
            cx.abort(conn).unwrap();
        }
        if self.close_on_open {
            cx.close(conn).unwrap();
        }
    }

    fn echo_backlog(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId) {
        while let Some(data) = self.backlog.pop_front() {
            let mut iov = heapless::Vec::<Frag, 1>::new();
            iov.push(Frag::from(data.clone())).unwrap();
            if cx.send(conn, &mut iov, 77) == Err(SendError::Full) {
                self.backlog.push_front(data);
                return;
            }
        }
    }
}

impl App<Queue> for Recorder {
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId, user: u64, remote: SocketAddr) {
        self.accepted.push((conn, user, remote));
        self.opened(cx, conn);
    }
    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId) {
        self.connected.push(conn);
        self.opened(cx, conn);
    }
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId, data: Zbuf) -> Retained {
        self.received.extend_from_slice(&data);
        self.chunks.push((data.as_ptr().addr().get(), data.len()));
        if let Some(talk) = self.talk {
            talk(cx, conn, &data);
        }
        if self.abort_on_data {
            cx.abort(conn).unwrap();
        }
        if self.close_on_data {
            let _ = cx.close(conn);
        }
        if self.echo {
            self.backlog.push_back(data);
            self.echo_backlog(cx, conn);
            return Retained::NOTHING;
        }
        if self.keep {
            let n = data.true_size();
            self.kept.push(data);
            return Retained(n);
        }
        Retained::NOTHING
    }
    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId) {
        self.fins.push(conn);
        if self.close_on_fin {
            cx.close(conn).unwrap();
        }
    }
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId, token: u64, outcome: Released) {
        self.released.push((token, outcome));
        if self.close_on_released {
            cx.close(conn).unwrap();
        }
    }
    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId) {
        self.writable += 1;
        self.echo_backlog(cx, conn);
        while let Some(data) = &self.greedy {
            let mut iov = heapless::Vec::<Frag, 1>::new();
            iov.push(Frag::from(data.clone())).unwrap();
            if cx.send(conn, &mut iov, u64::from(conn.slot()) + 1000).is_err() {
                break;
            }
        }
    }
    fn on_closed(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId, closed: Closed) {
        assert_eq!(cx.abort(conn), Err(Stale), "the name is stale when its end is told");
        self.closed.push((conn, closed));
    }
    fn on_neighbor_needed(&mut self, cx: &mut Cx<'_, '_, Queue>, path: PathId, ip: IpAddr) {
        self.neighbors.push(ip);
        if let Some(mac) = self.answers {
            assert!(cx.neighbor(path, ip, Some(mac)));
        }
    }
}

pub(super) struct Caught {
    pub(super) rx: &'static Pool,
    pub(super) header: &'static Pool,
    pub(super) data: &'static Pool,
}

pub(super) struct End {
    pub(super) stack: ManuallyDrop<Stack<'static, Queue>>,
    pub(super) app: Recorder,
    pub(super) pools: Caught,
    pub(super) path: PathId,
}

pub(super) struct Pair {
    link: *mut MemLink,
    /// Something may be short for a while, so that a stack stays busy at one moment.
    pub(super) may_spin: bool,
    pub(super) now: Instant,
    pub(super) a: End,
    pub(super) b: End,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) tcp_a: TcpConfig,
    pub(super) tcp_b: TcpConfig,
    pub(super) mtu: u16,
    pub(super) checksum_offload: bool,
    /// Payload that the queues cut into segments themselves; takes `checksum_offload`.
    pub(super) tso: u32,
    pub(super) ipv6: bool,
    pub(super) vlan: Option<u16>,
    pub(super) connections: usize,
    /// Of b, when it differs.
    pub(super) connections_b: Option<usize>,
    pub(super) flows: Option<usize>,
    pub(super) records: usize,
    /// Segment records, when it is not `records`.
    pub(super) segments: Option<usize>,
    pub(super) out_of_order: usize,
    pub(super) recoveries: usize,
    pub(super) controls: usize,
    pub(super) known_neighbors: bool,
}

impl Default for Options {
    fn default() -> Self {
        let tcp = TcpConfig::DATACENTER;
        Self {
            tcp_a: tcp,
            tcp_b: tcp,
            mtu: 1500,
            checksum_offload: false,
            tso: 0,
            ipv6: false,
            vlan: None,
            connections: 8,
            connections_b: None,
            flows: None,
            records: 4096,
            segments: None,
            out_of_order: 512,
            recoveries: 4,
            controls: 8,
            known_neighbors: true,
        }
    }
}

fn leak<T>(n: usize, make: impl FnMut() -> T) -> &'static mut [T] {
    let mut make = make;
    Vec::leak((0..n).map(|_| make()).collect())
}

pub(super) fn storage_for_tests(o: &Options) -> Storage<'static> {
    Storage {
        connections: leak(o.connections, Connection::default),
        flows: leak(o.flows.unwrap_or((o.connections * 2).next_power_of_two()), FlowEntry::default),
        sends: leak(o.records, SendEntry::default),
        segments: leak(o.segments.unwrap_or(o.records), Segment::default),
        out_of_order: leak(o.out_of_order, OutOfOrder::default),
        recoveries: leak(o.recoveries, Recovery::default),
        controls: leak(o.controls, Control::default),
        listeners: leak(4, Listener::default),
        neighbors: leak(4, Neighbor::default),
    }
}

fn leaked_pool(zones: usize, size: u32) -> &'static Pool {
    Box::leak(Box::new(testing::pool(zones, size)))
}

pub(super) fn addr(o: &Options, n: u16) -> IpAddr {
    if o.ipv6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]) } else { IpAddr::from([10, 0, 0, n as u8]) }
}

pub(super) const PORT: u16 = 7000;

impl Pair {
    pub(super) fn new(o: &Options) -> Self {
        let link = Box::into_raw(Box::new(MemLink::new()));
        // SAFETY: freed when the pair is dropped, behind both queues.
        let (a, b) = unsafe { &mut *link }.split();
        let now = Instant::from_nanos(1_000_000_000);
        let rx_size = (u32::from(o.mtu) + 64).next_multiple_of(64) + 64;
        let end = |n: u8, end, tcp| {
            let pools =
                Caught { rx: leaked_pool(4, rx_size), header: leaked_pool(1, 512), data: leaked_pool(4, 16 << 10) };
            let mac = MacAddr([2, 0, 0, 0, 0, n]);
            let port = MemPort { mac, mtu: o.mtu, checksum_offload: o.checksum_offload };
            let queue = Tamper::new(MemQueue::new(end, port, pools.rx, pools.header).unwrap().with_tso(o.tso));
            let config = StackConfig { id: n, seed: [n.wrapping_mul(37); 32], tcp };
            let connections = if n == 2 { o.connections_b } else { None };
            let sized = Options { connections: connections.unwrap_or(o.connections), ..o.clone() };
            let mut stack = Stack::new(config, storage_for_tests(&sized), now).unwrap();
            let mut path = PathConfig { vlan: o.vlan, ..PathConfig::default() };
            let prefix = if o.ipv6 { 64 } else { 24 };
            path.addrs.push(Cidr { addr: addr(o, n.into()), prefix }).unwrap();
            let path = stack.add_path(queue, path).unwrap();
            if o.known_neighbors {
                let other = 3 - n;
                let mac = MacAddr([2, 0, 0, 0, 0, other]);
                assert!(stack.cx(now).neighbor(path, addr(o, other.into()), Some(mac)));
            }
            End { stack: ManuallyDrop::new(stack), app: Recorder::default(), pools, path }
        };
        Self { link, may_spin: false, now, a: end(1, a, o.tcp_a), b: end(2, b, o.tcp_b) }
    }

    /// Turns both until neither has anything to do at this moment.
    pub(super) fn settle(&mut self) {
        for _ in 0..if self.may_spin { 100 } else { 100_000 } {
            let a = self.a.turn(self.now);
            let b = self.b.turn(self.now);
            if a != Turn::Busy && b != Turn::Busy {
                return;
            }
        }
        assert!(self.may_spin, "never idle at one moment");
    }

    /// So many turns of both at this moment; what a's last one said.
    pub(super) fn spin(&mut self, turns: usize) -> Turn {
        let mut last = Turn::Busy;
        for _ in 0..turns {
            last = self.a.turn(self.now);
            self.b.turn(self.now);
        }
        last
    }

    /// Lets `d` pass, jumping from deadline to deadline.
    pub(super) fn run(&mut self, d: Duration) {
        let end = self.now + d;
        loop {
            self.settle();
            let a = self.a.turn(self.now);
            let b = self.b.turn(self.now);
            let next = [a, b].into_iter().map(|t| match t {
                Turn::Busy => self.now + Duration::from_micros(20),
                Turn::IdleUntil(t) => t,
            });
            let next = next.min().unwrap();
            if next > end {
                self.now = end;
                self.settle();
                return;
            }
            self.now = next.max(self.now + Duration::from_nanos(1));
        }
    }

    /// Until `done` or for at most `d`; tells whether it was done.
    pub(super) fn run_until(&mut self, d: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + d;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.run(Duration::from_millis(1));
        }
        true
    }

    /// Listens on b, connects from a.
    pub(super) fn open(o: &Options) -> (Self, ConnId, ConnId) {
        let mut p = Self::new(o);
        let (a, b) = p.connect(o);
        (p, a, b)
    }

    pub(super) fn connect(&mut self, o: &Options) -> (ConnId, ConnId) {
        let now = self.now;
        self.b.stack.cx(now).listen(Bind::port(PORT), 5).unwrap();
        let conn = self.a.stack.cx(now).connect(Connect::to(SocketAddr::new(addr(o, 2), PORT))).unwrap();
        assert!(
            self.run_until(Duration::from_secs(3), |p| !p.a.app.connected.is_empty() && !p.b.app.accepted.is_empty())
        );
        assert_eq!(self.a.app.connected, [conn]);
        (conn, self.b.app.accepted[0].0)
    }

    pub(super) fn info_a(&mut self, conn: ConnId) -> TcpInfo {
        self.a.stack.cx(self.now).info(conn).unwrap()
    }

    /// No obj, record or slot is left anywhere but in the receive rings.
    pub(super) fn assert_clean(&mut self) {
        for end in [&mut self.a, &mut self.b] {
            end.app.kept.clear();
            end.app.backlog.clear();
            assert_eq!(end.pools.header.outstanding(), 0, "header objs");
            assert_eq!(end.pools.data.outstanding(), 0, "data objs");
            assert_eq!(end.stack.sends.available(), end.stack.sends.capacity(), "send entries");
            assert_eq!(end.stack.segments.available(), end.stack.segments.capacity(), "segment records");
            assert_eq!(end.stack.out_of_order.available(), end.stack.out_of_order.capacity(), "out-of-order");
            assert_eq!(end.stack.recoveries.available(), end.stack.recoveries.capacity(), "recovery records");
            assert_eq!(end.stack.controls.available(), end.stack.controls.capacity(), "controllers");
            assert_eq!(end.stack.connections(), 0, "connections");
            end.stack.check_free_lists().unwrap();
        }
    }
}

impl Drop for Pair {
    /// Everything that holds objs goes, then the memory is for the next pair.
    fn drop(&mut self) {
        for end in [&mut self.a, &mut self.b] {
            // SAFETY: nobody touches the stack behind this.
            unsafe { ManuallyDrop::drop(&mut end.stack) };
            end.app = Recorder::default();
        }
        // SAFETY: made by `Box::into_raw`; both queues, its only users, are gone.
        drop(unsafe { Box::from_raw(self.link) });
        for pools in [&self.a.pools, &self.b.pools] {
            for pool in [pools.rx, pools.header, pools.data] {
                // SAFETY: leaked by `leaked_pool`, not used behind this; a pool with objs outstanding is left as it is.
                testing::recycle(unsafe { core::ptr::from_ref(pool).read() });
            }
        }
    }
}

impl End {
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let turn = self.stack.turn(now, 256, &mut self.app);
        self.stack.check_invariants().unwrap();
        turn
    }

    /// A buffer of this end with a pattern of its own.
    pub(super) fn buffer(&self, len: usize, seed: usize) -> Zbuf {
        let mut m = self.pools.data.alloc().expect("a data obj");
        let dst = m.append(len as u32).expect("at most 16 KiB");
        for (i, b) in dst.iter_mut().enumerate() {
            *b = pattern(seed + i);
        }
        m.freeze()
    }

    pub(super) fn send(&mut self, now: Instant, conn: ConnId, data: &Zbuf, token: u64) -> Result<(), SendError> {
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::from(data.clone())).unwrap();
        self.stack.cx(now).send(conn, &mut iov, token)
    }
}

pub(super) fn pattern(i: usize) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 13) as u8
}

pub(super) fn expect_pattern(data: &[u8], len: usize) {
    assert_eq!(data.len(), len);
    if let Some(i) = data.iter().enumerate().position(|(i, b)| *b != pattern(i)) {
        panic!("byte {i} is wrong");
    }
}
