//! The flow table: from addresses and ports to a connection's slot. Open addressing over caller memory, O(1), keyed hash.

use core::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::parts::IPV6;
use crate::slab::NIL;

/// What names a connection on the wire. IPv4 keys compare in two words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FlowKey {
    /// IPv4: remote and local address. IPv6: the low half of the remote.
    low: u64,
    /// Remote port, local port.
    ports: u32,
    v6: u32,
    /// IPv6: the rest.
    rest: [u64; 3],
}

impl FlowKey {
    #[inline(always)]
    pub(crate) fn new(remote: IpAddr, local: IpAddr, remote_port: u16, local_port: u16) -> Self {
        let ports = u32::from(remote_port) << 16 | u32::from(local_port);
        match (remote, local) {
            (IpAddr::V4(r), IpAddr::V4(l)) => {
                let low = u64::from(u32::from_ne_bytes(r.octets())) << 32 | u64::from(u32::from_ne_bytes(l.octets()));
                Self { low, ports, v6: 0, rest: [0; 3] }
            }
            (r, l) if IPV6 => Self::new_v6(r, l, ports),
            // No segment's, and no connection's.
            _ => Self::default(),
        }
    }

    #[inline(never)]
    fn new_v6(remote: IpAddr, local: IpAddr, ports: u32) -> Self {
        let bits = |ip| match ip {
            IpAddr::V4(a) => a.to_ipv6_mapped().to_bits(),
            IpAddr::V6(a) => a.to_bits(),
        };
        let (r, l) = (bits(remote), bits(local));
        Self { low: r as u64, ports, v6: 1, rest: [(r >> 64) as u64, l as u64, (l >> 64) as u64] }
    }

    #[inline(always)]
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.low == other.low
            && self.ports == other.ports
            && self.v6 == other.v6
            && (!self.addrs_are_v6() || self.rest == other.rest)
    }

    #[inline(always)]
    pub(crate) fn is_v4(&self, addrs: u64, ports: u32) -> bool {
        self.low == addrs && self.ports == ports && self.v6 == 0
    }

    pub(crate) fn local_port(&self) -> u16 {
        self.ports as u16
    }

    pub(crate) fn remote_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    #[inline(always)]
    pub(crate) fn addrs_are_v6(&self) -> bool {
        IPV6 && self.v6 != 0
    }

    /// Of IPv4, from what [`FlowKey::is_v4`] compares with.
    #[inline(always)]
    pub(crate) fn v4(addrs: u64, ports: u32) -> Self {
        Self { low: addrs, ports, v6: 0, rest: [0; 3] }
    }

    /// A keyed hash that nobody can turn round: SipHash-1-3.
    #[inline(always)]
    pub(crate) fn sip(&self, keys: [u64; 2]) -> u64 {
        if !self.addrs_are_v6() {
            return sip13(keys, self.low, self.ports);
        }
        let bytes = [self.low, u64::from(self.ports), self.rest[0], self.rest[1], self.rest[2]].map(u64::to_le_bytes);
        SipHasher13::new_with_keys(keys[0], keys[1]).hash(bytes.as_flattened())
    }

    /// A keyed hash for what need not be secret, only different for different keys.
    #[inline(always)]
    pub(crate) fn fold(&self, seeds: [u64; 2]) -> u64 {
        let mut h = fold(self.low ^ seeds[0], u64::from(self.ports) ^ seeds[1]);
        if self.addrs_are_v6() {
            h = fold(h ^ self.rest[0], self.rest[1] ^ seeds[0]);
            h = fold(h ^ self.rest[2], seeds[1]);
        }
        // Ports that follow each other differ in few bits, which one multiplication does not spread.
        fold(h ^ seeds[1], MIX)
    }

    /// Remote and local address.
    pub(crate) fn addrs(&self) -> (IpAddr, IpAddr) {
        if !self.addrs_are_v6() {
            let ip = |bits: u32| IpAddr::from(bits.to_ne_bytes());
            (ip((self.low >> 32) as u32), ip(self.low as u32))
        } else {
            let ip = |high: u64, low: u64| IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
            (ip(self.rest[0], self.low), ip(self.rest[2], self.rest[1]))
        }
    }
}

/// An entry of the flow table.
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry {
    hash: u32,
    slot: u32,
}

impl Default for FlowEntry {
    fn default() -> Self {
        Self { hash: 0, slot: NIL }
    }
}

