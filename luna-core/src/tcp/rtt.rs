//! Round-trip time and retransmission timeout (RFC 6298), in nanoseconds, from stored send times.

use super::config::TcpConfig;
use crate::time::Duration;

/// The estimator. Times are kept in 32 bits: 4.29 s is longer than any RTT that matters here, and larger is clamped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    /// Smoothed RTT in ns; 0 before the first sample.
    pub(crate) srtt: u32,
    /// Variation in ns.
    pub(crate) rttvar: u32,
    /// Timeout without backoff, in µs.
    rto_us: u32,
}

impl Rtt {
    pub(crate) fn new(config: &TcpConfig) -> Self {
        Self { srtt: 0, rttvar: 0, rto_us: micros(config.initial_rto) }
    }

    /// Takes in a sample (RFC 6298 §2.2, §2.3).
    #[inline]
    pub(crate) fn sample(&mut self, rtt: Duration, config: &TcpConfig) {
        let r = u32::try_from(rtt.as_nanos()).unwrap_or(u32::MAX).max(1);
        if self.srtt == 0 {
            self.srtt = r;
            self.rttvar = r / 2;
        } else {
            let delta = self.srtt.abs_diff(r);
            self.rttvar = self.rttvar - self.rttvar / 4 + delta / 4;
            self.srtt = (self.srtt - self.srtt / 8 + r / 8).max(1);
        }
        let rto = u64::from(self.srtt) + (4 * u64::from(self.rttvar)).max(config.max_ack_delay.as_nanos());
        let rto = rto.clamp(config.min_rto.as_nanos(), config.max_rto.as_nanos().max(config.min_rto.as_nanos()));
        self.rto_us = micros(Duration::from_nanos(rto));
    }

    /// The timeout after `backoff` doublings.
    #[inline]
    pub(crate) fn rto(&self, backoff: u8, config: &TcpConfig) -> Duration {
        let base = Duration::from_micros(u64::from(self.rto_us));
        if backoff == 0 {
            return base;
        }
        let ns = base.as_nanos().saturating_mul(1 << backoff.min(20));
        Duration::from_nanos(ns.min(config.max_rto.as_nanos()).max(config.min_rto.as_nanos()))
    }
}

fn micros(d: Duration) -> u32 {
    u32::try_from(d.as_nanos() / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sample_and_smoothing_follow_rfc_6298() {
        let config =
            TcpConfig { min_rto: Duration::from_micros(1), max_ack_delay: Duration::ZERO, ..TcpConfig::DATACENTER };
        let mut rtt = Rtt::new(&config);
        assert_eq!(rtt.rto(0, &config), Duration::from_millis(20));
        rtt.sample(Duration::from_micros(800), &config);
        assert_eq!((rtt.srtt, rtt.rttvar), (800_000, 400_000));
        assert_eq!(rtt.rto(0, &config), Duration::from_micros(800 + 1600));
        rtt.sample(Duration::from_micros(1600), &config);
        assert_eq!((rtt.srtt, rtt.rttvar), (900_000, 500_000));
    }

    #[test]
    fn floor_cap_and_backoff() {
        let config = TcpConfig::DATACENTER;
        let mut rtt = Rtt::new(&config);
        for _ in 0..50 {
            rtt.sample(Duration::from_micros(10), &config);
        }
        assert_eq!(rtt.rto(0, &config), Duration::from_millis(4), "the paper's floor");
        assert_eq!(rtt.rto(3, &config), Duration::from_millis(32));
        assert_eq!(rtt.rto(200, &config), config.max_rto);
        rtt.sample(Duration::from_secs(100), &config);
        assert_eq!(rtt.rto(0, &config), config.max_rto);
        let mut rtt = Rtt::new(&config);
        rtt.sample(Duration::ZERO, &config);
        assert!(rtt.srtt > 0, "a sample within one burst still counts");
    }

    #[test]
    fn timeout_allows_for_the_peers_ack_delay() {
        let config = TcpConfig { max_ack_delay: Duration::from_millis(40), ..TcpConfig::DATACENTER };
        let mut rtt = Rtt::new(&config);
        rtt.sample(Duration::from_micros(100), &config);
        assert!(rtt.rto(0, &config) >= Duration::from_micros(40_100));
    }
}
