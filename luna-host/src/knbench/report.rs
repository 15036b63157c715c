//! What is told of a run: as JSON, and in words.

use core::fmt;
use core::time::Duration;

use serde::Serialize;

use super::client::Outcome;
use super::stats::{Latencies, LatencySummary};
use crate::machine::Machine;
use crate::open::Served;
use crate::report::{CopyReport, Counters, StackReport, TcpReport};

/// What was run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunConfig {
    /// Payload bytes of every request and of every response.
    pub size: u32,
    /// Requests in flight per connection.
    pub iodepth: u32,
    /// Connections of every thread.
    pub connections: u32,
    /// Measured seconds.
    pub duration_s: f64,
    /// Seconds before, not measured.
    pub warmup_s: f64,
    /// Threads of the client.
    pub threads: usize,
    /// Requests per second that were due, of all threads; `null` in a closed loop.
    pub rate: Option<f64>,
    /// How they were spread: "poisson" or "fixed"; `null` in a closed loop.
    pub arrivals: Option<&'static str>,
    /// Whether every response was compared with its request.
    pub verify: bool,
    /// Whether this process ran the server too.
    pub embedded_server: bool,
    /// CPUs of the client's threads, when pinned.
    pub cpus: Vec<usize>,
}

/// What the run cost this process: the client, and the server when it ran in this process too. Spinning counts.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct CpuReport {
    /// Seconds of CPU time, user and system, while it was measured.
    pub seconds: f64,
    /// Microseconds of it for each request; `null` without any.
    pub us_per_rpc: Option<f64>,
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
    /// Round-trip times; in an open loop, from when a request was due.
    pub latency_ns: LatencySummary,
    /// Their distribution: pairs of nanoseconds and the part of all requests that took at most that long.
    pub cdf: Vec<(u64, f64)>,
    /// CPU time.
    pub cpu: CpuReport,
    /// Requests that ended otherwise than with a right answer.
    pub errors: u64,
    /// Requests of an open loop that were due and had no answer 2 s after the end; their latencies are in the
    /// distribution with what they had waited by then.
    pub unfinished: u64,
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
    /// Makes a report of what the threads measured; the duration is theirs.
    #[must_use]
    pub fn new(mut config: RunConfig, threads: Vec<(Outcome, StackReport)>, served: Option<Served>) -> Self {
        let (server, server_rpc) = served.unzip();
        let mut latencies = Latencies::new();
        let (mut elapsed, mut errors, mut unfinished, mut cpu) = (Duration::ZERO, 0, 0, Duration::ZERO);
        let mut rpc = Counters::new();
        let mut client: Option<StackReport> = None;
        for (outcome, stack) in threads {
            // They begin and end within a turn of each other, where each has a core.
            elapsed = elapsed.max(outcome.elapsed);
            latencies.add(&outcome.latencies);
            errors += outcome.errors;
            unfinished += outcome.unfinished;
            rpc.add(&outcome.counters);
            // Of the whole process, seen by each thread.
            cpu = cpu.max(outcome.cpu);
            match &mut client {
                Some(sum) => sum.add(&stack),
                None => client = Some(stack),
            }
        }
        let client = client.unwrap_or_default();
        #[cfg(feature = "cycles")]
        let (client, server) = with_rpcs(client, server, &rpc, server_rpc.as_ref());
        let requests = latencies.count() - unfinished;
        let seconds = cpu.as_secs_f64();
        let rps = if elapsed > Duration::ZERO { requests as f64 / elapsed.as_secs_f64() } else { 0.0 };
        config.duration_s = elapsed.as_secs_f64();
        Self {
            machine: Machine::describe(),
            requests,
            rps,
            gbps: rps * f64::from(config.size) * 8.0 / 1e9,
            latency_ns: latencies.summary(),
            cdf: latencies.cdf(),
            cpu: CpuReport { seconds, us_per_rpc: (requests > 0).then(|| seconds * 1e6 / requests as f64) },
            errors,
            unfinished,
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

/// Cycles are per RPC: those that this side's sessions had answers to, and those that the server's answered.
#[cfg(feature = "cycles")]
fn with_rpcs(
    mut client: StackReport,
    mut server: Option<StackReport>,
    rpc: &Counters,
    server_rpc: Option<&Counters>,
) -> (StackReport, Option<StackReport>) {
    if let Some(cycles) = &mut client.cycles {
        cycles.spent_on(rpc.get("responses").unwrap_or(0));
    }
    if let Some(cycles) = server.as_mut().and_then(|s| s.cycles.as_mut()) {
        cycles.spent_on(server_rpc.and_then(|c| c.get("requests")).unwrap_or(0));
    }
    (client, server)
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
        let dpdk = m.dpdk.as_ref().map_or(String::new(), |version| format!(", {version}"));
        writeln!(f, "machine  {}, {} CPUs, Linux {} {}{dpdk}", m.cpu, m.cpus, m.kernel, m.arch)?;
        if !m.optimised {
            writeln!(f, "         UNOPTIMISED BUILD: these figures say nothing; use cargo run --release")?;
        }
        let verify = if c.verify { ", verified" } else { "" };
        let server = if c.embedded_server { ", server in this process" } else { "" };
        writeln!(
            f,
            "run      {} B each way, iodepth {}, {} connection(s), {} thread(s), {:.1} s{verify}{server}",
            c.size, c.iodepth, c.connections, c.threads, c.duration_s
        )?;
        match c.rate.zip(c.arrivals) {
            Some((rate, arrivals)) => writeln!(
                f,
                "         open loop, {} requests/s due ({arrivals}); latency counts from when a request was due",
                grouped(rate)
            )?,
            None => writeln!(f, "         closed loop")?,
        }
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
        if c.rate.is_some() {
            writeln!(f, "  unfinished       {}", self.unfinished)?;
        }
        let per_rpc = self.cpu.us_per_rpc.map_or("n/a".to_owned(), |us| format!("{us:.2} us"));
        writeln!(f, "  CPU per request  {per_rpc} of this process, spinning included")?;
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

    fn outcome(latencies_us: &[u64], elapsed_s: u64) -> Outcome {
        let mut latencies = Latencies::new();
        latencies_us.iter().for_each(|us| latencies.record(us * 1000));
        Outcome {
            latencies,
            elapsed: Duration::from_secs(elapsed_s),
            errors: 1,
            unfinished: 1,
            counters: [("calls", 2)].into_iter().collect(),
            cpu: Duration::from_secs(3),
        }
    }

    fn config() -> RunConfig {
        RunConfig {
            size: 1000,
            iodepth: 1,
            connections: 1,
            duration_s: 1.0,
            warmup_s: 0.0,
            threads: 2,
            rate: Some(7.0),
            arrivals: Some("poisson"),
            verify: false,
            embedded_server: false,
            cpus: vec![0],
        }
    }

    #[test]
    fn threads_add_up_and_what_never_came_is_no_throughput() {
        let threads = vec![
            (outcome(&[10, 20, 30], 1), StackReport::default()),
            (outcome(&[40, 50, 60], 2), StackReport::default()),
        ];
        let report = Report::new(config(), threads, None);
        // 2 in a second, and 2 in two seconds: four in two.
        assert_eq!((report.requests, report.rps, report.errors, report.unfinished), (4, 2.0, 2, 2));
        assert_eq!(report.config.duration_s, 2.0);
        assert_eq!(report.cpu.us_per_rpc, Some(0.75e6));
        assert_eq!(report.rpc.get("calls"), Some(4));
        assert!(report.latency_ns.max >= 60_000 && report.latency_ns.max < 60_100, "what never came is in there");
    }

    #[test]
    fn json_has_every_documented_key() {
        let json = serde_json::to_value(Report::new(config(), vec![], None)).unwrap();
        let keys = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            keys(&json),
            [
                "cdf",
                "client",
                "config",
                "copies",
                "cpu",
                "errors",
                "gbps",
                "latency_ns",
                "machine",
                "requests",
                "rpc",
                "rps",
                "server",
                "server_rpc",
                "tcp",
                "unfinished"
            ]
        );
        assert_eq!(
            keys(&json["config"]),
            [
                "arrivals",
                "connections",
                "cpus",
                "duration_s",
                "embedded_server",
                "iodepth",
                "rate",
                "size",
                "threads",
                "verify",
                "warmup_s"
            ]
        );
        assert_eq!(
            keys(&json["machine"]),
            ["arch", "congestion_control", "cpu", "cpus", "dpdk", "kernel", "luna", "mhz", "optimised"]
        );
        assert_eq!(keys(&json["cpu"]), ["seconds", "us_per_rpc"]);
        assert!(json["cpu"]["us_per_rpc"].is_null());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(grouped(123_456.0), "123 456");
    }
}
