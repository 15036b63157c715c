//! Abortive ends: aborts in every state, resets good and bad, names that go stale.

use super::close::{closed, drop_first, open};
use super::harness::*;
use crate::stack::*;
use crate::tcp::State;
use crate::time::Duration;
use crate::wire::TcpFlags;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn abort_in_every_state_reports_every_send_once_and_resets_a_peer_that_can_be_told() {
    for (name, prepare) in [
        ("established", (|_, _, _| {}) as fn(&mut Pair, ConnId, ConnId)),
        ("fin-wait-1", |p, a, _| {
            p.a.queue().fate = drop_first(1000, |s| s.tcp.flags.fin() || s.payload_len > 0);
            p.close_a(a);
        }),
        ("fin-wait-2", |p, a, _| p.close_a(a)),
        ("close-wait", |p, _, b| p.close_b(b)),
        ("last-ack", |p, a, b| {
            p.close_b(b);
            p.settle();
            p.a.queue().fate = drop_first(1000, |s| s.tcp.flags.fin() || s.payload_len > 0);
            p.close_a(a);
        }),
        ("closing", |p, a, b| {
            p.a.queue().fate = drop_first(1000, |s| s.tcp.flags.fin() || s.payload_len > 0);
            p.close_a(a);
            p.close_b(b);
        }),
    ] {
        let (mut p, a, b) = open();
        // The first arrives; two are queued and lost on the way.
        p.send_a(a, 3000, 0, 1);
        p.run(MS(5));
        p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
        if name != "fin-wait-2" {
            p.send_a(a, 3000, 3000, 2);
            p.send_a(a, 3000, 6000, 3);
        }
        prepare(&mut p, a, b);
        p.settle();
        let now = p.now;
        p.a.stack.cx(now).abort(a).unwrap();
        p.a.queue().fate = Box::new(|_, _| Fate::Pass);
        p.settle();
        let mut want = vec![(1, Released::Acked)];
        if name != "fin-wait-2" {
            want.extend([(2, Released::Aborted), (3, Released::Aborted)]);
        }
        assert_eq!(p.a.app.released, want, "{name}");
        assert_eq!(p.a.app.closed, [(a, closed(CloseReason::Aborted, true))], "{name}");
        p.run(MS(10));
        if matches!(name, "last-ack" | "closing") {
            // RFC 9293 §3.10.5: the connection is only deleted; the peer learns of it when it sends again.
            assert_eq!(p.a.stack.counters().resets_out, 0, "{name}");
            assert!(p.b.app.closed.is_empty(), "{name}");
            continue;
        }
        // What was lost puts our reset beyond the peer's next byte: it asks, and a second one is right.
        assert!((1..=2).contains(&p.a.stack.counters().resets_out), "{name}");
        assert_eq!(p.b.app.closed, [(b, closed(CloseReason::Reset, false))], "{name}");
        p.assert_clean();
    }
}

#[test]
fn abort_before_the_handshake_is_done() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let a = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
    p.send_a(a, 100, 0, 1);
    // Not even the SYN has left.
    p.a.stack.cx(now).abort(a).unwrap();
    p.settle();
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::Aborted, false))]);
    assert_eq!(p.a.app.released, [(1, Released::Aborted)]);
    assert_eq!(p.a.stack.counters().segments_out, 0);
    // The SYN has left, its answer is lost.
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    let a = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
    p.settle();
    assert_eq!(p.b.stack.connections(), 1);
    p.close_a(a);
    p.settle();
    assert_eq!(p.a.app.closed.len(), 2, "close before anything was agreed on is an abort");
    p.run(Duration::from_secs(6));
    assert!(p.b.app.accepted.is_empty() && p.b.app.closed.is_empty(), "nobody was told of what never was");
    p.assert_clean();
}

