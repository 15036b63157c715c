//! Time from a free-running counter, such as aarch64's `CNTVCT_EL0`.

use luna_core::time::{Clock, Instant};

/// The rest of a second times 10^9 must fit 64 bits.
const MAX_HZ: u64 = 18_000_000_000;

/// A clock over a counter that `read` returns and that ticks `hz` times a second since some start.
///
/// The conversion is exact to the nanosecond and does not overflow within 500 years.
#[derive(Clone, Copy, Debug)]
pub struct TickClock<F> {
    read: F,
    hz: u64,
}

impl<F: Fn() -> u64> TickClock<F> {
    /// A clock; `None` when `hz` is 0 (firmware left the frequency register unset) or above 18 GHz.
    pub fn new(hz: u64, read: F) -> Option<Self> {
        (hz > 0 && hz <= MAX_HZ).then_some(Self { read, hz })
    }
}

impl<F: Fn() -> u64> Clock for TickClock<F> {
    fn now(&self) -> Instant {
        let ticks = (self.read)();
        // Whole seconds apart from the rest, so that the product fits 64 bits.
        let (seconds, rest) = (ticks / self.hz, ticks % self.hz);
        let ns = rest * 1_000_000_000 / self.hz;
        Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_exactly_and_never_runs_backwards() {
        for hz in [1, 62_500_000, 1_000_000_000, 2_300_000_000, 3, MAX_HZ] {
            let mut last = 0;
            for ticks in [0, 1, 2, hz - 1, hz, hz + 1, 1000 * hz, u64::MAX / 2, u64::MAX] {
                let ns = TickClock::new(hz, || ticks).unwrap().now().as_nanos();
                let exact = u128::from(ticks) * 1_000_000_000 / u128::from(hz);
                assert_eq!(u128::from(ns), exact.min(u128::from(u64::MAX)));
                assert!(ns >= last || ticks < hz);
                last = ns;
            }
        }
        assert!(TickClock::new(0, || 1).is_none() && TickClock::new(MAX_HZ + 1, || 1).is_none());
    }
}
