//! `cargo xtask dpu build|run|test|size`: images of boards, in QEMU.

mod account;
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
    Build(Build),
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
struct Build {
    #[command(flatten)]
    common: Common,
    /// The smallest image that serves, of qemu-virt: what it lacks is in boards/README.md
    #[arg(long)]
    small: bool,
}

#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    /// Boot without a network, with these words for the image
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    /// How the image logs: as text, or as defmt frames that are decoded here
    #[arg(long, default_value = "text")]
    log: Log,
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

/// What an image's UART carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Log {
    Text,
    Defmt,
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
        Verb::Build(Build { common, small }) => {
            let variant = if *small { Variant::Small } else { Variant::Full };
            println!("{}", build_as(common, variant)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Run(run) => {
            let decoder = if run.log == Log::Defmt { Some(build_decoder(run.common.board)?) } else { None };
            let decoder = decoder.as_deref();
            let variant = match (run.append.is_some(), decoder.is_some()) {
                (false, false) => Variant::Serve,
                (false, true) => Variant::ServeDefmt,
                (true, false) => Variant::Full,
                (true, true) => Variant::Defmt,
            };
            let image = build_as(&run.common, variant)?;
            let Some(words) = &run.append else {
                let image = exchange::Booted { image: &image, decoder };
                run::run(run.common.board, image, &run.load, run.common.yes)?;
                return Ok(ExitCode::SUCCESS);
            };
            let machine = qemu::Machine::of(run.common.board).append(words).decoded_by(decoder);
            let mut machine = machine.boot(&image)?;
            let status = machine.wait(Some(Duration::from_secs(600)), |line| println!("{}", line.text))?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Clippy(common) => {
            let toolchain = Toolchain::find(|packages| setup::install_missing(packages, common.yes))?;
            if !toolchain.is_ours() {
                setup::install_missing(crate::packages::CROSS_LINTER, common.yes)?;
            }
            let dir = cargo::target_dir().join("dpu");
            let (whole, small): (&[&str], &[&str]) = (&["-p", "sbsa-ref"], &["--no-default-features"]);
            for more in [whole, small] {
                let mut command = toolchain.cargo(&["clippy", "-p", "luna-dpu", "-p", "qemu-virt"]);
                command.args(more).arg("--target-dir").arg(&dir).args(["--", "-D", "warnings"]);
                if !command.status()?.success() {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Size(common) => {
            let images = [Variant::Small, Variant::Serve].map(|v| build_as(common, v));
            let pairs = [Variant::SmallPair, Variant::Pair].map(|v| build_as(common, v));
            let ([small, whole], [small_pair, whole_pair]) = (images, pairs);
            size::run([&small?, &whole?], [&small_pair?, &whole_pair?])?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test(args) => {
            let common = &args.common;
            let (small, defmt) = match common.board {
                Board::QemuVirt => (
                    Some(build_as(common, Variant::Small)?),
                    Some((build_as(common, Variant::Defmt)?, build_decoder(common.board)?)),
                ),
                Board::SbsaRef => (None, None),
            };
            let images = test::Images { small, serve: build_as(common, Variant::Serve)?, defmt, full: build(common)? };
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
    /// The echo service alone, with all that it may need.
    Serve,
    /// The echo service and no more than it needs.
    Small,
    /// Two nodes on one core without a device, for what requests cost.
    Pair,
    /// The same of what is in the small image.
    SmallPair,
    /// As `Full`, with log lines as defmt frames.
    Defmt,
    /// As `Serve`, likewise.
    ServeDefmt,
}

impl Variant {
    fn cargo_args(self) -> &'static [&'static str] {
        match self {
            Self::Full => &[],
            Self::Serve => &["--no-default-features", "--features", "whole"],
            Self::Small => &["--no-default-features"],
            Self::Pair => &["--features", "pair"],
            Self::SmallPair => &["--no-default-features", "--features", "pair"],
            Self::Defmt => &["--features", "defmt"],
            Self::ServeDefmt => &["--no-default-features", "--features", "whole,defmt"],
        }
    }

    const fn is_small(self) -> bool {
        matches!(self, Self::Small | Self::SmallPair)
    }

    /// The profile, whose name is also its directory's.
    const fn profile(self) -> &'static str {
        if self.is_small() { "small-image" } else { "image" }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Serve => "-serve",
            Self::Small => "-small",
            Self::Pair => "-pair",
            Self::SmallPair => "-small-pair",
            Self::Defmt => "-defmt",
            Self::ServeDefmt => "-serve-defmt",
        }
    }

    /// What the compiler is told by the environment.
    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Every level; where a line is in the source is known by its variable.
            Self::Defmt | Self::ServeDefmt => &[("DEFMT_LOG", "debug"), ("CARGO_PROFILE_IMAGE_DEBUG", "2")],
            _ => &[],
        }
    }
}

/// What makes lines of the frames that the board's image logs.
fn build_decoder(board: Board) -> Result<PathBuf> {
    if board == Board::SbsaRef {
        bail!(
            "sbsa-ref logs in plain text: its code at 1 TiB does not reach defmt's symbols, which are numbers near 0"
        );
    }
    let status = cargo::cargo(&["build", "--quiet", "-p", "xtask-defmt"]).status()?;
    if !status.success() {
        bail!("the decoder of defmt frames does not build ({status})");
    }
    Ok(cargo::target_dir().join("debug/xtask-defmt"))
}

/// Installs what is missing and builds the board's image.
fn build(common: &Common) -> Result<PathBuf> {
    build_as(common, Variant::Full)
}

fn build_as(common: &Common, variant: Variant) -> Result<PathBuf> {
    let install = |packages: &[crate::packages::Requirement]| setup::install_missing(packages, common.yes);
    let toolchain = if variant.is_small() { Toolchain::find_with_sources(install)? } else { Toolchain::find(install)? };
    setup::install_missing(crate::packages::EMULATOR, common.yes)?;
    let (dir, package) = (cargo::target_dir().join("dpu"), common.board.package());
    // A panic is a breakpoint where it happens, which the exception's report gives the address of: `addr2line` tells the
    // line. Without that each place that may panic takes the code that says so.
    let flags = if variant.is_small() { " -Zunstable-options -Cpanic=immediate-abort" } else { "" };
    let mut command = toolchain.cargo_with(&["build", "--profile", variant.profile(), "-p", package], flags);
    command.args(variant.cargo_args()).arg("--target-dir").arg(&dir);
    if variant.is_small() {
        command.arg("-Zbuild-std-features=optimize_for_size");
    }
    command.envs(variant.environment().iter().copied());
    let status = command.status()?;
    if !status.success() {
        bail!("the image of {package} does not build ({status})");
    }
    let dir = dir.join(toolchain::TARGET).join(variant.profile());
    let built = dir.join(package);
    if variant == Variant::Full {
        return Ok(built);
    }
    // The next variant takes the file's place.
    let kept = dir.join(format!("{package}{}", variant.suffix()));
    std::fs::copy(&built, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    Ok(kept)
}
