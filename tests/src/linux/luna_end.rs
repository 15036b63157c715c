//! Luna's end: the stack over AF_XDP or a tap, with an application that follows the same ledger as the kernel's end.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::time::Instant as HostInstant;

use luna_core::nic::NicQueue;
use luna_core::stack::{
    App, Bind, Cidr, CloseReason, Closed, ConnId, Connect, Cx, PathConfig, Released, Retained, SendError, Stack,
    StackConfig, Turn,
};
use luna_core::tcp::TcpConfig;
use luna_core::tcp::congestion::CongestionKind;
use luna_core::time::Instant;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Frag, Pool, Zbuf, ZoneLayout};
use luna_host::dpdk::{AfXdp, Eal, EalConfig, Memory, PortConfig, PortRange, Vdev};
use luna_host::storage::Capacity;

use super::ledger::{Ledger, PERIOD, stream};
use super::net;
use super::spec::{EndSpec, Ending, LunaPort, Report, Side};
use super::tap;
use crate::memory;

const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a piece of the stream: one obj.
const PIECE: u64 = 16 << 10;
/// Receive window where the task names none: more than the path holds, the router's queue included.
const WINDOW: u32 = 2 << 20;
/// How long an idle end sleeps. Spinning is what Luna does where cores are its own; on a shared machine who sleeps is run
/// at once when it wakes, and who spins or yields waits for its next turn.
const NAP: Duration = Duration::from_micros(10);
/// Pieces of one send, as large as the kernel end's writes.
const GATHER: usize = 16;
/// Sends in a row, so that acknowledgments get their turn.
const PUSH: usize = 8;

/// One period of our stream, in objs that are sent again and again.
struct Pieces(Vec<Zbuf>);

impl Pieces {
    fn new(pool: &Pool, side: Side) -> Self {
        let bytes = stream(side);
        Self(
            bytes
                .chunks(PIECE as usize)
                .map(|chunk| {
                    let mut obj = pool.alloc().expect("the pool holds one period");
                    obj.append(chunk.len() as u32).expect("an obj holds a piece").copy_from_slice(chunk);
                    obj.freeze()
                })
                .collect(),
        )
    }

    /// From stream offset `at`, at most `most` bytes.
    fn at(&self, at: u64, most: u64) -> Zbuf {
        let within = at % PERIOD;
        let start = within % PIECE;
        let end = (start + most).min(PIECE);
        self.0[(within / PIECE) as usize].slice(start as u32..end as u32)
    }
}

struct Player<'p> {
    spec: &'p EndSpec,
    ledger: Ledger,
    pieces: Pieces,
    conn: Option<ConnId>,
    released: u64,
    /// What is held while reading pauses.
    held: Vec<Zbuf>,
    /// Reading stopped then.
    paused: Option<HostInstant>,
    pause_over: bool,
    shut: bool,
    aborted: bool,
    closed: Option<Closed>,
}

impl Player<'_> {
    /// Sends what may be sent, finishes or aborts when it is time.
    fn push<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>) {
        let Some(conn) = self.conn.filter(|_| self.closed.is_none() && !self.aborted) else { return };
        if matches!(self.spec.ending, Ending::Abort(at) if self.ledger.got + self.ledger.sent >= at) {
            self.aborted = true;
            cx.abort(conn).expect("an open connection");
            return;
        }
        for _ in 0..PUSH {
            let most = self.ledger.may_send();
            if most == 0 || self.shut {
                break;
            }
            let mut iov = heapless::Vec::<Frag, GATHER>::new();
            let mut len = 0;
            while len < most && !iov.is_full() {
                let data = self.pieces.at(self.ledger.sent + len, most - len);
                len += u64::from(data.len());
                iov.push(Frag::from(data)).expect("room for one more");
            }
            match cx.send(conn, &mut iov, len) {
                Ok(()) => self.ledger.sent += len,
                Err(SendError::Full | SendError::Stale | SendError::Closing) => break,
                Err(e) => panic!("send: {e}"),
            }
        }
        if !self.shut && self.ledger.sent_all() {
            self.shut = true;
            cx.shutdown(conn).expect("an open connection");
        }
    }

    /// Outside callbacks: time limits and the end of a pause.
    fn tick<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>) {
        if let (Some(since), Some(pause)) = (self.paused, self.spec.pause)
            && since.elapsed() >= Duration::from_millis(pause.ms)
        {
            (self.paused, self.pause_over) = (None, true);
            let size: u32 = self.held.iter().map(Zbuf::true_size).sum();
            self.held.clear();
            if let Some(conn) = self.conn
                && cx.release(conn, size).is_err()
            {
                assert!(self.closed.is_some(), "the connection is gone without a word");
            }
        }
        self.push(cx);
    }
}