/// The table. Its capacity is a power of two; it is kept at most three quarters full.
pub(crate) struct FlowTable<'m> {
    entries: &'m mut [FlowEntry],
    mask: u32,
    used: u32,
    seeds: [u64; 2],
}

/// SipHash-1-3 of 12 bytes: what [`SipHasher13`] gives for them, without its way over a byte stream.
#[inline(always)]
fn sip13(keys: [u64; 2], front: u64, back: u32) -> u64 {
    let mut v = [
        keys[0] ^ 0x736f_6d65_7073_6575,
        keys[1] ^ 0x646f_7261_6e64_6f6d,
        keys[0] ^ 0x6c79_6765_6e65_7261,
        keys[1] ^ 0x7465_6462_7974_6573,
    ];
    let round = |v: &mut [u64; 4]| {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    };
    for word in [front, 12 << 56 | u64::from(back)] {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

/// Odd seeds: a zero factor would make every key the same. And no poor ones.
pub(crate) fn fold_seeds(seeds: [u64; 2]) -> [u64; 2] {
    [(seeds[0] ^ MIX) | 1, (seeds[1] ^ MIX.rotate_left(32)) | 1]
}

#[inline(always)]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let m = u128::from(a) * u128::from(b);
    m as u64 ^ (m >> 64) as u64
}

/// 2^64 divided by the golden ratio: odd, and its bits follow no pattern.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl<'m> FlowTable<'m> {
    /// `None` unless the number of entries is a power of two.
    pub(crate) fn new(entries: &'m mut [FlowEntry], seeds: [u64; 2]) -> Option<Self> {
        if !entries.len().is_power_of_two() || entries.len() > 1 << 30 {
            return None;
        }
        entries.fill(FlowEntry::default());
        let mask = entries.len() as u32 - 1;
        Some(Self { entries, mask, used: 0, seeds: fold_seeds(seeds) })
    }

    #[inline(always)]
    fn hash(&self, key: &FlowKey) -> u32 {
        (key.fold(self.seeds) >> 32) as u32
    }

    /// False when the key is certainly not there: for those who ask about many that are not.
    #[inline(always)]
    pub(crate) fn may_have(&self, key: &FlowKey) -> bool {
        let hash = self.hash(key);
        let mut i = hash & self.mask;
        loop {
            let e = self.entries[i as usize];
            if e.slot == NIL || e.hash == hash {
                return e.slot != NIL;
            }
            i = (i + 1) & self.mask;
        }
    }

    /// The slot for which `is` says that it has this key.
    #[inline]
    pub(crate) fn find(&self, key: &FlowKey, is: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = self.hash(key);
        let mut i = hash & self.mask;
        loop {
            let e = self.entries[i as usize];
            if e.slot == NIL {
                return None;
            }
            if e.hash == hash && is(e.slot) {
                return Some(e.slot);
            }
            i = (i + 1) & self.mask;
        }
    }

    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn is_full(&self) -> bool {
        u64::from(self.used) >= (u64::from(self.mask) + 1) * 3 / 4
    }

    /// Adds a key that is not there. False when the table is full.
    pub(crate) fn insert(&mut self, key: &FlowKey, slot: u32) -> bool {
        if self.is_full() {
            return false;
        }
        let hash = self.hash(key);
        let mut i = hash & self.mask;
        while self.entries[i as usize].slot != NIL {
            i = (i + 1) & self.mask;
        }
        self.entries[i as usize] = FlowEntry { hash, slot };
        self.used += 1;
        true
    }

    /// Removes a slot's entry, closing the gap so that no tombstones gather.
    pub(crate) fn remove(&mut self, key: &FlowKey, slot: u32) {
        let mut i = self.hash(key) & self.mask;
        loop {
            let e = self.entries[i as usize];
            if e.slot == NIL {
                return;
            }
            if e.slot == slot {
                break;
            }
            i = (i + 1) & self.mask;
        }
        self.used -= 1;
        let mut hole = i;
        loop {
            i = (i + 1) & self.mask;
            let e = self.entries[i as usize];
            if e.slot == NIL {
                break;
            }
            // It may move back unless its home lies behind the hole.
            let home = e.hash & self.mask;
            if (i.wrapping_sub(home) & self.mask) >= (i.wrapping_sub(hole) & self.mask) {
                self.entries[hole as usize] = e;
                hole = i;
            }
        }
        self.entries[hole as usize] = FlowEntry::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn key(n: u32) -> FlowKey {
        let local = if n.is_multiple_of(3) { "2001:db8::1" } else { "10.0.0.1" };
        let remote = if n.is_multiple_of(3) {
            IpAddr::from((u128::from(n) << 70 | 7).to_be_bytes())
        } else {
            IpAddr::from(n.to_be_bytes())
        };
        FlowKey::new(remote, local.parse().unwrap(), n as u16, 80)
    }

    #[test]
    fn siphash_is_the_one_that_everybody_has() {
        use proptest::prelude::*;
        proptest!(|(keys: [u64; 2], front: u64, back: u32)| {
            let bytes = [&front.to_le_bytes()[..], &back.to_le_bytes()].concat();
            let want = SipHasher13::new_with_keys(keys[0], keys[1]).hash(&bytes);
            prop_assert_eq!(sip13(keys, front, back), want);
        });
    }

    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn keys_keep_addresses_and_ports() {
        for (r, l) in [("10.1.2.3", "192.168.4.5"), ("2001:db8::17", "fe80::1")] {
            let (r, l): (IpAddr, IpAddr) = (r.parse().unwrap(), l.parse().unwrap());
            let k = FlowKey::new(r, l, 4321, 80);
            assert_eq!((k.addrs(), k.remote_port(), k.local_port()), ((r, l), 4321, 80));
        }
        assert!(!key(1).matches(&key(2)));
    }

    /// Random inserts and removals in a small, crowded table agree with a model.
    #[test]
    fn model() {
        use proptest::prelude::*;
        proptest!(|(ops in proptest::collection::vec((any::<bool>(), 0u32..40), 1..300), seeds: [u64; 2])| {
            let mut entries = vec![FlowEntry::default(); 32];
            let mut table = FlowTable::new(&mut entries, seeds).unwrap();
            let mut model = HashMap::new();
            for (insert, n) in ops {
                let k = key(n);
                if insert && !model.contains_key(&n) {
                    let full = table.is_full();
                    prop_assert_eq!(table.insert(&k, n), !full);
                    if !full { model.insert(n, ()); }
                } else if !insert && model.remove(&n).is_some() {
                    table.remove(&k, n);
                }
                for m in 0..40 {
                    prop_assert_eq!(table.find(&key(m), |s| s == m).is_some(), model.contains_key(&m));
                }
            }
        });
    }

    /// What clients do: neighbouring ports, a few servers. No seed, however poor, makes long rows of them.
    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn neighbouring_ports_and_addresses_spread() {
        for seeds in [[0, 0], [0x2525_2525_2525_2525; 2], [1, u64::MAX], [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]]
        {
            for v6 in [false, true] {
                let mut entries = vec![FlowEntry::default(); 1 << 14];
                let mut table = FlowTable::new(&mut entries, seeds).unwrap();
                let ip = |n: u8| {
                    if v6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n.into()]) } else { IpAddr::from([10, 0, 0, n]) }
                };
                let keys: Vec<_> =
                    (0..8192u16).map(|n| FlowKey::new(ip(1 + n as u8 % 4), ip(9), 40_000 + n, 80)).collect();
                keys.iter().enumerate().for_each(|(i, k)| assert!(table.insert(k, i as u32)));
                let home = |k: &FlowKey| table.hash(k) & table.mask;
                let far = |(i, k): (usize, &FlowKey)| {
                    let at = table.entries.iter().position(|e| e.slot == i as u32).unwrap() as u32;
                    at.wrapping_sub(home(k)) & table.mask
                };
                let distances: Vec<_> = keys.iter().enumerate().step_by(7).map(far).collect();
                // Half full, linear probing: half a step on average (Knuth, volume 3, 6.4).
                let mean = f64::from(distances.iter().sum::<u32>()) / distances.len() as f64;
                assert!(mean < 1.0, "{seeds:x?} {v6}: {mean} steps on average");
            }
        }
    }

    #[test]
    fn a_bad_size_is_refused_and_a_full_table_says_so() {
        assert!(FlowTable::new(&mut [], [1, 2]).is_none());
        assert!(FlowTable::new(&mut [FlowEntry::default(); 3], [1, 2]).is_none());
        let mut entries = [FlowEntry::default(); 8];
        let mut table = FlowTable::new(&mut entries, [1, 2]).unwrap();
        let n = (0..8).take_while(|&n| table.insert(&key(n), n)).count();
        assert!((4..8).contains(&n));
    }
}
