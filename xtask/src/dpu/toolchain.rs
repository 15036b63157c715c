//! A Rust toolchain for aarch64, with an operating system and without: rustup's when that can have the target, else
//! Debian's, called by its path and building the standard library itself. Neither changes what the user's `cargo` is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, cargo_at, host_triple, sysroot};
use crate::packages::{self, Requirement};
use crate::process;

/// What images are built for: with floating point and NEON.
pub(crate) const TARGET: &str = "aarch64-unknown-none";

/// What code is built for.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) triple: &'static str,
    /// What of the standard library is built from its sources where it does not come with the compiler.
    std: &'static str,
    /// What the compiler may take for granted of processors.
    flags: &'static str,
}

/// Images of boards. CRC-32C is optional in Armv8.0 only, and there is no DPU's core without it.
const IMAGES: Target = Target { triple: TARGET, std: "core", flags: "-Ctarget-feature=+crc" };
/// Linux on ARM cores, BlueField's and others'. Whoever calls for it names the linker.
pub(crate) const LINUX: Target = Target { triple: "aarch64-unknown-linux-gnu", std: "std,test", flags: "" };

/// Debian's compiler for browsers: a recent one in a stable release.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// Needs no `core` of the target's own; the workspace's `rust-version`.
const OLDEST: (u32, u32) = (1, 95);

/// How to call cargo for the target.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The one that runs us has the target.
    Ours(&'static Target),
    /// The one that runs us builds the standard library from its sources.
    OurSources(&'static Target),
    /// Debian's builds the standard library from its sources; the linker (of images) is the path.
    Debian(&'static Target, PathBuf),
}

impl Toolchain {
    /// Finds one for images, or sets one up: `install` is asked for Debian packages.
    pub(crate) fn find(install: impl Fn(&[Requirement]) -> Result<()>) -> Result<Self> {
        Self::find_for(&IMAGES, install)
    }

    /// The same for another target.
    pub(crate) fn find_for(target: &'static Target, install: impl Fn(&[Requirement]) -> Result<()>) -> Result<Self> {
        let triple = target.triple;
        if has_target(triple)? {
            return Ok(Self::Ours(target));
        }
        // On a machine that reaches rustup's server this is the usual way, and all there is to do.
        let added = Command::new("rustup").args(["target", "add", triple]).output();
        if added.is_ok_and(|output| output.status.success()) && has_target(triple)? {
            return Ok(Self::Ours(target));
        }
        eprintln!("rustup cannot add {triple}: Debian's compiler builds its `{}`", target.std);
        Self::debian(target, install)
    }

    fn debian(target: &'static Target, install: impl Fn(&[Requirement]) -> Result<()>) -> Result<Self> {
        install(packages::CROSS_COMPILER)?;
        let version = process::output(DEBIAN_RUSTC, &["--version"])?;
        if !new_enough(&version) {
            bail!("{DEBIAN_RUSTC} is {}, older than 1.95: apt-get update && apt-get install rustc-web", version.trim());
        }
        Ok(Self::Debian(target, linker()?))
    }

    /// One that compiles the standard library as the image is compiled: one that comes compiled is for speed, and keeps the
    /// text of panics that nobody prints.
    pub(crate) fn find_with_sources(install: impl Fn(&[Requirement]) -> Result<()>) -> Result<Self> {
        let target = &IMAGES;
        if has_sources()? {
            return Ok(Self::OurSources(target));
        }
        let added = Command::new("rustup").args(["component", "add", "rust-src"]).output();
        if added.is_ok_and(|output| output.status.success()) && has_sources()? {
            return Ok(Self::OurSources(target));
        }
        eprintln!("rustup cannot add rust-src: Debian's compiler builds its `{}`", target.std);
        Self::debian(target, install)
    }

    /// Whether the target is the toolchain's that runs us.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// `cargo VERB ...` for the target.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        self.cargo_with(args, "")
    }

    /// The same, with flags of the compiler's beside the target's: each behind a space.
    pub(crate) fn cargo_with(&self, args: &[&str], more: &str) -> Command {
        let mut command = match self {
            Self::Ours(target) => {
                let mut command = cargo(args);
                command.args(["--target", target.triple]);
                command
            }
            Self::OurSources(target) => {
                let mut command = cargo(args);
                build_std(&mut command, target);
                command
            }
            Self::Debian(target, linker) => {
                let mut command = cargo_at(Path::new(DEBIAN_CARGO), args);
                build_std(&mut command, target);
                command.env("RUSTC", DEBIAN_RUSTC);
                command.env("CARGO_TARGET_AARCH64_UNKNOWN_NONE_LINKER", linker);
                command
            }
        };
        let (Self::Ours(target) | Self::OurSources(target) | Self::Debian(target, _)) = self;
        if !target.flags.is_empty() {
            let triple = target.triple.replace('-', "_").to_uppercase();
            command
                .env(format!("CARGO_TARGET_{triple}_RUSTFLAGS"), format!("{}{}{}", target.flags, more, short_paths()));
        }
        command
    }
}

/// Flags that leave out where this machine keeps crates from the file names that panics tell: they are in every image.
fn short_paths() -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let sources = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    let dirs = sources.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().to_str()?.to_owned()));
    // Flags are divided by spaces.
    dirs.filter(|dir| !dir.contains(' ')).map(|dir| format!(" --remap-path-prefix={dir}/=")).collect()
}

