//! Linux as the other end: client, router and server in network namespaces of their own, joined by veth; each end is the
//! kernel's TCP or Luna on a port (DPDK's AF_XDP, or a tap for large MTUs), and the router forwards, shapes to about
//! 1 Gb/s (TBF), loses (nft) and, with a relay between two taps, delays and reorders.
//!
//! Every end is a process, this same binary with a role in its environment. `spec` says what an end does, `ledger` keeps
//! account of it for both kinds, `kernel_end` and `luna_end` are the two, `net` is the topology, `cases` the list of what
//! must work, `goodput` the table of what it yields. Absent: absolute times as a criterion.

mod capture;
mod cases;
mod children;
mod goodput;
mod kernel_end;
mod ledger;
mod luna_end;
mod net;
mod relay;
mod scene;
mod spec;
mod tap;

use std::process::ExitCode;

/// Which cases to run when nothing else is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The quick ones.
    Quick,
    /// All of them, then the goodput table.
    All,
}

const USAGE: &str = "usage: linux [FILTER...] [--cases | --goodput] [--runs N] [--seconds S] [--loss PERCENT,...]
             [--congestion reno|cubic|bbr] [--columns luna-luna,luna-linux,linux-luna,linux-linux] [--delay MICROSECONDS]
             [--keep DIRECTORY] [--captures] [--list]";

/// The whole program: an end when the environment says so, otherwise the driver.
#[must_use]
pub fn main(scope: Scope) -> ExitCode {
    if let Ok(role) = std::env::var(children::ROLE) {
        children::die_with_parent();
        match role.as_str() {
            "linux" => kernel_end::run(&children::spec()),
            "luna" => luna_end::run(&children::spec()),
            "relay" => relay::run(&children::spec()),
            "capture" => capture::run(&children::spec::<String>()),
            other => panic!("no role {other}"),
        }
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(scope) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    children::catch_interrupts();
    let mut good = true;
    if options.cases {
        good &= cases::run(&options);
    }
    if options.goodput {
        good &= goodput::run(&options);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the command line asked for.
struct Options {
    scope: Scope,
    cases: bool,
    goodput: bool,
    list: bool,
    filter: Vec<String>,
    runs: usize,
    seconds: f64,
    /// In percent.
    loss: Vec<f64>,
    congestion: String,
    columns: Option<Vec<String>>,
    delay_us: u64,
    /// The goodput runs leave captures as well.
    captures: bool,
    /// Where captures of failing cases go.
    keep: std::path::PathBuf,
}

impl Options {
    fn parse(scope: Scope) -> Option<Self> {
        let mut options = Self {
            scope,
            cases: true,
            goodput: scope == Scope::All,
            list: false,
            filter: Vec::new(),
            runs: 3,
            seconds: 2.0,
            loss: vec![0.0, 0.1, 1.0, 5.0],
            congestion: "cubic".to_owned(),
            columns: None,
            delay_us: 0,
            captures: false,
            keep: std::env::temp_dir().join("luna-linux"),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--cases" => options.goodput = false,
                "--goodput" => (options.cases, options.goodput) = (false, true),
                "--captures" => options.captures = true,
                "--list" => options.list = true,
                "--runs" => options.runs = args.next()?.parse().ok().filter(|n| *n > 0)?,
                "--seconds" => options.seconds = args.next()?.parse().ok().filter(|s| *s > 0.0)?,
                "--loss" => options.loss = args.next()?.split(',').map(|p| p.parse().ok()).collect::<Option<_>>()?,
                "--congestion" => options.congestion = args.next()?,
                "--columns" => options.columns = Some(args.next()?.split(',').map(str::to_owned).collect()),
                "--delay" => options.delay_us = args.next()?.parse().ok()?,
                "--keep" => options.keep = args.next()?.into(),
                // What `cargo test` hands to every test program.
                "--include-ignored" | "--nocapture" => {}
                arg if arg.starts_with("--test-threads") => {}
                arg if arg.starts_with('-') => return None,
                _ => options.filter.push(arg),
            }
        }
        Some(options)
    }
}
