//! An arriving segment. In-order data and acknowledgments on an established connection go straight through
//! [`Connection::input`]; everything else takes RFC 9293 §3.10.7's steps in their order, each a function.

use super::ack::AckEnv;
use super::connection::{Connection, Flags};
pub(crate) use super::outcome::{Events, Outcome};
use super::reassembly::OutOfOrders;
use super::recovery::AckSeen;
use super::state::State;
use crate::stack::{ChallengeLimit, CloseReason};
use crate::time::Instant;
use crate::wire::{ParseError, SackBlocks, SeqNum, TcpFlags, TcpOptions, TcpPacket};
use crate::zbuf::Zbuf;

/// What a segment needs beside its connection.
pub(crate) struct Env<'a, 'm> {
    pub(crate) ack: AckEnv<'a, 'm>,
    pub(crate) out_of_order: &'a mut OutOfOrders<'m>,
    pub(crate) challenge: &'a mut ChallengeLimit,
    pub(crate) now_ms: u32,
}

/// Flags that a fast-path segment must not meet.
#[inline(always)]
fn slow_flags() -> Flags {
    let mut f = Flags::default();
    f.set_disorder(true);
    f.set_persist(true);
    f.set_closed(true);
    f.set_syn_pending(true);
    f.set_fin_ahead(true);
    f.set_echo_ce(true);
    f
}

/// Flags of connections whose headers are not predicted.
#[inline(always)]
fn unpredictable_flags() -> Flags {
    let mut f = slow_flags();
    f.set_tagged(true);
    f
}

/// `ts_recent` older than this says nothing (RFC 7323 §5.5).
const TS_RECENT_EXPIRES_MS: u32 = 24 * 24 * 3600 * 1000;

impl Connection {
    /// Takes in a segment. `frame` is what `packet` was parsed from.
    #[inline]
    pub(crate) fn input(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket, frame: Zbuf, our_mss: u16) -> Outcome {
        let tcp = &packet.tcp;
        let len = u32::from(packet.payload_len);
        let advance = tcp.ack.distance_from(self.snd_una);
        if self.state == State::Established
            && self.flags.bits() & slow_flags().bits() == 0
            && tcp.flags.bits() & !TcpFlags::PSH.bits() == TcpFlags::ACK.bits()
            && tcp.seq == self.rcv_nxt
            && len <= self.rcv_adv.distance_from(self.rcv_nxt)
            && advance <= self.in_flight()
            && advance | len != 0
            && self.out_of_order.is_empty()
            && self.rcv_held <= self.rcv_budget
            && packet.ecn() != 3
            && self.fast_timestamps(env, packet, &frame)
        {
            env.ack.counters.fast_path += 1;
            self.snd_wnd = u32::from(tcp.window) << self.snd_scale;
            self.snd_wl1 = tcp.seq;
            self.snd_wl2 = tcp.ack;
            if advance > 0 {
                self.ack_advance(&mut env.ack, tcp.ack);
            }
            if len == 0 {
                return Outcome::NOTHING;
            }
            let mut data = frame;
            data.trim_front(packet.payload_offset.into());
            data.truncate(len);
            self.rcv_nxt += len;
            self.ack_owed = self.ack_owed.saturating_add(1);
            env.ack.counters.bytes_in += u64::from(len);
            return Outcome { deliver: Some(data), ..Outcome::NOTHING };
        }
        self.input_slow(env, packet, frame, our_mss)
    }

