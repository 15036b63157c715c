//! Opening a connection: SYN options both ways, SYN-SENT and SYN-RECEIVED (RFC 9293 §3.5, §3.10.7.3; RFC 7323; RFC 2018).

use super::config::TcpConfig;
use super::connection::Connection;
use super::input::{Env, Events, Outcome};
use super::state::State;
use crate::stack::CloseReason;
use crate::time::Instant;
use crate::wire::tcp_options::TIMESTAMPS_LEN;
use crate::wire::{SackBlocks, SeqNum, TcpFlags, TcpOptions, TcpPacket};

/// No segment is smaller, whatever a peer says: a tiny MSS is an attack on our CPU.
const MIN_MSS: u16 = 88;

/// The MSS to advertise on a path of `mtu`.
pub(crate) fn advertised_mss(mtu: u16, ipv6: bool, config: &TcpConfig) -> u16 {
    let mss = mtu.saturating_sub(if ipv6 { 60 } else { 40 });
    if config.max_mss == 0 { mss } else { mss.min(config.max_mss) }.max(MIN_MSS)
}

/// The segment size that a SYN's MSS option (or the lack of one) and ours allow, options not deducted.
pub(crate) fn syn_mss(option: Option<u16>, ipv6: bool, our_mss: u16, config: &TcpConfig) -> u16 {
    let theirs = option.unwrap_or(if ipv6 { config.default_mss_v6 } else { config.default_mss });
    theirs.min(our_mss).max(MIN_MSS)
}

/// The scale that lets 16 bits say `window`.
pub(crate) fn scale_for(window: u32) -> u8 {
    let mut scale = 0;
    while scale < 14 && (window >> scale) > 0xffff {
        scale += 1;
    }
    scale
}

/// The window of a SYN: never scaled (RFC 7323 §2.2).
pub(crate) fn syn_window(config: &TcpConfig) -> u32 {
    config.rcv_wnd.min(config.rcv_budget / 2).min(0xffff)
}

impl Connection {
    /// Options of our SYN or SYN-ACK. A SYN-ACK offers only what the peer's SYN offered.
    pub(crate) fn syn_options(&self, mss: u16, now_ms: u32, config: &TcpConfig, offer_telemetry: bool) -> TcpOptions {
        let answer = self.state == State::SynReceived;
        let timestamps = if answer { self.flags.timestamps() } else { config.timestamps };
        let scaling = if answer { self.flags.scaling() } else { config.window_scaling };
        TcpOptions {
            mss: Some(mss),
            window_scale: scaling.then(|| config.scale()),
            sack_permitted: if answer { self.flags.sack() } else { config.sack },
            timestamps: timestamps.then(|| (self.tsval(now_ms), if answer { self.ts_recent } else { 0 })),
            sack: SackBlocks::EMPTY,
            telemetry: if answer { self.cold.modes.int() } else { offer_telemetry },
        }
    }

    /// Takes in the peer's SYN.
    pub(crate) fn take_syn(
        &mut self,
        seq: SeqNum,
        window: u16,
        options: &TcpOptions,
        our_mss: u16,
        now_ms: u32,
        config: &TcpConfig,
    ) {
        self.rcv_nxt = seq + 1;
        self.rcv_adv = self.rcv_nxt + syn_window(config);
        self.snd_wnd = window.into();
        self.cold.max_window = window.into();
        self.snd_wl1 = seq;
        self.snd_wl2 = self.snd_una;
        match options.window_scale {
            Some(scale) if config.window_scaling => {
                self.snd_scale = scale.min(14);
                self.rcv_scale = config.scale();
                self.flags.set_scaling(true);
            }
            _ => {
                self.snd_scale = 0;
                self.rcv_scale = 0;
                self.flags.set_scaling(false);
            }
        }
        self.fit_window(config);
        self.flags.set_sack(config.sack && options.sack_permitted);
        match options.timestamps {
            Some((tsval, _)) if config.timestamps => {
                self.flags.set_timestamps(true);
                self.ts_recent = tsval;
                self.ts_recent_ms = now_ms;
            }
            _ => self.flags.set_timestamps(false),
        }
        let mss = syn_mss(options.mss, self.key.addrs_are_v6(), our_mss, config);
        self.mss = if self.flags.timestamps() { mss - TIMESTAMPS_LEN as u16 } else { mss };
    }

