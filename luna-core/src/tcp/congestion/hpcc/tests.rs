//! Algorithm 1 step by step, and its behaviour on a modelled link.

use super::*;
use crate::tcp::congestion::tests::{MSS, ack, cut};

/// 10 Gb/s, 40 µs: 50,000 bytes.
const CONFIG: HpccConfig = HpccConfig {
    base_rtt: Duration::from_micros(40),
    line_rate: 10_000_000_000 / 8,
    eta: 95,
    max_stage: 5,
    additive: 100,
};
const BDP: u32 = 50_000;
const GB: u64 = 10_000_000_000;

fn one(hop: Hop) -> Telemetry {
    let mut t = Telemetry::EMPTY;
    t.push(hop);
    t
}

fn tell(c: &mut Hpcc, w: &mut Window, us: u64, una: u32, nxt: u32, t: &Telemetry) {
    let now = Instant::from_nanos(us * 1000);
    c.on_ack(w, &Ack { now, una: SeqNum(una), nxt: SeqNum(nxt), telemetry: Some(t), ..ack(MSS) });
}

#[test]
fn it_begins_at_line_rate() {
    let c = Hpcc::new(CONFIG);
    assert_eq!(c.initial().cwnd, BDP);
    assert_eq!(c.pacing_rate(), Some(CONFIG.line_rate));
}

#[test]
fn one_step_of_the_algorithm() {
    let mut c = Hpcc::new(CONFIG);
    let mut w = c.initial();
    tell(&mut c, &mut w, 0, 1, 50_001, &one(Hop::new(GB, 0, 0, 0)));
    assert_eq!(w.cwnd, BDP, "one record alone says nothing");
    // 20 µs on: 12,500 bytes sent (half load), 6,400 and 12,800 queued.
    tell(&mut c, &mut w, 20, 1001, 51_001, &one(Hop::new(GB, 6_400, 20_000, 12_500)));
    // u = 0/50,000 + 12,500/25,000 = 0.5 (the smaller queue counts); U = 1/2 · 1 + 1/2 · 0.5 = 0.75 < 0.95: additive.
    assert_eq!(c.load(), ONE * 3 / 4);
    assert_eq!(w.cwnd, BDP, "capped at line rate");
    // 40 µs on: full load, queue 6,400 then 12,800: u = 6,400/50,000 + 1 = 1.128, tau = T: U = u.
    tell(&mut c, &mut w, 60, 51_002, 101_002, &one(Hop::new(GB, 12_800, 60_000, 62_500)));
    let u = 1.128;
    assert!((c.load() as f64 / ONE as f64 - u).abs() < 1e-5);
    let want = 50_000.0 / (u / 0.95) + 100.0;
    assert!((f64::from(w.cwnd) - want).abs() < 2.0, "{} not {want}", w.cwnd);
    let rate = c.pacing_rate().unwrap() as f64;
    assert!((rate - want / 40e-6).abs() < 1e5, "paced at W / T");
}

#[test]
fn within_a_round_the_reference_window_stays() {
    let mut c = Hpcc::new(CONFIG);
    let mut w = c.initial();
    tell(&mut c, &mut w, 0, 1, 50_001, &one(Hop::new(GB, 0, 0, 0)));
    // Twice overloaded for 40 µs each, but all within one window of data.
    for i in 1..4u32 {
        let (t, sent) = (u64::from(i) * 40, u64::from(i) * 50_000);
        tell(&mut c, &mut w, t, 1000 * i, 50_001, &one(Hop::new(GB, 50_000, t * 1000, sent)));
    }
    // The first is measured against an empty queue, u = 1, the others give u = 2; none compounds.
    let want = 50_000.0 / (2.0 / 0.95) + 100.0;
    assert!((f64::from(w.cwnd) - want).abs() < 20.0, "{} not {want}", w.cwnd);
    // Behind the window's end it does.
    tell(&mut c, &mut w, 160, 50_002, 100_000, &one(Hop::new(GB, 50_000, 160_000, 200_000)));
    assert_eq!(c.reference, w.cwnd);
    tell(&mut c, &mut w, 200, 100_001, 150_000, &one(Hop::new(GB, 50_000, 200_000, 250_000)));
    assert!((f64::from(w.cwnd) - (want / (2.0 / 0.95) + 100.0)).abs() < 60.0, "{}", w.cwnd);
}

#[test]
fn five_additive_steps_then_a_multiplicative_one() {
    let mut c = Hpcc::new(CONFIG);
    c.reference = 10_000;
    c.window = 10_000;
    let mut w = Window::new(10_000);
    let mut windows = vec![];
    for i in 0..8u32 {
        // Load 0.5 each 40 µs.
        let (t, sent) = (u64::from(i) * 40, u64::from(i) * 25_000);
        tell(&mut c, &mut w, t, 10_000 * i + 1, 10_000 * (i + 1), &one(Hop::new(GB, 0, t * 1000, sent)));
        windows.push(w.cwnd);
    }
    assert_eq!(windows[..6], [10_000, 10_100, 10_200, 10_300, 10_400, 10_500]);
    assert_eq!(windows[6], 10_500 * 19 / 10 + 99, "to full load at once, but for rounding down");
}

