//! RACK (RFC 8985 §6): the newest delivered transmission, and how much longer than it an older one may take.
//!
//! All segments of a burst have one send time; between equal ones the sequence number decides. What is learned about
//! reordering outlives the record: it is in the connection.

use crate::tcp::segments::Segment;
use crate::time::{Duration, Instant};
use crate::wire::SeqNum;

/// Recoveries without a D-SACK after which the reordering window is small again.
pub(crate) const PERSIST: u8 = 16;

/// RACK's state of a connection in disorder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rack {
    /// When the most recently sent of all delivered segments was sent.
    pub(crate) xmit_ts: Instant,
    /// Where it ends.
    pub(crate) end_seq: SeqNum,
    /// Its round-trip time.
    pub(crate) rtt: Duration,
    /// Behind the highest segment delivered.
    pub(crate) fack: SeqNum,
    /// D-SACKs until this is acknowledged belong to one round.
    pub(crate) dsack_round: Option<SeqNum>,
}

/// Whether `a` was sent after `b`: (send time, end).
pub(crate) fn sent_after(a: (Instant, SeqNum), b: (Instant, SeqNum)) -> bool {
    a.0 > b.0 || a.0 == b.0 && a.1.after(b.1)
}

impl Rack {
    /// A segment was reported delivered (step 2). `original` says that this report must be about an earlier transmission.
    pub(crate) fn delivered(&mut self, s: &Segment, now: Instant, least_rtt: u32, original: bool) {
        let rtt = now.since(s.sent_at);
        if s.flags.retransmitted() && (original || rtt.as_nanos() < u64::from(least_rtt)) {
            return;
        }
        self.rtt = rtt;
        if sent_after((s.sent_at, s.end()), (self.xmit_ts, self.end_seq)) {
            self.xmit_ts = s.sent_at;
            self.end_seq = s.end();
        }
    }

    /// Whether something sent later was delivered.
    pub(crate) fn overtook(&self, s: &Segment) -> bool {
        sent_after((self.xmit_ts, self.end_seq), (s.sent_at, s.end()))
    }

    /// When a segment sent at `sent_at` and overtaken counts as lost.
    pub(crate) fn due(&self, sent_at: Instant, reo_wnd: Duration) -> Instant {
        sent_at + self.rtt + reo_wnd
    }
}

/// What the reordering window depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reordering {
    pub(crate) seen: bool,
    pub(crate) in_recovery: bool,
    pub(crate) sacked: u32,
    pub(crate) mult: u8,
    pub(crate) least_rtt: u32,
    pub(crate) srtt: u32,
    pub(crate) granularity: Duration,
}

impl Reordering {
    /// RACK.reo_wnd (step 4). Never below the clock's granularity, except where counting alone already tells loss.
    pub(crate) fn window(&self) -> Duration {
        if !self.seen && (self.in_recovery || self.sacked >= super::DUP_THRESH) {
            return Duration::ZERO;
        }
        let quarter = u64::from(self.least_rtt / 4) * u64::from(self.mult.max(1));
        Duration::from_nanos(quarter.min(u64::from(self.srtt))).max(self.granularity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::segments::SegmentFlags;

    const US: fn(u64) -> Duration = Duration::from_micros;

    fn at(us: u64) -> Instant {
        Instant::from_nanos(us * 1000)
    }

    fn segment(sent_us: u64, seq: u32, again: bool) -> Segment {
        let mut flags = SegmentFlags::default();
        flags.set_retransmitted(again);
        Segment { sent_at: at(sent_us), seq: SeqNum(seq), len: 100, flags, ..Segment::default() }
    }

    #[test]
    fn equal_send_times_are_told_apart_by_sequence() {
        let mut rack = Rack::default();
        rack.delivered(&segment(10, 200, false), at(60), 0, false);
        assert_eq!((rack.xmit_ts, rack.end_seq, rack.rtt), (at(10), SeqNum(300), US(50)));
        assert!(rack.overtook(&segment(10, 100, false)), "same burst, below");
        assert!(!rack.overtook(&segment(10, 300, false)), "same burst, above");
        assert!(!rack.overtook(&segment(11, 100, true)), "sent again since");
        rack.delivered(&segment(10, 100, false), at(70), 0, false);
        assert_eq!(rack.end_seq, SeqNum(300), "what was sent last stays");
        assert_eq!(rack.due(at(10), US(5)), at(75));
    }

    #[test]
    fn a_report_that_may_be_about_the_original_says_nothing_about_the_retransmission() {
        let mut rack = Rack::default();
        rack.delivered(&segment(10, 100, true), at(20), 50_000, false);
        assert_eq!(rack.xmit_ts, Instant::ZERO, "faster than the path can be");
        rack.delivered(&segment(10, 100, true), at(80), 50_000, true);
        assert_eq!(rack.xmit_ts, Instant::ZERO, "the echoed time stamp is older");
        rack.delivered(&segment(10, 100, true), at(80), 50_000, false);
        assert_eq!(rack.xmit_ts, at(10));
    }

    #[test]
    fn the_window_follows_what_is_known_of_the_path() {
        let r = Reordering {
            seen: false,
            in_recovery: false,
            sacked: 1,
            mult: 1,
            least_rtt: 400_000,
            srtt: 500_000,
            granularity: US(20),
        };
        assert_eq!(r.window(), US(100));
        assert_eq!(Reordering { sacked: 3, ..r }.window(), Duration::ZERO, "as DupThresh has it");
        assert_eq!(Reordering { in_recovery: true, ..r }.window(), Duration::ZERO);
        assert_eq!(Reordering { sacked: 3, in_recovery: true, seen: true, ..r }.window(), US(100));
        assert_eq!(Reordering { mult: 3, ..r }.window(), US(300));
        assert_eq!(Reordering { mult: 200, ..r }.window(), US(500), "never above the smoothed round trip");
        assert_eq!(Reordering { least_rtt: 4000, srtt: 5000, ..r }.window(), US(20), "never below a burst");
    }
}
