//! What the pure core takes from the environment: monotonic time and entropy.

use luna_core::time::{Clock, Instant};

/// `CLOCK_MONOTONIC`, in nanoseconds since this clock was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(std::time::Instant);

impl MonotonicClock {
    /// Starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.elapsed().as_nanos() as u64)
    }
}

/// 32 bytes of the kernel's entropy.
///
/// # Errors
/// When the kernel has none to give, which only a sandbox that forbids `getrandom` causes.
pub fn seed() -> Result<[u8; 32], getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}
