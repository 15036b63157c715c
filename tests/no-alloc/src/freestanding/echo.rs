//! Two stacks, joined by the in-memory pair, in one thread: 64 KiB there and back, then an orderly close.

use core::array;
use core::net::IpAddr;

use luna_core::nic::{MemEnd, MemLink, MemPort, MemQueue, NicQueue};
use luna_core::stack::{
    App, Bind, Cidr, CloseReason, Closed, ConnId, Connect, Cx, FlowEntry, Listener, Neighbor, PathConfig, Retained,
    Stack, StackConfig, Storage, Turn,
};
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry, TcpConfig};
use luna_core::time::Instant;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Frag, Pool, Region, Zbuf, ZoneLayout};

const PORT: u16 = 7000;
const MESSAGE: u32 = 4096;
const MESSAGES: u32 = 16;

/// The tables of a small stack.
pub(super) struct Tables {
    connections: [Connection; 4],
    flows: [FlowEntry; 8],
    sends: [SendEntry; 64],
    segments: [Segment; 64],
    out_of_order: [OutOfOrder; 16],
    recoveries: [Recovery; 2],
    controls: [Control; 4],
    listeners: [Listener; 1],
    neighbors: [Neighbor; 2],
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            connections: array::from_fn(|_| Connection::default()),
            flows: array::from_fn(|_| FlowEntry::default()),
            sends: array::from_fn(|_| SendEntry::default()),
            segments: array::from_fn(|_| Segment::default()),
            out_of_order: array::from_fn(|_| OutOfOrder::default()),
            recoveries: array::from_fn(|_| Recovery::default()),
            controls: array::from_fn(|_| Control::default()),
            listeners: array::from_fn(|_| Listener::default()),
            neighbors: array::from_fn(|_| Neighbor::default()),
        }
    }

    pub(super) fn storage(&mut self) -> Storage<'_> {
        let Self { connections, flows, sends, segments, out_of_order, recoveries, controls, listeners, neighbors } =
            self;
        Storage { connections, flows, sends, segments, out_of_order, recoveries, controls, listeners, neighbors }
    }
}

/// Sends back what comes, and finishes when the peer does.
struct Server;

impl<Q: NicQueue> App<Q> for Server {
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        if send(cx, conn, data).is_none() {
            // The client then misses data, which fails the run.
            _ = cx.abort(conn);
        }
        Retained::NOTHING
    }

    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        _ = cx.shutdown(conn);
    }
}

/// Compares what comes back, and finishes after the last byte.
#[derive(Default)]
struct Client {
    received: u32,
    wrong: u32,
    closed: Option<Closed>,
}

impl<Q: NicQueue> App<Q> for Client {
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        for byte in data.iter() {
            self.wrong += u32::from(*byte != pattern(self.received));
            self.received += 1;
        }
        if self.received == MESSAGE * MESSAGES {
            _ = cx.shutdown(conn);
        }
        Retained::NOTHING
    }

    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        self.closed = Some(closed);
    }
}

fn pattern(at: u32) -> u8 {
    (at ^ (at >> 8)) as u8
}

fn send<Q: NicQueue>(cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Option<()> {
    let mut iov = heapless::Vec::<Frag, 1>::new();
    iov.push(Frag::from(data)).ok()?;
    cx.send(conn, &mut iov, 0).ok()
}

/// `Some` when every byte came back and both objs and connection were given back.
pub(super) fn run(region: Region) -> Option<()> {
    let pool = |region, obj_size| Pool::new(region, ZoneLayout { obj_size, prefix: 0 }).ok();
    let (first, rest) = region.split_off_front(1).ok()?;
    let (second, rest) = rest.split_off_front(1).ok()?;
    let (third, rest) = rest.split_off_front(1).ok()?;
    let (fourth, fifth) = rest.split_off_front(1).ok()?;
    let (client_rx, client_headers) = (pool(first, 2048)?, pool(second, 512)?);
    let (server_rx, server_headers) = (pool(third, 2048)?, pool(fourth, 512)?);
    let data = pool(fifth, MESSAGE)?;
    let (mut client_tables, mut server_tables) = (Tables::new(), Tables::new());
    let mut link = MemLink::new();
    let (client_end, server_end) = link.split();
    let mut now = Instant::from_nanos(1_000_000_000);
    let mut client = stack(1, client_end, &client_rx, &client_headers, client_tables.storage(), now)?;
    let mut server = stack(2, server_end, &server_rx, &server_headers, server_tables.storage(), now)?;
    server.cx(now).listen(Bind::port(PORT), 0).ok()?;
    let conn = client.cx(now).connect(Connect::to((address(2), PORT).into())).ok()?;
    for message in 0..MESSAGES {
        let mut buffer = data.alloc()?;
        let bytes = buffer.append(MESSAGE)?.iter_mut().zip(message * MESSAGE..);
        bytes.for_each(|(byte, at)| *byte = pattern(at));
        send(&mut client.cx(now), conn, buffer.freeze())?;
    }
    let mut app = Client::default();
    // Virtual time: it moves only when both have nothing to do, so that timers (TIME-WAIT too) cost nothing.
    for _ in 0..100_000 {
        let turns = [client.turn(now, 64, &mut app), server.turn(now, 64, &mut Server)];
        if client.connections() + server.connections() == 0 {
            break;
        }
        if let [Turn::IdleUntil(a), Turn::IdleUntil(b)] = turns {
            now = if a < b { a } else { b };
        }
    }
    let finished = app.closed.is_some_and(|closed| closed.reason == CloseReason::Finished);
    let complete = app.received == MESSAGE * MESSAGES && app.wrong == 0 && client.counters().retransmits == 0;
    let given_back = client.connections() + server.connections() == 0 && data.outstanding() == 0;
    (finished && complete && given_back).then_some(())
}

fn stack<'m>(
    n: u8,
    end: MemEnd<'m>,
    rx: &'m Pool,
    headers: &'m Pool,
    storage: Storage<'m>,
    now: Instant,
) -> Option<Stack<'m, MemQueue<'m, 'm>>> {
    let queue = MemQueue::new(end, MemPort { mac: mac(n), mtu: 1500, checksum_offload: false }, rx, headers).ok()?;
    let config = StackConfig { id: n, seed: [n; 32], tcp: TcpConfig::DATACENTER };
    let mut stack = Stack::new(config, storage, now).ok()?;
    let mut path = PathConfig::default();
    path.addrs.push(Cidr { addr: address(n), prefix: 24 }).ok()?;
    let path = stack.add_path(queue, path).ok()?;
    stack.cx(now).neighbor(path, address(3 - n), Some(mac(3 - n))).then_some(stack)
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}
