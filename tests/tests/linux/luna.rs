//! Luna's end: the stack over an AF_XDP port, with an application that echoes or drives.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant as HostInstant;

use luna_core::Counters;
use luna_core::nic::NicQueue;
use luna_core::stack::{
    App, Bind, Cidr, CloseReason, Closed, ConnId, Connect, Cx, PathConfig, Released, Retained, SendError, Stack,
    StackConfig, Turn,
};
use luna_core::tcp::TcpConfig;
use luna_core::time::Instant;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Frag, Pool, Zbuf, ZoneLayout};
use luna_host::dpdk::{AfXdp, DpdkQueue, Eal, EalConfig, PortConfig, PortRange, Vdev};
use luna_host::storage::Capacity;
use sha2::{Digest, Sha256};

use crate::drops::Drops;
use crate::lossy::Lossy;
use crate::netns::INTERFACE;
use crate::stream;

const PATIENCE: Duration = Duration::from_secs(30);
const PIECE: u64 = 16 << 10;

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[derive(PartialEq)]
enum Part {
    Echo,
    Drive,
}

/// Echoes what comes, or sends the stream and digests what comes back.
struct Bulk<'p> {
    part: Part,
    pool: &'p Pool,
    conn: Option<ConnId>,
    sent: u64,
    released: u64,
    got: u64,
    hash: Sha256,
    waiting: VecDeque<Zbuf>,
    fin: bool,
    closed: Option<Closed>,
}

type Queue = Lossy<DpdkQueue>;

impl Bulk<'_> {
    /// False when the send queue is full.
    fn send<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: &Zbuf) -> bool {
        let len = u64::from(data.len());
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::from(data.clone())).unwrap();
        match cx.send(conn, &mut iov, len) {
            Ok(()) => {
                self.sent += len;
                true
            }
            Err(SendError::Full) => false,
            Err(e) => panic!("send: {e}"),
        }
    }

    /// Sends what can be sent.
    fn push<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>) {
        let Some(conn) = self.conn else { return };
        let total = stream::total();
        loop {
            let data = match self.part {
                Part::Echo => match self.waiting.pop_front() {
                    Some(data) => data,
                    None => break,
                },
                Part::Drive => {
                    if self.sent >= total {
                        break;
                    }
                    let Some(mut m) = self.pool.alloc() else { return };
                    stream::fill(m.append((total - self.sent).min(PIECE) as u32).unwrap(), self.sent);
                    m.freeze()
                }
            };
            let size = data.true_size();
            if !self.send(cx, conn, &data) {
                if self.part == Part::Echo {
                    self.waiting.push_front(data);
                }
                return;
            }
            if self.part == Part::Echo {
                cx.release(conn, size).unwrap();
            }
        }
        let done = match self.part {
            Part::Echo => self.fin,
            Part::Drive => self.sent == total,
        };
        if done && self.waiting.is_empty() {
            let _ = cx.shutdown(conn);
        }
    }
}

impl<Q: NicQueue> App<Q> for Bulk<'_> {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId, _: u64, _: SocketAddr) {
        self.conn = Some(conn);
    }
    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId) {
        self.push(cx);
    }
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId, data: Zbuf) -> Retained {
        self.got += u64::from(data.len());
        if self.part == Part::Drive {
            self.hash.update(&data[..]);
            return Retained::NOTHING;
        }
        let (conn, size) = (self.conn.unwrap(), data.true_size());
        if self.waiting.is_empty() && self.send(cx, conn, &data) {
            return Retained::NOTHING;
        }
        // Held until it is queued for sending; `push` gives the window back.
        self.waiting.push_back(data);
        Retained(size)
    }
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId, token: u64, outcome: Released) {
        assert_eq!(outcome, Released::Acked);
        self.released += token;
        self.push(cx);
    }
    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId) {
        self.push(cx);
    }
    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId) {
        self.fin = true;
        self.push(cx);
    }
    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        self.closed = Some(closed);
    }
}

/// Without loss nothing is sent again but where the kernel admits to have dropped something. Two things look like it on a
/// machine whose cores others want: a tail loss probe (RFC 8985 §7) asks after a pause of the peer, and its segment
/// counts as sent again; a timeout may pass while the peer waits for a core, and then an echoed time stamp shows that the
/// first transmission had arrived, and it is taken back.
fn nothing_lost(c: &Counters, dropped: Drops, missed: u64) {
    println!("dropped by the kernel: {dropped:?}, before the port: {missed}");
    let taken_back = c.undos_eifel;
    assert!(c.rtos <= taken_back + missed, "{} timeouts without loss, {taken_back} of them taken back", c.rtos);
    let excused = c.tlp_probes + c.rtos + dropped.interface;
    assert!(c.retransmits <= excused, "{} retransmissions without loss, {excused} excused", c.retransmits);
}

