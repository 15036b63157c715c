//! Every table is bounded, and a full one is an answer.

use core::net::{IpAddr, SocketAddr};

use super::harness::*;
use crate::socket::*;
use crate::stack::{CLIENT_PORTS, CloseReason, ConfigError};
use crate::tcp::{MAX_PROFILES, State, TcpConfig};
use crate::time::{Duration, Instant};

#[test]
fn the_accept_queue_is_bounded_by_the_backlog() {
    let without_cookies = TcpConfig { syn_cookies: false, ..BASE };
    let mut p = Pair::new(&Options { tcp: [without_cookies; 2], ..Options::default() });
    let l = p.listen(2);
    assert_eq!(p.b.accept(l), Err(SocketError::WouldBlock));
    let clients = [p.connect(), p.connect(), p.connect()];
    p.settle();
    assert_eq!(p.b.next_ready(), Some(l));
    assert_eq!(p.b.counters().backlog_full, 1);
    assert!(p.b.ready(l).unwrap().readable);
    let (first, from) = p.b.accept(l).unwrap();
    assert_eq!(Ok(from), p.a.local_addr(clients[0]), "in their order");
    // There is room again: the third one's repeated SYN is answered.
    p.run(Duration::from_millis(50));
    assert_eq!(p.b.counters().passive_opens, 3);
    let rest = [p.b.accept(l).unwrap().0, p.b.accept(l).unwrap().0];
    assert_eq!(p.b.accept(l), Err(SocketError::WouldBlock));
    p.a.send(p.now, clients[2], b"third").unwrap();
    p.settle();
    assert_eq!(p.b.read_all(p.now, rest[1]).0, b"third");
    for c in clients {
        p.a.abort(p.now, c).unwrap();
    }
    p.settle();
    for s in [first, rest[0], rest[1]] {
        assert_eq!(p.b.take_error(s), Ok(Some(CloseReason::Reset)));
        p.b.close(p.now, s).unwrap();
    }
    p.assert_clean();
}

/// With cookies the third believes itself connected, and is as soon as there is room and it says something.
#[test]
#[cfg_attr(not(feature = "cookies"), ignore = "needs cookies")]
fn a_cookie_waits_for_room_in_the_accept_queue() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(2);
    let clients = [p.connect(), p.connect(), p.connect()];
    p.settle();
    assert_eq!((p.b.counters().syn_cookies_out, p.b.counters().passive_opens), (1, 2));
    p.a.send(p.now, clients[2], b"third").unwrap();
    p.settle();
    assert_eq!(p.b.counters().passive_opens, 2, "the queue is full");
    let first = p.b.accept(l).unwrap().0;
    p.run(Duration::from_millis(100));
    assert_eq!((p.b.counters().passive_opens, p.b.counters().resets_out), (3, 0));
    let rest = [p.b.accept(l).unwrap().0, p.b.accept(l).unwrap().0];
    assert_eq!(p.b.read_all(p.now, rest[1]).0, b"third");
    for c in clients {
        p.a.abort(p.now, c).unwrap();
    }
    p.settle();
    for s in [first, rest[0], rest[1]] {
        p.b.close(p.now, s).unwrap();
    }
    p.assert_clean();
}

#[test]
fn established_connections_that_wait_take_their_place_in_the_backlog() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(1);
    let first = p.connect();
    p.settle();
    let second = p.connect();
    p.settle();
    assert_eq!(p.a.state(second), Ok(SocketState::Connection(State::SynSent)), "not answered, not refused either");
    assert_eq!((p.b.counters().backlog_full, p.b.stats().accept_refused), (1, 0));
    p.b.accept(l).unwrap();
    p.run(Duration::from_millis(50));
    assert!(p.b.accept(l).is_ok());
    assert_eq!(p.a.take_error(first), Ok(None));
}

