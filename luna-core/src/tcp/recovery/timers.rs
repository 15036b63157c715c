//! The timers of recovery: retransmission timeout (RFC 6298 §5), tail loss probe (RFC 8985 §7), reordering (§6.2, step 5).
//!
//! A connection in order has one of them, in [`Connection::rto_at`]: the probe where probes are sent, or the timeout. In
//! disorder the record holds them apart, and that field is the earliest.

use super::detect::Detector;
use super::undo::Frto;
use super::{Probe, Recoveries, Recovery, RepairProbe, Undo};
use crate::slab::NIL;
use crate::tcp::ack::AckEnv;
use crate::tcp::config::TcpConfig;
use crate::tcp::connection::Connection;
use crate::tcp::segments::Segments;
use crate::time::{Duration, Instant};
use crate::wire::SeqNum;

impl Connection {
    #[inline(always)]
    fn one_in_flight(&self) -> bool {
        self.in_flight() <= u32::from(self.mss)
    }

    /// Starts (or restarts) the timer behind a transmission of a connection in order.
    #[inline(always)]
    pub(crate) fn arm_timer(&mut self, now: Instant, config: &TcpConfig) {
        self.rto_at = now
            + if self.backoff == 0 {
                self.rtt.timer(self.one_in_flight(), config)
            } else {
                self.rtt.rto(self.backoff, config)
            };
    }

    /// Whether the timer of a connection in order is for a probe.
    pub(super) fn timer_is_for_probe(&self, config: &TcpConfig) -> bool {
        self.backoff == 0 && self.in_flight() > 0 && self.rtt.timer_is_for_probe(self.one_in_flight(), config)
    }

    /// Whether the probe timer was set in this very burst for a lone segment, which the peer may acknowledge late, and the
    /// segment is not alone any more (RFC 8985 §7.2).
    #[inline(always)]
    pub(crate) fn probe_waits_for_one(&self, now: Instant, config: &TcpConfig) -> bool {
        self.rto_at == now + self.rtt.timer(true, config) && self.timer_is_for_probe(config) && !self.one_in_flight()
    }

    /// Whether silence is answered by a probe before the timeout: while nothing is reported or in recovery (RFC 8985 §7.2),
    /// and once for each silence in fast recovery, where the settings say so.
    fn silence_is_probed(&self, rec: &Recovery, config: &TcpConfig) -> bool {
        let calm = rec.board.is_empty() && !self.recovering() && rec.probe.end.is_none();
        let repair = config.probe_repairs && self.flags.recovery() && !rec.repair.probed;
        (calm || repair) && self.timer_is_for_probe(config)
    }

    /// Sets the timer from the record; `restart` begins it anew, otherwise it is begun when it does not run.
    pub(super) fn arm_in_disorder(&mut self, rec: &mut Recovery, now: Instant, config: &TcpConfig, restart: bool) {
        let probe = self.silence_is_probed(rec, config);
        let timer =
            if probe { self.rtt.timer(self.one_in_flight(), config) } else { self.rtt.rto(self.backoff, config) };
        // From a timer for a lone segment to the shorter one, and from the probe to the timeout or back.
        let other =
            if rec.main_is_probe { !probe || rec.main_at > now + timer } else { probe && self.flags.recovery() };
        if self.in_flight() == 0 {
            rec.main_at = Instant::FAR;
        } else if restart || other || rec.main_at == Instant::FAR {
            rec.main_is_probe = probe;
            rec.main_at = now + timer;
        }
        self.rto_at = rec.main_at.min(rec.reorder_at).min(rec.linger_at);
    }

    /// Something left, for the first time or again, while the connection is in disorder.
    #[cold]
    pub(crate) fn sent_in_disorder(
        &mut self,
        recoveries: &mut Recoveries<'_>,
        now: Instant,
        config: &TcpConfig,
        bytes: u32,
    ) {
        if self.cold.recovery == NIL {
            if self.rto_at == Instant::FAR {
                self.arm_rto(now, config);
            }
        } else {
            let rec = recoveries.at_mut(self.cold.recovery);
            rec.prr.on_sent(bytes);
            self.arm_in_disorder(rec, now, config, false);
        }
        if self.cold.give_up_at == Instant::FAR {
            self.cold.give_up_at = now + config.user_timeout;
        }
    }

