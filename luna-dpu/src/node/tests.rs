//! Two nodes over the in-memory pair: what images do, without a machine.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::thread;
use std::time::Instant as HostInstant;

use luna_core::nic::{MemEnd, MemLink, MemPort, MemQueue};
use luna_core::rpc::{
    CallId, CallSlot, FragVec, Handler, Request, Response, RpcError, Session, SessionConfig, SessionCx, Status,
};
use luna_core::stack::{
    App, Bind, Cidr, ConnId, ConnStream, Connect, Cx, PathConfig, PathId, Retained, Stack, StackConfig,
};
use luna_core::tcp::TcpConfig;
use luna_core::time::{Duration, Instant};
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Frag, Pool, ZONE_SIZE, Zbuf, ZoneLayout};

use super::app::NodeApp;
use super::bench_types::ECHO;
use super::*;
use crate::arena::Arena;
use crate::control::NetArgs;
use crate::{Tables, TickClock};

static TABLES: [Tables<16, 32, 1024, 1024, 128>; 14] = [const { Tables::new() }; 14];

fn arena() -> Arena {
    let len = 16 * ZONE_SIZE;
    // SAFETY: the length is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(Layout::from_size_align(len, ZONE_SIZE).unwrap()) }).unwrap();
    // SAFETY: fresh memory, never freed; no device exists.
    unsafe { Arena::new(base, len, 0) }
}

/// Runs a node at one end to its own end, or until `stop` says so.
fn node(tables: usize, end: MemEnd<'static>, n: u8, words: &str, stop: impl Fn() -> bool) -> NodeReport {
    let mut arena = arena();
    let pool = |arena: &mut Arena, zones, size| {
        let pool = Pool::new(arena.zones(zones).unwrap(), ZoneLayout::plain(size)).unwrap();
        &*arena.put(pool).unwrap()
    };
    let (rx, header) = (pool(&mut arena, 4, 2048), pool(&mut arena, 1, 512));
    let payload = pool(&mut arena, 2, 16 << 10);
    let port = MemPort { mac: MacAddr([2, 0, 0, 0, 0, n]), mtu: 1500, checksum_offload: false };
    let queue = MemQueue::new(end, port, rx, header).unwrap();
    let line = format!("net.addr=10.0.0.{n}/24 net.detect=off {words}");
    let settings = Settings::parse(&line).unwrap();
    let sessions = Sessions::new(&mut arena, 4, 64).unwrap();
    let start = HostInstant::now();
    let clock = TickClock::new(1_000_000_000, || start.elapsed().as_nanos() as u64 + 1).unwrap();
    let parts = NodeParts {
        id: n,
        queue,
        storage: TABLES[tables].take().unwrap(),
        sessions,
        payload,
        settings,
        net: NetArgs::parse(&line).unwrap(),
        seed: [n; 32],
    };
    let mut node = Node::new(parts, clock).unwrap();
    node.run(
        |_| {},
        |_, _| {
            thread::yield_now();
            !stop()
        },
    )
}

/// A client with `client`'s settings against a server with `server`'s, each on a thread of its own.
fn play(tables: usize, client: &str, server: &str) -> (NodeReport, NodeReport) {
    let (a, b) = Box::leak(Box::new(MemLink::new())).split();
    let server = server.to_owned();
    let serving = thread::spawn(move || {
        let start = HostInstant::now();
        node(tables, b, 2, &server, || start.elapsed().as_secs() > 60)
    });
    let client = node(tables + 1, a, 1, &format!("connect=10.0.0.2:7480 {client}"), || false);
    (client, serving.join().unwrap())
}

#[track_caller]
fn assert_done((client, server): (NodeReport, NodeReport), count: u32) {
    let Ending::Bench(report) = client.ending else { panic!("{:?}", client.ending) };
    assert_eq!((report.completed, server.ending, server.served), (count, Ending::Served, u64::from(count)));
    assert_eq!((server.refused, client.refused), ((0, 0), (0, 0)));
    assert!(report.fastest <= report.slowest && report.slowest <= report.elapsed);
}

#[test]
fn small_and_large_requests_come_back_as_they_were() {
    assert_done(play(0, "count=2000 size=4096 depth=4", "until=1"), 2000);
    assert_done(play(2, "count=200 size=65536 depth=2", "until=1"), 200);
}

#[test]
fn nothing_is_copied_but_what_is_small() {
    let (client, server) = play(4, "count=500 size=4096", "until=1");
    assert_done((client, server), 500);
    // The tail of 4096 bytes in segments of 1448 is large; nothing is behind a header.
    assert_eq!((client.copied, server.copied), (0, 0));
}

#[test]
fn lost_frames_are_sent_again() {
    let (client, server) = play(6, "count=1000 size=4096 depth=4 loss=10", "until=1 loss=10");
    assert!(client.lost + server.lost > 50, "{} and {}", client.lost, server.lost);
    assert!(client.counters.retransmits + server.counters.retransmits > 20);
    assert_done((client, server), 1000);
}

#[test]
fn a_server_that_is_not_there_is_told_within_patience() {
    let (a, _) = Box::leak(Box::new(MemLink::new())).split();
    let asked = Cell::new(0);
    let report = node(8, a, 1, "connect=10.0.0.2:7480 patience=1", || {
        asked.set(asked.get() + 1);
        false
    });
    assert!(matches!(report.ending, Ending::Failed(_)), "{:?}", report.ending);
    assert!(asked.get() > 0, "it was idle meanwhile");
}

