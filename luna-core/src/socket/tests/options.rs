//! Settings, as the wire shows them.

use super::harness::*;
use crate::socket::*;
use crate::tcp::congestion::CongestionKind;
use crate::tcp::{Ecn, State, TcpConfig};
use crate::time::Duration;

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn type_of_service_and_ttl_are_in_every_packet_and_change_under_a_connection() {
    for ipv6 in [false, true] {
        let mut p = Pair::new(&Options { ipv6, ..Options::default() });
        let of = move |p: &[u8]| if ipv6 { ((p[0] & 15) << 4 | p[1] >> 4, p[7]) } else { (p[1], p[8]) };
        let l = p.listen(1);
        p.b.set_option(p.now, l, SocketOption::Tos(0x2c)).unwrap();
        let c = p.a.socket().unwrap();
        p.a.set_option(p.now, c, SocketOption::Tos(0xb8)).unwrap();
        p.a.set_option(p.now, c, SocketOption::Ttl(3)).unwrap();
        let (now, to) = (p.now, p.to_b());
        p.a.connect(now, c, to).unwrap();
        let syn = p.a.take(now).unwrap();
        assert_eq!(of(&syn), (0xb8, 3));
        p.b.input(now, &syn).unwrap();
        let answer = p.b.take(now).unwrap();
        assert_eq!(of(&answer), (0x2c, 64), "a listener's settings are its connections'");
        p.a.input(now, &answer).unwrap();
        p.settle();
        let (s, _) = p.b.accept(l).unwrap();
        assert_eq!(p.b.config(s).unwrap().tos, 0x2c);
        p.a.set_option(now, c, SocketOption::Ttl(200)).unwrap();
        p.a.set_option(now, c, SocketOption::Tos(0x07)).unwrap();
        p.a.send(now, c, b"x").unwrap();
        assert_eq!(of(&p.a.take(now).unwrap()), (0x04, 200), "the low bits are ECN's");
        assert_eq!(p.a.set_option(now, c, SocketOption::Ttl(0)), Err(SocketError::InvalidValue));
    }
}

#[test]
fn small_segments_wait_or_do_not() {
    let rfc = TcpConfig { time_wait: Duration::from_secs(1), ..TcpConfig::RFC };
    let mut p = Pair::new(&Options { tcp: [rfc; 2], ..Options::default() });
    let (c, s, _) = p.open();
    p.a.send(p.now, c, b"first ").unwrap();
    p.a.send(p.now, c, b"second").unwrap();
    assert_eq!(p.a.drain(p.now).len(), 1, "Nagle's algorithm");
    p.a.set_option(p.now, c, SocketOption::NoDelay(true)).unwrap();
    assert_eq!(p.a.drain(p.now).len(), 1, "not any more");
    // Both were lost here; the timer sends them again, after 1 s as RFC 6298 has it.
    p.run(Duration::from_millis(900));
    assert_eq!(p.b.readable_bytes(s), Ok(0));
    p.run(Duration::from_secs(4));
    assert_eq!(p.b.read_all(p.now, s).0, b"first second");
}

#[test]
fn acknowledgments_are_delayed_as_configured() {
    let b = TcpConfig { ack_delay: Duration::from_millis(40), ack_ratio: 2, ..BASE };
    let mut p = Pair::new(&Options { tcp: [TcpConfig::RFC, b], ..Options::default() });
    let (c, s, _) = p.open();
    p.a.set_option(p.now, c, SocketOption::NoDelay(true)).unwrap();
    let one = |p: &mut Pair| {
        p.a.send(p.now, c, b"x").unwrap();
        let packet = p.a.take(p.now).unwrap();
        p.b.input(p.now, &packet).unwrap();
        p.b.drain(p.now).len()
    };
    assert_eq!((one(&mut p), one(&mut p)), (0, 1), "every second segment");
    assert_eq!(one(&mut p), 0);
    let begun = p.now;
    while p.b.take(p.now).is_none() {
        p.now = p.b.poll_at();
        p.b.poll(p.now);
    }
    let (at, delay) = (p.now, p.now.since(begun).as_nanos());
    assert!((40_000_000..40_100_000).contains(&delay), "{delay}");
    p.b.set_option(at, s, SocketOption::QuickAck(true)).unwrap();
    assert_eq!((one(&mut p), one(&mut p)), (1, 1));
}

