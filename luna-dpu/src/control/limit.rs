//! A token bucket: so many ICMP errors a second and no more (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).

use luna_core::time::{Duration, Instant};

/// Errors in one go, and a second in the long run.
pub(super) const ERRORS_PER_SECOND: u64 = 10;
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / ERRORS_PER_SECOND);

/// The moment at which the bucket would be full again says how full it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateLimit {
    full_at: Instant,
}

impl RateLimit {
    /// Takes a token, if there is one.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + INTERVAL;
        let allowed = full_at.since(now) <= INTERVAL.times(ERRORS_PER_SECOND);
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut limit = RateLimit::default();
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let burst = (0..100).filter(|_| limit.allow(at(5000))).count();
        assert_eq!(burst, 10);
        assert!(!limit.allow(at(5099)) && limit.allow(at(5100)) && !limit.allow(at(5100)));
        let later = (0..=10_000).filter(|ms| limit.allow(at(5100 + ms))).count();
        assert_eq!(later, 100, "10 s at 10 a second, from an empty bucket");
    }
}
