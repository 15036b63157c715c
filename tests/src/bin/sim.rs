//! A sweep of the simulator over seeds: `sim [--seeds N] [--seed S] [--jobs J] [--log DIR]`.

use std::path::PathBuf;
use std::process::ExitCode;

use luna_tests::sim::sweep::{Sweep, sweep};

fn main() -> ExitCode {
    let mut options = Sweep { out: PathBuf::from("target/sim"), ..Sweep::default() };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next();
        let number = value.as_deref().and_then(|v| v.parse().ok());
        match (name.as_str(), number, value) {
            ("--seeds", Some(n), _) => options.seeds = n,
            ("--seed", Some(n), _) => (options.first, options.verbose) = (n, true),
            ("--from", Some(n), _) => options.first = n,
            ("--jobs", Some(n), _) => options.jobs = n as usize,
            ("--log", _, Some(dir)) => options.out = dir.into(),
            _ => {
                eprintln!("usage: sim [--seeds N] [--seed S] [--from S] [--jobs J] [--log DIR]");
                return ExitCode::from(2);
            }
        }
    }
    if sweep(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
