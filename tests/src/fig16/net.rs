//! Sixteen hosts and a receiver at one switch: an event loop over the simulator's parts, with a switch that marks or stamps.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

use luna_core::nic::Caps;
use luna_core::stack::{
    App, Bind, Cidr, ConnId, Connect, Cx, FlowEntry, Listener, Neighbor, PathConfig, Released, Retained, Stack,
    StackConfig, Storage, Turn,
};
use luna_core::tcp::congestion::CongestionKind;
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry};
use luna_core::time::Instant;
use luna_core::wire::MacAddr;
use luna_core::wire::int::{Hop, stamp_frame};
use luna_core::zbuf::{Frag, Zbuf};

use super::{DELAY, MARK_AT, Outcome, QUEUE, RATE, config};
use crate::memory;
use crate::sim::events::{Events, Time};
use crate::sim::faults::Faults;
use crate::sim::frame::Frame;
use crate::sim::link::{Link, LinkConfig, Node};
use crate::sim::nic::{Passed, SimQueue, Wire};
use crate::sim::rng::Rng;

const HOSTS: usize = 16;
/// The receiver is the last.
const RECEIVER: usize = HOSTS;
const PORT: u16 = 7000;
const MTU: u16 = 1500;
/// Of flows without an end.
const ENDLESS: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct Flow {
    begin: Time,
    end: Option<Time>,
}

/// What the applications share.
#[derive(Default)]
struct Shared {
    now: Time,
    flows: BTreeMap<u64, Flow>,
    open: usize,
    delivered: u64,
    last_delivery: Time,
    connected: usize,
    failed: Option<String>,
}

struct Sender {
    shared: Rc<RefCell<Shared>>,
    chunk: Zbuf,
}

type Queue = SimQueue<'static>;

fn send(cx: &mut Cx<'_, '_, Queue>, conn: ConnId, chunk: &Zbuf, bytes: usize, token: u64) -> Result<(), String> {
    let mut iov = heapless::Vec::<Frag, 8>::new();
    let mut left = bytes as u32;
    while left > 0 {
        let n = left.min(chunk.len());
        iov.push(Frag::from(chunk.slice(..n))).map_err(|_| "a flow of more than eight chunks".to_owned())?;
        left -= n;
    }
    cx.send(conn, &mut iov, token).map_err(|e| e.to_string())
}

impl App<Queue> for Sender {
    fn on_connected(&mut self, _: &mut Cx<'_, '_, Queue>, _: ConnId) {
        self.shared.borrow_mut().connected += 1;
    }
    fn on_data(&mut self, _: &mut Cx<'_, '_, Queue>, _: ConnId, data: Zbuf) -> Retained {
        let shared = &mut *self.shared.borrow_mut();
        shared.delivered += u64::from(data.len());
        shared.last_delivery = shared.now;
        Retained::NOTHING
    }
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId, token: u64, outcome: Released) {
        let mut shared = self.shared.borrow_mut();
        if outcome != Released::Acked {
            shared.failed = Some(format!("a flow ended as {outcome:?}"));
        }
        if token == ENDLESS {
            if let Err(why) = send(cx, conn, &self.chunk, self.chunk.len() as usize, ENDLESS) {
                shared.failed = Some(why);
            }
            return;
        }
        let now = shared.now;
        if let Some(flow) = shared.flows.get_mut(&token) {
            flow.end = Some(now);
            shared.open -= 1;
        }
    }
}

struct Host {
    stack: Stack<'static, Queue>,
    app: Sender,
    wire: Rc<RefCell<Wire>>,
    next_turn: Time,
    generation: u32,
}

enum Event {
    Sent(usize),
    Arrive(usize, Frame),
    Turn(usize, u32),
    Sample,
}

