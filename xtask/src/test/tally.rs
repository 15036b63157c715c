//! Counting tests in the output of `cargo test` and of criterion's test mode.

use core::fmt;

#[cfg(test)]
mod tests;

/// How many tests went which way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) skip_reasons: Vec<String>,
}

impl Tally {
    /// Takes in one line of output.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim();
        if let Some(counts) = line.strip_prefix("test result: ") {
            // "ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s"
            let counts = counts.split_once(". ").map_or(counts, |(_verdict, counts)| counts);
            for part in counts.split("; ") {
                match part.split_once(' ').and_then(|(number, word)| Some((number.parse::<usize>().ok()?, word))) {
                    Some((number, "passed")) => self.passed += number,
                    Some((number, "failed")) => self.failed += number,
                    Some((number, "ignored")) => self.skipped += number,
                    _ => {}
                }
            }
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|test| test.split_once(" ... ignored"))
        {
            let reason = reason.trim_start_matches([',', ' ']);
            self.skip_reasons.push(format!("{name}: {}", if reason.is_empty() { "ignored" } else { reason }));
        } else if line == "Success" {
            // Criterion's test mode: "Testing NAME", then this.
            self.passed += 1;
        }
    }

    /// Counts one thing that was not done.
    pub(crate) fn skip(&mut self, reason: String) {
        self.skipped += 1;
        self.skip_reasons.push(reason);
    }

    /// Takes back the skips whose reason is that one of `parts` is not built in: what such a test asks is asked where it is.
    pub(crate) fn without_left_out(&mut self, parts: &[&str]) {
        let left_out = |reason: &String| {
            let needs = reason.rsplit_once(": needs ").map_or("", |(_, needs)| needs);
            !needs.is_empty() && needs.split([',', ' ']).all(|w| w.is_empty() || w == "and" || parts.contains(&w))
        };
        let before = self.skip_reasons.len();
        self.skip_reasons.retain(|reason| !left_out(reason));
        self.skipped = self.skipped.saturating_sub(before - self.skip_reasons.len());
    }

    /// Adds another's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { passed, failed, skipped, skip_reasons } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
        self.skip_reasons.extend(skip_reasons.iter().cloned());
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.skipped == 0
    }
}

/// The closing line, whose form others parse.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}
