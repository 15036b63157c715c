//! HPCC (Li et al., SIGCOMM 2019, the paper's [26]), algorithm 1: the load of every link of the path is computed from the
//! telemetry that switches stamp into data segments and the receiver echoes ([`crate::wire::int`]), and the window is set
//! to what makes the busiest link carry η of its capacity.
//!
//! - *MeasureInflight*: per link, queue / (B · T) + transmit rate / B; the largest one goes into U, a moving average over
//!   a base RTT T.
//! - *ComputeWind*: at U ≥ η, or after `max_stage` additive steps, W = Wc / (U / η) + W_AI; else W = Wc + W_AI. Wc, the
//!   reference window, moves once per RTT, so that acknowledgments of one window do not multiply their corrections.
//! - Transmissions are paced at W / T. A connection begins at line rate, W = B · T of its own port.
//!
//! Where the original relies on a lossless fabric: a detected loss halves the window, a timeout takes it to one segment.
//! Until the first record arrives (no switch stamps) the window grows as NewReno's: never faster than line rate.

use super::{Ack, CongestionControl, Cut, NewReno, Window};
use crate::time::{Duration, Instant};
use crate::wire::SeqNum;
use crate::wire::int::{Hop, Telemetry};

/// U and u in units of 2⁻²⁰.
const ONE: u64 = 1 << 20;
/// Records further apart than this say nothing about each other: their clocks wrap after 4.29 s.
const MAX_GAP: Duration = Duration::from_secs(1);
/// No window is smaller, in bytes: at a base RTT of 30 µs that is 17 Mb/s.
const MIN_WINDOW: u32 = 64;

/// Settings of HPCC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HpccConfig {
    /// T: the RTT of the longest path in the network, without queues.
    pub base_rtt: Duration,
    /// The port's own rate, in bytes per second.
    pub line_rate: u64,
    /// η, in percent.
    pub eta: u8,
    /// Additive steps in a row before a multiplicative one.
    pub max_stage: u8,
    /// W_AI, in bytes: about W_init (1 − η) / (connections on a link).
    pub additive: u32,
}

impl HpccConfig {
    /// 25 Gb/s ports, at most 30 µs between them.
    pub const DEFAULT: Self = Self {
        base_rtt: Duration::from_micros(30),
        line_rate: 25_000_000_000 / 8,
        eta: 95,
        max_stage: 5,
        additive: 80,
    };

    /// W_init = B · T.
    fn initial_window(&self) -> u32 {
        let w = u128::from(self.line_rate) * u128::from(self.base_rtt.as_nanos()) / 1_000_000_000;
        u32::try_from(w).unwrap_or(u32::MAX).clamp(MIN_WINDOW, super::MAX_WINDOW)
    }
}

impl Default for HpccConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// HPCC's state beside the window.
#[derive(Clone, Copy, Debug)]
pub struct Hpcc {
    config: HpccConfig,
    largest: u32,
    /// Wc.
    reference: u32,
    /// W, the window now.
    window: u32,
    /// U.
    load: u64,
    stage: u8,
    /// L: the records of the last acknowledgment, and when it came.
    last: Telemetry,
    last_at: Instant,
    /// lastUpdateSeq; `None` before the first measurement.
    update: Option<SeqNum>,
    reno: NewReno,
}

impl Hpcc {
    /// The start of a connection.
    #[must_use]
    pub fn new(config: HpccConfig) -> Self {
        let w = config.initial_window();
        Self {
            config,
            largest: w,
            reference: w,
            window: w,
            load: ONE,
            stage: 0,
            last: Telemetry::EMPTY,
            last_at: Instant::ZERO,
            update: None,
            reno: NewReno::new(),
        }
    }

    /// The window to begin with: line rate.
    #[must_use]
    pub const fn initial(&self) -> Window {
        Window::new(self.largest)
    }

    /// U, in units of 2⁻²⁰.
    #[must_use]
    pub const fn load(&self) -> u64 {
        self.load
    }

    fn base_rtt(&self) -> u64 {
        self.config.base_rtt.as_nanos().max(1)
    }

