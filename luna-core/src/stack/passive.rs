//! Segments of no connection (RFC 9293 §3.10.7.1 and .2): listeners, their backlog, SYN cookies behind it (RFC 4987).

use super::flow::FlowKey;
use super::telemetry::TxShim;
use super::{ConnectError, Stack, listener};
use crate::nic::NicQueue;
use crate::parts::{CONTROLLERS, COOKIES};
use crate::tcp::congestion::CongestionKind;
use crate::tcp::cookie::{self, Answer};
use crate::tcp::handshake::{syn_mss, syn_window};
use crate::tcp::{ProfileId, State};
use crate::wire::{ParseError, SackBlocks, SegmentHead, TcpFlags, TcpOptions, TcpPacket};

impl<Q: NicQueue> Stack<'_, Q> {
    /// A segment for CLOSED or LISTEN. The slot, when it completed a handshake that only its cookie remembers: the segment
    /// goes on as one for that connection, in SYN-RECEIVED; a keepalive probe as what it repeats.
    #[inline(never)]
    pub(super) fn no_connection(
        &mut self,
        path: u8,
        packet: &mut TcpPacket,
        frame: &[u8],
        key: &FlowKey,
    ) -> Option<u32> {
        let p = self.paths.get(usize::from(path))?;
        if !packet.is_unicast() {
            self.counters.not_unicast += 1;
            return None;
        }
        let vlan = |tci: Option<u16>| tci.map(|t| t & 0x0fff);
        if !p.owns(packet.dst) || vlan(packet.vlan) != vlan(p.config.vlan) || packet.dst_mac != p.queue.caps().mac {
            self.counters.not_ours += 1;
            return None;
        }
        if p.owns(packet.src) {
            // Nobody else has our address: an answer would come back to us for ever ("land").
            self.counters.not_ours += 1;
            return None;
        }
        let flags = packet.tcp.flags;
        if flags.rst() {
            self.counters.no_connection += 1;
            return None;
        }
        if let Some(l) = listener::find(self.listeners, packet.dst, packet.tcp.dst_port, path) {
            if flags.syn() && !flags.ack() && !flags.fin() {
                self.accept_syn(path, packet, frame, key, l);
                return None;
            }
            if !flags.syn() && !flags.ack() {
                // RFC 9293 §3.10.7.2, fourth step: nothing that LISTEN could take it for.
                self.counters.unexpected += 1;
                return None;
            }
            if COOKIES && !flags.syn() && self.now < self.cookies_until {
                match self.accept_cookie(path, packet, frame, key, l) {
                    Ok(slot) => return Some(slot),
                    // The peer thinks that it is connected, and tries again: perhaps there is room then, or what was
                    // overtaken comes first.
                    Err(NoCookie::Full | NoCookie::Later) => return None,
                    Err(NoCookie::Bad) => {}
                }
            }
        }
        self.counters.no_connection += 1;
        self.reset_for(path, packet);
        None
    }

    #[inline]
    fn accept_syn(&mut self, path: u8, packet: &TcpPacket, frame: &[u8], key: &FlowKey, l: u32) {
        let Ok(options) = TcpOptions::parse(packet.options(frame)) else {
            self.counters.malformed(ParseError::BadOption);
            return;
        };
        if packet.tcp.src_port == 0 {
            self.counters.not_ours += 1;
            return;
        }
        let Some((x, bind)) = self.listeners.get(l as usize).and_then(|x| Some((x, x.bind?))) else { return };
        if x.pending >= bind.backlog {
            self.counters.backlog_full += 1;
            if bind.backlog > 0 {
                self.send_cookie(path, packet, key, &options, l);
            }
            return;
        }
        if let Some(slot) = self.half_open(path, packet, key, l) {
            let config = self.profiles.at(self.conns.at(slot).profile);
            let our_mss = self.mss_for(path, packet.src, config);
            let now_ms = self.now_ms;
            let conn = self.conns.at_mut(slot);
            conn.take_syn(packet.tcp.seq, packet.tcp.window, &options, our_mss, now_ms, config);
            conn.take_offers(packet.tcp.flags, &options, config, &mut self.controls, &mut self.counters);
            self.counters.passive_opens += 1;
            self.mark_dirty(slot);
            self.arm(slot);
        }
    }

    /// A connection in SYN-RECEIVED that counts against the backlog of listener `l`.
    fn half_open(&mut self, path: u8, packet: &TcpPacket, key: &FlowKey, l: u32) -> Option<u32> {
        let profile = self.profile_of(l);
        let slot = match self.new_connection(State::SynReceived, key, path, profile) {
            Ok(slot) => slot,
            Err(ConnectError::ControlsFull) => return None,
            Err(_) => {
                self.counters.connections_full += 1;
                return None;
            }
        };
        let patience = self.profiles.get(profile).connect_timeout;
        let conn = self.conns.at_mut(slot);
        conn.flags.set_passive(true);
        conn.cold.listener = l;
        conn.cold.give_up_at = self.now + patience;
        // The answer goes back where the SYN came from; a neighbour entry, when there is one, knows better.
        self.set_template(slot, Some(packet.src_mac));
        if let Some(x) = self.listeners.get_mut(l as usize) {
            x.pending += 1;
            let cold = &mut self.conns.at_mut(slot).cold;
            (cold.listener_generation, cold.user) = (x.generation, x.user);
        }
        Some(slot)
    }

    /// Answers a SYN without keeping anything of it.
    fn send_cookie(&mut self, path: u8, packet: &TcpPacket, key: &FlowKey, syn: &TcpOptions, l: u32) {
        let config = self.profiles.get(self.profile_of(l));
        if !COOKIES || !config.syn_cookies {
            return;
        }
        let Some(template) = self.answer_template(path, packet, config.ttl) else { return };
        let template = template.with_tos(config.tos);
        let our_mss = self.mss_for(path, packet.src, config);
        let mss = syn_mss(syn.mss, packet.src.is_ipv6(), our_mss, config);
        let secrets = &mut self.secrets;
        let flow = secrets.flow(key);
        let index = cookie::mss_index(mss);
        let seq = cookie::make(self.now, index, packet.tcp.seq, |period| secrets.cookie(flow, period));
        let tsval = self.now_ms.wrapping_add(flow.timestamp_offset());
        let timestamps = syn.timestamps.filter(|_| config.timestamps);
        let with = timestamps.is_some();
        let options = TcpOptions {
            mss: Some(our_mss),
            window_scale: (with && config.window_scaling && syn.window_scale.is_some()).then(|| config.scale()),
            sack_permitted: with && config.sack && syn.sack_permitted,
            timestamps: timestamps.map(|(echo, _)| (cookie::mark(tsval, syn.window_scale, syn.sack_permitted), echo)),
            sack: SackBlocks::EMPTY,
            telemetry: false,
        };
        let head = SegmentHead {
            seq,
            ack: packet.tcp.seq + 1,
            flags: TcpFlags::SYN.union(TcpFlags::ACK),
            window: syn_window(config) as u16,
            ts: None,
            ecn: 0,
            options: Some(&options),
        };
        if self.transmit_bare(path, &template, &head, &TxShim::default()) {
            self.counters.syn_cookies_out += 1;
            self.flooded(path, packet, l, our_mss);
        }
    }

    /// An acknowledgment that may answer a cookie: the connection as its SYN and our answer would have left it.
    fn accept_cookie(
        &mut self,
        path: u8,
        packet: &mut TcpPacket,
        frame: &[u8],
        key: &FlowKey,
        l: u32,
    ) -> Result<u32, NoCookie> {
        let tcp = &packet.tcp;
        let (iss, mut irs) = (tcp.ack - 1, tcp.seq - 1);
        let window = syn_window(self.profiles.get(self.profile_of(l))) as u16;
        let secrets = &mut self.secrets;
        let flow = secrets.flow(key);
        let tsval = self.now_ms.wrapping_add(flow.timestamp_offset());
        let answer = cookie::check(self.now, iss, irs, window, |period| secrets.cookie(flow, period));
        let options = TcpOptions::parse(packet.options(frame)).map_err(|_| NoCookie::Bad);
        let probe = matches!(answer, Answer::Probe(_));
        if probe && packet.segment_len() > 0 {
            // Neither a probe nor a beginning.
            self.counters.syn_cookies_bad += 1;
            return Err(NoCookie::Bad);
        }
        let (Answer::First(_) | Answer::Probe(_) | Answer::Later, Ok(ours)) = (answer, options) else {
            self.counters.syn_cookies_bad += 1;
            return Err(NoCookie::Bad);
        };
        let mut syn = TcpOptions { timestamps: ours.timestamps, ..TcpOptions::default() };
        if let Some((_, echo)) = ours.timestamps {
            let Some((scale, sack)) = cookie::unmark(tsval, echo) else {
                self.counters.syn_cookies_bad += 1;
                return Err(NoCookie::Bad);
            };
            (syn.window_scale, syn.sack_permitted) = (scale, sack);
        }
        let (Answer::First(mss) | Answer::Probe(mss)) = answer else {
            if !ours.timestamps.is_some_and(|(_, echo)| cookie::may_be_overtaken(tsval, echo)) {
                self.counters.syn_cookies_bad += 1;
                return Err(NoCookie::Bad);
            }
            self.counters.syn_cookies_later += 1;
            return Err(NoCookie::Later);
        };
        syn.mss = Some(mss);
        // Nothing is taken any more: the application's own queue is full.
        if self.listeners.get(l as usize).and_then(|x| x.bind).is_none_or(|b| b.backlog == 0) {
            self.counters.backlog_full += 1;
            return Err(NoCookie::Full);
        }
        if probe {
            irs += 1;
            packet.tcp.seq += 1;
        }
        let tcp = packet.tcp;
        let slot = self.half_open(path, packet, key, l).ok_or(NoCookie::Full)?;
        let config = self.profiles.at(self.conns.at(slot).profile);
        let our_mss = self.mss_for(path, packet.src, config);
        let now_ms = self.now_ms;
        let conn = self.conns.at_mut(slot);
        conn.start_at(iss);
        conn.take_syn(irs, tcp.window, &syn, our_mss, now_ms, config);
        // A cookie has no room for more: neither ECN nor telemetry was agreed on.
        conn.take_offers(TcpFlags::NONE, &syn, config, &mut self.controls, &mut self.counters);
        // Our answer left long ago.
        conn.snd_nxt = iss + 1;
        conn.flags.set_syn_pending(false);
        if probe {
            // Who asks wants an answer.
            conn.flags.set_ack_now(true);
        }
        self.counters.passive_opens += 1;
        self.counters.syn_cookies_in += 1;
        Ok(slot)
    }

    fn profile_of(&self, listener: u32) -> ProfileId {
        self.listeners.get(listener as usize).and_then(|x| x.bind).map_or(ProfileId::DEFAULT, |b| b.profile)
    }

    /// A slot with its flow entry and its controller. A full pool of controllers is counted here, full tables are the
    /// caller's to count.
    pub(super) fn new_connection(
        &mut self,
        state: State,
        key: &FlowKey,
        path: u8,
        profile: ProfileId,
    ) -> Result<u32, ConnectError> {
        if self.flows.is_full() {
            return Err(ConnectError::Full);
        }
        let kind = self.profiles.get(profile).congestion;
        if kind != CongestionKind::NewReno && (!CONTROLLERS || self.controls.available() == 0) {
            self.counters.controls_full += 1;
            return Err(ConnectError::ControlsFull);
        }
        let slot = self.conns.alloc().ok_or(ConnectError::Full)?;
        let iss = self.secrets.initial_sequence(key, self.now);
        let ts_offset = self.secrets.flow(key).timestamp_offset();
        self.profiles.take(profile);
        let config = self.profiles.get(profile);
        let conn = self.conns.at_mut(slot);
        conn.open(*key, (path, profile.into()), iss, ts_offset);
        conn.set_state(&mut self.counters, state);
        // Both were checked above.
        let _ = conn.take_control(slot, kind, config, &mut self.controls);
        let _ = self.flows.insert(key, slot);
        Ok(slot)
    }
}

/// Why an acknowledgment opened nothing.
enum NoCookie {
    /// It does not answer a cookie of ours.
    Bad,
    /// It does, but is not the first segment of its connection.
    Later,
    /// There is no room for a connection.
    Full,
}
