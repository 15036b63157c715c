//! Child processes that never outlive us.
//!
//! A [`Process`] is in a process group of its own, so a terminal's Ctrl-C reaches only us and we decide the order of
//! stopping; it is stopped on drop (SIGTERM to its group, then SIGKILL), and the kernel kills it should we be killed.
//! Spawn from the main thread only: the kernel ties the last of these to the thread that spawned.

use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};

use crate::interrupt;

/// How often waits look at the interrupt flag.
const TICK: Duration = Duration::from_millis(50);
/// What a child gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// A line that the child printed.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) stream: Stream,
    pub(crate) text: String,
}

/// A running child and what it printed so far.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Line>,
    log: Vec<Line>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output piped to us, standard output and error apart.
    pub(crate) fn spawn(name: impl Into<String>, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        Self::spawn_piped(name.into(), command)
    }

    /// The same for a child that is told what to do, line by line.
    pub(crate) fn spawn_with_input(name: impl Into<String>, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped());
        Self::spawn_piped(name.into(), command)
    }

    fn spawn_piped(name: String, mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (name, mut child) = launch(name, command)?;
        let input = child.stdin.take();
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            read_lines(out, Stream::Out, sender.clone());
        }
        if let Some(err) = child.stderr.take() {
            read_lines(err, Stream::Err, sender);
        }
        Ok(Self { name, child, input, lines, log: Vec::new(), status: None })
    }

    /// Tells the child a line.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().with_context(|| format!("{} takes no input", self.name))?;
        // The child has ended: what it said last tells why.
        writeln!(input, "{line}").with_context(|| format!("{} does not listen:\n{}", self.name, self.tail(20)))
    }

    /// The next line that the child prints on standard output; an error when it ends first or `patience` runs out.
    pub(crate) fn answer(&mut self, patience: Duration) -> Result<String> {
        let until = Instant::now() + patience;
        loop {
            let line = self.line("an answer", until)?;
            if line.stream == Stream::Out {
                // Answers are long and many: they are the caller's, not the log's.
                return Ok(line.text);
            }
            self.log.push(line);
        }
    }

    /// Says that no more is to be done, and waits for a successful end.
    pub(crate) fn end_of_input(&mut self, patience: Duration) -> Result<()> {
        self.input = None;
        self.wait_success(patience)
    }

    /// Starts `command` with both outputs in one pipe, so that lines keep their order.
    pub(crate) fn spawn_merged(name: impl Into<String>, mut command: Command) -> Result<Self> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let (name, child) = launch(name.into(), command)?;
        let (sender, lines) = channel();
        read_lines(reader, Stream::Out, sender);
        Ok(Self { name, child, input: None, lines, log: Vec::new(), status: None })
    }

    /// Everything printed on standard output, as one text.
    pub(crate) fn stdout(&self) -> String {
        self.text(|line| line.stream == Stream::Out)
    }

    /// The last `count` lines of both outputs: what an error message shows.
    pub(crate) fn tail(&self, count: usize) -> String {
        let skip = self.log.len().saturating_sub(count);
        let texts: Vec<&str> = self.log[skip..].iter().map(|line| line.text.as_str()).collect();
        texts.join("\n")
    }

    fn text(&self, keep: impl Fn(&Line) -> bool) -> String {
        self.log.iter().filter(|line| keep(line)).fold(String::new(), |all, line| all + &line.text + "\n")
    }

    /// Waits for a line that contains `needle`; an error when the child ends first or `patience` runs out.
    pub(crate) fn wait_for_line(&mut self, needle: &str, patience: Duration) -> Result<String> {
        let until = Instant::now() + patience;
        loop {
            let line = self.line(needle, until)?;
            let found = line.text.contains(needle).then(|| line.text.clone());
            self.log.push(line);
            if let Some(text) = found {
                return Ok(text);
            }
        }
    }

    /// The next line; an error when the child ends first or the time is over.
    fn line(&mut self, awaited: &str, until: Instant) -> Result<Line> {
        loop {
            interrupt::check()?;
            match self.lines.recv_timeout(TICK) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say \"{awaited}\" in time:\n{}", self.name, self.tail(20))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    self.status = Some(status);
                    bail!("{} ended ({status}) before it said \"{awaited}\":\n{}", self.name, self.tail(20))
                }
            }
        }
    }

    /// Waits for the end, handing every line to `on_line`.
    pub(crate) fn wait(&mut self, patience: Option<Duration>, mut on_line: impl FnMut(&Line)) -> Result<ExitStatus> {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut open = true;
        loop {
            interrupt::check()?;
            if open {
                match self.lines.recv_timeout(TICK) {
                    Ok(line) => {
                        on_line(&line);
                        self.log.push(line);
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => open = false,
                }
            } else {
                thread::sleep(TICK / 10);
            }
            // A grandchild may hold the pipe open after the child has ended: what is in it is read, no more is awaited.
            if let Some(status) = self.child.try_wait()? {
                self.status = Some(status);
                while let Ok(line) = self.lines.recv_timeout(TICK) {
                    on_line(&line);
                    self.log.push(line);
                }
                return Ok(status);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                bail!("{} did not end within {:?}:\n{}", self.name, patience.unwrap_or_default(), self.tail(20));
            }
        }
    }

    /// Waits for a successful end; otherwise an error with what it said last.
    pub(crate) fn wait_success(&mut self, patience: Duration) -> Result<()> {
        let status = self.wait(Some(patience), |_| {})?;
        if !status.success() {
            bail!("{} failed ({status}):\n{}", self.name, self.tail(20));
        }
        Ok(())
    }

    /// Asks the child to end (SIGINT) and waits for it, so that its closing report is in the log.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.status.is_none() {
            kill_process(self.pid(), Signal::INT).with_context(|| format!("cannot signal {}", self.name))?;
        }
        self.wait_success(Duration::from_secs(15))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_some() || matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Errors mean that it has just ended; the waits below collect it either way.
        _ = kill_process_group(self.pid(), Signal::TERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(TICK / 5);
        }
        _ = kill_process_group(self.pid(), Signal::KILL);
        _ = self.child.wait();
    }
}

/// Runs a short command to its end and returns its standard output; does not look at the interrupt flag, so that
/// clean-up can use it too.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String> {
    let line = || format!("{program} {}", args.join(" "));
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).process_group(0);
    let output = command.output().with_context(|| format!("cannot run `{}`", line()))?;
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", line(), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn launch(name: String, mut command: Command) -> Result<(String, Child)> {
    command.process_group(0);
    // SAFETY: between fork and exec only prctl(2) runs, which is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let child = command.spawn().with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
    Ok((name, child))
}

fn read_lines(from: impl Read + Send + 'static, stream: Stream, to: Sender<Line>) {
    thread::spawn(move || {
        for bytes in BufReader::new(from).split(b'\n') {
            let Ok(bytes) = bytes else { return };
            // Progress bars redraw with carriage returns: what stands after the last one is the line.
            let text =
                String::from_utf8_lossy(&bytes).trim_end_matches('\r').rsplit('\r').next().unwrap_or("").to_owned();
            if to.send(Line { stream, text }).is_err() {
                return;
            }
        }
    });
}
