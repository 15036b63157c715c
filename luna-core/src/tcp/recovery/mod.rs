//! Loss recovery: what a connection needs only while something is lost, reordered or doubtful.
//!
//! It is in a record of a pool that all connections of a stack share, taken with the first sign of disorder and given
//! back when nothing is left that could still be learned. Without a free record a connection falls back to what needs
//! none: the timer, and one retransmission for each acknowledgment behind it; reports are ignored, and that is counted.
//!
//! | file | what |
//! | --- | --- |
//! | `scoreboard` | marks and their sums (RFC 2018, 6675), in bounded walks |
//! | `rack` | the newest delivery, the reordering window (RFC 8985 §6) |
//! | `prr` | how much leaves in recovery (RFC 9937) |
//! | `undo` | Eifel (3522, 4015), F-RTO (5682), D-SACK (2883) |
//! | `ack` | an acknowledgment in disorder, step by step |
//! | `detect` | who is lost: RACK, RFC 6675, or three duplicates (RFC 5681, 6582); what leaves next |
//! | `timers` | timeout (RFC 6298), probe (RFC 8985 §7), reordering timer |
//! | `resize` | segments that the path does not take (RFC 1191, 4821) |
//! | `control` | the only place that tells the congestion controller |
//!
//! Deviations: the probe timer runs from the oldest transmission that is not acknowledged, not from the newest; the
//! reordering timer is set for the first segment that is due, not for the last. By setting: a probe in fast recovery too,
//! as RFC 9002 §6.2 has it for QUIC ([`TcpConfig::probe_repairs`]); a probe is the last segment again even where there is
//! new data ([`TcpConfig::probe_new_data`]).
//!
//! [`TcpConfig::probe_repairs`]: super::TcpConfig::probe_repairs
//! [`TcpConfig::probe_new_data`]: super::TcpConfig::probe_new_data

mod ack;
mod control;
mod detect;
#[cfg(any(test, feature = "invariants"))]
mod invariants;
mod prr;
mod rack;
mod resize;
mod scoreboard;
mod timers;
mod undo;

pub(crate) use ack::AckSeen;

use super::ack::AckEnv;
use super::congestion::Window;
use super::connection::Connection;
use super::segments::Segment;
use crate::slab::{NIL, Node, Slab};
use crate::time::Instant;
use crate::wire::SeqNum;
use prr::Prr;
use rack::Rack;
use scoreboard::Scoreboard;
use undo::Undo;

/// Segments reported above one before it counts as lost (DupThresh).
const DUP_THRESH: u32 = 3;

/// A tail loss probe (RFC 8985 §7).
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    /// It is to leave at the next occasion.
    pending: bool,
    /// SND.NXT when it left, until what it found is known.
    end: Option<SeqNum>,
    /// It was sent before: new data proves nothing.
    again: bool,
}

/// A probe in fast recovery, for when the retransmission or its acknowledgment may have been lost and nothing behind it
/// can tell: the first segment once more, to which a receiver answers at once.
#[derive(Clone, Copy, Debug, Default)]
struct RepairProbe {
    /// It was sent, and nothing was heard since.
    probed: bool,
    /// Where the segment ends, until its D-SACK came: that says nothing about reordering.
    end: Option<SeqNum>,
}

