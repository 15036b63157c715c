//! smoltcp's echo (or Luna's, driven the same way) by the clock: `echo_points smoltcp|luna [--cpu N] [--checksums]` runs what
//! each line of standard input asks for, as `luna knbench --points` does, and prints a JSON object for each.
//!
//! Both ends are in this thread and their clock is virtual, so single round trips are not timed: throughput only.

use core::time::Duration;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use luna_tests::echo::EchoPair;
use luna_tests::scenario::{EchoLoop, Scenario};
use luna_tests::smoltcp_echo::{Driving, SmoltcpEcho};
use serde_json::json;

/// RPCs between two looks at the clock.
const STEP: u64 = 64;

struct Options {
    smoltcp: bool,
    checksums: bool,
}

struct Point {
    size: u32,
    depth: usize,
    warmup: Duration,
    duration: Duration,
}

fn point(line: &str) -> Option<Point> {
    let mut point =
        Point { size: 4096, depth: 1, warmup: Duration::from_millis(100), duration: Duration::from_secs(1) };
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    for word in line.split_whitespace() {
        match word.split_once('=')? {
            ("size", n) => point.size = n.parse().ok().filter(|n| (1..=65_536).contains(n))?,
            ("iodepth", n) => point.depth = n.parse().ok().filter(|n| (1..=1024).contains(n))?,
            ("warmup", n) => point.warmup = seconds(n)?,
            ("duration", n) => point.duration = seconds(n)?,
            _ => return None,
        }
    }
    Some(point)
}

/// Runs for at least that long: RPCs, and the time that they took.
fn run(echo: &mut dyn EchoLoop, time: Duration) -> (u64, Duration) {
    let (start, mut rpcs) = (Instant::now(), 0);
    loop {
        echo.run(STEP);
        rpcs += STEP;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return (rpcs, elapsed);
        }
    }
}

fn measure(options: &Options, point: &Point) -> serde_json::Value {
    let Point { size, depth, warmup, duration } = *point;
    let scenario = Scenario::new(size, 1500, depth, options.checksums);
    let mut echo: Box<dyn EchoLoop> = if options.smoltcp {
        Box::new(SmoltcpEcho::new(scenario, Driving::Split))
    } else {
        Box::new(EchoPair::new(scenario))
    };
    echo.run_verified(STEP);
    run(&mut *echo, warmup);
    let before = echo.report();
    let (rpcs, elapsed) = run(&mut *echo, duration);
    let frames = echo.report().frames - before.frames;
    json!({
        "stack": if options.smoltcp { "smoltcp" } else { "luna" },
        "requests": rpcs,
        "rps": rpcs as f64 / elapsed.as_secs_f64(),
        "frames_per_rpc": frames as f64 / rpcs as f64,
        "errors": 0,
    })
}

fn main() -> ExitCode {
    let mut options = Options { smoltcp: true, checksums: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "smoltcp" => options.smoltcp = true,
            "luna" => options.smoltcp = false,
            "--checksums" => options.checksums = true,
            "--cpu" => match args.next().and_then(|n| n.parse().ok()).map(luna_host::machine::pin) {
                Some(Ok(())) => {}
                Some(Err(e)) => {
                    eprintln!("echo_points: {e}");
                    return ExitCode::FAILURE;
                }
                None => return usage(),
            },
            _ => return usage(),
        }
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Some(point) = point(&line) else { return usage() };
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{}", measure(&options, &point)).and_then(|()| out.flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: echo_points smoltcp|luna [--cpu N] [--checksums], and lines of size=, iodepth=, warmup=, duration="
    );
    ExitCode::from(2)
}