/// The network and all that it connects.
pub struct Net {
    events: Events<Event>,
    hosts: Vec<Host>,
    /// Up at `2 i`, down at `2 i + 1`.
    links: Vec<Link>,
    shared: Rc<RefCell<Shared>>,
    conns: Vec<(usize, ConnId)>,
    stamps: bool,
    sampling: bool,
    sample_due: bool,
    depths: Vec<(Time, u64)>,
    dropped: u64,
}

fn table<T: Default>(n: usize) -> &'static mut [T] {
    Vec::leak((0..n).map(|_| T::default()).collect())
}

fn ip(i: usize) -> core::net::IpAddr {
    core::net::IpAddr::from([10, 0, 0, i as u8 + 1])
}

fn mac(i: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, i as u8 + 1])
}

/// Clocks begin here: time stamps of zero are special to nobody, but let it be tried elsewhere.
const EPOCH: Time = 1_000_000_000;

fn host(i: usize, kind: CongestionKind, conns: usize, shared: &Rc<RefCell<Shared>>) -> Result<Host, String> {
    let (rx_zones, header_zones) = if i == RECEIVER { (8, 4) } else { (4, 4) };
    let wire = Rc::new(RefCell::new(Wire { rx_ring: 8192, tx_ring: 4096, ..Wire::default() }));
    let caps = Caps {
        mac: mac(i),
        mtu: MTU,
        max_tx_segments: 8,
        tx_checksum: true,
        foreign: true,
        prompt_completion: true,
        max_tso_payload: 0,
        max_tso_payload_v6: 0,
    };
    let (rx, headers) = (memory::pool(rx_zones, 1600), memory::pool(header_zones, 512));
    let queue = SimQueue::new(wire.clone(), caps, rx, headers, false);
    let storage = Storage {
        connections: table::<Connection>(conns),
        flows: table::<FlowEntry>((conns * 2).next_power_of_two()),
        sends: table::<SendEntry>(conns * 16),
        segments: table::<Segment>(conns * 512),
        out_of_order: table::<OutOfOrder>(conns * 256),
        recoveries: table::<Recovery>(conns),
        controls: table::<Control>(conns),
        listeners: table::<Listener>(1),
        neighbors: table::<Neighbor>(HOSTS + 1),
    };
    let start = Instant::from_nanos(EPOCH);
    let tcp = config(kind);
    let settings = StackConfig { id: i as u8, seed: [i as u8 * 7 + 1; 32], tcp };
    let mut stack = Stack::new(settings, storage, start).map_err(|e| e.to_string())?;
    let mut path = PathConfig::default();
    path.addrs.push(Cidr { addr: ip(i), prefix: 24 }).map_err(|_| "no room for an address")?;
    let path = stack.add_path(queue, path).map_err(|e| e.to_string())?;
    let mut cx = stack.cx(start);
    for other in (0..=HOSTS).filter(|o| *o != i) {
        cx.neighbor(path, ip(other), Some(mac(other)));
    }
    if i == RECEIVER {
        cx.listen(Bind { backlog: conns as u32, ..Bind::port(PORT) }, 0).map_err(|e| e.to_string())?;
    }
    let mut chunk = memory::pool(1, 16 << 10).alloc().ok_or("no chunk")?;
    chunk.append(16 << 10).ok_or("no chunk")?;
    let app = Sender { shared: shared.clone(), chunk: chunk.freeze() };
    Ok(Host { stack, app, wire, next_turn: Time::MAX, generation: 0 })
}

