//! Runs the commands of one step: output kept for the case of failure, tests counted, progress shown.

use core::time::Duration;
use std::process::Command;

use anyhow::{Result, bail};

use super::tally::Tally;
use crate::process::Process;
use crate::progress::Progress;

/// A command of a step that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// What a step came to, if it did not fail.
pub(crate) enum Outcome {
    Done,
    Skipped(String),
}

/// One step under way.
pub(crate) struct Runner {
    progress: Progress,
    verbose: bool,
    tally: Tally,
    output: String,
}

impl Runner {
    pub(crate) fn new(progress: Progress, verbose: bool) -> Self {
        Self { progress, verbose, tally: Tally::default(), output: String::new() }
    }

    /// Runs `command`; an error when it fails.
    pub(crate) fn run(&mut self, command: Command) -> Result<()> {
        let shown = show(&command);
        self.say(&format!("$ {shown}"));
        let name = shown.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let mut process = Process::spawn_merged(name, command)?;
        let Self { progress, verbose, tally, output } = self;
        let status = process.wait(Some(PATIENCE), |line| {
            tally.read(&line.text);
            output.push_str(&line.text);
            output.push('\n');
            if *verbose {
                progress.print(&line.text);
            } else {
                progress.note(&line.text);
            }
        })?;
        if !status.success() {
            bail!("`{shown}` ended with {status}");
        }
        Ok(())
    }

    /// Runs `command`, which must have run at least one test: a filter that matches nothing proves nothing.
    pub(crate) fn run_tests(&mut self, command: Command) -> Result<()> {
        let before = self.tally.passed;
        let shown = show(&command);
        self.run(command)?;
        if self.tally.passed == before {
            bail!("`{shown}` ran no test");
        }
        Ok(())
    }

    /// As [`Runner::run_tests`] for a build without `parts`: tests that need one of them are not counted as skipped.
    pub(crate) fn run_tests_without(&mut self, parts: &[&str], command: Command) -> Result<()> {
        let ran = self.run_tests(command);
        self.tally.without_left_out(parts);
        ran
    }

    /// Adds a line to the step's output.
    pub(crate) fn say(&mut self, text: &str) {
        self.output.push_str(text);
        self.output.push('\n');
        if self.verbose {
            self.progress.print(text);
        }
    }

    pub(crate) fn into_parts(self) -> (Progress, Tally, String) {
        (self.progress, self.tally, self.output)
    }
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    command.get_args().fold(name, |line, arg| line + " " + &arg.to_string_lossy())
}
