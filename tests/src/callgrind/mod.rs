//! Instructions per RPC, counted by callgrind: repeatable where wall time on a shared machine is not.
//!
//! A scenario runs twice with different numbers of RPCs; the difference divided by the difference of RPCs is the cost of
//! one, and start-up, connecting and warm-up drop out. The link's gather (what DMA does on hardware) is counted apart by its
//! inclusive cost, for every stack the same way.

pub mod attribute;
mod profile;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::scenario::{Answer, Report, Scenario, StackKind};

pub use profile::{Costs, Profile, ProfileError};

/// Names that the links' gathers end with, out of line in both.
const GATHERS: [&str; 2] = ["nic::mem::gather", "smoltcp_echo::device::gather"];

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// There is no valgrind.
    #[error("valgrind is not installed: it counts the instructions (Debian: `apt-get install valgrind`)")]
    NoValgrind,
    /// A program could not be run.
    #[error("{program} cannot be run: {error}")]
    Run {
        /// Which.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {stderr}")]
    Failed {
        /// Which.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// The echo's own report is unreadable.
    #[error("the echo's report is unreadable: {0}")]
    Report(#[from] serde_json::Error),
    /// Callgrind's output is unreadable.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The gather was inlined or renamed: it could not be counted apart.
    #[error("no function named *{GATHERS:?} was called: the link's copies cannot be counted apart")]
    NoGather,
}

/// Runs a command and returns what it wrote.
///
/// # Errors
/// It could not be run, or failed.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, MeasureError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|error| MeasureError::Run { program: program.clone(), error })?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(MeasureError::Failed { program, status: out.status, stderr });
    }
    Ok(out.stdout)
}

/// What one RPC costs, both ends together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Instructions, without the link's gather.
    pub instructions: f64,
    /// Instructions of the gather.
    pub gather: f64,
    /// Frames sent.
    pub frames: f64,
    /// Times that each payload byte was copied by a stack or an application.
    pub copies: f64,
    /// Misses of the last level of cache, without the link's gather; 0 when caches were not simulated.
    pub misses: f64,
}

/// A counter of instructions: callgrind around the program that echoes.
pub struct Callgrind {
    program: PathBuf,
    scratch: PathBuf,
}

/// Two runs of one scenario.
pub struct Pair {
    /// The shorter and the longer.
    pub profiles: [Profile; 2],
    /// What they did.
    pub reports: [Report; 2],
}

impl Callgrind {
    /// `program` is `echo_instructions`; `scratch` a directory for callgrind's files.
    ///
    /// # Errors
    /// [`MeasureError::NoValgrind`].
    pub fn new(program: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Result<Self, MeasureError> {
        match Command::new("valgrind").arg("--version").output() {
            Ok(out) if out.status.success() => Ok(Self { program: program.into(), scratch: scratch.into() }),
            _ => Err(MeasureError::NoValgrind),
        }
    }

    fn run(
        &self,
        stack: StackKind,
        s: &Scenario,
        rpcs: u64,
        options: &[&str],
    ) -> Result<(Profile, Report), MeasureError> {
        let name = format!("callgrind.{}.{}.{}.{rpcs}", stack.name(), s.mtu, s.depth);
        let [checksums, digest] = [s.checksums, s.digest].map(|on| if on { "on" } else { "off" });
        let answer = if s.answer == Answer::Echo { "echo" } else { "touch" };
        let [mtu, depth, size, rpcs] = [s.mtu.into(), s.depth as u64, s.size.into(), rpcs].map(|n: u64| n.to_string());
        let args = ["--stack", stack.name(), "--checksums", checksums, "--mtu", &mtu, "--depth", &depth];
        let args: Vec<&str> = args.into_iter().chain(["--size", &size, "--rpcs", &rpcs]).collect();
        let args = [&args[..], &["--answer", answer, "--digest", digest]].concat();
        let (profile, stdout) = self.count(&name, options, &args)?;
        Ok((profile, serde_json::from_slice(&stdout)?))
    }

    /// Counts one run of the program with `args`; returns what it printed too. `options` are callgrind's own, `name` is
    /// that of its file.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn count(&self, name: &str, options: &[&str], args: &[&str]) -> Result<(Profile, Vec<u8>), MeasureError> {
        let file = self.scratch.join(name);
        let stdout = self.start(&file, options, args)?;
        Ok((take_profile(&file)?, stdout))
    }

