//! Payload with known content.

/// The word at `position` of the sequence that `seed` begins: SplitMix64's output function.
#[inline]
fn word(seed: u64, position: usize) -> u64 {
    let mut z = seed.wrapping_add((position as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn bytes(seed: u64, start: usize) -> impl Iterator<Item = u8> {
    (start..).map(move |i| word(seed, i / 8).to_le_bytes()[i % 8])
}

/// Fills `out` with the sequence from byte `start` on, a multiple of 8.
pub(super) fn fill(out: &mut [u8], seed: u64, start: usize) {
    let (words, tail) = out.as_chunks_mut::<8>();
    let count = words.len();
    for (i, to) in words.iter_mut().enumerate() {
        *to = word(seed, start / 8 + i).to_le_bytes();
    }
    tail.iter_mut().zip(bytes(seed, start + 8 * count)).for_each(|(to, byte)| *to = byte);
}

/// Whether `data` is the sequence from byte `start` on.
pub(super) fn matches(data: &[u8], seed: u64, start: usize) -> bool {
    let head = (start.next_multiple_of(8) - start).min(data.len());
    let (head, rest) = data.split_at(head);
    let at = start + head.len();
    let (words, tail) = rest.as_chunks::<8>();
    head.iter().copied().eq(bytes(seed, start).take(head.len()))
        && words.iter().enumerate().all(|(i, w)| u64::from_le_bytes(*w) == word(seed, at / 8 + i))
        && tail.iter().copied().eq(bytes(seed, at + 8 * words.len()).take(tail.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_matches_and_no_changed_one() {
        let mut all = [0; 200];
        fill(&mut all, 7, 0);
        for start in 0..40 {
            for end in start..200 {
                assert!(matches(&all[start..end], 7, start));
            }
        }
        for i in 0..200 {
            all[i] ^= 1;
            assert!(!matches(&all, 7, 0) && !matches(&all[i..], 7, i));
            all[i] ^= 1;
        }
        assert!(!matches(&all, 8, 0));
        let mut tail = [0; 21];
        fill(&mut tail, 7, 96);
        assert_eq!(tail, all[96..117]);
    }
}
