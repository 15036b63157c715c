//! Sending again: lost segments, tail loss probes, and new data while a connection is in disorder.
//!
//! What is lost and how much may leave is decided in [`crate::tcp::recovery`].

use super::Stack;
use super::output::Output;
use super::transmit::{Piece, Sent};
use crate::nic::NicQueue;
use crate::tcp::segments::cut_behind;
use crate::tcp::send_queue::Cursor;

impl<Q: NicQueue> Stack<'_, Q> {
    /// Output of a connection in disorder: a probe, what is lost, new data, and what RFC 6675 sends on suspicion.
    #[cold]
    #[inline(never)]
    pub(super) fn output_in_disorder(&mut self, slot: u32) -> Output {
        if self.conns.at(slot).probe_is_pending(&self.recoveries) {
            let r = self.output_probe(slot);
            if r != Output::Done {
                return r;
            }
        }
        loop {
            let r = self.output_lost(slot);
            if r != Output::Done {
                return r;
            }
            if self.conns.at(slot).first_lost(&mut self.recoveries, &self.segments).is_some() {
                // Nothing new goes before it, though it may be smaller (RFC 6675 §4, NextSeg).
                return Output::Done;
            }
            let r = self.output_new(slot);
            let c = self.conns.at(slot);
            let config = self.profiles.at(c.profile);
            if r != Output::Done || c.unsent() > 0 || !c.has_window_room(&self.recoveries, &self.segments) {
                return r;
            }
            if !c.mark_speculative(&mut self.recoveries, &mut self.segments, config) {
                return r;
            }
            self.counters.speculative += 1;
        }
    }

    /// Sends lost segments again, as the congestion window allows.
    fn output_lost(&mut self, slot: u32) -> Output {
        loop {
            let c = self.conns.at(slot);
            let Some(i) = c.first_lost(&mut self.recoveries, &self.segments) else { return Output::Done };
            let pipe = c.pipe(&self.recoveries, &self.segments);
            // What the peer waits for goes out whatever the window says (RFC 6675 §5, step 4.3): recovery must not
            // depend on what never comes back.
            let head = i == c.segments.head();
            if pipe > 0 && !head && pipe + self.segments.at(i).len > c.send_window(&self.recoveries) {
                return Output::Done;
            }
            let r = self.send_again(slot, i);
            if r != Output::Done {
                return r;
            }
        }
    }

    /// Sends record `i` again.
    fn send_again(&mut self, slot: u32, i: u32) -> Output {
        let s = self.segments.at(i);
        let piece = Piece {
            seq: s.seq,
            at: Cursor { entry: s.entry, offset: s.offset },
            len: s.len,
            fin: s.flags.fin(),
            push: true,
            large: false,
        };
        let sent = match self.transmit_data(slot, &piece) {
            Sent::Bytes(n, _) => n,
            Sent::Stalled => return Output::Stalled,
            Sent::Revoked => return Output::Revoked,
        };
        if sent < piece.len {
            self.split_segment(slot, i, sent);
        }
        self.counters.retransmits += 1;
        let bytes = self.segments.at(i).span();
        let now = self.now;
        let c = self.conns.at_mut(slot);
        let config = self.profiles.at(c.profile);
        c.on_retransmit(&mut self.recoveries, &mut self.segments, now, i);
        c.sent_in_disorder(&mut self.recoveries, now, config, bytes);
        Output::Done
    }

    /// A tail loss probe (RFC 8985 §7.3): new data if the peer's window takes it, whatever the congestion window says;
    /// otherwise the last segment again. In fast recovery the first one, which the peer waits for.
    fn output_probe(&mut self, slot: u32) -> Output {
        let c = self.conns.at(slot);
        if c.segments.is_empty() || c.flags.persist() {
            self.conns.at_mut(slot).probe_left(&mut self.recoveries, None);
            return Output::Done;
        }
        if c.flags.recovery() {
            return self.output_repair_probe(slot);
        }
        let room = c.snd_wnd.saturating_sub(c.in_flight());
        let len = c.unsent().min(u32::from(c.mss));
        let wanted = self.profiles.at(c.profile).probe_new_data;
        let fresh = wanted && len > 0 && len <= room && self.segments.available() > 0;
        if fresh {
            let push = len == c.unsent();
            let piece = Piece { seq: c.snd_nxt, at: c.send.next, len, fin: false, push, large: false };
            match self.transmit_data(slot, &piece) {
                Sent::Bytes(n, at) => self.record(slot, &piece, n, at, false),
                Sent::Stalled => return Output::Stalled,
                Sent::Revoked => return Output::Revoked,
            }
        } else {
            let last = c.segments.tail();
            let r = self.send_again(slot, last);
            if r != Output::Done {
                return r;
            }
        }
        self.counters.tlp_probes += 1;
        self.conns.at_mut(slot).probe_left(&mut self.recoveries, Some(!fresh));
        Output::Done
    }

    fn output_repair_probe(&mut self, slot: u32) -> Output {
        let first = self.conns.at(slot).segments.head();
        let wanted = self.conns.at(slot).repair_is_probed(&self.recoveries);
        // Whether the peer threw away what it had reported is found out otherwise.
        if !wanted || self.segments.at(first).flags.sacked() {
            self.conns.at_mut(slot).repair_probe_left(&mut self.recoveries, None);
            return Output::Done;
        }
        let r = self.send_again(slot, first);
        if r == Output::Done {
            let end = self.segments.at(first).end();
            self.counters.tlp_probes += 1;
            self.counters.repair_probes += 1;
            self.conns.at_mut(slot).repair_probe_left(&mut self.recoveries, Some(end));
        }
        r
    }

    /// A retransmission took only `sent` bytes of record `i`: the rest becomes a record of its own, with the same marks.
    /// Without a free record it counts as sent, and the timer repairs it: trying again would send the same bytes every
    /// turn.
    fn split_segment(&mut self, slot: u32, i: u32, sent: u32) {
        let Some(j) = self.segments.alloc() else {
            self.counters.no_segment_record += 1;
            return;
        };
        cut_behind(&mut self.segments, &self.sends, i, j, sent);
        self.conns.at(slot).on_split(&mut self.recoveries, self.segments.at(j));
        let list = &mut self.conns.at_mut(slot).segments;
        if list.tail() == i {
            list.tail = j;
        }
    }
}
