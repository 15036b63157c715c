//! Round-trip time, retransmission timeout (RFC 6298), probe timeout (RFC 8985 §7.2) and least round-trip time, from
//! stored send times.

use super::config::TcpConfig;
use crate::time::{Duration, Instant};

/// The estimator. Times are kept in 32 bits: 4.29 s is longer than any RTT that matters here, and larger is clamped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    /// Smoothed RTT in ns; 0 before the first sample.
    pub(crate) srtt: u32,
    /// Variation in ns.
    pub(crate) rttvar: u32,
    /// Least RTT of this epoch and of the one before, in ns.
    min: u32,
    min_before: u32,
    epoch: u16,
    /// Tail loss probes are sent (RFC 8985 §7).
    probes: bool,
}

/// An epoch of the least RTT lasts 34 s: what is older than two of them says nothing about today's path.
const EPOCH_SHIFT: u32 = 35;

impl Rtt {
    pub(crate) fn new() -> Self {
        Self { min: u32::MAX, min_before: u32::MAX, ..Self::default() }
    }

    /// From here on tail loss probes are sent, or not.
    pub(crate) fn set_probes(&mut self, probes: bool) {
        self.probes = probes;
    }

    /// Takes in a sample (RFC 6298 §2.2, §2.3). What follows from it for timers is worked out when one is set.
    #[inline(always)]
    pub(crate) fn sample(&mut self, now: Instant, rtt: Duration) {
        let r = rtt.as_nanos().min(u32::MAX.into()).max(1) as u32;
        if self.srtt == 0 {
            self.srtt = r;
            self.rttvar = r / 2;
        } else {
            // Rounded down, which leaves it at least as large as the sample, or as it was: never 0.
            let error = i64::from(r) - i64::from(self.srtt);
            let wider = error.abs() - i64::from(self.rttvar);
            self.srtt = (i64::from(self.srtt) + (error >> 3)) as u32;
            self.rttvar = (i64::from(self.rttvar) + (wider >> 2)) as u32;
        }
        let epoch = (now.as_nanos() >> EPOCH_SHIFT) as u16;
        if epoch != self.epoch {
            self.next_epoch(epoch);
        }
        self.min = self.min.min(r);
    }

    #[cold]
    fn next_epoch(&mut self, epoch: u16) {
        self.min_before = if epoch == self.epoch.wrapping_add(1) { self.min } else { u32::MAX };
        self.min = u32::MAX;
        self.epoch = epoch;
    }

    /// Least RTT of the last half a minute to a minute; the smoothed one, or 0, when there is none.
    pub(crate) fn least(&self) -> u32 {
        let min = self.min.min(self.min_before);
        if min == u32::MAX { self.srtt } else { min }
    }

    /// How long the first timer behind a transmission runs: the probe timeout, or the timeout where there are no probes.
    #[inline(always)]
    pub(crate) fn timer(&self, one_in_flight: bool, config: &TcpConfig) -> Duration {
        if !self.probes || self.srtt == 0 {
            return Duration::from_nanos(self.base(config));
        }
        // RFC 8985 §7.2: two round trips, and with one segment in flight what the peer may delay its answer.
        let pto = (2 * u64::from(self.srtt)).max(config.min_pto.as_nanos());
        let delay = if one_in_flight { config.max_ack_delay.as_nanos() } else { 0 };
        let pto = pto.wrapping_add(delay);
        if pto <= config.min_rto.as_nanos() {
            // The timeout is no shorter than its floor.
            return Duration::from_nanos(pto);
        }
        Duration::from_nanos(pto.min(self.base(config)))
    }

    /// Whether that is for a probe.
    pub(crate) fn timer_is_for_probe(&self, one_in_flight: bool, config: &TcpConfig) -> bool {
        self.timer(one_in_flight, config).as_nanos() < self.base(config)
    }

    /// The timeout without backoff, in ns.
    #[inline(always)]
    fn base(&self, config: &TcpConfig) -> u64 {
        if self.srtt == 0 {
            return config.initial_rto.as_nanos();
        }
        let rto = u64::from(self.srtt) + (4 * u64::from(self.rttvar)).max(config.max_ack_delay.as_nanos());
        // Settings that contradict each other: the floor wins.
        rto.min(config.max_rto.as_nanos()).max(config.min_rto.as_nanos())
    }

    /// The timeout after `backoff` doublings.
    #[inline]
    pub(crate) fn rto(&self, backoff: u8, config: &TcpConfig) -> Duration {
        let base = self.base(config);
        if backoff == 0 {
            return Duration::from_nanos(base);
        }
        let ns = base.saturating_mul(1 << backoff.min(20));
        Duration::from_nanos(ns.min(config.max_rto.as_nanos()).max(config.min_rto.as_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sample_and_smoothing_follow_rfc_6298() {
        let config =
            TcpConfig { min_rto: Duration::from_micros(1), max_ack_delay: Duration::ZERO, ..TcpConfig::DATACENTER };
        let mut rtt = Rtt::new();
        assert_eq!(rtt.rto(0, &config), Duration::from_millis(20));
        rtt.sample(Instant::ZERO, Duration::from_micros(800));
        assert_eq!((rtt.srtt, rtt.rttvar), (800_000, 400_000));
        assert_eq!(rtt.rto(0, &config), Duration::from_micros(800 + 1600));
        rtt.sample(Instant::ZERO, Duration::from_micros(1600));
        assert_eq!((rtt.srtt, rtt.rttvar), (900_000, 500_000));
    }

    #[test]
    fn floor_cap_and_backoff() {
        let config = TcpConfig::DATACENTER;
        let mut rtt = Rtt::new();
        for _ in 0..50 {
            rtt.sample(Instant::ZERO, Duration::from_micros(10));
        }
        assert_eq!(rtt.rto(0, &config), Duration::from_millis(4), "the paper's floor");
        assert_eq!(rtt.rto(3, &config), Duration::from_millis(32));
        assert_eq!(rtt.rto(200, &config), config.max_rto);
        rtt.sample(Instant::ZERO, Duration::from_secs(100));
        assert_eq!(rtt.rto(0, &config), config.max_rto);
        let mut rtt = Rtt::new();
        rtt.sample(Instant::ZERO, Duration::ZERO);
        assert!(rtt.srtt > 0, "a sample within one burst still counts");
    }

    #[test]
    fn timeout_allows_for_the_peers_ack_delay() {
        let config = TcpConfig { max_ack_delay: Duration::from_millis(40), ..TcpConfig::DATACENTER };
        let mut rtt = Rtt::new();
        rtt.sample(Instant::ZERO, Duration::from_micros(100));
        assert!(rtt.rto(0, &config) >= Duration::from_micros(40_100));
    }
}
