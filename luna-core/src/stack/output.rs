//! What a connection sends: SYN, retransmissions, new data, FIN, probes, acknowledgments; once per burst.

use super::burst::Burst;
use super::deliver::Next;
use super::transmit::{Piece, Sent};
use super::{App, CloseReason, Cx, Stack};
use crate::nic::NicQueue;
use crate::parts::{LEADS, TSO};
use crate::slab::NIL;
use crate::tcp::State;
use crate::tcp::connection::Flags;
use crate::tcp::segments::{Segment, SegmentFlags};
use crate::tcp::send_queue::Cursor;
use crate::time::Instant;

/// How a connection's output ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Done,
    /// No queue space or obj: again next turn.
    Stalled,
    /// No segment record: again when anything has happened that may have freed one.
    Starved,
    Revoked,
}

/// Flags of established connections that have more to do than to send new data and acknowledgments.
#[inline(always)]
fn unusual() -> Flags {
    let mut f = Flags::default();
    f.set_aborting(true);
    f.set_needs_neighbor(true);
    f.set_syn_pending(true);
    f.set_disorder(true);
    f.set_probe_now(true);
    f
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Output of every connection that has some. Returns whether there was any; one that only waits for a segment record
    /// as before is none.
    #[inline(always)]
    pub(super) fn flush_dirty<A: App<Q>>(&mut self, app: &mut A) -> bool {
        if !LEADS {
            // What is left out to be small is not there twice either.
            return self.dirty.head != NIL && self.flush_last(app);
        }
        self.dirty.head != NIL && self.flush_each(app)
    }

    /// The same out of line: at the end of a turn there is something now and then.
    #[inline(never)]
    pub(super) fn flush_last<A: App<Q>>(&mut self, app: &mut A) -> bool {
        self.flush_each(app)
    }

    #[inline(always)]
    fn flush_each<A: App<Q>>(&mut self, app: &mut A) -> bool {
        let mut any = false;
        while self.dirty.head != NIL {
            let slot = self.dirty.head;
            let c = self.conns.at_mut(slot);
            self.dirty.head = c.next_dirty;
            if self.dirty.head == NIL {
                self.dirty.tail = NIL;
            }
            c.flags.set_dirty(false);
            let sent = self.counters.segments_out;
            let plain = c.state == State::Established && c.flags.bits() & unusual().bits() == 0;
            let burst = if plain { self.output_burst(slot) } else { Burst::Rest };
            // What was sent acknowledged along.
            if burst == Burst::All || burst == Burst::Nothing && self.output_ack(slot) == Output::Done {
                any = true;
                self.arm(slot);
                continue;
            }
            any |= self.flush_one(slot, plain, sent, app);
        }
        any
    }

    /// Whatever a connection has to do. `tried`: all that could be sent plainly was; `sent` is how many segments had left
    /// before. Returns whether there was any output, or may be soon.
    #[inline(never)]
    fn flush_one<A: App<Q>>(&mut self, slot: u32, tried: bool, sent: u64, app: &mut A) -> bool {
        let c = self.conns.at(slot);
        if c.state == State::Closed {
            self.conns.release(slot);
            return true;
        }
        if c.flags.aborting() {
            self.reset_connection(slot);
            self.over(slot, CloseReason::Aborted, app);
            return true;
        }
        if c.flags.needs_neighbor() && !self.announce_neighbor(slot, app) {
            self.arm(slot);
            return true;
        }
        let mut any = true;
        match self.output(slot, tried) {
            Output::Done => {}
            Output::Stalled => {
                self.stalled_busy = true;
                self.stall(slot);
            }
            Output::Starved => {
                any = self.counters.segments_out != sent;
                self.stall(slot);
            }
            Output::Revoked => {
                self.counters.revoked += 1;
                self.reset_connection(slot);
                if self.over(slot, CloseReason::Revoked, app) == Next::Gone {
                    return true;
                }
            }
        }
        self.arm(slot);
        any
    }

    fn stall(&mut self, slot: u32) {
        let c = self.conns.at_mut(slot);
        if c.flags.dirty() {
            // A callback put it back among those with output: the two lists share a link, and its turn comes once more.
            return;
        }
        c.flags.set_dirty(true);
        c.next_dirty = NIL;
        if self.stalled.tail == NIL {
            self.stalled.head = slot;
        } else {
            self.conns.at_mut(self.stalled.tail).next_dirty = slot;
        }
        self.stalled.tail = slot;
    }

    /// Asks the application for the next hop once; true when it is known by now.
    #[cold]
    fn announce_neighbor<A: App<Q>>(&mut self, slot: u32, app: &mut A) -> bool {
        if self.set_template(slot, None) {
            return true;
        }
        self.counters.no_neighbor += 1;
        let c = self.conns.at_mut(slot);
        if c.flags.neighbor_announced() {
            return false;
        }
        c.flags.set_neighbor_announced(true);
        let (path, remote) = (c.path, c.key.addrs().0);
        let hop = self.paths.get(usize::from(path)).and_then(|p| p.next_hop(remote)).unwrap_or(remote);
        app.on_neighbor_needed(&mut Cx { stack: self }, super::PathId(path), hop);
        !self.conns.at(slot).flags.needs_neighbor() || self.set_template(slot, None)
    }

    #[inline(always)]
    fn output(&mut self, slot: u32, tried: bool) -> Output {
        let c = self.conns.at(slot);
        if c.flags.syn_pending() || !c.state.synchronised() {
            return self.output_syn(slot);
        }
        self.conns.at_mut(slot).write_record(&mut self.segments, &self.sends);
        let c = self.conns.at(slot);
        let data = if c.flags.disorder() {
            self.output_in_disorder(slot)
        } else if tried {
            self.output_rest(slot)
        } else {
            self.output_new(slot)
        };
        // An acknowledgment needs no record, and the peer may wait for it to acknowledge in turn what holds ours.
        if !matches!(data, Output::Done | Output::Starved) {
            return data;
        }
        let c = self.conns.at_mut(slot);
        if c.flags.probe_now() {
            c.flags.set_probe_now(false);
            let seq = c.snd_una - 1;
            if !self.transmit_ack(slot, seq) {
                return Output::Stalled;
            }
            self.counters.window_probes += 1;
        }
        match self.output_ack(slot) {
            Output::Done => data,
            stalled => stalled,
        }
    }

    /// An acknowledgment that found nothing to ride on.
    #[inline(always)]
    fn output_ack(&mut self, slot: u32) -> Output {
        let now = self.now;
        let c = self.conns.at_mut(slot);
        let config = self.profiles.at(c.profile);
        if c.flags.ack_now() || c.ack_owed >= config.ack_ratio {
            let seq = c.snd_nxt;
            if !self.transmit_ack(slot, seq) {
                return Output::Stalled;
            }
            self.counters.acks_out += 1;
        } else if c.ack_owed > 0 && c.ack_at == Instant::FAR {
            c.ack_at = now + config.ack_delay;
        }
        Output::Done
    }

    #[cold]
    fn output_syn(&mut self, slot: u32) -> Output {
        let c = self.conns.at_mut(slot);
        let seq = c.snd_nxt;
        if !c.flags.syn_pending() || c.state.synchronised() {
            c.flags.set_syn_pending(false);
            let owed = c.state == State::SynReceived && c.flags.ack_now();
            // Both opened at once: the peer's SYN-ACK is acknowledged before ours is (RFC 9293 §3.5, figure 8).
            return if owed && !self.transmit_ack(slot, seq) { Output::Stalled } else { Output::Done };
        }
        if !self.transmit_syn(slot) {
            return Output::Stalled;
        }
        let now = self.now;
        let c = self.conns.at_mut(slot);
        let config = self.profiles.at(c.profile);
        c.flags.set_syn_pending(false);
        c.flags.set_ack_now(false);
        if c.snd_nxt == c.cold.iss {
            c.snd_nxt = c.cold.iss + 1;
            c.cold.syn_sent_at = now;
        } else {
            // Sent again, whoever asked for it: no sample (Karn).
            c.cold.syn_sent_at = Instant::FAR;
        }
        if c.rto_at == Instant::FAR {
            c.arm_rto(now, config);
        }
        Output::Done
    }

    /// Sends what was never sent, as both windows allow; then FIN, when it is due.
    #[inline(never)]
    pub(super) fn output_new(&mut self, slot: u32) -> Output {
        if self.output_burst(slot) == Burst::Rest { self.output_rest(slot) } else { Output::Done }
    }

    /// New data and FIN, whatever is to be seen to.
    #[inline(never)]
    fn output_rest(&mut self, slot: u32) -> Output {
        // A burst may have left just now, and stopped at what is sent here.
        self.conns.at_mut(slot).write_record(&mut self.segments, &self.sends);
        if self.conns.at(slot).flags.careful() {
            self.resume_idle(slot);
        }
        let c = self.conns.at(slot);
        let mut pipe = c.pipe(&self.recoveries, &self.segments);
        let cwnd = c.send_window(&self.recoveries);
        loop {
            let c = self.conns.at_mut(slot);
            let unsent = c.unsent();
            let fin = c.flags.fin_queued() && !c.flags.fin_sent();
            if unsent == 0 && !fin {
                return Output::Done;
            }
            let mss = u32::from(c.mss);
            let flight = c.in_flight();
            let mut len = unsent.min(mss);
            let cwnd_room = cwnd.saturating_sub(pipe);
            // A paced connection is held by its rate; a window that is no multiple of a segment is rounded up.
            let held = len > cwnd_room && (cwnd_room == 0 || !(c.flags.careful() && c.cold.modes.paced()));
            if held && pipe > 0 {
                c.flags.set_cwnd_limited(true);
                return Output::Done;
            }
            let wnd_room = c.snd_wnd.saturating_sub(flight);
            if len > wnd_room {
                // Sender's side of silly window avoidance (RFC 9293 §3.8.6.2.1).
                let worthwhile = wnd_room >= mss || wnd_room >= c.cold.max_window / 2;
                // With nothing in flight the timer decides: a probe, or as much as the window takes after all.
                let forced = c.flags.probe_now() && flight == 0;
                if wnd_room == 0 || !(worthwhile || forced) {
                    if flight == 0 {
                        self.enter_persist(slot);
                    }
                    return Output::Done;
                }
                if c.flags.persist() {
                    c.flags.set_persist(false);
                    c.flags.set_probe_now(false);
                    c.rto_at = Instant::FAR;
                    // What it was doubled for was no loss.
                    c.backoff = 0;
                }
                len = wnd_room;
            } else if len < mss && self.profiles.at(c.profile).nagle && flight > 0 && !fin {
                return Output::Done;
            }
            if self.segments.available() == 0 {
                self.counters.no_segment_record += 1;
                return Output::Starved;
            }
            if self.conns.at(slot).flags.careful() && self.must_wait(slot) {
                return Output::Done;
            }
            let mut large = false;
            if TSO && len == mss && unsent > mss {
                let more = self.large_len(slot, cwnd_room.min(wnd_room));
                (len, large) = (len.max(more), more > len);
            }
            let c = self.conns.at(slot);
            let last = len == unsent;
            let piece = Piece { seq: c.snd_nxt, at: c.send.next, len, fin: fin && last, push: last, large };
            let (sent, at) = match self.transmit_data(slot, &piece) {
                Sent::Bytes(n, at) => (n, at),
                Sent::Stalled => return Output::Stalled,
                Sent::Revoked => return Output::Revoked,
            };
            let fin = piece.fin && sent == len;
            self.record(slot, &piece, sent, at, fin);
            if large {
                self.conns.at_mut(slot).flags.set_uncut(true);
            }
            if self.conns.at(slot).flags.careful() {
                self.pace(slot, sent);
            }
            pipe += sent;
            if sent == 0 && !fin {
                return Output::Stalled;
            }
        }
    }

    /// Accounts for a segment that was sent for the first time.
    #[inline(always)]
    pub(super) fn record(&mut self, slot: u32, piece: &Piece, sent: u32, at: Cursor, fin: bool) {
        if sent == 0 && !fin {
            return;
        }
        // Availability was checked before anything was sent.
        let Some(i) = self.segments.alloc() else { return };
        let mut flags = SegmentFlags::default();
        flags.set_fin(fin);
        *self.segments.at_mut(i) = Segment {
            sent_at: self.now,
            seq: piece.seq,
            len: sent,
            entry: piece.at.entry,
            offset: piece.at.offset,
            next: NIL,
            flags,
        };
        let now = self.now;
        let c = self.conns.at_mut(slot);
        let config = self.profiles.at(c.profile);
        c.segments.push(&mut self.segments, i);
        c.send.next = at;
        c.snd_nxt = piece.seq + (sent + u32::from(fin));
        // FIN alone asks the peer for nothing.
        if sent > 0 {
            c.flags.set_data_sent(true);
        }
        if c.flags.disorder() {
            c.sent_in_disorder(&mut self.recoveries, now, config, sent + u32::from(fin));
        } else if c.rto_at == Instant::FAR {
            c.arm_timer(now, config);
            c.cold.give_up_at = now + config.user_timeout;
        } else if sent > 0 && c.probe_waits_for_one(now, config) {
            c.arm_timer(now, config);
        }
        self.counters.bytes_out += u64::from(sent);
        if fin {
            c.flags.set_fin_sent(true);
            let next = match c.state {
                State::CloseWait => State::LastAck,
                _ => State::FinWait1,
            };
            c.set_state(&mut self.counters, next);
        }
    }

    /// The first new data after a while: the window may have decayed.
    #[cold]
    fn resume_idle(&mut self, slot: u32) {
        let (conn, env) = self.split(slot);
        if conn.unsent() > 0
            && let Some(idle) = conn.take_idle(env.now_ms)
        {
            let before = conn.congestion.window();
            conn.congestion_resumes(idle, env.ack.config, env.ack.controls);
            env.ack.counters.idle_decays += u64::from(conn.congestion.window() < before);
        }
    }

    #[cold]
    fn enter_persist(&mut self, slot: u32) {
        let now = self.now;
        let c = self.conns.at_mut(slot);
        let config = self.profiles.at(c.profile);
        if c.flags.persist() {
            return;
        }
        c.drop_record(&mut self.recoveries);
        c.flags.set_persist(true);
        c.backoff = 0;
        c.arm_rto(now, config);
        let patience = config.zero_window_timeout;
        c.cold.stalled_until = if patience.is_zero() { Instant::FAR } else { now + patience };
        c.cold.give_up_at = (now + config.user_timeout).min(c.cold.stalled_until);
    }
}
