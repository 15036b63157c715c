//! A network namespace with a tap in it: one end is the kernel's, the other QEMU's. It goes when the value is dropped; what a
//! killed run left behind goes at the next start.

use std::process::Command;

use anyhow::{Context, Result};

use crate::netns::{PREFIX, exists, ip, sweep};

/// The kernel's end and the image's.
pub(super) const KERNEL: &str = "10.0.0.1";
pub(super) const IMAGE: &str = "10.0.0.2";
/// The interface's name.
pub(super) const INTERFACE: &str = "luna-tap";

/// The namespace.
#[derive(Debug)]
pub(super) struct Tap {
    namespace: String,
}

impl Tap {
    /// Makes both.
    pub(super) fn make() -> Result<Self> {
        sweep()?;
        let this = Self { namespace: format!("{PREFIX}{}-tap", std::process::id()) };
        // From here on it is removed on every way out.
        this.build().context("cannot make a tap in a network namespace")?;
        Ok(this)
    }

    fn build(&self) -> Result<()> {
        let namespace = self.namespace.as_str();
        ip(&["netns", "add", namespace])?;
        ip(&["-n", namespace, "tuntap", "add", "dev", INTERFACE, "mode", "tap"])?;
        ip(&["-n", namespace, "link", "set", INTERFACE, "addrgenmode", "none", "address", "02:00:00:00:00:01"])?;
        ip(&["-n", namespace, "address", "add", &format!("{KERNEL}/24"), "dev", INTERFACE])?;
        ip(&["-n", namespace, "link", "set", INTERFACE, "up"])?;
        Ok(())
    }

    /// A command that runs `program` inside.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if exists(&self.namespace)
            && let Err(error) = ip(&["netns", "delete", &self.namespace])
        {
            eprintln!("warning: {error:#}");
        }
    }
}