fn run(part: Part) {
    let address = |name| -> SocketAddr { env(name).parse().unwrap() };
    let (local, remote) = (address("LUNA_LOCAL"), address("LUNA_PEER"));
    let peer_mac: MacAddr = env("LUNA_PEER_MAC").parse().unwrap();
    let loss = env("LUNA_LOSS_PER_MILLION").parse().unwrap_or(0);
    let eal = Eal::start(&EalConfig { memory_mb: 256, ..EalConfig::default() }).unwrap_or_else(|e| panic!("{e}"));
    let ours = PortRange { first: local.port(), last: local.port() };
    let name = eal.attach(&Vdev::AfXdp(AfXdp::new(INTERFACE, vec![ours]))).unwrap_or_else(|e| panic!("{e}"));
    let (port, mut seeds) = eal.open(&name, &PortConfig::default()).unwrap_or_else(|e| panic!("{e}"));
    let memory = eal.memory(4).unwrap_or_else(|e| panic!("{e}"));
    let payload = memory.into_pool(ZoneLayout::plain(PIECE as u32)).unwrap_or_else(|e| panic!("{e}"));
    let before = Drops::now();
    let clock = HostInstant::now();
    let now = || Instant::from_nanos(clock.elapsed().as_nanos() as u64 + 1);
    {
        let queue = Lossy::new(seeds.pop_front().unwrap().activate(), loss);
        // The port's objs are few (one zone): what the window promises must fit.
        let tcp = TcpConfig { rcv_wnd: 160 << 10, rcv_budget: 640 << 10, snd_buf: 256 << 10, ..TcpConfig::INTEROP };
        let config = StackConfig { id: 1, seed: [7; 32], tcp };
        let mut stack: Stack<'static, Queue> = Stack::new(config, Capacity::default().leak(), now()).unwrap();
        let mut path = PathConfig::default();
        path.addrs.push(Cidr { addr: local.ip(), prefix: 24 }).unwrap();
        let path = stack.add_path(queue, path).unwrap();
        assert!(stack.cx(now()).neighbor(path, remote.ip(), Some(peer_mac)));
        let mut app = Bulk {
            part,
            pool: &payload,
            conn: None,
            sent: 0,
            released: 0,
            got: 0,
            hash: Sha256::new(),
            waiting: VecDeque::new(),
            fin: false,
            closed: None,
        };
        if app.part == Part::Echo {
            stack.cx(now()).listen(Bind::port(local.port()), 0).unwrap();
            println!("ready");
        } else {
            let any: IpAddr = local.ip();
            let to = Connect { local: Some(any), ports: local.port()..=local.port(), ..Connect::to(remote) };
            app.conn = Some(stack.cx(now()).connect(to).unwrap());
        }
        let mut progress = (HostInstant::now(), 0);
        while app.closed.is_none() {
            if stack.turn(now(), 256, &mut app) != Turn::Busy {
                std::thread::yield_now();
            }
            if app.part == Part::Drive {
                app.push(&mut stack.cx(now()));
            }
            if progress.1 != app.got + app.released {
                progress = (HostInstant::now(), app.got + app.released);
            }
            assert!(
                progress.0.elapsed() < PATIENCE,
                "no progress at {} in, {} out: {:?} {:?}",
                app.got,
                app.released,
                stack.counters(),
                stack.queue_stats(path)
            );
        }
        // TIME-WAIT and the last acknowledgment.
        let linger = HostInstant::now();
        while linger.elapsed() < Duration::from_millis(300) {
            stack.turn(now(), 256, &mut app);
        }
        let stats = stack.queue_stats(path).unwrap();
        let lost = stack.queue_mut(path).map(|q| q.lost);
        println!("{:?} {:?}", app.closed, lost);
        for (name, n) in stack.counters().iter().filter(|(_, n)| *n > 0) {
            println!("  {name} {n}");
        }
        println!("{stats:?}\n{:?}\n{:?}", stack.copies(), port.stats());
        let total = stream::total();
        assert_eq!(app.closed.map(|c| c.reason), Some(CloseReason::Finished));
        assert_eq!((app.got, app.sent, app.released), (total, total, total));
        if app.part == Part::Drive {
            assert_eq!(stream::hex(app.hash), stream::expected(total), "SHA-256 of what came back");
        }
        let expect_loss = !env("LUNA_LOSS").is_empty();
        if expect_loss {
            assert!(stack.counters().retransmits > 0, "there was loss, and nothing was sent again?");
        } else {
            nothing_lost(stack.counters(), Drops::now().since(before), port.stats().rx_missed);
        }
        drop(stack);
    }
    assert_eq!(payload.outstanding(), 0, "payload objs did not come home");
    let closed = port.close().expect("the queue is gone");
    assert_eq!(closed.missing, 0, "objs of the port did not come home");
}

pub(crate) fn server() {
    run(Part::Echo);
}

pub(crate) fn client() {
    run(Part::Drive);
}