#[test]
fn only_a_reset_at_exactly_the_next_byte_is_believed() {
    let (mut p, a, _) = open();
    let rst = TcpFlags::RST;
    for (offset, challenges, outside) in [(1u32, 1, 0), (60_000, 2, 0), (0u32.wrapping_sub(1), 2, 1), (1 << 30, 2, 2)] {
        p.a.forge(a, |f| {
            f.flags = rst;
            f.seq += offset;
        });
        p.settle();
        let c = p.a.stack.counters();
        assert_eq!((c.challenge_acks, c.outside_window), (challenges, outside), "{offset}");
        assert!(p.a.app.closed.is_empty());
    }
    // A SYN in the window is challenged, never a reason to reset (RFC 5961 §4).
    for flags in [TcpFlags::SYN, TcpFlags::SYN | TcpFlags::ACK] {
        p.a.forge(a, |f| f.flags = flags);
    }
    p.settle();
    assert_eq!(p.a.stack.counters().challenge_acks, 4);
    // The real connection is unharmed.
    p.send_a(a, 5000, 0, 1);
    p.run(MS(1));
    expect_pattern(&p.b.app.received, 5000);
    p.a.forge(a, |f| f.flags = rst);
    p.settle();
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::Reset, true))]);
}

#[test]
fn challenges_are_rationed() {
    let (mut p, a, _) = open();
    for _ in 0..500 {
        p.a.forge(a, |f| {
            f.flags = TcpFlags::RST;
            f.seq += 5;
        });
    }
    p.settle();
    let c = *p.a.stack.counters();
    assert_eq!((c.challenge_acks, c.challenge_acks_limited), (100, 400));
    p.run(MS(11));
    p.a.forge(a, |f| f.flags = TcpFlags::SYN);
    p.settle();
    assert_eq!(p.a.stack.counters().challenge_acks, 101);
}

#[test]
fn stale_names_are_errors_even_when_the_slot_lives_again() {
    let o = Options { connections: 1, ..Options::default() };
    let (mut p, a, _) = Pair::open(&o);
    let now = p.now;
    p.a.stack.cx(now).abort(a).unwrap();
    p.settle();
    let check = |p: &mut Pair| {
        let data = p.a.buffer(10, 0);
        assert_eq!(p.a.send(p.now, a, &data, 1), Err(SendError::Stale));
        let mut cx = p.a.stack.cx(p.now);
        assert_eq!(
            (cx.close(a), cx.abort(a), cx.shutdown(a), cx.release(a, 1)),
            (Err(Stale), Err(Stale), Err(Stale), Err(Stale))
        );
        assert!(cx.info(a).is_err() && cx.user(a).is_err() && cx.addrs(a).is_err() && cx.set_user(a, 1).is_err());
    };
    check(&mut p);
    let again = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
    assert_eq!((again.slot(), again == a), (a.slot(), false));
    check(&mut p);
    p.settle();
    assert_eq!(p.a.app.connected.len(), 2);
    check(&mut p);
    for made_up in [0, u64::MAX, 1 << 56 | 0xff_ffff << 32] {
        assert_eq!(p.a.stack.cx(now).close(ConnId::from_u64(made_up)), Err(Stale));
    }
    assert_eq!(p.info_a(again).state, State::Established);
}

#[test]
fn data_after_close_is_answered_with_a_reset() {
    let (mut p, a, b) = open();
    p.close_a(a);
    p.settle();
    p.send_b(b, 1000, 0, 1);
    p.run(MS(10));
    assert!(p.a.app.received.is_empty());
    assert_eq!(p.a.stack.counters().data_after_close, 1);
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::Aborted, false))]);
    assert_eq!(p.b.app.closed, [(b, closed(CloseReason::Reset, true))]);
    assert_eq!(p.b.app.released, [(1, Released::Aborted)]);
    p.assert_clean();
}

/// What comes in one burst with the data at which the application aborts is no longer taken in, so it is not reported either:
/// those acknowledgments would say what is not so.
#[test]
fn nothing_is_acknowledged_behind_an_abort() {
    let (mut p, _, b) = open();
    let before = *p.b.stack.counters();
    p.b.app.abort_on_data = true;
    for ahead in [1000, 0, 2000, 1000] {
        p.b.forge(b, |f| {
            f.seq += ahead;
            f.payload = vec![0; 1000];
        });
    }
    p.settle();
    let c = p.b.stack.counters();
    assert_eq!(p.b.app.chunks.len(), 1);
    // Of the first, which came before the abort.
    assert_eq!((c.acks_out - before.acks_out, c.resets_out), (1, 1));
    assert_eq!(p.b.app.closed, [(b, closed(CloseReason::Aborted, false))]);
}