    /// A link's load in units of 2⁻²⁰, and the ns that it was observed over. `None`: the records do not compare.
    fn link_load(&self, before: &Hop, now: &Hop) -> Option<(u64, u64)> {
        let rate = u128::from(now.bytes_per_second());
        let gap = now.time.wrapping_sub(before.time);
        if rate == 0 || gap == 0 || gap > i32::MAX as u32 {
            return None;
        }
        let could = rate * u128::from(gap) / 1_000_000_000;
        if could > u128::from(u32::MAX) {
            // The byte count may have wrapped.
            return None;
        }
        let sent = u128::from(now.sent.wrapping_sub(before.sent));
        let queue = u128::from(before.queue_bytes().min(now.queue_bytes()));
        let one = u128::from(ONE);
        let queued = queue * one * 1_000_000_000 / (rate * u128::from(self.base_rtt()));
        let busy = sent * one * 1_000_000_000 / (rate * u128::from(gap));
        // A link cannot be hundreds of times loaded: then a counter was not what it seemed.
        let load = u64::try_from(queued + busy).ok().filter(|load| *load < ONE << 8)?;
        Some((load, gap.into()))
    }

    /// MeasureInflight. False when there was nothing to compare with.
    fn measure(&mut self, now: Instant, telemetry: &Telemetry) -> bool {
        let before = core::mem::replace(&mut self.last, *telemetry);
        let gap = now.since(core::mem::replace(&mut self.last_at, now));
        let same = before.path == telemetry.path && before.len() == telemetry.len() && !telemetry.is_truncated();
        if !same || gap > MAX_GAP {
            return false;
        }
        let loads = before.iter().zip(telemetry.iter()).filter_map(|(b, n)| self.link_load(b, n));
        let Some((u, tau)) = loads.max_by_key(|(load, _)| *load) else { return false };
        let t = self.base_rtt();
        let tau = tau.min(t);
        self.load =
            (u128::from(t - tau) * u128::from(self.load) + u128::from(tau) * u128::from(u)).div_ceil(t.into()) as u64;
        true
    }

    /// ComputeWind.
    fn compute(&mut self, update: bool) {
        let eta = ONE * u64::from(self.config.eta) / 100;
        let reference = u64::from(self.reference);
        let additive = u64::from(self.config.additive);
        let multiplicative = self.load >= eta || self.stage >= self.config.max_stage;
        let w = if multiplicative {
            (u128::from(reference) * u128::from(eta) / u128::from(self.load.max(1))) as u64 + additive
        } else {
            reference + additive
        };
        self.window = u32::try_from(w).unwrap_or(u32::MAX).clamp(MIN_WINDOW, self.largest);
        if update {
            self.stage = if multiplicative { 0 } else { self.stage + 1 };
            self.reference = self.window;
        }
    }

    fn set(&mut self, window: &mut Window, to: u32) {
        self.window = to.clamp(MIN_WINDOW, self.largest);
        self.reference = self.window;
        self.stage = 0;
        window.cwnd = self.window;
    }
}

impl CongestionControl for Hpcc {
    fn on_ack(&mut self, window: &mut Window, ack: &Ack<'_>) {
        let Some(telemetry) = ack.telemetry.filter(|t| !t.is_empty()) else {
            if self.update.is_none() {
                self.reno.on_ack(window, ack);
                self.set(window, window.cwnd);
            }
            return;
        };
        let measured = self.measure(ack.now, telemetry);
        let round_over = self.update.is_none_or(|seq| ack.una.after(seq));
        if measured {
            self.compute(round_over);
            window.cwnd = self.window;
        }
        if round_over && (measured || self.update.is_none()) {
            self.update = Some(ack.nxt);
        }
    }

    fn on_loss(&mut self, window: &mut Window, _: &Cut) {
        self.set(window, self.window / 2);
    }

    fn on_ecn(&mut self, _: &mut Window, _: &Cut) {
        // Telemetry says more than a mark.
    }

    fn on_recovered(&mut self, _: &mut Window, _: u32, _: u32) {}

    fn on_timeout(&mut self, window: &mut Window, cut: &Cut, _: bool) {
        self.set(window, cut.mss);
    }

    fn on_spurious(&mut self, window: &mut Window, prior: Window) {
        self.set(window, prior.cwnd.max(self.window));
    }

    fn on_idle(&mut self, window: &mut Window, _: u32, _: u32) {
        // What the path was like is forgotten: as a new connection, at the pace of its window.
        *window = self.initial();
        *self = Self::new(self.config);
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some((u64::from(self.window) * 1_000_000_000 / self.base_rtt()).max(1))
    }
}

#[cfg(test)]
mod tests;
