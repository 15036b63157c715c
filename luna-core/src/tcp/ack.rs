//! What an acknowledgment does: frees records, samples the RTT, feeds congestion control, keeps the scoreboard.
//!
//! Loss is found by three duplicate acknowledgments (RFC 5681) or, with SACK, by three segments reported above
//! (RFC 6675 §4); a partial acknowledgment in recovery takes the next segment for lost (RFC 6582 §3.2).

use super::config::TcpConfig;
use super::congestion::{Ack, CongestionControl};
use super::connection::Connection;
use super::segments::{SegmentFlags, Segments};
use super::send_queue::{Cursor, SendEntries, SendQueue};
use crate::counters::Counters;
use crate::slab::NIL;
use crate::time::Instant;
use crate::wire::{SackBlocks, SeqNum};

/// Segments reported above one before it counts as lost (DupThresh).
const DUP_THRESH: u32 = 3;

/// What acknowledgment processing needs beside the connection.
pub(crate) struct AckEnv<'a, 'm> {
    pub(crate) now: Instant,
    pub(crate) config: &'a TcpConfig,
    pub(crate) segments: &'a mut Segments<'m>,
    pub(crate) sends: &'a mut SendEntries<'m>,
    pub(crate) counters: &'a mut Counters,
}

impl Connection {
    /// `ack` acknowledges new data: in `(snd_una, snd_nxt]`. Frees records; the send queue's entries are freed by the
    /// caller, who reports their tokens.
    #[inline(never)]
    pub(crate) fn ack_advance(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        self.ack_advance_in_line(env, ack);
    }

    /// As above, for the fast path alone.
    #[inline(always)]
    pub(crate) fn ack_advance_in_line(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        let acked = ack.distance_from(self.snd_una);
        self.snd_una = ack;
        self.free_acked(env, ack);
        self.backoff = 0;
        self.cold.dup_acks = 0;
        if self.snd_una == self.snd_nxt {
            self.rto_at = Instant::FAR;
            self.cold.give_up_at = Instant::FAR;
        } else {
            self.arm_rto(env.now, env.config);
            self.cold.give_up_at = env.now + env.config.user_timeout;
        }
        if self.flags.disorder() {
            self.ack_in_disorder(env, acked);
        } else {
            self.grow(acked);
        }
    }

