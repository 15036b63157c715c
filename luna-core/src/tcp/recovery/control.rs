//! What the congestion controller is told, all of it here.

use super::prr::{Prr, PrrAck};
use super::undo::{Spurious, Undo};
use super::Recoveries;
use crate::tcp::ack::AckEnv;
use crate::tcp::congestion::{Ack, CongestionControl};
use crate::tcp::connection::Connection;

impl Connection {
    /// Bytes that may be in flight now.
    pub(crate) fn send_window(&self, recoveries: &Recoveries<'_>) -> u32 {
        match self.record(recoveries) {
            Some(rec) if self.flags.recovery() => rec.prr.window(),
            _ => self.congestion.window(),
        }
    }

    /// New data was acknowledged outside fast recovery.
    #[inline(always)]
    pub(crate) fn grow(&mut self, acked: u32) {
        if self.flags.cwnd_limited() {
            let mss = u32::from(self.mss);
            self.congestion.on_ack(&Ack { acked, mss, limited: true });
            self.flags.set_cwnd_limited(false);
        }
    }

    /// Slow start after a timeout, whatever held the sender back.
    pub(super) fn grow_after_timeout(&mut self, _: &mut AckEnv<'_, '_>, acked: u32) {
        let mss = u32::from(self.mss);
        self.congestion.on_ack(&Ack { acked, mss, limited: true });
    }

    /// Loss was found: fast recovery begins, with `recover_fs` bytes in flight.
    pub(super) fn enter_fast_recovery(&mut self, env: &mut AckEnv<'_, '_>, recover_fs: u32) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        rec.undo = Undo::begin(self.snd_una);
        rec.before = self.congestion;
        rec.rescued = false;
        self.flags.set_recovery(true);
        self.cold.recovery_point = self.snd_nxt;
        self.congestion.on_loss(self.in_flight(), u32::from(self.mss));
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
        self.congestion.on_loss(self.in_flight(), u32::from(self.mss));
        env.counters.tlp_recoveries += 1;
    }

    /// The retransmission timer fired; `first` when what it is about was not timed out before.
    pub(super) fn collapse(&mut self, env: &mut AckEnv<'_, '_>, first: bool) {
        if !self.recovering()
            && let Some(rec) = self.record_mut(env.recoveries)
        {
            rec.before = self.congestion;
        }
        self.congestion.on_timeout(self.in_flight(), u32::from(self.mss), first);
    }

    /// Everything that was in flight when loss was found is acknowledged.
    pub(super) fn leave_recovery(&mut self, _: &mut AckEnv<'_, '_>) {
        if self.flags.recovery() {
            // PRR has brought what is in flight to the target: the window is that (RFC 9937 §6.2), not what the last
            // acknowledgment left over.
            let flight = self.congestion.window();
            self.congestion.on_recovered(flight, u32::from(self.mss));
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
        self.congestion.on_spurious(&rec.before);
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
