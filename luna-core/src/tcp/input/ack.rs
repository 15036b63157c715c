//! The acknowledgment of a segment and its window, and what follows from the acknowledgment of FIN (RFC 9293 §3.10.7.4, fifth).

use super::Env;
use crate::stack::CloseReason;
use crate::tcp::ack::AckEnv;
use crate::tcp::connection::Connection;
use crate::tcp::outcome::Outcome;
use crate::tcp::recovery::AckSeen;
use crate::tcp::state::State;
use crate::time::Instant;
use crate::wire::{TcpOptions, TcpPacket};

impl Connection {
    /// The acknowledgment and the window. False: drop the segment.
    pub(super) fn take_ack(&mut self, env: &mut Env<'_, '_>, packet: &TcpPacket, options: &TcpOptions) -> bool {
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
    pub(super) fn echoed(&self, env: &mut Env<'_, '_>, options: &TcpOptions) -> Option<u32> {
        let (_, tsecr) = options.timestamps.filter(|_| self.flags.timestamps())?;
        let possible = (self.tsval(env.now_ms).wrapping_sub(tsecr) as i32) >= 0;
        env.ack.counters.bad_tsecr += u64::from(!possible);
        possible.then_some(tsecr)
    }

    /// Whether the window, with nothing in flight, takes a segment that is worth sending (RFC 9293 §3.8.6.2.1).
    pub(super) fn is_window_worthwhile(&self) -> bool {
        self.snd_wnd >= self.unsent().min(self.mss.into()) || self.snd_wnd >= self.cold.max_window / 2
    }

    /// The window opened: probing ends.
    pub(super) fn leave_persist(&mut self, env: &mut Env<'_, '_>) {
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
    pub(super) fn after_fin_acked(&mut self, env: &mut Env<'_, '_>) -> Option<Outcome> {
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
}
