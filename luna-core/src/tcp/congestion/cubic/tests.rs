//! The expected numbers come from RFC 9438's formulas in floating point, computed apart from the code.

use super::*;
use crate::tcp::congestion::tests::{MSS, ack, cut};

const SEC: u64 = 1_000_000_000;

fn at(ns: u64) -> Instant {
    Instant::from_nanos(SEC + ns)
}

/// Windows of acknowledgments, one per `rtt`, until `end`; the window then.
fn run(c: &mut Cubic, w: &mut Window, from: u64, end: u64, rtt: u64) -> u64 {
    let mut t = from;
    while t < end {
        for _ in 0..w.cwnd / MSS {
            c.on_ack(w, &Ack { now: at(t), srtt: Duration::from_nanos(rtt), ..ack(MSS) });
        }
        t += rtt;
    }
    t
}

fn float_cubic(wmax: f64, cwnd: f64, t: f64) -> f64 {
    let k = if wmax > cwnd { ((wmax - cwnd) / 0.4).cbrt() } else { 0.0 };
    0.4 * (t - k).powi(3) + wmax.max(cwnd)
}

#[test]
fn cube_roots() {
    for n in [0u64, 1, 2, 3, 7, 9, 10, 99, 1000, 4_217_163, 2_000_000_000, (1 << 40) + 12345] {
        let cube = u128::from(n).pow(3);
        assert_eq!(cube_root(cube), n);
        assert_eq!(cube_root(cube + 1), if n == 0 { 1 } else { n });
        if n > 1 {
            assert_eq!(cube_root(cube - 1), n - 1);
        }
    }
}

#[test]
fn k_and_the_cubic_are_the_formulas() {
    // (W_max, cwnd) in segments, K in s, then W_cubic at t = 0, 0.5, 1, 2, 4, 6, 10 s.
    let table: [(u32, u32, f64, [f64; 7]); 3] = [
        (100, 70, 4.217_163, [70.0, 79.455_531, 86.680_764, 95.640_336, 99.995_903, 102.266_701, 177.353_999]),
        (1000, 700, 9.085_603, [700.0, 746.853_228, 788.555_094, 857.704_741, 947.387_693, 988.248_857, 1_000.305_819]),
        (10, 7, 1.957_434, [7.0, 8.761_698, 9.648_936, 10.000_031, 13.408_697, 36.425_999, 218.086_507]),
    ];
    for (w_max, cwnd, k, values) in table {
        let mut c = Cubic::new();
        c.state.w_max = w_max * MSS;
        let epoch = c.begin(at(0), cwnd * MSS, MSS);
        assert!((epoch.k as f64 / 1e6 - k).abs() < 2e-6, "K of {w_max}: {} µs", epoch.k);
        for (t, want) in [0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0].into_iter().zip(values) {
            let got = f64::from(Cubic::w_cubic(&epoch, (t * 1e6) as u64, MSS)) / f64::from(MSS);
            assert!((got - want).abs() < 0.003, "W_cubic({t}) of {w_max}: {got}, not {want}");
        }
    }
}

#[test]
fn a_loss_takes_three_tenths_and_the_cubic_brings_them_back_at_k() {
    // A long path: 100 ms, so that the cubic and not Reno is in charge.
    let rtt = SEC / 10;
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 1000 * MSS, ssthresh: 500 * MSS });
    c.on_loss(&mut w, &cut(1000 * MSS));
    assert_eq!(w, Window { cwnd: 700 * MSS, ssthresh: 700 * MSS });
    let mut t = 0;
    for end in [2 * SEC, 4 * SEC, 6 * SEC, 9 * SEC, 12 * SEC] {
        t = run(&mut c, &mut w, t, end, rtt);
        let want = float_cubic(1000.0, 700.0, t as f64 / 1e9);
        let got = f64::from(w.cwnd) / f64::from(MSS);
        assert!((got - want).abs() < want * 0.02, "at {} s: {got:.1}, the cubic says {want:.1}", t / SEC);
    }
}

#[test]
fn on_short_paths_it_is_as_fast_as_reno() {
    // 1 ms: Reno gains a segment per ms times alpha; the cubic would need seconds.
    let rtt = SEC / 1000;
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 100 * MSS, ssthresh: 50 * MSS });
    c.on_loss(&mut w, &cut(100 * MSS));
    run(&mut c, &mut w, 0, 40 * rtt, rtt);
    let want = 70.0 + 40.0 * 9.0 / 17.0;
    let got = f64::from(w.cwnd) / f64::from(MSS);
    assert!((got - want).abs() < 1.0, "{got} after 40 RTTs, W_est says {want}");
    // Past the window before the cut: one segment per RTT.
    run(&mut c, &mut w, 40 * rtt, 100 * rtt, rtt);
    let passed = (100.0 - want) / (9.0 / 17.0);
    let want = 100.0 + (60.0 - passed);
    let got = f64::from(w.cwnd) / f64::from(MSS);
    assert!((got - want).abs() < 2.0, "{got} after 100 RTTs, W_est says {want}");
}

