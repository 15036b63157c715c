//! An arriving segment. In-order data and acknowledgments on an established connection go straight through
//! [`Connection::input`]; everything else takes RFC 9293 §3.10.7's steps in their order, each a function.

mod ack;
mod data;

use super::ack::AckEnv;
use super::connection::{Connection, Flags};
pub(crate) use super::outcome::{Events, Outcome};
use super::reassembly::OutOfOrders;
use super::recovery::AckSeen;
use super::state::State;
use crate::stack::{ChallengeLimit, CloseReason};
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
}
