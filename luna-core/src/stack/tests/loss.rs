//! Loss, reordering, duplication and damage on the way: everything arrives once, in order, with bounded effort.

use super::harness::*;
use crate::nic::NicQueue;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;
use crate::wire::TcpPacket;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A small generator of our own; the seed is in every message.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn options(sack: bool, timestamps: bool) -> Options {
    let tcp = TcpConfig { sack, timestamps, ..TcpConfig::DATACENTER };
    Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() }
}

/// Without probes: what is left to the timer is seen.
fn timer_only() -> Options {
    let tcp = TcpConfig { rack: false, ..TcpConfig::DATACENTER };
    Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() }
}

/// Opens, sends `n` buffers of `len` each way, closes both ends, and checks that everything came and nothing leaked.
pub(super) fn exchange(o: &Options, n: usize, len: usize, prepare: impl FnOnce(&mut Pair)) -> Pair {
    let mut p = Pair::new(o);
    prepare(&mut p);
    let (a, b) = p.connect(o);
    for i in 0..n {
        for (to_b, conn) in [(true, a), (false, b)] {
            let end = if to_b { &mut p.a } else { &mut p.b };
            let data = end.buffer(len, i * len);
            end.send(p.now, conn, &data, i as u64).unwrap();
        }
        p.settle();
    }
    assert!(p.run_until(Duration::from_secs(60), |p| p.a.app.released.len() == n && p.b.app.released.len() == n));
    assert!(p.run_until(MS(100), |p| p.a.app.received.len() == n * len && p.b.app.received.len() == n * len));
    let want: Vec<_> = (0..n as u64).map(|i| (i, Released::Acked)).collect();
    for end in [&p.a, &p.b] {
        expect_pattern(&end.app.received, n * len);
        assert_eq!(end.app.released, want, "each token once, in order");
    }
    p.b.app.close_on_fin = true;
    let now = p.now;
    p.a.stack.cx(now).close(a).unwrap();
    assert!(p.run_until(Duration::from_secs(60), |p| p.b.app.closed.len() == 1 && p.a.app.closed.len() == 1));
    for end in [&p.a, &p.b] {
        assert_eq!(end.app.closed[0].1.reason, CloseReason::Finished);
    }
    p.run(Duration::from_secs(2));
    p.assert_clean();
    p
}

fn drop_nth(k: u64) -> FateFn {
    Box::new(move |_, n| if n == k { Fate::Drop } else { Fate::Pass })
}

/// Whichever segment is lost, of either side, from SYN to the last ACK of FIN: the exchange completes.
#[test]
fn any_one_segment_may_be_lost() {
    for (sack, timestamps) in [(false, false), (false, true), (true, false), (true, true)] {
        let o = options(sack, timestamps);
        for from_a in [true, false] {
            for k in 1.. {
                let mut sent = 0;
                let p = exchange(&o, 4, 3000, |p| {
                    let end = if from_a { &mut p.a } else { &mut p.b };
                    end.queue().fate = drop_nth(k);
                });
                let end = if from_a { &p.a } else { &p.b };
                sent += end.stack.counters().segments_out;
                let retransmitted = |e: &End| e.stack.counters().retransmits + e.stack.counters().syn_retransmits;
                let total = retransmitted(&p.a) + retransmitted(&p.b);
                assert!(total <= 12, "{total} retransmissions for one loss (sack {sack}, ts {timestamps}, k {k})");
                if sent < k {
                    assert_eq!(total, 0);
                    break;
                }
            }
        }
    }
}

/// Two in a row, at every place.
#[test]
fn any_two_neighbouring_segments_may_be_lost() {
    for sack in [false, true] {
        let o = options(sack, true);
        for from_a in [true, false] {
            for k in 1..14 {
                exchange(&o, 4, 3000, |p| {
                    let end = if from_a { &mut p.a } else { &mut p.b };
                    end.queue().fate = Box::new(move |_, n| if n == k || n == k + 1 { Fate::Drop } else { Fate::Pass });
                });
            }
        }
    }
}

/// A burst is one record until something is lost. With hardly any record to cut it into, it is repaired all the same.
#[test]
fn a_burst_that_shares_a_record_survives_loss() {
    for (segments, sack) in [(Some(1), true), (Some(2), false), (Some(3), true), (None, true)] {
        let o = Options { segments, ..options(sack, true) };
        for every in [3, 5, 7] {
            exchange(&o, 4, 12_000, |p| {
                p.may_spin = true;
                let mut n = 0;
                p.a.queue().fate = Box::new(move |s, _| {
                    n += u64::from(s.payload_len > 0);
                    if s.payload_len > 0 && n % every == 0 && n < 40 { Fate::Drop } else { Fate::Pass }
                });
            });
        }
    }
}

