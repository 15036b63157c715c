//! Luna's build driver: `cargo xtask setup | demo | test | linux | bench | sim | fig16 | arm | dpu`.
//!
//! One file per verb; what they share is beside them: child processes that never outlive us (`process`), the
//! machine's state that we change and give back (`hugepages`, `netns`, `packages`), progress (`progress`).
//! Absent on purpose: any knowledge of Luna's insides. The driver sees the `luna` command and cargo, as a user does.

mod arm;
mod bench;
mod cargo;
mod demo;
mod dpu;
mod fig16;
mod hugepages;
mod interrupt;
mod linux;
mod netns;
mod packages;
mod process;
mod progress;
mod setup;
mod sim;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Luna's build driver.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing, reserve hugepages; `--undo` gives the hugepages back
    Setup(setup::Args),
    /// See a file and a 4 KiB RPC workload cross Luna over DPDK ports, beside kernel TCP
    Demo(demo::Args),
    /// Run every test there is
    Test(test::Args),
    /// Linux's TCP as the other end: every case, and the goodput under loss (`--runs 9`)
    Linux(linux::Args),
    /// Measure Luna beside the kernel, smoltcp and its ports' limit: one HTML report (`--quick`: two minutes)
    Bench(bench::Args),
    /// Run the deterministic simulator over many seeds, or one of them with its packet log
    Sim(sim::Args),
    /// Compare the congestion controllers in the simulator, as the paper's Figure 16: tables and a picture
    Fig16(fig16::Args),
    /// Build luna-host for Linux on ARM cores, with Debian's arm64 DPDK, and test it under QEMU's user mode
    Arm(arm::Args),
    /// Build, boot and test images of boards: Luna without an operating system, in QEMU
    Dpu(dpu::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = interrupt::install() {
        eprintln!("error: cannot install signal handlers: {error}");
        return ExitCode::FAILURE;
    }
    let outcome = match cli.verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Linux(args) => linux::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Sim(args) => sim::run(&args),
        Verb::Fig16(args) => fig16::run(&args),
        Verb::Arm(args) => arm::run(&args),
        Verb::Dpu(args) => dpu::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if error.is::<interrupt::Interrupted>() => {
            eprintln!("interrupted; everything was given back");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
