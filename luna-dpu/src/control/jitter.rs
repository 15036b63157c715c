//! Random delays and transaction numbers.

use luna_core::time::Duration;

/// SplitMix64: statistically good, not secret. What comes of it spreads clients over time and names exchanges; it is no key.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Between `least` and `most` milliseconds, both included.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        let spread = most.saturating_sub(least).saturating_add(1);
        Duration::from_millis(least + self.next() % spread)
    }
}