    /// Header prediction. False: nothing was done. The payload is the caller's to account for.
    #[inline(always)]
    pub(crate) fn predicted(&mut self, seg: &crate::wire::PlainSegment) -> bool {
        let len = seg.payload_len;
        let advance = seg.ack.distance_from(self.snd_una);
        let ok = self.state == State::Established
            && self.flags.bits() & unpredictable_flags().bits() == 0
            && self.flags.timestamps()
            && seg.seq == self.rcv_nxt
            && len <= self.rcv_adv.distance_from(self.rcv_nxt)
            && advance <= self.in_flight()
            && advance | len != 0
            && self.out_of_order.is_empty()
            && self.rcv_held <= self.rcv_budget
            && (seg.tsval.wrapping_sub(self.ts_recent) as i32) >= 0;
        if !ok {
            return false;
        }
        // RFC 7323 §4.3: what a delayed acknowledgment echoes is the first segment that it covers.
        if self.ack_owed == 0 {
            self.ts_recent = seg.tsval;
        }
        self.snd_wnd = u32::from(seg.window) << self.snd_scale;
        self.snd_wl1 = seg.seq;
        self.snd_wl2 = seg.ack;
        true
    }

    /// The fixed timestamp layout with a value that is not old, or none where none are in use. Takes the value in.
    #[inline(always)]
    fn fast_timestamps(&mut self, env: &Env<'_, '_>, packet: &TcpPacket, frame: &Zbuf) -> bool {
        if !self.flags.timestamps() {
            self.ts_recent_ms = env.now_ms;
            return packet.tcp.header_len == 20;
        }
        let Some((tsval, _)) = packet.fixed_timestamps(frame) else { return false };
        if (tsval.wrapping_sub(self.ts_recent) as i32) < 0 {
            return false;
        }
        if self.ack_owed == 0 {
            self.ts_recent = tsval;
        }
        self.ts_recent_ms = env.now_ms;
        true
    }

    #[inline(never)]
    fn input_slow(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket, frame: Zbuf, our_mss: u16) -> Outcome {
        let Ok(options) = TcpOptions::parse(packet.options(&frame)) else {
            env.ack.counters.malformed(ParseError::BadOption);
            return Outcome::NOTHING;
        };
        if self.state == State::SynSent {
            return self.input_syn_sent(env, packet, &options, our_mss);
        }
        if self.is_syn_again(packet) {
            self.flags.set_syn_pending(true);
            env.ack.counters.duplicates += 1;
            return Outcome::NOTHING;
        }
        if !self.check_timestamps(env, packet, &options) {
            return Outcome::NOTHING;
        }
        if !self.check_sequence(env, packet) {
            // Old data may have acknowledged our FIN: both sides closing at once.
            let mut outcome = self.after_fin_acked(env).unwrap_or(Outcome::NOTHING);
            // Each segment that arrived twice is reported by an acknowledgment of its own (RFC 2883 §4).
            outcome.events.set_ack_at_once(self.flags.dsack());
            return outcome;
        }
        let tcp = &packet.tcp;
        if tcp.flags.rst() {
            return self.take_reset(env, packet);
        }
        if tcp.flags.syn() {
            // RFC 5961 §4: never a reason to reset.
            self.challenge(env);
            return Outcome::NOTHING;
        }
        if !tcp.flags.ack() {
            env.ack.counters.unexpected += 1;
            return Outcome::NOTHING;
        }
        let mut outcome = Outcome::NOTHING;
        env.ack.ece = tcp.flags.ece() && self.cold.modes.ecn();
        if self.state == State::SynReceived {
            if tcp.ack != self.cold.iss + 1 || self.snd_nxt == self.cold.iss {
                env.ack.counters.bad_ack += 1;
                return Outcome::reset();
            }
            self.establish(env, tcp.ack);
            self.snd_wnd = u32::from(tcp.window) << self.snd_scale;
            outcome.events.set_connected(true);
        }
        if !self.take_ack(env, packet, &options) {
            return outcome;
        }
        self.take_timestamp(env, packet, &options);
        self.take_marks(env.ack.counters, packet);
        if let Some(over) = self.after_fin_acked(env) {
            return Outcome { events: over.events.union(outcome.events), ..over };
        }
        self.take_data(env, packet, frame, outcome)
    }

