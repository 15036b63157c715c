//! The short way for SYNs while a listener's backlog is full: from the frame to the SYN-ACK with its cookie (RFC 4987),
//! without parsing what cannot matter. Whatever is not as usual goes the general way and gets the same answer there.

use super::Stack;
use super::flow::FlowKey;
use crate::nic::{NicQueue, RxBurst, TxMeta};
use crate::tcp::cookie;
use crate::tcp::handshake::{syn_mss, syn_window};
use crate::wire::syn::{PLAIN_SYN_LEN, PlainSyn, SynAckTemplate};
use crate::wire::{MacAddr, TcpPacket};

/// A destination that is flooded: every look-up about it was made for the SYN that found its backlog full.
#[derive(Clone, Copy)]
pub(super) struct Flood {
    path: u8,
    listener: u32,
    generation: u32,
    mac: MacAddr,
    addr: u32,
    port: u16,
    our_mss: u16,
    /// The MSS that the last SYN offered, and its place in the cookies' table: hardly any differs.
    mss: (u16, u32),
    answer: SynAckTemplate,
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Remembers where a cookie was sent from.
    pub(super) fn flooded(&mut self, path: u8, packet: &TcpPacket, listener: u32, our_mss: u16) {
        self.cookies_until = cookie::expires(self.now);
        let Some(bind) = self.listeners.get(listener as usize).and_then(|l| l.bind) else { return };
        let config = self.profiles.get(bind.profile);
        let plain =
            config.timestamps && config.sack && config.window_scaling && packet.vlan.is_none() && config.tos == 0;
        let (core::net::IpAddr::V4(addr), true) = (packet.dst, plain) else { return };
        let (Some(p), Some(l)) = (self.paths.get(usize::from(path)), self.listeners.get(listener as usize)) else {
            return;
        };
        let (addr, port, mac) = (addr.to_bits(), packet.tcp.dst_port, p.queue.caps().mac);
        let (window, scale) = (syn_window(config) as u16, config.scale());
        let offload = p.queue.caps().tx_checksum;
        let answer = SynAckTemplate::new(mac, (addr, port), window, our_mss, scale, config.ttl, offload);
        self.flood =
            Some(Flood { path, listener, generation: l.generation, mac, addr, port, our_mss, mss: (0, 0), answer });
    }

    /// Answers the SYNs of a flood that come next in a burst. True if there were any; the first other frame is left.
    #[inline(never)]
    pub(super) fn flood(&mut self, path: u8, burst: &mut RxBurst) -> bool {
        let Some(flood) = &mut self.flood else { return false };
        let Some(p) = self.paths.get_mut(usize::from(path)).filter(|_| flood.path == path) else { return false };
        let Some(listener) = self.listeners.get(flood.listener as usize) else { return false };
        let full = listener.bind.is_some_and(|b| b.backlog > 0 && listener.pending >= b.backlog);
        if !full || listener.generation != flood.generation {
            return false;
        }
        let (offload_checksum, mac) = (p.queue.caps().tx_checksum, flood.mac);
        let meta = TxMeta { l2_len: 14, l3_len: 20, l4_len: 40, ipv6: false, offload_checksum, segment_size: 0 };
        let local = u64::from(u32::from_ne_bytes(flood.addr.to_be_bytes()));
        let mut any = false;
        while let Some(frame) = burst.peek(0)
            && frame.meta.checksum.is_good()
            && let Some(head) = frame.data.first_chunk::<PLAIN_SYN_LEN>()
            && let Some(syn) = PlainSyn::read(head, mac)
        {
            let remote = u64::from(u32::from_ne_bytes(syn.src.to_be_bytes()));
            let key = FlowKey::v4(remote << 32 | local, syn.ports);
            if syn.dst != flood.addr
                || syn.ports as u16 != flood.port
                || syn.ports >> 16 == 0
                // Not 0.x, not a group, not everybody.
                || !(1..224).contains(&(syn.src >> 24))
                || self.flows.may_have(&key)
            {
                break;
            }
            any = true;
            self.counters.segments_in += 1;
            self.counters.backlog_full += 1;
            if flood.mss.0 != syn.mss {
                let config = &self.config.tcp;
                flood.mss = (syn.mss, cookie::mss_index(syn_mss(Some(syn.mss), false, flood.our_mss, config)));
            }
            let secrets = &mut self.secrets;
            let secret = secrets.flow(&key);
            let seq = cookie::make(self.now, flood.mss.1, syn.seq, |period| secrets.cookie(secret, period));
            let tsval = cookie::mark(self.now_ms.wrapping_add(secret.timestamp_offset()), Some(syn.scale), true);
            if let Some(mut header) = p.queue.header_pool().alloc_len(PLAIN_SYN_LEN as u32)
                && let Some(out) = header.first_chunk_mut()
            {
                flood.answer.emit(out, head, &syn, seq, tsval);
                if p.queue.tx(header.into(), &[], meta).is_ok() {
                    self.counters.segments_out += 1;
                    self.counters.syn_cookies_out += 1;
                } else {
                    self.counters.tx_queue_full += 1;
                }
            } else {
                self.counters.no_header_obj += 1;
            }
            drop(burst.pop());
        }
        if any {
            self.cookies_until = cookie::expires(self.now);
        }
        any
    }
}
