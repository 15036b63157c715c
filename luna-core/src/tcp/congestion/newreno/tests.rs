use super::*;
use crate::tcp::congestion::tests::{MSS, ack, cut};

#[test]
fn slow_start_doubles_then_avoidance_adds_a_segment_per_window() {
    let (mut c, mut w) = (NewReno::new(), Window::new(10 * MSS));
    for _ in 0..10 {
        c.on_ack(&mut w, &ack(MSS));
    }
    assert_eq!(w.cwnd, 20 * MSS);
    c.on_loss(&mut w, &cut(20 * MSS));
    assert_eq!(w.cwnd, 10 * MSS);
    for _ in 0..10 {
        c.on_ack(&mut w, &ack(MSS));
    }
    assert_eq!(w.cwnd, 11 * MSS);
    c.on_ack(&mut w, &Ack { grow: false, ..ack(20 * MSS) });
    assert_eq!(w.cwnd, 11 * MSS, "an unused window does not grow");
}

#[test]
fn a_stretch_ack_counts_for_two_segments() {
    let (mut c, mut w) = (NewReno::new(), Window::new(10 * MSS));
    c.on_ack(&mut w, &ack(8 * MSS));
    assert_eq!(w.cwnd, 12 * MSS);
}

#[test]
fn timeout_starts_over_from_one_segment_towards_half() {
    let (mut c, mut w) = (NewReno::new(), Window::new(40 * MSS));
    c.on_timeout(&mut w, &cut(40 * MSS), true);
    assert_eq!(w, Window { cwnd: MSS, ssthresh: 20 * MSS });
    c.on_timeout(&mut w, &cut(MSS), false);
    for _ in 0..200 {
        c.on_ack(&mut w, &ack(MSS));
    }
    assert!(w.cwnd >= 20 * MSS, "ssthresh is half of the first flight");
    assert!(w.cwnd < 40 * MSS, "and growth above it is linear");
    c.on_loss(&mut w, &cut(MSS));
    assert_eq!(w.cwnd, 2 * MSS, "never below two segments");
}

#[test]
fn a_spurious_loss_is_taken_back() {
    let (mut c, mut w) = (NewReno::new(), Window { cwnd: 40 * MSS, ssthresh: 30 * MSS });
    let prior = w;
    c.on_timeout(&mut w, &cut(40 * MSS), true);
    c.on_ack(&mut w, &ack(MSS));
    c.on_spurious(&mut w, prior);
    assert_eq!(w, prior);
}

#[test]
fn a_mark_halves_and_the_end_of_recovery_bursts_not() {
    let (mut c, mut w) = (NewReno::new(), Window::new(40 * MSS));
    c.on_ecn(&mut w, &cut(30 * MSS));
    assert_eq!(w, Window { cwnd: 15 * MSS, ssthresh: 15 * MSS });
    c.on_recovered(&mut w, 3 * MSS, MSS);
    assert_eq!(w.cwnd, 4 * MSS);
    c.on_recovered(&mut w, 100 * MSS, MSS);
    assert_eq!(w.cwnd, 15 * MSS);
}
