//! What Luna's DPDK parts and tests need from the distribution, found by what is there (not by who installed it), and
//! installed by apt where apt is.

use core::time::Duration;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, Process};
use crate::progress::Progress;

#[cfg(test)]
mod tests;

/// How to see that a package's content is there.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// A program in the search path (or where system programs live).
    Program(&'static str),
    /// A library that pkg-config knows.
    PkgConfig(&'static str),
    /// A file whose name starts so, in one of the library directories or LLVM's.
    Library(&'static str),
    /// A file.
    File(&'static str),
}

/// A Debian package and why it is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requirement {
    pub(crate) package: &'static str,
    pub(crate) reason: &'static str,
    probe: Probe,
}

const fn need(package: &'static str, reason: &'static str, probe: Probe) -> Requirement {
    Requirement { package, reason, probe }
}

/// pkg-config first: other probes use it.
const REQUIREMENTS: &[Requirement] = &[
    need("pkg-config", "finds DPDK at build time", Probe::Program("pkg-config")),
    need("gcc", "compiles the wrappers of DPDK's inline functions", Probe::Program("cc")),
    need("libdpdk-dev", "DPDK 22.11 or newer", Probe::PkgConfig("libdpdk")),
    need("libclang-dev", "reads DPDK's headers (bindgen)", Probe::Library("libclang")),
    need("clang", "compiles the XDP program", Probe::Program("clang")),
    need("libbpf-dev", "loads the XDP program", Probe::PkgConfig("libbpf")),
    need("iproute2", "makes network namespaces", Probe::Program("ip")),
    need("ethtool", "turns veth offloads off", Probe::Program("ethtool")),
    need("iputils-ping", "asks the kernel for echo replies", Probe::Program("ping")),
    need("nftables", "drops packets at random in the interop tests", Probe::Program("nft")),
    need("python3", "the kernel TCP peers of the interop tests", Probe::Program("python3")),
    need("valgrind", "memory checks and instruction counts", Probe::Program("valgrind")),
];

/// What boots images of boards. Tools of another version than the machine's would be removed, hence together.
pub(crate) const EMULATOR: &[Requirement] = &[
    need("qemu-system-arm", "the machines that images boot on", Probe::Program("qemu-system-aarch64")),
    need("qemu-utils", "QEMU's tools, of the same version", Probe::Program("qemu-img")),
];

/// What builds images where rustup cannot have the target.
pub(crate) const CROSS_COMPILER: &[Requirement] = &[
    need("rustc-web", "a compiler with sources for its `core`", Probe::File("/usr/bin/rustc")),
    need("cargo-web", "its cargo", Probe::File("/usr/bin/cargo")),
    need("rust-web-src", "the sources", Probe::File("/usr/lib/rustlib/src/rust/library/core/Cargo.toml")),
    need("lld", "a linker for every target", Probe::Program("ld.lld")),
];

/// What lints with that compiler.
pub(crate) const CROSS_LINTER: &[Requirement] =
    &[need("rust-web-clippy", "lints for that compiler", Probe::File("/usr/bin/cargo-clippy"))];

/// What builds and runs programs for Linux on ARM.
pub(crate) const ARM_LINUX: &[Requirement] = &[
    need("gcc-aarch64-linux-gnu", "compiles and links for ARM", Probe::Program("aarch64-linux-gnu-gcc")),
    need("qemu-user", "runs programs for ARM", Probe::Program("qemu-aarch64")),
    need("pkg-config", "finds DPDK at build time", Probe::Program("pkg-config")),
    need("libclang-dev", "reads DPDK's headers (bindgen)", Probe::Library("libclang")),
    need("clang", "compiles the XDP program", Probe::Program("clang")),
    need("libbpf-dev", "headers of the XDP program", Probe::PkgConfig("libbpf")),
];

/// What is not there.
pub(crate) fn missing() -> Vec<Requirement> {
    missing_of(REQUIREMENTS)
}

/// What of `requirements` is not there.
pub(crate) fn missing_of(requirements: &[Requirement]) -> Vec<Requirement> {
    requirements.iter().copied().filter(|requirement| !present(requirement.probe)).collect()
}

fn present(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => program(name),
        Probe::PkgConfig(name) => process::output("pkg-config", &["--exists", name]).is_ok(),
        Probe::Library(prefix) => library_dirs().iter().any(|dir| holds(Path::new(dir), prefix)),
        Probe::File(path) => Path::new(path).is_file(),
    }
}

fn program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(name).is_file())
}

fn library_dirs() -> Vec<String> {
    let triple_dir = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let llvm = (11..40).rev().map(|version| format!("/usr/lib/llvm-{version}/lib"));
    let from_env = env::var("LIBCLANG_PATH").ok();
    from_env.into_iter().chain(llvm).chain([triple_dir, "/usr/lib64".into(), "/usr/lib".into()]).collect()
}

fn holds(dir: &Path, prefix: &str) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        // `libclang.so`, `libclang-14.so`; not `libclang-cpp.so`, which has no C interface.
        name.starts_with(prefix) && name.contains(".so") && !name.contains("-cpp")
    })
}

/// Whether apt is this system's package manager.
pub(crate) fn is_debian_like() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| os_release_is_debian(&text))
}

fn os_release_is_debian(text: &str) -> bool {
    text.lines().filter_map(|line| line.split_once('=')).any(|(key, value)| {
        let value = value.trim_matches('"');
        matches!(key, "ID" | "ID_LIKE") && value.split(' ').any(|id| id == "debian" || id == "ubuntu")
    })
}

/// Installs `packages` with apt-get; the caller has said so before, and is root.
pub(crate) fn install(packages: &[Requirement]) -> Result<()> {
    let mut updated = false;
    if !lists_present(Path::new("/var/lib/apt/lists")) {
        apt(&["update"])?;
        updated = true;
    }
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages.iter().map(|requirement| requirement.package));
    // Old lists name versions that the mirrors have dropped: fetch new ones and try again, once.
    if let Err(error) = apt(&args) {
        crate::interrupt::check()?;
        if updated {
            return Err(error);
        }
        eprintln!("{error:#}\nwith fresh package lists again:");
        apt(&["update"])?;
        apt(&args)?;
    }
    let still: Vec<&str> = missing_of(packages).iter().map(|requirement| requirement.package).collect();
    if !still.is_empty() {
        bail!("apt-get succeeded, yet what these packages bring is still missing: {}", still.join(" "));
    }
    Ok(())
}

fn lists_present(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn apt(args: &[&str]) -> Result<()> {
    let label = format!("apt-get {}", args.join(" "));
    let mut progress = Progress::start(&label);
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=120", "-q"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    let mut process = Process::spawn_merged("apt-get", command).context("apt-get is needed to install packages")?;
    let status = process.wait(Some(Duration::from_secs(1800)), |line| progress.note(&line.text))?;
    if !status.success() {
        bail!("`{label}` failed ({status}):\n{}", process.tail(15));
    }
    progress.finish("done");
    Ok(())
}