    /// Record `i` was sent again.
    pub(crate) fn on_retransmit(
        &mut self,
        recoveries: &mut Recoveries<'_>,
        segments: &mut Segments<'_>,
        now: Instant,
        i: u32,
    ) {
        let tsval = self.flags.timestamps().then(|| self.tsval(now.as_millis_u32()));
        let s = segments.at_mut(i);
        match self.record_mut(recoveries) {
            Some(rec) => {
                rec.board.on_retransmit(s, now);
                rec.undo.on_retransmit(tsval);
            }
            None => {
                s.flags.set_lost(false);
                s.flags.set_retransmitted(true);
                s.sent_at = now;
            }
        }
        self.cold.retransmits = self.cold.retransmits.saturating_add(1);
    }

    /// The timer fired with data in flight: what it was for is done. Returns whether anything may be to send.
    pub(crate) fn on_timer(&mut self, env: &mut AckEnv<'_, '_>) -> bool {
        let now = env.now;
        if !self.flags.disorder() {
            if self.timer_is_for_probe(env.config) {
                self.on_probe_timeout(env);
            } else {
                self.on_timeout(env);
            }
            return true;
        }
        if self.cold.recovery == NIL {
            if self.in_flight() == 0 {
                self.rto_at = Instant::FAR;
                return false;
            }
            self.on_timeout(env);
            return true;
        }
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if rec.main_at <= now && self.in_flight() > 0 {
            if rec.main_is_probe {
                self.on_probe_timeout(env);
            } else {
                self.on_timeout(env);
            }
            return true;
        }
        let mut acted = false;
        if rec.reorder_at <= now {
            rec.reorder_at = Instant::FAR;
            env.counters.rack_timeouts += 1;
            self.judge(env);
            acted = true;
        }
        self.settle(env, false);
        acted
    }