/// In order and without loss, a burst of many segments takes one record, whatever is acknowledged of it in the middle.
#[test]
fn a_burst_takes_one_record() {
    let o = Options { segments: Some(1), ..options(true, true) };
    let p = exchange(&o, 4, 12_000, |p| p.may_spin = true);
    for end in [&p.a, &p.b] {
        let c = end.stack.counters();
        assert_eq!((c.retransmits, c.rtos), (0, 0));
        assert!(c.rtt_samples > 0);
    }
}

/// A path with a delay: what leaves one side in a settled moment arrives after `rtt / 2`.
fn one_way(p: &mut Pair, conn: ConnId, bytes: usize, lose: &[u64]) -> (Duration, Counters) {
    let lose: Vec<u64> = lose.to_vec();
    let mut n = 0;
    p.a.queue().fate = Box::new(move |s, _| {
        n += u64::from(s.payload_len > 0);
        if s.payload_len > 0 && lose.contains(&n) { Fate::Drop } else { Fate::Pass }
    });
    let start = p.now;
    for at in (0..bytes).step_by(8000) {
        let data = p.a.buffer(8000.min(bytes - at), at);
        p.a.send(p.now, conn, &data, 1).unwrap();
    }
    assert!(p.run_until(Duration::from_secs(5), |p| p.b.app.received.len() == bytes));
    expect_pattern(&p.b.app.received, bytes);
    (p.now.since(start), *p.a.stack.counters())
}

use crate::counters::Counters;

#[test]
fn with_enough_behind_it_a_loss_needs_no_timeout() {
    for sack in [false, true] {
        for k in 1..20 {
            let (mut p, a, _) = Pair::open(&options(sack, true));
            let (_, c) = one_way(&mut p, a, 40_000, &[k]);
            assert_eq!((c.retransmits, c.fast_recoveries, c.rtos), (1, 1, 0), "sack {sack}, segment {k}");
        }
    }
}

#[test]
fn sack_repairs_many_losses_of_one_window_at_once() {
    let (mut p, a, _) = Pair::open(&options(true, true));
    let lose = [1, 3, 4, 8, 12, 13, 17, 20];
    let (took, c) = one_way(&mut p, a, 44_000, &lose);
    assert_eq!((c.retransmits, c.rtos, c.fast_recoveries), (8, 0, 1));
    assert!(took < MS(3), "{took:?}");
    // Without SACK each hole takes a round trip, but no timeout either.
    let (mut p, a, _) = Pair::open(&options(false, true));
    let (_, c) = one_way(&mut p, a, 44_000, &lose);
    assert_eq!(c.rtos, 0);
    assert!(c.retransmits <= 12, "{}", c.retransmits);
}

#[test]
fn without_probes_a_lost_tail_costs_one_timeout_of_4_ms() {
    let (mut p, a, _) = Pair::open(&timer_only());
    one_way(&mut p, a, 60_000, &[]);
    p.b.app.received.clear();
    p.run(MS(1));
    let before = *p.a.stack.counters();
    let (took, c) = one_way(&mut p, a, 5000, &[4]);
    assert_eq!((c.rtos - before.rtos, c.retransmits - before.retransmits), (1, 1));
    assert!(took >= MS(4) && took <= MS(6), "{took:?}");
}

#[test]
fn timeouts_back_off_and_a_new_acknowledgment_ends_that() {
    let (mut p, a, _) = Pair::open(&timer_only());
    one_way(&mut p, a, 60_000, &[]);
    p.run(MS(1));
    let times = std::rc::Rc::new(core::cell::RefCell::new(Vec::new()));
    let data = p.a.buffer(100, 60_000);
    let seen = times.clone();
    // The clock is the TSval, in ms.
    let (mut lost, keep) = (0, 7);
    p.a.queue().fate = Box::new(move |s: &TcpPacket, _| {
        if s.payload_len > 0 && lost < keep {
            lost += 1;
            seen.borrow_mut().push(s.tcp.seq);
            return Fate::Drop;
        }
        Fate::Pass
    });
    let start = p.now;
    p.a.send(p.now, a, &data, 2).unwrap();
    assert!(p.run_until(Duration::from_secs(3), |p| p.b.app.received.len() == 60_100));
    // 4 + 8 + ... + 256 = 508 ms.
    let took = p.now.since(start);
    assert!(took >= MS(508) && took < MS(520), "{took:?}");
    assert_eq!((times.borrow().len(), p.a.stack.counters().rtos), (7, 7));
    p.run(MS(5));
    // Karn: the retransmitted segment gave no sample, and the next timeout is short again.
    let info = p.info_a(a);
    assert!(info.srtt < MS(1), "{:?}", info.srtt);
    let before = *p.a.stack.counters();
    p.b.app.received.clear();
    let (took, c) = one_way(&mut p, a, 100, &[1]);
    assert_eq!(c.rtos - before.rtos, 1);
    assert!(took < MS(6), "{took:?}");
}

