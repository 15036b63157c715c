//! `cargo xtask fig16`: the paper's Figure 16 from the simulator, as tables and a picture.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;

/// Options of `fig16`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where tables and picture go
    #[arg(long, default_value = "target/fig16")]
    out: String,
    /// Bursts of each incast
    #[arg(long, default_value_t = 10)]
    rounds: u32,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let rounds = args.rounds.to_string();
    let program = ["run", "--release", "-p", "luna-tests", "--bin", "fig16", "--"];
    let mut command = cargo(&[&program[..], &["--out", &args.out, "--rounds", &rounds]].concat());
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("fig16 ended with {status}");
    }
    Ok(ExitCode::SUCCESS)
}