    /// As [`Callgrind::count`], of the function whose name matches `function` only, with a profile for each time that the
    /// program came to the one that matches `then`, in their order: what was counted since the time before.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn count_each(
        &self,
        name: &str,
        (function, then): (&str, &str),
        args: &[&str],
    ) -> Result<(Vec<Profile>, Vec<u8>), MeasureError> {
        let file = self.scratch.join(name);
        let (toggle, dump) = (format!("--toggle-collect={function}"), format!("--dump-before={then}"));
        let stdout = self.start(&file, &["--collect-atstart=no", &toggle, &dump], args)?;
        // What was counted after the last time: nothing.
        let _ = std::fs::remove_file(&file);
        let part = |n: usize| self.scratch.join(format!("{name}.{n}"));
        let parts = (1..).map(part).take_while(|file| file.exists()).map(|file| take_profile(&file));
        Ok((parts.collect::<Result<_, _>>()?, stdout))
    }

    fn start(&self, file: &Path, options: &[&str], args: &[&str]) -> Result<Vec<u8>, MeasureError> {
        let mut out = std::ffi::OsString::from("--callgrind-out-file=");
        out.push(file);
        output(
            Command::new("valgrind")
                .args(["--quiet", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"])
                .args(options)
                .arg(out)
                .arg(&self.program)
                .args(args)
                // Callgrind charges `rep movsb` by the byte, which no machine does: libc shall not choose it.
                .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000"),
        )
    }

    /// Runs a scenario with `rpcs` and with three times as many.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn pair(&self, stack: StackKind, scenario: &Scenario, rpcs: u64) -> Result<Pair, MeasureError> {
        self.pair_with(stack, scenario, rpcs, &[])
    }

    /// The same with the caches simulated: misses are counted too, in about twice the time.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn pair_with_caches(&self, stack: StackKind, scenario: &Scenario, rpcs: u64) -> Result<Pair, MeasureError> {
        self.pair_with(stack, scenario, rpcs, &["--cache-sim=yes"])
    }

    fn pair_with(
        &self,
        stack: StackKind,
        scenario: &Scenario,
        rpcs: u64,
        options: &[&str],
    ) -> Result<Pair, MeasureError> {
        let (short, short_report) = self.run(stack, scenario, rpcs, options)?;
        let (long, long_report) = self.run(stack, scenario, rpcs * 3, options)?;
        Ok(Pair { profiles: [short, long], reports: [short_report, long_report] })
    }

    /// The program measured.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }
}

fn take_profile(file: &Path) -> Result<Profile, ProfileError> {
    let profile = Profile::read(file)?;
    // Tens of files of some hundred KiB are of no use later.
    let _ = std::fs::remove_file(file);
    Ok(profile)
}

impl Pair {
    /// What happened in the longer run beyond the shorter.
    #[must_use]
    pub fn report(&self) -> Report {
        self.reports[1].since(&self.reports[0])
    }

    /// The cost of one RPC.
    ///
    /// # Errors
    /// [`MeasureError::NoGather`].
    pub fn cost(&self) -> Result<Cost, MeasureError> {
        let report = self.report();
        let per_rpc = |count: &dyn Fn(&Profile) -> u64| {
            let [short, long] = &self.profiles;
            (count(long) as f64 - count(short) as f64) / report.rpcs as f64
        };
        let gather = per_rpc(&|p| p.gather().instructions);
        if gather <= 0.0 {
            return Err(MeasureError::NoGather);
        }
        Ok(Cost {
            instructions: per_rpc(&Profile::without_gather),
            gather,
            frames: report.frames_per_rpc(),
            copies: report.copies_per_byte(),
            misses: per_rpc(&Profile::misses_without_gather),
        })
    }
}

impl Profile {
    /// What the link's gather cost.
    fn gather(&self) -> Costs {
        let mut sum = Costs::default();
        GATHERS.iter().for_each(|name| sum += self.inclusive_of(name));
        sum
    }

    /// All misses of the last level but those of the link's gather.
    #[must_use]
    pub fn misses_without_gather(&self) -> u64 {
        self.total().misses.saturating_sub(self.gather().misses)
    }

    /// All instructions but those of the link's gather.
    #[must_use]
    pub fn without_gather(&self) -> u64 {
        self.total().instructions - self.gather().instructions
    }
}

/// Whether a demangled name is that of a gather.
pub(crate) fn is_gather(name: impl AsRef<OsStr>) -> bool {
    name.as_ref().to_str().is_some_and(|n| GATHERS.iter().any(|g| profile::is_named(n, g)))
}
