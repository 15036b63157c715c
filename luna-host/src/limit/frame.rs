//! Messages to frames and back.

use std::collections::VecDeque;

use luna_core::nic::{NicQueue, RxBurst, RxFrame, TxFrags, TxMeta};
use luna_core::rpc::HEADER_LEN;
use luna_core::wire::{Checksum, ChecksumVerdict, RxChecksum, tcp_checksum, write_tcp_checksum};
use luna_core::zbuf::{Frag, Zbuf};

use super::{Checksums, LimitEnd};

/// Ethernet, IPv4, TCP with timestamps: as Luna's plain header.
pub(super) const HEADER: usize = 66;
const L3: usize = 14;
const L4: usize = 34;
/// TCP's header with its options.
const TCP: u16 = 32;
const PROTO_TCP: u8 = 6;
/// Mark of our frames, where TCP has its ports: one that Luna gives to nobody.
const PORTS: [u8; 4] = [0x4c, 0x4c, 0x4c, 0x4d];

/// A part of a message that arrived.
pub(super) struct Part {
    /// Which message.
    pub(super) ticket: u32,
    /// Its bytes, the RPC head's included.
    pub(super) total: u32,
    /// Where this part begins in it.
    pub(super) at: u32,
    /// Bytes of it, the head's included.
    pub(super) len: u32,
    /// The payload.
    pub(super) payload: Zbuf,
}

/// A message that did not go out whole: the queue was full.
struct Rest {
    ticket: u32,
    pieces: Vec<Frag>,
    at: u32,
}

/// A queue with messages on it.
pub(super) struct Frames<Q> {
    pub(super) queue: Q,
    pub(super) burst: RxBurst,
    template: [u8; HEADER],
    pseudo: Checksum,
    checksums: Checksums,
    /// Bytes of a frame behind its header.
    mss: u32,
    rests: VecDeque<Rest>,
    /// Frames that were none of ours, or damaged.
    pub(super) strange: u64,
}

impl<Q: NicQueue> Frames<Q> {
    pub(super) fn new(end: LimitEnd<Q>, checksums: Checksums) -> Self {
        let LimitEnd { queue, own, peer, .. } = end;
        let mut template = [0; HEADER];
        template[..6].copy_from_slice(&peer.0.0);
        template[6..12].copy_from_slice(&own.0.0);
        template[12..L3].copy_from_slice(&[8, 0]);
        // IPv4: no options, don't fragment, 64 hops.
        template[L3] = 0x45;
        template[L3 + 6] = 0x40;
        template[L3 + 8] = 64;
        template[L3 + 9] = PROTO_TCP;
        template[L3 + 12..L3 + 16].copy_from_slice(&own.1.octets());
        template[L3 + 16..L4].copy_from_slice(&peer.1.octets());
        template[L4..L4 + 4].copy_from_slice(&PORTS);
        // 32 bytes of header, ACK, a window.
        template[L4 + 12..L4 + 16].copy_from_slice(&[0x80, 0x10, 0xff, 0xff]);
        // Two NOPs and timestamps, of which the first holds the message's length.
        template[L4 + 20..L4 + 24].copy_from_slice(&[1, 1, 8, 10]);
        let mut pseudo = Checksum::new();
        pseudo.add_pseudo_v4(own.1.octets(), peer.1.octets(), PROTO_TCP, 0);
        let mss = u32::from(queue.caps().mtu) - 20 - u32::from(TCP);
        let burst = RxBurst::new();
        Self { queue, burst, template, pseudo, checksums, mss, rests: VecDeque::new(), strange: 0 }
    }

    /// Frames of a message with that much payload.
    pub(super) fn frames_of(&self, size: u32) -> usize {
        (size as usize + HEADER_LEN).div_ceil(self.mss as usize)
    }

    /// Sends a message of an RPC head and `pieces`; what finds no room waits for [`Frames::retry`].
    #[inline]
    pub(super) fn send(&mut self, ticket: u32, pieces: &[Frag]) {
        let sent = if self.rests.is_empty() { self.send_from(ticket, pieces, 0) } else { Some(0) };
        if let Some(at) = sent {
            // Behind the others, or the messages' frames would mix.
            self.rests.push_back(Rest { ticket, pieces: pieces.to_vec(), at });
        }
    }

    /// Takes in what has come, for [`Frames::arrived`]; [`Frames::finish`] ends the turn. How many frames.
    #[inline]
    pub(super) fn receive(&mut self) -> usize {
        self.queue.rx_burst(&mut self.burst);
        self.burst.len()
    }

    /// Frame `i` of those, if it is one of ours; once.
    #[inline]
    pub(super) fn arrived(&mut self, i: usize) -> Option<Part> {
        let frame = self.burst.take(i)?;
        self.parse(frame)
    }

    /// Sends what is to be sent, and lets go of what was.
    #[inline]
    pub(super) fn finish(&mut self) {
        self.burst.clear();
        self.retry();
        self.queue.flush();
        self.queue.reap();
    }

    /// Sends what found no room.
    #[inline]
    fn retry(&mut self) {
        while let Some(mut rest) = self.rests.pop_front() {
            if let Some(at) = self.send_from(rest.ticket, &rest.pieces, rest.at) {
                rest.at = at;
                self.rests.push_front(rest);
                return;
            }
        }
    }

