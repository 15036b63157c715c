//! Orderly ends: every order of FINs, lost or late; TIME-WAIT; time limits.

use super::harness::*;
use crate::stack::*;
use crate::tcp::{State, TcpConfig};
use crate::time::Duration;
use crate::wire::TcpFlags;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn finished(maybe_delivered: bool) -> Closed {
    Closed { reason: CloseReason::Finished, maybe_delivered }
}

pub(super) fn closed(reason: CloseReason, maybe_delivered: bool) -> Closed {
    Closed { reason, maybe_delivered }
}

pub(super) fn open() -> (Pair, ConnId, ConnId) {
    Pair::open(&Options::default())
}

impl Pair {
    pub(super) fn close_a(&mut self, conn: ConnId) {
        let now = self.now;
        self.a.stack.cx(now).close(conn).unwrap();
    }
    pub(super) fn close_b(&mut self, conn: ConnId) {
        let now = self.now;
        self.b.stack.cx(now).close(conn).unwrap();
    }
    pub(super) fn send_a(&mut self, conn: ConnId, len: usize, at: usize, token: u64) {
        let data = self.a.buffer(len, at);
        self.a.send(self.now, conn, &data, token).unwrap();
    }
    pub(super) fn send_b(&mut self, conn: ConnId, len: usize, at: usize, token: u64) {
        let data = self.b.buffer(len, at);
        self.b.send(self.now, conn, &data, token).unwrap();
    }
    /// Neither side reset anything and both are rid of the connection.
    fn assert_orderly(&mut self) {
        self.run(Duration::from_secs(2));
        for end in [&self.a, &self.b] {
            let c = end.stack.counters();
            assert_eq!((c.resets_in, c.resets_out, c.timeouts), (0, 0, 0));
        }
        self.assert_clean();
    }
}

/// Drops frames that `which` picks, up to `n` times.
pub(super) fn drop_first(mut n: u32, which: impl Fn(&crate::wire::TcpPacket) -> bool + 'static) -> FateFn {
    Box::new(move |p, _| {
        if n > 0 && which(p) {
            n -= 1;
            return Fate::Drop;
        }
        Fate::Pass
    })
}

#[test]
fn the_side_that_closes_first_waits_the_other_is_rid_of_it() {
    let (mut p, a, b) = open();
    p.b.app.close_on_fin = true;
    p.close_a(a);
    p.settle();
    assert_eq!(p.b.app.fins, [b]);
    assert_eq!(p.a.app.closed, [(a, finished(false))]);
    assert_eq!(p.b.app.closed, [(b, finished(false))], "the passive side is told too");
    assert_eq!((p.a.stack.connections(), p.b.stack.connections()), (1, 0), "TIME-WAIT is held by the active side");
    p.run(MS(900));
    assert_eq!(p.a.stack.connections(), 1);
    p.run(MS(200));
    assert_eq!(p.a.stack.connections(), 0);
    p.assert_orderly();
}

#[test]
fn both_close_at_once() {
    let (mut p, a, b) = open();
    p.close_a(a);
    p.close_b(b);
    // Both FINs leave before either is seen.
    p.a.stack.flush_dirty(&mut p.a.app);
    p.b.stack.flush_dirty(&mut p.b.app);
    assert_eq!(p.a.conn(a).state, State::FinWait1);
    p.settle();
    assert_eq!((&p.a.app.closed[..], &p.b.app.closed[..]), (&[(a, finished(false))][..], &[(b, finished(false))][..]));
    assert_eq!((p.a.stack.connections(), p.b.stack.connections()), (1, 1), "both wait");
    p.assert_orderly();
}

/// Simultaneous close in which each of the four segments is lost in turn.
#[test]
fn both_close_at_once_and_one_segment_is_lost() {
    for (from_a, k) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
        let (mut p, a, b) = open();
        let end = if from_a { &mut p.a } else { &mut p.b };
        let mut n = 0;
        end.queue().fate = Box::new(move |_, _| {
            n += 1;
            if n == k { Fate::Drop } else { Fate::Pass }
        });
        p.close_a(a);
        p.close_b(b);
        p.a.stack.flush_dirty(&mut p.a.app);
        p.b.stack.flush_dirty(&mut p.b.app);
        p.run(MS(100));
        assert_eq!(p.a.app.closed, [(a, finished(false))], "{from_a} {k}");
        assert_eq!(p.b.app.closed, [(b, finished(false))], "{from_a} {k}");
        p.assert_orderly();
    }
}

