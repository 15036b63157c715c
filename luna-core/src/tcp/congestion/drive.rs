//! What a connection tells its controller. NewReno is in line; the others are one call away, behind a flag that stands in
//! the same word as the one that says whether the window was in use.

use super::pool::Algorithm;
use super::{
    Ack, CongestionControl, CongestionKind, Control, Controls, Cubic, Cut, Dctcp, Hpcc, MAX_WINDOW, NewReno, Window,
};
use crate::parts::CONTROLLERS;
use crate::slab::NIL;
use crate::tcp::AckEnv;
use crate::tcp::config::TcpConfig;
use crate::tcp::connection::{Connection, Flags};
use crate::time::Duration;

/// The hot part of congestion control, in the connection itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    pub(crate) window: Window,
    pub(crate) reno: NewReno,
}

impl Default for Congestion {
    fn default() -> Self {
        Self { window: Window::new(0), reno: NewReno::new() }
    }
}

impl Congestion {
    /// Bytes that may be in flight.
    #[inline(always)]
    pub(crate) fn window(&self) -> u32 {
        self.window.cwnd
    }
}

/// With neither flag an acknowledgment concerns no controller.
#[inline(always)]
fn grows() -> Flags {
    let mut f = Flags::default();
    f.set_cwnd_limited(true);
    f.set_controlled(true);
    f
}

/// The pool of controllers is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ControlsFull;

impl Connection {
    /// Takes the controller that `kind` asks for, from the pool if it lives there.
    pub(crate) fn take_control(
        &mut self,
        slot: u32,
        kind: CongestionKind,
        config: &TcpConfig,
        controls: &mut Controls<'_>,
    ) -> Result<(), ControlsFull> {
        let algorithm = match kind {
            CongestionKind::NewReno => return Ok(()),
            _ if !CONTROLLERS => return Err(ControlsFull),
            CongestionKind::Cubic => Algorithm::Cubic(Cubic::new()),
            CongestionKind::Dctcp => Algorithm::Dctcp(Dctcp::new()),
            CongestionKind::Hpcc => Algorithm::Hpcc(Hpcc::new(config.hpcc)),
        };
        let i = controls.alloc().ok_or(ControlsFull)?;
        *controls.at_mut(i) = Control::new(algorithm, slot);
        self.cold.control = i;
        self.flags.set_controlled(true);
        Ok(())
    }

    /// Back to NewReno; the pool has its item again. Whoever keeps lists of controls takes it out of them first.
    pub(crate) fn release_control(&mut self, controls: &mut Controls<'_>) {
        if self.flags.controlled() {
            controls.release(self.cold.control);
            self.cold.control = NIL;
            self.flags.set_controlled(false);
            self.cold.modes.set_paced(false);
            self.cold.modes.set_int(false);
            self.update_careful();
        }
    }

    /// Its controller's kind.
    pub(crate) fn congestion_kind(&self, controls: &Controls<'_>) -> CongestionKind {
        if self.flags.controlled() { controls.at(self.cold.control).algorithm.kind() } else { CongestionKind::NewReno }
    }

    /// Bytes per second that transmissions are paced at.
    pub(crate) fn pacing_rate(&self, controls: &Controls<'_>) -> Option<u64> {
        self.flags.controlled().then(|| controls.at(self.cold.control).algorithm.pacing_rate()).flatten()
    }

    /// The window to begin with, once the segment size is known.
    pub(crate) fn start_congestion(&mut self, config: &TcpConfig, controls: &Controls<'_>) {
        let window = Window::new(self.restart_window(config));
        self.congestion = Congestion { window, reno: NewReno::new() };
        if self.flags.controlled()
            && let Algorithm::Hpcc(hpcc) = &controls.at(self.cold.control).algorithm
        {
            self.congestion.window = hpcc.initial();
            self.cold.modes.set_paced(true);
        }
        self.update_careful();
    }

    /// RFC 6928's initial window; also RFC 5681 §4.1's restart window.
    fn restart_window(&self, config: &TcpConfig) -> u32 {
        (u32::from(config.initial_window.max(1)) * u32::from(self.mss)).min(MAX_WINDOW)
    }

    /// Whether an acknowledgment outside of recovery concerns the controller.
    #[inline(always)]
    pub(crate) fn congestion_listens(&self) -> bool {
        self.flags.bits() & grows().bits() != 0
    }

    /// New data was acknowledged outside of recovery.
    pub(crate) fn congestion_acked(&mut self, env: &mut AckEnv<'_, '_>, acked: u32, rtt: Option<Duration>) {
        if !self.congestion_listens() {
            return;
        }
        let limited = self.flags.cwnd_limited();
        self.flags.set_cwnd_limited(false);
        if self.flags.controlled() {
            self.tell_acked(env, acked, rtt, limited);
        } else if !env.ece {
            self.congestion.reno.grow(&mut self.congestion.window, acked, u32::from(self.mss));
        }
    }

    /// New data was acknowledged in recovery: after a timeout the window may grow.
    pub(crate) fn congestion_acked_in_recovery(
        &mut self,
        env: &mut AckEnv<'_, '_>,
        acked: u32,
        rtt: Option<Duration>,
        grow: bool,
    ) {
        if self.flags.controlled() {
            self.tell_acked(env, acked, rtt, grow);
        } else if grow && !env.ece {
            self.congestion.reno.grow(&mut self.congestion.window, acked, u32::from(self.mss));
        }
    }

