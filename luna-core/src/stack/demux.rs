//! From a frame to its connection, or to a listener, or to a reset.

use core::hint::cold_path;
use core::net::SocketAddr;

use super::deliver::Next;
use super::flow::FlowKey;
use super::{App, ConnId, Stack};
use crate::nic::{NicQueue, RxBurst, RxFrame};
use crate::parts::COOKIES;
use crate::slab::NIL;
use crate::tcp::State;
use crate::time::Duration;
use crate::wire::{HeaderTemplate, ParseError, PlainSegment, SegmentHead, SeqNum, TcpFlags, TcpPacket, continues};

/// Whether `next` continues the run of `first` with right checksums, where the port does not say so itself.
#[inline(never)]
fn verified_next(first: &RxFrame, next: &RxFrame, seq: SeqNum) -> bool {
    continues(&first.data, &next.data, seq).is_some() && PlainSegment::checksums_hold(&next.data, next.meta.checksum)
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// The next frame of a burst to completion, and with it the in-order segments right behind it that differ in nothing
    /// but their sequence number. False when there is none.
    #[inline(always)]
    pub(super) fn run<A: App<Q>>(&mut self, path: u8, burst: &mut RxBurst, app: &mut A) -> bool {
        let Some(frame) = burst.peek(0) else { return false };
        stage!(self.cycles, Parse);
        let slot = self.last;
        if slot != NIL
            && (frame.meta.checksum.is_good() || self.verified(slot, frame))
            && let Some(seg) = PlainSegment::read(&frame.data)
        {
            let now_ms = self.now_ms;
            stage!(self.cycles, TcpIn);
            let conn = self.conns.at_mut(slot);
            if conn.key.is_v4(seg.addrs, seg.ports) && conn.predicted(&seg) {
                conn.ts_recent_ms = now_ms;
                let mut segments = 1;
                if seg.payload_len > 0 {
                    let before = conn.rcv_nxt;
                    let mut nxt = before + seg.payload_len;
                    while let Some(next) = burst.peek(segments)
                        && (next.meta.checksum.is_good() || verified_next(frame, next, nxt))
                        && let Some(len) = continues(&frame.data, &next.data, nxt)
                        && len <= conn.rcv_adv.distance_from(nxt)
                    {
                        nxt += len;
                        segments += 1;
                    }
                    conn.rcv_nxt = nxt;
                    conn.ack_owed = conn.ack_owed.saturating_add(segments as u8);
                    self.counters.bytes_in += u64::from(nxt.distance_from(before));
                }
                self.counters.segments_in += segments as u64;
                self.counters.fast_path += segments as u64;
                let acked_some = seg.ack != conn.snd_una;
                let id = conn.id;
                if acked_some {
                    let at = (self.now, self.profiles.at(conn.profile));
                    let (acked, rtt) =
                        conn.acked_in_order(at, &mut self.segments, &self.sends, &mut self.counters, seg.ack);
                    if conn.congestion_listens() {
                        self.congestion_acked(slot, acked, rtt);
                    }
                    self.release_acked(slot, id, app);
                }
                if seg.payload_len > 0 {
                    self.hand_over(slot, id, seg.payload_len, segments, burst, app);
                } else {
                    drop(burst.pop());
                }
                self.mark_dirty(slot);
                return true;
            }
        }
        cold_path();
        if COOKIES && self.now < self.cookies_until && self.flood(path, burst) {
            return true;
        }
        // Another connection's turn: once it is known, the short way is tried with it.
        if let Some(other) = self.other(path, burst) {
            self.last = other;
            return true;
        }
        let Some(frame) = burst.pop() else { return false };
        self.frame_parsed(path, frame, app);
        true
    }

    /// The connection that a plain frame belongs to, when it is not the last one's. The frame is not taken.
    #[inline(never)]
    fn other(&mut self, path: u8, burst: &RxBurst) -> Option<u32> {
        let frame = burst.peek(0)?;
        let seg = PlainSegment::read(&frame.data)?;
        if self.last != NIL && self.conns.at(self.last).key.is_v4(seg.addrs, seg.ports) {
            return None;
        }
        stage!(self.cycles, Demultiplex);
        let key = FlowKey::v4(seg.addrs, seg.ports);
        let slot = self.flows.find(&key, |slot| self.conns.at(slot).key.is_v4(seg.addrs, seg.ports))?;
        // As below: of a connection that was found just now nobody has asked yet whether this was sent to us.
        let p = self.paths.get(usize::from(path))?;
        let ours = frame.data.get(..6) == Some(&p.queue.caps().mac.0[..]) && self.conns.at(slot).path == path;
        ours.then_some(slot)
    }

    /// The payload of the next `segments` frames of a burst, the first of which has `len` bytes.
    #[inline(always)]
    fn hand_over<A: App<Q>>(
        &mut self,
        slot: u32,
        id: ConnId,
        mut len: u32,
        segments: usize,
        burst: &mut RxBurst,
        app: &mut A,
    ) {
        let mut left = segments;
        while let Some(RxFrame { mut data, .. }) = burst.pop() {
            data.narrow(PlainSegment::HEADERS, len);
            self.data(slot, id, data, app);
            left -= 1;
            if left == 0 {
                break;
            }
            len = burst.peek(0).map_or(0, |next| PlainSegment::payload_len_of(&next.data));
        }
    }

    #[inline(never)]
    fn congestion_acked(&mut self, slot: u32, acked: u32, rtt: Option<Duration>) {
        let (conn, mut env) = self.split(slot);
        conn.congestion_acked(&mut env.ack, acked, rtt);
    }

    /// Whether it is a plain frame of that connection with right checksums, where the port does not say so itself.
    #[inline(never)]
    fn verified(&self, slot: u32, frame: &RxFrame) -> bool {
        let ours = |seg: PlainSegment| self.conns.at(slot).key.is_v4(seg.addrs, seg.ports);
        PlainSegment::read(&frame.data).is_some_and(ours)
            && PlainSegment::checksums_hold(&frame.data, frame.meta.checksum)
    }

    #[inline(never)]
    fn frame_parsed<A: App<Q>>(&mut self, path: u8, frame: RxFrame, app: &mut A) {
        stage!(self.cycles, Parse);
        let mut packet = match TcpPacket::parse_frame(&frame.data, frame.meta.checksum) {
            Ok(packet) => packet,
            Err(ParseError::NotTcp) => return self.not_tcp(path, &frame.data, app),
            Err(e) => return self.counters.malformed(e),
        };
        stage!(self.cycles, Demultiplex);
        self.counters.segments_in += 1;
        let key = FlowKey::new(packet.src, packet.dst, packet.tcp.src_port, packet.tcp.dst_port);
        let slot = if self.last != NIL && self.conns.at(self.last).key.matches(&key) {
            self.last
        } else {
            match self.flows.find(&key, |slot| self.conns.at(slot).key.matches(&key)) {
                Some(slot) => slot,
                None => match self.no_connection(path, &mut packet, &frame.data, &key) {
                    Some(slot) => slot,
                    None => return,
                },
            }
        };
        if !self.is_addressed_to(path, slot, &packet) {
            self.counters.not_ours += 1;
            return;
        }
        if self.conns.at(slot).state == State::TimeWait && self.conns.at(slot).gives_way_to(&packet, &frame.data) {
            self.free(slot);
            // A SYN, which makes no connection by itself.
            let _ = self.no_connection(path, &mut packet, &frame.data, &key);
            return;
        }
        self.last = slot;
        if packet.shim_len != 0 {
            self.take_telemetry(slot, &packet, &frame.data);
        }
        if self.conns.at(slot).owes_other_echo(&packet) {
            self.ack_at_once(slot);
        }
        stage!(self.cycles, TcpIn);
        let our_mss = self.our_mss(slot, &packet);
        let (conn, mut env) = self.split(slot);
        let outcome = conn.input(&mut env, &packet, frame.data, our_mss);
        if outcome.events.reset() {
            self.reset_for(path, &packet);
        }
        if outcome.events.ack_at_once() {
            self.ack_at_once(slot);
        }
        if self.deliver(slot, outcome, app) == Next::Gone {
            return;
        }
        self.mark_dirty(slot);
    }

    /// Whether a segment that matches a connection was sent to it: to the hardware address and the VLAN of the path that
    /// it came in by, which may be another than the connection's (queues of one port), if the address is its too. Header
    /// prediction leaves hardware addresses to the device and is not made for VLANs.
    #[inline]
    fn is_addressed_to(&self, path: u8, slot: u32, packet: &TcpPacket) -> bool {
        let vlan = |tci: Option<u16>| tci.map(|t| t & 0x0fff);
        self.paths.get(usize::from(path)).is_some_and(|p| {
            packet.dst_mac == p.queue.caps().mac
                && vlan(packet.vlan) == vlan(p.config.vlan)
                && (self.conns.at(slot).path == path || p.owns(packet.dst))
        })
    }

    #[cold]
    fn ack_at_once(&mut self, slot: u32) {
        if self.conns.at(slot).flags.aborting() {
            // Nothing is taken in any more (RFC 9293 §3.10.5): its reset, at the burst's end, is all that is to be said.
            return;
        }
        let seq = self.conns.at(slot).snd_nxt;
        // When it cannot leave, the burst's end tries again.
        if self.transmit_ack(slot, seq) {
            self.counters.acks_out += 1;
        }
    }

    /// Only a SYN needs it.
    #[inline(always)]
    fn our_mss(&self, slot: u32, packet: &TcpPacket) -> u16 {
        if self.conns.at(slot).state >= State::Established {
            0
        } else {
            self.mss_for(self.conns.at(slot).path, packet.src, self.profiles.at(self.conns.at(slot).profile))
        }
    }

    /// Headers of a segment that goes back where `packet` came from.
    pub(super) fn answer_template(&self, path: u8, packet: &TcpPacket, ttl: u8) -> Option<HeaderTemplate> {
        let p = self.paths.get(usize::from(path))?;
        let (ours, theirs) = (packet.tcp.dst_port, packet.tcp.src_port);
        let (mac, vlan) = (p.queue.caps().mac, p.config.vlan);
        HeaderTemplate::new(mac, packet.src_mac, vlan, packet.dst, packet.src, ours, theirs, ttl).ok()
    }

    /// Answers a segment that has no business here (RFC 9293 §3.5.2).
    pub(super) fn reset_for(&mut self, path: u8, packet: &TcpPacket) {
        let tcp = &packet.tcp;
        if tcp.flags.rst() {
            return;
        }
        let (seq, ack, flags) = if tcp.flags.ack() {
            (tcp.ack, SeqNum(0), TcpFlags::RST)
        } else {
            (SeqNum(0), tcp.seq + packet.segment_len(), TcpFlags::RST.union(TcpFlags::ACK))
        };
        let Some(template) = self.answer_template(path, packet, self.config.tcp.ttl) else { return };
        let head = SegmentHead { seq, ack, flags, window: 0, ts: None, ecn: 0, options: None };
        if self.transmit_bare(path, &template, &head, &super::telemetry::TxShim::default()) {
            self.counters.resets_out += 1;
        }
    }

    /// Builds (or rebuilds) a connection's header template. `learned` is an address to use when no neighbour entry has one.
    /// False when the next hop is not known.
    pub(super) fn set_template(&mut self, slot: u32, learned: Option<crate::wire::MacAddr>) -> bool {
        let conn = self.conns.at(slot);
        let (remote, local) = conn.key.addrs();
        let config = self.profiles.at(conn.profile);
        let Some(p) = self.paths.get(usize::from(conn.path)) else { return false };
        let known = p.next_hop(remote).and_then(|hop| super::path::lookup(self.neighbors, conn.path, hop));
        let Some(mac) = known.or(learned) else {
            self.conns.at_mut(slot).flags.set_needs_neighbor(true);
            return false;
        };
        let template = HeaderTemplate::new(
            p.queue.caps().mac,
            mac,
            p.config.vlan,
            local,
            remote,
            conn.key.local_port(),
            conn.key.remote_port(),
            config.ttl,
        );
        let tagged = p.config.vlan.is_some();
        let conn = self.conns.at_mut(slot);
        conn.flags.set_tagged(tagged);
        conn.cold.template = template.ok().map(|t| t.with_tos(config.tos));
        let ecn = conn.plain_ecn();
        if let Some(template) = &mut conn.cold.template {
            template.set_plain_ecn(ecn);
        }
        conn.flags.set_needs_neighbor(conn.cold.template.is_none());
        conn.cold.template.is_some()
    }

    pub(super) fn remote_of(&self, slot: u32) -> SocketAddr {
        let key = &self.conns.at(slot).key;
        SocketAddr::new(key.addrs().0, key.remote_port())
    }

    /// Sends our reset for a connection that ends abnormally, in the states that have a peer to tell (RFC 9293 §3.10.5).
    pub(super) fn reset_connection(&mut self, slot: u32) {
        let c = self.conns.at(slot);
        let Some(template) = c.cold.template else { return };
        if !matches!(
            c.state,
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait
        ) {
            return;
        }
        let (seq, ack, path) = (c.snd_nxt, c.rcv_nxt, c.path);
        let flags = TcpFlags::RST.union(TcpFlags::ACK);
        let head = SegmentHead { seq, ack, flags, window: 0, ts: None, ecn: 0, options: None };
        if self.transmit_bare(path, &template, &head, &super::telemetry::TxShim::default()) {
            self.counters.resets_out += 1;
        }
    }
}