    /// RFC 7323 §5.3 R1. Resets are judged by their sequence number alone.
    fn check_timestamps(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket, options: &TcpOptions) -> bool {
        if !self.flags.timestamps() || packet.tcp.flags.rst() {
            return true;
        }
        let Some((tsval, _)) = options.timestamps else {
            // Tolerated, as Linux does: a middlebox may strip them.
            return true;
        };
        let age = env.now_ms.wrapping_sub(self.ts_recent_ms);
        if (tsval.wrapping_sub(self.ts_recent) as i32) < 0 && age < TS_RECENT_EXPIRES_MS {
            env.ack.counters.paws += 1;
            self.answer_unacceptable(env, packet.segment_len());
            return false;
        }
        true
    }

    /// RFC 7323 §4.3: from acceptable segments only, and only those that begin at or before what was acknowledged last.
    /// Anything else would let a stray segment make every later one look old.
    fn take_timestamp(&mut self, env: &Env<'_, '_>, packet: &TcpPacket, options: &TcpOptions) {
        self.ts_recent_ms = env.now_ms;
        if let Some((tsval, _)) = options.timestamps
            && self.flags.timestamps()
            && self.ack_owed == 0
            && packet.tcp.seq.before_eq(self.rcv_nxt)
        {
            self.ts_recent = tsval;
        }
    }

    /// RFC 9293 §3.10.7.4, first step: some of it must be inside the window.
    fn check_sequence(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket) -> bool {
        let seq = packet.tcp.seq;
        let window = self.rcv_adv.distance_from(self.rcv_nxt);
        let len = packet.segment_len();
        let acceptable = match (len, window) {
            (0, 0) => seq == self.rcv_nxt,
            (0, w) => seq.in_window(self.rcv_nxt, w),
            // The acknowledgment counts, and FIN needs no memory; payload is cut off behind (RFC 9293 §3.10.7.4).
            (_, 0) => seq == self.rcv_nxt,
            (n, w) => seq.in_window(self.rcv_nxt, w) || (seq + (n - 1)).in_window(self.rcv_nxt, w),
        };
        // A bare acknowledgment at the window's edge, or one sent before a gap was filled, still counts as one.
        let edge = len == 0 && seq.before_eq(self.rcv_adv) && seq.after_eq(self.rcv_nxt);
        if acceptable || edge {
            return true;
        }
        if packet.tcp.flags.rst() {
            env.ack.counters.outside_window += 1;
            return false;
        }
        if packet.tcp.flags.syn() {
            // RFC 5961 §4.2: whatever its sequence number.
            env.ack.counters.outside_window += 1;
            self.challenge(env);
            return false;
        }
        if seq.before(self.rcv_nxt) {
            env.ack.counters.duplicates += 1;
            self.report_duplicate(env, seq, seq + u32::from(packet.payload_len));
            if self.state == State::TimeWait && packet.tcp.flags.fin() {
                self.cold.give_up_at = env.ack.now + env.ack.config.time_wait;
            }
            // Old data may carry a new acknowledgment: a simultaneous close and keepalive-style probes need it.
            if packet.tcp.flags.ack() && self.state.synchronised() && !packet.tcp.flags.syn() {
                self.take_old_ack(env, packet);
            }
        } else {
            env.ack.counters.outside_window += 1;
        }
        self.answer_unacceptable(env, len);
        false
    }

    /// Says where we are. Answers to segments without content are rationed: two ends that disagree about their sequence
    /// numbers would answer each other's answers for ever.
    fn answer_unacceptable(&mut self, env: &mut Env<'_, '_>, segment_len: u32) {
        if segment_len > 0 || env.challenge.allow(env.ack.now) {
            self.flags.set_ack_now(true);
        } else {
            env.ack.counters.challenge_acks_limited += 1;
        }
    }

