//! The Internet checksum (RFC 1071): a 64-bit one's-complement sum, folded to 16 bits at the end.
//!
//! Words are taken little-endian, since the sum does not care about byte order (RFC 1071 section 2 (B)), and the result is
//! swapped once. 2^16 - 1 divides 2^64 - 1, so a 64-bit sum with end-around carry folds to the 16-bit one.
//!
//! Long pieces are summed 32 bytes at a time where the processor can (`wide_sum`).

#[cfg(target_arch = "x86_64")]
use crate::wide_sum::Avx2;

/// A running sum over a stream of bytes. Successive [`Checksum::add`]s concatenate, whatever their lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checksum {
    /// One's-complement sum of little-endian words.
    sum: u64,
    /// Whether the stream so far has an odd length.
    odd: bool,
}

impl Checksum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Continues from a sum that [`Checksum::fold`] returned, at an even offset.
    #[inline]
    #[must_use]
    pub const fn from_fold(sum: u16) -> Self {
        Self { sum: sum.swap_bytes() as u64, odd: false }
    }

    /// Appends `bytes` to the stream.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = sum_le(bytes);
        // At an odd offset every byte has the other weight: 256 times the sum, which is a rotation modulo 2^64 - 1.
        let sum = if self.odd { sum.rotate_left(8) } else { sum };
        self.sum = end_around_add(self.sum, sum);
        self.odd ^= !bytes.len().is_multiple_of(2);
    }

    /// Appends a 16-bit big-endian field. Only at an even offset.
    #[inline]
    pub fn add_u16(&mut self, v: u16) {
        debug_assert!(!self.odd, "a field at an odd offset");
        self.sum = end_around_add(self.sum, u64::from(v.swap_bytes()));
    }

    /// Appends a 32-bit big-endian field. Only at an even offset.
    #[inline]
    pub fn add_u32(&mut self, v: u32) {
        debug_assert!(!self.odd, "a field at an odd offset");
        self.sum = end_around_add(self.sum, u64::from(v.swap_bytes()));
    }

    /// Adds the IPv4 pseudo-header (RFC 9293 section 3.1). Only at an even offset.
    #[inline]
    pub fn add_pseudo_v4(&mut self, src: [u8; 4], dst: [u8; 4], proto: u8, len: u16) {
        debug_assert!(!self.odd, "a pseudo-header at an odd offset");
        // Four terms below 2^32 cannot overflow.
        let sum = u64::from(u32::from_le_bytes(src))
            + u64::from(u32::from_le_bytes(dst))
            + u64::from(u16::from(proto).swap_bytes())
            + u64::from(len.swap_bytes());
        self.sum = end_around_add(self.sum, sum);
    }

    /// Adds the IPv6 pseudo-header (RFC 8200 section 8.1). Only at an even offset.
    #[inline]
    pub fn add_pseudo_v6(&mut self, src: [u8; 16], dst: [u8; 16], proto: u8, len: u32) {
        debug_assert!(!self.odd, "a pseudo-header at an odd offset");
        let fields = u64::from(u16::from(proto).swap_bytes()) + u64::from(len.swap_bytes());
        self.sum = end_around_add(self.sum, fields);
        for address in [src, dst] {
            // Halves of 64 bits, each 16-bit word of the sum at its own weight.
            let wide = u128::from_le_bytes(address);
            self.sum = end_around_add(self.sum, wide as u64);
            self.sum = end_around_add(self.sum, (wide >> 64) as u64);
        }
    }

    /// The checksum: the complement of the sum, stored with `to_be_bytes`. Over data that holds its checksum: 0.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    /// The sum itself, stored with `to_be_bytes`: over a pseudo-header, what a NIC that completes checksums expects in
    /// the checksum field.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        let (sum, carry) = ((self.sum >> 32) as u32).overflowing_add(self.sum as u32);
        let sum = sum + carry as u32;
        let (sum, carry) = ((sum >> 16) as u16).overflowing_add(sum as u16);
        (sum + carry as u16).swap_bytes()
    }
}

/// One's-complement addition. After a carry the sum is below the maximum, so the carry's own addition cannot wrap.
#[inline(always)]
const fn end_around_add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// Below this a carry chain does it in fewer instructions.
#[cfg(target_arch = "x86_64")]
const WIDE: usize = 256;

/// The sum of `bytes` as little-endian words, the last one padded with zeros.
#[inline]
fn sum_le(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE
        && let Some(avx2) = Avx2::get()
    {
        let (sum, rest) = avx2.sum(bytes);
        return end_around_add(sum, sum_chain(rest));
    }
    sum_chain(bytes)
}

/// The same, 64 bits at a time.
#[inline]
fn sum_chain(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut sum = 0;
    for block in blocks {
        sum = add_words(sum, block.as_chunks::<8>().0);
    }
    let rest = match rest.split_first_chunk::<32>() {
        Some((half, after)) => {
            sum = add_words(sum, half.as_chunks::<8>().0);
            after
        }
        None => rest,
    };
    let (words, tail) = rest.as_chunks::<8>();
    for word in words {
        sum = end_around_add(sum, u64::from_le_bytes(*word));
    }
    let tail = match bytes.last_chunk::<8>() {
        // The tail is the high end of the last eight bytes. Two shifts, since one by 64 there is not.
        Some(last) => u64::from_le_bytes(*last) >> 8 >> (56 - 8 * tail.len()),
        None => short_le(bytes),
    };
    end_around_add(sum, tail)
}

/// One carry chain.
#[inline(always)]
fn add_words(sum: u64, words: &[[u8; 8]]) -> u64 {
    let mut sum = sum;
    let mut carry = false;
    for word in words {
        (sum, carry) = sum.carrying_add(u64::from_le_bytes(*word), carry);
    }
    // The first carry is clear, so by induction a carry out leaves a sum below the maximum: this cannot wrap.
    sum.wrapping_add(u64::from(carry))
}

/// Up to seven bytes as one number.
fn short_le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests;
