//! Randomness of a run: a PCG generator whose stream is fixed by its seed for ever (`rand_pcg` promises that).

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// A stream of random choices. Each part of a run has one of its own ([`Rng::fork`]), so that a choice more in one part
/// does not change all the others.
#[derive(Clone, Debug)]
pub struct Rng(Pcg64Mcg);

impl Rng {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A stream of its own, told by `purpose` from others of the same parent.
    #[must_use]
    pub fn fork(&self, purpose: u64) -> Self {
        let mut parent = self.0.clone();
        Self(Pcg64Mcg::seed_from_u64(parent.next_u64() ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(n)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True `ppm` times in a million.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// One of `choices`, which are not none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_forks_are_others() {
        let draw = |mut r: Rng| [r.draw(), r.draw(), r.draw()];
        assert_eq!(draw(Rng::new(7)), draw(Rng::new(7)));
        assert_ne!(draw(Rng::new(7)), draw(Rng::new(8)));
        let parent = Rng::new(7);
        assert_eq!(draw(parent.fork(1)), draw(parent.fork(1)));
        assert_ne!(draw(parent.fork(1)), draw(parent.fork(2)));
        let mut r = Rng::new(1);
        assert!((0..1000).all(|_| (3..=5).contains(&r.range(3, 5))));
        assert!(!(0..1000).any(|_| r.chance(0)) && (0..1000).all(|_| r.chance(1_000_000)));
    }
}
