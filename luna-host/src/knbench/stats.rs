//! What a benchmark measured: latencies in a histogram, and the report made of it.

use core::fmt;
use core::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::machine::Machine;
use crate::report::{CopyReport, Counters, StackReport, TcpReport};

/// Longest latency that is told apart, a minute; longer ones count as that.
const LONGEST_NS: u64 = 60_000_000_000;
/// Significant figures: better than 0.1 %.
const FIGURES: u8 = 3;

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

    /// Forgets all: the warm-up is over.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Requests counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
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

/// What was run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunConfig {
    /// Payload bytes of every request and of every response.
    pub size: u32,
    /// Requests in flight per connection.
    pub iodepth: u32,
    /// Connections.
    pub connections: u32,
    /// Measured seconds.
    pub duration_s: f64,
    /// Seconds before, not measured.
    pub warmup_s: f64,
    /// Whether every response was compared with its request.
    pub verify: bool,
    /// Whether this process ran the server too.
    pub embedded_server: bool,
    /// CPU of the client, when pinned.
    pub cpu: Option<usize>,
}

/// The result of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// What.
    pub config: RunConfig,
    /// Requests completed while it was measured.
    pub requests: u64,
    /// Requests completed per second.
    pub rps: f64,
    /// Payload per second, each direction, in 10^9 bits.
    pub gbps: f64,
    /// Round-trip times.
    pub latency_ns: LatencySummary,
    /// Requests that ended otherwise than with a right answer.
    pub errors: u64,
    /// TCP's counters of this side.
    pub tcp: TcpReport,
    /// Copies of this side.
    pub copies: CopyReport,
    /// All counters of this side.
    pub client: StackReport,
    /// What this side's sessions counted.
    pub rpc: Counters,
    /// All counters of the server, when it ran in this process.
    pub server: Option<StackReport>,
    /// What its services counted.
    pub server_rpc: Option<Counters>,
}

impl Report {
    /// Makes a report of `latencies` gathered in `elapsed`.
    #[must_use]
    pub fn new(
        config: RunConfig,
        latencies: &Latencies,
        elapsed: Duration,
        errors: u64,
        client: StackReport,
        rpc: Counters,
        served: Option<(StackReport, Counters)>,
    ) -> Self {
        let (server, server_rpc) = served.unzip();
        let seconds = elapsed.as_secs_f64();
        let rps = if seconds > 0.0 { latencies.count() as f64 / seconds } else { 0.0 };
        Self {
            machine: Machine::describe(),
            requests: latencies.count(),
            rps,
            gbps: rps * f64::from(config.size) * 8.0 / 1e9,
            latency_ns: latencies.summary(),
            errors,
            tcp: client.tcp.clone(),
            copies: client.copies,
            client,
            rpc,
            server,
            server_rpc,
            config,
        }
    }
}

/// Nanoseconds for people.
fn micros(ns: u64) -> String {
    format!("{:.1} us", ns as f64 / 1e3)
}

/// A whole number in groups of three.
fn grouped(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (c, l) = (&self.config, &self.latency_ns);
        let m = &self.machine;
        writeln!(f, "machine  {}, {} CPUs, Linux {} {}", m.cpu, m.cpus, m.kernel, m.arch)?;
        if !m.optimised {
            writeln!(f, "         UNOPTIMISED BUILD: these figures say nothing; use cargo run --release")?;
        }
        let verify = if c.verify { ", verified" } else { "" };
        let server = if c.embedded_server { ", server in this process" } else { "" };
        writeln!(
            f,
            "run      {} B each way, iodepth {}, {} connection(s), {:.1} s{verify}{server}",
            c.size, c.iodepth, c.connections, c.duration_s
        )?;
        writeln!(f)?;
        writeln!(f, "  requests/s       {}", grouped(self.rps))?;
        writeln!(f, "  payload          {:.2} Gb/s each way", self.gbps)?;
        writeln!(f, "  latency  p50     {}", micros(l.p50))?;
        writeln!(f, "           p90     {}", micros(l.p90))?;
        writeln!(f, "           p99     {}", micros(l.p99))?;
        writeln!(f, "           p99.9   {}", micros(l.p999))?;
        writeln!(f, "           min     {}", micros(l.min))?;
        writeln!(f, "           max     {}", micros(l.max))?;
        writeln!(f, "  errors           {}", self.errors)?;
        writeln!(f, "\nclient\n{}\n  rpc              {}", self.client, self.rpc)?;
        if let Some((server, rpc)) = self.server.as_ref().zip(self.server_rpc.as_ref()) {
            writeln!(f, "server\n{server}\n  rpc              {rpc}")?;
        }
        Ok(())
    }
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
        l.clear();
        assert_eq!(l.count(), 0);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(grouped(123_456.0), "123 456");
    }
}
