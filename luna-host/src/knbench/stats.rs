//! Latencies in an HDR histogram: percentiles, and the whole distribution.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart, a minute; longer ones count as that.
const LONGEST_NS: u64 = 60_000_000_000;
/// Significant figures: better than 0.1 %.
const FIGURES: u8 = 3;
/// Points of the distribution between 0 and a half, between a half and three quarters, and so on.
const CDF_STEPS: u32 = 16;

/// Latencies of completed requests.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        // Fails only for bounds that make no sense, and these are constants.
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, FIGURES);
        Self(histogram.unwrap_or_else(|e| unreachable!("constant bounds: {e}")))
    }

    /// One request took `ns`.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Takes in what another thread measured.
    pub fn add(&mut self, other: &Self) {
        // Fails only between histograms of different bounds, and all have the constants above.
        if let Err(e) = self.0.add(&other.0) {
            unreachable!("equal bounds: {e}");
        }
    }

    /// Requests counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The cumulative distribution: points of rising latency (ns) with the part of all requests that took at most that
    /// long. Dense towards the tail, as percentile plots are; the last point is the longest, with 1.
    #[must_use]
    pub fn cdf(&self) -> Vec<(u64, f64)> {
        let mut points: Vec<(u64, f64)> = Vec::new();
        for step in self.0.iter_quantiles(CDF_STEPS) {
            let (ns, part) = (step.value_iterated_to(), step.quantile());
            match points.last_mut() {
                Some(last) if last.0 == ns => last.1 = part,
                _ => points.push((ns, part)),
            }
        }
        points
    }

    /// Percentiles.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let at = |q| self.0.value_at_quantile(q);
        LatencySummary {
            min: self.0.min(),
            mean: self.0.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// Latency percentiles in nanoseconds; all 0 when nothing was measured.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct LatencySummary {
    /// Shortest.
    pub min: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    #[serde(rename = "p99.9")]
    pub p999: u64,
    /// Longest.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut l = Latencies::new();
        assert_eq!(l.summary(), LatencySummary::default());
        for us in 1..=1000 {
            l.record(us * 1000);
        }
        let s = l.summary();
        let near = |got: u64, want: u64| got.abs_diff(want) <= want / 1000;
        assert!(near(s.p50, 500_000) && near(s.p90, 900_000) && near(s.p99, 990_000), "{s:?}");
        assert!(near(s.min, 1000) && near(s.max, 1_000_000) && (s.mean - 500_500.0).abs() < 500.0);
        l.record(u64::MAX);
        assert!(near(l.summary().max, LONGEST_NS));
    }

    #[test]
    fn threads_add_up_to_the_distribution_of_all() {
        let (mut all, mut odd, mut even) = (Latencies::new(), Latencies::new(), Latencies::new());
        for us in 1..=1000_u64 {
            all.record(us * 1000);
            if us % 2 == 0 { &mut even } else { &mut odd }.record(us * 1000);
        }
        odd.add(&even);
        assert_eq!((odd.count(), odd.summary(), odd.cdf()), (1000, all.summary(), all.cdf()));
    }

    #[test]
    fn the_distribution_rises_to_one_and_agrees_with_the_percentiles() {
        let mut l = Latencies::new();
        assert!(l.cdf().is_empty());
        for us in 1..=10_000 {
            l.record(us * 1000);
        }
        let cdf = l.cdf();
        assert!(cdf.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{cdf:?}");
        assert_eq!(cdf.last().map(|p| p.1), Some(1.0));
        for (ns, part) in &cdf {
            // Buckets are a thousandth wide.
            assert!((*ns as f64 / 1e7 - part).abs() < 0.002, "{ns} {part}");
        }
        assert!(cdf.len() > 60 && cdf.len() < 1000, "{}", cdf.len());
    }
}
