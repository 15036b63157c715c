//! ICMP errors, true and forged; paths that swallow large packets.

use super::close::closed;
use super::harness::*;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;
use crate::wire::ParseError;
use crate::wire::icmp::tests::icmp_about;

const MS: fn(u64) -> Duration = Duration::from_millis;
const TOO_BIG_V4: (u8, u8) = (3, 4);

impl Pair {
    /// A router's error about `sent`, a frame of a's.
    fn icmp_to_a(&mut self, sent: &[u8], code: (u8, u8), rest: u32) {
        let error = icmp_about(sent, code, rest, 64);
        let mut frame = self.a.pools.data.alloc().unwrap();
        frame.append(error.len() as u32).unwrap().copy_from_slice(&error);
        self.a.queue().inject.push_back(frame.freeze());
    }

    /// The last frames that a sent, newest first; what is `larger` than so many bytes of IP packet.
    fn sent_by_a(&mut self, larger: usize) -> Vec<Vec<u8>> {
        let recent = self.a.queue().recent.clone().unwrap();
        recent.into_iter().filter(|f| f.len() > larger + 14).collect()
    }
}

/// Nothing larger than `mtu` passes.
fn narrow(mtu: usize, v6: bool) -> FateFn {
    Box::new(move |p, _| {
        let len = usize::from(p.payload_len) + usize::from(p.tcp.header_len) + if v6 { 40 } else { 20 };
        if len > mtu { Fate::Drop } else { Fate::Pass }
    })
}

