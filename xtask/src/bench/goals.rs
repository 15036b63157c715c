//! What was to be reached, and what was.

use super::contender::{KERNEL, KERNEL_OFFLOADS, LIMIT_MEMIF, LUNA_MEMIF, LUNA_VIRTIO};
use super::data::{Data, Point, Sample};

/// Which of a sample's figures, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Requests per second: the more the better.
    Rps,
    /// Median latency: the less the better.
    P50,
}

/// A goal: one contender's figure as a multiple of another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) of: &'static str,
    pub(crate) against: &'static str,
    pub(crate) point: Point,
    pub(crate) figure: Figure,
    /// At least this many times (latency: at most).
    pub(crate) times: f64,
}

const fn goal(
    what: &'static str,
    (of, against): (&'static str, &'static str),
    (size, depth): (u32, u32),
    figure: Figure,
    times: f64,
) -> Goal {
    Goal { what, of, against, point: Point { size, depth }, figure, times }
}

const PLAIN: (&str, &str) = (LUNA_MEMIF.id, KERNEL.id);
const OFFLOADED: (&str, &str) = (LUNA_VIRTIO.id, KERNEL_OFFLOADS.id);

/// In the order of the table.
pub(crate) const ALL: [Goal; 9] = [
    goal("4 KiB, depth 1, requests/s", PLAIN, (4096, 1), Figure::Rps, 5.0),
    goal("4 KiB, depth 1, median latency", PLAIN, (4096, 1), Figure::P50, 0.25),
    goal("4 KiB, depth 16, requests/s", PLAIN, (4096, 16), Figure::Rps, 4.0),
    goal("64 B, depth 1, requests/s", PLAIN, (64, 1), Figure::Rps, 4.0),
    goal("64 KiB, depth 16, requests/s", PLAIN, (65_536, 16), Figure::Rps, 6.0),
    goal("4 KiB, depth 16, of the limit", (LUNA_MEMIF.id, LIMIT_MEMIF.id), (4096, 16), Figure::Rps, 0.6),
    goal("4 KiB, depth 1, requests/s", OFFLOADED, (4096, 1), Figure::Rps, 2.0),
    goal("4 KiB, depth 16, requests/s", OFFLOADED, (4096, 16), Figure::Rps, 1.3),
    goal("64 KiB, depth 16, requests/s", OFFLOADED, (65_536, 16), Figure::Rps, 1.5),
];

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reached,
    /// At least half of the goal.
    Half,
    Missed,
}

/// A goal with what was measured for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) goal: Goal,
    /// Luna's figure and the other's: requests per second, or µs.
    pub(crate) figures: (f64, f64),
    pub(crate) times: f64,
    pub(crate) verdict: Verdict,
}

impl Goal {
    /// What the data says of it; `None` where it was not measured.
    pub(crate) fn outcome(self, data: &Data) -> Option<Outcome> {
        let field = |sample: &Sample| match self.figure {
            Figure::Rps => Some(sample.rps),
            Figure::P50 => sample.p50_us,
        };
        let (ours, others) = (data.median(self.of, self.point, field)?, data.median(self.against, self.point, field)?);
        let times = ours / others;
        // How much of the goal: latency the other way round.
        let part = match self.figure {
            Figure::Rps => times / self.times,
            Figure::P50 => self.times / times,
        };
        let verdict = match part {
            _ if part >= 1.0 => Verdict::Reached,
            _ if part >= 0.5 => Verdict::Half,
            _ => Verdict::Missed,
        };
        Some(Outcome { goal: self, figures: (ours, others), times, verdict })
    }
}

impl Verdict {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Half => "half reached",
            Self::Missed => "missed",
        }
    }
}
