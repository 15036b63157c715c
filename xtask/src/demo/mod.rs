//! `cargo xtask demo`: a real file and a 4 KiB RPC workload cross Luna between two processes, over AF_XDP on veth and
//! over two kinds of shared-memory port, beside the same work over kernel TCP.
//!
//! Order of the stages: for every link the file first, then the benchmark, so that numbers are of a path that was seen
//! to deliver every byte. Servers and clients are children; namespaces, hugepages and files go when this ends, however.

pub(crate) mod link;
mod luna;
mod report;
mod transfer;

use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cargo;
use crate::netns::VethPair;
use crate::progress::Progress;
use crate::setup;
use link::Link;
use luna::{Bench, Health, Luna};
use report::Report;
use transfer::Sample;

/// Options of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Benchmark each row for one second instead of three
    #[arg(long)]
    quick: bool,
    /// Keep the working directory: received files, and what every process printed
    #[arg(long)]
    keep: bool,
    /// Do not ask before installing or changing
    #[arg(long)]
    yes: bool,
    /// Use this luna binary instead of building one
    #[arg(long, value_name = "PATH")]
    luna: Option<PathBuf>,
    /// Only these links (repeatable)
    #[arg(long, value_enum)]
    only: Vec<Link>,
}

/// Requests in flight of the two benchmark rows.
const DEPTHS: [u32; 2] = [1, 16];
/// Message size of the benchmark.
const MESSAGE: u32 = 4096;

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let _prepared = setup::prepare(args.yes)?;
    let binary = match &args.luna {
        Some(path) => fs::canonicalize(path).with_context(|| format!("no luna binary at {}", path.display()))?,
        None => build()?,
    };
    let file = transfer::find_file()?;
    let work = WorkDir::make(args.keep)?;
    let luna = Luna::new(binary, work.dir.path().to_owned());
    let veth = VethPair::make()?;
    eprintln!(
        "two namespaces, {} ({}) and {} ({}), joined by a veth pair, offloads off",
        veth.server.namespace, veth.server.address, veth.client.namespace, veth.client.address
    );
    let mut report = Report::new(&file);
    let played = play(args, &luna, &veth, &file, &mut report);
    drop(veth);
    // After a failure too: what was seen until then helps to understand it.
    if !report.files.is_empty() && crate::interrupt::check().is_ok() {
        println!("{report}");
    }
    work.close()?;
    played?;
    ensure!(report.intact(), "a file did not arrive as it was sent");
    ensure!(
        report.clean(),
        "Luna sent segments again on a link that loses none, twice in a row: a fault, or an overloaded machine"
    );
    Ok(ExitCode::SUCCESS)
}

/// All stages of all links.
fn play(args: &Args, luna: &Luna, veth: &VethPair, file: &Sample, report: &mut Report) -> Result<()> {
    let duration = Duration::from_secs(if args.quick { 1 } else { 3 });
    let links: Vec<Link> =
        Link::ALL.into_iter().filter(|link| args.only.is_empty() || args.only.contains(link)).collect();
    for (index, link) in links.iter().copied().enumerate() {
        let label = |what: &str| format!("[{}/{}] {:<26} {what:<18}", index + 1, links.len(), link.title());
        veth.set_offloads(link == Link::KernelOffloads)?;
        let transferred = clean(link, &mut report.repeated, |attempt| {
            let mut progress = Progress::start(label("file, put and get"));
            let transferred = transfer::run(luna, veth, link, file, attempt, &mut progress)?;
            progress.finish(&transferred.summary());
            let health = transferred.health;
            Ok((transferred, health))
        })?;
        report.files.push(transferred);
        for depth in DEPTHS {
            let row = clean(link, &mut report.repeated, |attempt| {
                let mut progress = Progress::start(label(&format!("knbench, depth {depth}")));
                let bench = Bench { size: MESSAGE, depth, duration, attempt };
                let row = luna.bench(veth, link, bench, &mut progress)?;
                progress.finish(&row.summary());
                let health = row.health;
                Ok((row, health))
            })?;
            report.rows.push(row);
        }
    }
    Ok(())
}

/// Nothing is lost on these links. A core that is taken away for longer than a retransmission timeout looks like loss, though:
/// such a run is made once more, and counted.
fn clean<T>(link: Link, repeated: &mut u32, mut run: impl FnMut(u32) -> Result<(T, Health)>) -> Result<T> {
    let (first, health) = run(1)?;
    if health.is_clean() || !link.is_luna() {
        return Ok(first);
    }
    eprintln!("segments were sent again although nothing is lost here: once more");
    *repeated += 1;
    Ok(run(2)?.0)
}

/// Builds the release binary with DPDK ports.
fn build() -> Result<PathBuf> {
    let mut progress = Progress::start("building luna (release, with DPDK ports)");
    let command =
        cargo::cargo(&["build", "--release", "--package", "luna-host", "--bin", "luna", "--features", "dpdk"]);
    let mut process = crate::process::Process::spawn_merged("cargo build", command)?;
    let status = process.wait(None, |line| progress.note(&line.text))?;
    ensure!(status.success(), "luna does not build:\n{}", process.tail(40));
    progress.finish("done");
    Ok(cargo::target_dir().join("release/luna"))
}

/// Where sockets, received files and logs are.
struct WorkDir {
    dir: TempDir,
    keep: bool,
}

impl WorkDir {
    fn make(keep: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("luna-demo-").disable_cleanup(keep).tempdir();
        Ok(Self { dir: dir.context("cannot make a working directory")?, keep })
    }

    fn close(self) -> Result<()> {
        if self.keep {
            println!("kept: {}", self.dir.path().display());
            return Ok(());
        }
        self.dir.close().context("cannot remove the working directory")
    }
}
