//! `cargo xtask arm build|test`: luna-host for Linux on ARM cores, which is how a DPU that runs Linux (BlueField and others)
//! uses Luna: DPDK's drivers for its NIC come with Debian's arm64 DPDK. Built here, run under QEMU's user mode.

mod sysroot;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::cargo;
use crate::dpu::toolchain::{LINUX, Toolchain};
use crate::{packages, setup};

/// Options of `arm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Build the `luna` command, and say where it is
    Build(Common),
    /// Run luna-host's unit tests, and RPCs over the in-memory pair
    Test(Common),
}

#[derive(clap::Args)]
struct Common {
    /// Do not ask before installing
    #[arg(long)]
    yes: bool,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let succeed = |mut command: Command| -> Result<()> {
        let status = command.status()?;
        if !status.success() {
            bail!("{:?} ended with {status}", command.get_program());
        }
        Ok(())
    };
    match &args.verb {
        Verb::Build(common) => {
            let kit = Kit::prepare(common.yes)?;
            succeed(kit.build())?;
            println!("{}", kit.luna().display());
        }
        Verb::Test(common) => {
            let kit = Kit::prepare(common.yes)?;
            succeed(kit.unit_tests())?;
            succeed(kit.build())?;
            for command in kit.trials() {
                succeed(command)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All that building for and running as an ARM machine takes.
pub(crate) struct Kit {
    toolchain: Toolchain,
    sysroot: PathBuf,
}

const PACKAGE: &[&str] = &["-p", "luna-host", "--features", "dpdk"];

impl Kit {
    /// Installs what is missing, and unpacks the ARM machine's libraries.
    pub(crate) fn prepare(yes: bool) -> Result<Self> {
        setup::install_missing(packages::ARM_LINUX, yes)?;
        let toolchain = Toolchain::find_for(&LINUX, |packages| setup::install_missing(packages, yes))?;
        let sysroot = sysroot::prepare(&dir())?;
        Ok(Self { toolchain, sysroot })
    }

    /// Builds the command.
    pub(crate) fn build(&self) -> Command {
        self.cargo(&[&["build", "--bin", "luna"], PACKAGE].concat())
    }

    /// luna-host's unit tests, on the emulated machine, without those of what QEMU's user mode does not translate: joining
    /// netlink's multicast groups, and EAL's hugepages (that test runs natively, with the others of DPDK).
    pub(crate) fn unit_tests(&self) -> Command {
        let mut command = self.cargo(&[&["test", "--lib", "--bins"], PACKAGE].concat());
        command.args(["--", "--skip", "neighbor::tests::nobody_at_an_address_is_found_within_patience"]);
        command.args(["--skip", "dpdk::mempool::tests::the_mempool_is_a_view_of_the_free_list"]);
        command
    }

    /// RPCs by the command on the emulated machine, over the in-memory pair.
    pub(crate) fn trials(&self) -> [Command; 1] {
        let knbench = |args: &[&str]| {
            let mut command = Command::new("qemu-aarch64");
            command.arg("-L").arg(&self.sysroot).arg(self.luna()).arg("knbench").args(args);
            command
        };
        [knbench(&["--duration", "2s", "--size", "4096", "--iodepth", "16"])]
    }

    /// Where the command is, once built.
    pub(crate) fn luna(&self) -> PathBuf {
        dir().join("target").join(LINUX.triple).join("debug/luna")
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let sysroot = self.sysroot.display();
        let libs = self.sysroot.join("usr/lib/aarch64-linux-gnu");
        let mut command = self.toolchain.cargo(args);
        command.arg("--target-dir").arg(dir().join("target"));
        let config = format!("{}:{sysroot}/usr/share/pkgconfig", libs.join("pkgconfig").display());
        command.env("PKG_CONFIG_SYSROOT_DIR", &self.sysroot).env("PKG_CONFIG_LIBDIR", config);
        command.env("BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu", format!("--sysroot={sysroot}"));
        command.env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
        command.env("CFLAGS_aarch64_unknown_linux_gnu", format!("--sysroot={sysroot}"));
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
        let flags = format!(
            "-Clink-arg=--sysroot={sysroot} -Clink-arg=-Wl,-rpath-link,{}:{sysroot}/lib/aarch64-linux-gnu",
            libs.display()
        );
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", format!("qemu-aarch64 -L {sysroot}"));
        command
    }
}

fn dir() -> PathBuf {
    cargo::target_dir().join("arm")
}
