//! CRC-32C (RFC 3720 §12.1, Castagnoli) by the processor's own instruction where it has one, else by table.
//!
//! The instruction does the 20 bytes of an RPC frame's header in three steps. A build with SSE4.2, as this workspace's are, has
//! it in line; in others what the processor can do is asked once per process and remembered by `cpufeatures`. aarch64's
//! instruction is used where the build says that every processor has it (`target-feature=+crc`, as for images), and then
//! there is no table.

#[cfg(not(all(target_arch = "aarch64", target_feature = "crc")))]
use crc::{CRC_32_ISCSI, Crc, Table};

#[cfg(not(all(target_arch = "aarch64", target_feature = "crc")))]
static TABLE: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Of 20 bytes, as little-endian words: an RPC frame's header.
#[inline(always)]
pub(crate) fn of_words(a: u64, b: u64, c: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if sse42::get() {
        // SAFETY: the processor has SSE 4.2, as just asked.
        return unsafe { of_words_sse42(a, b, c) };
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "crc"))]
    // SAFETY: the program is built for processors that have it.
    return unsafe { of_words_crc(a, b, c) };
    #[cfg(not(all(target_arch = "aarch64", target_feature = "crc")))]
    of_words_table(a, b, c)
}

#[cfg(not(all(target_arch = "aarch64", target_feature = "crc")))]
#[cold]
fn of_words_table(a: u64, b: u64, c: u32) -> u32 {
    let words = u128::from(a) | u128::from(b) << 64;
    !append_table(append_table(!0, &words.to_le_bytes()), &c.to_le_bytes())
}

/// Of data that comes in pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running(u32);

impl Running {
    pub(crate) const NEW: Self = Self(!0);

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0 = append(self.0, bytes);
    }

    pub(crate) fn finish(self) -> u32 {
        !self.0
    }
}

/// The shift register `state` after `bytes`.
#[cfg(target_arch = "x86_64")]
#[inline]
fn append(state: u32, bytes: &[u8]) -> u32 {
    if sse42::get() {
        // SAFETY: the processor has SSE 4.2, as just asked.
        unsafe { append_sse42(state, bytes) }
    } else {
        append_table(state, bytes)
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "crc"))))]
#[inline]
fn append(state: u32, bytes: &[u8]) -> u32 {
    append_table(state, bytes)
}

#[cfg(target_arch = "x86_64")]
cpufeatures::new!(sse42, "sse4.2");

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse4.2")]
fn of_words_sse42(a: u64, b: u64, c: u32) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};
    let state = _mm_crc32_u64(_mm_crc32_u64(u64::from(!0u32), a), b);
    !_mm_crc32_u32(state as u32, c)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse4.2")]
fn append_sse42(state: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, tail) = bytes.as_chunks::<8>();
    let mut wide = u64::from(state);
    for word in words {
        wide = _mm_crc32_u64(wide, u64::from_le_bytes(*word));
    }
    let mut state = wide as u32;
    let (words, tail) = tail.as_chunks::<4>();
    for word in words {
        state = _mm_crc32_u32(state, u32::from_le_bytes(*word));
    }
    for byte in tail {
        state = _mm_crc32_u8(state, *byte);
    }
    state
}

#[cfg(all(target_arch = "aarch64", target_feature = "crc"))]
#[inline]
#[target_feature(enable = "crc")]
fn of_words_crc(a: u64, b: u64, c: u32) -> u32 {
    use core::arch::aarch64::{__crc32cd, __crc32cw};
    !__crc32cw(__crc32cd(__crc32cd(!0, a), b), c)
}

#[cfg(all(target_arch = "aarch64", target_feature = "crc"))]
#[inline]
fn append(state: u32, bytes: &[u8]) -> u32 {
    // SAFETY: the program is built for processors that have it.
    unsafe { append_crc(state, bytes) }
}

#[cfg(all(target_arch = "aarch64", target_feature = "crc"))]
#[inline]
#[target_feature(enable = "crc")]
fn append_crc(state: u32, bytes: &[u8]) -> u32 {
    use core::arch::aarch64::{__crc32cb, __crc32cd, __crc32cw};
    let (words, tail) = bytes.as_chunks::<8>();
    let state = words.iter().fold(state, |state, word| __crc32cd(state, u64::from_le_bytes(*word)));
    let (words, tail) = tail.as_chunks::<4>();
    let state = words.iter().fold(state, |state, word| __crc32cw(state, u32::from_le_bytes(*word)));
    tail.iter().fold(state, |state, byte| __crc32cb(state, *byte))
}

/// `crc` wants the start value in the polynomial's own bit order.
#[cfg(not(all(target_arch = "aarch64", target_feature = "crc")))]
fn append_table(state: u32, bytes: &[u8]) -> u32 {
    let mut digest = TABLE.digest_with_initial(state.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

#[cfg(test)]
mod tests;