#[test]
fn buffers_and_segment_size_are_settings_of_the_socket() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(1);
    for option in [SocketOption::ReceiveBuffer(30_000), SocketOption::MaxSegment(600)] {
        p.b.set_option(p.now, l, option).unwrap();
    }
    let c = p.connect();
    p.settle();
    let (s, _) = p.b.accept(l).unwrap();
    p.b.set_option(p.now, s, SocketOption::SendBuffer(5_000)).unwrap();
    assert_eq!(p.b.info(s).unwrap().rcv_wnd, 30_000);
    assert_eq!(p.a.info(c).unwrap().mss, 588, "the timestamps' 12 bytes are in it");
    assert_eq!(p.b.send(p.now, s, &[0; 9_000]), Ok(5_000));
    for zero in [SocketOption::ReceiveBuffer(0), SocketOption::SendBuffer(0), SocketOption::MaxSegment(0)] {
        assert_eq!(p.b.set_option(p.now, s, zero), Err(SocketError::InvalidValue));
    }
    // A larger buffer opens the window at the next occasion.
    p.b.set_option(p.now, s, SocketOption::ReceiveBuffer(60_000)).unwrap();
    p.settle();
    p.a.send(p.now, c, b"x").unwrap();
    p.run(Duration::from_millis(1));
    assert_eq!(p.b.read_all(p.now, s).0, b"x");
    p.a.send(p.now, c, b"x").unwrap();
    p.run(Duration::from_millis(1));
    assert!(p.b.info(s).unwrap().rcv_wnd > 50_000);
}

#[test]
fn giving_up_takes_as_long_as_configured() {
    let mut p = Pair::new(&Options::default());
    let (c, _, _) = p.open();
    let limit = Duration::from_millis(300);
    p.a.set_option(p.now, c, SocketOption::UserTimeout(limit)).unwrap();
    p.lose = Box::new(|_, _| true);
    p.a.send(p.now, c, b"x").unwrap();
    p.run(Duration::from_millis(290));
    assert_eq!(p.a.state(c), Ok(SocketState::Connection(State::Established)));
    p.run(Duration::from_millis(20));
    assert_eq!(p.a.take_error(c).unwrap().map(|e| SocketError::Ended(e).errno_name()), Some("ETIMEDOUT"));
}

#[test]
fn profiles_are_settings_with_a_name() {
    let mut p = Pair::new(&Options::default());
    let plain = TcpConfig { timestamps: false, sack: false, window_scaling: false, ..BASE };
    let profile = p.a.add_profile(&plain).unwrap();
    let c = p.a.socket().unwrap();
    p.a.set_profile(p.now, c, profile).unwrap();
    assert!(!p.a.config(c).unwrap().sack);
    let _l = p.listen(1);
    let (now, to) = (p.now, p.to_b());
    p.a.connect(now, c, to).unwrap();
    let syn = p.a.take(now).unwrap();
    assert_eq!(syn.len(), 44, "the segment size is the only option");
    assert_eq!(p.a.set_profile(now, c, crate::tcp::ProfileId(9)), Err(SocketError::InvalidValue));
}

#[test]
fn a_silent_peer_is_asked_and_given_up() {
    let mut p = Pair::new(&Options { tcp: [TcpConfig::RFC; 2], ..Options::default() });
    let (c, _, _) = p.open();
    let second = Duration::from_secs(1);
    let on = |idle, count| SocketOption::KeepAlive(Some(KeepAlive { idle, interval: second, count }));
    assert_eq!(p.a.set_option(p.now, c, on(Duration::ZERO, 3)), Err(SocketError::InvalidValue));
    assert_eq!(p.a.set_option(p.now, c, on(second, 0)), Err(SocketError::InvalidValue));
    p.a.set_option(p.now, c, on(Duration::from_secs(10), 3)).unwrap();
    p.run(Duration::from_secs(31));
    assert!((2..=3).contains(&p.a.counters().keepalives), "one question in each 10 s: {}", p.a.counters().keepalives);
    p.a.set_option(p.now, c, SocketOption::KeepAlive(None)).unwrap();
    let asked = p.a.counters().keepalives;
    p.run(Duration::from_secs(60));
    assert_eq!(p.a.counters().keepalives, asked);
    p.a.set_option(p.now, c, on(Duration::from_secs(10), 3)).unwrap();
    p.lose = Box::new(|_, _| true);
    p.run(Duration::from_secs(12));
    assert_eq!(p.a.state(c), Ok(SocketState::Connection(State::Established)));
    p.run(Duration::from_secs(3));
    assert_eq!(p.a.take_error(c).unwrap().map(|e| SocketError::Ended(e).errno_name()), Some("ETIMEDOUT"));
}

#[test]
fn marks_and_controllers_are_chosen_before_connecting_and_survive_other_changes() {
    let mut p = Pair::new(&Options::default());
    let l = p.listen(1);
    let c = p.a.socket().unwrap();
    p.a.set_option(p.now, c, SocketOption::Ecn(Ecn::Request)).unwrap();
    p.a.set_option(p.now, c, SocketOption::Congestion(CongestionKind::NewReno)).unwrap();
    let (now, to) = (p.now, p.to_b());
    p.a.connect(now, c, to).unwrap();
    p.settle();
    assert!(p.b.accept(l).is_ok());
    assert_eq!(p.a.set_option(now, c, SocketOption::Ecn(Ecn::Off)), Err(SocketError::InvalidState));
    let other = SocketOption::Congestion(CongestionKind::NewReno);
    assert_eq!(p.a.set_option(now, c, other), Err(SocketError::InvalidState));
    p.a.set_option(now, c, SocketOption::Tos(0x20)).unwrap();
    p.a.send(now, c, b"x").unwrap();
    assert_eq!(p.a.take(now).unwrap()[1], 0x20 | 2, "still ECN-capable");
}