    /// Sends a message from byte `at` on; where it stopped, if it did.
    #[inline]
    fn send_from(&mut self, ticket: u32, pieces: &[Frag], mut at: u32) -> Option<u32> {
        let total = HEADER_LEN as u32 + pieces.iter().map(|p| p.len()).sum::<u32>();
        // Where in the pieces `at` is.
        let (mut piece, mut skip) = (0, at.saturating_sub(HEADER_LEN as u32));
        while let Some(p) = pieces.get(piece)
            && skip >= p.len()
        {
            skip -= p.len();
            piece += 1;
        }
        while at < total {
            let head = if at == 0 { HEADER_LEN as u32 } else { 0 };
            let len = (total - at).min(self.mss);
            let mut left = len - head;
            let mut parts: heapless::Vec<Frag, { luna_core::nic::MAX_TX_FRAGS }> = heapless::Vec::new();
            let (mut next, mut next_skip) = (piece, skip);
            while left > 0
                && let Some(p) = pieces.get(next)
            {
                let take = left.min(p.len() - next_skip);
                if parts.push(p.slice(next_skip, take)).is_err() {
                    break;
                }
                left -= take;
                next_skip += take;
                if next_skip == p.len() {
                    (next, next_skip) = (next + 1, 0);
                }
            }
            if !self.frame(ticket, total, at, len - left, head, &parts) {
                return Some(at);
            }
            at += len - left;
            (piece, skip) = (next, next_skip);
        }
        None
    }

    /// One frame; false when the queue is full.
    #[inline]
    fn frame(&mut self, ticket: u32, total: u32, at: u32, len: u32, head: u32, parts: &[Frag]) -> bool {
        let Some(mut header) = self.queue.header_pool().alloc_len(HEADER as u32 + head) else { return false };
        let Some((to, rpc)) = header.split_first_chunk_mut::<HEADER>() else { return false };
        *to = self.template;
        let ip_len = 20 + TCP + len as u16;
        to[L3 + 2..L3 + 4].copy_from_slice(&ip_len.to_be_bytes());
        let mut ip = Checksum::new();
        ip.add(&to[L3..L4]);
        to[L3 + 10..L3 + 12].copy_from_slice(&ip.finish().to_be_bytes());
        to[L4 + 4..L4 + 8].copy_from_slice(&at.to_be_bytes());
        to[L4 + 8..L4 + 12].copy_from_slice(&ticket.to_be_bytes());
        to[L4 + 24..L4 + 28].copy_from_slice(&total.to_be_bytes());
        rpc.fill(0);
        let mut pseudo = self.pseudo;
        pseudo.add_u16(TCP + len as u16);
        let offload = self.checksums == Checksums::AsLuna && self.queue.caps().tx_checksum;
        if offload {
            write_tcp_checksum(&mut header, L4, pseudo.fold());
        } else if self.checksums == Checksums::AsLuna {
            let sum = tcp_checksum(
                pseudo,
                header.get(L4..).unwrap_or_default(),
                parts.iter().map(|p| p.bytes().unwrap_or_default()),
            );
            write_tcp_checksum(&mut header, L4, sum);
        }
        let mut lent = TxFrags::new();
        for part in parts {
            if lent.push(part.lend()).is_err() {
                return false;
            }
        }
        let meta = TxMeta {
            l2_len: L3 as u8,
            l3_len: 20,
            l4_len: TCP as u8,
            ipv6: false,
            offload_checksum: offload,
            segment_size: 0,
        };
        self.queue.tx(header.into(), &lent, meta).is_ok()
    }

    /// What a frame holds, if it is one of ours and whole.
    #[inline]
    pub(super) fn parse(&mut self, frame: RxFrame) -> Option<Part> {
        let part = self.part(frame);
        self.strange += u64::from(part.is_none());
        part
    }

    #[inline]
    fn part(&self, frame: RxFrame) -> Option<Part> {
        let RxFrame { data: mut payload, meta } = frame;
        let (header, _) = payload.split_first_chunk::<HEADER>()?;
        if header[L4..L4 + 4] != PORTS {
            return None;
        }
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (at, ticket, total) = (number(L4 + 4), number(L4 + 8), number(L4 + 24));
        let ip_len = u16::from_be_bytes([header[L3 + 2], header[L3 + 3]]);
        let len = u32::from(ip_len).checked_sub(20 + u32::from(TCP))?;
        // Ports may pad.
        payload.truncate(HEADER as u32 + len);
        if self.checksums == Checksums::AsLuna {
            let RxChecksum { ip, l4 } = meta.checksum;
            if ip != ChecksumVerdict::Good {
                let mut sum = Checksum::new();
                sum.add(payload.get(L3..L4)?);
                if sum.finish() != 0 {
                    return None;
                }
            }
            // Where the port vouches for the data, its checksum may not even be finished.
            if l4 != ChecksumVerdict::Good {
                let mut sum = self.pseudo;
                sum.add_u16(TCP + len as u16);
                sum.add(payload.get(L4..)?);
                if sum.finish() != 0 {
                    return None;
                }
            }
        }
        let head = if at == 0 { HEADER_LEN as u32 } else { 0 };
        if payload.len() != HEADER as u32 + len || len < head || total < at.checked_add(len)? {
            return None;
        }
        payload.trim_front(HEADER as u32 + head);
        Some(Part { ticket, total, at, len, payload })
    }

    /// A first frame's header without checksums.
    #[cfg(test)]
    pub(super) fn header_for_tests(&mut self, ticket: u32, total: u32) -> Vec<u8> {
        let mut header = self.template.to_vec();
        header[L3 + 2..L3 + 4].copy_from_slice(&(20 + TCP + total as u16).to_be_bytes());
        header[L4 + 8..L4 + 12].copy_from_slice(&ticket.to_be_bytes());
        header[L4 + 24..L4 + 28].copy_from_slice(&total.to_be_bytes());
        header
    }
}
