use super::harness::*;
use crate::stack::*;
use crate::tcp::{State, TcpConfig};
use crate::time::Duration;

/// Sends `n` buffers of 8 KiB from a to b and checks content, tokens and that nothing was retransmitted.
fn transfer(o: &Options, n: usize) -> Pair {
    let (mut p, a, _) = Pair::open(o);
    for i in 0..n {
        let data = p.a.buffer(8192, i * 8192);
        while p.a.send(p.now, a, &data, i as u64) == Err(SendError::Full) {
            p.run(Duration::from_micros(100));
        }
        drop(data);
        p.settle();
    }
    assert!(p.run_until(Duration::from_secs(5), |p| p.a.app.released.len() == n));
    expect_pattern(&p.b.app.received, n * 8192);
    let want: Vec<_> = (0..n as u64).map(|i| (i, Released::Acked)).collect();
    assert_eq!(p.a.app.released, want);
    assert_eq!((p.a.stack.counters().retransmits, p.a.stack.counters().rtos), (0, 0));
    p
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn bytes_arrive_once_in_order_over_every_kind_of_path() {
    for ipv6 in [false, true] {
        for vlan in [None, Some(42)] {
            for checksum_offload in [false, true] {
                for mtu in [1500, 9000] {
                    transfer(&Options { ipv6, vlan, checksum_offload, mtu, ..Options::default() }, 50);
                }
            }
        }
    }
}

#[test]
fn every_mix_of_options_interoperates() {
    for bits in 0..64u32 {
        let tcp = |shift: u32| TcpConfig {
            timestamps: bits >> shift & 1 == 1,
            sack: bits >> (shift + 1) & 1 == 1,
            window_scaling: bits >> (shift + 2) & 1 == 1,
            ..TcpConfig::DATACENTER
        };
        let (ta, tb) = (tcp(0), tcp(3));
        let o = Options { tcp_a: ta, tcp_b: tb, ..Options::default() };
        let p = transfer(&o, 20);
        assert!(p.a.stack.counters().fast_path > 0);
        let (mut p, a, _) = Pair::open(&o);
        let info = p.info_a(a);
        assert_eq!(info.timestamps, ta.timestamps && tb.timestamps);
        assert_eq!(info.sack, ta.sack && tb.sack);
        assert_eq!(info.window_scale.0 > 0, ta.window_scaling && tb.window_scaling);
    }
}

#[test]
fn in_order_traffic_takes_the_fast_path_and_feeds_the_estimators() {
    let mut p = transfer(&Options::default(), 200);
    let c = *p.b.stack.counters();
    // All but the handshake's ACK.
    assert!(c.fast_path + 2 >= c.segments_in, "{} of {}", c.fast_path, c.segments_in);
    assert!(p.a.stack.counters().rtt_samples > 10);
    let a = p.a.app.connected[0];
    let info = p.info_a(a);
    assert_eq!(info.state, State::Established);
    assert_eq!(info.mss, 1448);
    assert!(info.timestamps && info.sack && info.window_scale.1 > 0);
    assert_eq!((info.queued, info.in_flight), (0, 0));
    assert!(info.srtt > Duration::ZERO);
}

#[test]
fn echo_both_ways_rides_acknowledgments_on_data() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.b.app.echo = true;
    for i in 0..100 {
        let data = p.a.buffer(4096, i * 4096);
        p.a.send(p.now, a, &data, i as u64).unwrap();
        drop(data);
        p.settle();
    }
    expect_pattern(&p.a.app.received, 100 * 4096);
    let (ca, cb) = (p.a.stack.counters(), p.b.stack.counters());
    assert_eq!(cb.acks_out, 0, "the server's acknowledgments ride on responses");
    assert_eq!((ca.retransmits, cb.retransmits), (0, 0));
}

