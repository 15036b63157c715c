//! A Rust toolchain for `aarch64-unknown-none`: rustup's when that can have the target, else Debian's, called by its
//! path and building `core` itself. Neither changes what the user's `cargo` is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, cargo_at, host_triple, sysroot};
use crate::packages::{self, Requirement};
use crate::process;

/// What images are built for: with floating point and NEON.
pub(crate) const TARGET: &str = "aarch64-unknown-none";
/// Debian's compiler for browsers: a recent one in a stable release.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// Needs no `core` of the target's own; the workspace's `rust-version`.
const OLDEST: (u32, u32) = (1, 95);

/// How to call cargo for the target.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The one that runs us has the target.
    Ours,
    /// Debian's builds `core` from its sources; the linker is the path.
    Debian(PathBuf),
}

impl Toolchain {
    /// Finds one, or sets one up: `install` is asked for Debian packages.
    pub(crate) fn find(install: impl Fn(&[Requirement]) -> Result<()>) -> Result<Self> {
        if has_target()? {
            return Ok(Self::Ours);
        }
        // On a machine that reaches rustup's server this is the usual way, and all there is to do.
        let added = Command::new("rustup").args(["target", "add", TARGET]).output();
        if added.is_ok_and(|output| output.status.success()) && has_target()? {
            return Ok(Self::Ours);
        }
        eprintln!("rustup cannot add {TARGET}: Debian's compiler builds its `core`");
        install(packages::CROSS_COMPILER)?;
        let version = process::output(DEBIAN_RUSTC, &["--version"])?;
        if !new_enough(&version) {
            bail!("{DEBIAN_RUSTC} is {}, older than 1.95: apt-get update && apt-get install rustc-web", version.trim());
        }
        Ok(Self::Debian(linker()?))
    }

    /// `cargo VERB ...` for the target.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        match self {
            Self::Ours => {
                let mut command = cargo(args);
                command.args(["--target", TARGET]);
                command
            }
            Self::Debian(linker) => {
                let mut command = cargo_at(Path::new(DEBIAN_CARGO), args);
                command.args(["-Zbuild-std=core", "--target", TARGET]);
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command.env("CARGO_TARGET_AARCH64_UNKNOWN_NONE_LINKER", linker);
                command
            }
        }
    }
}

fn has_target() -> Result<bool> {
    let dir = sysroot()?.join("lib/rustlib").join(TARGET).join("lib");
    Ok(dir.is_dir())
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

    #[test]
    fn versions_compare_by_number() {
        assert!(new_enough("rustc 1.96.0 (2026-05-01) (built from a source tarball)"));
        assert!(new_enough("rustc 1.100.0") && new_enough("rustc 2.0.0"));
        assert!(!new_enough("rustc 1.85.0 (4d91de4e4 2025-02-17)") && !new_enough("rustc") && !new_enough(""));
    }
}
