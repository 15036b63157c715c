//! DCTCP (RFC 8257), the sender's side: how much of a window was marked decides by how much it shrinks. The receiver's
//! exact echo is in `tcp::ecn`.
//!
//! §3.3: α is a moving average of the marked fraction with gain g = 1/16, taken once per window of data, starting at 1.
//! §3.3 and §3.4: a cut by α/2 at most once per window, growth as RFC 5681. §3.5: losses are treated as ever. §5.3.1's
//! concern is moot: SYNs and pure acknowledgments are not marked as capable.

use super::{Ack, CongestionControl, Cut, NewReno, Window, after_recovery};
use crate::wire::SeqNum;

/// α in units of 2⁻²⁰.
const ONE: u32 = 1 << 20;
/// g = 1/16.
const GAIN_SHIFT: u32 = 4;

/// DCTCP's state beside the window.
#[derive(Clone, Copy, Debug)]
pub struct Dctcp {
    reno: NewReno,
    alpha: u32,
    acked: u64,
    marked: u64,
    /// The observation window ends when this is acknowledged.
    window_end: Option<SeqNum>,
}

impl Default for Dctcp {
    fn default() -> Self {
        Self::new()
    }
}

impl Dctcp {
    /// The start of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { reno: NewReno::new(), alpha: ONE, acked: 0, marked: 0, window_end: None }
    }

    /// The estimated fraction of marked bytes, in units of 2⁻²⁰.
    #[must_use]
    pub const fn alpha(&self) -> u32 {
        self.alpha
    }

    /// α ← (1 − g) α + g M.
    fn observe(&mut self) {
        let m = (self.marked * u64::from(ONE)).checked_div(self.acked).unwrap_or(0) as u32;
        // A remainder of less than 16 would keep α from ever reaching 0.
        let less = (self.alpha >> GAIN_SHIFT).max(u32::from(self.alpha > 0 && m == 0));
        self.alpha = (self.alpha - less + (m >> GAIN_SHIFT)).min(ONE);
        self.acked = 0;
        self.marked = 0;
    }
}

impl CongestionControl for Dctcp {
    fn on_ack(&mut self, window: &mut Window, ack: &Ack<'_>) {
        self.acked += u64::from(ack.acked);
        if ack.marked {
            self.marked += u64::from(ack.acked);
        }
        // §3.3: the first window ends with the first acknowledgment.
        if self.window_end.is_none_or(|end| ack.una.after(end)) {
            self.observe();
            self.window_end = Some(ack.nxt);
        }
        self.reno.on_ack(window, ack);
    }

    fn on_loss(&mut self, window: &mut Window, cut: &Cut) {
        self.reno.on_loss(window, cut);
    }

    fn on_ecn(&mut self, window: &mut Window, cut: &Cut) {
        let less = (u64::from(window.cwnd) * u64::from(self.alpha) / u64::from(2 * ONE)) as u32;
        window.cwnd = (window.cwnd - less).max(cut.mss);
        window.ssthresh = window.cwnd.max(2 * cut.mss);
    }

    fn on_recovered(&mut self, window: &mut Window, flight: u32, mss: u32) {
        after_recovery(window, flight, mss);
    }

    fn on_timeout(&mut self, window: &mut Window, cut: &Cut, first: bool) {
        self.reno.on_timeout(window, cut, first);
        // What was in flight will not tell how much of it was marked.
        self.window_end = None;
        (self.acked, self.marked) = (0, 0);
    }

    fn on_spurious(&mut self, window: &mut Window, prior: Window) {
        self.reno.on_spurious(window, prior);
    }

    fn on_idle(&mut self, window: &mut Window, restart: u32, periods: u32) {
        self.reno.on_idle(window, restart, periods);
    }
}

#[cfg(test)]
mod tests;