#[test]
fn half_closed_data_flows_on_the_other_way() {
    let (mut p, a, b) = open();
    let now = p.now;
    p.a.stack.cx(now).shutdown(a).unwrap();
    p.settle();
    assert_eq!(p.b.app.fins, [b]);
    let data = p.a.buffer(10, 0);
    assert_eq!(p.a.send(now, a, &data, 9), Err(SendError::Closing));
    drop(data);
    for i in 0..20 {
        p.send_b(b, 8000, i * 8000, i as u64);
        p.run(MS(10));
    }
    expect_pattern(&p.a.app.received, 160_000);
    assert_eq!(p.b.app.released.len(), 20);
    // Longer than every limit: a half-closed connection is not a dead one.
    p.run(Duration::from_secs(60));
    assert_eq!((p.info_a(a).state, p.a.app.closed.len()), (State::FinWait2, 0));
    p.close_b(b);
    p.settle();
    assert_eq!(p.a.app.fins, [a]);
    assert_eq!((p.a.app.closed[0].1, p.b.app.closed[0].1), (finished(false), finished(true)));
    p.assert_orderly();
}

#[test]
fn close_sends_what_is_queued_first() {
    let (mut p, a, b) = open();
    p.b.app.close_on_fin = true;
    for i in 0..100 {
        p.send_a(a, 8000, i * 8000, i as u64);
    }
    p.close_a(a);
    assert!(p.info_a(a).queued > 700_000);
    p.run(MS(100));
    expect_pattern(&p.b.app.received, 800_000);
    assert_eq!(p.a.app.released, (0..100).map(|i| (i, Released::Acked)).collect::<Vec<_>>());
    assert_eq!(p.a.app.closed, [(a, finished(true))]);
    assert_eq!(p.b.app.closed, [(b, finished(false))]);
    p.assert_orderly();
}

#[test]
fn a_lost_fin_is_sent_again() {
    for with_data in [false, true] {
        let (mut p, a, _) = open();
        p.b.app.close_on_fin = true;
        p.a.queue().fate = drop_first(2, |s| s.tcp.flags.fin());
        if with_data {
            p.send_a(a, 5000, 0, 1);
        }
        p.close_a(a);
        p.run(MS(100));
        expect_pattern(&p.b.app.received, if with_data { 5000 } else { 0 });
        assert_eq!(p.a.app.closed, [(a, finished(with_data))]);
        assert_eq!(p.b.app.closed.len(), 1);
        assert!(p.a.stack.counters().retransmits >= 2);
        p.assert_orderly();
    }
}

#[test]
fn a_fin_that_overtakes_its_data_waits_for_it() {
    let (mut p, a, b) = open();
    p.b.app.close_on_fin = true;
    // The data segment before the last, which carries FIN, comes late.
    let mut n = 0;
    p.a.queue().fate = Box::new(move |s, _| {
        n += u32::from(s.payload_len > 0);
        if n == 3 && s.payload_len > 0 { Fate::Late } else { Fate::Pass }
    });
    p.send_a(a, 4 * 1448, 0, 1);
    p.close_a(a);
    p.run(MS(50));
    expect_pattern(&p.b.app.received, 4 * 1448);
    assert_eq!((&p.b.app.fins[..], p.b.app.closed.len()), (&[b][..], 1));
    p.assert_orderly();
}

#[test]
fn the_last_acknowledgment_lost_time_wait_answers_again() {
    let (mut p, a, b) = open();
    p.b.app.close_on_fin = true;
    let mut fin_sent = false;
    let mut dropped = 0;
    p.a.queue().fate = Box::new(move |s, _| {
        if fin_sent && dropped < 3 && !s.tcp.flags.fin() {
            dropped += 1;
            return Fate::Drop;
        }
        fin_sent |= s.tcp.flags.fin();
        Fate::Pass
    });
    p.close_a(a);
    p.settle();
    assert_eq!((p.a.app.closed.len(), p.b.app.closed.len()), (1, 0));
    p.run(MS(500));
    assert_eq!(p.b.app.closed, [(b, finished(false))]);
    assert_eq!(p.a.stack.connections(), 1, "TIME-WAIT starts anew with each FIN");
    p.assert_orderly();
}

#[test]
fn fin_wait_2_ends_when_the_peer_never_finishes() {
    let (mut p, a, b) = open();
    p.close_a(a);
    p.run(Duration::from_millis(4900));
    assert!(p.a.app.closed.is_empty());
    p.run(MS(200));
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::FinWait2), false))]);
    assert_eq!(p.b.app.closed, [(b, closed(CloseReason::Reset, false))], "the peer learns of it");
    p.assert_clean();
}

