//! `cargo xtask sim`: the deterministic simulator over many seeds, or one seed with its packet log.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo::cargo;

/// What the test command runs; more is `--seeds`.
pub(crate) const SEEDS_FOR_TEST: u64 = 3000;

/// Options of `sim`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = SEEDS_FOR_TEST, conflicts_with = "seed")]
    seeds: u64,
    /// Only this seed, with its packet log and capture (under target/sim)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// The first seed of many
    #[arg(long, value_name = "S", default_value_t = 1, conflicts_with = "seed")]
    from: u64,
    /// Threads; 0 for one a CPU
    #[arg(long, value_name = "J", default_value_t = 0)]
    jobs: usize,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut command = match args.seed {
        Some(seed) => simulator(&["--seed", &seed.to_string()]),
        None => simulator(&["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]),
    };
    command.args(["--jobs", &args.jobs.to_string()]);
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    // It has said what was wrong.
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The simulator with `args`, built with every assertion.
pub(crate) fn simulator(args: &[&str]) -> Command {
    cargo(&[&["run", "--quiet", "--profile", "sim", "-p", "luna-tests", "--bin", "sim", "--"], args].concat())
}
