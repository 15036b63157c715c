//! Sequence numbers: modulo 2^32 (RFC 9293 section 3.4), so they have a distance but no order.

use core::ops::{Add, AddAssign, Sub};

/// A sequence number. It has no `Ord`: comparison is by [`before`](SeqNum::before) and its kin, which hold for numbers less
/// than 2^31 apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Whether it comes before `other`.
    #[inline]
    #[must_use]
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether it comes after `other`.
    #[inline]
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Whether it comes before `other` or is it.
    #[inline]
    #[must_use]
    pub const fn before_eq(self, other: Self) -> bool {
        !other.before(self)
    }

    /// Whether it comes after `other` or is it.
    #[inline]
    #[must_use]
    pub const fn after_eq(self, other: Self) -> bool {
        !self.before(other)
    }

    /// Whether it is one of the `len` numbers from `start` on.
    #[inline]
    #[must_use]
    pub const fn in_window(self, start: Self, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }

    /// How many numbers lie from `earlier` up to here, without the sign of `self - earlier`.
    #[inline]
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The later of the two.
    #[inline]
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    #[must_use]
    pub const fn earlier(self, other: Self) -> Self {
        if other.before(self) { other } else { self }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;

    #[inline]
    fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, n: u32) {
        *self = *self + n;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;

    #[inline]
    fn sub(self, n: u32) -> Self {
        Self(self.0.wrapping_sub(n))
    }
}

impl Sub for SeqNum {
    type Output = i32;

    #[inline]
    fn sub(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

#[cfg(test)]
mod tests;
