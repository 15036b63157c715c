//! `cargo xtask linux`: Linux's TCP as the other end, every case and the goodput table, by the tests' own program.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo::cargo;
use crate::setup;

/// Options of `linux`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask before installing or changing
    #[arg(long)]
    yes: bool,
    /// What the program is told: `--runs 9`, `--goodput`, `--cases`, `--loss 0,1`, `--congestion reno`, part of a name...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let _prepared = setup::prepare(args.yes)?;
    let line = ["run", "--release", "-p", "luna-tests", "--features", "luna-tests/dpdk", "--bin", "linux", "--"];
    let mut command = cargo(&line);
    // It stops by itself on the same Ctrl-C, and removes its namespaces.
    let status = command.args(&args.rest).status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
