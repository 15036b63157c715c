//! What must be true of a connection between turns. For tests and the simulator only: nothing here is compiled otherwise.
//!
//! Each statement is one that the code elsewhere relies on without checking: records cover the flight, cursors point where
//! the sequence numbers say, and whatever waits for something has a timer or a place in a list that will wake it.

use super::connection::Connection;
use super::reassembly::OutOfOrders;
use super::segments::Segments;
use super::send_queue::{SendEntries, SendQueue};
use super::state::State;
use crate::slab::NIL;
use crate::time::Instant;

/// How many items of each pool a connection has.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Holds {
    pub(crate) segments: u32,
    pub(crate) sends: u32,
    pub(crate) out_of_order: u32,
}

/// `Err` with what is not true.
#[inline(always)]
pub(crate) fn ensure(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

/// What a connection waits for beside its timers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Waits {
    /// Its output will be looked at without further cause.
    pub(crate) listed: bool,
    /// It is where connections wait for their pace.
    pub(crate) paced: bool,
}

impl Connection {
    /// Checks a connection that is in use.
    pub(crate) fn check(
        &self,
        segments: &Segments<'_>,
        sends: &SendEntries<'_>,
        out_of_order: &OutOfOrders<'_>,
        waits: Waits,
    ) -> Result<Holds, &'static str> {
        let holds = Holds {
            segments: self.check_segments(segments, sends)?,
            sends: self.send.check(sends, self)?,
            out_of_order: self.out_of_order.check(out_of_order, self)?,
        };
        if self.flags.detached() {
            ensure(self.state == State::TimeWait, "told that it is over, but not in TIME-WAIT")?;
            ensure(holds == Holds::default(), "told that it is over, but holds items of pools")?;
        }
        self.check_sequence_numbers()?;
        if !waits.listed {
            self.check_timers(waits.paced)?;
        }
        Ok(holds)
    }

    fn check_sequence_numbers(&self) -> Result<(), &'static str> {
        ensure(self.snd_una.before_eq(self.snd_nxt), "snd_una is behind snd_nxt")?;
        if self.state.synchronised() && !self.flags.detached() {
            let end = self.send.end + u32::from(self.flags.fin_sent());
            ensure(self.snd_nxt.before_eq(end), "snd_nxt is behind what was queued")?;
            ensure(!self.flags.fin_sent() || self.snd_nxt == end, "FIN was sent, data was not")?;
            ensure(self.mss > 0, "the segment size is zero")?;
        }
        ensure(self.rcv_nxt.before_eq(self.rcv_adv), "rcv_nxt is behind the window's edge")?;
        let fin_state = matches!(self.state, State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck);
        ensure(!fin_state || self.flags.fin_sent(), "a state that follows FIN, but FIN was not sent")?;
        let peer_fin = matches!(self.state, State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        ensure(peer_fin == self.flags.fin_received(), "state and flag disagree about the peer's FIN")
    }

    /// Records are contiguous, cover what is in flight, and name the queue's entries that their bytes are in.
    fn check_segments(&self, segments: &Segments<'_>, sends: &SendEntries<'_>) -> Result<u32, &'static str> {
        if self.segments.is_lone() {
            ensure(self.segments.head == NIL && self.segments.tail == NIL, "a lone burst beside records")?;
            ensure(self.in_flight() > 0 && !self.flags.fin_sent(), "a lone burst without data under way")?;
            ensure(!self.flags.disorder(), "a lone burst in disorder")?;
            return Ok(1);
        }
        let (mut at, mut last, mut n) = (self.segments.head(), NIL, 0);
        let mut seq = self.snd_una;
        let mut place = self.send.place_of(sends, seq);
        let mut marked = false;
        while at != NIL {
            ensure(n <= segments.capacity(), "the list of records is a ring")?;
            let s = segments.at(at);
            ensure(s.seq == seq, "records are not contiguous")?;
            ensure(s.len > 0 || s.flags.fin(), "a record of nothing")?;
            ensure(!s.flags.fin() || s.next == NIL, "a record behind that of FIN")?;
            if s.len > 0 {
                ensure(place == Some((s.entry, s.offset)), "a record names another place than its number")?;
                place = place.and_then(|from| behind(sends, from, s.len));
            }
            marked |= s.flags.sacked() || s.flags.lost();
            seq = s.end();
            (last, at) = (at, s.next);
            n += 1;
        }
        ensure(last == self.segments.tail(), "the list of records ends elsewhere")?;
        let flight_end = if self.state.synchronised() { self.snd_nxt } else { self.snd_una };
        ensure(seq == flight_end, "records do not cover the flight")?;
        ensure(!marked || self.flags.disorder(), "records are marked, the connection is not")?;
        Ok(n)
    }

    /// Whatever waits has a deadline. True only when no output is due.
    fn check_timers(&self, paced: bool) -> Result<(), &'static str> {
        ensure(self.wheel_at <= self.deadline(), "the wheel does not know of a deadline")?;
        if self.flags.needs_neighbor() {
            return Ok(());
        }
        let armed = self.rto_at != Instant::FAR;
        match self.state {
            State::Closed => return Err("a closed connection in use"),
            State::SynSent | State::SynReceived => {
                return ensure(armed && self.cold.give_up_at != Instant::FAR, "a handshake without a timer");
            }
            State::TimeWait => return ensure(self.cold.give_up_at != Instant::FAR, "TIME-WAIT without an end"),
            _ => {}
        }
        if self.in_flight() > 0 {
            ensure(armed, "data in flight without a timer")?;
            ensure(self.cold.give_up_at != Instant::FAR, "data in flight without a user timeout")?;
        } else if self.unsent() > 0 || self.flags.fin_queued() && !self.flags.fin_sent() {
            ensure(armed || paced, "something to send, nothing in flight, no timer")?;
        }
        ensure(!self.flags.persist() || armed, "window probes without a timer")?;
        ensure(self.ack_owed == 0 || self.ack_at != Instant::FAR, "an owed acknowledgment without a timer")?;
        ensure(!self.flags.ack_now(), "an acknowledgment is due, but output is not")
    }
}