impl<Q: NicQueue> App<Q> for Player<'_> {
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, _: u64, _: SocketAddr) {
        self.conn = Some(conn);
        self.ledger.begin();
        self.push(cx);
    }
    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId) {
        self.ledger.begin();
        self.push(cx);
    }
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId, data: Zbuf) -> Retained {
        self.ledger.take(&data);
        if !self.pause_over && self.spec.pause.is_some_and(|p| self.ledger.got >= p.at) {
            self.paused.get_or_insert_with(HostInstant::now);
            let size = data.true_size();
            self.held.push(data);
            return Retained(size);
        }
        self.push(cx);
        Retained::NOTHING
    }
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId, token: u64, outcome: Released) {
        if outcome == Released::Acked {
            self.released += token;
            self.push(cx);
        }
    }
    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId) {
        self.push(cx);
    }
    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, _: ConnId) {
        self.ledger.finished();
        self.push(cx);
    }
    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        self.closed = Some(closed);
    }
}

/// The settings of both Luna's ends, beside what the task says.
fn tcp(spec: &EndSpec, port: &LunaPort) -> TcpConfig {
    let preset = if port.interop { TcpConfig::INTEROP } else { TcpConfig::DATACENTER };
    let window = spec.window.unwrap_or(WINDOW);
    let congestion = match spec.congestion.as_str() {
        "reno" => CongestionKind::NewReno,
        "cubic" => CongestionKind::Cubic,
        other => panic!("Luna has no congestion control of the kind of {other}"),
    };
    let rcv_budget = window.saturating_mul(8).max(256 << 10);
    TcpConfig { rcv_wnd: window, rcv_budget, snd_buf: 2 << 20, congestion, ..preset }
}

fn path(spec: &EndSpec, port: &LunaPort) -> PathConfig {
    let mut path = PathConfig::default();
    let addr = spec.local.ip();
    path.addrs.push(Cidr { addr, prefix: net::prefix(addr.is_ipv6()) }).expect("room for one");
    match port.gateway {
        IpAddr::V4(_) => path.gateway_v4 = Some(port.gateway),
        IpAddr::V6(_) => path.gateway_v6 = Some(port.gateway),
    }
    path
}

pub(crate) fn run(spec: &EndSpec) {
    let luna = spec.luna.as_ref().expect("a Luna end");
    match &luna.tap {
        None => over_af_xdp(spec, luna),
        Some((name, mac)) => over_tap(spec, luna, name, mac.parse().expect("a hardware address")),
    }
}

fn over_af_xdp(spec: &EndSpec, luna: &LunaPort) {
    let eal = Eal::start(&EalConfig { memory_mb: 160, ..EalConfig::default() }).unwrap_or_else(|e| panic!("{e}"));
    let ours = PortRange { first: spec.local.port(), last: spec.local.port() };
    let name = eal.attach(&Vdev::AfXdp(AfXdp::new("e0", vec![ours]))).unwrap_or_else(|e| panic!("{e}"));
    let config = PortConfig { mtu: luna.mtu, ..PortConfig::default() };
    let (port, mut seeds) = eal.open(&name, &config).unwrap_or_else(|e| panic!("{e}"));
    let layout = ZoneLayout::plain(PIECE as u32);
    let memory = eal.memory(Memory::zones_for(layout, (PERIOD / PIECE) as usize)).unwrap_or_else(|e| panic!("{e}"));
    let payload = memory.into_pool(layout).unwrap_or_else(|e| panic!("{e}"));
    let counters = || {
        let stats = port.stats();
        vec![("port_rx_missed", stats.rx_missed), ("port_tx_errors", stats.tx_errors)]
    };
    play(spec, luna, seeds.pop_front().expect("one queue").activate(), &payload, counters);
    // What the device held goes with it.
    let closed = port.close().expect("the queue is gone");
    assert!(eal.reclaim(), "payload references were left to another thread");
    assert_eq!(payload.outstanding(), 0, "payload objs did not come home");
    assert_eq!(closed.missing, 0, "objs of the port did not come home");
}

