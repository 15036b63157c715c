//! `cargo xtask bench`: Luna beside the kernel's TCP, smoltcp and the limit of its ports, as one HTML report with figures
//! shaped like the paper's; `--criterion` and `--instructions` are the micro-benchmarks.

mod account;
mod contender;
mod data;
mod figures;
mod goals;
mod page;
mod plot;
mod run;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{self, cargo};
use crate::netns::VethPair;
use crate::process::Process;
use crate::progress::Progress;
use crate::setup;
use contender::Ground;
use data::Data;
use run::Effort;

/// What selects every criterion bench; `--bench` keeps unit tests out.
pub(crate) const CRITERION: &[&str] = &["-p", "luna-tests", "--bench", "*"];

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Short and few samples: within two minutes, beside building
    #[arg(long)]
    quick: bool,
    /// Only the points that goals are set for, of the two-process stacks
    #[arg(long)]
    goals: bool,
    /// Alternations [default: 9, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// Milliseconds that each sample is measured for [default: 1000, or 150 with --quick]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    duration: Option<u64>,
    /// Where the report goes; its data goes beside it, as .json
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.html")]
    out: PathBuf,
    /// Draw the report of an earlier run's data again, and measure nothing
    #[arg(long, value_name = "JSON", conflicts_with_all = ["quick", "goals", "runs", "duration"])]
    render: Option<PathBuf>,
    /// Use this luna binary, and the echo_points of luna-tests beside it, instead of building them
    #[arg(long, value_name = "PATH")]
    luna: Option<PathBuf>,
    /// Put the counts that an earlier --instructions wrote into the report, instead of counting (--quick and --goals do not
    /// count)
    #[arg(long, value_name = "JSON", conflicts_with = "render")]
    account: Option<PathBuf>,
    /// Do not ask before installing or changing
    #[arg(long)]
    yes: bool,
    /// Run the criterion benches instead, those whose name contains FILTER
    #[arg(long, value_name = "FILTER", num_args = 0..=1, conflicts_with_all = ["quick", "goals", "runs", "render"])]
    #[expect(clippy::option_option, reason = "absent, without a filter, with one")]
    criterion: Option<Option<String>>,
    /// Only the account of instructions per RPC, by scenario and stage
    #[arg(long, conflicts_with_all = ["quick", "goals", "runs", "render", "criterion"])]
    instructions: bool,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(filter) = &args.criterion {
        let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
        run_shown(cargo(&[&["bench"], CRITERION, &["--"], &filter].concat()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.instructions {
        run_shown(instructions(&[]))?;
        return Ok(ExitCode::SUCCESS);
    }
    let data = match &args.render {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no data of this command", path.display()))?
        }
        None => measure(args)?,
    };
    // As everything that cargo makes, relative to the workspace.
    let out = cargo::root().join(&args.out);
    write(&out, &data)?;
    println!("{}", page::words(&data));
    println!("report: {}", out.display());
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> Result<Data> {
    let effort = Effort {
        runs: args.runs.unwrap_or(if args.quick { 3 } else { 9 }),
        warmup: Duration::from_millis(if args.quick { 40 } else { 200 }),
        duration: Duration::from_millis(args.duration.unwrap_or(if args.quick { 150 } else { 1000 })),
        quick: args.quick,
        goals_only: args.goals,
    };
    let _prepared = setup::prepare(args.yes)?;
    let luna = match &args.luna {
        Some(path) => fs::canonicalize(path).with_context(|| format!("no luna binary at {}", path.display()))?,
        None => build()?,
    };
    let peers = luna.with_file_name("echo_points");
    ensure!(peers.is_file(), "there is no {}, of `cargo build --release -p luna-tests`", peers.display());
    let account = match &args.account {
        Some(path) => account::read(path)?,
        None if args.quick || args.goals => Vec::new(),
        None => account::count()?,
    };
    let work = tempfile::Builder::new().prefix("luna-bench-").tempdir().context("cannot make a working directory")?;
    let (plain, offloads) = (VethPair::make_tagged("off")?, VethPair::make_tagged("on")?);
    offloads.set_offloads(true)?;
    plain.client.make_loopback_plain()?;
    let ground = Ground { luna: &luna, peers: &peers, work: work.path(), plain: &plain, offloads: &offloads };
    Ok(Data { account, ..run::run(&ground, effort)? })
}

fn write(out: &Path, data: &Data) -> Result<()> {
    let dir = out.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(out, page::page(data)?).with_context(|| format!("cannot write {}", out.display()))?;
    let json = out.with_extension("json");
    fs::write(&json, serde_json::to_string(data)?).with_context(|| format!("cannot write {}", json.display()))
}

/// Builds the `luna` command with DPDK ports, and the peers beside it.
fn build() -> Result<PathBuf> {
    let build = |what: &str, args: &[&str]| {
        let mut progress = Progress::start(format!("building {what}"));
        let mut process = Process::spawn_merged("cargo build", cargo(&[&["build", "--release"], args].concat()))?;
        let status = process.wait(None, |line| progress.note(&line.text))?;
        ensure!(status.success(), "{what} does not build:\n{}", process.tail(40));
        progress.finish("done");
        Ok(())
    };
    build("luna", &["--package", "luna-host", "--bin", "luna", "--features", "dpdk"])?;
    build("the peers", &["--package", "luna-tests", "--bin", "echo_points"])?;
    Ok(cargo::target_dir().join("release/luna"))
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