impl SendQueue {
    /// The entries hold exactly the queued bytes, and the cursor is where `snd_nxt` is. Returns how many there are.
    fn check(&self, pool: &SendEntries<'_>, conn: &Connection) -> Result<u32, &'static str> {
        let mut n = 0;
        let mut bytes = 0;
        let mut entry = self.head();
        while entry != NIL {
            ensure(n <= pool.capacity(), "the send queue is a ring")?;
            let e = pool.at(entry);
            ensure(e.frag.is_some(), "an entry of the send queue without a fragment")?;
            bytes += e.frag.as_ref().map_or(0, crate::zbuf::Frag::len);
            n += 1;
            entry = crate::slab::Node::next(e);
        }
        if conn.flags.detached() {
            return Ok(n);
        }
        ensure(bytes == self.queued(), "the send queue's length is not that of its entries")?;
        if conn.state.synchronised() {
            let next = if conn.flags.fin_sent() { self.end } else { conn.snd_nxt };
            let at = (self.next.entry, self.next.offset);
            ensure(self.place_of(pool, next).unwrap_or((NIL, 0)) == at, "the cursor is not where snd_nxt is")?;
        }
        Ok(n)
    }

    /// Entry and offset of the byte `seq`; `None` behind the last.
    fn place_of(&self, pool: &SendEntries<'_>, seq: crate::wire::SeqNum) -> Option<(u32, u32)> {
        behind(pool, (self.head(), 0), seq.distance_from(self.head_seq()))
    }
}

/// The place `n` bytes behind `(entry, offset)`; `None` behind the last byte.
fn behind(pool: &SendEntries<'_>, (mut entry, offset): (u32, u32), n: u32) -> Option<(u32, u32)> {
    let mut offset = offset + n;
    while entry != NIL {
        let e = pool.at(entry);
        let len = e.frag.as_ref().map_or(0, crate::zbuf::Frag::len);
        if offset < len {
            return Some((entry, offset));
        }
        offset -= len;
        entry = crate::slab::Node::next(e);
    }
    None
}
