//! What was measured, as it is kept beside the report: enough to draw it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one run of a contender is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Payload bytes each way.
    pub(crate) size: u32,
    /// Requests in flight.
    pub(crate) depth: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) rps: f64,
    /// `None` where round trips are not timed one by one.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// CPU time of the client's process for each request.
    pub(crate) cpu_us: Option<f64>,
    /// Of the client.
    pub(crate) retransmits: Option<u64>,
}

/// All samples of a contender at a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Name of the contender.
    pub(crate) contender: String,
    pub(crate) point: Point,
    /// In the order of the alternations.
    pub(crate) samples: Vec<Sample>,
    /// Latency (µs) and the part of requests that took at most that long, of the sample with the median p50; kept where
    /// a figure shows it.
    pub(crate) cdf: Vec<(f64, f64)>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Data {
    /// When, for people.
    pub(crate) taken: String,
    /// Alternations.
    pub(crate) runs: u32,
    /// Seconds that each sample was measured for.
    pub(crate) seconds: f64,
    /// Whether this was `--quick`: shorter and fewer samples.
    pub(crate) quick: bool,
    /// Part of all CPUs' time that others took before anything was started, 0 to 1.
    pub(crate) busy: f64,
    /// As the `luna` command describes it.
    pub(crate) machine: Value,
    /// The compiler.
    pub(crate) rustc: String,
    /// Ports by contender: what they do instead of the stack.
    pub(crate) ports: BTreeMap<String, Value>,
    pub(crate) series: Vec<Series>,
    /// Instructions per RPC, as `--instructions` counts them: a row for each scenario. None: they were not counted.
    #[serde(default)]
    pub(crate) account: Vec<Value>,
}

impl Data {
    /// The samples of `contender` at `point`.
    pub(crate) fn series(&self, contender: &str, point: Point) -> Option<&Series> {
        self.series.iter().find(|s| s.contender == contender && s.point == point && !s.samples.is_empty())
    }

    /// The median of `field`.
    pub(crate) fn median(&self, contender: &str, point: Point, field: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let series = self.series(contender, point)?;
        median(series.samples.iter().filter_map(field).collect())
    }

    /// Median, least and most requests per second.
    pub(crate) fn rps(&self, contender: &str, point: Point) -> Option<(f64, f64, f64)> {
        let all: Vec<f64> = self.series(contender, point)?.samples.iter().map(|s| s.rps).collect();
        let (least, most) = all.iter().fold((f64::MAX, 0.0_f64), |(a, b), v| (a.min(*v), b.max(*v)));
        Some((median(all)?, least, most))
    }
}

/// The middle of an odd number, the mean of the two in the middle of an even one.
pub(crate) fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let (half, odd) = (all.len() / 2, all.len() % 2);
    match (all.get(half), odd) {
        (Some(middle), 1) => Some(*middle),
        (Some(upper), _) => Some((all.get(half.checked_sub(1)?)? + upper) / 2.0),
        (None, _) => None,
    }
}

impl Sample {
    /// From what `luna knbench --json` printed.
    pub(crate) fn of(told: &Value) -> Option<Self> {
        let number = |path: &str| told.pointer(path).and_then(Value::as_f64);
        // A sample in which nothing was answered has no latencies.
        let some = |v: &f64| *v > 0.0;
        Some(Self {
            rps: number("/rps")?,
            p50_us: number("/latency_ns/p50").filter(some).map(|ns| ns / 1e3),
            p99_us: number("/latency_ns/p99").filter(some).map(|ns| ns / 1e3),
            cpu_us: number("/cpu/us_per_rpc"),
            retransmits: told.pointer("/tcp/retransmits").and_then(Value::as_u64),
        })
    }
}

/// The distribution in what `luna knbench --json` printed.
pub(crate) fn cdf(told: &Value) -> Vec<(f64, f64)> {
    let points = told.pointer("/cdf").and_then(Value::as_array).into_iter().flatten();
    points.filter_map(|p| Some((p.get(0)?.as_f64()? / 1e3, p.get(1)?.as_f64()?))).collect()
}