#[test]
fn accepted_sockets_have_their_listeners_settings_and_give_them_back() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(8);
    let odd = TcpConfig { ttl: 77, ..BASE };
    p.b.set_config(p.now, l, &odd).unwrap();
    p.b.set_option(p.now, l, SocketOption::LingerZero(true)).unwrap();
    for _ in 0..3 {
        let c = p.connect();
        p.settle();
        let (s, _) = p.b.accept(l).unwrap();
        assert_eq!(p.b.config(s).unwrap().ttl, 77);
        p.b.close(p.now, s).unwrap();
        p.settle();
        assert_eq!(p.a.take_error(c), Ok(Some(CloseReason::Reset)), "without lingering, as the listener");
        p.a.close(p.now, c).unwrap();
    }
    p.b.close(p.now, l).unwrap();
    let free = (1..).map_while(|n| p.b.add_profile(&TcpConfig { tos: n * 4, ..BASE }).ok()).count();
    assert_eq!(free, MAX_PROFILES - 1, "every place but the stack's own is free again");
}

#[test]
fn a_connection_that_died_in_the_queue_is_accepted_and_then_told() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(2);
    let c = p.connect();
    p.settle();
    p.a.send(p.now, c, b"bye").unwrap();
    p.settle();
    p.a.abort(p.now, c).unwrap();
    p.settle();
    let (s, _) = p.b.accept(l).unwrap();
    assert_eq!(p.b.read_all(p.now, s), (b"bye".to_vec(), Err(SocketError::Ended(CloseReason::Reset))));
    p.b.close(p.now, s).unwrap();
    p.assert_clean();
}

#[test]
fn closing_a_listener_resets_what_nobody_accepted() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(4);
    let queued = p.connect();
    p.settle();
    // One more is between SYN and acknowledgment.
    let halfway = p.connect();
    let syn = p.a.take(p.now).unwrap();
    p.b.input(p.now, &syn).unwrap();
    p.b.close(p.now, l).unwrap();
    p.settle();
    assert_eq!(p.a.take_error(queued), Ok(Some(CloseReason::Reset)));
    assert_eq!(p.a.take_error(halfway), Ok(Some(CloseReason::Reset)));
    assert_eq!(p.b.sockets(), 0);
    let refused = p.connect();
    p.settle();
    assert_eq!(p.a.take_error(refused), Ok(Some(CloseReason::Refused)));
    p.assert_clean();
}

#[test]
fn without_a_socket_slot_a_connection_is_refused_and_counted() {
    let mut p = Pair::new(&Options { sockets: 2, ..Options::default() });
    let _l = p.listen(4);
    let (c, d) = (p.connect(), p.connect());
    p.settle();
    assert_eq!((p.a.take_error(c), p.a.take_error(d)), (Ok(None), Ok(Some(CloseReason::Reset))));
    assert_eq!(p.b.stats().accept_refused, 1);
    assert_eq!(p.a.socket(), Err(SocketError::NoSocket));
    p.a.close(p.now, d).unwrap();
    assert!(p.a.socket().is_ok());
}

#[test]
fn without_pieces_for_unread_data_a_connection_is_reset_and_counted() {
    let mut p = Pair::new(&Options { chunks: 3, ..Options::default() });
    let (c, s, _) = p.open();
    p.a.send(p.now, c, &pattern(20_000)).unwrap();
    p.settle();
    assert_eq!(p.b.stats().chunks_full, 1);
    assert_eq!(p.b.state(s), Ok(SocketState::Ended(CloseReason::Aborted)));
    assert_eq!(p.b.read_all(p.now, s).0, pattern(20_000)[..3 * 1448], "what was taken in can be read");
    assert_eq!(p.a.take_error(c), Ok(Some(CloseReason::Reset)));
    p.b.close(p.now, s).unwrap();
    p.assert_clean();
}

#[test]
fn a_full_packet_ring_holds_output_back_until_packets_are_taken() {
    let mut p = Pair::new(&Options { packets: 2, ..Options::default() });
    let (c, s, _) = p.open();
    let data = pattern(40_000);
    p.a.send(p.now, c, &data).unwrap();
    assert!(p.a.poll_at() <= p.now + Duration::from_millis(1));
    let mut got = Vec::new();
    for _ in 0..200 {
        p.settle();
        got.extend(p.b.read_all(p.now, s).0);
        p.run(Duration::from_micros(500));
    }
    assert!(got == data, "{} bytes", got.len());
    assert_eq!(p.a.counters().retransmits, 0, "nothing was lost");
}