fn open(o: &Options) -> (Pair, ConnId, ConnId) {
    let (mut p, a, b) = Pair::open(o);
    p.a.queue().recent = Some(Vec::new());
    (p, a, b)
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn a_router_that_says_what_it_takes_gets_that_at_once_and_nobody_slows_down() {
    for (v6, code, mtu, mss) in
        [(false, TOO_BIG_V4, 1300, 1248), (false, TOO_BIG_V4, 0, 1440), (true, (2, 0), 1400, 1328)]
    {
        let (mut p, a, _) = open(&Options { ipv6: v6, ..Options::default() });
        let cwnd = p.info_a(a).cwnd;
        p.a.queue().fate = narrow(if mtu == 0 { 1492 } else { mtu }, v6);
        for i in 0..4 {
            p.send_a(a, 10_000, i * 10_000, i as u64);
        }
        p.settle();
        assert!(p.b.app.received.is_empty());
        let sent = p.sent_by_a(1490).pop().expect("it sent full segments");
        p.icmp_to_a(&sent, code, mtu as u32);
        p.run(MS(3));
        expect_pattern(&p.b.app.received, 40_000);
        let c = *p.a.stack.counters();
        assert_eq!((c.icmp_in, c.icmp_ignored, c.pmtu_lowered, c.rtos), (1, 0, 1, 0), "{v6} {mtu}");
        assert_eq!(p.info_a(a).mss, mss, "{v6} {mtu}");
        assert!(p.info_a(a).cwnd >= cwnd, "it says nothing about congestion");
        // And once more, smaller.
        let frame = p.sent_by_a(0)[0].clone();
        p.icmp_to_a(&frame, code, 1290);
        p.settle();
        assert_eq!((p.info_a(a).mss, p.a.stack.counters().icmp_ignored), (mss, 1), "nothing is in flight");
        let now = p.now;
        p.a.stack.cx(now).abort(a).unwrap();
        p.run(MS(5));
        p.assert_clean();
    }
}

#[test]
#[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
fn what_is_not_in_flight_or_not_larger_or_smaller_than_any_path_is_not_believed() {
    for v6 in [false, true] {
        let (mut p, a, _) = open(&Options { ipv6: v6, ..Options::default() });
        let (code, least) = if v6 { ((2, 0), 1280 - 72) } else { (TOO_BIG_V4, 552 - 52) };
        p.send_a(a, 5000, 0, 1);
        p.run(MS(5));
        let old = p.sent_by_a(1400)[0].clone();
        p.a.queue().fate = Box::new(|_, _| Fate::Drop);
        p.send_a(a, 5000, 5000, 2);
        p.settle();
        let now = p.sent_by_a(1400)[0].clone();
        let l4 = if v6 { 54 } else { 34 };
        let changed = |at: usize, by: u8| {
            let mut f = now.clone();
            f[at] = f[at].wrapping_add(by);
            f
        };
        let mut small = now.clone();
        let len_at = if v6 { 14 + 4 } else { 14 + 2 };
        small[len_at..len_at + 2].copy_from_slice(&[0, 200]);
        for (what, frame, mtu) in [
            ("a small packet", small, 1300),
            ("acknowledged", old, 1300),
            ("not sent yet", changed(l4 + 4, 1), 1300),
            ("before it", changed(l4 + 4, 255), 1300),
            ("another connection's", changed(l4, 1), 1300),
            ("small enough", now.clone(), 1500),
        ] {
            let before = p.a.stack.counters().icmp_ignored;
            p.icmp_to_a(&frame, code, mtu);
            p.settle();
            assert_eq!(
                (p.info_a(a).mss, p.a.stack.counters().icmp_ignored - before),
                (1448 - if v6 { 20 } else { 0 }, 1),
                "{what}"
            );
        }
        p.icmp_to_a(&now, code, 68);
        p.settle();
        assert_eq!(p.info_a(a).mss, least, "a lie does not make us send crumbs");
    }
}

#[test]
fn a_hard_error_refuses_an_opening_and_nothing_else() {
    let o = Options::default();
    for (code, ends) in [((3, 3), true), ((3, 13), true), ((3, 1), false), ((11, 0), false)] {
        let mut p = Pair::new(&o);
        let now = p.now;
        p.a.queue().recent = Some(Vec::new());
        p.b.queue().fate = Box::new(|_, _| Fate::Drop);
        let a = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
        p.settle();
        let syn = p.sent_by_a(0)[0].clone();
        // Somebody who guesses.
        let mut wrong = syn.clone();
        wrong[34 + 7] ^= 1;
        p.icmp_to_a(&wrong, code, 0);
        p.settle();
        assert!(p.a.app.closed.is_empty());
        p.icmp_to_a(&syn, code, 0);
        p.settle();
        assert_eq!(p.a.app.closed.len(), usize::from(ends), "{code:?}");
        p.run(Duration::from_secs(6));
        let reason = CloseReason::Unreachable(code.0, code.1);
        assert_eq!(p.a.app.closed, [(a, closed(reason, false))], "remembered until patience ends");
    }
    // The same about an established connection, with data in flight.
    for heard in [false, true] {
        let (mut p, a, b) = open(&o);
        p.a.queue().fate = Box::new(|_, _| Fate::Drop);
        p.send_a(a, 100, 0, 1);
        p.settle();
        let sent = p.sent_by_a(0)[0].clone();
        p.icmp_to_a(&sent, (3, 3), 0);
        p.settle();
        assert!(p.a.app.closed.is_empty(), "RFC 5461");
        p.run(Duration::from_secs(2));
        if heard {
            // It is there after all: whatever happens later has another reason.
            p.send_b(b, 10, 0, 1);
            p.run(Duration::from_secs(2));
        }
        p.run(Duration::from_secs(12));
        let reason = if heard { CloseReason::TimedOut(Limit::User) } else { CloseReason::Unreachable(3, 3) };
        assert_eq!(p.a.app.closed, [(a, closed(reason, true))], "{heard}");
    }
}

#[test]
fn another_owner_of_the_interface_passes_errors_on() {
    let (mut p, a, _) = open(&Options::default());
    p.a.queue().fate = narrow(1300, false);
    p.send_a(a, 5000, 0, 1);
    p.settle();
    let sent = p.sent_by_a(1400).pop().unwrap();
    let error = icmp_about(&sent, TOO_BIG_V4, 1300, 28);
    let (now, path) = (p.now, p.a.path);
    let mut damaged = error.clone();
    damaged[14 + 28] ^= 1;
    let End { stack, app, .. } = &mut p.a;
    assert_eq!(stack.icmp(now, path, &damaged[14..], app), Err(ParseError::BadIcmp));
    assert_eq!(stack.icmp(now, path, &sent[14..], app), Err(ParseError::NotTcp), "it takes no TCP");
    assert_eq!(stack.icmp(now, PathId(3), &error[14..], app), Ok(()), "another path's");
    assert_eq!(p.info_a(a).mss, 1448);
    let End { stack, app, .. } = &mut p.a;
    assert_eq!(stack.icmp(now, path, &error[14..], app), Ok(()));
    p.run(MS(3));
    expect_pattern(&p.b.app.received, 5000);
}

/// An interface's ping, and errors about other protocols, are drops like any other.
#[test]
fn what_is_no_error_about_tcp_is_counted_as_what_it_is() {
    let (mut p, a, _) = open(&Options::default());
    p.send_a(a, 100, 0, 1);
    p.settle();
    let sent = p.sent_by_a(0)[0].clone();
    p.icmp_to_a(&sent, (8, 0), 0);
    p.settle();
    let c = p.a.stack.counters();
    assert_eq!((c.malformed[ParseError::NotTcp.index()], c.icmp_in), (1, 0));
}

/// No record is free when a connection's are to be cut for recovery, some are when a router says that its segments are too
/// large: what is cut then was lost, and counts so.
#[test]
fn records_that_are_cut_late_are_counted() {
    let o = Options { segments: Some(12), ..Options::default() };
    let (mut p, a, _) = open(&o);
    let now = p.now;
    let other = p.a.stack.cx(now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
    p.run(MS(1));
    p.a.queue().fate = Box::new(|_, _| Fate::Drop);
    for token in 1..3 {
        p.send_a(a, 6000, 0, token);
        p.settle();
    }
    let sent = p.sent_by_a(1400).pop().unwrap();
    for token in 3..13 {
        p.send_a(other, 10, 0, token);
        p.settle();
    }
    p.run(MS(50));
    assert!(p.a.stack.counters().no_segment_record > 0);
    let now = p.now;
    p.a.stack.cx(now).abort(other).unwrap();
    p.settle();
    p.a.queue().fate = narrow(1000, false);
    p.icmp_to_a(&sent, TOO_BIG_V4, 1000);
    p.run(Duration::from_secs(5));
    assert_eq!(p.a.stack.counters().pmtu_lowered, 1);
    assert!(p.a.app.released.ends_with(&[(1, Released::Acked), (2, Released::Acked)]));
}

fn black_hole() -> TcpConfig {
    TcpConfig { user_timeout: Duration::from_secs(60), keepalive_idle: Duration::ZERO, ..TcpConfig::DATACENTER }
}

#[test]
fn a_black_hole_is_found_and_tried_again_later() {
    for healed in [false, true] {
        let tcp = black_hole();
        let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() });
        p.a.queue().fate = narrow(1400, false);
        for i in 0..4 {
            p.send_a(a, 10_000, i * 10_000, i as u64);
        }
        p.run(MS(500));
        expect_pattern(&p.b.app.received, 40_000);
        let c = *p.a.stack.counters();
        assert_eq!((c.black_holes, c.pmtu_lowered, p.info_a(a).mss), (1, 0, 1280 - 52));
        p.run(Duration::from_secs(590));
        assert_eq!(p.info_a(a).mss, 1228);
        p.run(Duration::from_secs(11));
        assert_eq!((p.info_a(a).mss, p.a.stack.counters().pmtu_raised), (1448, 1));
        if healed {
            p.a.queue().fate = Box::new(|_, _| Fate::Pass);
        }
        let rtos = p.a.stack.counters().rtos;
        p.send_a(a, 10_000, 40_000, 9);
        p.run(MS(500));
        expect_pattern(&p.b.app.received, 50_000);
        let c = *p.a.stack.counters();
        if healed {
            assert_eq!((c.black_holes, p.info_a(a).mss), (1, 1448));
            p.run(Duration::from_secs(1300));
            assert_eq!((p.info_a(a).mss, p.a.stack.counters().pmtu_raised), (1448, 1), "it has proved itself");
        } else {
            assert_eq!((c.black_holes, p.info_a(a).mss), (2, 1228));
            assert_eq!(c.rtos - rtos, 1, "the second time one timeout is enough");
        }
    }
}