/// The standard library from its sources, which stable compilers do when they are told that they are not.
fn build_std(command: &mut Command, target: &Target) {
    command.arg(format!("-Zbuild-std={}", target.std)).args(["--target", target.triple]).env("RUSTC_BOOTSTRAP", "1");
}

fn has_sources() -> Result<bool> {
    Ok(sources_in(&sysroot()?))
}

fn sources_in(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}

fn has_target(triple: &str) -> Result<bool> {
    Ok(target_in(&sysroot()?, triple))
}

fn target_in(sysroot: &Path, triple: &str) -> bool {
    sysroot.join("lib/rustlib").join(triple).join("lib").is_dir()
}

fn new_enough(version: &str) -> bool {
    let number = version.split(' ').nth(1).unwrap_or_default();
    let mut parts = number.split('.').map_while(|part| part.parse().ok());
    parts.next().zip(parts.next()).is_some_and(|found: (u32, u32)| found >= OLDEST)
}

/// The linker that rustup's toolchain brings, else LLVM's.
fn linker() -> Result<PathBuf> {
    let bundled = sysroot()?.join("lib/rustlib").join(host_triple()?).join("bin/rust-lld");
    if bundled.is_file() {
        return Ok(bundled);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join("ld.lld")).find(|file| file.is_file());
    found.context("no linker for aarch64: neither rustup's rust-lld nor ld.lld (Debian package lld)")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command's arguments, and what of its environment was set.
    fn told(command: &Command) -> (Vec<String>, Vec<(String, String)>) {
        let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
        let set = command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?))));
        (command.get_args().map(text).collect(), set.collect())
    }

    fn value<'a>(set: &'a [(String, String)], name: &str) -> Option<&'a str> {
        set.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn each_toolchain_is_called_as_it_wants_to_be() {
        const FLAGS: &str = "CARGO_TARGET_AARCH64_UNKNOWN_NONE_RUSTFLAGS";
        let linker = PathBuf::from("/somewhere/rust-lld");
        for toolchain in
            [Toolchain::Ours(&IMAGES), Toolchain::OurSources(&IMAGES), Toolchain::Debian(&IMAGES, linker.clone())]
        {
            let command = toolchain.cargo_with(&["build", "-p", "x"], " -Cpanic=immediate-abort");
            let (args, set) = told(&command);
            assert_eq!(args[..3], ["build", "-p", "x"], "{toolchain:?}");
            assert_eq!(args.iter().skip_while(|a| *a != "--target").nth(1).unwrap(), TARGET);
            let flags = value(&set, FLAGS).unwrap();
            assert!(flags.starts_with("-Ctarget-feature=+crc -Cpanic=immediate-abort"), "{flags}");
            // The standard library is built where it does not come along, which a stable compiler must be told to do.
            let sources = !toolchain.is_ours();
            assert_eq!(args.contains(&"-Zbuild-std=core".to_owned()), sources, "{toolchain:?}");
            assert_eq!(value(&set, "RUSTC_BOOTSTRAP"), sources.then_some("1"));
            // Only Debian's is another compiler, and brings no linker for images.
            let debian = matches!(toolchain, Toolchain::Debian(..));
            assert_eq!(command.get_program() == DEBIAN_CARGO, debian);
            assert_eq!(value(&set, "RUSTC"), debian.then_some(DEBIAN_RUSTC));
            let linker = value(&set, "CARGO_TARGET_AARCH64_UNKNOWN_NONE_LINKER");
            assert_eq!(linker, debian.then_some("/somewhere/rust-lld"));
        }
    }

    #[test]
    fn linux_gets_a_whole_standard_library_and_no_flags_of_images() {
        for toolchain in [Toolchain::OurSources(&LINUX), Toolchain::Debian(&LINUX, PathBuf::new())] {
            let (args, set) = told(&toolchain.cargo(&["test"]));
            assert!(args.contains(&"-Zbuild-std=std,test".to_owned()));
            assert!(!set.iter().any(|(name, _)| name.ends_with("_RUSTFLAGS")), "the user's hold");
        }
    }

    #[test]
    fn what_a_toolchain_brings_is_looked_for_where_rustup_puts_it() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| std::fs::create_dir_all(root.path().join(path)).unwrap();
        assert!(!sources_in(root.path()) && !target_in(root.path(), TARGET));
        // Left behind by a component that was taken out.
        make("lib/rustlib/src/rust");
        make("lib/rustlib/aarch64-unknown-none");
        assert!(!sources_in(root.path()) && !target_in(root.path(), TARGET));
        make("lib/rustlib/src/rust/library/core");
        make("lib/rustlib/aarch64-unknown-none/lib");
        assert!(sources_in(root.path()) && target_in(root.path(), TARGET));
        assert!(!target_in(root.path(), LINUX.triple));
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(new_enough("rustc 1.96.0 (2026-05-01) (built from a source tarball)"));
        assert!(new_enough("rustc 1.100.0") && new_enough("rustc 2.0.0"));
        assert!(!new_enough("rustc 1.85.0 (4d91de4e4 2025-02-17)") && !new_enough("rustc") && !new_enough(""));
    }
}
