//! Explicit congestion notification (RFC 3168): negotiation, marks echoed to the sender, echoes acted on; DCTCP's exact
//! echo (RFC 8257 §3.2); negotiation of telemetry for HPCC.
//!
//! Capable (ECT(0)) are data segments sent for the first time, not SYNs, pure acknowledgments or window probes; under DCTCP
//! retransmissions too, as RFC 8311 lets experiments do: a switch that drops what it cannot mark would drop exactly the
//! repairs. A mark on a segment without data is ignored.
//!
//! In the classic echo every acknowledgment carries ECE from a mark until CWR. Under DCTCP ECE says whether the segment that
//! is acknowledged was marked: at a change of that, what is owed so far is acknowledged first with the old value
//! ([`Connection::owes_other_echo`]; the two acknowledgments that §3.2 permits), then the segment itself at once.

use super::ack::AckEnv;
use super::config::TcpConfig;
use super::congestion::{CongestionKind, Controls};
use super::connection::{Connection, Flags};
use super::state::State;
use crate::counters::Counters;
use crate::parts::CONTROLLERS;
use crate::wire::int::MAX_LEN as SHIM_LEN;
use crate::wire::{SeqNum, TcpFlags, TcpOptions, TcpPacket};

/// Congestion experienced.
const CE: u8 = 3;
/// Capable: ECT(0).
const ECT0: u8 = 2;

/// Whether marks are used instead of losses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ecn {
    /// Never.
    Off,
    /// When the peer asks for it.
    #[default]
    Accept,
    /// Asked for, too.
    Request,
}

bitfield::bitfield! {
    /// What was agreed on, and what is pending, beside the hot [`Flags`].
    #[derive(Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Modes(u16);
    impl Debug;
    /// Both sides use ECN.
    pub(crate) ecn, set_ecn: 0;
    /// DCTCP's echo.
    pub(crate) precise_echo, set_precise_echo: 1;
    /// The next new data segment says that the window was reduced.
    pub(crate) cwr_due, set_cwr_due: 2;
    /// Nothing was sent since `idle_ms`.
    pub(crate) idle, set_idle: 3;
    /// Its controller paces.
    paced_bit, _: 4;
    pub(crate) _, set_paced: 4;
    /// Data carries a telemetry shim.
    int_bit, _: 5;
    pub(crate) _, set_int: 5;
    /// A SYN of ours went out without offering ECN: our data is not sent as capable (RFC 3168 §6.1.1).
    pub(crate) plain_syn, set_plain_syn: 6;
    /// The segment size of before is in use again, and may turn out too large once more.
    pub(crate) size_on_trial, set_size_on_trial: 7;
}

impl Modes {
    /// Its controller paces.
    #[inline(always)]
    pub(crate) fn paced(&self) -> bool {
        CONTROLLERS && self.paced_bit()
    }

    /// Data carries a telemetry shim.
    #[inline(always)]
    pub(crate) fn int(&self) -> bool {
        CONTROLLERS && self.int_bit()
    }
}

impl Connection {
    /// What our SYN or SYN-ACK says of ECN. A SYN sent again does not offer it: something on the way may drop such SYNs
    /// (RFC 3168 §6.1.1.1).
    pub(crate) fn syn_ecn(&mut self, config: &TcpConfig, controls: &Controls<'_>) -> TcpFlags {
        if self.state == State::SynReceived {
            return if self.cold.modes.ecn() && self.backoff == 0 { TcpFlags::ECE } else { TcpFlags::NONE };
        }
        let wanted = config.ecn == Ecn::Request || self.congestion_kind(controls) == CongestionKind::Dctcp;
        if wanted && self.backoff == 0 {
            return TcpFlags::ECE | TcpFlags::CWR;
        }
        self.cold.modes.set_plain_syn(true);
        TcpFlags::NONE
    }

    /// Takes in what the peer's SYN or SYN-ACK says of ECN and telemetry, and begins with the window that follows. After
    /// [`Connection::take_syn`], which knows the segment size.
    pub(crate) fn take_offers(
        &mut self,
        flags: TcpFlags,
        options: &TcpOptions,
        config: &TcpConfig,
        controls: &mut Controls<'_>,
        counters: &mut Counters,
    ) {
        let kind = self.congestion_kind(controls);
        let setup = flags & (TcpFlags::ECE | TcpFlags::CWR);
        let both = TcpFlags::ECE | TcpFlags::CWR;
        let willing = config.ecn != Ecn::Off || kind == CongestionKind::Dctcp;
        // A SYN asks with both bits; a SYN-ACK agrees with ECE alone (§6.1.1).
        let agreed = willing && if flags.ack() { setup == TcpFlags::ECE } else { setup == both };
        self.cold.modes.set_ecn(agreed);
        self.cold.modes.set_precise_echo(agreed && kind == CongestionKind::Dctcp);
        self.flags.set_ect(agreed && !(flags.ack() && self.cold.modes.plain_syn()));
        let ecn = self.plain_ecn();
        if let Some(template) = &mut self.cold.template {
            template.set_plain_ecn(ecn);
        }
        counters.ecn_agreed += u64::from(agreed);
        if CONTROLLERS && kind == CongestionKind::Hpcc {
            if options.telemetry {
                self.cold.modes.set_int(true);
                self.mss = self.mss.saturating_sub(SHIM_LEN as u16).max(64);
            } else {
                counters.telemetry_refused += 1;
                self.release_control(controls);
            }
        }
        self.cold.cut_point = self.snd_una;
        self.start_congestion(config, controls);
    }

