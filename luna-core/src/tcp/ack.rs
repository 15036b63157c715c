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

/// Karn: an acknowledgment that covers a retransmission, or what had arrived before it, measures the repair.
#[inline(always)]
fn measures(seen: SegmentFlags) -> bool {
    !seen.retransmitted() && !seen.sacked()
}

impl Connection {
    /// `ack` acknowledges new data, in `(snd_una, snd_nxt]`, of a connection in order. Frees records; the send queue's
    /// entries are freed by the caller, who reports their tokens.
    #[inline(never)]
    pub(crate) fn ack_advance(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        let AckEnv { now, config, segments, sends, counters, .. } = env;
        let (acked, rtt) = self.acked_in_order((*now, config), segments, sends, counters, ack);
        self.congestion_acked(env, acked, rtt);
    }

    /// [`Connection::ack_advance`] but for congestion control, which [`Connection::congestion_listens`] tells to be told:
    /// newly acknowledged bytes and the RTT sample, if there was one. For the fast path, which has no [`AckEnv`] at hand.
    #[inline(always)]
    pub(crate) fn acked_in_order(
        &mut self,
        (now, config): (Instant, &TcpConfig),
        segments: &mut Segments<'_>,
        sends: &SendEntries<'_>,
        counters: &mut Counters,
        ack: SeqNum,
    ) -> (u32, Option<Duration>) {
        let acked = ack.distance_from(self.snd_una);
        let sent_at = self.free_acked(segments, sends, ack);
        self.snd_una = ack;
        let mut rtt = None;
        if let Some(sent_at) = sent_at {
            counters.rtt_samples += 1;
            let sample = now.since(sent_at);
            self.rtt.sample(now, sample);
            self.backoff = 0;
            rtt = Some(sample);
        }
        if self.snd_una == self.snd_nxt {
            self.rto_at = Instant::FAR;
            self.cold.give_up_at = Instant::FAR;
        } else {
            self.arm_timer(now, config);
            self.cold.give_up_at = now + config.user_timeout;
        }
        (acked, rtt)
    }

    /// Frees the records of what `ack` covers. When the newest of them was sent, if that measures a round trip.
    #[inline(always)]
    fn free_acked(&mut self, segments: &mut Segments<'_>, sends: &SendEntries<'_>, ack: SeqNum) -> Option<Instant> {
        if self.segments.is_lone() && ack == self.snd_nxt {
            // One burst is under way, and all of it is acknowledged: so it is where a request waits for its answer.
            segments.cancel();
            return Some(core::mem::replace(&mut self.segments.lone, Instant::FAR));
        }
        self.write_record(segments, sends);
        self.free_several(segments, sends, ack)
    }

    /// The same, whatever `ack` covers: all that it does in one piece.
    #[inline(never)]
    fn free_several(&mut self, segments: &mut Segments<'_>, sends: &SendEntries<'_>, ack: SeqNum) -> Option<Instant> {
        let first = self.segments.head();
        let (mut at, mut last, mut count) = (first, NIL, 0);
        let mut seen = SegmentFlags::default();
        let mut sent_at = Instant::ZERO;
        let mut partial = false;
        while at != NIL {
            let s = segments.at(at);
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
            segments.release_chain(first, last, count);
        }
        if partial {
            self.trim_first(segments, sends, ack);
        }
        ((count > 0 || partial) && measures(seen)).then_some(sent_at)
    }

    /// Only part of the first record is acknowledged: its rest stays.
    #[inline]
    pub(crate) fn trim_first(&mut self, segments: &mut Segments<'_>, sends: &SendEntries<'_>, ack: SeqNum) {
        let s = segments.at_mut(self.segments.head());
        let n = ack.distance_from(s.seq).min(s.len);
        s.seq += n;
        s.len -= n;
        // Before the acknowledged entries go: the record must not name one of them.
        let at = SendQueue::advance(sends, Cursor { entry: s.entry, offset: s.offset }, n);
        s.entry = at.entry;
        s.offset = at.offset;
    }
}
