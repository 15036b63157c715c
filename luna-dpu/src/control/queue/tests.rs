//! Two interfaces without a kernel on one in-memory link: they find each other, TCP goes through, ping is answered.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::boxed::Box;
use std::vec::Vec;

use luna_core::nic::{MemEnd, MemLink, MemPort, MemQueue};
use luna_core::stack::{App, Bind, CloseReason, Closed, ConnId, Connect, Cx, Retained, StackConfig};
use luna_core::tcp::TcpConfig;
use luna_core::time::Duration;
use luna_core::zbuf::{DeviceKey, IoAddr, Region, ZONE_SIZE, ZoneLayout};
use smoltcp::wire::{Icmpv4Repr, Icmpv6Repr, IpProtocol};

use super::super::testing::*;
use super::super::{ControlConfig, NetArgs};
use super::*;
use crate::Tables;

type Queue = SplitQueue<MemQueue<'static, 'static>>;

fn pool(size: u32) -> &'static Pool {
    let layout = Layout::from_size_align(ZONE_SIZE, ZONE_SIZE).unwrap();
    // SAFETY: the size is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    // SAFETY: fresh memory, never freed; no device uses the addresses.
    let region = unsafe { Region::new(base, 1, |_| IoAddr(0x8000_0000), DeviceKey(0)) }.unwrap();
    Box::leak(Box::new(Pool::new(region, ZoneLayout::plain(size)).unwrap()))
}

#[derive(Default)]
struct Recorder {
    accepted: usize,
    connected: Vec<ConnId>,
    closed: Vec<CloseReason>,
    got: usize,
}

impl App<Queue> for Recorder {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Queue>, _: ConnId, _: u64, _: core::net::SocketAddr) {
        self.accepted += 1;
    }
    fn on_connected(&mut self, _: &mut Cx<'_, '_, Queue>, conn: ConnId) {
        self.connected.push(conn);
    }
    fn on_data(&mut self, _: &mut Cx<'_, '_, Queue>, _: ConnId, data: Zbuf) -> Retained {
        self.got += data.len() as usize;
        Retained::NOTHING
    }
    fn on_closed(&mut self, _: &mut Cx<'_, '_, Queue>, _: ConnId, closed: Closed) {
        self.closed.push(closed.reason);
    }
}

struct Node {
    stack: Stack<'static, Queue>,
    path: PathId,
    control: Control,
    app: Attended<Recorder>,
    events: Vec<Event>,
    rx: &'static Pool,
}

impl Node {
    fn new(n: u8, end: MemEnd<'static>, args: &str) -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0, n]);
        let (rx, header) = (pool(2048), pool(128));
        let port = MemPort { mac, mtu: 1500, checksum_offload: false };
        let queue = SplitQueue::new(MemQueue::new(end, port, rx, header).unwrap());
        let tables: &'static Tables<16, 32, 64, 64, 16> = Box::leak(Box::new(Tables::new()));
        let config = StackConfig { id: n, seed: [n; 32], tcp: TcpConfig::INTEROP };
        let mut stack = Stack::new(config, tables.take().unwrap(), Instant::ZERO).unwrap();
        let net = NetArgs::parse(args).unwrap();
        let config = ControlConfig { mac, mtu: 1500, net, seed: n.into() };
        let control = Control::new(&config, Instant::ZERO).unwrap();
        let path = stack.add_path(queue, control.path_config()).unwrap();
        Self { stack, path, control, app: Attended::new(Recorder::default()), events: Vec::new(), rx }
    }

    fn turn(&mut self, now: Instant) {
        let Self { stack, path, control, app, events, .. } = self;
        stack.turn(now, 64, app);
        control.turn(now, stack, *path, app, |_, event| events.push(event));
    }
}

/// Two nodes, millisecond by millisecond.
fn run(nodes: &mut [Node; 2], now: &mut Instant, ms: u64) {
    for _ in 0..ms {
        *now = *now + Duration::from_millis(1);
        for _ in 0..3 {
            for node in nodes.iter_mut() {
                node.turn(*now);
            }
        }
    }
}

fn pair(a: &str, b: &str) -> ([Node; 2], Instant) {
    let (end_a, end_b) = Box::leak(Box::new(MemLink::new())).split();
    ([Node::new(1, end_a, a), Node::new(2, end_b, b)], Instant::ZERO)
}

