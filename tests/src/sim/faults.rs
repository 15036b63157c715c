//! What a link does to frames beside carrying them.

use super::rng::Rng;

/// Probabilities are in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Independent loss.
    pub loss: u32,
    /// Bursts (Gilbert-Elliott): from good to bad, from bad to good, loss while bad.
    pub burst: Option<(u32, u32, u32)>,
    /// Held back so that later frames overtake.
    pub reorder: u32,
    /// By at most so many ns.
    pub reorder_by: u64,
    /// Delivered twice.
    pub duplicate: u32,
    /// Bits changed.
    pub corrupt: u32,
}

impl Faults {
    /// Whether it does nothing at all.
    #[must_use]
    pub fn none(&self) -> bool {
        *self == Self { reorder_by: self.reorder_by, ..Self::default() }
    }
}

/// What becomes of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fate {
    /// It does not arrive.
    pub lost: bool,
    /// It arrives so much later.
    pub extra: u64,
    /// A copy arrives, so much later.
    pub copy: Option<u64>,
    /// Its bits change.
    pub corrupt: bool,
}

/// The state of a link's faults.
#[derive(Clone, Debug)]
pub struct FaultState {
    rng: Rng,
    bad: bool,
    /// When the last frame passed.
    last: u64,
}

/// A bad state does not outlast this much silence.
const BAD_FOR: u64 = 10_000_000;

impl FaultState {
    /// Begins in the good state.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, bad: false, last: 0 }
    }

    /// Decides about the next frame.
    pub fn decide(&mut self, f: &Faults, now: u64) -> Fate {
        self.bad &= now - self.last < BAD_FOR;
        self.last = now;
        let rng = &mut self.rng;
        let mut lost = rng.chance(f.loss);
        if let Some((to_bad, to_good, loss)) = f.burst {
            self.bad = if self.bad { !rng.chance(to_good) } else { rng.chance(to_bad) };
            lost |= self.bad && rng.chance(loss);
        }
        let extra = if rng.chance(f.reorder) { rng.range(1, f.reorder_by.max(1)) } else { 0 };
        let copy = rng.chance(f.duplicate).then(|| rng.range(0, f.reorder_by.max(1)));
        Fate { lost, extra, copy, corrupt: rng.chance(f.corrupt) }
    }

    /// A number of this state's stream.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
}

/// Changes a frame so that every checksum over the changed bits notices (one bit, or a burst shorter than the sum's
/// width), or in what no checksum covers. True when a checksum covers it.
pub fn corrupt(bytes: &mut Vec<u8>, rng: &mut Rng) -> bool {
    let l3 = if bytes.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
    let Some(&version) = bytes.get(l3) else { return true };
    let ipv6 = version >> 4 == 6;
    // Behind it is padding.
    let Some(&[high, low]) = bytes.get(l3 + 2..l3 + 4) else { return true };
    let Some(&[high6, low6]) = bytes.get(l3 + 4..l3 + 6) else { return true };
    let len =
        if ipv6 { 40 + usize::from(u16::from_be_bytes([high6, low6])) } else { u16::from_be_bytes([high, low]).into() };
    let end = (l3 + len).min(bytes.len());
    match rng.below(8) {
        // Truncated: the IP length no longer fits.
        0 => {
            let n = rng.below(end as u64) as usize;
            bytes.truncate(n);
            true
        }
        // Padding behind the packet is nobody's business.
        1 => {
            let n = rng.range(1, 16);
            bytes.extend((0..n).map(|_| rng.draw() as u8));
            false
        }
        // Hop limit and flow label of IPv6 are covered by nothing.
        2 if ipv6 => {
            let (byte, bits) = if rng.one_in(2) { (7, 0xff) } else { (2, 0xff) };
            bytes[l3 + byte] ^= (rng.range(1, bits)) as u8;
            false
        }
        _ => {
            // From the first byte that a sum covers: IPv4's header, IPv6's addresses.
            let start = if ipv6 { l3 + 8 } else { l3 };
            if start >= end {
                return true;
            }
            let at = start as u64 * 8 + rng.below((end - start) as u64 * 8);
            let burst = if rng.one_in(3) { rng.range(2, 15) } else { 1 };
            let end = end as u64 * 8;
            for bit in at..(at + burst).min(end) {
                // The ends of the burst change for certain, what is between them perhaps.
                if bit == at || rng.one_in(2) {
                    bytes[bit as usize / 8] ^= 0x80 >> (bit % 8);
                }
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_come_in_bursts() {
        let f = Faults { burst: Some((10_000, 200_000, 1_000_000)), ..Faults::default() };
        let mut state = FaultState::new(Rng::new(3));
        let lost: Vec<bool> = (0..100_000).map(|_| state.decide(&f, 0).lost).collect();
        let n = lost.iter().filter(|l| **l).count() as f64;
        let pairs = lost.windows(2).filter(|w| w[0] && w[1]).count() as f64;
        assert!((0.03..0.07).contains(&(n / 1e5)), "a share of 1/21 is bad: {n}");
        assert!((0.75..0.85).contains(&(pairs / n)), "a bad one follows a bad one four times in five");
    }

    #[test]
    fn no_fault_does_nothing() {
        let mut state = FaultState::new(Rng::new(3));
        let nothing = Fate { lost: false, extra: 0, copy: None, corrupt: false };
        assert!((0..1000).all(|_| state.decide(&Faults::default(), 0) == nothing));
    }
}
