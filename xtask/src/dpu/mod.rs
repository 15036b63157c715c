//! `cargo xtask dpu build|run|test|size`: images of boards, in QEMU.

mod exchange;
mod qemu;
mod run;
mod size;
mod tap;
mod test;
pub(crate) mod toolchain;

use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

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
    /// Boot an image and let luna-host call it over DPDK's vhost port, and the kernel over a tap; with `--append`, only boot it
    Run(Run),
    /// Boot an image in every way there is, against luna-host's RPC service and benchmark
    Test(Test),
    /// Lint what only images have in them
    Clippy(Common),
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
    load: run::Load,
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
            let Some(words) = &run.append else {
                let image = build_as(&run.common, Variant::Serve)?;
                run::run(run.common.board, &image, &run.load, run.common.yes)?;
                return Ok(ExitCode::SUCCESS);
            };
            let image = build(&run.common)?;
            let mut machine = qemu::Machine::of(run.common.board).append(words).boot(&image)?;
            let status = machine.wait(Some(Duration::from_secs(600)), |line| println!("{}", line.text))?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Clippy(common) => {
            let toolchain = Toolchain::find(|packages| setup::install_missing(packages, common.yes))?;
            if !toolchain.is_ours() {
                setup::install_missing(crate::packages::CROSS_LINTER, common.yes)?;
            }
            let dir = cargo::target_dir().join("dpu");
            let mut command = toolchain.cargo(&["clippy", "-p", "luna-dpu", "-p", "qemu-virt", "-p", "sbsa-ref"]);
            command.arg("--target-dir").arg(&dir).args(["--", "-D", "warnings"]);
            let status = command.status()?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Size(common) => {
            let image = std::fs::read(build_as(common, Variant::Serve)?)?;
            size::run(&image, &build_as(common, Variant::Pair)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test(args) => {
            let common = &args.common;
            let images = test::Images { serve: build_as(common, Variant::Serve)?, full: build(common)? };
            test::run(common.board, &images, args.case.as_deref(), args.verbose, common.yes)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What an image has in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variant {
    /// The echo service and the benchmark's client.
    Full,
    /// The echo service alone.
    Serve,
    /// Two nodes on one core without a device, for what requests cost.
    Pair,
}

impl Variant {
    fn cargo_args(self) -> &'static [&'static str] {
        match self {
            Self::Full => &[],
            Self::Serve => &["--no-default-features"],
            Self::Pair => &["--features", "pair"],
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Serve => "-serve",
            Self::Pair => "-pair",
        }
    }
}

/// Installs what is missing and builds the board's image.
fn build(common: &Common) -> Result<PathBuf> {
    build_as(common, Variant::Full)
}

fn build_as(common: &Common, variant: Variant) -> Result<PathBuf> {
    let toolchain = Toolchain::find(|packages| setup::install_missing(packages, common.yes))?;
    setup::install_missing(crate::packages::EMULATOR, common.yes)?;
    let (dir, package) = (cargo::target_dir().join("dpu"), common.board.package());
    let mut command = toolchain.cargo(&["build", "--profile", "image", "-p", package]);
    command.args(variant.cargo_args()).arg("--target-dir").arg(&dir);
    let status = command.status()?;
    if !status.success() {
        bail!("the image of {package} does not build ({status})");
    }
    let dir = dir.join(toolchain::TARGET).join("image");
    let built = dir.join(package);
    if variant == Variant::Full {
        return Ok(built);
    }
    // The next variant takes the file's place.
    let kept = dir.join(format!("{package}{}", variant.suffix()));
    std::fs::copy(&built, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    Ok(kept)
}