impl Net {
    /// With `n` connections to the receiver, dealt out to the hosts.
    ///
    /// # Errors
    /// What could not be set up.
    pub fn new(kind: CongestionKind, n: usize) -> Result<Self, String> {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let conns_at = |i: usize| if i == RECEIVER { n } else { n.div_ceil(HOSTS) };
        let hosts = (0..=HOSTS).map(|i| host(i, kind, conns_at(i), &shared)).collect::<Result<Vec<_>, _>>()?;
        let calm = LinkConfig {
            rate: RATE,
            delay: DELAY,
            jitter: 0,
            jitter_reorders: false,
            queue: u64::MAX,
            mtu: MTU,
            ecn_threshold: None,
            faults: Faults::default(),
        };
        let mark_at = (kind == CongestionKind::Dctcp).then_some(MARK_AT);
        let port = LinkConfig { queue: QUEUE, ecn_threshold: mark_at, ..calm };
        let rng = Rng::new(1);
        let links = (0..=HOSTS).flat_map(|i| {
            let up = Link::new(calm, Node::Stack(i), Node::Switch(0), rng.fork(2 * i as u64));
            [up, Link::new(port, Node::Switch(0), Node::Stack(i), rng.fork(2 * i as u64 + 1))]
        });
        let mut net = Self {
            events: Events::default(),
            hosts,
            links: links.collect(),
            shared,
            conns: Vec::new(),
            stamps: kind == CongestionKind::Hpcc,
            sampling: false,
            sample_due: false,
            depths: Vec::new(),
            dropped: 0,
        };
        for c in 0..n {
            let i = c % HOSTS;
            let to = Connect::to(SocketAddr::new(ip(RECEIVER), PORT));
            let local = net.local();
            let conn = net.hosts[i].stack.cx(local).connect(to).map_err(|e| e.to_string())?;
            net.conns.push((i, conn));
            net.turn_at(i, net.now());
        }
        net.run_for(100_000_000);
        let connected = net.shared.borrow().connected;
        if connected == n { Ok(net) } else { Err(format!("{connected} of {n} connected")) }
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.events.now()
    }

    fn local(&self) -> Instant {
        Instant::from_nanos(EPOCH + self.now())
    }