    /// The reordering timer: what is lost by now goes out again.
    fn judge(&mut self, env: &mut AckEnv<'_, '_>) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if rec.reneging {
            self.on_reneging(env);
            return;
        }
        let before = rec.board.pipe(self.in_flight());
        let (lost, again) = self.find_lost(rec, env.segments, env.now, env.config);
        env.counters.lost_retransmits += u64::from(again);
        if lost > 0 && !self.recovering() {
            self.enter_fast_recovery(env, before);
            self.reduce(env, 0, false);
        }
    }

    /// The peer threw away what it had reported (RFC 2018 §8): nothing that it reported is believed any more.
    pub(super) fn on_reneging(&mut self, env: &mut AckEnv<'_, '_>) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        rec.reneging = false;
        rec.reorder_at = Instant::FAR;
        env.counters.reneged += 1;
        rec.board.forget_sacks(env.segments, self.segments);
        let mut at = self.segments.head();
        while at != NIL {
            let s = env.segments.at(at);
            let (next, told) = (s.next, s.flags.was_sacked());
            if told {
                rec.board.mark_lost(env.segments, at);
            }
            at = next;
        }
        if !self.recovering() {
            self.enter_fast_recovery(env, self.in_flight());
        }
        if self.flags.recovery() {
            // Behind a timeout the congestion window alone counts.
            self.reduce(env, 0, false);
        }
    }

    /// RFC 8985 §7.3: a probe is to leave, and behind it runs the timeout.
    fn on_probe_timeout(&mut self, env: &mut AckEnv<'_, '_>) {
        if !self.take_record(env) {
            env.counters.recovery_full += 1;
            // In disorder, so that the next timer is the timeout.
            self.flags.set_disorder(true);
            self.arm_rto(env.now, env.config);
            return;
        }
        let rec = env.recoveries.at_mut(self.cold.recovery);
        rec.probe = Probe { pending: true, ..Probe::default() };
        rec.repair.probed = self.flags.recovery();
        rec.main_is_probe = false;
        rec.main_at = env.now + self.rtt.rto(self.backoff, env.config);
        self.rto_at = rec.main_at.min(rec.reorder_at);
    }

    /// Whether a probe waits to leave.
    pub(crate) fn probe_is_pending(&self, recoveries: &Recoveries<'_>) -> bool {
        self.record(recoveries).is_some_and(|rec| rec.probe.pending)
    }

    /// The probe left: new data, or the last segment `again`; or there was nothing to send.
    pub(crate) fn probe_left(&mut self, recoveries: &mut Recoveries<'_>, sent: Option<bool>) {
        let end = self.snd_nxt;
        let Some(rec) = self.record_mut(recoveries) else { return };
        rec.probe = match sent {
            Some(again) => Probe { pending: false, end: Some(end), again },
            None => Probe::default(),
        };
        if sent.is_some() {
            self.cold.probes = self.cold.probes.saturating_add(1);
        }
    }

    /// In recovery: whether the probe that waits to leave is still wanted. Not when something was heard since.
    pub(crate) fn repair_is_probed(&self, recoveries: &Recoveries<'_>) -> bool {
        self.record(recoveries).is_some_and(|rec| rec.repair.probed)
    }

    /// A probe in recovery left: the first segment again, which ends at `end`; or none was wanted.
    pub(crate) fn repair_probe_left(&mut self, recoveries: &mut Recoveries<'_>, end: Option<SeqNum>) {
        let Some(rec) = self.record_mut(recoveries) else { return };
        rec.probe = Probe::default();
        rec.repair.end = end;
        if end.is_some() {
            self.cold.probes = self.cold.probes.saturating_add(1);
        }
    }

    /// The retransmission timeout (RFC 6298 §5.4 to §5.6): reports are forgotten (RFC 2018 §8), and what is in flight is
    /// lost but for what RACK would still wait for (RFC 8985 §6.3).
    fn on_timeout(&mut self, env: &mut AckEnv<'_, '_>) {
        let (now, config) = (env.now, env.config);
        let had_record = self.take_record(env);
        let again = self.flags.timeout_recovery();
        if had_record {
            let rec = env.recoveries.at_mut(self.cold.recovery);
            let list = self.segments;
            let first = !again || rec.timeouts == 0;
            if !self.recovering() {
                // Time stamps tell without it, and at once.
                let frto = if self.flags.timestamps() { Frto::Off } else { Frto::First };
                rec.undo = Undo::begin_with_timeout(self.snd_una, frto);
            } else {
                rec.undo.frto = Frto::Off;
            }
            self.collapse(env, first);
            let rec = env.recoveries.at_mut(self.cold.recovery);
            rec.timeouts = rec.timeouts.saturating_add(1);
            rec.board.forget_sacks(env.segments, list);
            let rtt = rec.rack.rtt.max(Duration::from_nanos(self.rtt.srtt.into()));
            let wait = (self.detector(config) == Detector::Rack).then(|| (rtt, self.reordering_window(rec, config)));
            let mut at = list.head();
            while at != NIL {
                let s = env.segments.at(at);
                let (next, young) = (s.next, wait.is_some_and(|(rtt, reo_wnd)| s.sent_at + rtt + reo_wnd > now));
                if at == list.head() || !young {
                    rec.board.mark_lost(env.segments, at);
                }
                at = next;
            }
            rec.dup_acks = 0;
            rec.reneging = false;
            rec.probe = Probe::default();
            rec.repair = RepairProbe::default();
            rec.reorder_at = Instant::FAR;
            rec.linger_at = Instant::FAR;
            rec.linger_to = None;
        } else {
            env.counters.recovery_full += 1;
            self.collapse(env, self.backoff == 0);
            if self.segments.head() != NIL {
                env.segments.at_mut(self.segments.head()).flags.set_lost(true);
            }
        }
        self.backoff = self.backoff.saturating_add(1);
        self.cold.rtos = self.cold.rtos.saturating_add(1);
        env.counters.rtos += 1;
        self.flags.set_disorder(true);
        self.flags.set_recovery(false);
        self.flags.set_timeout_recovery(true);
        self.cold.recovery_point = self.snd_nxt;
        self.arm_rto(now, config);
        if let Some(rec) = self.record_mut(env.recoveries) {
            rec.main_at = self.rto_at;
            rec.main_is_probe = false;
        }
    }
}
