//! Payload with known content: what a benchmark sends and, asked to, compares.

/// Fills `bytes` with a sequence that depends on `seed` and on every byte's position.
pub fn fill(bytes: &mut [u8], seed: u64) {
    let mut words = bytes.chunks_exact_mut(8);
    let mut position = 0;
    for word in &mut words {
        word.copy_from_slice(&word_at(seed, position).to_le_bytes());
        position += 1;
    }
    for (byte, value) in words.into_remainder().iter_mut().zip(word_at(seed, position).to_le_bytes()) {
        *byte = value;
    }
}

/// Whether `bytes` are those that [`fill`] wrote from offset `start` on.
#[must_use]
pub fn matches(bytes: &[u8], seed: u64, start: usize) -> bool {
    let head = start.next_multiple_of(8).saturating_sub(start).min(bytes.len());
    let (head, aligned) = bytes.split_at(head);
    let edge = |bytes: &[u8], at: usize| {
        bytes.iter().enumerate().all(|(i, byte)| *byte == word_at(seed, (at + i) / 8).to_le_bytes()[(at + i) % 8])
    };
    let first = start.div_ceil(8);
    let words = aligned.chunks_exact(8);
    let tail = words.remainder();
    let tail_at = start + bytes.len() - tail.len();
    edge(head, start)
        && words.enumerate().all(|(i, word)| *word == word_at(seed, first + i).to_le_bytes())
        && edge(tail, tail_at)
}

/// SplitMix64's finaliser over seed and position.
fn word_at(seed: u64, position: usize) -> u64 {
    let mut z = seed.wrapping_add((position as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_cut_of_a_filled_buffer_matches_and_no_changed_one(
            len in 0usize..300, seed: u64, a in 0usize..300, b in 0usize..300, flip: u8,
        ) {
            let mut bytes = vec![0; len];
            fill(&mut bytes, seed);
            let (a, b) = (a.min(b).min(len), a.max(b).min(len));
            prop_assert!(matches(&bytes[a..b], seed, a));
            if a < b {
                prop_assert!(!matches(&bytes[a..b], seed.wrapping_add(1), a) || b - a < 3);
                bytes[a + usize::from(flip) % (b - a)] ^= 1 << (flip % 8);
                prop_assert!(!matches(&bytes[a..b], seed, a));
            }
        }
    }
}