#[test]
fn fast_convergence_lowers_the_plateau_of_a_flow_that_did_not_get_back() {
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 100 * MSS, ssthresh: 50 * MSS });
    c.on_loss(&mut w, &cut(100 * MSS));
    assert_eq!(c.state.w_max, 100 * MSS);
    c.on_loss(&mut w, &cut(70 * MSS));
    assert_eq!(c.state.w_max, 59_500, "70 (1 + 0.7) / 2");
    assert_eq!(w.cwnd, 49 * MSS);
    assert_eq!(c.state.cwnd_prior, 70 * MSS);
}

#[test]
fn a_mark_may_leave_one_segment_a_loss_two() {
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: MSS, ssthresh: 50 * MSS });
    c.on_ecn(&mut w, &cut(MSS));
    assert_eq!(w, Window { cwnd: MSS, ssthresh: 2 * MSS });
    c.on_loss(&mut w, &cut(MSS));
    assert_eq!(w, Window { cwnd: 2 * MSS, ssthresh: 2 * MSS });
}

#[test]
fn after_a_timeout_there_is_no_plateau() {
    let rtt = SEC / 10;
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 100 * MSS, ssthresh: 50 * MSS });
    c.on_timeout(&mut w, &cut(100 * MSS), true);
    assert_eq!(w, Window { cwnd: MSS, ssthresh: 70 * MSS });
    let t = run(&mut c, &mut w, 0, SEC, rtt);
    assert!(w.cwnd >= 70 * MSS, "slow start up to there");
    let epoch = c.state.epoch.expect("then congestion avoidance");
    assert_eq!(epoch.k, 0);
    assert!(epoch.w_max < 100 * MSS, "W_max is the window then");
    let (started, w0) = (epoch.start, f64::from(epoch.w_max) / f64::from(MSS));
    let t = run(&mut c, &mut w, t, t + 5 * SEC, rtt);
    let want = float_cubic(w0, w0, at(t).since(started).as_nanos() as f64 / 1e9);
    let got = f64::from(w.cwnd) / f64::from(MSS);
    assert!((got - want).abs() < want * 0.03, "{got}, the cubic from {w0} says {want}");
}

#[test]
fn time_in_which_the_window_is_not_in_use_does_not_count() {
    let rtt = SEC / 10;
    let run_with_pause = |pause: u64| {
        let (mut c, mut w) = (Cubic::new(), Window { cwnd: 1000 * MSS, ssthresh: 500 * MSS });
        c.on_loss(&mut w, &cut(1000 * MSS));
        let t = run(&mut c, &mut w, 0, 2 * SEC, rtt);
        let mut end = t;
        while end < t + pause {
            end += rtt;
            c.on_ack(&mut w, &Ack { now: at(end), grow: false, ..ack(MSS) });
        }
        // The pause ends with an acknowledgment; the run goes on one RTT behind the last one.
        run(&mut c, &mut w, end, end + 2 * SEC, rtt);
        w.cwnd
    };
    let (without, with) = (run_with_pause(0), run_with_pause(20 * SEC));
    assert!(without.abs_diff(with) < without / 50, "{without} and {with}");
    assert!(f64::from(with) < float_cubic(1000.0, 700.0, 10.0) * f64::from(MSS));
}

#[test]
fn a_spurious_loss_is_taken_back_whole() {
    let rtt = SEC / 10;
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 1000 * MSS, ssthresh: 500 * MSS });
    c.on_loss(&mut w, &cut(1000 * MSS));
    run(&mut c, &mut w, 0, 3 * SEC, rtt);
    let (prior, state) = (w, c.state);
    c.on_loss(&mut w, &cut(800 * MSS));
    assert_ne!(c.state, state);
    c.on_spurious(&mut w, prior);
    assert_eq!((w, c.state), (prior, state));
    c.on_timeout(&mut w, &cut(800 * MSS), true);
    c.on_spurious(&mut w, prior);
    assert_eq!((w, c.state), (prior, state));
}

#[test]
fn growth_is_at_most_half_a_window_per_window() {
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 10 * MSS, ssthresh: 5 * MSS });
    c.on_loss(&mut w, &cut(10 * MSS));
    c.on_ack(&mut w, &Ack { now: at(0), ..ack(MSS) });
    // An hour later, in full use: the cubic is far beyond.
    let mut last = w.cwnd;
    for i in 0..5 {
        for _ in 0..last / MSS {
            c.on_ack(&mut w, &Ack { now: at(3600 * SEC + i), ..ack(MSS) });
        }
        assert!(w.cwnd <= last + last / 2 + last / 4, "{last} to {}", w.cwnd);
        assert!(w.cwnd > last + last / 4, "{last} to {}", w.cwnd);
        last = w.cwnd;
    }
}

#[test]
fn a_loss_that_cut_nothing_takes_nothing_back() {
    let (mut c, mut w) = (Cubic::new(), Window { cwnd: 100 * MSS, ssthresh: 50 * MSS });
    run(&mut c, &mut w, 0, SEC, SEC / 10);
    c.on_ecn(&mut w, &cut(100 * MSS));
    let (window, state) = (w, c.state);
    // A loss in the same window was no reason to cut again, and turns out to be none at all.
    c.on_spurious(&mut w, window);
    assert_eq!((w, c.state), (window, state), "the mark's cut stays");
}