    fn take_old_ack(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket) {
        let ack = packet.tcp.ack;
        // Older than any window that we granted: a blind guess, not a late segment (RFC 5961 §5).
        if self.rcv_nxt.distance_from(packet.tcp.seq) > env.ack.config.rcv_wnd.max(1 << 16) {
            env.ack.counters.bad_ack += 1;
            return;
        }
        if packet.tcp.seq + 1 == self.rcv_nxt && ack.after_eq(self.snd_una) && ack.before_eq(self.snd_nxt) {
            // The peer's own probe: it is there, though ours or its answers were lost. Nobody hits this blindly.
            self.cold.keep_probes = 0;
        }
        if ack.after(self.snd_una) && ack.before_eq(self.snd_nxt) {
            let edge = self.snd_una + self.snd_wnd;
            self.ack_old(&mut env.ack, ack);
            self.keep_window_edge(edge);
        }
    }

    /// The acknowledgment of a segment whose reports and time stamps are not looked at.
    fn ack_old(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        if self.flags.disorder() {
            self.ack_in_disorder(env, &AckSeen { ack, duplicate: false, sack: &SackBlocks::EMPTY, tsecr: None });
        } else {
            self.ack_advance(env, ack);
        }
    }

    /// The peer's window ends at `edge`, wherever `snd_una` is by now.
    fn keep_window_edge(&mut self, edge: SeqNum) {
        self.snd_wnd = if edge.after(self.snd_una) { edge.distance_from(self.snd_una) } else { 0 };
    }

    /// RFC 5961 §3: only a reset at exactly `rcv_nxt` is believed; one elsewhere in the window is challenged.
    fn take_reset(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket) -> Outcome {
        if packet.tcp.seq != self.rcv_nxt {
            self.challenge(env);
            return Outcome::NOTHING;
        }
        env.ack.counters.resets_in += 1;
        let reason = match self.state {
            State::SynReceived => CloseReason::Refused,
            // Our side had finished; nothing was lost.
            State::TimeWait => CloseReason::Finished,
            _ => CloseReason::Reset,
        };
        Outcome::closed(reason)
    }

    fn challenge(&mut self, env: &mut Env<'_, '_>) {
        if env.challenge.allow(env.ack.now) {
            env.ack.counters.challenge_acks += 1;
            self.flags.set_ack_now(true);
        } else {
            env.ack.counters.challenge_acks_limited += 1;
        }
    }

    /// The acknowledgment and the window. False: drop the segment.
    fn take_ack(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket, options: &TcpOptions) -> bool {
        let tcp = &packet.tcp;
        if tcp.ack.after(self.snd_nxt) {
            env.ack.counters.bad_ack += 1;
            self.challenge(env);
            return false;
        }
        // The fast path does not keep it.
        self.cold.max_window = self.cold.max_window.max(self.snd_wnd);
        // RFC 5961 §5: an acknowledgment far behind is a blind guess.
        if tcp.ack.before(self.snd_una) && self.snd_una.distance_from(tcp.ack) > self.cold.max_window.max(1 << 16) {
            env.ack.counters.bad_ack += 1;
            self.challenge(env);
            return false;
        }
        let window = u32::from(tcp.window) << self.snd_scale;
        let duplicate = tcp.ack == self.snd_una
            && packet.payload_len == 0
            && !tcp.flags.fin()
            && self.in_flight() > 0
            && window == self.snd_wnd;
        let edge = self.snd_una + self.snd_wnd;
        let was_closed = self.snd_wnd == 0;
        let flight = self.in_flight();
        let plain = !self.flags.disorder() && options.sack.is_empty() && (!duplicate || self.flags.sack());
        if !plain {
            let tsecr = self.echoed(env, options);
            let seen = AckSeen { ack: tcp.ack, duplicate, sack: &options.sack, tsecr };
            self.ack_in_disorder(&mut env.ack, &seen);
        } else if tcp.ack.after(self.snd_una) {
            self.ack_advance(&mut env.ack, tcp.ack);
        }
        if env.ack.ece {
            self.take_echo(&mut env.ack, flight);
        }
        // Not from ahead of its turn: a wrong number there would outlive every right one until that turn comes.
        let newer = tcp.seq.before_eq(self.rcv_nxt)
            && (self.snd_wl1.before(tcp.seq) || self.snd_wl1 == tcp.seq && self.snd_wl2.before_eq(tcp.ack));
        if newer && tcp.ack.after_eq(self.snd_una) {
            self.snd_wnd = window;
            self.snd_wl1 = tcp.seq;
            self.snd_wl2 = tcp.ack;
            self.cold.max_window = self.cold.max_window.max(window);
        } else if tcp.ack.after_eq(self.snd_una) {
            // It may widen the window, never narrow it; and without a word of it the edge stays where it was.
            self.keep_window_edge(edge.later(tcp.ack + window));
        }
        if self.flags.persist() {
            // The peer is alive, window or not.
            self.cold.give_up_at = (env.ack.now + env.ack.config.user_timeout).min(self.cold.stalled_until);
            if self.is_window_worthwhile() {
                self.leave_persist(env);
            } else if was_closed && self.snd_wnd > 0 {
                // Too little, but not for long: from now on it is the override timer that runs (RFC 9293 §3.8.6.2.1), and it
                // runs on, whatever a peer with data of its own repeats meanwhile.
                self.backoff = 0;
                self.arm_rto(env.ack.now, env.ack.config);
            }
        }
        true
    }

