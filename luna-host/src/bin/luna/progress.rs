//! What is shown while something runs: nothing, unless a person watches.

use core::time::Duration;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two updates.
const STEP: Duration = Duration::from_millis(100);

/// A bar on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    next: Instant,
}

impl Progress {
    /// For a transfer of bytes.
    pub(crate) fn bytes(what: String, quiet: bool) -> Self {
        Self::new(what, quiet, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    }

    /// For a run, in thousandths.
    pub(crate) fn run(what: String, quiet: bool) -> Self {
        Self::new(what, quiet, "{msg} {wide_bar} {percent} %")
    }

    fn new(what: String, quiet: bool, template: &str) -> Self {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(None, target).with_style(style).with_message(what);
        Self { bar, next: Instant::now() }
    }

    /// Whether it is time to show something new.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if self.bar.is_hidden() || now < self.next {
            return false;
        }
        self.next = now + STEP;
        true
    }

    pub(crate) fn set(&self, done: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    pub(crate) fn say(&self, what: String) {
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
