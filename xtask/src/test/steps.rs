//! The steps of `cargo xtask test`, in the order in which a failure tells most.

use std::env;
use std::process::Command;

use anyhow::Result;

use super::licences;
use super::runner::{Outcome, Runner};
use crate::arm;
use crate::bench;
use crate::cargo::{cargo, cargo_of, host_triple, target_dir};
use crate::process;
use crate::sim;

/// One step.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it needs what `setup` installs and reserves.
    pub(crate) needs_setup: bool,
    pub(crate) run: fn(&mut Runner) -> Result<Outcome>,
}

const fn step(name: &'static str, about: &'static str, run: fn(&mut Runner) -> Result<Outcome>) -> Step {
    Step { name, about, needs_setup: false, run }
}

const fn dpdk_step(name: &'static str, about: &'static str, run: fn(&mut Runner) -> Result<Outcome>) -> Step {
    Step { name, about, needs_setup: true, run }
}

/// All of them.
pub(crate) const STEPS: &[Step] = &[
    step("fmt", "source is formatted", fmt),
    step("licences", "dependencies' licences and sources are those that deny.toml allows", licences),
    step("clippy", "no lint warns, without DPDK", clippy),
    dpdk_step("clippy-dpdk", "no lint warns in what uses DPDK", clippy_dpdk),
    step("features", "luna-core and luna-dpu with and without each of their features", features),
    dpdk_step("tests", "unit, property and system tests that need no DPDK", tests),
    step("scripts", "packet scripts, counted by RFC", scripts),
    step("sim", "the simulator: whole stacks over a network that misbehaves, three thousand seeds", simulation),
    step("cycles", "cycles by stage of the loop: exact with a counter by hand, and as the command prints them", cycles),
    step("doc-tests", "examples in the documentation", doc_tests),
    dpdk_step("tests-dpdk", "tests over DPDK ports: memif, virtio_user, AF_XDP", tests_dpdk),
    dpdk_step("arm-linux", "luna-host for Linux on ARM: unit tests and an RPC run under QEMU's user mode", arm_linux),
    step("doc", "documentation builds without a warning", doc),
    step("no-alloc", "luna-core links and runs without an allocator", no_alloc),
    step("loom", "the return list and the pair's ring in every interleaving of threads (loom)", loom),
    step("asan", "luna-core's tests under AddressSanitizer (nightly)", asan),
    dpdk_step("valgrind", "luna-core's Zbuf tests under Valgrind", valgrind),
    dpdk_step("dpu", "images without an operating system, in QEMU, against luna-host", dpu),
    step("benches", "every bench compiles and runs once", benches),
    dpdk_step("instructions", "instructions per RPC stay within their budgets and beside smoltcp's", instructions),
];

/// The packages whose code depends on DPDK, and the features that say so. Without luna-tests' own, cargo leaves out its
/// DPDK tests without a word.
const DPDK: [&str; 8] =
    ["-p", "dpdk-sys", "-p", "luna-host", "-p", "luna-tests", "--features", "luna-host/dpdk,luna-tests/dpdk"];

fn fmt(runner: &mut Runner) -> Result<Outcome> {
    if !component("fmt") {
        return Ok(Outcome::Skipped("rustfmt is not installed (rustup component add rustfmt)".into()));
    }
    runner.run(cargo(&["fmt", "--all", "--check"]))?;
    Ok(Outcome::Done)
}

fn licences(runner: &mut Runner) -> Result<Outcome> {
    licences::check(runner)?;
    Ok(Outcome::Done)
}

fn clippy(runner: &mut Runner) -> Result<Outcome> {
    clippy_with(runner, &[])
}

fn clippy_dpdk(runner: &mut Runner) -> Result<Outcome> {
    clippy_with(runner, &DPDK)
}