#[test]
fn two_interfaces_find_each_other_and_tcp_goes_through() {
    for (a, b) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let prefix = if a.contains(':') { 64 } else { 24 };
        let args = |ip| std::format!("net.addr={ip}/{prefix}");
        let (mut nodes, mut now) = pair(&args(a), &args(b));
        run(&mut nodes, &mut now, 8_000);
        assert!(nodes.iter().all(|n| n.events.iter().any(|e| matches!(e, Event::Address(..)))));
        nodes[1].stack.cx(now).listen(Bind::port(7), 0).unwrap();
        let to = core::net::SocketAddr::new(b.parse().unwrap(), 7);
        nodes[0].stack.cx(now).connect(Connect::to(to)).unwrap();
        run(&mut nodes, &mut now, 10);
        assert_eq!((nodes[0].app.app.connected.len(), nodes[1].app.app.accepted), (1, 1));
        // While the connection lives, the neighbour is looked after: it is probed, and it answers.
        assert!(nodes[0].stack.uses_neighbor(nodes[0].path, b.parse().unwrap()));
        run(&mut nodes, &mut now, 60_000);
        let c = nodes[0].control.counters();
        assert!(c.solicited == 1 && c.probed >= 1 && c.unresolved == 0, "{c:?}");
        let conn = nodes[0].app.app.connected[0];
        let mut obj = nodes[0].rx.alloc().unwrap();
        obj.append(1000).unwrap();
        let mut iov = heapless::Vec::<Frag, 1>::new();
        assert!(iov.push(Frag::from(obj.freeze())).is_ok());
        nodes[0].stack.cx(now).send(conn, &mut iov, 1).unwrap();
        run(&mut nodes, &mut now, 10);
        assert_eq!(nodes[1].app.app.got, 1000);
        assert_eq!(nodes[0].stack.counters().retransmits, 0);
    }
}

#[test]
fn two_interfaces_with_one_address_notice() {
    let (mut nodes, mut now) = pair("net.addr=10.0.0.1/24", "net.addr=10.0.0.1/24");
    run(&mut nodes, &mut now, 10_000);
    let lost = |n: &Node| n.events.iter().filter(|e| matches!(e, Event::Duplicate(..))).count();
    // RFC 5227 §2.1.1: who probes at the same time loses as well.
    assert!(lost(&nodes[0]) + lost(&nodes[1]) >= 1);
    let used: usize = nodes.iter().map(|n| n.control.path_config().addrs.len()).sum();
    assert!(used <= 1);
}

#[test]
fn a_lost_address_takes_its_connections_with_it_and_sends_no_reset() {
    let (mut nodes, mut now) = pair("net.addr=10.0.0.1/24 net.detect=off", "net.addr=10.0.0.2/24 net.detect=off");
    run(&mut nodes, &mut now, 100);
    nodes[1].stack.cx(now).listen(Bind::port(7), 0).unwrap();
    nodes[0].stack.cx(now).connect(Connect::to("10.0.0.2:7".parse().unwrap())).unwrap();
    run(&mut nodes, &mut now, 10);
    let config = luna_core::stack::PathConfig::default();
    let path = nodes[0].path;
    nodes[0].stack.readdress(now, path, config).unwrap();
    run(&mut nodes, &mut now, 10);
    assert_eq!(nodes[0].app.app.closed, [CloseReason::Aborted]);
    assert!(nodes[1].app.app.closed.is_empty() && nodes[0].stack.counters().resets_out == 0);
    assert_eq!(nodes[0].stack.connections(), 0);
}

