//! One line of progress: a spinner with elapsed time on a terminal, plain lines where there is none.

use core::time::Duration;
use std::io::{IsTerminal, stderr};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// A named piece of work under way.
pub(crate) struct Progress {
    label: String,
    bar: ProgressBar,
    started: Instant,
    last_word: Instant,
}

/// On no terminal, say at least this often that work goes on.
const HEARTBEAT: Duration = Duration::from_secs(60);

impl Progress {
    /// Announces `label`.
    pub(crate) fn start(label: impl Into<String>) -> Self {
        let label = label.into();
        let bar = if stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(label.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            eprintln!("{label} ...");
            ProgressBar::hidden()
        };
        let started = Instant::now();
        Self { label, bar, started, last_word: started }
    }

    /// Shows what the work is at.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(text.to_owned());
        } else if self.last_word.elapsed() >= HEARTBEAT {
            eprintln!("{} ... {} s, at: {text}", self.label, self.started.elapsed().as_secs());
            self.last_word = Instant::now();
        }
    }

    /// Prints a line above the spinner.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Closes with a verdict; returns how long it took.
    pub(crate) fn finish(self, verdict: &str) -> Duration {
        let elapsed = self.started.elapsed();
        self.bar.finish_and_clear();
        eprintln!("{}  {verdict}  ({:.1} s)", self.label, elapsed.as_secs_f64());
        elapsed
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
