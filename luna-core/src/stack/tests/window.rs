//! Flow control: closed windows, probes, lost updates, memory pinned by small segments, silly windows.

use core::cell::RefCell;
use std::rc::Rc;

use super::harness::*;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;
use crate::zbuf::Zbuf;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn small_window() -> Options {
    let tcp = TcpConfig { rcv_wnd: 32 << 10, rcv_budget: 64 << 10, ..TcpConfig::DATACENTER };
    Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() }
}

impl Pair {
    /// b lets go of the first `n` chunks that it keeps.
    fn release_b(&mut self, conn: ConnId, n: usize) {
        for data in self.b.app.kept.drain(..n).collect::<Vec<Zbuf>>() {
            let size = data.true_size();
            drop(data);
            self.b.stack.cx(self.now).release(conn, size).unwrap();
        }
    }

    fn send_all(&mut self, conn: ConnId, bytes: usize) {
        for at in (0..bytes).step_by(8000) {
            let data = self.a.buffer(8000.min(bytes - at), at);
            self.a.send(self.now, conn, &data, 1).unwrap();
        }
    }
}

#[test]
fn a_window_closes_as_memory_fills_and_opens_as_it_is_given_back() {
    let (mut p, a, b) = Pair::open(&small_window());
    p.b.app.keep = true;
    p.send_all(a, 200_000);
    let mut releases = 0;
    while p.b.app.received.len() < 200_000 {
        p.settle();
        let kept = p.b.app.kept.len();
        assert!(p.b.conn(b).rcv_held <= (64 << 10) + 2 * 1664, "{}", p.b.conn(b).rcv_held);
        // No time passes: every step is driven by a window update, not by a probe.
        p.release_b(b, kept);
        releases += 1;
        assert!(releases < 50, "stalled at {}", p.b.app.received.len());
    }
    p.run(MS(1));
    expect_pattern(&p.b.app.received, 200_000);
    let c = p.a.stack.counters();
    assert_eq!((c.window_probes, c.retransmits, c.rtos), (0, 0, 0));
    assert!(p.b.stack.counters().over_budget == 0);
}

#[test]
fn probes_back_off_for_as_long_as_it_takes_and_make_up_for_a_lost_update() {
    let (mut p, a, b) = Pair::open(&small_window());
    p.b.app.keep = true;
    p.send_all(a, 100_000);
    p.run(MS(10));
    let got = p.b.app.received.len();
    p.run(Duration::from_secs(30));
    // Three times the user timeout: the peer answers, so it is alive.
    assert!(p.a.app.closed.is_empty());
    let probes = p.a.stack.counters().window_probes;
    // 4 ms doubling to 1 s, then one each second.
    assert!((34..=40).contains(&probes), "{probes}");
    assert_eq!((p.b.app.received.len(), p.a.stack.counters().retransmits), (got, 0));
    // The update is lost; the next probe is answered with the window.
    let mut n = 0;
    p.b.queue().fate = Box::new(move |_, _| {
        n += 1;
        if n == 1 { Fate::Drop } else { Fate::Pass }
    });
    let kept = p.b.app.kept.len();
    p.release_b(b, kept);
    p.b.app.keep = false;
    assert!(p.run_until(MS(1500), |p| p.b.app.received.len() == 100_000));
    expect_pattern(&p.b.app.received, 100_000);
    assert_eq!(p.a.stack.counters().rtos, 0);
}

#[test]
fn a_peer_that_stops_answering_probes_is_given_up() {
    let (mut p, a, _) = Pair::open(&small_window());
    p.b.app.keep = true;
    p.send_all(a, 100_000);
    p.run(MS(100));
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    assert!(p.run_until(Duration::from_secs(12), |p| !p.a.app.closed.is_empty()));
    assert_eq!(p.a.app.closed[0].1.reason, CloseReason::TimedOut(Limit::User));
}

