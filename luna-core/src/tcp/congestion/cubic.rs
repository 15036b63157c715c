//! CUBIC (RFC 9438), in integers: times in ns and µs, windows in bytes, intermediate products in 128 bits.
//!
//! Section by section: §4.1 constants (C = 0.4, β = 0.7, fast convergence), §4.2 the cubic function and K, §4.3 the
//! Reno-friendly region, §4.4 and §4.5 the concave and convex regions, §4.6 decrease, §4.7 fast convergence, §4.8
//! timeout, §4.9 spurious events, §4.10 slow start (with HyStart++, RFC 9406), §5.8 application-limited flows: time
//! during which the window was not in use does not count.

use super::hystart::Growth;
use super::{Ack, CongestionControl, Cut, HyStart, MAX_WINDOW, Window, after_recovery, decay, slow_start};
use crate::time::{Duration, Instant};

/// α of the Reno-friendly region below the window before the cut: 3 (1 − β) / (1 + β) = 9/17 (§4.3).
const ALPHA: (u64, u64) = (9, 17);
/// Longer than this, in µs, nothing grows any more: 2³² µs are 71 minutes, and cubes stay within 128 bits.
const MAX_T: u64 = 1 << 32;

/// β times `w`.
fn beta(w: u32) -> u32 {
    (u64::from(w) * 7 / 10) as u32
}

/// The largest `r` with r³ ≤ `n`.
fn cube_root(n: u128) -> u64 {
    let mut root = 0u128;
    for bit in (0..42).rev() {
        let try_root = root | 1 << bit;
        if try_root * try_root * try_root <= n {
            root = try_root;
        }
    }
    root as u64
}

/// A congestion avoidance stage: from the last cut (or slow start's end) to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Epoch {
    /// t = 0; moves on while the window is not in use.
    start: Instant,
    /// K in µs.
    k: u64,
    /// The cubic's plateau in this epoch.
    w_max: u32,
    w_est: u32,
    /// What W_est has not got yet: parts of a byte, over 17 · cwnd.
    est_rest: u64,
    /// What the window has not got yet: parts of a byte, over cwnd.
    rest: u64,
}

/// What a spurious event takes back (§4.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct State {
    epoch: Option<Epoch>,
    /// Window just before the last reduction, lowered by fast convergence; 0 for none.
    w_max: u32,
    /// Window just before the last reduction.
    cwnd_prior: u32,
    /// The first stage after a timeout has no plateau to return to (§4.8).
    after_timeout: bool,
}

/// CUBIC's state beside the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cubic {
    state: State,
    saved: State,
    hystart: HyStart,
    last_ack: Option<Instant>,
}

impl Cubic {
    /// The start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// W_cubic at `t` µs into the epoch (§4.2 figure 1): C (t − K)³ + W_max.
    fn w_cubic(epoch: &Epoch, t: u64, mss: u32) -> u32 {
        let t = t.min(MAX_T);
        let d = u128::from(t.abs_diff(epoch.k).min(MAX_T));
        // 0.4 segments per s³, in bytes per µs³.
        let delta = d * d * d * u128::from(mss) * 4 / (10 * 1_000_000_000_000_000_000);
        let delta = u32::try_from(delta).unwrap_or(u32::MAX);
        if t < epoch.k { epoch.w_max.saturating_sub(delta) } else { epoch.w_max.saturating_add(delta).min(MAX_WINDOW) }
    }

    /// Congestion avoidance begins (§4.2).
    fn begin(&mut self, now: Instant, cwnd: u32, mss: u32) -> Epoch {
        let s = &mut self.state;
        // After a timeout, after slow start without loss, or above the plateau already: from here upwards (§4.8, §4.10).
        let (k, w_max) = if s.after_timeout || s.w_max <= cwnd {
            (0, cwnd)
        } else {
            // K³ = (W_max − cwnd) / C, in µs³.
            let k3 = u128::from(s.w_max - cwnd) * 10 * 1_000_000_000_000_000_000 / (4 * u128::from(mss.max(1)));
            (cube_root(k3), s.w_max)
        };
        s.after_timeout = false;
        Epoch { start: now, k, w_max, w_est: cwnd, est_rest: 0, rest: 0 }
    }