/// Messages of 4 KiB on ports that take 9000: no segment is ever full.
#[test]
fn a_black_hole_is_found_by_segments_that_are_not_full() {
    for (mtu, path, len, want) in [(9000, 1500, 4096, 1448), (1500, 1300, 1400, 1228), (1500, 900, 1000, 524)] {
        let tcp = black_hole();
        let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, tcp_b: tcp, mtu, ..Options::default() });
        p.a.queue().fate = narrow(path, false);
        p.send_a(a, len, 0, 1);
        p.run(Duration::from_secs(5));
        expect_pattern(&p.b.app.received, len);
        assert_eq!((p.a.stack.counters().black_holes, p.info_a(a).mss), (1, want), "{len} over {path}");
    }
}

/// A connection whose backoff went as far as it can, which nothing of one round trip took back (Karn), still finds it.
#[test]
fn a_black_hole_is_found_after_any_number_of_timeouts() {
    let tcp = black_hole();
    let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() });
    p.a.conn_mut(a).backoff = u8::MAX;
    p.a.queue().fate = narrow(1400, false);
    // Not one of them gets through.
    p.send_a(a, 6 * 1448, 0, 1);
    p.run(Duration::from_secs(30));
    expect_pattern(&p.b.app.received, 6 * 1448);
    assert_eq!((p.a.stack.counters().black_holes, p.info_a(a).mss), (1, 1228));
}

