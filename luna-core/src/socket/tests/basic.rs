//! Connections as applications use them: both families, half close, errors, stale names.

use super::harness::*;
use crate::socket::*;
use crate::stack::{CloseReason, Limit};
use crate::tcp::State;
use crate::time::Duration;

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn data_goes_both_ways_over_both_families() {
    for ipv6 in [false, true] {
        let mut p = Pair::new(&Options { ipv6, ..Options::default() });
        let (c, s, _) = p.open();
        assert_eq!(p.a.state(c), Ok(SocketState::Connection(State::Established)));
        assert_eq!(p.a.peer_addr(c).unwrap(), p.b.local_addr(s).unwrap());
        assert_eq!(p.a.local_addr(c).unwrap(), p.b.peer_addr(s).unwrap());
        let data = pattern(300_000);
        let (mut sent, mut got, mut back, mut echoed) = (0, Vec::new(), Vec::new(), 0);
        while back.len() < data.len() {
            let now = p.now;
            if let Ok(n) = p.a.send(now, c, &data[sent..]) {
                sent += n;
            }
            p.settle();
            got.extend(p.b.read_all(now, s).0);
            if let Ok(n) = p.b.send(now, s, &got[echoed..]) {
                echoed += n;
            }
            p.settle();
            back.extend(p.a.read_all(now, c).0);
            p.run(Duration::from_micros(200));
        }
        assert!(back == data, "the echo differs");
        let info = p.a.info(c).unwrap();
        assert_eq!((info.state, info.in_flight, info.sack), (State::Established, 0, true));
        p.a.close(p.now, c).unwrap();
        p.settle();
        assert_eq!(p.b.recv(p.now, s, &mut [0; 9]), Ok(0));
        p.b.close(p.now, s).unwrap();
        p.assert_clean();
        assert_eq!((p.a.sockets(), p.b.sockets()), (0, 1), "the listener is left");
    }
}

#[test]
fn one_side_finishes_and_the_other_goes_on() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    p.a.send(p.now, c, b"request").unwrap();
    p.a.shutdown(p.now, c, Shutdown::Write).unwrap();
    assert_eq!(p.a.send(p.now, c, b"x"), Err(SocketError::Pipe));
    p.settle();
    assert_eq!(p.b.state(s), Ok(SocketState::Connection(State::CloseWait)));
    assert_eq!(p.a.state(c), Ok(SocketState::Connection(State::FinWait2)));
    assert_eq!(p.b.read_all(p.now, s), (b"request".to_vec(), Ok(0)));
    p.b.send(p.now, s, b"answer").unwrap();
    p.settle();
    assert_eq!(p.a.read_all(p.now, c), (b"answer".to_vec(), Err(SocketError::WouldBlock)));
    p.b.close(p.now, s).unwrap();
    p.settle();
    assert_eq!(p.a.state(c), Ok(SocketState::Ended(CloseReason::Finished)));
    assert_eq!(p.a.read_all(p.now, c), (vec![], Ok(0)));
    assert_eq!(p.a.take_error(c), Ok(None));
    assert_eq!((p.a.connections(), p.b.connections()), (1, 0), "the one that finished first waits");
    p.a.close(p.now, c).unwrap();
    p.assert_clean();
}

#[test]
fn nobody_listens() {
    let mut p = Pair::new(&Options::default());
    let c = p.connect();
    assert_eq!(p.a.send(p.now, c, b"x"), Err(SocketError::WouldBlock));
    assert_eq!(p.a.ready(c), Ok(Ready::default()));
    p.settle();
    assert_eq!(p.a.next_ready(), Some(c));
    assert_eq!(p.a.next_ready(), None);
    assert_eq!(p.a.state(c), Ok(SocketState::Ended(CloseReason::Refused)));
    let ready = p.a.ready(c).unwrap();
    assert!(ready.ended && ready.writable && ready.readable);
    assert_eq!(p.a.recv(p.now, c, &mut [0; 9]), Err(SocketError::Ended(CloseReason::Refused)));
    assert_eq!(SocketError::Ended(CloseReason::Refused).errno_name(), "ECONNREFUSED");
    assert_eq!(p.a.recv(p.now, c, &mut [0; 9]), Ok(0), "told once");
    assert_eq!(p.a.send(p.now, c, b"x"), Err(SocketError::Pipe));
    p.a.close(p.now, c).unwrap();
    assert_eq!(p.a.sockets(), 0);
}

#[test]
fn the_peer_does_not_answer() {
    let mut p = Pair::new(&Options::default());
    p.lose = Box::new(|_, _| true);
    let c = p.connect();
    p.run(Duration::from_secs(6));
    assert_eq!(p.a.take_error(c), Ok(Some(CloseReason::TimedOut(Limit::Connect))));
    assert_eq!(p.a.take_error(c), Ok(None));
}

#[test]
fn what_arrived_before_a_reset_is_read_first() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    p.a.send(p.now, c, b"last words").unwrap();
    p.settle();
    p.a.abort(p.now, c).unwrap();
    p.settle();
    let reset = SocketError::Ended(CloseReason::Reset);
    assert_eq!(p.b.read_all(p.now, s), (b"last words".to_vec(), Err(reset)));
    assert_eq!(p.b.recv(p.now, s, &mut [0; 9]), Ok(0));
    p.assert_clean();
}