#[test]
fn sending_takes_what_there_is_room_for() {
    let a = TcpConfig { snd_buf: 10_000, ..BASE };
    let mut p = Pair::new(&Options { tcp: [a, BASE], ..Options::default() });
    let (c, s, _) = p.open();
    while p.a.next_ready().is_some() {}
    let data = pattern(25_000);
    assert_eq!(p.a.send(p.now, c, &data), Ok(10_000));
    assert_eq!(p.a.send(p.now, c, &data[10_000..]), Err(SocketError::WouldBlock));
    assert!(!p.a.ready(c).unwrap().writable);
    assert_eq!((p.a.unacked_bytes(c), p.a.next_ready()), (Ok(10_000), None));
    p.settle();
    p.run(Duration::from_millis(1));
    assert_eq!(p.a.next_ready(), Some(c), "there is room");
    assert_eq!(p.a.send(p.now, c, &data[10_000..]), Ok(10_000));
    p.run(Duration::from_millis(1));
    assert_eq!(p.a.send(p.now, c, &data[20_000..]), Ok(5_000));
    p.run(Duration::from_millis(1));
    assert!(p.b.read_all(p.now, s).0 == data);
}

#[test]
fn without_objs_nothing_is_sent_but_packets_still_flow() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    let held: Vec<_> = core::iter::from_fn(|| p.a.pool.alloc()).collect();
    assert_eq!(p.a.send(p.now, c, b"x"), Err(SocketError::NoMemory));
    assert_eq!(p.a.input(p.now, &[0x45; 40]), Err(InputError::NoObj));
    assert_eq!(p.a.stats().no_obj, 1);
    let mut held = held;
    held.truncate(held.len() - 100);
    assert_eq!(p.a.send(p.now, c, b"x"), Ok(1), "above the reserve");
    let more: Vec<_> = (0..50).map_while(|_| p.a.pool.alloc()).collect();
    assert_eq!(p.a.send(p.now, c, b"y"), Err(SocketError::NoMemory), "below it");
    p.b.send(p.now, s, b"answer").unwrap();
    p.settle();
    assert_eq!(p.a.read_all(p.now, c).0, b"answer");
    assert_eq!(p.b.read_all(p.now, s).0, b"x");
    drop((held, more));
}

#[test]
fn addresses_are_given_once() {
    let mut p = Pair::new(&Options::default());
    let at = |ip: [u8; 4], port| SocketAddr::from((ip, port));
    let (x, y) = (p.a.socket().unwrap(), p.a.socket().unwrap());
    assert_eq!(p.a.bind(x, at([10, 9, 9, 9], 80)), Err(SocketError::AddrNotAvailable));
    assert_eq!(p.a.bind(x, at([10, 0, 0, 1], 80)), Ok(()));
    assert_eq!(p.a.bind(x, at([10, 0, 0, 1], 81)), Err(SocketError::InvalidState));
    assert_eq!(p.a.bind(y, at([0, 0, 0, 0], 80)), Err(SocketError::AddrInUse));
    assert_eq!(p.a.bind(y, at([0, 0, 0, 0], 0)), Ok(()));
    let port = p.a.local_addr(y).unwrap().port();
    assert!(CLIENT_PORTS.contains(&port));
    assert_eq!(p.a.listen(x, 1), Ok(()));
    assert_eq!(p.a.listen(x, 5), Ok(()), "the backlog may change");
    assert_eq!((p.a.state(x), p.a.accept(y)), (Ok(SocketState::Listening), Err(SocketError::InvalidState)));
    let (now, to) = (p.now, p.to_b());
    assert_eq!(p.a.connect(now, x, to), Err(SocketError::InvalidState));
    assert_eq!(p.a.connect(now, y, to), Ok(()));
    assert_eq!(p.a.local_addr(y), Ok(SocketAddr::new(ip(&p.o, 1), port)), "from the port it was bound to");
    assert_eq!(p.a.connect(now, y, to), Err(SocketError::InvalidState));
    assert_eq!(p.a.shutdown(now, x, Shutdown::Write), Err(SocketError::NotConnected));
    let z = p.a.socket().unwrap();
    assert_eq!(p.a.send(now, z, b"x"), Err(SocketError::NotConnected));
    assert_eq!(p.a.recv(now, z, &mut [0]), Err(SocketError::NotConnected));
    assert_eq!(p.a.peer_addr(z), Err(SocketError::NotConnected));
    assert_eq!(p.a.info(z).map(drop), Err(SocketError::NotConnected));
    let nowhere = p.a.connect(now, z, at([224, 0, 0, 1], 5)).unwrap_err();
    assert_eq!(nowhere.errno_name(), "EINVAL");
    // A listener that nobody bound has a port of the range.
    assert_eq!(p.a.listen(z, 1), Ok(()));
    assert!(CLIENT_PORTS.contains(&p.a.local_addr(z).unwrap().port()));
}

