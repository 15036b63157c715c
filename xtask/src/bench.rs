//! `cargo xtask bench`: criterion benches, and the account of instructions per RPC.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;

/// What selects every criterion bench; `--bench` keeps unit tests out.
pub(crate) const CRITERION: &[&str] = &["-p", "luna-tests", "--bench", "*"];

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only criterion benches whose name contains this
    filter: Option<String>,
    /// Only the account of instructions per RPC, by scenario and stage
    #[arg(long, conflicts_with = "filter")]
    instructions: bool,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.instructions {
        let filter: Vec<&str> = args.filter.iter().map(String::as_str).collect();
        run_shown(cargo(&[&["bench"], CRITERION, &["--"], &filter].concat()))?;
    }
    if args.filter.is_none() {
        run_shown(instructions(&[]))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The account of instructions per RPC: prints it, and fails when a budget or the limit beside smoltcp is exceeded.
pub(crate) fn instructions(args: &[&str]) -> Command {
    cargo(&[&["bench", "-p", "luna-tests", "--bench", "instructions", "--"], args].concat())
}

fn run_shown(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}
