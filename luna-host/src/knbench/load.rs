//! When requests are due: a closed loop keeps its depth, an open loop follows a schedule of its own.
//!
//! In an open loop a request's latency counts from the moment at which it was *due*, not from the one at which it was
//! sent: a server that stalls delays everything that falls due meanwhile, and a clock that started at the sending would
//! leave that out ("coordinated omission").

use core::time::Duration;
use std::time::Instant;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// What makes requests leave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Load {
    /// A response makes the next request: `iodepth` are in flight on every connection.
    Closed,
    /// Requests fall due at a rate, whether or not others have been answered; at most `iodepth` of a connection are in
    /// flight, later ones wait, and their waiting counts.
    Open {
        /// Requests per second of all connections of this thread.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// How the requests of an open loop are spread over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrivals {
    /// As those of many independent clients: exponential gaps.
    Poisson,
    /// Evenly.
    Fixed,
}

/// The moments at which the requests of an open loop are due.
#[derive(Clone, Debug)]
pub struct Schedule {
    next: Instant,
    /// Seconds.
    mean_gap: f64,
    arrivals: Arrivals,
    random: Pcg64Mcg,
}

impl Schedule {
    /// From `start` on. `seed` chooses the gaps, so that threads differ and runs repeat.
    #[must_use]
    pub fn new(start: Instant, rate: f64, arrivals: Arrivals, seed: u64) -> Self {
        let mut schedule = Self { next: start, mean_gap: 1.0 / rate, arrivals, random: Pcg64Mcg::seed_from_u64(seed) };
        schedule.advance();
        schedule
    }

    /// When the next one is due.
    #[must_use]
    #[inline]
    pub fn due(&self) -> Instant {
        self.next
    }

    /// The next one has been taken.
    #[inline]
    pub fn advance(&mut self) {
        let gap = match self.arrivals {
            Arrivals::Fixed => self.mean_gap,
            Arrivals::Poisson => {
                // 53 bits in (0, 1].
                let uniform = ((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                -uniform.ln() * self.mean_gap
            }
        };
        self.next += Duration::from_secs_f64(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals, n: usize) -> Vec<f64> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1e4, arrivals, 7);
        let mut last = start;
        (0..n)
            .map(|_| {
                let due = schedule.due();
                schedule.advance();
                let gap = due.duration_since(last).as_secs_f64();
                last = due;
                gap
            })
            .collect()
    }

    #[test]
    fn even_arrivals_are_even() {
        assert!(gaps(Arrivals::Fixed, 1000).iter().all(|gap| (gap - 1e-4).abs() < 1e-8));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let gaps = gaps(Arrivals::Poisson, 100_000);
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1e-4).abs() < 2e-6, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{variance}");
        let long = gaps.iter().filter(|gap| **gap > 2e-4).count() as f64 / gaps.len() as f64;
        assert!((long - (-2.0_f64).exp()).abs() < 0.01, "{long}");
    }
}
