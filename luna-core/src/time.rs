//! Time as the caller tells it: nanoseconds since a moment of the caller's choosing.

use core::ops::Add;

/// A moment, in nanoseconds. Never read from a clock in here: every entry point takes it as an argument.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Instant(u64);

/// A length of time, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Duration(u64);

impl Instant {
    /// The caller's moment zero.
    pub const ZERO: Self = Self(0);
    /// Further away than anything: no deadline.
    pub const FAR: Self = Self(u64::MAX);

    /// From nanoseconds.
    #[must_use]
    #[inline(always)]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// In nanoseconds.
    #[must_use]
    #[inline(always)]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// In whole milliseconds, wrapped to 32 bits: the unit of TSval (RFC 7323 §5.4).
    #[must_use]
    #[inline(always)]
    pub const fn as_millis_u32(self) -> u32 {
        (self.0 / 1_000_000) as u32
    }

    /// Time since `earlier`; zero when that is later.
    #[must_use]
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    #[inline(always)]
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}

impl Duration {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// Whether it is none at all.
    #[must_use]
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// From microseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// From seconds.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }

    /// In nanoseconds.
    #[must_use]
    #[inline(always)]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// `n` times as long.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}

/// What the environment provides to a loop: the time, monotonic.
pub trait Clock {
    /// Now.
    fn now(&self) -> Instant;
}