#[test]
fn the_estimate_is_not_fooled_by_recovery() {
    // Three segments above the hole are not there: a timeout repairs it, and the acknowledgment then covers segments
    // that had arrived 4 ms before. Their age is no round trip.
    for sack in [true, false] {
        let (mut p, a, _) = Pair::open(&options(sack, true));
        one_way(&mut p, a, 60_000, &[]);
        p.b.app.received.clear();
        let before = p.info_a(a).srtt;
        one_way(&mut p, a, 3 * 1448, &[1]);
        p.run(MS(2));
        let after = p.info_a(a).srtt;
        assert!(after <= before + before_slack(), "sack {sack}: {before:?} became {after:?}");
    }
}

fn before_slack() -> Duration {
    Duration::from_micros(100)
}

impl core::ops::Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::from_nanos(self.as_nanos() + other.as_nanos())
    }
}

#[test]
fn an_application_that_sends_on_does_not_drive_recovery_after_a_timeout() {
    let (mut p, a, _) = Pair::open(&timer_only());
    let data = p.a.buffer(14_480, 0);
    p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
    p.a.send(p.now, a, &data, 1).unwrap();
    assert!(p.run_until(MS(100), |p| p.a.stack.counters().rtos == 1));
    assert_eq!(p.a.stack.counters().retransmits, 1);
    for i in 0..5 {
        p.a.send(p.now, a, &data, 2 + i).unwrap();
        p.settle();
    }
    assert_eq!(p.a.stack.counters().retransmits, 1, "one segment per timeout (RFC 5681 §3.1)");
}

#[test]
fn a_lost_syn_is_sent_again_after_the_initial_timeout() {
    let o = Options::default();
    let mut p = Pair::new(&o);
    p.a.queue().fate = Box::new(|_, n| if n <= 3 { Fate::Drop } else { Fate::Pass });
    let start = p.now;
    let (a, _) = p.connect(&o);
    // 20 + 40 + 80 ms.
    assert!(p.now.since(start) >= MS(140) && p.now.since(start) < MS(145));
    assert_eq!(p.a.stack.counters().syn_retransmits, 3);
    assert_eq!(p.info_a(a).srtt, Duration::ZERO, "a SYN sent twice is no sample");
}

/// Random loss both ways.
fn random(seed: u64, loss_per_mille: u64, late_per_mille: u64) -> impl Fn() -> FateFn {
    move || {
        let mut r = Random(seed | 1);
        Box::new(move |_, _| {
            let x = r.below(1000);
            if x < loss_per_mille {
                Fate::Drop
            } else if x < loss_per_mille + late_per_mille {
                Fate::Late
            } else {
                Fate::Pass
            }
        })
    }
}

#[test]
fn random_loss_and_reordering() {
    for sack in [false, true] {
        for (loss, late) in [(1, 0), (10, 0), (50, 0), (100, 0), (0, 50), (20, 100)] {
            for seed in [0x1234_5678, 0x9e37_79b9_7f4a_7c15] {
                let p = exchange(&options(sack, true), 40, 8192, |p| {
                    p.a.queue().fate = random(seed, loss, late)();
                    p.b.queue().fate = random(seed.rotate_left(32), loss, late)();
                });
                let c = *p.a.stack.counters();
                // 240 segments, and about half as many again for 10 %.
                assert!(c.retransmits < 20 + 3 * (loss + late), "{} retransmits at {loss}/{late}", c.retransmits);
            }
        }
    }
}

#[test]
fn duplicates_are_harmless() {
    for sack in [false, true] {
        let p = exchange(&options(sack, true), 20, 8192, |p| {
            for end in [&mut p.a, &mut p.b] {
                end.queue().duplicate = 3;
            }
        });
        for end in [&p.a, &p.b] {
            assert_eq!(end.stack.counters().rtos, 0);
            assert!(end.stack.counters().duplicates > 10);
        }
    }
}

#[test]
fn damaged_frames_are_counted_and_made_good() {
    let p = exchange(&options(true, true), 20, 8192, |p| {
        for end in [&mut p.a, &mut p.b] {
            end.queue().damage = 9;
        }
    });
    for end in [&p.a, &p.b] {
        let c = end.stack.counters();
        let dropped: u64 = c.malformed.iter().sum();
        assert!(dropped > 5, "{dropped}");
    }
}

#[test]
fn a_port_that_checks_nothing_by_itself_is_checked_by_software() {
    let p = exchange(&Options { checksum_offload: false, ..options(true, true) }, 2, 1000, |p| {
        assert!(!p.a.queue().caps().tx_checksum);
    });
    assert_eq!(p.a.stack.counters().malformed.iter().sum::<u64>(), 0);
}
