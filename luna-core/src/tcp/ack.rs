//! What an acknowledgment does on a connection in order: frees records, samples the RTT, feeds congestion control. All
//! else is in [`super::recovery`].

use super::config::TcpConfig;
use super::congestion::Controls;
use super::connection::Connection;
use super::recovery::Recoveries;
use super::segments::{SegmentFlags, Segments};
use super::send_queue::{Cursor, SendEntries, SendQueue};
use crate::counters::Counters;
use crate::slab::NIL;
use crate::time::{Duration, Instant};
use crate::wire::SeqNum;

/// What acknowledgment processing needs beside the connection.
pub(crate) struct AckEnv<'a, 'm> {
    pub(crate) now: Instant,
    pub(crate) config: &'a TcpConfig,
    pub(crate) segments: &'a mut Segments<'m>,
    pub(crate) sends: &'a mut SendEntries<'m>,
    pub(crate) recoveries: &'a mut Recoveries<'m>,
    pub(crate) controls: &'a mut Controls<'m>,
    pub(crate) counters: &'a mut Counters,
    /// The acknowledgment carries ECE.
    pub(crate) ece: bool,
}

impl Connection {
    /// `ack` acknowledges new data, in `(snd_una, snd_nxt]`, of a connection in order. Frees records; the send queue's
    /// entries are freed by the caller, who reports their tokens.
    #[inline(never)]
    pub(crate) fn ack_advance(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        let (acked, rtt) = self.ack_books(env, ack);
        self.congestion_acked(env, acked, rtt);
    }

    /// As above, for the fast path alone, and a controller in line. Nothing here is handed the whole of `env`: it then
    /// need not exist in memory.
    #[inline(always)]
    pub(crate) fn ack_advance_in_line(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        let (acked, _) = self.ack_books(env, ack);
        self.congestion_acked_in_line(acked);
    }

    #[inline(always)]
    fn ack_books(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) -> (u32, Option<Duration>) {
        let acked = ack.distance_from(self.snd_una);
        self.snd_una = ack;
        let rtt = self.free_acked(env, ack);
        if self.snd_una == self.snd_nxt {
            self.rto_at = Instant::FAR;
            self.cold.give_up_at = Instant::FAR;
        } else {
            self.arm_timer(env.now, env.config);
            self.cold.give_up_at = env.now + env.config.user_timeout;
        }
        (acked, rtt)
    }

    /// Frees the records of what `ack` covers, in one piece, and samples the RTT from the newest of them.
    #[inline(always)]
    fn free_acked(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) -> Option<Duration> {
        let first = self.segments.head;
        let (mut at, mut last, mut count) = (first, NIL, 0);
        let mut seen = SegmentFlags::default();
        let mut sent_at = Instant::ZERO;
        let mut partial = false;
        while at != NIL {
            let s = env.segments.at(at);
            if !s.seq.before(ack) {
                break;
            }
            seen = seen.union(s.flags);
            sent_at = s.sent_at;
            if s.end().after(ack) {
                partial = true;
                break;
            }
            (last, at) = (at, s.next);
            count += 1;
        }
        if count > 0 {
            self.segments.head = at;
            if at == NIL {
                self.segments.tail = NIL;
            }
            env.segments.release_chain(first, last, count);
        }
        if partial {
            self.trim_first(env.segments, env.sends, ack);
        }
        // Karn: an acknowledgment that covers a retransmission, or what had arrived before it, measures the repair.
        if (count > 0 || partial) && !seen.retransmitted() && !seen.sacked() {
            env.counters.rtt_samples += 1;
            let rtt = env.now.since(sent_at);
            self.rtt.sample(env.now, rtt, env.config);
            self.backoff = 0;
            return Some(rtt);
        }
        None
    }

    /// Only part of the first record is acknowledged: its rest stays.
    #[inline(never)]
    pub(crate) fn trim_first(&mut self, segments: &mut Segments<'_>, sends: &SendEntries<'_>, ack: SeqNum) {
        let s = segments.at_mut(self.segments.head);
        let n = ack.distance_from(s.seq).min(s.len);
        s.seq += n;
        s.len -= n;
        // Before the acknowledged entries go: the record must not name one of them.
        let at = SendQueue::advance(sends, Cursor { entry: s.entry, offset: s.offset }, n);
        s.entry = at.entry;
        s.offset = at.offset;
    }
}
