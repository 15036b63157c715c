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
    /// Timeout without backoff, in ticks.
    rto: u32,
    /// Probe timeout with several segments in flight, in ticks; the timeout itself where no probes are sent.
    pto: u32,
    /// The same with one segment in flight.
    pto_one: u32,
    /// Least RTT of this epoch and of the one before, in ns.
    min: u32,
    min_before: u32,
    epoch: u16,
    /// Tail loss probes are sent (RFC 8985 §7).
    probes: bool,
}

/// A tick is 64 ns: 32 bits of them reach beyond 4 minutes, and a shift converts.
const TICK_SHIFT: u32 = 6;
/// An epoch of the least RTT lasts 34 s: what is older than two of them says nothing about today's path.
const EPOCH_SHIFT: u32 = 35;

impl Rtt {
    pub(crate) fn new(config: &TcpConfig) -> Self {
        let rto = ticks(config.initial_rto.as_nanos());
        Self { rto, pto: rto, pto_one: rto, min: u32::MAX, min_before: u32::MAX, ..Self::default() }
    }

    /// From here on tail loss probes are sent, or not.
    pub(crate) fn set_probes(&mut self, probes: bool) {
        self.probes = probes;
    }

    /// Takes in a sample (RFC 6298 §2.2, §2.3).
    #[inline]
    pub(crate) fn sample(&mut self, now: Instant, rtt: Duration, config: &TcpConfig) {
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
        self.rto = ticks(rto);
        self.pto = self.rto;
        self.pto_one = self.rto;
        if self.probes {
            // RFC 8985 §7.2: two round trips, and with one segment in flight what the peer may delay its answer.
            let pto = (2 * u64::from(self.srtt)).max(config.min_pto.as_nanos());
            self.pto = ticks(pto).min(self.rto);
            self.pto_one = ticks(pto + config.max_ack_delay.as_nanos()).min(self.rto);
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
    pub(crate) fn timer(&self, one_in_flight: bool) -> Duration {
        duration(if one_in_flight { self.pto_one } else { self.pto })
    }

    /// Whether that is for a probe.
    pub(crate) fn timer_is_for_probe(&self, one_in_flight: bool) -> bool {
        self.timer(one_in_flight) < duration(self.rto)
    }

    /// The timeout after `backoff` doublings.
    #[inline]
    pub(crate) fn rto(&self, backoff: u8, config: &TcpConfig) -> Duration {
        let base = duration(self.rto);
        if backoff == 0 {
            return base;
        }
        let ns = base.as_nanos().saturating_mul(1 << backoff.min(20));
        Duration::from_nanos(ns.min(config.max_rto.as_nanos()).max(config.min_rto.as_nanos()))
    }
}

#[inline(always)]
fn ticks(ns: u64) -> u32 {
    // Rounded up. No setting comes near the 584 years at which the sum would wrap.
    (ns.wrapping_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT).min(u32::MAX.into()) as u32
}

#[inline(always)]
fn duration(ticks: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) << TICK_SHIFT)
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
        rtt.sample(Instant::ZERO, Duration::from_micros(800), &config);
        assert_eq!((rtt.srtt, rtt.rttvar), (800_000, 400_000));
        assert_eq!(rtt.rto(0, &config), Duration::from_micros(800 + 1600));
        rtt.sample(Instant::ZERO, Duration::from_micros(1600), &config);
        assert_eq!((rtt.srtt, rtt.rttvar), (900_000, 500_000));
    }

    #[test]
    fn floor_cap_and_backoff() {
        let config = TcpConfig::DATACENTER;
        let mut rtt = Rtt::new(&config);
        for _ in 0..50 {
            rtt.sample(Instant::ZERO, Duration::from_micros(10), &config);
        }
        assert_eq!(rtt.rto(0, &config), Duration::from_millis(4), "the paper's floor");
        assert_eq!(rtt.rto(3, &config), Duration::from_millis(32));
        assert_eq!(rtt.rto(200, &config), config.max_rto);
        rtt.sample(Instant::ZERO, Duration::from_secs(100), &config);
        assert_eq!(rtt.rto(0, &config), config.max_rto);
        let mut rtt = Rtt::new(&config);
        rtt.sample(Instant::ZERO, Duration::ZERO, &config);
        assert!(rtt.srtt > 0, "a sample within one burst still counts");
    }

    #[test]
    fn timeout_allows_for_the_peers_ack_delay() {
        let config = TcpConfig { max_ack_delay: Duration::from_millis(40), ..TcpConfig::DATACENTER };
        let mut rtt = Rtt::new(&config);
        rtt.sample(Instant::ZERO, Duration::from_micros(100), &config);
        assert!(rtt.rto(0, &config) >= Duration::from_micros(40_100));
    }
}