#[test]
fn a_pair_on_one_core_counts_its_requests() {
    let start = HostInstant::now();
    let ticks = || start.elapsed().as_nanos() as u64 + 1;
    let clock = TickClock::new(1_000_000_000, ticks).unwrap();
    let storage = [10, 11].map(|i| TABLES[i].take().unwrap());
    let settings = Settings { count: 500, verify: false, ..Settings::default() };
    let report = run_pair(&mut arena(), storage, settings, clock, ticks).unwrap();
    assert_eq!((report.requests, report.copied), (450, 0));
    assert!(report.ticks > 0);
    let (stack, session) = bytes_per_connection();
    assert!(stack < 2048 && session < 24 << 10, "{stack} and {session}");
}

type Queue = MemQueue<'static, 'static>;

/// How calls ended.
#[derive(Default)]
struct Ends(Vec<Status>);

impl Handler for Ends {
    fn on_request<S: luna_core::rpc::ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>, _: Request<'_>) {}

    fn on_response<S: luna_core::rpc::ByteStream>(
        &mut self,
        _: &mut SessionCx<'_, '_, S>,
        _: CallId,
        _: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        self.0.push(result.unwrap().status);
    }
}

struct Caller {
    session: Session<'static>,
    ends: Ends,
    up: bool,
}

impl App<Queue> for Caller {
    fn on_connected(&mut self, _: &mut Cx<'_, '_, Queue>, _: ConnId) {
        self.up = true;
    }

    fn on_data(&mut self, cx: &mut Cx<'_, '_, Queue>, conn: ConnId, data: Zbuf) -> Retained {
        self.session.handle_data(data, &mut ConnStream { cx, conn }, &mut self.ends).unwrap();
        Retained::NOTHING
    }
}

/// More requests than there is room to answer, or to keep: those that are refused are told so, when there is room for that.
#[test]
fn answers_that_found_no_room_are_sent_when_there_is_some() {
    let mut arena = arena();
    let mut pool = |zones, size| {
        let pool = Pool::new(arena.zones(zones).unwrap(), ZoneLayout::plain(size)).unwrap();
        &*arena.put(pool).unwrap()
    };
    let (rx, header, payload) = (pool(3, 2048), pool(1, 704), pool(1, 2048));
    let (a, b) = Box::leak(Box::new(MemLink::new())).split();
    let mut now = Instant::from_nanos(1);
    let addr = |n: u8| core::net::IpAddr::from([10, 0, 0, n]);
    let mac = |n: u8| MacAddr([2, 0, 0, 0, 0, n]);
    let stack = |n: u8, end, tcp| {
        let port = MemPort { mac: mac(n), mtu: 1500, checksum_offload: true };
        let queue: Queue = MemQueue::new(end, port, rx, header).unwrap();
        let storage = TABLES[11 + usize::from(n)].take().unwrap();
        let mut stack = Stack::new(StackConfig { id: n, seed: [n; 32], tcp }, storage, now).unwrap();
        let mut path = PathConfig::default();
        path.addrs.push(Cidr { addr: addr(n), prefix: 24 }).unwrap();
        let path: PathId = stack.add_path(queue, path).unwrap();
        assert!(stack.cx(now).neighbor(path, addr(3 - n), Some(mac(3 - n))));
        stack
    };
    // Three answers fill the server's buffer to the byte.
    let (size, calls) = (1024, 40);
    let tcp = TcpConfig { snd_buf: 3 * (size + 40), ..TcpConfig::DATACENTER };
    let (mut client, mut server) = (stack(1, a, TcpConfig::DATACENTER), stack(2, b, tcp));
    let slots = arena.slice::<CallSlot>(calls).unwrap();
    let session = Session::new(SessionConfig::DEFAULT, slots, &mut []).unwrap();
    let mut caller = Caller { session, ends: Ends::default(), up: false };
    let mut app = NodeApp::new(Sessions::new(&mut arena, 4, 1).unwrap(), None);
    server.cx(now).listen(Bind::port(7), 0).unwrap();
    let conn = client.cx(now).connect(Connect::to((addr(2), 7).into())).unwrap();
    let mut rounds = 0;
    while caller.ends.0.len() < calls {
        now = now + Duration::from_micros(100);
        client.turn(now, 256, &mut caller);
        if caller.up && caller.session.counters().calls == 0 {
            for _ in 0..calls {
                let mut out = FragVec::new();
                out.push(Frag::from(payload.alloc_len(size).unwrap().freeze())).unwrap();
                let mut cx = client.cx(now);
                let stream = &mut ConnStream { cx: &mut cx, conn };
                caller.session.call(stream, ECHO, &[], &mut out, None, 0).unwrap();
            }
            client.turn(now, 256, &mut caller);
        }
        server.turn(now, 256, &mut app);
        app.poll(&mut server.cx(now));
        rounds += 1;
        assert!(rounds < 1000, "{} of {calls} calls ended", caller.ends.0.len());
    }
    let busy = caller.ends.0.iter().filter(|s| **s == Status::BUSY).count();
    assert_eq!(busy, calls - 3 - app::PARKED, "the rest was answered: {:?}", caller.ends.0);
}