    /// The echoed time stamp, if we can have sent it.
    fn echoed(&self, env: &mut Env<'_, '_>, options: &TcpOptions) -> Option<u32> {
        let (_, tsecr) = options.timestamps.filter(|_| self.flags.timestamps())?;
        let possible = (self.tsval(env.now_ms).wrapping_sub(tsecr) as i32) >= 0;
        env.ack.counters.bad_tsecr += u64::from(!possible);
        possible.then_some(tsecr)
    }

    /// Whether the window, with nothing in flight, takes a segment that is worth sending (RFC 9293 §3.8.6.2.1).
    fn is_window_worthwhile(&self) -> bool {
        self.snd_wnd >= self.unsent().min(self.mss.into()) || self.snd_wnd >= self.cold.max_window / 2
    }

    /// The window opened: probing ends.
    fn leave_persist(&mut self, env: &mut Env<'_, '_>) {
        self.flags.set_persist(false);
        self.flags.set_probe_now(false);
        self.backoff = 0;
        if self.in_flight() > 0 {
            self.arm_timer(env.ack.now, env.ack.config);
        } else {
            self.rto_at = Instant::FAR;
            self.cold.give_up_at = Instant::FAR;
        }
    }

    /// Our FIN was acknowledged: the states after it.
    fn after_fin_acked(&mut self, env: &mut Env<'_, '_>) -> Option<Outcome> {
        if !self.flags.fin_sent() || self.snd_una != self.snd_nxt {
            return None;
        }
        match self.state {
            State::FinWait1 => {
                self.set_state(env.ack.counters, State::FinWait2);
                if self.flags.closed() {
                    self.cold.give_up_at = env.ack.now + env.ack.config.fin_wait_2;
                }
                None
            }
            State::Closing => {
                self.enter_time_wait(&mut env.ack);
                Some(Outcome::closed(CloseReason::Finished))
            }
            State::LastAck => Some(Outcome::closed(CloseReason::Finished)),
            _ => None,
        }
    }

    pub(crate) fn enter_time_wait(&mut self, env: &mut AckEnv<'_, '_>) {
        self.set_state(env.counters, State::TimeWait);
        self.rto_at = Instant::FAR;
        self.cold.give_up_at = env.now + env.config.time_wait;
    }

    /// Payload and FIN.
    fn take_data(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket, frame: Zbuf, mut outcome: Outcome) -> Outcome {
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
    fn report_duplicate(&mut self, env: &Env<'_, '_>, left: SeqNum, right: SeqNum) {
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
