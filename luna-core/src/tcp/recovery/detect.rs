//! Who is lost, and what leaves next in recovery.

use super::rack::Reordering;
use super::{DUP_THRESH, Recoveries, Recovery};
use crate::slab::NIL;
use crate::tcp::config::TcpConfig;
use crate::tcp::connection::Connection;
use crate::tcp::segments::Segments;
use crate::time::{Duration, Instant};

/// How loss is found on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Detector {
    /// RFC 8985.
    Rack,
    /// RFC 6675.
    Sack,
    /// RFC 5681 and 6582.
    Duplicates,
}

impl Connection {
    pub(super) fn detector(&self, config: &TcpConfig) -> Detector {
        match (self.flags.sack(), config.rack) {
            (true, true) => Detector::Rack,
            (true, false) => Detector::Sack,
            (false, _) => Detector::Duplicates,
        }
    }

    /// RACK.reo_wnd as things are.
    pub(super) fn reordering_window(&self, rec: &Recovery, config: &TcpConfig) -> Duration {
        Reordering {
            seen: self.flags.reordering_seen(),
            in_recovery: self.recovering(),
            sacked: rec.board.sacked,
            mult: self.cold.reo_wnd_mult,
            least_rtt: self.rtt.least(),
            srtt: self.rtt.srtt,
            granularity: config.clock_granularity,
        }
        .window()
    }

    /// Marks what is lost by now; how many segments, and how many retransmissions among them.
    pub(super) fn find_lost(
        &self,
        rec: &mut Recovery,
        segments: &mut Segments<'_>,
        now: Instant,
        config: &TcpConfig,
    ) -> (u32, u32) {
        let list = self.segments;
        match self.detector(config) {
            Detector::Rack => {
                let reo_wnd = self.reordering_window(rec, config);
                let rack = rec.rack;
                let due = |s: &_| rack.overtook(s).then(|| rack.due(s.sent_at, reo_wnd));
                let found = rec.board.mark_due(segments, list, now, due);
                rec.reorder_at = found.next;
                (found.lost, found.again)
            }
            Detector::Sack => (rec.board.mark_below_three(segments, list), 0),
            Detector::Duplicates => {
                // RFC 6582 §3.2 step 2: duplicates from an episode that is over are no sign of loss.
                let echo = rec.recovered.is_some_and(|point| !self.snd_una.after(point));
                let lost = rec.dup_acks >= DUP_THRESH && !self.recovering() && !echo;
                (u32::from(lost && list.head() != NIL && rec.board.mark_lost(segments, list.head())), 0)
            }
        }
    }

    /// Bytes that the network is thought to hold (RFC 6675's pipe).
    pub(crate) fn pipe(&self, recoveries: &Recoveries<'_>, segments: &Segments<'_>) -> u32 {
        if !self.flags.disorder() {
            return self.in_flight();
        }
        match self.record(recoveries) {
            Some(rec) => self.pipe_of(rec),
            None => match self.first_if_lost(segments) {
                Some(i) => self.in_flight().saturating_sub(segments.at(i).span()),
                None => self.in_flight(),
            },
        }
    }

    pub(super) fn pipe_of(&self, rec: &Recovery) -> u32 {
        let pipe = rec.board.pipe(self.in_flight());
        if self.flags.timeout_recovery() {
            // Duplicates that follow a timeout are of segments that were given up, and are not in the sum any more.
            return pipe;
        }
        // Without reports every duplicate acknowledgment stands for a segment that left the network (RFC 5681 §3.2).
        pipe.saturating_sub(rec.dup_acks.saturating_mul(u32::from(self.mss)))
    }

    /// Whether the congestion window would take a segment now.
    pub(crate) fn has_window_room(&self, recoveries: &Recoveries<'_>, segments: &Segments<'_>) -> bool {
        self.pipe(recoveries, segments) + u32::from(self.mss) <= self.send_window(recoveries)
    }

    /// The first segment to send again.
    pub(crate) fn first_lost(&self, recoveries: &mut Recoveries<'_>, segments: &Segments<'_>) -> Option<u32> {
        match self.record_mut(recoveries) {
            // F-RTO: new data goes first (RFC 5682 §3.1, step 2b).
            Some(rec) if rec.undo.frto == super::undo::Frto::Second => None,
            Some(rec) => rec.board.first_lost(segments, self.segments),
            None => self.first_if_lost(segments),
        }
    }

    fn first_if_lost(&self, segments: &Segments<'_>) -> Option<u32> {
        let head = self.segments.head();
        (head != NIL && segments.at(head).flags.lost()).then_some(head)
    }

    /// RFC 6675 §4, NextSeg rules 3 and 4: with room and no new data, a segment below the highest report that was not
    /// sent again, or once in a recovery the last one.
    pub(crate) fn mark_speculative(
        &self,
        recoveries: &mut Recoveries<'_>,
        segments: &mut Segments<'_>,
        config: &TcpConfig,
    ) -> bool {
        if !self.flags.recovery() || self.detector(config) != Detector::Sack {
            return false;
        }
        let Some(rec) = self.record_mut(recoveries) else { return false };
        let limit = rec.board.high_sacked(self.snd_una);
        let (mut at, mut last) = (self.segments.head(), NIL);
        let mut steps = 1024;
        while at != NIL && steps > 0 {
            let s = segments.at(at);
            let (next, open) = (s.next, !s.flags.sacked() && !s.flags.retransmitted() && !s.flags.lost());
            if open && s.seq.before(limit) {
                return rec.board.mark_lost(segments, at);
            }
            if !s.flags.sacked() {
                last = at;
            }
            at = next;
            steps -= 1;
        }
        // What is under way again is not sent a second time.
        if rec.rescued || last == NIL || at != NIL || segments.at(last).flags.rtx_out() {
            return false;
        }
        rec.rescued = true;
        rec.board.mark_lost(segments, last)
    }
}
