//! What must be true of a connection's recovery between turns. For tests and the simulator only.

use super::Recoveries;
use super::scoreboard::Scoreboard;
use crate::slab::NIL;
use crate::tcp::connection::Connection;
use crate::tcp::ensure;
use crate::tcp::segments::Segments;

impl Connection {
    /// The record's sums are those of the marks; without a record there is hardly anything to mark.
    pub(crate) fn check_recovery(
        &self,
        recoveries: &Recoveries<'_>,
        segments: &Segments<'_>,
    ) -> Result<(), &'static str> {
        ensure(self.cold.recovery == NIL || self.flags.disorder(), "a recovery record of a connection in order")?;
        ensure(self.flags.disorder() || !self.recovering(), "in recovery, but in order")?;
        ensure(!(self.flags.recovery() && self.flags.timeout_recovery()), "in two recoveries at once")?;
        if self.segments.is_lone() {
            // No record, no marks.
            return Ok(());
        }
        let mut marks = Scoreboard::default();
        marks.count(segments, self.segments);
        let Some(rec) = self.record(recoveries) else {
            ensure(marks.sacked == 0, "reports without a record")?;
            return self.check_lost_without_record(segments);
        };
        let (a, b) = (&rec.board, &marks);
        ensure(a.sacked == b.sacked, "the scoreboard's count of reported segments")?;
        ensure(a.lost == b.lost, "the scoreboard's count of lost segments")?;
        ensure(a.retrans == b.retrans, "the scoreboard's count of retransmissions")?;
        ensure((a.sacked_bytes, a.lost_bytes) == (b.sacked_bytes, b.lost_bytes), "the scoreboard's bytes")?;
        let probes = rec.main_is_probe && rec.main_at != crate::time::Instant::FAR;
        ensure(
            !probes || a.is_empty() && !self.recovering() || self.flags.recovery() && !rec.repair.probed,
            "a probe is timed although something is reported or lost",
        )?;
        ensure(self.in_flight() >= a.sacked_bytes + a.lost_bytes, "more is marked than is in flight")
    }

    /// Lost is the first segment, or what of it did not fit when it was sent again.
    fn check_lost_without_record(&self, segments: &Segments<'_>) -> Result<(), &'static str> {
        let mut at = self.segments.head();
        let mut may = true;
        while at != NIL {
            let s = segments.at(at);
            ensure(may || !s.flags.lost(), "marks without a record")?;
            may &= s.flags.lost() || s.flags.retransmitted();
            at = s.next;
        }
        Ok(())
    }
}
