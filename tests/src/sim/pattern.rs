//! What flows carry: bytes that tell their flow, their direction and their place in the stream.

/// A stream of bytes without a period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern(pub u64);

impl Pattern {
    fn word(self, i: u64) -> [u8; 8] {
        let x = (self.0 ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)).to_le_bytes()
    }

    /// Writes the bytes from `offset` on.
    pub fn fill(self, offset: u64, out: &mut [u8]) {
        let skip = (offset % 8) as usize;
        let head = ((8 - skip) % 8).min(out.len());
        let (first, rest) = out.split_at_mut(head);
        first.copy_from_slice(&self.word(offset / 8)[skip..skip + head]);
        for (i, chunk) in ((offset + head as u64) / 8..).zip(rest.chunks_mut(8)) {
            chunk.copy_from_slice(&self.word(i)[..chunk.len()]);
        }
    }

    /// The first byte of `data`, which should begin at `offset`, that is wrong.
    #[must_use]
    pub fn first_wrong(self, offset: u64, data: &[u8]) -> Option<u64> {
        let mut at = offset;
        let mut want = [0; 1024];
        for chunk in data.chunks(want.len()) {
            let want = &mut want[..chunk.len()];
            self.fill(at, want);
            if want != chunk {
                let i = want.iter().zip(chunk).position(|(a, b)| a != b).unwrap_or(0);
                return Some(at + i as u64);
            }
            at += chunk.len() as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_tells_itself() {
        let p = Pattern(77);
        let mut all = vec![0; 5000];
        p.fill(0, &mut all);
        for (start, len) in [(0, 1), (1, 7), (3, 20), (8, 8), (15, 2), (1000, 4000), (4999, 1), (9, 0)] {
            let mut part = vec![0; len];
            p.fill(start as u64, &mut part);
            assert_eq!(part, all[start..start + len]);
            assert_eq!(p.first_wrong(start as u64, &part), None);
        }
        all[4321] ^= 1;
        assert_eq!(p.first_wrong(100, &all[100..]), Some(4321));
        assert_ne!(p.first_wrong(8, &all[..100]), None, "from another place");
    }
}
