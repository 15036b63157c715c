//! NewReno: slow start and congestion avoidance by byte counting (RFC 5681, RFC 3465), recovery after RFC 6582.
//!
//! The initial window (RFC 6928) is a setting; a window that was not used does not grow and decays when idle (RFC 7661).

use super::{Ack, CongestionControl, Cut, MAX_WINDOW, Window, after_recovery, decay, half, slow_start};

/// NewReno's state beside the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewReno {
    /// Bytes acknowledged towards the next segment of growth in congestion avoidance.
    acked: u32,
}

impl NewReno {
    /// The start of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { acked: 0 }
    }

    /// Growth for `acked` bytes under a window that was in full use.
    #[inline]
    pub fn grow(&mut self, window: &mut Window, acked: u32, mss: u32) {
        if window.cwnd >= MAX_WINDOW {
            return;
        }
        if window.slow_start() {
            return slow_start(window, acked, mss);
        }
        // RFC 3465 §2.1: a segment per window's worth of acknowledged bytes.
        self.acked = self.acked.saturating_add(acked);
        if self.acked >= window.cwnd {
            self.acked -= window.cwnd;
            window.cwnd += mss;
        }
    }
}

impl CongestionControl for NewReno {
    #[inline]
    fn on_ack(&mut self, window: &mut Window, ack: &Ack<'_>) {
        if ack.grow {
            self.grow(window, ack.acked, ack.mss);
        }
    }

    fn on_loss(&mut self, window: &mut Window, cut: &Cut) {
        window.ssthresh = half(cut.flight, cut.mss);
        window.cwnd = window.ssthresh;
        self.acked = 0;
    }

    fn on_ecn(&mut self, window: &mut Window, cut: &Cut) {
        // RFC 3168 §6.1.2: as for a loss, but there is nothing to repair.
        self.on_loss(window, cut);
    }

    fn on_recovered(&mut self, window: &mut Window, flight: u32, mss: u32) {
        after_recovery(window, flight, mss);
    }

    fn on_timeout(&mut self, window: &mut Window, cut: &Cut, first: bool) {
        if first {
            window.ssthresh = half(cut.flight, cut.mss);
        }
        window.cwnd = cut.mss;
        self.acked = 0;
    }

    fn on_spurious(&mut self, window: &mut Window, prior: Window) {
        *window = Window { cwnd: window.cwnd.max(prior.cwnd), ssthresh: window.ssthresh.max(prior.ssthresh) };
        self.acked = 0;
    }

    fn on_idle(&mut self, window: &mut Window, restart: u32, periods: u32) {
        decay(window, restart, periods);
        self.acked = 0;
    }
}

#[cfg(test)]
mod tests;