fn over_tap(spec: &EndSpec, luna: &LunaPort, name: &str, mac: MacAddr) {
    let queue = tap::queue(name, mac, luna.mtu).unwrap_or_else(|e| panic!("{name}: {e}"));
    for command in &luna.then {
        net::run(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let frames = queue.rx_pool();
    let payload = memory::pool(5, PIECE as u32);
    play(spec, luna, queue, payload, Vec::new);
    assert_eq!((payload.outstanding(), frames.outstanding()), (0, 0), "objs did not come home");
}

/// The connection's life, and then whatever the peer still wants, until the parent has heard both ends.
fn play<Q: NicQueue>(
    spec: &EndSpec,
    luna: &LunaPort,
    queue: Q,
    payload: &Pool,
    more: impl Fn() -> Vec<(&'static str, u64)>,
) {
    let done = super::children::end_of_input();
    let exact = core::num::NonZeroU64::MIN;
    rustix::thread::set_current_timer_slack(Some(exact)).expect("PR_SET_TIMERSLACK");
    let gateway_mac: MacAddr = luna.gateway_mac.parse().expect("a hardware address");
    let clock = HostInstant::now();
    let now = || Instant::from_nanos(clock.elapsed().as_nanos() as u64 + 1);
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&std::process::id().to_le_bytes());
    let config = StackConfig { id: 1, seed, tcp: tcp(spec, luna) };
    let mut stack = Stack::new(config, Capacity::default().leak(), now()).expect("a sensible configuration");
    let path = stack.add_path(queue, path(spec, luna)).expect("a sensible path");
    assert!(stack.cx(now()).neighbor(path, luna.gateway, Some(gateway_mac)));
    let mut app = Player {
        spec,
        ledger: Ledger::new(spec),
        pieces: Pieces::new(payload, spec.side),
        conn: None,
        released: 0,
        held: Vec::new(),
        paused: None,
        pause_over: false,
        shut: false,
        aborted: false,
        closed: None,
    };
    if spec.side == Side::Server {
        stack.cx(now()).listen(Bind::port(spec.local.port()), 0).expect("a free port");
    } else {
        let ports = spec.local.port()..=spec.local.port();
        let to = Connect { ports, ..Connect::to(spec.remote) };
        app.conn = Some(stack.cx(now()).connect(to).expect("a connection"));
    }
    println!("ready");
    let mut told = false;
    while !done.load(Ordering::Relaxed) {
        let busy = stack.turn(now(), 256, &mut app) == Turn::Busy;
        if !told {
            if app.paused.is_some() || spec.work.limit_ms.is_some() {
                app.tick(&mut stack.cx(now()));
            }
            let moved = app.ledger.got + app.ledger.sent + app.released + u64::from(app.paused.is_some());
            assert!(
                app.ledger.is_moving(moved, PATIENCE),
                "no progress at {} in, {} out, {} released: {:?} {:?} {:?}",
                app.ledger.got,
                app.ledger.sent,
                app.released,
                app.conn.map(|conn| stack.cx(now()).info(conn)),
                stack.counters(),
                stack.queue_stats(path)
            );
        }
        if app.closed.is_some() && !told {
            told = true;
            let stats = stack.queue_stats(path).expect("our path");
            let of_queue = [
                ("queue_rx_frames", stats.rx_frames),
                ("queue_tx_frames", stats.tx_frames),
                ("queue_rx_no_obj", stats.rx_no_obj),
                ("queue_rx_too_long", stats.rx_too_long),
                ("queue_tx_dropped", stats.tx_dropped),
            ];
            let all = stack.counters().iter().chain(of_queue).chain(more());
            let report = Report {
                sent: app.ledger.sent,
                received: app.ledger.got,
                seconds: app.ledger.seconds(),
                counters: all.filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect(),
            };
            check(spec, &app);
            println!("report {}", serde_json::to_string(&report).expect("plain data"));
        }
        if !busy {
            std::thread::sleep(NAP);
        }
    }
}

/// Whether it ended as it should.
fn check(spec: &EndSpec, app: &Player<'_>) {
    let reason = app.closed.map(|closed| closed.reason);
    match spec.ending {
        Ending::Finished => {
            assert_eq!(reason, Some(CloseReason::Finished));
            app.ledger.check_finished();
            assert_eq!(app.released, app.ledger.sent, "bytes reported as acknowledged");
        }
        Ending::Reset => assert_eq!(reason, Some(CloseReason::Reset)),
        Ending::Abort(_) => assert_eq!(reason, Some(CloseReason::Aborted)),
    }
}
