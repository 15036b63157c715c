//! Payload and FIN of a segment, in order or not (RFC 9293 §3.10.7.4, seventh and eighth), and what is reported of them.

use super::Env;
use crate::stack::CloseReason;
use crate::tcp::connection::Connection;
use crate::tcp::outcome::Outcome;
use crate::tcp::reassembly::OutOfOrders;
use crate::tcp::state::State;
use crate::wire::{SackBlocks, SeqNum, TcpPacket};
use crate::zbuf::Zbuf;

impl Connection {
    /// Payload and FIN.
    pub(super) fn take_data(
        &mut self,
        env: &mut Env<'_, '_>,
        packet: &TcpPacket,
        frame: Zbuf,
        mut outcome: Outcome,
    ) -> Outcome {
        let mut seq = packet.tcp.seq;
        let mut data = frame;
        data.trim_front(packet.payload_offset.into());
        data.truncate(packet.payload_len.into());
        let mut fin = packet.tcp.flags.fin();
        if data.is_empty() && !fin {
            return outcome;
        }
        if !self.state.receives() {
            env.ack.counters.unexpected += 1;
            self.flags.set_ack_now(true);
            return outcome;
        }
        if seq.before(self.rcv_nxt) {
            let old = self.rcv_nxt.distance_from(seq);
            self.report_duplicate(env, seq, self.rcv_nxt.earlier(seq + data.len()));
            data.trim_front(old);
            seq = self.rcv_nxt;
        }
        let room = self.rcv_adv.distance_from(seq);
        if data.len() > room {
            env.ack.counters.outside_window += 1;
            self.flags.set_ack_now(true);
            data.truncate(room);
            fin = false;
        }
        if self.flags.fin_ahead() && (seq + data.len()).after(self.cold.fin_at) {
            // Nothing lies behind FIN.
            env.ack.counters.unexpected += 1;
            data.truncate(self.cold.fin_at.distance_from(seq.earlier(self.cold.fin_at)));
            fin = false;
        }
        let len = data.len();
        if len > 0 && self.flags.closed() {
            // Nobody takes it any more: say so (RFC 9293 §3.6.1).
            env.ack.counters.data_after_close += 1;
            return Outcome::closed_with_reset(CloseReason::Aborted);
        }
        if seq != self.rcv_nxt {
            return self.take_out_of_order(env, seq, data, fin, outcome);
        }
        if !self.out_of_order.is_empty()
            && let Some(gap) = self.out_of_order.gap(env.out_of_order, seq, len)
        {
            // What came first stays: only the gap is taken from this segment, the rest as if it had come ahead.
            let rest = data.slice(gap..);
            data.truncate(gap);
            outcome = self.take_out_of_order(env, seq + gap, rest, fin, outcome);
            // One acknowledgment, when what waited behind the gap was taken in as well.
            outcome.events.set_ack_at_once(false);
            fin = false;
        }
        let len = data.len();
        if len > 0 {
            if self.rcv_held > self.rcv_budget {
                env.ack.counters.over_budget += 1;
                self.flags.set_ack_now(true);
                return outcome;
            }
            self.rcv_nxt += len;
            self.ack_owed = self.ack_owed.saturating_add(1);
            if !self.out_of_order.is_empty() {
                // It may have filled a gap: RFC 5681 §4.2 wants that acknowledged at once.
                self.flags.set_ack_now(true);
            }
            env.ack.counters.bytes_in += u64::from(len);
            outcome.deliver = Some(data);
        }
        if fin || self.out_of_order.is_empty() && self.fin_is_due() {
            self.take_fin(env, &mut outcome);
        }
        outcome
    }

