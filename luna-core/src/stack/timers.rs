//! Timers: retransmission, window probes, delayed acknowledgment, SYN, and the limits of whole phases.

use super::{App, CloseReason, Limit, Stack};
use crate::nic::NicQueue;
use crate::tcp::State;
use crate::time::Instant;

impl<Q: NicQueue> Stack<'_, Q> {
    /// Makes sure that the wheel knows the connection's earliest deadline.
    #[inline(always)]
    pub(super) fn arm(&mut self, slot: u32) {
        let c = self.conns.at(slot);
        let deadline = c.deadline();
        if deadline < c.wheel_at {
            self.wheel.set(&mut self.conns, slot, deadline);
        }
    }

    /// Fires what is due. Returns whether anything was.
    #[inline(always)]
    pub(super) fn fire_timers<A: App<Q>>(&mut self, app: &mut A) -> bool {
        !self.wheel.is_quiet(self.now) && self.fire_due(app)
    }

    #[inline(never)]
    fn fire_due<A: App<Q>>(&mut self, app: &mut A) -> bool {
        let mut any = false;
        while let Some(slot) = self.wheel.pop_due(&mut self.conns, self.now) {
            self.fire(slot, app);
            any = true;
        }
        any
    }

    fn fire<A: App<Q>>(&mut self, slot: u32, app: &mut A) {
        let now = self.now;
        let c = self.conns.at_mut(slot);
        if c.cold.give_up_at <= now {
            return self.give_up(slot, app);
        }
        if c.ack_at <= now {
            c.ack_at = Instant::FAR;
            c.flags.set_ack_now(true);
            self.mark_dirty(slot);
        }
        let c = self.conns.at(slot);
        if c.rto_at <= now {
            let retries = self.profiles.at(c.profile).syn_retries;
            if !c.state.synchronised() && retries > 0 && c.backoff >= retries {
                return self.give_up(slot, app);
            }
            self.retransmission_timeout(slot);
        }
        if self.conns.at(slot).cold.keep_at <= now && !self.keepalive(slot, app) {
            return;
        }
        let c = self.conns.at_mut(slot);
        if c.cold.raise_at <= now {
            let trial = self.profiles.at(c.profile).pmtu_raise;
            self.counters.pmtu_raised += u64::from(c.raise_packet_size(now, trial));
        }
        // What waits for its pace may be FIN alone.
        if c.flags.careful() && c.cold.modes.paced() && (c.unsent() > 0 || c.fin_is_to_go()) {
            self.mark_dirty(slot);
        }
        let c = self.conns.at_mut(slot);
        c.note_idle(self.now_ms, self.profiles.at(c.profile));
        self.arm(slot);
        self.arm_lazy(slot);
    }

    /// Makes sure that the wheel knows the deadlines that nothing per segment looks at: keepalive, the packet size. It has
    /// an entry for them from when they are set; entries only ever move earlier; and when one fires it is put back here.
    #[inline(always)]
    pub(super) fn arm_lazy(&mut self, slot: u32) {
        let cold = &self.conns.at(slot).cold;
        let at = cold.keep_at.min(cold.raise_at);
        if at != Instant::FAR {
            self.wheel.set(&mut self.conns, slot, at);
        }
    }

    fn retransmission_timeout(&mut self, slot: u32) {
        if self.now < self.hold_until {
            self.conns.at_mut(slot).rto_at = self.hold_until;
            self.counters.timers_held += 1;
            return;
        }
        let (conn, mut env) = self.split(slot);
        let (now, config) = (env.ack.now, env.ack.config);
        if !conn.state.synchronised() {
            conn.flags.set_syn_pending(true);
            conn.backoff = conn.backoff.saturating_add(1);
            conn.cold.syn_sent_at = Instant::FAR;
            conn.arm_rto(now, config);
            if conn.snd_nxt != conn.cold.iss {
                env.ack.counters.syn_retransmits += 1;
            }
        } else if conn.flags.persist() {
            conn.flags.set_probe_now(true);
            conn.backoff = conn.backoff.saturating_add(1);
            conn.arm_rto(now, config);
        } else if conn.in_flight() > 0 || conn.flags.disorder() {
            // Not the backoff, which ends somewhere.
            let timeouts = env.ack.counters.rtos;
            if !conn.on_timer(&mut env.ack) {
                return;
            }
            if env.ack.counters.rtos > timeouts && conn.suspect_black_hole(&mut env.ack) {
                env.ack.counters.black_holes += 1;
            }
        } else {
            conn.rto_at = Instant::FAR;
            return;
        }
        self.mark_dirty(slot);
    }

    fn give_up<A: App<Q>>(&mut self, slot: u32, app: &mut A) {
        let c = self.conns.at(slot);
        let limit = match c.state {
            State::TimeWait => return self.free(slot),
            State::SynSent | State::SynReceived => Limit::Connect,
            State::FinWait2 => Limit::FinWait2,
            _ if c.flags.persist() && c.cold.stalled_until <= self.now => Limit::ZeroWindow,
            _ => Limit::User,
        };
        self.timed_out(slot, limit, app);
    }

    /// A limit ran out: tells the peer and the application.
    pub(super) fn timed_out<A: App<Q>>(&mut self, slot: u32, limit: Limit, app: &mut A) {
        let c = self.conns.at(slot);
        self.counters.timeouts += 1;
        // What the network said meanwhile tells more than our patience running out.
        // Unless the peer was heard since.
        let since = c.cold.soft_error_ms.wrapping_sub(c.ts_recent_ms) as i32 >= 0 || !c.state.synchronised();
        let reason = c.cold.soft_error.filter(|_| since).unwrap_or(CloseReason::TimedOut(limit));
        self.reset_connection(slot);
        self.over(slot, reason, app);
    }
}