    #[inline(never)]
    fn tell_acked(&mut self, env: &mut AckEnv<'_, '_>, acked: u32, rtt: Option<Duration>, limited: bool) {
        let flight = self.in_flight();
        let control = env.controls.at_mut(self.cold.control);
        let telemetry = control.echo.arrived.take();
        let ack = Ack {
            now: env.now,
            acked,
            marked: env.ece,
            mss: u32::from(self.mss),
            grow: limited && !env.ece,
            rtt,
            srtt: Duration::from_nanos(self.rtt.srtt.into()),
            flight,
            una: self.snd_una,
            nxt: self.snd_nxt,
            telemetry: telemetry.as_ref(),
        };
        control.algorithm.on_ack(&mut self.congestion.window, &ack);
    }

    fn cut(&self, env: &AckEnv<'_, '_>) -> Cut {
        Cut { now: env.now, flight: self.in_flight(), mss: u32::from(self.mss), nxt: self.snd_nxt }
    }

    fn controller<'e>(&'e mut self, controls: &'e mut Controls<'_>) -> (&'e mut dyn CongestionControl, &'e mut Window) {
        let Congestion { window, reno } = &mut self.congestion;
        if self.flags.controlled() {
            (&mut controls.at_mut(self.cold.control).algorithm, window)
        } else {
            (reno, window)
        }
    }

    /// Loss was detected; recovery begins. Not again for a window that was cut for its marks (RFC 3168 §6.1.2), unless
    /// that cut was DCTCP's, who takes losses as ever (RFC 8257 §3.5), or HPCC's, who cuts nothing for marks.
    #[cold]
    pub(crate) fn congestion_loss(&mut self, env: &mut AckEnv<'_, '_>) {
        let kind = self.congestion_kind(env.controls);
        if matches!(kind, CongestionKind::NewReno | CongestionKind::Cubic) && self.in_cut_window() {
            return;
        }
        let cut = self.cut(env);
        let (controller, window) = self.controller(env.controls);
        controller.on_loss(window, &cut);
    }

    /// The retransmission timer fired. `first` when what it is about was not timed out before.
    #[cold]
    pub(crate) fn congestion_timeout(&mut self, env: &mut AckEnv<'_, '_>, first: bool) {
        let cut = self.cut(env);
        let (controller, window) = self.controller(env.controls);
        controller.on_timeout(window, &cut, first);
    }

    /// Fast recovery is over, with `flight` bytes thought to be on the way.
    #[cold]
    pub(crate) fn congestion_recovered(&mut self, env: &mut AckEnv<'_, '_>, flight: u32) {
        let mss = u32::from(self.mss);
        let (controller, window) = self.controller(env.controls);
        controller.on_recovered(window, flight, mss);
    }

    /// What was taken for a loss was none (RFC 4015, RFC 5682, RFC 9438 §4.9): back to `prior`, the window before the last
    /// [`Connection::congestion_loss`] or first [`Connection::congestion_timeout`].
    #[cold]
    pub(crate) fn congestion_spurious(&mut self, controls: &mut Controls<'_>, prior: Window) {
        let (controller, window) = self.controller(controls);
        controller.on_spurious(window, prior);
    }

    /// The peer echoes a mark, and this window was not cut yet.
    #[cold]
    pub(crate) fn congestion_marked(&mut self, env: &mut AckEnv<'_, '_>, flight: u32) {
        let cut = Cut { flight, ..self.cut(env) };
        let (controller, window) = self.controller(env.controls);
        controller.on_ecn(window, &cut);
    }

    /// A timer fired: with nothing in flight and nothing to send the connection is idle from now on, for its last
    /// transmission armed one. A window that is no larger than what a connection begins with may be used at any time.
    pub(crate) fn note_idle(&mut self, now_ms: u32, config: &TcpConfig) {
        let larger = self.congestion.window() > self.restart_window(config) || self.flags.controlled();
        if larger && self.state.sends() && self.in_flight() == 0 && self.unsent() == 0 && !self.cold.modes.idle() {
            self.cold.modes.set_idle(true);
            self.cold.idle_ms = now_ms;
            self.update_careful();
        }
    }

    /// It is about to send new data: how long it had been idle, if it was.
    pub(crate) fn take_idle(&mut self, now_ms: u32) -> Option<Duration> {
        if !self.cold.modes.idle() {
            return None;
        }
        self.cold.modes.set_idle(false);
        self.update_careful();
        Some(Duration::from_millis(now_ms.wrapping_sub(self.cold.idle_ms).into()))
    }

    /// It sends again after `idle`.
    #[cold]
    pub(crate) fn congestion_resumes(&mut self, idle: Duration, config: &TcpConfig, controls: &mut Controls<'_>) {
        let rto = self.rtt.rto(0, config).as_nanos().max(1);
        let periods = u32::try_from(idle.as_nanos() / rto).unwrap_or(u32::MAX);
        if periods == 0 {
            return;
        }
        let restart = self.restart_window(config);
        let (controller, window) = self.controller(controls);
        controller.on_idle(window, restart, periods);
    }
}