#[test]
fn closing_with_unread_data_or_without_lingering_resets() {
    for linger_zero in [false, true] {
        let mut p = Pair::new(&Options::default());
        let (c, s, _) = p.open();
        if linger_zero {
            p.b.set_option(p.now, s, SocketOption::LingerZero(true)).unwrap();
        } else {
            p.a.send(p.now, c, b"never read").unwrap();
        }
        p.settle();
        p.b.close(p.now, s).unwrap();
        p.settle();
        assert_eq!(p.a.take_error(c), Ok(Some(CloseReason::Reset)));
        p.assert_clean();
    }
}

#[test]
fn names_go_stale_and_slots_are_used_again() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    p.a.close(p.now, c).unwrap();
    assert_eq!(p.a.sockets(), 1, "the connection is still closing");
    for result in [
        p.a.send(p.now, c, b"x").map(drop),
        p.a.recv(p.now, c, &mut [0]).map(drop),
        p.a.close(p.now, c),
        p.a.abort(p.now, c),
        p.a.state(c).map(drop),
        p.a.listen(c, 1),
        p.a.set_option(p.now, c, SocketOption::NoDelay(true)),
        p.a.config(c).map(drop),
        p.a.take_error(SocketId::from_u64(u64::MAX)).map(drop),
    ] {
        assert_eq!(result, Err(SocketError::Stale));
    }
    p.b.close(p.now, s).unwrap();
    p.settle();
    assert_eq!(p.a.sockets(), 0);
    let next = p.a.socket().unwrap();
    assert!(next.slot() == c.slot() && next != c, "the slot's next user has another name");
    assert_eq!(SocketId::from_u64(next.as_u64()), next);
    assert_eq!(p.a.state(c), Err(SocketError::Stale));
    p.assert_clean();
}

#[test]
fn views_go_out_and_come_in_without_copies_of_payload_by_us() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    let data = pattern(1000);
    let mut obj = p.a.pool.alloc().unwrap();
    obj.append(1000).unwrap().copy_from_slice(&data);
    let view = obj.freeze();
    p.a.send_zbuf(p.now, c, view.clone()).unwrap();
    while let Some(packet) = p.a.output_zbuf(p.now) {
        let mut obj = p.b.pool.alloc_with_headroom(HEADROOM).unwrap();
        obj.append(packet.len()).unwrap().copy_from_slice(&packet);
        p.b.input_zbuf(p.now, obj).unwrap();
    }
    let first = p.b.recv_zbuf(p.now, s, 300).unwrap().unwrap();
    let second = p.b.recv_zbuf(p.now, s, 3000).unwrap().unwrap();
    assert_eq!((&*first, &*second), (&data[..300], &data[300..]));
    assert_eq!(p.b.recv_zbuf(p.now, s, 1).map(drop), Err(SocketError::WouldBlock));
    assert_eq!(p.a.stats().sent_copies.copies + p.b.stats().received_copies.copies, 0);
    p.a.shutdown(p.now, c, Shutdown::Write).unwrap();
    let refused = p.a.send_zbuf(p.now, c, view).unwrap_err();
    assert_eq!((refused.error, refused.data.len()), (SocketError::Pipe, 1000));
    p.settle();
    assert!(p.b.recv_zbuf(p.now, s, 1).unwrap().is_none());
    drop((first, second, refused));
    p.a.close(p.now, c).unwrap();
    p.b.close(p.now, s).unwrap();
    p.assert_clean();
}

#[test]
fn reading_can_be_shut_and_data_dropped() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    p.a.send(p.now, c, b"unread").unwrap();
    p.settle();
    p.b.shutdown(p.now, s, Shutdown::Read).unwrap();
    assert_eq!(p.b.recv(p.now, s, &mut [0; 9]), Ok(0));
    p.a.send(p.now, c, b"more").unwrap();
    p.settle();
    assert_eq!((p.b.readable_bytes(s), p.a.unacked_bytes(c)), (Ok(0), Ok(4)));
    p.run(Duration::from_millis(1));
    assert_eq!(p.a.unacked_bytes(c), Ok(0), "acknowledged all the same");
    p.b.send(p.now, s, b"still").unwrap();
    p.settle();
    assert_eq!(p.a.read_all(p.now, c).0, b"still");
    assert_eq!(p.b.shutdown(p.now, s, Shutdown::Both), Ok(()));
    assert_eq!(p.b.send(p.now, s, b"x"), Err(SocketError::Pipe));
    p.a.close(p.now, c).unwrap();
    p.b.close(p.now, s).unwrap();
    p.assert_clean();
}

#[test]
fn peeking_takes_nothing() {
    let mut p = Pair::new(&Options::default());
    let (c, s, _) = p.open();
    p.a.send(p.now, c, b"hello").unwrap();
    p.settle();
    let mut buf = [0; 3];
    assert_eq!((p.b.peek(p.now, s, &mut buf), buf), (Ok(3), *b"hel"));
    assert_eq!(p.b.readable_bytes(s), Ok(5));
    assert_eq!(p.b.read_all(p.now, s).0, b"hello");
    assert_eq!(p.b.peek(p.now, s, &mut buf), Err(SocketError::WouldBlock));
}