    /// The ECN field of new data.
    pub(crate) fn plain_ecn(&self) -> u8 {
        if self.flags.ect() { ECT0 } else { 0 }
    }

    /// The ECN field of the IP header for a segment with data.
    #[inline]
    pub(crate) fn ecn_field(&self, seq: SeqNum) -> u8 {
        let again = seq.before(self.snd_nxt);
        if self.flags.ect() && (!again || self.cold.modes.precise_echo()) { ECT0 } else { 0 }
    }

    /// ECE, and CWR when it is due on the new data segment at `seq`; `len` payload bytes.
    #[inline]
    pub(crate) fn ecn_flags(&self, seq: SeqNum, len: u32) -> TcpFlags {
        let mut flags = self.echo_flag();
        if self.cold.modes.cwr_due() && len > 0 && seq == self.snd_nxt {
            flags |= TcpFlags::CWR;
        }
        flags
    }

    /// CWR left.
    #[inline]
    pub(crate) fn cwr_sent(&mut self) {
        self.cold.modes.set_cwr_due(false);
        self.update_careful();
    }

    /// ECE, if it is to be said.
    #[inline]
    pub(crate) fn echo_flag(&self) -> TcpFlags {
        if self.flags.echo_ce() { TcpFlags::ECE } else { TcpFlags::NONE }
    }

    /// DCTCP: the in-order segment about to be taken in was marked and the ones that are owed an acknowledgment were not, or
    /// the other way round.
    #[inline]
    pub(crate) fn owes_other_echo(&self, packet: &TcpPacket) -> bool {
        self.cold.modes.precise_echo()
            && self.ack_owed > 0
            && packet.payload_len > 0
            && packet.tcp.seq == self.rcv_nxt
            && (packet.ecn() == CE) != self.flags.echo_ce()
    }

    /// An acceptable segment's marks.
    pub(crate) fn take_marks(&mut self, counters: &mut Counters, packet: &TcpPacket) {
        if !self.cold.modes.ecn() || packet.payload_len == 0 {
            return;
        }
        let marked = packet.ecn() == CE;
        if marked {
            counters.ce_in += 1;
            self.cold.ce_in = self.cold.ce_in.saturating_add(1);
        }
        if self.cold.modes.precise_echo() {
            if marked != self.flags.echo_ce() {
                self.flags.set_echo_ce(marked);
                self.flags.set_ack_now(true);
            }
            return;
        }
        if packet.tcp.flags.cwr() {
            self.flags.set_echo_ce(false);
        }
        if marked {
            self.flags.set_echo_ce(true);
        }
    }

    /// The acknowledgment carried ECE: the window is cut, once per window of data, and not in one that a loss cut already
    /// (RFC 3168 §6.1.2). `flight` is what was in flight when it came: an acknowledgment of all of it leaves nothing to
    /// take a half of.
    #[cold]
    pub(crate) fn take_echo(&mut self, env: &mut AckEnv<'_, '_>, flight: u32) {
        env.counters.ece_in += 1;
        self.cold.ece_in = self.cold.ece_in.saturating_add(1);
        if self.flags.recovery() || self.flags.timeout_recovery() || self.in_cut_window() {
            return;
        }
        env.counters.ecn_cuts += 1;
        self.congestion_marked(env, flight);
        self.cold.cut_point = self.snd_nxt;
        self.cold.modes.set_cwr_due(true);
        self.update_careful();
    }

    /// Whether what was in flight at the last cut for a mark still is, or is acknowledged but nothing behind it: only that
    /// can have brought CWR. A stale cut point, 2³² bytes on, reads as one for at most a window.
    pub(crate) fn in_cut_window(&self) -> bool {
        self.cold.cut_point.distance_from(self.snd_una) <= self.in_flight()
    }

    /// Output looks at [`Modes`] only when something there concerns it.
    pub(crate) fn update_careful(&mut self) {
        let m = self.cold.modes;
        self.flags.set_careful(m.cwr_due() || m.idle() || m.paced() || m.int());
    }
}

/// Flags with which output leaves the plain path.
#[inline(always)]
pub(crate) fn careful_flags() -> Flags {
    let mut f = Flags::default();
    f.set_disorder(true);
    f.set_persist(true);
    f.set_careful(true);
    f.set_echo_ce(true);
    f
}
