//! Keepalive (RFC 9293 §3.8.4): a peer that was silent for long is asked; one that does not answer is given up, so that
//! peers which vanished do not hold connections for ever.
//!
//! It costs nothing per segment: its deadline is one of [`Stack::arm_lazy`]'s, and when the peer was heard last is known in
//! ms from every segment that was taken in.

use super::{App, Limit, Stack};
use crate::nic::NicQueue;
use crate::tcp::State;
use crate::time::{Duration, Instant};

impl<Q: NicQueue> Stack<'_, Q> {
    /// The connection is established: silence counts from here on.
    pub(super) fn start_keepalive(&mut self, slot: u32) {
        let now_ms = self.now_ms;
        let c = self.conns.at_mut(slot);
        c.ts_recent_ms = now_ms;
        let idle = self.profiles.at(c.profile).keepalive_idle;
        if !idle.is_zero() {
            c.cold.keep_at = self.now + idle;
            self.arm_lazy(slot);
        }
    }

    /// Looks how long the peer has been silent. False: the connection is over.
    #[cold]
    pub(super) fn keepalive<A: App<Q>>(&mut self, slot: u32, app: &mut A) -> bool {
        let (now, now_ms) = (self.now, self.now_ms);
        let c = self.conns.at_mut(slot);
        let config = self.profiles.at(c.profile);
        let (idle, interval, count) = (config.keepalive_idle, config.keepalive_interval, config.keepalive_count);
        if idle.is_zero() || !matches!(c.state, State::Established | State::CloseWait | State::FinWait2) {
            // Every other state has a limit of its own.
            c.cold.keep_at = Instant::FAR;
            return true;
        }
        let silent = Duration::from_millis(now_ms.wrapping_sub(c.ts_recent_ms).into());
        // What is in flight, or waits for a window, asks the peer anyway.
        let asks_anyway = c.in_flight() > 0 || c.flags.persist() || c.flags.aborting();
        // A probe was answered when something came since it left; to the granularity of that clock.
        let since_probe = interval.as_nanos().saturating_add(now.since(c.cold.keep_at).as_nanos() + 1_000_000);
        let answered = c.cold.keep_probes > 0 && silent.as_nanos() <= since_probe;
        if asks_anyway || answered || c.cold.keep_probes == 0 && silent < idle {
            let waited = if asks_anyway { Duration::ZERO } else { silent };
            let rest = Duration::from_nanos(idle.as_nanos().saturating_sub(waited.as_nanos()).max(1_000_000));
            c.cold.keep_at = now + rest;
            c.cold.keep_probes = 0;
            return true;
        }
        if c.cold.keep_probes >= count {
            self.timed_out(slot, Limit::Keepalive, app);
            return false;
        }
        c.cold.keep_probes += 1;
        c.cold.keep_at = now + interval;
        // Behind the peer's window by one: it has to answer (RFC 9293 §3.8.4).
        let seq = c.snd_una - 1;
        if self.transmit_ack(slot, seq) {
            self.counters.keepalives += 1;
        }
        true
    }
}
