//! QEMU's aarch64 machines, with an image in them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Board;
use crate::process::Process;

/// A machine to be.
#[derive(Debug)]
pub(crate) struct Machine {
    args: Vec<String>,
    append: String,
    decoder: Option<PathBuf>,
}

impl Machine {
    /// `virt`: no network yet.
    pub(crate) fn virt() -> Self {
        let args = "-machine virt,gic-version=3 -cpu cortex-a72 -accel tcg -m 256M -nodefaults -display none -serial stdio \
                    -no-reboot -semihosting-config enable=on,target=native";
        Self { args: args.split_whitespace().map(str::to_owned).collect(), append: String::new(), decoder: None }
    }

    /// `sbsa-ref`: no network yet. Its display and network cards want no firmware of their own.
    fn sbsa() -> Self {
        let args = "-machine sbsa-ref -accel tcg,thread=multi -m 1G -smp 2 -nodefaults -display none -serial stdio -no-reboot \
                    -global VGA.romfile= -global e1000e.romfile= -global virtio-rng-pci.romfile= \
                    -semihosting-config enable=on,target=native";
        Self { args: args.split_whitespace().map(str::to_owned).collect(), append: String::new(), decoder: None }
    }

    /// The machine that a board is.
    pub(crate) fn of(board: Board) -> Self {
        match board {
            Board::QemuVirt => Self::virt(),
            Board::SbsaRef => Self::sbsa(),
        }
    }

    /// More of the command line.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Adds to what the image finds in its device tree.
    pub(crate) fn append(mut self, text: &str) -> Self {
        self.append = format!("{} {text}", self.append).trim().to_owned();
        self
    }

    /// What its UART carries are defmt frames, which this program makes lines of.
    pub(crate) fn decoded_by(mut self, program: Option<&Path>) -> Self {
        self.decoder = program.map(Path::to_owned);
        self
    }

    /// Starts it.
    pub(crate) fn boot(self, image: &Path) -> Result<Process> {
        self.boot_by(|program| Command::new(program), image)
    }

    /// Starts it by a command of the caller's: in a network namespace.
    pub(crate) fn boot_by(self, by: impl FnOnce(&OsStr) -> Command, image: &Path) -> Result<Process> {
        const QEMU: &str = "qemu-system-aarch64";
        let mut command = match &self.decoder {
            None => by(QEMU.as_ref()),
            Some(decoder) => {
                let mut command = by(decoder.as_os_str());
                command.arg(image).arg(QEMU);
                command
            }
        };
        command.args(&self.args).arg("-kernel").arg(image);
        if !self.append.is_empty() {
            command.args(["-append", &self.append]);
        }
        Process::spawn_merged("QEMU", command)
    }
}