    fn avoid(&mut self, window: &mut Window, ack: &Ack<'_>) {
        let (cwnd, mss) = (window.cwnd, ack.mss);
        let mut epoch = match self.state.epoch {
            Some(epoch) => epoch,
            None => self.begin(ack.now, cwnd, mss),
        };
        // §4.3: as fast as Reno once the window is where it was before the cut.
        let alpha = if epoch.w_est >= self.state.cwnd_prior { (1, 1) } else { ALPHA };
        epoch.est_rest += alpha.0 * u64::from(mss) * u64::from(ack.acked);
        let whole = alpha.1 * u64::from(cwnd.max(1));
        epoch.w_est = epoch.w_est.saturating_add((epoch.est_rest / whole) as u32).min(MAX_WINDOW);
        epoch.est_rest %= whole;
        let t = ack.now.since(epoch.start).as_nanos() / 1000;
        if Self::w_cubic(&epoch, t, mss) < epoch.w_est {
            window.cwnd = cwnd.max(epoch.w_est);
            epoch.rest = 0;
        } else {
            // §4.4, §4.5: towards what the cubic says one RTT from now, at most half a window more.
            let target = Self::w_cubic(&epoch, t + ack.srtt.as_nanos() / 1000, mss);
            let target = target.clamp(cwnd, cwnd.saturating_add(cwnd / 2).min(MAX_WINDOW));
            epoch.rest += u64::from(target - cwnd) * u64::from(ack.acked);
            window.cwnd += (epoch.rest / u64::from(cwnd.max(1))) as u32;
            epoch.rest %= u64::from(cwnd.max(1));
        }
        self.state.epoch = Some(epoch);
    }

    /// §4.6 and §4.7. The window has `floor` segments at least.
    fn reduce(&mut self, window: &mut Window, cut: &Cut, floor: u32) {
        self.saved = self.state;
        let s = &mut self.state;
        s.cwnd_prior = window.cwnd;
        // Fast convergence: a flow that did not come back to its plateau makes room for others.
        s.w_max = if window.cwnd < s.w_max { (u64::from(window.cwnd) * 17 / 20) as u32 } else { window.cwnd };
        s.epoch = None;
        s.after_timeout = false;
        let reduced = beta(cut.flight);
        window.ssthresh = reduced.max(2 * cut.mss);
        window.cwnd = reduced.max(floor * cut.mss);
    }
}

impl CongestionControl for Cubic {
    fn on_ack(&mut self, window: &mut Window, ack: &Ack<'_>) {
        let since = self.last_ack.replace(ack.now).map_or(Duration::ZERO, |last| ack.now.since(last));
        if !ack.grow {
            if let Some(epoch) = &mut self.state.epoch {
                epoch.start = epoch.start + since;
            }
            return;
        }
        if !window.slow_start() {
            return self.avoid(window, ack);
        }
        if window.ssthresh != u32::MAX {
            return slow_start(window, ack.acked, ack.mss);
        }
        match self.hystart.on_ack(ack) {
            Growth::Full => slow_start(window, ack.acked, ack.mss),
            Growth::Quarter(acked) => slow_start(window, acked, ack.mss),
            Growth::Done => {
                window.ssthresh = window.cwnd;
                self.avoid(window, ack);
            }
        }
    }

    fn on_loss(&mut self, window: &mut Window, cut: &Cut) {
        self.reduce(window, cut, 2);
    }

    fn on_ecn(&mut self, window: &mut Window, cut: &Cut) {
        self.reduce(window, cut, 1);
    }

    fn on_recovered(&mut self, window: &mut Window, flight: u32, mss: u32) {
        after_recovery(window, flight, mss);
    }

    fn on_timeout(&mut self, window: &mut Window, cut: &Cut, first: bool) {
        if first {
            self.reduce(window, cut, 1);
        }
        self.state.epoch = None;
        self.state.after_timeout = true;
        window.cwnd = cut.mss;
    }

    fn on_spurious(&mut self, window: &mut Window, prior: Window) {
        if prior.cwnd <= window.cwnd && prior.ssthresh <= window.ssthresh {
            // That loss cut nothing (the window had been cut for a mark): what was saved is from before another cut.
            return;
        }
        *window = Window { cwnd: window.cwnd.max(prior.cwnd), ssthresh: window.ssthresh.max(prior.ssthresh) };
        self.state = self.saved;
    }

    fn on_idle(&mut self, window: &mut Window, restart: u32, periods: u32) {
        let before = window.cwnd;
        decay(window, restart, periods);
        if window.cwnd < before {
            // What was learnt of time since the cut belongs to a window that is gone.
            self.state.epoch = None;
        }
        // Nothing passed meanwhile.
        self.last_ack = None;
    }
}

#[cfg(test)]
mod tests;