    /// Bytes delivered to the receiver so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.shared.borrow().delivered
    }

    /// When the last of them came.
    #[must_use]
    pub fn last_delivery(&self) -> Time {
        self.shared.borrow().last_delivery
    }

    /// Sends `bytes` on connection `conn`; `token` is the flow's own number.
    ///
    /// # Errors
    /// Why not.
    pub fn send(&mut self, conn: usize, bytes: usize, token: u64) -> Result<(), String> {
        let begin = self.now();
        {
            let mut shared = self.shared.borrow_mut();
            shared.flows.insert(token, Flow { begin, end: None });
            shared.open += 1;
        }
        self.queue(conn, bytes, token)
    }

    /// Keeps 256 KiB queued on connection `conn`.
    ///
    /// # Errors
    /// Why not.
    pub fn send_for_ever(&mut self, conn: usize) -> Result<(), String> {
        (0..16).try_for_each(|_| self.queue(conn, 16 << 10, ENDLESS))
    }

    fn queue(&mut self, conn: usize, bytes: usize, token: u64) -> Result<(), String> {
        let (i, id) = self.conns[conn];
        let local = self.local();
        let host = &mut self.hosts[i];
        send(&mut host.stack.cx(local), id, &host.app.chunk, bytes, token)?;
        self.turn_at(i, self.now());
        Ok(())
    }

    /// Looks at the queue each µs from now on, or no more.
    pub fn sample(&mut self, on: bool) {
        self.sampling = on;
        if on && !self.sample_due {
            self.sample_due = true;
            self.events.after(0, Event::Sample);
        }
    }

    /// Lets `d` pass.
    pub fn run_for(&mut self, d: Time) {
        let end = self.now() + d;
        while self.events.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.events.skip_to(end);
    }

    /// Until every flow is over.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn run_until_idle(&mut self, patience: Time) -> Result<(), String> {
        let end = self.now() + patience;
        while self.shared.borrow().open > 0 {
            if let Some(why) = self.shared.borrow_mut().failed.take() {
                return Err(why);
            }
            if self.now() > end || !self.step() {
                return Err(format!("{} flows do not end", self.shared.borrow().open));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> bool {
        let Some(event) = self.events.pop() else { return false };
        self.shared.borrow_mut().now = self.now();
        match event {
            Event::Sent(link) => self.sent(link),
            Event::Arrive(link, frame) => self.arrive(link, frame),
            Event::Turn(i, generation) if self.hosts[i].generation == generation => self.turn(i),
            Event::Turn(..) => {}
            Event::Sample => {
                self.sample_due = self.sampling;
                if self.sampling {
                    self.depths.push((self.now(), self.links[2 * RECEIVER + 1].queued()));
                    self.events.after(1_000, Event::Sample);
                }
            }
        }
        true
    }

    fn turn_at(&mut self, i: usize, at: Time) {
        let host = &mut self.hosts[i];
        if at < host.next_turn {
            host.generation += 1;
            host.next_turn = at;
            self.events.at(at, Event::Turn(i, host.generation));
        }
    }

    fn turn(&mut self, i: usize) {
        let (now, local) = (self.now(), self.local());
        let host = &mut self.hosts[i];
        host.next_turn = Time::MAX;
        let outcome = host.stack.turn(local, 256, &mut host.app);
        let passed = core::mem::take(&mut host.wire.borrow_mut().passed);
        let quiet = passed.is_empty();
        for p in passed {
            match p {
                Passed::In(frame) => self.hosts[i].wire.borrow_mut().spare.push(frame.bytes),
                Passed::NoObj(_) => self.dropped += 1,
                Passed::Out(frame) => self.push(2 * i, frame),
            }
        }
        match outcome {
            Turn::Busy => self.turn_at(i, now + if quiet { 500 } else { 0 }),
            Turn::IdleUntil(Instant::FAR) => {}
            Turn::IdleUntil(at) => self.turn_at(i, at.as_nanos().saturating_sub(EPOCH).max(now + 1)),
        }
    }

    fn push(&mut self, link: usize, frame: Frame) {
        match self.links[link].push(frame) {
            Ok(Some(time)) => self.events.after(time, Event::Sent(link)),
            Ok(None) => {}
            Err(_) => self.dropped += 1,
        }
    }

    fn sent(&mut self, link: usize) {
        let now = self.now();
        let (departure, next) = self.links[link].sent(now);
        if let Some(time) = next {
            self.events.after(time, Event::Sent(link));
        }
        if let Node::Stack(i) = self.links[link].from {
            let mut wire = self.hosts[i].wire.borrow_mut();
            wire.in_flight -= 1;
            wire.done += 1;
        }
        for arrival in departure.arrivals {
            let mut frame = arrival.frame;
            let l = &self.links[link];
            if self.stamps && l.from == Node::Switch(0) {
                let hop = Hop::new(RATE, l.queued(), EPOCH + now, l.stats.bytes);
                stamp_frame(&mut frame.bytes, &hop, link as u16 + 1);
            }
            self.events.at(arrival.at, Event::Arrive(link, frame));
        }
    }

    fn arrive(&mut self, link: usize, frame: Frame) {
        match self.links[link].to {
            Node::Stack(i) => {
                self.hosts[i].wire.borrow_mut().rx.push_back(frame);
                self.turn_at(i, self.now());
            }
            Node::Switch(_) => {
                let to = (0..=HOSTS).find(|i| frame.bytes.get(..6) == Some(&mac(*i).0));
                if let Some(to) = to {
                    self.push(2 * to + 1, frame);
                }
            }
        }
    }

    /// What was seen, of the flows whose numbers count.
    pub fn fill(&self, out: &mut Outcome, counts: impl Fn(u64) -> bool) {
        let shared = self.shared.borrow();
        let ended = shared.flows.iter().filter(|(token, _)| counts(**token));
        out.times = ended.filter_map(|(_, f)| f.end.map(|end| end - f.begin)).collect();
        out.times.sort_unstable();
        out.depths.clone_from(&self.depths);
        out.dropped = self.dropped;
        let senders = || self.hosts.iter().take(HOSTS).map(|h| h.stack.counters());
        out.timeouts = senders().map(|c| c.rtos).sum();
        out.retransmits = senders().map(|c| c.retransmits).sum();
    }
}
