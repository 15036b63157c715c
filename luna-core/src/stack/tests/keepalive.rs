//! Peers that are silent, and peers that take nothing.

use super::close::closed;
use super::harness::*;
use crate::stack::*;
use crate::tcp::{State, TcpConfig};
use crate::time::{Duration, Instant};
use crate::wire::TcpFlags;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn tcp() -> TcpConfig {
    TcpConfig {
        keepalive_idle: Duration::from_secs(10),
        keepalive_interval: Duration::from_secs(1),
        keepalive_count: 3,
        ..TcpConfig::DATACENTER
    }
}

fn open(timestamps: bool) -> (Pair, ConnId, ConnId) {
    let a = TcpConfig { timestamps, ..tcp() };
    let b = TcpConfig { keepalive_idle: Duration::ZERO, ..tcp() };
    Pair::open(&Options { tcp_a: a, tcp_b: b, ..Options::default() })
}

#[test]
fn a_peer_that_vanished_is_given_up_after_so_many_probes() {
    for timestamps in [true, false] {
        let (mut p, a, _) = open(timestamps);
        p.run(MS(7500));
        p.send_a(a, 100, 0, 1);
        p.run(MS(100));
        let heard = p.now;
        p.b.queue().fate = Box::new(|_, _| Fate::Drop);
        assert!(p.run_until(Duration::from_secs(30), |p| !p.a.app.closed.is_empty()));
        let took = p.now.since(heard);
        assert!(took > MS(12_800) && took < MS(13_100), "{timestamps} {took:?}: 10 s and three intervals");
        assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::Keepalive), true))]);
        assert_eq!(p.a.stack.counters().keepalives, 3);
    }
}

#[test]
fn a_peer_that_answers_is_kept_however_long_it_says_nothing() {
    for timestamps in [true, false] {
        let (mut p, a, _) = open(timestamps);
        p.run(Duration::from_secs(105));
        assert_eq!((p.info_a(a).state, p.a.stack.counters().keepalives), (State::Established, 10), "{timestamps}");
        assert_eq!(p.b.stack.counters().keepalives, 0);
        // One answer lost is not the end.
        let mut n = 0;
        p.b.queue().fate = Box::new(move |_, _| {
            n += 1;
            if n < 3 { Fate::Drop } else { Fate::Pass }
        });
        p.run(Duration::from_secs(20));
        assert_eq!(p.info_a(a).state, State::Established, "{timestamps}");
        assert!(p.a.stack.counters().keepalives >= 13);
    }
}

#[test]
fn who_speaks_is_not_asked_and_data_in_flight_asks_by_itself() {
    let (mut p, a, b) = open(true);
    for i in 0..40 {
        p.send_b(b, 10, i * 10, 1);
        p.run(Duration::from_secs(4));
    }
    assert_eq!(p.a.stack.counters().keepalives, 0);
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    p.run(Duration::from_secs(5));
    p.send_a(a, 10, 0, 1);
    p.run(Duration::from_secs(11));
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::User), true))]);
    assert_eq!(p.a.stack.counters().keepalives, 0);
}

#[test]
fn half_closed_connections_are_asked_too_and_without_keepalive_nothing_wakes_the_stack() {
    let (mut p, a, _) = open(true);
    let now = p.now;
    p.a.stack.cx(now).shutdown(a).unwrap();
    p.run(MS(1));
    assert_eq!(p.info_a(a).state, State::FinWait2);
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    p.run(Duration::from_secs(14));
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::Keepalive), false))]);

    let off = TcpConfig { keepalive_idle: Duration::ZERO, ..tcp() };
    let (mut p, ..) = Pair::open(&Options { tcp_a: off, tcp_b: off, ..Options::default() });
    p.run(Duration::from_secs(1));
    assert_eq!(p.spin(1), Turn::IdleUntil(Instant::FAR));
}

/// A segment that a blind attacker might send does not count as a sign of life.
#[test]
fn what_is_not_acceptable_is_no_sign_of_life() {
    let (mut p, a, _) = open(true);
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    for _ in 0..30 {
        p.run(MS(500));
        if !p.a.app.closed.is_empty() {
            break;
        }
        p.a.forge(a, |f| {
            f.seq += 10_000_000;
            f.payload = vec![1; 10];
        });
        p.a.forge(a, |f| f.flags = TcpFlags::SYN);
    }
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::TimedOut(Limit::Keepalive));
}

/// Both ask, and every answer is lost: who asks is there.
#[test]
fn a_peer_that_asks_itself_is_not_given_up() {
    let (mut p, a, _) = open(true);
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    for _ in 0..30 {
        p.run(Duration::from_secs(2));
        p.a.forge(a, |f| f.seq = f.seq - 1);
    }
    assert_eq!(p.info_a(a).state, State::Established);
    assert!(p.a.stack.counters().keepalives > 20);
    p.run(Duration::from_secs(15));
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::TimedOut(Limit::Keepalive));
}

#[test]
fn a_shut_window_is_waited_for_as_long_as_the_settings_say() {
    for limit in [0, 3] {
        let small = TcpConfig { rcv_wnd: 16 << 10, rcv_budget: 32 << 10, ..tcp() };
        let impatient = TcpConfig { zero_window_timeout: Duration::from_secs(limit), ..tcp() };
        let o = Options { tcp_a: impatient, tcp_b: small, ..Options::default() };
        let (mut p, a, _) = Pair::open(&o);
        p.b.app.keep = true;
        for i in 0..10 {
            p.send_a(a, 8000, i * 8000, i as u64);
        }
        p.run(MS(2900));
        assert!(p.a.app.closed.is_empty() && p.a.stack.counters().window_probes > 3);
        p.run(Duration::from_secs(60));
        if limit == 0 {
            assert!(p.a.app.closed.is_empty(), "the peer answers: RFC 9293 §3.8.6.1");
        } else {
            assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::ZeroWindow), true))]);
        }
    }
}

/// The user timeout runs while nobody answers, window or not (RFC 5482's meaning).
#[test]
fn probes_that_nobody_answers_end_in_the_user_timeout() {
    let small = TcpConfig { rcv_wnd: 16 << 10, rcv_budget: 32 << 10, ..tcp() };
    let (mut p, a, _) = Pair::open(&Options { tcp_b: small, ..Options::default() });
    p.b.app.keep = true;
    for i in 0..10 {
        p.send_a(a, 8000, i * 8000, i as u64);
    }
    p.run(Duration::from_secs(5));
    assert!(p.a.stack.counters().window_probes > 3);
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    let since = p.now;
    assert!(p.run_until(Duration::from_secs(20), |p| !p.a.app.closed.is_empty()));
    let took = p.now.since(since);
    assert!(took > MS(8900) && took < MS(10_200), "{took:?}");
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::User), true))]);
}
