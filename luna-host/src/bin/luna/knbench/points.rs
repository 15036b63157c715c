//! What is to be run: once as the options say, or what each line of standard input asks for.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use luna_host::knbench::{Gate, MAX_SIZE};

use crate::args::{KnbenchArgs, duration, rate};
use crate::error::CliError;

/// Between two looks at the flag of a thread that waits for something to run.
const LOOK: Duration = Duration::from_millis(100);

/// What one run is like, beside what stays the same for the life of the process.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Point {
    pub(crate) size: u32,
    pub(crate) iodepth: u32,
    pub(crate) connections: u32,
    /// Requests per second of all threads; `None`: a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Duration,
    pub(crate) warmup: Duration,
}

/// One thread's order to run it, and where the threads wait for each other.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) point: Point,
    pub(crate) gate: Arc<Gate>,
}

impl Point {
    /// As the options say.
    fn of(args: &KnbenchArgs) -> Result<Self, CliError> {
        let &KnbenchArgs { size, iodepth, connections, rate, duration, warmup, .. } = args;
        Self { size, iodepth, connections, rate, duration, warmup }.checked().map_err(CliError::Usage)
    }

    fn checked(self) -> Result<Self, String> {
        if self.duration < Duration::from_millis(10) {
            return Err("--duration is at least 10ms".into());
        }
        Ok(self)
    }

    /// As a line says, and as `self` where it does not.
    fn with(mut self, line: &str, most_connections: u32) -> Result<Self, String> {
        fn number(key: &str, value: &str, most: u32) -> Result<u32, String> {
            let n = value.parse().ok().filter(|n| (1..=most).contains(n));
            n.ok_or_else(|| format!("{key}={value}: a number from 1 to {most}"))
        }
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((key @ "size", value)) => self.size = number(key, value, MAX_SIZE)?,
                Some((key @ "iodepth", value)) => self.iodepth = number(key, value, 4_096)?,
                Some((key @ "connections", value)) => self.connections = number(key, value, most_connections)?,
                Some(("rate", value)) => self.rate = Some(rate(value)?),
                Some(("duration", value)) => self.duration = duration(value)?,
                Some(("warmup", value)) => self.warmup = duration(value)?,
                _ => {
                    return Err(format!(
                        "'{word}' is none of size=, iodepth=, connections=, rate=, duration= and warmup="
                    ));
                }
            }
        }
        self.checked()
    }
}

/// What one thread is to run.
pub(crate) struct Orders(Receiver<Run>);

impl Orders {
    /// For each thread, and what a point has that leaves things out.
    ///
    /// # Errors
    /// Options that no point can have.
    pub(crate) fn of(args: &KnbenchArgs) -> Result<(Point, Vec<Self>), CliError> {
        let (first, threads) = (Point::of(args)?, usize::from(args.threads));
        let receivers = if args.points { read(first, threads) } else { single(first, threads) };
        Ok((first, receivers.into_iter().map(Self).collect()))
    }

    /// The next one; `None` when there is none any more, or `stop` is set.
    pub(crate) fn next(&self, stop: &AtomicBool) -> Option<Run> {
        loop {
            match self.0.recv_timeout(LOOK) {
                Ok(run) => return Some(run),
                Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
                Err(_) => return None,
            }
        }
    }
}

/// The order to run `point` once, for each thread.
fn single(point: Point, threads: usize) -> Vec<Receiver<Run>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel()).unzip();
    send(&senders, point);
    receivers
}

/// Orders from standard input, for each thread. A line that is wrong ends the process, as wrong options do.
fn read(first: Point, threads: usize) -> Vec<Receiver<Run>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel()).unzip();
    // Not joined: it may wait for input when the process ends.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            match first.with(&line, first.connections) {
                Ok(point) if send(&senders, point) => {}
                Ok(_) => return,
                Err(e) => {
                    eprintln!("luna: {e}");
                    std::process::exit(2);
                }
            }
        }
    });
    receivers
}

/// Whether somebody is there.
fn send(to: &[Sender<Run>], point: Point) -> bool {
    let run = Run { point, gate: Arc::new(Gate::new(to.len())) };
    to.iter().all(|sender| sender.send(run.clone()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_changes_what_it_names() {
        let first = Point {
            size: 4096,
            iodepth: 1,
            connections: 8,
            rate: None,
            duration: Duration::from_secs(3),
            warmup: Duration::ZERO,
        };
        let point = first.with("size=64 iodepth=16  duration=50ms", 8).unwrap();
        assert_eq!(point, Point { size: 64, iodepth: 16, duration: Duration::from_millis(50), ..first });
        assert_eq!(first.with("", 8), Ok(first));
        assert_eq!(first.with("rate=1e3 warmup=0.1 connections=2", 8).unwrap().rate, Some(1e3));
        for (bad, why) in [
            ("size=0", "1 to 65536"),
            ("iodepth=5000", "1 to 4096"),
            ("connections=9", "1 to 8"),
            ("rate=0", "requests per second"),
            ("duration=1ms", "at least 10ms"),
            ("duration=soon", "3s"),
            ("4096", "none of size="),
            ("depth=1", "none of size="),
        ] {
            let said = first.with(bad, 8).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }
}
