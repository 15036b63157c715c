//! What others must not guess, made from the caller's entropy: initial sequence numbers (RFC 6528), timestamp offsets
//! (RFC 7323 §5.4), cookies (RFC 4987 §3.6), the place where the search for a port begins (RFC 6056), and the flow table's
//! hash, so that nobody can fill one row of it.

use siphasher::sip::SipHasher13;

use super::flow::{FlowKey, fold, fold_seeds};
use crate::time::Instant;
use crate::wire::SeqNum;

/// Keys, each for one purpose.
pub(super) struct Secrets {
    /// Of the flow table.
    pub(super) flows: [u64; 2],
    sequence: [u64; 2],
    timestamps: [u64; 2],
    cookies: [u64; 2],
    /// What became of that in an even and in an odd period, and in which.
    periods: [(u32, [u64; 2]); 2],
    ports: [u64; 2],
}

/// A keyed hash of a flow.
#[derive(Clone, Copy)]
pub(super) struct FlowSecret(u64);

impl FlowSecret {
    pub(super) fn timestamp_offset(self) -> u32 {
        self.0 as u32
    }
}

impl Secrets {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(seed.chunks_exact(8)) {
            *word = chunk.iter().fold(0, |w, b| w << 8 | u64::from(*b));
        }
        let [a, b, c, d] = words;
        // Each key depends on all of the seed, and none tells of another.
        let word = |n: u8| {
            let inner = SipHasher13::new_with_keys(a, b).hash(&[n]);
            SipHasher13::new_with_keys(c, d).hash(&inner.to_le_bytes())
        };
        let key = |n: u8| [word(2 * n), word(2 * n + 1)];
        Self {
            flows: key(0),
            sequence: key(1),
            timestamps: key(2),
            cookies: key(3),
            periods: [(u32::MAX, [0; 2]); 2],
            ports: key(4),
        }
    }

    /// RFC 6528 §3: a keyed hash of the flow, plus a clock that ticks every 4 µs.
    pub(super) fn initial_sequence(&self, key: &FlowKey, now: Instant) -> SeqNum {
        SeqNum((key.sip(self.sequence) as u32).wrapping_add((now.as_nanos() / 4000) as u32))
    }

    /// Of a flow. The low half is what its timestamp clock is ahead: different for different flows, the same for one, so
    /// that its timestamps go on when it is opened anew. The high half nobody sees; cookies are made of it.
    #[inline(always)]
    pub(super) fn flow(&self, key: &FlowKey) -> FlowSecret {
        FlowSecret(key.sip(self.timestamps))
    }

    /// Of a flow. Each period has a key of its own; and without its flow's secret half not even that says anything about a
    /// cookie.
    #[inline(always)]
    pub(super) fn cookie(&mut self, flow: FlowSecret, period: u32) -> u32 {
        let [even, odd] = &mut self.periods;
        let slot = if period & 1 == 0 { even } else { odd };
        if slot.0 != period {
            *slot = (period, period_key(self.cookies, period));
        }
        let h = fold(flow.0 & !0xffff_ffff ^ slot.1[0], slot.1[1]);
        (h >> 32) as u32 ^ h as u32
    }

    /// Of a destination: its key has no local port yet.
    pub(super) fn port(&self, destination: &FlowKey) -> u64 {
        destination.sip(self.ports)
    }
}

#[cold]
fn period_key(keys: [u64; 2], period: u32) -> [u64; 2] {
    fold_seeds([0, 1].map(|n: u8| {
        let bytes = [period.to_le_bytes(), [n; 4]];
        SipHasher13::new_with_keys(keys[0], keys[1]).hash(bytes.as_flattened())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn key(n: u8, port: u16) -> FlowKey {
        FlowKey::new([10, 0, 0, n].into(), [10, 0, 0, 200].into(), port, 80)
    }

    #[test]
    fn every_key_depends_on_every_byte_of_the_seed_and_on_nothing_else() {
        let all = |seed: &[u8; 32]| {
            let s = Secrets::new(seed);
            [s.flows, s.sequence, s.timestamps, s.cookies, s.ports].concat()
        };
        let base = all(&[7; 32]);
        assert_eq!(base, all(&[7; 32]));
        for i in 0..32 {
            let mut seed = [7; 32];
            seed[i] ^= 1;
            assert!(all(&seed).iter().zip(&base).all(|(a, b)| a != b), "byte {i}");
        }
        let mut distinct = base.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), base.len());
    }

    #[test]
    fn sequence_numbers_advance_with_the_clock_and_flows_have_nothing_in_common() {
        let s = Secrets::new(&[1; 32]);
        let t0 = Instant::from_nanos(1 << 40);
        let a = s.initial_sequence(&key(1, 1000), t0);
        assert_eq!(s.initial_sequence(&key(1, 1000), t0 + Duration::from_millis(1)) - a, 250, "4 µs a tick");
        let others: Vec<_> = (1..200).map(|p| s.initial_sequence(&key(1, 1000 + p), t0).0).collect();
        let near = others.iter().filter(|o| o.wrapping_sub(a.0).wrapping_add(1 << 24) < 1 << 25).count();
        assert!(near < 10, "a neighbour's number says nothing: {near}");
    }

    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn a_cookies_hash_depends_on_all_that_it_stands_for() {
        let mut s = Secrets::new(&[1; 32]);
        let v6 = |n| FlowKey::new([0xfd00, 0, 0, 0, 0, 0, 0, n].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 9].into(), 1, 80);
        let mut cookie = |k: FlowKey, period| s.cookie(s.flow(&k), period);
        let base = cookie(key(1, 1), 9);
        let mut all = vec![base, cookie(key(2, 1), 9), cookie(key(1, 2), 9)];
        all.extend([cookie(key(1, 1), 10), cookie(key(1, 1), 11), cookie(v6(1), 9), cookie(v6(2), 9)]);
        assert_eq!(cookie(key(1, 1), 9), base, "a period's key can be made again");
        let mut other = Secrets::new(&[2; 32]);
        all.push(other.cookie(other.flow(&key(1, 1)), 9));
        // Of the 28 bits that a cookie keeps.
        let mut distinct: Vec<_> = all.iter().map(|c| c << 4).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len());
        // Neighbouring flows have cookies that share nothing.
        let bits: u32 = (0..64).map(|n| (s.cookie(s.flow(&key(3, n)), 9) ^ base).count_ones()).sum();
        assert!((64 * 12..64 * 20).contains(&bits), "{bits}");
    }
}