#[test]
fn a_peer_that_is_gone_is_no_black_hole_for_small_segments() {
    let tcp = black_hole();
    let (mut p, a, _) = Pair::open(&Options { tcp_a: tcp, ..Options::default() });
    p.a.queue().fate = Box::new(|_, _| Fate::Drop);
    // No path takes less.
    p.send_a(a, 576 - 52, 0, 1);
    p.run(Duration::from_secs(10));
    assert_eq!((p.a.stack.counters().black_holes, p.info_a(a).mss), (0, 1448));
    let off = TcpConfig { black_hole_timeouts: 0, ..tcp };
    let (mut p, a, _) = Pair::open(&Options { tcp_a: off, ..Options::default() });
    p.a.queue().fate = Box::new(|_, _| Fate::Drop);
    p.send_a(a, 10_000, 0, 1);
    p.run(Duration::from_secs(10));
    assert_eq!((p.a.stack.counters().black_holes, p.info_a(a).mss), (0, 1448));
}

#[test]
fn the_size_before_the_first_of_several_routers_is_what_is_tried_again() {
    let (mut p, a, _) = open(&Options::default());
    for (mtu, mss) in [(1400, 1348), (1300, 1248)] {
        p.a.queue().fate = narrow(mtu, false);
        p.send_a(a, 10_000, 0, 1);
        p.settle();
        let sent = p.sent_by_a(mtu)[0].clone();
        p.icmp_to_a(&sent, TOO_BIG_V4, mtu as u32);
        p.run(MS(3));
        assert_eq!(p.info_a(a).mss, mss);
    }
    p.a.queue().fate = Box::new(|_, _| Fate::Pass);
    p.run(TcpConfig::DATACENTER.pmtu_raise);
    assert_eq!(p.info_a(a).mss, 1448);
}
