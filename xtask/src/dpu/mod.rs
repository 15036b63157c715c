//! `cargo xtask dpu build|run|test|size`: images of boards, in QEMU.

mod qemu;
mod size;
mod test;
pub(crate) mod toolchain;
mod vhost;

use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cargo;
use crate::setup;

use toolchain::Toolchain;

/// Options of `dpu`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Build an image
    Build(Common),
    /// Boot an image and let it call luna-host over DPDK's vhost port; with `--append`, only boot it
    Run(Run),
    /// Boot an image in every way there is, against luna-host's RPC service and benchmark
    Test(Test),
    /// What an image takes and what a request costs; no atomics on the packet path
    Size(Common),
}

/// What every verb takes.
#[derive(clap::Args)]
struct Common {
    /// The board, a crate under boards/
    #[arg(long, value_name = "B", default_value = "qemu-virt")]
    board: Board,
    /// Do not ask before installing
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    /// Boot without a network, with these words for the image
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    #[command(flatten)]
    load: vhost::Load,
}

#[derive(clap::Args)]
struct Test {
    #[command(flatten)]
    common: Common,
    /// Part of a case's name
    case: Option<String>,
    /// Show what both ends say
    #[arg(long)]
    verbose: bool,
}

/// Machines that there is an image for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Board {
    QemuVirt,
    SbsaRef,
}

impl Board {
    /// The crate, and the binary in it.
    fn package(self) -> &'static str {
        match self {
            Self::QemuVirt => "qemu-virt",
            Self::SbsaRef => "sbsa-ref",
        }
    }
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.verb {
        Verb::Build(common) => {
            println!("{}", build(common)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Run(run) => {
            let image = build(&run.common)?;
            let Some(words) = &run.append else {
                if run.common.board != Board::QemuVirt {
                    bail!("only qemu-virt has a virtio NIC for DPDK's vhost port: `--append WORDS` boots the others");
                }
                vhost::run(&image, run.load, run.common.yes)?;
                return Ok(ExitCode::SUCCESS);
            };
            let mut machine = qemu::Machine::of(run.common.board).append(words).boot(&image)?;
            let status = machine.wait(Some(Duration::from_secs(600)), |line| println!("{}", line.text))?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Size(common) => {
            let image = std::fs::read(build(common)?)?;
            // Feature by feature in one directory: the file is the last one's.
            let pair = build_with(&Toolchain::find(|_| Ok(()))?, common.board, &["--features", "pair"])?;
            size::run(&image, &pair)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test(args) => {
            test::run(args.common.board, &build(&args.common)?, args.case.as_deref(), args.verbose)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Installs what is missing and builds the board's image.
fn build(common: &Common) -> Result<PathBuf> {
    let toolchain = Toolchain::find(|packages| setup::install_missing(packages, common.yes))?;
    setup::install_missing(crate::packages::EMULATOR, common.yes)?;
    build_with(&toolchain, common.board, &[])
}

fn build_with(toolchain: &Toolchain, board: Board, features: &[&str]) -> Result<PathBuf> {
    let dir = cargo::target_dir().join("dpu");
    let mut command = toolchain.cargo(&["build", "--profile", "image", "-p", board.package()]);
    command.args(features).arg("--target-dir").arg(&dir);
    let status = command.status()?;
    if !status.success() {
        bail!("the image of {} does not build ({status})", board.package());
    }
    Ok(dir.join(toolchain::TARGET).join("image").join(board.package()))
}
