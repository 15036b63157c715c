//! HyStart++ (RFC 9406): leaves slow start when the round's smallest RTT rises, by way of a conservative phase that can
//! find the rise to have been noise. For the first slow start of a connection only (§4.3); a window grows by RFC 3465's
//! two segments for an acknowledgment, less than the eight that §4.3 allows.

use super::Ack;
use crate::time::Duration;
use crate::wire::SeqNum;

/// RFC 9406 §4.3's constants.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u64 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    SlowStart,
    /// Conservative slow start: since when the smallest RTT was this, and for how many rounds yet.
    Conservative { baseline: u64, rounds: u8 },
}

/// How an acknowledgment lets the window grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// As in slow start.
    Full,
    /// By so many bytes.
    Quarter(u32),
    /// Slow start is over.
    Done,
}

/// HyStart++'s state.
#[derive(Clone, Copy, Debug)]
pub struct HyStart {
    phase: Phase,
    /// Smallest RTT of the last round and of this one, in ns; `u64::MAX` for none.
    last_min: u64,
    current_min: u64,
    samples: u32,
    /// The round ends when this is acknowledged.
    window_end: Option<SeqNum>,
}

impl Default for HyStart {
    fn default() -> Self {
        Self { phase: Phase::SlowStart, last_min: u64::MAX, current_min: u64::MAX, samples: 0, window_end: None }
    }
}

impl HyStart {
    /// An acknowledgment in slow start (§4.2).
    pub(super) fn on_ack(&mut self, ack: &Ack<'_>) -> Growth {
        let mut round_over = false;
        match self.window_end {
            None => self.window_end = Some(ack.nxt),
            Some(end) if ack.una.after_eq(end) => {
                self.window_end = Some(ack.nxt);
                self.last_min = self.current_min;
                self.current_min = u64::MAX;
                self.samples = 0;
                round_over = true;
            }
            Some(_) => {}
        }
        if let Some(rtt) = ack.rtt {
            self.current_min = self.current_min.min(rtt.as_nanos());
            self.samples += 1;
        }
        let judged = self.samples >= N_RTT_SAMPLE && self.current_min != u64::MAX && self.last_min != u64::MAX;
        match &mut self.phase {
            Phase::SlowStart => {
                let thresh =
                    (self.last_min / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH.as_nanos(), MAX_RTT_THRESH.as_nanos());
                if judged && self.current_min >= self.last_min.saturating_add(thresh) {
                    self.phase = Phase::Conservative { baseline: self.current_min, rounds: CSS_ROUNDS };
                }
                Growth::Full
            }
            Phase::Conservative { baseline, rounds } => {
                if judged && self.current_min < *baseline {
                    self.phase = Phase::SlowStart;
                    return Growth::Full;
                }
                *rounds -= u8::from(round_over && *rounds > 0);
                if *rounds == 0 {
                    Growth::Done
                } else {
                    Growth::Quarter(ack.acked.min(2 * ack.mss) / CSS_GROWTH_DIVISOR)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