#[test]
fn the_busiest_link_counts() {
    let mut c = Hpcc::new(CONFIG);
    let mut w = c.initial();
    let path = |t: u64, queues: [u64; 3], sent: [u64; 3]| {
        let mut all = Telemetry::EMPTY;
        for (rate, (queue, sent)) in [GB * 4, GB, GB * 4].into_iter().zip(queues.into_iter().zip(sent)) {
            all.push(Hop::new(rate, queue, t * 1000, sent));
        }
        all
    };
    tell(&mut c, &mut w, 0, 1, 50_001, &path(0, [0; 3], [0; 3]));
    tell(&mut c, &mut w, 40, 50_002, 100_001, &path(40, [64_000, 64_000, 0], [50_000, 50_000, 10_000]));
    // The first link: 64,000 were not queued before; 50,000 of 200,000. The second: 50,000 of 50,000.
    assert_eq!(c.load(), ONE);
}

#[test]
fn what_does_not_compare_changes_nothing() {
    let mut c = Hpcc::new(CONFIG);
    let mut w = c.initial();
    let busy = |t: u64, sent| one(Hop::new(GB, 100_000, t, sent));
    tell(&mut c, &mut w, 0, 1, 50_001, &busy(0, 0));
    let mut other = busy(40_000, 50_000);
    other.path = 7;
    tell(&mut c, &mut w, 40, 50_002, 100_001, &other);
    assert_eq!(w.cwnd, BDP, "another path");
    let mut longer = busy(80_000, 100_000);
    longer.path = 7;
    longer.push(Hop::new(GB, 0, 0, 0));
    tell(&mut c, &mut w, 80, 100_002, 150_001, &longer);
    assert_eq!(w.cwnd, BDP, "another length");
    tell(&mut c, &mut w, 120, 150_002, 200_001, &busy(120_000, 150_000));
    tell(&mut c, &mut w, 120 + 2_000_000, 200_002, 250_001, &busy(160_000, 200_000));
    assert_eq!(w.cwnd, BDP, "too long ago");
    tell(&mut c, &mut w, 2_000_160, 250_002, 300_001, &busy(160_000, 260_000));
    assert_eq!(w.cwnd, BDP, "no time between them");
    tell(&mut c, &mut w, 2_000_200, 300_002, 350_001, &busy(150_000, 260_000));
    assert_eq!(w.cwnd, BDP, "time going backwards");
    tell(&mut c, &mut w, 2_000_240, 350_002, 400_001, &busy(190_000, 310_000));
    assert!(w.cwnd < BDP / 2, "and this compares");
}

#[test]
fn without_records_it_is_newreno_below_line_rate() {
    let mut c = Hpcc::new(CONFIG);
    let mut w = c.initial();
    let quiet = Telemetry::EMPTY;
    c.on_loss(&mut w, &cut(BDP));
    assert_eq!(w.cwnd, BDP / 2);
    for telemetry in [Some(&quiet), None].into_iter().cycle().take(200) {
        c.on_ack(&mut w, &Ack { telemetry, ..ack(MSS) });
    }
    assert_eq!(w.cwnd, BDP);
    c.on_timeout(&mut w, &cut(BDP), true);
    assert_eq!(w.cwnd, MSS);
}

/// `n` flows, fluid, on one 10 Gb/s link: within some RTTs they share η of it, with a near-empty queue.
#[test]
fn flows_converge_to_the_target_with_an_empty_queue() {
    for n in [1usize, 2, 8, 64] {
        let mut flows: Vec<_> = (0..n).map(|_| (Hpcc::new(CONFIG), Window::new(BDP), 1u32)).collect();
        let (mut queue, mut sent) = (0.0f64, 0.0f64);
        let mut loads = vec![];
        for step in 0..4000u64 {
            // 10 µs a step: every flow offers W / T; the link serves its rate.
            let offered: f64 = flows.iter().map(|(c, ..)| c.pacing_rate().unwrap() as f64 * 10e-6).sum();
            let served = (queue + offered).min(12_500.0);
            queue += offered - served;
            sent += served;
            loads.push(served / 12_500.0);
            let t = one(Hop::new(GB, queue as u64, step * 10_000, sent as u64));
            // Each flow hears of a step in turn, about four times an RTT.
            for (i, (c, w, una)) in flows.iter_mut().enumerate() {
                let next = *una + w.cwnd / 4;
                *una = next;
                tell(c, w, step * 10 + i as u64 % 10, next, next + w.cwnd, &t);
            }
        }
        let late = &loads[3000..];
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        assert!((0.85..=1.0).contains(&mean), "{n} flows: load {mean:.3}");
        let own = n as f64 * 100.0;
        assert!(queue <= 25_000.0 + own, "{n} flows: {queue:.0} bytes queued");
        let mut windows: Vec<u32> = flows.iter().map(|(_, w, _)| w.cwnd).collect();
        windows.sort_unstable();
        assert!(windows[n - 1] <= windows[0] * 2, "{n} flows: windows from {} to {}", windows[0], windows[n - 1]);
    }
}
