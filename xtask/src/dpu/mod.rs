//! `cargo xtask dpu build|run|test`: images of boards, in QEMU.

mod qemu;
pub(crate) mod toolchain;

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
    /// Build an image, boot it, and show what it says
    Run(Run),
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
    /// What the device tree's `chosen` node hands to the image
    #[arg(long, value_name = "ARGS", default_value = "")]
    append: String,
}

/// Machines that there is an image for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Board {
    QemuVirt,
}

impl Board {
    /// The crate, and the binary in it.
    fn package(self) -> &'static str {
        match self {
            Self::QemuVirt => "qemu-virt",
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
            let mut machine = qemu::Machine::virt().append(&run.append).boot(&image)?;
            let status = machine.wait(Some(Duration::from_secs(600)), |line| println!("{}", line.text))?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Installs what is missing and builds the board's image.
fn build(common: &Common) -> Result<PathBuf> {
    let toolchain = Toolchain::find(|packages| setup::install_missing(packages, common.yes))?;
    setup::install_missing(crate::packages::EMULATOR, common.yes)?;
    build_with(&toolchain, common.board)
}

fn build_with(toolchain: &Toolchain, board: Board) -> Result<PathBuf> {
    let dir = cargo::target_dir().join("dpu");
    let mut command = toolchain.cargo(&["build", "--profile", "image", "-p", board.package()]);
    command.arg("--target-dir").arg(&dir);
    let status = command.status()?;
    if !status.success() {
        bail!("the image of {} does not build ({status})", board.package());
    }
    Ok(dir.join(toolchain::TARGET).join("image").join(board.package()))
}
