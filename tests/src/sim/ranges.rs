//! Which bytes of a stream arrived somewhere: a set of ranges, by offset.

/// Sorted, apart, not empty.
#[derive(Clone, Debug, Default)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Adds `start..end`.
    pub fn add(&mut self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        // In order is the rule.
        if let Some(last) = self.0.last_mut()
            && start >= last.0
            && start <= last.1
        {
            last.1 = last.1.max(end);
            return;
        }
        let from = self.0.partition_point(|r| r.1 < start);
        let to = self.0.partition_point(|r| r.0 <= end);
        if from == to {
            self.0.insert(from, (start, end));
            return;
        }
        let merged = (self.0[from].0.min(start), self.0[to - 1].1.max(end));
        self.0.splice(from..to, [merged]);
    }

    /// Whether all of `start..end` is in it.
    #[must_use]
    pub fn covers(&self, start: u32, end: u32) -> bool {
        let i = self.0.partition_point(|r| r.1 <= start);
        start >= end || self.0.get(i).is_some_and(|r| r.0 <= start && end <= r.1)
    }

    /// Where the range that begins at 0 ends.
    #[must_use]
    pub fn contiguous(&self) -> u32 {
        self.0.first().map_or(0, |r| if r.0 == 0 { r.1 } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rng::Rng;

    #[test]
    fn as_a_set_of_numbers_would() {
        let mut rng = Rng::new(5);
        for _ in 0..200 {
            let mut set = Ranges::default();
            let mut model = [false; 64];
            for _ in 0..12 {
                let a = rng.below(64) as u32;
                let b = (a + rng.below(12) as u32).min(64);
                set.add(a, b);
                model[a as usize..b as usize].fill(true);
                assert_eq!(set.contiguous() as usize, model.iter().take_while(|m| **m).count());
                for _ in 0..8 {
                    let a = rng.below(64) as u32;
                    let b = (a + rng.below(12) as u32).min(64);
                    assert_eq!(set.covers(a, b), model[a as usize..b as usize].iter().all(|m| *m));
                }
                assert!(set.0.windows(2).all(|w| w[0].1 < w[1].0));
            }
        }
    }
}
