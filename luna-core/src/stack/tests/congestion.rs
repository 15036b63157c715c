//! Controllers, ECN and telemetry between two stacks, over a slow link.

use super::bottleneck::{Bottleneck, Slow, mark};
use super::harness::Options;
use crate::stack::*;
use crate::tcp::congestion::{CongestionKind, HpccConfig};
use crate::tcp::{Ecn, State, TcpConfig};
use crate::time::Duration;
use crate::wire::{RxChecksum, TcpFlags, TcpPacket, int};

const US: fn(u64) -> Duration = Duration::from_micros;
const MS: fn(u64) -> Duration = Duration::from_millis;
/// 1 Gb/s, 100 µs there and back: 12.5 kB on the way.
const GIGABIT: Slow =
    Slow { rate: 1_000_000_000, delay: Duration::from_micros(50), room: 150_000, mark_at: None, stamp: false };

/// 10 Gb/s, 40 µs there and back: 50 kB on the way.
const FAST: Slow =
    Slow { rate: 10_000_000_000, delay: Duration::from_micros(20), room: 600_000, mark_at: None, stamp: true };

fn tcp(congestion: CongestionKind) -> TcpConfig {
    let hpcc = HpccConfig { base_rtt: US(45), line_rate: FAST.rate / 8, additive: 100, ..HpccConfig::DEFAULT };
    TcpConfig { congestion, hpcc, ..TcpConfig::DATACENTER }
}

fn both(tcp: TcpConfig) -> Options {
    Options { tcp_a: tcp, tcp_b: tcp, connections: 64, controls: 64, ..Options::default() }
}

