//! The path takes less than it was sent (RFC 1191, RFC 4821): what is in flight and too large is lost, without a word about
//! congestion (RFC 1191 §3.1), and goes out again in pieces.

use crate::slab::NIL;
use crate::tcp::ack::AckEnv;
use crate::tcp::connection::Connection;

impl Connection {
    /// Segments have at most `mss` bytes from now on, fewer than before.
    pub(crate) fn resize(&mut self, env: &mut AckEnv<'_, '_>, mss: u16) {
        // By the old size: then a record's length says how large its segment was.
        self.cut_and_count(env);
        self.mss = mss;
        let limit = u32::from(mss);
        let mut at = self.segments.head();
        while at != NIL && env.segments.at(at).len <= limit {
            at = env.segments.at(at).next;
        }
        if at == NIL {
            return;
        }
        if !self.take_record(env) {
            env.counters.recovery_full += 1;
            // The first goes at once; the timer brings the others.
            env.segments.at_mut(self.segments.head()).flags.set_lost(true);
            self.flags.set_disorder(true);
            return;
        }
        let rec = env.recoveries.at_mut(self.cold.recovery);
        while at != NIL {
            let s = env.segments.at(at);
            let (next, too_large) = (s.next, s.len > limit && !s.flags.sacked() && !s.flags.lost());
            if too_large {
                rec.board.mark_lost(env.segments, at);
            }
            at = next;
        }
        // The timer may have been a probe's, which nothing lost has.
        self.arm_in_disorder(rec, env.now, env.config, false);
    }
}
