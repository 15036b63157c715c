//! What the congestion controller is told, all of it here.

use super::Recoveries;
use super::prr::{Prr, PrrAck};
use super::undo::{Frto, Spurious, Undo};
use crate::tcp::ack::AckEnv;
use crate::tcp::connection::Connection;

impl Connection {
    /// Bytes that may be in flight now.
    pub(crate) fn send_window(&self, recoveries: &Recoveries<'_>) -> u32 {
        match self.record(recoveries) {
            Some(rec) if self.flags.recovery() => rec.prr.window(),
            Some(rec) if rec.undo.frto == Frto::Second => {
                // Up to two segments of new data, however much the acknowledgment covered (RFC 5682 §2.1, step 2b).
                let sent = self.snd_nxt.distance_from(self.cold.recovery_point);
                self.pipe_of(rec) + (2 * u32::from(self.mss)).saturating_sub(sent)
            }
            _ => self.congestion.window(),
        }
    }

    /// Loss was found: fast recovery begins, with `recover_fs` bytes in flight.
    pub(super) fn enter_fast_recovery(&mut self, env: &mut AckEnv<'_, '_>, recover_fs: u32) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        rec.undo = Undo::begin(self.snd_una);
        rec.before = self.congestion.window;
        rec.rescued = false;
        self.congestion_loss(env);
        self.flags.set_recovery(true);
        self.cold.recovery_point = self.snd_nxt;
        let rec = env.recoveries.at_mut(self.cold.recovery);
        rec.prr = Prr::start(self.congestion.window(), recover_fs);
        env.counters.fast_recoveries += 1;
    }

    /// An acknowledgment in fast recovery, or its beginning.
    pub(super) fn reduce(&self, env: &mut AckEnv<'_, '_>, delivered: u32, safe: bool) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        let mss = u32::from(self.mss);
        let delivered = if self.flags.sack() { delivered } else { delivered.min(rec.prr.undelivered()) };
        let in_flight = self.pipe_of(rec);
        rec.prr.on_ack(&PrrAck { delivered, in_flight, safe, mss });
    }

    /// A probe repaired a loss (RFC 8985 §7.4.2): the response is that of a fast recovery which is over at once.
    pub(super) fn respond_to_probe(&mut self, env: &mut AckEnv<'_, '_>) {
        self.congestion_loss(env);
        env.counters.tlp_recoveries += 1;
    }

    /// The retransmission timer fired; `first` when what it is about was not timed out before.
    pub(super) fn collapse(&mut self, env: &mut AckEnv<'_, '_>, first: bool) {
        if !self.recovering()
            && let Some(rec) = self.record_mut(env.recoveries)
        {
            rec.before = self.congestion.window;
        }
        self.congestion_timeout(env, first);
    }

    /// Everything that was in flight when loss was found is acknowledged.
    pub(super) fn leave_recovery(&mut self, env: &mut AckEnv<'_, '_>) {
        if self.flags.recovery() {
            // PRR has brought what is in flight to the target: the window is that (RFC 9937 §6.2), not what the last
            // acknowledgment left over.
            let flight = self.congestion.window();
            self.congestion_recovered(env, flight);
        }
        self.flags.set_recovery(false);
        self.flags.set_timeout_recovery(false);
        // RFC 8985 §6.2, step 4: the window shrinks after enough recoveries without a D-SACK.
        self.cold.reo_wnd_persist = self.cold.reo_wnd_persist.saturating_sub(1);
        if self.cold.reo_wnd_persist == 0 {
            self.cold.reo_wnd_mult = 1;
        }
    }

    /// The last episode was a mistake: window, threshold and marks are as if it had not been (RFC 4015 §3.1, RFC 5682 §3).
    pub(super) fn take_back(&mut self, env: &mut AckEnv<'_, '_>, how: Spurious) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        self.congestion_spurious(env.controls, rec.before);
        rec.undo = Undo::default();
        if rec.board.lost > 0 {
            rec.board.unmark_lost(env.segments, self.segments);
        }
        rec.timeouts = 0;
        self.backoff = 0;
        self.flags.set_recovery(false);
        self.flags.set_timeout_recovery(false);
        self.cold.undos = self.cold.undos.saturating_add(1);
        *match how {
            Spurious::Eifel => &mut env.counters.undos_eifel,
            Spurious::Frto => &mut env.counters.undos_frto,
            Spurious::DSack => &mut env.counters.undos_dsack,
        } += 1;
    }
}