fn parse(frame: &[u8]) -> TcpPacket {
    TcpPacket::parse_frame(frame, RxChecksum::UNKNOWN).unwrap()
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn ecn_is_used_when_one_side_asks_and_the_other_agrees() {
    use Ecn::{Accept, Off, Request};
    let plain = |ecn| TcpConfig { ecn, ..tcp(CongestionKind::NewReno) };
    let cases = [
        (plain(Off), plain(Request), false),
        (plain(Accept), plain(Accept), false),
        (plain(Request), plain(Off), false),
        (plain(Request), plain(Accept), true),
        (plain(Request), plain(Request), true),
        (tcp(CongestionKind::Dctcp), plain(Accept), true),
        (plain(Request), TcpConfig { ecn: Off, ..tcp(CongestionKind::Dctcp) }, true),
        (tcp(CongestionKind::Cubic), plain(Request), false),
    ];
    for (i, (tcp_a, tcp_b, want)) in cases.into_iter().enumerate() {
        let o = Options { tcp_a, tcp_b, ..both(tcp_a) };
        let mut n = Bottleneck::new(&o, GIGABIT);
        n.there.borrow_mut().seen = Some(vec![]);
        n.back.borrow_mut().seen = Some(vec![]);
        let conn = n.connect(20_000);
        n.run(MS(50));
        assert_eq!(n.app_b.received, 20_000, "case {i}");
        assert_eq!(n.info(conn).ecn, want, "case {i}");
        assert_eq!((n.a.counters().ecn_agreed, n.b.counters().ecn_agreed), (want.into(), want.into()), "case {i}");
        for (wire, from_a) in [(&n.there, true), (&n.back, false)] {
            for (_, frame) in wire.borrow().seen.as_ref().unwrap() {
                let p = parse(frame);
                let setup = p.tcp.flags & (TcpFlags::ECE | TcpFlags::CWR);
                let asked = tcp_a.ecn == Request || tcp_a.congestion == CongestionKind::Dctcp;
                let expected = match (p.tcp.flags.syn(), from_a) {
                    (true, true) if asked => TcpFlags::ECE | TcpFlags::CWR,
                    (true, false) if want => TcpFlags::ECE,
                    _ => TcpFlags::NONE,
                };
                assert_eq!(setup, expected, "case {i}: {:?}", p.tcp);
                let capable = want && p.payload_len > 0;
                assert_eq!(p.ecn(), if capable { 2 } else { 0 }, "case {i}: only data is capable");
            }
        }
    }
}

#[test]
fn a_lost_ecn_syn_is_repeated_without_and_our_data_is_not_capable_then() {
    let asks = TcpConfig { ecn: Ecn::Request, ..tcp(CongestionKind::NewReno) };
    let mut n = Bottleneck::new(&both(asks), GIGABIT);
    // The first SYN never arrives: its addresses are damaged.
    n.there.borrow_mut().meddle = Box::new(|frame, count| {
        if count == 1 {
            frame[12] = 0;
        }
    });
    n.back.borrow_mut().seen = Some(vec![]);
    let conn = n.connect(5_000);
    n.run(MS(200));
    assert_eq!(n.app_b.received, 5_000);
    assert!(!n.info(conn).ecn);
    assert_eq!(parse(&n.back.borrow().seen.as_ref().unwrap()[0].1).tcp.flags, TcpFlags::SYN | TcpFlags::ACK);
}

/// Marks data segment number `which` (of those with payload).
fn mark_data(n: &Bottleneck, which: impl Fn(usize) -> bool + 'static) {
    let mut data = 0;
    n.there.borrow_mut().meddle = Box::new(move |frame, _| {
        if parse(frame).payload_len > 0 {
            data += 1;
            if which(data) {
                assert!(mark(frame), "data is capable");
            }
        }
    });
}

#[test]
fn a_mark_is_echoed_until_cwr_and_halves_the_window_once() {
    let asks = TcpConfig { ecn: Ecn::Request, initial_window: 10, ..tcp(CongestionKind::NewReno) };
    let mut n = Bottleneck::new(&both(asks), GIGABIT);
    // Three marks within one window.
    mark_data(&n, |i| (40..43).contains(&i));
    n.there.borrow_mut().seen = Some(vec![]);
    n.back.borrow_mut().seen = Some(vec![]);
    let conn = n.connect(400_000);
    n.run(MS(100));
    let info = n.info(conn);
    assert_eq!(n.app_b.received, 400_000);
    assert_eq!(n.a.counters().ecn_cuts, 1, "once per window");
    assert_eq!(n.b.counters().ce_in, 3);
    assert_eq!((n.a.counters().retransmits, n.a.counters().rtos), (0, 0));
    assert!(info.ssthresh < 60_000, "{}", info.ssthresh);
    assert_eq!(u64::from(info.ece_received), n.a.counters().ece_in);
    let acks: Vec<bool> =
        n.back.borrow().seen.as_ref().unwrap().iter().skip(1).map(|(_, f)| parse(f).tcp.flags.ece()).collect();
    let (first, last) = (acks.iter().position(|e| *e).unwrap(), acks.iter().rposition(|e| *e).unwrap());
    assert!(acks[first..=last].iter().all(|e| *e), "without a gap");
    assert!(last > first, "several acknowledgments carry it");
    assert!(last < acks.len() - 10, "and it ends");
    let cwr: Vec<TcpPacket> = n
        .there
        .borrow()
        .seen
        .as_ref()
        .unwrap()
        .iter()
        .skip(1)
        .map(|(_, f)| parse(f))
        .filter(|p| p.tcp.flags.cwr())
        .collect();
    assert_eq!(cwr.len(), 1);
    assert!(cwr[0].payload_len > 0 && cwr[0].ecn() == 2, "on new data");
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn a_marked_retransmission_cannot_be() {
    let asks = TcpConfig { ecn: Ecn::Request, ..tcp(CongestionKind::NewReno) };
    for (congestion, capable) in [(CongestionKind::NewReno, 0), (CongestionKind::Dctcp, 2)] {
        let o = both(TcpConfig { congestion, ..asks });
        let mut n = Bottleneck::new(&o, GIGABIT);
        let mut data = 0;
        let mut first = None;
        let again = std::rc::Rc::new(core::cell::Cell::new(None));
        let seen = again.clone();
        n.there.borrow_mut().meddle = Box::new(move |frame, _| {
            let p = parse(frame);
            if p.payload_len > 0 {
                data += 1;
                if data == 5 {
                    first = Some(p.tcp.seq);
                    frame[12] = 0;
                } else if first == Some(p.tcp.seq) {
                    seen.set(Some(p.ecn()));
                }
            }
        });
        n.connect(100_000);
        n.run(MS(100));
        assert_eq!(n.app_b.received, 100_000);
        assert_eq!(again.get(), Some(capable), "{congestion}");
    }
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn dctcp_echoes_exactly_the_marked_bytes() {
    let mut n = Bottleneck::new(&both(tcp(CongestionKind::Dctcp)), GIGABIT);
    mark_data(&n, |i| i % 7 == 0 || i % 11 < 2);
    n.there.borrow_mut().seen = Some(vec![]);
    n.back.borrow_mut().seen = Some(vec![]);
    n.connect(300_000);
    n.run(MS(100));
    assert_eq!(n.app_b.received, 300_000);
    // What the acknowledgments say, byte by byte, against what was marked.
    let mut marked = vec![];
    let mut start = None;
    for (_, f) in n.there.borrow().seen.as_ref().unwrap() {
        let p = parse(f);
        if p.payload_len > 0 {
            start.get_or_insert(p.tcp.seq);
            let at = p.tcp.seq.distance_from(start.unwrap()) as usize;
            marked.resize(marked.len().max(at + usize::from(p.payload_len)), false);
            marked[at..at + usize::from(p.payload_len)].fill(p.ecn() == 3);
        }
    }
    let mut acked = 0;
    let mut wrong = 0;
    for (_, f) in n.back.borrow().seen.as_ref().unwrap() {
        let p = parse(f);
        if p.tcp.flags.syn() {
            continue;
        }
        let to = p.tcp.ack.distance_from(start.unwrap()) as usize;
        if to > acked && to <= marked.len() {
            wrong += marked[acked..to].iter().filter(|m| **m != p.tcp.flags.ece()).count();
            acked = to;
        }
    }
    assert_eq!(acked, 300_000);
    assert_eq!(wrong, 0, "every byte is acknowledged with its own mark");
    assert_eq!(n.a.counters().retransmits, 0);
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn dctcp_keeps_the_queue_at_the_threshold_where_newreno_fills_it() {
    let run = |kind, mark_at| {
        let mut n = Bottleneck::new(&both(tcp(kind)), Slow { mark_at, ..GIGABIT });
        let conns: Vec<_> = (0..4).map(|_| n.connect(usize::MAX / 2)).collect();
        n.run(MS(50));
        // The initial windows of all four at once are more than the queue holds.
        n.there.borrow_mut().dropped = 0;
        let m = n.measure(MS(100));
        (m, n, conns)
    };
    let ((bytes, mean, most), mut n, conns) = run(CongestionKind::Dctcp, Some(30_000));
    // 12.5 MB are the link's, 1448 of 1514 bytes payload.
    assert!(bytes > 11_300_000, "DCTCP: {bytes} bytes");
    assert!((5_000.0..45_000.0).contains(&mean) && most < 80_000, "DCTCP: {mean:.0} bytes queued, at most {most}");
    assert_eq!(n.there.borrow().dropped, 0);
    assert!(n.info(conns[0]).ece_received > 10);
    let ((bytes, reno, most), n, _) = run(CongestionKind::NewReno, None);
    assert!(bytes > 11_000_000, "NewReno: {bytes} bytes");
    assert!(most > 140_000 && reno > 2.0 * mean, "NewReno: {reno:.0} bytes queued, at most {most}");
    assert!(n.there.borrow().dropped > 0);
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn cubic_fills_the_link_and_recovers_from_drops() {
    let mut n = Bottleneck::new(&both(tcp(CongestionKind::Cubic)), GIGABIT);
    let conn = n.connect(usize::MAX / 2);
    n.run(MS(200));
    let (bytes, ..) = n.measure(MS(100));
    assert!(bytes > 11_000_000, "{bytes} bytes");
    assert!(n.there.borrow().dropped > 0);
    let info = n.info(conn);
    assert_eq!(info.congestion, CongestionKind::Cubic);
    assert!(info.ssthresh < u32::MAX && info.pacing_rate.is_none());
}

#[test]
#[cfg_attr(not(all(feature = "ipv6", feature = "controllers")), ignore = "needs ipv6 and controllers")]
fn hpcc_keeps_the_queue_empty_and_the_link_full_and_is_fair() {
    for ipv6 in [false, true] {
        let o = Options { ipv6, ..both(tcp(CongestionKind::Hpcc)) };
        let mut n = Bottleneck::new(&o, FAST);
        let conns: Vec<_> = (0..4).map(|_| n.connect(usize::MAX / 2)).collect();
        n.run(MS(10));
        let before: Vec<_> = n.app_b.per_conn.iter().map(|c| c.1).collect();
        let (bytes, mean, most) = n.measure(MS(20));
        // η of 25 MB, less headers and shims: 1316 of 1514 bytes are payload.
        assert!(bytes > 19_500_000, "{bytes} bytes");
        assert!(mean < 10_000.0 && most < 30_000, "{mean:.0} bytes queued, at most {most}");
        assert_eq!(n.there.borrow().dropped, 0);
        let shares: Vec<_> = n.app_b.per_conn.iter().zip(before).map(|(c, b)| c.1 - b).collect();
        let (least, largest) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(*largest < least * 2, "{shares:?}");
        let info = n.info(conns[0]);
        assert_eq!(info.congestion, CongestionKind::Hpcc);
        assert!(info.pacing_rate.is_some_and(|r| r < FAST.rate / 16), "{:?}", info.pacing_rate);
        assert!(n.a.counters().telemetry_in > 100 && n.b.counters().telemetry_in > 100);
        assert_eq!(n.a.counters().retransmits, 0);
    }
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn hpcc_incast_with_windows_below_a_segment() {
    let mut n = Bottleneck::new(&both(tcp(CongestionKind::Hpcc)), Slow { room: 8_000_000, ..FAST });
    let conns: Vec<_> = (0..60).map(|_| n.connect(usize::MAX / 2)).collect();
    n.run(MS(20));
    let (bytes, mean, _) = n.measure(MS(20));
    assert!(conns.iter().all(|c| n.info(*c).cwnd < 1316), "each has less than a segment");
    assert!(bytes > 19_000_000, "{bytes} bytes");
    // Sixty senders, a segment each is 90 kB.
    assert!(mean < 45_000.0, "{mean:.0} bytes queued");
    assert_eq!(n.a.counters().rtos, 0);
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn a_paced_connection_leaves_gaps() {
    let slower = HpccConfig { base_rtt: US(120), line_rate: GIGABIT.rate / 8, ..HpccConfig::DEFAULT };
    let o = both(TcpConfig { hpcc: slower, ..tcp(CongestionKind::Hpcc) });
    let mut n = Bottleneck::new(&o, Slow { stamp: true, ..GIGABIT });
    n.there.borrow_mut().seen = Some(vec![]);
    let conn = n.connect(1_000_000);
    n.run(MS(1));
    let rate = n.info(conn).pacing_rate.unwrap();
    assert!(rate <= 125_000_000);
    n.run(MS(30));
    assert_eq!(n.app_b.received, 1_000_000);
    let wire = n.there.borrow();
    let data: Vec<_> =
        wire.seen.as_ref().unwrap().iter().filter(|(_, f)| parse(f).payload_len > 0).map(|(at, _)| *at).collect();
    // 1316 bytes at no more than 125 MB/s: 10.5 µs.
    for pair in data.windows(10) {
        let gap = pair[9].since(pair[0]).as_nanos();
        assert!(gap >= 9 * 10_500 - 1_500, "nine segments in {gap} ns");
    }
    assert!(n.a.counters().paced > 300, "{}", n.a.counters().paced);
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn without_switches_that_stamp_hpcc_still_moves_data() {
    let mut n = Bottleneck::new(&both(tcp(CongestionKind::Hpcc)), GIGABIT);
    n.connect(2_000_000);
    n.run(MS(50));
    assert_eq!(n.app_b.received, 2_000_000);
    assert!(n.b.counters().telemetry_in > 0);
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn hpcc_with_a_peer_that_cannot_is_newreno_and_says_so() {
    for (here, there) in
        [(CongestionKind::Hpcc, CongestionKind::NewReno), (CongestionKind::NewReno, CongestionKind::Hpcc)]
    {
        let o = Options { tcp_a: tcp(here), tcp_b: tcp(there), ..both(tcp(here)) };
        let mut n = Bottleneck::new(&o, GIGABIT);
        n.there.borrow_mut().seen = Some(vec![]);
        let conn = n.connect(200_000);
        n.run(MS(50));
        assert_eq!(n.app_b.received, 200_000);
        assert_eq!(n.info(conn).congestion, CongestionKind::NewReno);
        assert_eq!(n.a.counters().telemetry_refused + n.b.counters().telemetry_refused, 1);
        assert!(n.there.borrow().seen.as_ref().unwrap().iter().all(|(_, f)| int::find(f).is_none()));
        let full = |s: &Stack<'_, _>| s.controls.available() == s.controls.capacity();
        assert!(full(&n.a) && full(&n.b), "the pool has its controllers back");
    }
}

#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn no_controller_left_is_a_refusal() {
    let o = Options { controls: 2, ..both(tcp(CongestionKind::Cubic)) };
    let mut n = Bottleneck::new(&o, GIGABIT);
    let a = n.connect(1000);
    n.connect(1000);
    n.run(MS(10));
    let to = || Connect::to(core::net::SocketAddr::new(super::harness::addr(&o, 2), super::harness::PORT));
    let now = n.now();
    assert_eq!(n.a.cx(now).connect(to()), Err(ConnectError::ControlsFull));
    assert_eq!(n.a.counters().controls_full, 1);
    n.a.cx(now).abort(a).unwrap();
    n.run(MS(10));
    n.connect(1000);
    n.run(MS(10));
    assert_eq!(n.app_b.received, 3000);
    // The other side's pool: a SYN without a controller is not answered.
    let o = Options { controls: 0, tcp_a: tcp(CongestionKind::NewReno), ..o };
    let mut n = Bottleneck::new(&o, GIGABIT);
    n.connect(1000);
    n.run(MS(10));
    assert_eq!(n.app_b.received, 0);
    assert_eq!((n.b.counters().controls_full, n.b.connections()), (1, 0));
}

#[test]
fn a_window_that_is_not_used_decays() {
    let o = both(TcpConfig { initial_window: 4, ..tcp(CongestionKind::NewReno) });
    let mut n = Bottleneck::new(&o, GIGABIT);
    let conn = n.connect(700_000);
    while n.app_b.received < 700_000 {
        n.run(US(500));
    }
    let grown = n.info(conn).cwnd;
    assert!(grown > 80_000, "{grown}");
    // Busy but for a moment: nothing decays.
    n.add(conn, 1448);
    n.run(MS(2));
    assert!(n.info(conn).cwnd >= grown);
    // Two to three timeouts of 4 ms later it has halved at least once, at most thrice.
    n.run(MS(11));
    n.add(conn, 1448);
    n.run(MS(1));
    let info = n.info(conn);
    assert!((grown / 8..=grown / 2).contains(&info.cwnd), "{grown} to {}", info.cwnd);
    assert!(info.ssthresh >= grown / 4 * 3, "slow start finds back");
    n.run(MS(500));
    n.add(conn, 1448);
    n.run(MS(1));
    assert_eq!(n.info(conn).cwnd, 4 * 1448, "down to the restart window");
    assert_eq!(n.a.counters().idle_decays, 2);
    assert_eq!(n.a.counters().rtos, 0);
}

#[test]
fn what_the_application_does_not_use_does_not_grow() {
    let o = both(TcpConfig { initial_window: 10, ..tcp(CongestionKind::NewReno) });
    let mut n = Bottleneck::new(&o, GIGABIT);
    let conn = n.connect(1000);
    for _ in 0..200 {
        n.run(US(300));
        n.add(conn, 1000);
    }
    assert_eq!(n.info(conn).cwnd, 10 * 1448);
}

/// Nothing but FIN waits, and longer than the ring of pace reaches.
#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn a_paced_connection_finishes() {
    let slow = HpccConfig { base_rtt: MS(10), line_rate: 1_000_000, ..HpccConfig::DEFAULT };
    let o = both(TcpConfig { hpcc: slow, ..tcp(CongestionKind::Hpcc) });
    let mut n = Bottleneck::new(&o, Slow { stamp: true, ..GIGABIT });
    let conn = n.connect(1300);
    n.run(US(400));
    assert_eq!((n.info(conn).in_flight, n.app_b.received), (0, 1300));
    let now = n.now();
    n.a.cx(now).shutdown(conn).unwrap();
    n.run(MS(5));
    assert_eq!(n.info(conn).state, State::FinWait2);
}