#[test]
fn settings_are_bounded_and_come_back_with_their_sockets() {
    let mut p = Pair::new(&Options { sockets: 64, ..Options::default() });
    let sockets: Vec<_> = (0..MAX_PROFILES).map(|_| p.a.socket().unwrap()).collect();
    let ttl = |i: usize| SocketOption::Ttl(100 + i as u8);
    for (i, s) in sockets.iter().enumerate().skip(1) {
        assert_eq!(p.a.set_option(p.now, *s, ttl(i)), Ok(()));
    }
    assert_eq!(p.a.set_option(p.now, sockets[0], ttl(0)), Err(SocketError::NoProfile));
    assert_eq!(p.a.set_option(p.now, sockets[0], ttl(5)), Ok(()), "as another has it");
    p.a.close(p.now, sockets[3]).unwrap();
    assert_eq!(p.a.set_option(p.now, sockets[0], ttl(0)), Ok(()));
    for s in sockets {
        let _ = p.a.close(p.now, s);
    }
    let odd = TcpConfig { ttl: 9, ..BASE };
    let ids: Vec<_> = (1..MAX_PROFILES as u8).map(|n| p.a.add_profile(&TcpConfig { tos: n * 4, ..odd })).collect();
    assert!(ids.iter().all(Result::is_ok), "all are free again");
    assert!(p.a.remove_profile(ids[0].unwrap()) && p.a.add_profile(&odd).is_ok());
}

#[test]
fn setups_that_make_no_sense_are_refused() {
    let o = Options::default();
    let addrs = [ip(&o, 1)];
    let pool = crate::zbuf::testing::pool(1, 1024);
    let pool: &'static _ = Box::leak(Box::new(pool));
    let with = |mtu, change: fn(&mut SocketsStorage<'static>), addrs: &[IpAddr]| {
        let mut storage = storage(&Options::default());
        change(&mut storage);
        let config = SocketsConfig { mtu, ..SocketsConfig::new(addrs, [1; 32], BASE) };
        Sockets::new(config, storage, pool, Instant::ZERO).err()
    };
    assert_eq!(with(900, |_| {}, &addrs), None);
    assert_eq!(with(1500, |_| {}, &addrs), Some(SetupError::ObjTooSmall));
    assert_eq!(with(100, |_| {}, &addrs), Some(SetupError::Stack(ConfigError::MtuTooSmall)));
    assert_eq!(with(900, |_| {}, &[addrs[0]; 9]), Some(SetupError::TooManyAddresses));
    assert_eq!(with(900, |_| {}, &[]), Some(SetupError::Stack(ConfigError::NoAddress)));
    let empty: [fn(&mut SocketsStorage<'static>); 4] =
        [|s| s.sockets = &mut [], |s| s.chunks = &mut [], |s| s.packets = &mut [], |s| s.stack.neighbors = &mut []];
    for change in empty {
        assert_eq!(with(900, change, &addrs), Some(SetupError::EmptyTable));
    }
}