#[test]
fn a_lone_segment_is_acknowledged_after_the_delay_two_at_once() {
    let (mut p, a, _) = Pair::open(&Options::default());
    let data = p.a.buffer(100, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    p.settle();
    assert!(p.a.app.released.is_empty(), "delayed");
    p.run(Duration::from_micros(200));
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
    let data = p.a.buffer(3000, 0);
    p.a.send(p.now, a, &data, 2).unwrap();
    p.settle();
    assert_eq!(p.a.app.released.len(), 2, "not delayed");
}

#[test]
fn accept_reports_listener_and_peer_and_names_carry_the_stack() {
    let o = Options::default();
    let (p, a, b) = Pair::open(&o);
    let (conn, user, remote) = p.b.app.accepted[0];
    assert_eq!((conn, user, remote.ip()), (b, 5, addr(&o, 1)));
    assert!(remote.port() >= 61440, "Luna's client ports");
    assert_eq!((a.stack(), b.stack()), (1, 2));
}

#[test]
fn an_unknown_neighbour_is_asked_for_once_and_the_connection_waits() {
    let o = Options { known_neighbors: false, ..Options::default() };
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let peer = addr(&o, 2);
    p.a.stack.cx(now).connect(Connect::to((peer, PORT).into())).unwrap();
    p.run(Duration::from_millis(300));
    assert_eq!(p.a.app.neighbors, [peer]);
    assert_eq!(p.a.stack.counters().segments_out, 0);
    let path = p.a.path;
    let now = p.now;
    assert!(p.a.stack.cx(now).neighbor(path, peer, Some(crate::wire::MacAddr([2, 0, 0, 0, 0, 2]))));
    p.settle();
    assert_eq!(p.a.app.connected.len(), 1);
}

#[test]
fn both_sides_open_at_once() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    let to = |n, local: u16, remote: u16| Connect { ports: local..=local, ..Connect::to((addr(&o, n), remote).into()) };
    let a = p.a.stack.cx(now).connect(to(2, 5000, 6000)).unwrap();
    let b = p.b.stack.cx(now).connect(to(1, 6000, 5000)).unwrap();
    // Both SYNs leave before either is seen.
    p.a.stack.turn(now, 0, &mut p.a.app);
    p.b.stack.flush_dirty(&mut p.b.app);
    p.run(Duration::from_millis(100));
    assert_eq!((&p.a.app.connected[..], &p.b.app.connected[..]), (&[a][..], &[b][..]));
    let data = p.a.buffer(5000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    let data_b = p.b.buffer(5000, 0);
    p.b.send(p.now, b, &data_b, 1).unwrap();
    p.run(Duration::from_millis(10));
    expect_pattern(&p.a.app.received, 5000);
    expect_pattern(&p.b.app.received, 5000);
}

#[test]
fn a_closed_port_refuses() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    let conn = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), 9).into())).unwrap();
    p.settle();
    assert_eq!(p.a.app.closed, [(conn, Closed { reason: CloseReason::Refused, maybe_delivered: false })]);
    assert_eq!((p.b.stack.counters().no_connection, p.b.stack.counters().resets_out), (1, 1));
    p.assert_clean();
}