/// The record of a connection in disorder, in a pool that all connections of a stack share.
#[derive(Debug)]
pub struct Recovery {
    next: u32,
    /// Duplicate acknowledgments, where SACK is not in use.
    dup_acks: u32,
    /// Timeouts since the last cumulative acknowledgment.
    timeouts: u8,
    /// The peer acknowledged up to a segment that it had reported received.
    reneging: bool,
    /// RFC 6675's rescue retransmission was made in this recovery.
    rescued: bool,
    /// An episode ended at this point: duplicates up to it are echoes of its retransmissions (RFC 6582 §3.2 step 2).
    recovered: Option<SeqNum>,
    /// When the timer in [`Connection::rto_at`] is for the timeout or the probe.
    main_at: Instant,
    /// That is for the probe.
    main_is_probe: bool,
    /// When an overtaken segment counts as lost.
    reorder_at: Instant,
    /// When the record goes, if nothing happens until then.
    linger_at: Instant,
    /// Or when this is acknowledged.
    linger_to: Option<SeqNum>,
    probe: Probe,
    repair: RepairProbe,
    board: Scoreboard,
    rack: Rack,
    prr: Prr,
    undo: Undo,
    /// The congestion window before its controller was told of the loss that can be taken back.
    before: Window,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            next: NIL,
            dup_acks: 0,
            timeouts: 0,
            reneging: false,
            rescued: false,
            recovered: None,
            main_at: Instant::FAR,
            main_is_probe: false,
            reorder_at: Instant::FAR,
            linger_at: Instant::FAR,
            linger_to: None,
            probe: Probe::default(),
            repair: RepairProbe::default(),
            board: Scoreboard::default(),
            rack: Rack::default(),
            prr: Prr::default(),
            undo: Undo::default(),
            before: Window::new(0),
        }
    }
}

impl Node for Recovery {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

pub(crate) type Recoveries<'m> = Slab<'m, Recovery>;

/// What the scoreboard says, for [`crate::tcp::TcpInfo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) sacked: u32,
    pub(crate) lost: u32,
    pub(crate) retrans: u32,
}

impl Recovery {
    pub(crate) fn marks(&self) -> Marks {
        Marks { sacked: self.board.sacked, lost: self.board.lost, retrans: self.board.retrans }
    }
}

impl Connection {
    /// The record, when the connection has one.
    pub(crate) fn record<'r>(&self, recoveries: &'r Recoveries<'_>) -> Option<&'r Recovery> {
        (self.cold.recovery != NIL).then(|| recoveries.at(self.cold.recovery))
    }

    fn record_mut<'r>(&self, recoveries: &'r mut Recoveries<'_>) -> Option<&'r mut Recovery> {
        (self.cold.recovery != NIL).then(|| recoveries.at_mut(self.cold.recovery))
    }

    /// Cuts records that stand for several segments.
    fn cut_and_count(&mut self, env: &mut AckEnv<'_, '_>) {
        if !self.flags.uncut() {
            return;
        }
        self.cut_records(env.segments, env.sends);
        // Records may have run out at first: then pieces of marked ones are marked as well.
        if let Some(rec) = self.record_mut(env.recoveries) {
            rec.board.recount(env.segments, self.segments);
        }
    }

    /// Takes a record if there is none. False when all are in use.
    fn take_record(&mut self, env: &mut AckEnv<'_, '_>) -> bool {
        // From here on every segment has its own fate.
        self.cut_and_count(env);
        let recoveries = &mut *env.recoveries;
        if self.cold.recovery != NIL {
            return true;
        }
        let Some(i) = recoveries.alloc() else { return false };
        let rec = recoveries.at_mut(i);
        *rec = Recovery { main_at: self.rto_at, ..Recovery::default() };
        rec.rack.fack = self.snd_una;
        if self.flags.disorder() {
            // It did without one for a while.
            rec.board.count(env.segments, self.segments);
        } else {
            rec.main_is_probe = self.timer_is_for_probe(env.config);
        }
        self.cold.recovery = i;
        self.flags.set_disorder(true);
        true
    }

    /// Gives the record back: order is restored, or the connection over.
    pub(crate) fn drop_record(&mut self, recoveries: &mut Recoveries<'_>) {
        if self.cold.recovery != NIL {
            recoveries.release(self.cold.recovery);
            self.cold.recovery = NIL;
        }
        self.flags.set_disorder(false);
        self.flags.set_recovery(false);
        self.flags.set_timeout_recovery(false);
    }

    /// In fast recovery or in recovery from a timeout.
    pub(crate) fn recovering(&self) -> bool {
        self.flags.recovery() || self.flags.timeout_recovery()
    }

    /// A segment is about to be split: its rest becomes `rest`, with the same marks.
    pub(crate) fn on_split(&self, recoveries: &mut Recoveries<'_>, rest: &Segment) {
        if let Some(rec) = self.record_mut(recoveries) {
            rec.board.split(rest);
        }
    }
}