    /// Both SYNs are through.
    pub(crate) fn establish(&mut self, env: &mut Env<'_, '_>, ack: SeqNum) {
        self.set_state(env.ack.counters, State::Established);
        // A late copy of the peer's SYN may have asked for ours again.
        self.flags.set_syn_pending(false);
        self.snd_una = ack;
        if self.backoff > 1 {
            // More than one SYN was lost: one segment to begin with (RFC 5681 §3.1, RFC 6928 §2).
            let window = &mut self.congestion.window;
            window.cwnd = window.cwnd.min(self.mss.into());
        }
        self.backoff = 0;
        self.rto_at = Instant::FAR;
        self.cold.give_up_at = Instant::FAR;
        self.rtt.set_probes(self.flags.sack() && env.ack.config.rack);
        if self.cold.syn_sent_at != Instant::FAR {
            env.ack.counters.rtt_samples += 1;
            self.rtt.sample(env.ack.now, env.ack.now.since(self.cold.syn_sent_at));
        }
        env.ack.counters.established += 1;
    }

    /// A segment for a connection in SYN-SENT (RFC 9293 §3.10.7.3).
    pub(crate) fn input_syn_sent(
        &mut self,
        env: &mut Env<'_, '_>,
        packet: &TcpPacket,
        options: &TcpOptions,
        our_mss: u16,
    ) -> Outcome {
        let tcp = &packet.tcp;
        let sent = self.snd_nxt != self.cold.iss;
        if tcp.flags.ack() && !(sent && tcp.ack == self.cold.iss + 1) {
            env.ack.counters.bad_ack += 1;
            return if tcp.flags.rst() { Outcome::NOTHING } else { Outcome::reset() };
        }
        if tcp.flags.rst() {
            if !tcp.flags.ack() {
                env.ack.counters.unexpected += 1;
                return Outcome::NOTHING;
            }
            env.ack.counters.resets_in += 1;
            return Outcome::closed(CloseReason::Refused);
        }
        if !tcp.flags.syn() {
            env.ack.counters.unexpected += 1;
            return Outcome::NOTHING;
        }
        let (now_ms, config) = (env.now_ms, env.ack.config);
        self.take_syn(tcp.seq, tcp.window, options, our_mss, now_ms, config);
        self.take_offers(tcp.flags, options, config, env.ack.controls, env.ack.counters);
        if tcp.flags.ack() {
            self.establish(env, tcp.ack);
            self.flags.set_ack_now(true);
            return Outcome { events: Events::CONNECTED, ..Outcome::NOTHING };
        }
        // Both opened at once (RFC 9293 §3.5, figure 8): answer with SYN-ACK, the same ISN.
        self.set_state(env.ack.counters, State::SynReceived);
        self.flags.set_syn_pending(true);
        Outcome::NOTHING
    }

    /// Whether TIME-WAIT may end for this: a SYN that is certainly no old duplicate (RFC 6191 §2).
    #[cold]
    pub(crate) fn gives_way_to(&self, packet: &TcpPacket, frame: &[u8]) -> bool {
        let tcp = &packet.tcp;
        if !tcp.flags.contains(TcpFlags::SYN) || tcp.flags.intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN) {
            return false;
        }
        let tsval = TcpOptions::parse(packet.options(frame)).ok().and_then(|o| o.timestamps).map(|t| t.0);
        match tsval.filter(|_| self.flags.timestamps()) {
            Some(tsval) if tsval != self.ts_recent => (tsval.wrapping_sub(self.ts_recent) as i32) > 0,
            _ => tcp.seq.after(self.rcv_nxt),
        }
    }

    /// Whether a segment in SYN-RECEIVED is the peer's SYN once more: our SYN-ACK was lost.
    pub(crate) fn is_syn_again(&self, packet: &TcpPacket) -> bool {
        self.state == State::SynReceived
            && packet.tcp.seq + 1 == self.rcv_nxt
            && packet.tcp.flags.contains(TcpFlags::SYN)
            && !packet.tcp.flags.ack()
    }
}
