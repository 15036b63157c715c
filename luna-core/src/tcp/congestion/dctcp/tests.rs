use super::*;
use crate::tcp::congestion::tests::{MSS, ack, cut};

/// Acknowledges a window of ten segments, the first `marked` of them marked; then cuts if any was.
fn window_of(c: &mut Dctcp, w: &mut Window, una: &mut SeqNum, marked: u32) {
    let nxt = *una + 20 * MSS;
    for i in 0..10 {
        *una += MSS;
        c.on_ack(w, &Ack { marked: i < marked, grow: false, una: *una, nxt, ..ack(MSS) });
    }
}

fn alpha(c: &Dctcp) -> f64 {
    f64::from(c.alpha()) / f64::from(ONE)
}

#[test]
fn alpha_follows_the_marked_fraction() {
    let (mut c, mut w, mut una) = (Dctcp::new(), Window::new(20 * MSS), SeqNum(0));
    assert_eq!(c.alpha(), ONE, "cautious at first");
    let mut want = 1.0;
    for (round, marked) in [10u32, 0, 0, 5, 5, 5, 0, 0, 0, 0].into_iter().cycle().take(60).enumerate() {
        let before = c.alpha();
        window_of(&mut c, &mut w, &mut una, marked);
        if c.alpha() != before || round == 0 {
            // Observed at least once: the formula must hold for what was observed.
            assert!(alpha(&c) <= 1.0);
        }
        want = alpha(&c);
    }
    assert!(want > 0.05 && want < 0.6, "{want}");
    // A steady half, for long: alpha is that half.
    for _ in 0..200 {
        window_of(&mut c, &mut w, &mut una, 5);
    }
    assert!((alpha(&c) - 0.5).abs() < 0.05, "{}", alpha(&c));
    for _ in 0..400 {
        window_of(&mut c, &mut w, &mut una, 0);
    }
    assert_eq!(c.alpha(), 0, "and forgotten when nothing is marked");
}

#[test]
fn one_observation_is_the_formula() {
    let (mut c, mut w) = (Dctcp::new(), Window::new(20 * MSS));
    let tell = |c: &mut Dctcp, w: &mut Window, una, nxt, acked, marked| {
        c.on_ack(w, &Ack { marked, grow: false, una: SeqNum(una), nxt: SeqNum(nxt), ..ack(acked) });
    };
    // The first acknowledgment ends the first window: M = 0.
    tell(&mut c, &mut w, 1000, 10_000, 1000, false);
    assert_eq!(c.alpha(), ONE / 16 * 15);
    // Up to and including the window's end: 3 of 9 thousand are marked.
    tell(&mut c, &mut w, 4000, 14_000, 3000, true);
    tell(&mut c, &mut w, 10_000, 20_000, 6000, false);
    assert_eq!(c.alpha(), ONE / 16 * 15, "not before something behind the window's end is acknowledged");
    tell(&mut c, &mut w, 11_000, 21_000, 1000, false);
    let want = 15.0 / 16.0 * 15.0 / 16.0 + 0.3 / 16.0;
    assert!((alpha(&c) - want).abs() < 1e-4, "{} not {want}", alpha(&c));
}

#[test]
fn the_cut_is_half_of_alpha() {
    let (mut c, mut w) = (Dctcp::new(), Window::new(100 * MSS));
    c.on_ecn(&mut w, &cut(100 * MSS));
    assert_eq!(w, Window { cwnd: 50 * MSS, ssthresh: 50 * MSS }, "alpha 1: as ever");
    c.alpha = ONE / 4;
    c.on_ecn(&mut w, &cut(50 * MSS));
    assert_eq!(w.cwnd, 43_750, "one eighth less");
    c.alpha = 0;
    c.on_ecn(&mut w, &cut(50 * MSS));
    assert_eq!(w.cwnd, 43_750);
    let mut w = Window::new(MSS);
    c.alpha = ONE;
    c.on_ecn(&mut w, &cut(MSS));
    assert_eq!(w.cwnd, MSS, "one segment is the least");
}

#[test]
fn a_loss_halves_whatever_alpha_is() {
    let (mut c, mut w) = (Dctcp::new(), Window::new(100 * MSS));
    c.alpha = 0;
    c.on_loss(&mut w, &cut(100 * MSS));
    assert_eq!(w.cwnd, 50 * MSS);
    c.on_timeout(&mut w, &cut(50 * MSS), true);
    assert_eq!(w, Window { cwnd: MSS, ssthresh: 25 * MSS });
}