#[test]
fn two_stacks_in_two_threads() {
    use crate::nic::{MemLink, MemPort, MemQueue};
    use crate::zbuf::{Frag, Pool, Zbuf, ZoneLayout, testing};
    use core::sync::atomic::{AtomicBool, Ordering};

    struct Echo(usize);
    impl<Q: NicQueue> App<Q> for Echo {
        fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
            self.0 += data.len() as usize;
            let mut iov = heapless::Vec::<Frag, 1>::new();
            iov.push(Frag::from(data)).unwrap();
            cx.send(conn, &mut iov, 0).unwrap();
            Retained::NOTHING
        }
    }
    struct Client {
        sent: usize,
        got: Vec<u8>,
        total: usize,
    }
    impl Client {
        fn push<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, pool: &Pool) {
            let mut m = pool.alloc().unwrap();
            m.append(4096).unwrap().iter_mut().enumerate().for_each(|(i, b)| *b = pattern(self.sent + i));
            let mut iov = heapless::Vec::<Frag, 1>::new();
            iov.push(Frag::from(m.freeze())).unwrap();
            cx.send(conn, &mut iov, 0).unwrap();
            self.sent += 4096;
        }
    }
    impl<Q: NicQueue> App<Q> for Client {
        fn on_data(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, data: Zbuf) -> Retained {
            self.got.extend_from_slice(&data);
            Retained::NOTHING
        }
    }
    fn stack<'m>(n: u8, queue: MemQueue<'m, 'm>, start: Instant) -> Stack<'m, MemQueue<'m, 'm>> {
        let o = Options::default();
        // Threads wait for a core longer than any path delays: no timer is to take that for loss.
        let wait = Duration::from_secs(2);
        let tcp = TcpConfig { min_rto: wait, initial_rto: wait, min_pto: wait, ..TcpConfig::DATACENTER };
        let config = StackConfig { id: n, seed: [n; 32], tcp };
        let mut s = Stack::new(config, storage_for_tests(&o), start).unwrap();
        let mut path = PathConfig::default();
        path.addrs.push(Cidr { addr: addr(&o, n.into()), prefix: 24 }).unwrap();
        let id = s.add_path(queue, path).unwrap();
        s.cx(start).neighbor(id, addr(&o, u16::from(3 - n)), Some(crate::wire::MacAddr([2, 0, 0, 0, 0, 3 - n])));
        s
    }
    let port = |n| MemPort { mac: crate::wire::MacAddr([2, 0, 0, 0, 0, n]), mtu: 1500, checksum_offload: false };
    let mut link = MemLink::new();
    let (end_a, end_b) = link.split();
    let done = AtomicBool::new(false);
    let clock = std::time::Instant::now();
    let now = || Instant::from_nanos(1 + clock.elapsed().as_nanos() as u64);
    std::thread::scope(|s| {
        s.spawn(|| {
            let (rx, header) = (testing::pool(2, 2048), testing::pool(1, 512));
            let mut stack = stack(2, MemQueue::new(end_b, port(2), &rx, &header).unwrap(), now());
            stack.cx(now()).listen(Bind::port(PORT), 0).unwrap();
            let mut app = Echo(0);
            while !done.load(Ordering::Relaxed) {
                if stack.turn(now(), 256, &mut app) != Turn::Busy {
                    std::thread::yield_now();
                }
            }
            assert_eq!(app.0, 200 * 4096);
        });
        let (rx, header) = (testing::pool(2, 2048), testing::pool(1, 512));
        let data = Pool::new(testing::region(2), ZoneLayout::plain(4096)).unwrap();
        let mut stack = stack(1, MemQueue::new(end_a, port(1), &rx, &header).unwrap(), now());
        let mut app = Client { sent: 0, got: Vec::new(), total: 200 * 4096 };
        let conn = stack.cx(now()).connect(Connect::to((addr(&Options::default(), 2), PORT).into())).unwrap();
        let limit = now() + Duration::from_secs(60);
        while app.got.len() < app.total {
            assert!(now() < limit, "stuck at {} of {}: {:?}", app.got.len(), app.total, stack.counters());
            if app.sent < app.total && app.sent - app.got.len() < 16 * 4096 {
                app.push(&mut stack.cx(now()), conn, &data);
            }
            if stack.turn(now(), 256, &mut app) != Turn::Busy {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        expect_pattern(&app.got, 200 * 4096);
        assert_eq!(stack.counters().retransmits, 0);
    });
}

#[test]
fn a_path_may_begin_without_an_address_and_lose_it_again() {
    let o = Options { known_neighbors: true, ..Options::default() };
    let mut p = Pair::new(&o);
    let (now, path, peer) = (p.now, p.a.path, addr(&o, 2));
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let with = p.a.stack.paths[0].config.clone();
    p.a.stack.readdress(now, path, PathConfig::default()).unwrap();
    let to = || Connect::to((peer, PORT).into());
    assert_eq!(p.a.stack.cx(now).connect(to()), Err(ConnectError::NoPath));
    p.a.stack.readdress(now, path, with.clone()).unwrap();
    p.a.stack.cx(now).connect(to()).unwrap();
    p.settle();
    assert_eq!(p.a.app.connected.len(), 1);
    assert!(p.a.stack.uses_neighbor(path, peer) && !p.a.stack.uses_neighbor(path, addr(&o, 3)));
    // The same addresses again change nothing; without them the connection is over here, and the peer hears nothing.
    let now = p.now;
    p.a.stack.readdress(now, path, with).unwrap();
    p.settle();
    assert!(p.a.app.closed.is_empty());
    let sent = p.a.stack.counters().segments_out;
    p.a.stack.readdress(now, path, PathConfig::default()).unwrap();
    p.settle();
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::Aborted);
    assert_eq!((p.a.stack.counters().segments_out, p.b.app.closed.len()), (sent, 0));
    assert!(!p.a.stack.uses_neighbor(path, peer));
    let elsewhere = PathId(3);
    let refused = p.a.stack.readdress(now, elsewhere, PathConfig::default());
    assert_eq!(refused, Err(ConfigError::NoPath));
}

#[test]
fn connections_follow_their_path_to_another_vlan() {
    let o = Options { vlan: Some(5), ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    for vlan in [Some(6), None, Some(5)] {
        let now = p.now;
        for end in [&mut p.a, &mut p.b] {
            let config = PathConfig { vlan, ..end.stack.paths[0].config.clone() };
            end.stack.readdress(now, end.path, config).unwrap();
        }
        p.b.app.received.clear();
        let data = p.a.buffer(3000, 0);
        p.a.send(now, a, &data, 1).unwrap();
        p.run(Duration::from_millis(1));
        expect_pattern(&p.b.app.received, 3000);
    }
    let (a, b) = (p.a.stack.counters(), p.b.stack.counters());
    assert_eq!((a.retransmits, a.not_ours, b.not_ours), (0, 0, 0));
}
