//! The Internet checksum's sum of many words by AVX2: three instructions for 32 bytes where a carry chain takes four additions.
//!
//! `vpmaddwd` adds neighbouring *signed* 16-bit words into 32-bit lanes. With its sign bit inverted a word `w` is the signed
//! number `w - 2^15`, so what is taken off is known by the number of words. What the processor can do is asked once per
//! process and remembered by `cpufeatures`.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi16, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm256_xor_si256,
};

cpufeatures::new!(cpu, "avx2");

/// Bytes of a round.
const ROUND: usize = 128;
/// At most so many at once: a 32-bit lane takes at most 2^16 for each 32 of them.
const MOST: usize = 1 << 19;

/// The proof that the processor has it.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Looks.
    #[inline]
    pub(crate) fn get() -> Option<Self> {
        cpu::get().then_some(Self(()))
    }

    /// The sum of the little-endian 16-bit words of the first bytes of `bytes`, a multiple of 32, and what is behind them:
    /// less than 32, unless it was very much.
    #[inline]
    pub(crate) fn sum(self, bytes: &[u8]) -> (u64, &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(MOST) & !31);
        // SAFETY: the processor has AVX2, or there would be no `self`.
        (unsafe { sum(first) }, rest)
    }
}

/// Adds 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn add(lanes: __m256i, part: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes, of any alignment.
    let words = unsafe { _mm256_loadu_si256(part.as_ptr().cast::<__m256i>()) };
    let signed = _mm256_xor_si256(words, _mm256_set1_epi16(i16::MIN));
    _mm256_add_epi32(lanes, _mm256_madd_epi16(signed, _mm256_set1_epi16(1)))
}

#[target_feature(enable = "avx2")]
fn sum(bytes: &[u8]) -> u64 {
    let (rounds, rest) = bytes.as_chunks::<ROUND>();
    let mut lanes = [_mm256_setzero_si256(); 2];
    for round in rounds {
        let (parts, _) = round.as_chunks::<32>();
        lanes[0] = add(add(lanes[0], &parts[0]), &parts[1]);
        lanes[1] = add(add(lanes[1], &parts[2]), &parts[3]);
    }
    for part in rest.as_chunks::<32>().0 {
        lanes[0] = add(lanes[0], part);
    }
    let mut sums = [0i32; 8];
    // SAFETY: 32 bytes, of any alignment.
    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast::<__m256i>(), _mm256_add_epi32(lanes[0], lanes[1])) };
    let signed: i64 = sums.iter().map(|&lane| i64::from(lane)).sum();
    let words = (bytes.len() / 2) as i64;
    (signed + (words << 15)) as u64
}