fn clippy_with(runner: &mut Runner, selection: &[&str]) -> Result<Outcome> {
    if !component("clippy") {
        return Ok(Outcome::Skipped("clippy is not installed (rustup component add clippy)".into()));
    }
    let args = [&["clippy", "--all-targets"], selection, &["--", "-D", "warnings"]].concat();
    runner.run(cargo(&args))?;
    Ok(Outcome::Done)
}

/// What `whole` stands for in luna-core and in luna-dpu.
const CORE_PARTS: &[&str] = &["ipv6", "controllers", "cookies", "foreign", "leads", "tso"];
const DPU_PARTS: &[&str] = &["dhcp", "ipv6", "packed", "loss", "reports"];

fn features(runner: &mut Runner) -> Result<Outcome> {
    let off = ["--lib", "--no-default-features", "--features"];
    for features in ["log", "defmt"] {
        runner.run(cargo(&[&["check", "-p", "luna-core"], &off[..], &[features]].concat()))?;
    }
    // The parts that images leave out: without any, without one, with one. Tests of a part that is not there are ignored.
    for (package, parts) in [("luna-core", CORE_PARTS), ("luna-dpu", DPU_PARTS)] {
        let left_out = [parts, &["client", "whole"]].concat();
        runner.run_tests_without(&left_out, cargo(&["test", "-p", package, "--lib", "--no-default-features"]))?;
        for part in parts {
            let rest: Vec<_> = parts.iter().filter(|p| *p != part).copied().collect();
            for features in [part, rest.join(",").as_str()] {
                let check = ["clippy", "--tests", "-p", package];
                let deny = ["--", "-D", "warnings"];
                runner.run(cargo(&[&check[..], &off[..], &[features], &deny[..]].concat()))?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn tests(runner: &mut Runner) -> Result<Outcome> {
    // Tests that need root are `#[ignore]`d for a plain `cargo test` and included here.
    runner.run_tests(cargo(&[
        "test",
        "--no-fail-fast",
        "--lib",
        "--bins",
        "--tests",
        "--examples",
        "--",
        "--include-ignored",
    ]))?;
    Ok(Outcome::Done)
}

fn scripts(runner: &mut Runner) -> Result<Outcome> {
    runner.run_tests(cargo(&["test", "-p", "luna-tests", "--test", "scripts"]))?;
    Ok(Outcome::Done)
}

fn simulation(runner: &mut Runner) -> Result<Outcome> {
    runner.run(sim::simulator(&["--seeds", &sim::SEEDS_FOR_TEST.to_string()]))?;
    Ok(Outcome::Done)
}

fn cycles(runner: &mut Runner) -> Result<Outcome> {
    let selection = ["-p", "luna-core", "-p", "luna-host", "--features", "luna-core/cycles,luna-host/cycles"];
    let args = [&["clippy", "--all-targets"], &selection[..], &["--", "-D", "warnings"]].concat();
    runner.run(cargo(&args))?;
    // A filter: what the feature does not touch was tested without it.
    runner.run_tests(cargo(&[&["test", "--lib", "--tests"], &selection[..], &["--", "cycles"]].concat()))?;
    Ok(Outcome::Done)
}

fn doc_tests(runner: &mut Runner) -> Result<Outcome> {
    runner.run(cargo(&["test", "--no-fail-fast", "--doc"]))?;
    Ok(Outcome::Done)
}

fn tests_dpdk(runner: &mut Runner) -> Result<Outcome> {
    // The system tests run the command itself.
    runner.run(cargo(&[&["build"], &DPDK[..], &["--bin", "luna"]].concat()))?;
    // One at a time: hugepages, namespaces and the two cores are shared.
    let targets = ["test", "--no-fail-fast", "--lib", "--bins", "--tests"];
    let args = [&targets, &DPDK[..], &["--", "--include-ignored", "--test-threads=1"]].concat();
    runner.run_tests(cargo(&args))?;
    runner.run(cargo(&["test", "--no-fail-fast", "--doc", "-p", "luna-host", "--features", "dpdk"]))?;
    let mut interrupted = cargo(&["test", "-p", "xtask", "--features", "system", "--test", "interrupt"]);
    interrupted.env("LUNA_BINARY", target_dir().join("debug/luna"));
    runner.run_tests(interrupted)?;
    Ok(Outcome::Done)
}

fn arm_linux(runner: &mut Runner) -> Result<Outcome> {
    // `setup` said what it installs; this says what it adds to that.
    let kit = arm::Kit::prepare(true)?;
    runner.run_tests(kit.unit_tests())?;
    runner.run(kit.build())?;
    for command in kit.trials() {
        runner.run(command)?;
    }
    Ok(Outcome::Done)
}

fn doc(runner: &mut Runner) -> Result<Outcome> {
    let mut command = cargo(&["doc", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    runner.run(command)?;
    Ok(Outcome::Done)
}

fn no_alloc(runner: &mut Runner) -> Result<Outcome> {
    runner.run(cargo(&["run", "-p", "luna-no-alloc", "--profile", "no-alloc"]))?;
    Ok(Outcome::Done)
}

fn loom(runner: &mut Runner) -> Result<Outcome> {
    // A target directory of its own: the flag would make cargo rebuild everything in the common one.
    let dir = target_dir().join("loom");
    let mut command =
        cargo(&["test", "-p", "luna-core", "--lib", "--target-dir", &dir.to_string_lossy(), "loom_tests"]);
    command.env("RUSTFLAGS", "--cfg loom");
    runner.run_tests(command)?;
    Ok(Outcome::Done)
}

fn asan(runner: &mut Runner) -> Result<Outcome> {
    let probe = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return Ok(Outcome::Skipped("no nightly toolchain (rustup toolchain install nightly)".into()));
    }
    // A target directory of its own: these flags would make cargo rebuild everything in the common one.
    let dir = target_dir().join("asan");
    let mut command = cargo_of(
        "nightly",
        &["test", "-p", "luna-core", "--lib", "--target", &host_triple()?, "--target-dir", &dir.to_string_lossy()],
    );
    // The tests' regions live as long as the program by intention; that is no leak of luna-core's.
    command.env("RUSTFLAGS", "-Zsanitizer=address").env("ASAN_OPTIONS", "detect_leaks=0").env("PROPTEST_CASES", "64");
    runner.run_tests(command)?;
    Ok(Outcome::Done)
}

fn valgrind(runner: &mut Runner) -> Result<Outcome> {
    let triple = host_triple()?.replace('-', "_").to_uppercase();
    let mut command = cargo(&["test", "-p", "luna-core", "--lib", "zbuf"]);
    command.env(format!("CARGO_TARGET_{triple}_RUNNER"), "valgrind --quiet --error-exitcode=99 --leak-check=no");
    // Valgrind is some thirty times slower.
    command.env("PROPTEST_CASES", "16");
    runner.run_tests(command)?;
    Ok(Outcome::Done)
}

fn dpu(runner: &mut Runner) -> Result<Outcome> {
    runner.run(cargo(&["xtask", "dpu", "clippy", "--yes"]))?;
    for board in ["qemu-virt", "sbsa-ref"] {
        runner.run_tests(cargo(&["xtask", "dpu", "test", "--yes", "--board", board]))?;
    }
    Ok(Outcome::Done)
}

fn benches(runner: &mut Runner) -> Result<Outcome> {
    let args = [&["bench"], bench::CRITERION, &["--", "--test"]].concat();
    runner.run_tests(cargo(&args))?;
    Ok(Outcome::Done)
}

fn instructions(runner: &mut Runner) -> Result<Outcome> {
    runner.run(bench::instructions(&["--test"]))?;
    Ok(Outcome::Done)
}

fn component(subcommand: &str) -> bool {
    let program = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    process::output(&program, &[subcommand, "--version"]).is_ok()
}
