//! A turn that took too long: what it sent is younger than its time stamps say.

use super::harness::*;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;

/// Warms the estimator up, then sends 1000 bytes whose acknowledgment cannot be there yet.
fn sent_and_unanswered() -> (Pair, ConnId) {
    // Without probes: it is the timeout that is watched.
    let tcp = TcpConfig { rack: false, ..TcpConfig::DATACENTER };
    let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, ..Options::default() });
    for i in 0..10 {
        let data = p.a.buffer(3000, i);
        p.a.send(p.now, a, &data, 0).unwrap();
        p.run(Duration::from_millis(1));
    }
    p.a.app.released.clear();
    let data = p.a.buffer(1000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    assert_eq!(p.a.stack.turn(p.now, 256, &mut p.a.app), Turn::Busy);
    (p, a)
}

#[test]
fn an_overlong_turn_does_not_look_like_loss() {
    let (mut p, _) = sent_and_unanswered();
    // The callback that sent returns only now.
    p.now = p.now + Duration::from_millis(30);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!((p.a.stack.counters().rtos, p.a.stack.counters().timers_held), (0, 1));
    p.run(Duration::from_millis(1));
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
    assert_eq!(p.a.stack.counters().retransmits, 0);
}

#[test]
fn a_timer_that_was_held_fires_a_floor_later() {
    let (mut p, a) = sent_and_unanswered();
    p.now = p.now + Duration::from_millis(30);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let floor = p.a.stack.config().tcp.min_rto;
    p.now = p.now + floor + Duration::from_micros(100);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!(p.a.stack.counters().rtos, 1);
    assert!(p.info_a(a).retransmits > 0);
}

#[test]
fn after_an_idle_wait_the_timer_fires_at_once() {
    let (mut p, _) = sent_and_unanswered();
    let Turn::IdleUntil(_) = p.a.stack.turn(p.now, 256, &mut p.a.app) else { panic!("not idle") };
    p.now = p.now + Duration::from_millis(30);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!((p.a.stack.counters().rtos, p.a.stack.counters().timers_held), (1, 0));
}

#[test]
fn a_loop_whose_every_turn_is_slow_still_retransmits() {
    let (mut p, _) = sent_and_unanswered();
    for _ in 0..6 {
        // An application that acts in every turn.
        let _ = p.a.stack.cx(p.now);
        p.now = p.now + Duration::from_millis(3);
        p.a.stack.turn(p.now, 256, &mut p.a.app);
    }
    let c = p.a.stack.counters();
    assert!(c.timers_held > 0);
    assert!(c.rtos > 0, "held for ever");
}
