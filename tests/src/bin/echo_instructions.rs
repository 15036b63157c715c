//! Runs one echo scenario over one stack, for callgrind to count, and prints what happened as a line of JSON.
//!
//! `echo_instructions --stack luna|luna-stream|smoltcp|smoltcp-split --mtu N --depth N --size N --checksums on|off
//! --answer echo|touch --digest on|off --rpcs N`

use std::process::ExitCode;

use luna_tests::echo::EchoPair;
use luna_tests::scenario::{Answer, EchoLoop, Report, Scenario, StackKind};
use luna_tests::smoltcp_echo::{Driving, SmoltcpEcho};
use luna_tests::stream_echo::StreamEcho;

/// Until windows have grown and every obj was used once; the same in every run, so a difference of two runs lacks it.
const WARM_UP: u64 = 256;
const CHECK: u64 = 16;
const USAGE: &str = "usage: echo_instructions --stack luna|luna-stream|smoltcp|smoltcp-split --mtu N --depth N --size N --checksums on|off --answer echo|touch --digest on|off --rpcs N";

struct Args {
    stack: StackKind,
    scenario: Scenario,
    rpcs: u64,
}

fn number<T: core::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} {value}: not a number"))
}

fn parse(args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut parsed = Args { stack: StackKind::Luna, scenario: Scenario::GATE, rpcs: 1000 };
    let mut args = args.peekable();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name}: a value is missing"))?;
        let s = &mut parsed.scenario;
        match (name.as_str(), value.as_str()) {
            ("--stack", v) => {
                let known = StackKind::ALL.into_iter().find(|kind| kind.name() == v);
                parsed.stack = known.ok_or_else(|| format!("{name} {v}: no such stack"))?;
            }
            ("--mtu", v) => s.mtu = number(&name, v)?,
            ("--depth", v) => s.depth = number(&name, v)?,
            ("--size", v) => s.size = number(&name, v)?,
            ("--checksums", "on") => s.checksums = true,
            ("--checksums", "off") => s.checksums = false,
            ("--answer", "echo") => s.answer = Answer::Echo,
            ("--answer", "touch") => s.answer = Answer::Touch,
            ("--digest", "on") => s.digest = true,
            ("--digest", "off") => s.digest = false,
            ("--rpcs", v) => parsed.rpcs = number(&name, v)?,
            (n, v) => return Err(format!("{n} {v}: not understood")),
        }
    }
    if parsed.scenario.depth == 0 || parsed.scenario.size == 0 {
        return Err("--depth and --size are at least 1".into());
    }
    if parsed.stack != StackKind::Luna && (parsed.scenario.answer != Answer::Echo || parsed.scenario.digest) {
        return Err("--answer touch and --digest on are Luna's alone".into());
    }
    Ok(parsed)
}

/// The run that is counted lies between two that are verified.
fn measure(mut echo: impl EchoLoop, rpcs: u64) -> Report {
    echo.run_verified(WARM_UP);
    let before = echo.report();
    echo.run(rpcs);
    let after = echo.report();
    echo.run_verified(CHECK);
    echo.assert_healthy();
    after.since(&before)
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(e) => {
            eprintln!("{e}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let report = match args.stack {
        StackKind::Luna => measure(EchoPair::new(args.scenario), args.rpcs),
        StackKind::LunaStream => measure(StreamEcho::new(args.scenario), args.rpcs),
        StackKind::Smoltcp => measure(SmoltcpEcho::new(args.scenario, Driving::Poll), args.rpcs),
        StackKind::SmoltcpSplit => measure(SmoltcpEcho::new(args.scenario, Driving::Split), args.rpcs),
    };
    println!("{}", serde_json::to_string(&report).expect("numbers"));
    ExitCode::SUCCESS
}