#[test]
fn callbacks_end_their_own_connection() {
    // In on_data: abort, and close.
    let (mut p, a, b) = open();
    p.b.app.abort_on_data = true;
    p.send_a(a, 100_000 / 8, 0, 1);
    p.run(MS(10));
    assert_eq!(p.b.app.closed, [(b, closed(CloseReason::Aborted, false))]);
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::Reset, true))]);
    assert_eq!(p.b.app.chunks.len(), 1, "nothing is delivered behind an abort");
    p.assert_clean();

    let (mut p, a, b) = open();
    p.b.app.close_on_data = true;
    p.send_a(a, 1000, 0, 1);
    p.run(MS(10));
    assert_eq!(p.a.app.fins, [a]);
    p.close_a(a);
    p.run(MS(10));
    assert_eq!((p.a.app.closed[0].1, p.b.app.closed[0].1), (finished(true), finished(false)));
    assert_eq!(p.b.app.closed[0].0, b);
    p.assert_orderly();

    // In on_connected and on_accepted.
    for (abort, by_a) in [(true, true), (true, false), (false, true), (false, false)] {
        let o = Options::default();
        let mut p = Pair::new(&o);
        let now = p.now;
        p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
        p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
        for end in [&mut p.a, &mut p.b] {
            end.app.close_on_fin = true;
        }
        let app = if by_a { &mut p.a.app } else { &mut p.b.app };
        (app.abort_on_open, app.close_on_open) = (abort, !abort);
        p.run(Duration::from_secs(2));
        let (mine, theirs) = if by_a { (&p.a.app, &p.b.app) } else { (&p.b.app, &p.a.app) };
        let want = if abort {
            (CloseReason::Aborted, CloseReason::Reset)
        } else {
            (CloseReason::Finished, CloseReason::Finished)
        };
        assert_eq!(mine.closed[0].1.reason, want.0, "{abort} {by_a}");
        // An abort that overtakes the handshake's last segment leaves the listener's side untold, or refused.
        if let Some(c) = theirs.closed.first() {
            assert_eq!(c.1.reason, want.1, "{abort} {by_a}");
        } else {
            assert!(abort && by_a);
        }
        p.assert_clean();
    }
}

#[test]
fn close_inside_on_released_stops_the_data_of_the_same_segment() {
    let (mut p, a, b) = open();
    p.b.app.echo = true;
    p.a.app.close_on_released = true;
    p.send_a(a, 1000, 0, 1);
    p.run(MS(10));
    // The echo carried the acknowledgment: it was closed by the time the data was to be delivered.
    assert!(p.a.app.received.is_empty());
    assert_eq!(p.a.stack.counters().data_after_close, 1);
    assert_eq!(p.b.app.closed, [(b, closed(CloseReason::Reset, true))]);
    p.assert_clean();
}

#[test]
fn time_wait_ignores_resets_and_gives_way_to_a_new_connection() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    let now = p.now;
    p.b.stack.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let to = Connect { ports: 50000..=50000, ..Connect::to((addr(&o, 2), PORT).into()) };
    p.a.stack.cx(now).connect(to.clone()).unwrap();
    p.settle();
    let b = p.b.app.accepted[0].0;
    p.a.app.close_on_fin = true;
    p.close_b(b);
    p.run(MS(5));
    assert_eq!((p.a.stack.connections(), p.b.stack.connections()), (0, 1));
    p.b.forge_to_slot(b.slot(), |f| f.flags = TcpFlags::RST);
    p.settle();
    assert_eq!(p.b.stack.connections(), 1, "RFC 1337");
    // The same four numbers again while the listener's side is in TIME-WAIT (RFC 6191).
    let now = p.now;
    p.a.stack.cx(now).connect(to).unwrap();
    p.run(MS(5));
    assert_eq!((p.a.app.connected.len(), p.b.app.accepted.len()), (2, 2));
}

#[test]
fn the_user_timeout_ends_what_nobody_acknowledges() {
    let (mut p, a, _) = open();
    p.a.queue().fate = Box::new(|_, _| Fate::Drop);
    p.send_a(a, 1000, 0, 1);
    let start = p.now;
    assert!(p.run_until(Duration::from_secs(20), |p| !p.a.app.closed.is_empty()));
    let took = p.now.since(start);
    assert!(took >= Duration::from_secs(10) && took < Duration::from_millis(10_200), "{took:?}");
    assert_eq!(p.a.app.closed, [(a, closed(CloseReason::TimedOut(Limit::User), true))]);
    assert_eq!(p.a.app.released, [(1, Released::Aborted)]);
}

#[test]
fn a_fin_reaches_a_peer_without_window() {
    let tcp = TcpConfig {
        rcv_wnd: 16 << 10,
        rcv_budget: 32 << 10,
        user_timeout: Duration::from_secs(2),
        ..TcpConfig::DATACENTER
    };
    let (mut p, a, b) = Pair::open(&Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() });
    p.b.app.keep = true;
    let mut sent = 0;
    // Fill the window to its last byte.
    while p.info_a(a).snd_wnd > 0 {
        let n = (p.info_a(a).snd_wnd as usize).min(1448);
        p.send_a(a, n, sent, 1);
        sent += n;
        p.run(MS(1));
    }
    p.close_a(a);
    p.run(Duration::from_secs(5));
    assert_eq!(p.b.app.fins, [b], "FIN needs no memory");
    assert!(p.a.app.closed.is_empty());
    expect_pattern(&p.b.app.received, sent);
}
