//! Cargo as a child: in the workspace root, and without the variables that `cargo run` put into our environment
//! (build scripts that watch them would run again and again).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or(xtask.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    let dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(dir)
}

/// `cargo ARGS` of the toolchain that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    prepare(&mut command);
    command
}

/// `cargo ARGS` of another rustup toolchain.
pub(crate) fn cargo_of(toolchain: &str, args: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, "cargo"]).args(args);
    prepare(&mut command);
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// `cargo ARGS` of a toolchain that rustup does not manage.
pub(crate) fn cargo_at(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    prepare(&mut command);
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTFLAGS"] {
        command.env_remove(name);
    }
    command
}

fn prepare(command: &mut Command) {
    command.current_dir(root()).env("CARGO_TERM_COLOR", "never");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
}

/// The triple of the machine that we build on, as rustc names it.
pub(crate) fn host_triple() -> Result<String> {
    let text = process::output("rustc", &["-vV"])?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc -vV names no host")
}

/// The compiler's installation directory.
pub(crate) fn sysroot() -> Result<PathBuf> {
    Ok(PathBuf::from(process::output("rustc", &["--print", "sysroot"])?.trim()))
}
