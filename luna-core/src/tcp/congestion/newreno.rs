//! NewReno: slow start and congestion avoidance by byte counting (RFC 5681, RFC 3465), recovery after RFC 6582.

use super::{Ack, CongestionControl};

/// NewReno's state.
#[derive(Clone, Copy, Debug)]
pub struct NewReno {
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged towards the next segment of growth in congestion avoidance.
    acked: u32,
}

/// Larger windows are never useful: the advertised window ends at 1 GiB.
const MAX_WINDOW: u32 = 1 << 30;

impl NewReno {
    /// With an initial window of `cwnd` bytes.
    #[must_use]
    pub const fn new(cwnd: u32) -> Self {
        Self { cwnd, ssthresh: u32::MAX, acked: 0 }
    }
}

impl CongestionControl for NewReno {
    #[inline(always)]
    fn window(&self) -> u32 {
        self.cwnd
    }

    #[inline(always)]
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    #[inline]
    fn on_ack(&mut self, ack: &Ack) {
        // An unused window says nothing about the path: it does not grow (RFC 7661).
        if !ack.limited || self.cwnd >= MAX_WINDOW {
            return;
        }
        if self.cwnd < self.ssthresh {
            // RFC 3465's L = 2 keeps stretch acknowledgments from bursting.
            self.cwnd += ack.acked.min(2 * ack.mss);
            return;
        }
        self.acked = self.acked.saturating_add(ack.acked);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd += ack.mss;
        }
    }

    fn on_loss(&mut self, flight: u32, mss: u32) {
        self.ssthresh = (flight / 2).max(2 * mss);
        self.cwnd = self.ssthresh;
        self.acked = 0;
    }

    fn on_recovered(&mut self, flight: u32, mss: u32) {
        // RFC 6582 §3.2 step 3, first option: no burst when little is in flight.
        self.cwnd = self.ssthresh.min(flight.max(mss) + mss).max(2 * mss);
    }

    fn on_timeout(&mut self, flight: u32, mss: u32, first: bool) {
        if first {
            self.ssthresh = (flight / 2).max(2 * mss);
        }
        self.cwnd = mss;
        self.acked = 0;
    }

    fn on_spurious(&mut self, before: &Self) {
        self.cwnd = self.cwnd.max(before.cwnd);
        self.ssthresh = self.ssthresh.max(before.ssthresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn ack(acked: u32) -> Ack {
        Ack { acked, mss: MSS, limited: true }
    }

    #[test]
    fn slow_start_doubles_then_avoidance_adds_a_segment_per_window() {
        let mut c = NewReno::new(10 * MSS);
        for _ in 0..10 {
            c.on_ack(&ack(MSS));
        }
        assert_eq!(c.window(), 20 * MSS);
        c.on_loss(20 * MSS, MSS);
        assert_eq!(c.window(), 10 * MSS);
        for _ in 0..10 {
            c.on_ack(&ack(MSS));
        }
        assert_eq!(c.window(), 11 * MSS);
        c.on_ack(&Ack { limited: false, ..ack(MSS) });
        assert_eq!(c.window(), 11 * MSS);
    }

    #[test]
    fn a_stretch_ack_counts_for_two_segments() {
        let mut c = NewReno::new(10 * MSS);
        c.on_ack(&ack(8 * MSS));
        assert_eq!(c.window(), 12 * MSS);
    }

    #[test]
    fn timeout_starts_over_from_one_segment_towards_half() {
        let mut c = NewReno::new(40 * MSS);
        c.on_timeout(40 * MSS, MSS, true);
        assert_eq!(c.window(), MSS);
        c.on_timeout(MSS, MSS, false);
        for _ in 0..200 {
            c.on_ack(&ack(MSS));
        }
        assert!(c.window() >= 20 * MSS, "ssthresh is half of the first flight");
        assert!(c.window() < 40 * MSS, "and growth above it is linear");
        c.on_loss(MSS, MSS);
        assert_eq!(c.window(), 2 * MSS, "never below two segments");
    }
}