#[test]
fn a_long_echo_goes_out_from_where_it_lies_and_a_flood_of_them_is_bounded() {
    let (end_a, end_b) = Box::leak(Box::new(MemLink::new())).split();
    let mut node = Node::new(1, end_a, "net.addr=10.0.0.1/24 net.detect=off");
    let (rx, header) = (pool(2048), pool(2048));
    let port = MemPort { mac: THEM, mtu: 1500, checksum_offload: false };
    let mut peer = MemQueue::new(end_b, port, rx, header).unwrap();
    let mut now = Instant::ZERO;
    node.turn(now);
    let data: Vec<u8> = (0..1400).map(|i| (i * 3) as u8).collect();
    let ping = icmp((THEM, v4(2)), (US, v4(1)), &Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: &data });
    let meta = TxMeta { l2_len: 14, l3_len: 20, l4_len: 0, ipv6: false, offload_checksum: false, segment_size: 0 };
    let send = |peer: &mut MemQueue<'_, '_>, frame: &[u8]| {
        let mut obj = header.alloc().unwrap();
        obj.append(frame.len() as u32).unwrap().copy_from_slice(frame);
        assert!(peer.tx(obj.into(), &[], meta).is_ok());
    };
    let receive = |peer: &mut MemQueue<'_, '_>| {
        let mut burst = RxBurst::new();
        peer.rx_burst(&mut burst);
        (0..burst.len()).map(|i| burst.take(i).unwrap().data.to_vec()).collect::<Vec<_>>()
    };
    receive(&mut peer);
    send(&mut peer, &ping);
    node.turn(now);
    let echo = receive(&mut peer).remove(0);
    assert_eq!(echo[42..], data[..]);
    assert!(holds(&echo[34..]));
    for _ in 0..100 {
        send(&mut peer, &ping);
    }
    now = now + Duration::from_millis(1);
    node.turn(now);
    let queue = node.stack.queue_mut(node.path).unwrap();
    assert_eq!(queue.dropped(), 100 - 32);
    assert_eq!(receive(&mut peer).len(), 32);
    assert_eq!(header.outstanding(), 0);
}

#[test]
fn tcp_and_errors_about_it_stay_with_the_stack() {
    let v4_of = |protocol: u8, kind: u8| ipv4((THEM, v4(2)), (US, v4(1)), IpProtocol::from(protocol), &[kind; 8]);
    let v6_of = |next: u8, kind: u8| ipv6((THEM, v6(2)), (US, v6(1)), IpProtocol::from(next), 64, &[kind; 8]);
    for kind in [3, 4, 5, 11, 12] {
        assert!(!is_control(&v4_of(1, kind)), "{kind}");
    }
    for kind in [1, 2, 3, 4, 127] {
        assert!(!is_control(&v6_of(58, kind)), "{kind}");
    }
    assert!(!is_control(&v4_of(6, 0)) && !is_control(&v6_of(6, 0)));
    assert!(is_control(&v4_of(17, 0)) && is_control(&v4_of(1, 8)) && is_control(&v6_of(58, 135)));
    assert!(is_control(&Arp::request((THEM, v4(2)), v4(1)).frame()));
    // Behind extension headers; with a tag.
    let extended =
        |upper| ipv6((THEM, v6(2)), (US, v6(1)), IpProtocol::Ipv6Opts, 64, &[upper, 0, 1, 4, 0, 0, 0, 0, 128]);
    assert!(!is_control(&extended(6)) && is_control(&extended(58)));
    let mut tagged = v4_of(6, 0);
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert!(!is_control(&tagged));
    tagged[27] = 17;
    assert!(is_control(&tagged));
    let ping = Icmpv6Repr::EchoRequest { ident: 1, seq_no: 1, data: b"" };
    let whole = icmpv6((THEM, v6(2)), (US, v6(1)), 64, &ping);
    for n in 0..whole.len() {
        let _no_panic = is_control(&whole[..n]);
    }
    assert!(!is_control(&[0; 60]), "not IP: the stack counts it");
}

#[test]
fn a_frame_longer_than_a_header_obj_goes_out_in_pieces() {
    // DHCP's, with header objs of 128 bytes.
    let (end_a, end_b) = Box::leak(Box::new(MemLink::new())).split();
    let mut node = Node::new(1, end_a, "net.addr=dhcp");
    let port = MemPort { mac: THEM, mtu: 1500, checksum_offload: false };
    let mut peer = MemQueue::new(end_b, port, pool(2048), pool(128)).unwrap();
    node.turn(Instant::ZERO + Duration::from_secs(2));
    let mut burst = RxBurst::new();
    peer.rx_burst(&mut burst);
    let frame = burst.take(0).unwrap().data;
    assert_eq!((frame.len(), &frame[34..38]), (14 + 20 + 8 + 300, &[0, 68, 0, 67][..]));
}