    /// Frees the records of what `ack` covers, in one piece, and samples the RTT from the newest of them.
    #[inline(always)]
    fn free_acked(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
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
            self.rtt.sample(env.now.since(sent_at), env.config);
        }
    }

    #[inline(always)]
    fn grow(&mut self, acked: u32) {
        if self.flags.cwnd_limited() {
            let mss = u32::from(self.mss);
            self.congestion.on_ack(&Ack { acked, mss, limited: true });
            self.flags.set_cwnd_limited(false);
        }
    }

    /// Only part of the first record is acknowledged: its rest stays.
    #[inline(never)]
    fn trim_first(&mut self, segments: &mut Segments<'_>, sends: &SendEntries<'_>, ack: SeqNum) {
        let s = segments.at_mut(self.segments.head);
        let n = ack.distance_from(s.seq).min(s.len);
        s.seq += n;
        s.len -= n;
        // Before the acknowledged entries go: the record must not name one of them.
        let at = SendQueue::advance(sends, Cursor { entry: s.entry, offset: s.offset }, n);
        s.entry = at.entry;
        s.offset = at.offset;
    }

    #[cold]
    fn ack_in_disorder(&mut self, env: &mut AckEnv<'_, '_>, acked: u32) {
        let mss = u32::from(self.mss);
        let in_recovery = self.flags.recovery() || self.flags.timeout_recovery();
        if in_recovery && self.snd_una.after_eq(self.cold.recovery_point) {
            if self.flags.recovery() {
                let flight = self.in_flight();
                self.congestion.on_recovered(flight, mss);
            }
            self.flags.set_recovery(false);
            self.flags.set_timeout_recovery(false);
        } else if in_recovery {
            if self.flags.timeout_recovery() {
                self.congestion.on_ack(&Ack { acked, mss, limited: true });
            }
            // A partial acknowledgment: what now comes first was lost too, unless it was just sent again.
            if !self.segments.is_empty() {
                let s = env.segments.at_mut(self.segments.head);
                if !s.flags.sacked() && !s.flags.retransmitted() {
                    s.flags.set_lost(true);
                }
            }
        } else {
            self.grow(acked);
        }
        let busy = self.flags.recovery() || self.flags.timeout_recovery() || self.any_marked(env.segments);
        self.flags.set_disorder(busy);
    }

    fn any_marked(&self, segments: &Segments<'_>) -> bool {
        let mut at = self.segments.head;
        while at != NIL {
            let s = segments.at(at);
            if s.flags.sacked() || s.flags.lost() {
                return true;
            }
            at = s.next;
        }
        false
    }

    /// Takes in SACK blocks. Blocks outside what is in flight are ignored (RFC 2018 §5; D-SACK is not acted on).
    /// Returns whether anything was news.
    pub(crate) fn take_sack(&mut self, segments: &mut Segments<'_>, blocks: &SackBlocks) -> bool {
        let mut news = false;
        for (left, right) in blocks.iter() {
            if !left.before(right) || left.before(self.snd_una) || right.after(self.snd_nxt) {
                continue;
            }
            let mut at = self.segments.head;
            while at != NIL {
                let s = segments.at_mut(at);
                if s.seq.after_eq(right) {
                    break;
                }
                if s.seq.after_eq(left) && s.end().before_eq(right) && !s.flags.sacked() {
                    s.flags.set_sacked(true);
                    s.flags.set_lost(false);
                    news = true;
                }
                at = s.next;
            }
        }
        if news {
            self.flags.set_disorder(true);
        }
        news
    }

    /// A duplicate acknowledgment, or one with SACK news: marks what is lost and enters recovery when anything is.
    pub(crate) fn detect_loss(&mut self, env: &mut AckEnv<'_, '_>, duplicate: bool) {
        if duplicate {
            self.cold.dup_acks = self.cold.dup_acks.saturating_add(1);
        }
        let lost = if self.flags.sack() && self.flags.disorder() {
            self.mark_lost_by_sack(env.segments)
        } else {
            u32::from(self.cold.dup_acks) >= DUP_THRESH && !self.flags.recovery() && self.mark_first_lost(env.segments)
        };
        let in_recovery = self.flags.recovery() || self.flags.timeout_recovery();
        if lost && !in_recovery {
            let flight = self.in_flight();
            self.flags.set_recovery(true);
            self.flags.set_disorder(true);
            self.cold.recovery_point = self.snd_nxt;
            self.congestion.on_loss(flight, u32::from(self.mss));
            env.counters.fast_recoveries += 1;
        }
    }

    fn mark_first_lost(&mut self, segments: &mut Segments<'_>) -> bool {
        if self.segments.is_empty() {
            return false;
        }
        let s = segments.at_mut(self.segments.head);
        if s.flags.retransmitted() {
            return false;
        }
        s.flags.set_lost(true);
        true
    }

    /// Marks segments with at least [`DUP_THRESH`] reported segments above them. One retransmission each: a lost
    /// retransmission is left to the timer.
    fn mark_lost_by_sack(&mut self, segments: &mut Segments<'_>) -> bool {
        let mut above = 0;
        let mut at = self.segments.head;
        while at != NIL {
            let s = segments.at(at);
            above += u32::from(s.flags.sacked());
            at = s.next;
        }
        let mut any = false;
        at = self.segments.head;
        while at != NIL && above >= DUP_THRESH {
            let s = segments.at_mut(at);
            if s.flags.sacked() {
                above -= 1;
            } else if !s.flags.lost() && !s.flags.retransmitted() {
                s.flags.set_lost(true);
                any = true;
            }
            at = s.next;
        }
        any
    }

    /// Bytes that the network is thought to hold (RFC 6675's pipe).
    pub(crate) fn pipe(&self, segments: &Segments<'_>) -> u32 {
        if !self.flags.disorder() {
            return self.in_flight();
        }
        let mut pipe = 0;
        let mut at = self.segments.head;
        while at != NIL {
            let s = segments.at(at);
            if !s.flags.sacked() && !s.flags.lost() {
                pipe += s.len;
            }
            at = s.next;
        }
        if self.flags.sack() {
            return pipe;
        }
        // Without reports every duplicate acknowledgment stands for a segment that left the network (RFC 5681 §3.2).
        pipe.saturating_sub(u32::from(self.cold.dup_acks) * u32::from(self.mss))
    }

    /// The first segment to send again.
    pub(crate) fn first_lost(&self, segments: &Segments<'_>) -> Option<u32> {
        if !self.flags.disorder() {
            return None;
        }
        let mut at = self.segments.head;
        while at != NIL {
            let s = segments.at(at);
            if s.flags.lost() {
                return Some(at);
            }
            at = s.next;
        }
        None
    }

    /// The retransmission timer fired with data in flight: all of it is lost, reports included (RFC 2018 §8).
    pub(crate) fn on_timeout(&mut self, env: &mut AckEnv<'_, '_>) {
        self.cut_records(env.segments, env.sends);
        let flight = self.in_flight();
        self.congestion.on_timeout(flight, u32::from(self.mss), self.backoff == 0);
        self.backoff = self.backoff.saturating_add(1);
        self.cold.rtos += 1;
        env.counters.rtos += 1;
        let mut at = self.segments.head;
        while at != NIL {
            let s = env.segments.at_mut(at);
            s.flags.set_sacked(false);
            s.flags.set_lost(true);
            at = s.next;
        }
        self.flags.set_disorder(true);
        self.flags.set_recovery(false);
        self.flags.set_timeout_recovery(true);
        self.cold.recovery_point = self.snd_nxt;
        self.cold.dup_acks = 0;
        self.arm_rto(env.now, env.config);
    }
}