    fn take_out_of_order(
        &mut self,
        env: &mut Env<'_, '_>,
        seq: SeqNum,
        data: Zbuf,
        fin: bool,
        mut outcome: Outcome,
    ) -> Outcome {
        // One for each such segment: the sender counts them, and each reports another block (RFC 5681 §4.2).
        outcome.events.set_ack_at_once(true);
        self.flags.set_ack_now(true);
        if fin && !self.flags.fin_ahead() {
            self.cold.fin_at = seq + data.len();
            self.flags.set_fin_ahead(true);
            env.ack.counters.fins_ahead += 1;
        }
        if data.is_empty() {
            return outcome;
        }
        let budget = self.rcv_budget.saturating_sub(self.rcv_held);
        let stamp = env.ack.counters.segments_in as u32;
        let inserted = self.out_of_order.insert(env.out_of_order, seq, data, budget, stamp);
        self.rcv_held += inserted.pinned;
        if inserted.new_data {
            env.ack.counters.out_of_order += 1;
        } else if !inserted.refused {
            env.ack.counters.duplicates += 1;
        }
        if let Some((left, right)) = inserted.twice {
            self.report_duplicate(env, left, right);
        }
        if inserted.refused {
            env.ack.counters.out_of_order_full += 1;
        }
        outcome
    }

    /// `[left, right)` arrived twice: the next acknowledgment says so (RFC 2883). Not for what lies so far back that no
    /// sender of ours can have sent it.
    pub(super) fn report_duplicate(&mut self, env: &Env<'_, '_>, left: SeqNum, right: SeqNum) {
        let old = left.before(self.rcv_nxt) && self.rcv_nxt.distance_from(left) > env.ack.config.rcv_wnd.max(1 << 16);
        if self.flags.sack() && left.before(right) && !old {
            self.cold.dsack = (left, right);
            self.flags.set_dsack(true);
            self.flags.set_ack_now(true);
        }
    }

    /// The blocks to report: what arrived twice (RFC 2883 §4), then what waits, newest first (RFC 2018 §4); at most `max`.
    pub(crate) fn sack_blocks(&self, pool: &OutOfOrders<'_>, max: usize) -> SackBlocks {
        let mut out = SackBlocks::EMPTY;
        if self.flags.dsack() {
            out.push(self.cold.dsack.0, self.cold.dsack.1);
        }
        let fin = self.flags.fin_ahead().then_some(self.cold.fin_at);
        self.out_of_order.blocks(pool, self.flags.dsack().then_some(self.cold.dsack), fin, max, &mut out);
        out
    }

    /// Whether acknowledgments report anything.
    #[inline(always)]
    pub(crate) fn has_sack_blocks(&self) -> bool {
        self.flags.sack() && (!self.out_of_order.is_empty() || self.flags.dsack() || self.flags.fin_ahead())
    }

    /// The peer's FIN came ahead of its turn: whether that is now.
    pub(crate) fn fin_is_due(&self) -> bool {
        self.flags.fin_ahead() && self.rcv_nxt == self.cold.fin_at && self.state.receives()
    }

    /// The next piece of formerly out-of-order data whose turn has come.
    #[inline]
    pub(crate) fn pop_reassembled(&mut self, env_pool: &mut OutOfOrders<'_>) -> Option<Zbuf> {
        while let Some((data, pinned)) = self.out_of_order.pop(env_pool, self.rcv_nxt) {
            self.rcv_held -= pinned.min(self.rcv_held);
            if !data.is_empty() {
                self.rcv_nxt += data.len();
                return Some(data);
            }
        }
        None
    }

    /// The peer's FIN, in its turn.
    pub(crate) fn take_fin(&mut self, env: &mut Env<'_, '_>, outcome: &mut Outcome) {
        if self.flags.fin_received() {
            return;
        }
        self.rcv_nxt += 1;
        self.flags.set_fin_ahead(false);
        // Nothing can follow it.
        self.rcv_held -= self.out_of_order.clear(env.out_of_order).min(self.rcv_held);
        // FIN may stand right behind the window.
        self.rcv_adv = self.rcv_adv.later(self.rcv_nxt);
        self.flags.set_fin_received(true);
        self.flags.set_ack_now(true);
        outcome.events.set_fin(true);
        match self.state {
            State::Established => self.set_state(env.ack.counters, State::CloseWait),
            State::FinWait1 => self.set_state(env.ack.counters, State::Closing),
            State::FinWait2 => {
                self.enter_time_wait(&mut env.ack);
                outcome.events.set_closed(true);
                outcome.reason = CloseReason::Finished;
            }
            _ => {}
        }
    }
}