#[test]
fn one_byte_segments_pin_no_more_than_the_budget() {
    let tcp = TcpConfig { rcv_wnd: 64 << 10, rcv_budget: 128 << 10, ..TcpConfig::DATACENTER };
    let (mut p, a, b) = Pair::open(&Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() });
    p.b.app.keep = true;
    let n = 400;
    for i in 0..n {
        let data = p.a.buffer(1, i);
        p.a.send(p.now, a, &data, i as u64).unwrap();
        drop(data);
        p.settle();
    }
    let size = p.b.app.kept[0].true_size() as usize;
    assert!(p.b.app.kept.len() <= (128 << 10) / size + 2, "{} objs pinned", p.b.app.kept.len());
    assert!(p.b.stack.counters().over_budget > 0, "and what is more is refused, and counted");
    for _ in 0..200 {
        let kept = p.b.app.kept.len();
        p.release_b(b, kept);
        p.run(MS(20));
        if p.b.app.received.len() == n {
            break;
        }
    }
    expect_pattern(&p.b.app.received, n);
    p.run(MS(1));
    assert_eq!(p.a.app.released.len(), n);
}

#[test]
fn memory_given_back_in_crumbs_makes_no_crumbs_of_segments() {
    let (mut p, a, b) = Pair::open(&small_window());
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = sizes.clone();
    p.a.queue().fate = Box::new(move |s, _| {
        if s.payload_len > 0 {
            seen.borrow_mut().push(s.payload_len);
        }
        Fate::Pass
    });
    p.b.app.keep = true;
    p.send_all(a, 150_000);
    p.settle();
    while p.b.app.received.len() < 150_000 {
        if !p.b.app.kept.is_empty() {
            p.release_b(b, 1);
        }
        p.run(Duration::from_micros(500));
    }
    let sizes = sizes.borrow();
    let small = sizes.iter().filter(|n| **n < 1448).count();
    // The ends of the window and of the stream.
    assert!(small <= 6, "{small} of {} segments are small: {sizes:?}", sizes.len());
}

#[test]
fn windows_below_a_segment_still_flow() {
    for (rcv_wnd, rcv_budget) in [(1000, 2000), (100, 200), (4000, 1600), (1448, 2896), (1, 4), (3000, 4096)] {
        let tcp_b = TcpConfig { rcv_wnd, rcv_budget, ..TcpConfig::DATACENTER };
        let (mut p, a, b) = Pair::open(&Options { tcp_b, ..Options::default() });
        let n = if rcv_wnd == 1 { 10 } else { 6000 };
        p.send_all(a, n);
        assert!(p.run_until(Duration::from_secs(2), |p| p.b.app.received.len() == n), "{rcv_wnd}/{rcv_budget}");
        expect_pattern(&p.b.app.received, n);
        assert_eq!(p.a.stack.counters().window_probes, 0, "{rcv_wnd}/{rcv_budget}");
        // And when the application keeps a while what it got.
        p.b.app.received.clear();
        p.b.app.keep = true;
        p.send_all(a, n);
        for _ in 0..40_000 {
            let kept = p.b.app.kept.len();
            p.release_b(b, kept);
            if p.b.app.received.len() == n {
                break;
            }
            p.run(MS(1));
        }
        expect_pattern(&p.b.app.received, n);
    }
}

/// Reordering: an acknowledgment from ahead of its turn says nothing of the window that could be taken for the newest,
/// but it advances `snd_una`. The window's edge must not advance along.
#[test]
fn an_acknowledgment_from_ahead_of_its_turn_does_not_move_the_window() {
    let (mut p, a, _) = Pair::open(&small_window());
    p.b.queue().fate = Box::new(|_, _| Fate::Drop);
    p.send_all(a, 8_000);
    p.spin(2);
    let edge = |p: &Pair| p.a.conn(a).snd_una + p.a.conn(a).snd_wnd;
    let before = edge(&p);
    let window = (p.a.conn(a).snd_wnd >> p.a.conn(a).snd_scale) as u16;
    // The receiver took 4000 bytes in and kept them: its window is that much smaller, and the edge is where it was.
    p.a.forge(a, |f| {
        f.seq += 1000;
        f.ack = f.ack - 4000;
        f.window = window - 4000;
        f.payload = vec![7; 100];
    });
    p.spin(1);
    assert_eq!(p.a.conn(a).in_flight(), 4000);
    assert_eq!(edge(&p), before);
    // One that widens it is believed: nobody else might say so.
    p.a.forge(a, |f| {
        f.seq += 1100;
        f.ack = f.ack - 3000;
        f.window = window - 2000;
        f.payload = vec![7; 100];
    });
    p.spin(1);
    assert_eq!(edge(&p), before + 3000);
}
