//! From a decision to a frame: header obj, payload fragments, checksum, queue.

use super::Stack;
use super::telemetry::TxShim;
use crate::nic::{NicQueue, TxFrags, TxMeta};
use crate::parts::TSO;
use crate::tcp::State;
use crate::tcp::congestion::CongestionKind;
use crate::tcp::send_queue::{Cursor, Gather, SendQueue};
use crate::time::Instant;
use crate::wire::int;
use crate::wire::{
    HeaderTemplate, SackBlocks, SegmentHead, SeqNum, TcpFlags, TcpOptions, tcp_checksum, write_tcp_checksum,
};
use crate::zbuf::{Frag, ZbufMut};

/// A piece of the stream to send.
pub(super) struct Piece {
    pub(super) seq: SeqNum,
    pub(super) at: Cursor,
    pub(super) len: u32,
    pub(super) fin: bool,
    pub(super) push: bool,
    /// The device cuts it into segments ([`Stack::large_len`]); else what is longer than one is sent in part.
    pub(super) large: bool,
}

/// What became of it.
pub(super) enum Sent {
    /// So many bytes left (fewer than asked when the port takes no more fragments); where the next begin.
    Bytes(u32, Cursor),
    /// No room or no obj.
    Stalled,
    /// Foreign memory is gone.
    Revoked,
}

/// Fills the checksum in, or leaves the rest to the device.
#[inline(always)]
fn finish_checksum(
    template: &HeaderTemplate,
    header: &mut ZbufMut,
    frags: &[Frag],
    tcp_len: u32,
    shim_len: usize,
    offload: bool,
) {
    let l4 = template.l2l3_len() + shim_len;
    let pseudo = template.pseudo_sum(tcp_len);
    let sum = if offload {
        pseudo.fold()
    } else {
        let tcp = header.get(l4..).unwrap_or_default();
        tcp_checksum(pseudo, tcp, frags.iter().map(|f| f.bytes().unwrap_or_default()))
    };
    write_tcp_checksum(header, l4, sum);
}

/// The shim goes between IP and TCP.
#[inline(always)]
fn insert_shim(template: &HeaderTemplate, header: &mut ZbufMut, tcp_header_len: usize, ipv6: bool, shim: &TxShim) {
    if !shim.is_empty() {
        let whole = int::insert(header, template.l2l3_len(), tcp_header_len, ipv6, shim.as_slice());
        debug_assert!(whole, "the header was made with a gap");
    }
}

#[inline(always)]
fn meta(template: &HeaderTemplate, tcp_header_len: usize, ipv6: bool, vlan: bool, offload: bool) -> TxMeta {
    let l2_len = if vlan { 18 } else { 14 };
    TxMeta {
        l2_len,
        l3_len: (template.l2l3_len() - l2_len as usize) as u8,
        l4_len: tcp_header_len as u8,
        ipv6,
        offload_checksum: offload,
        segment_size: 0,
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Sends a piece of the stream. Acknowledges along; the caller keeps the books of what was sent.
    #[inline]
    pub(super) fn transmit_data(&mut self, slot: u32, piece: &Piece) -> Sent {
        let shim = self.shim_for(slot, piece.len > 0);
        let c = self.conns.at_mut(slot);
        let Some(path) = self.paths.get_mut(usize::from(c.path)) else { return Sent::Stalled };
        let Some(template) = &c.cold.template else { return Sent::Stalled };
        let caps = *path.queue.caps();
        let Some(mut header) = path.queue.header_pool().alloc() else {
            self.counters.no_header_obj += 1;
            return Sent::Stalled;
        };
        let edge = c.window_edge();
        let window = (edge.distance_from(c.rcv_nxt) >> c.rcv_scale).min(0xffff) as u16;
        let mut flags = TcpFlags::ACK;
        if piece.push {
            flags = flags.union(TcpFlags::PSH);
        }
        let ts = c.flags.timestamps().then(|| (c.tsval(self.now_ms), c.ts_recent));
        flags |= c.ecn_flags(piece.seq, piece.len);
        let ecn = if piece.len > 0 { c.ecn_field(piece.seq) } else { 0 };
        let mut head = SegmentHead { seq: piece.seq, ack: c.rcv_nxt, flags, window, ts, ecn, options: None };
        let sack = c.has_sack_blocks().then(|| {
            let blocks = c.sack_blocks(&self.out_of_order, 3);
            TcpOptions { sack: blocks, timestamps: ts, ..TcpOptions::default() }
        });
        let plain = head.tcp_header_len();
        head.options = sack.as_ref();
        let tcp_header_len = head.tcp_header_len();
        let header_len = template.header_len(&head);
        if header.set_len((header_len + shim.len()) as u32) as usize != header_len + shim.len() {
            self.counters.no_header_obj += 1;
            return Sent::Stalled;
        }
        let mss = u32::from(c.mss);
        let large = TSO && piece.large;
        // Blocks take the place of payload: a frame never exceeds the MTU.
        let len = if large { piece.len } else { piece.len.min(mss.saturating_sub((tcp_header_len - plain) as u32)) };
        let to = Gather {
            header: &mut header,
            frags: &mut self.frags,
            max_frags: caps.max_tx_frags(),
            // Software that sums cannot read it, and no device sums behind a shim.
            copy_foreign: (!caps.tx_checksum || !caps.foreign || !shim.is_empty()).then(|| path.queue.header_pool()),
            copies: &mut self.copies,
        };
        let Ok((sent, at)) = SendQueue::gather(&self.sends, piece.at, len, to) else {
            self.frags.clear();
            return Sent::Revoked;
        };
        // An empty frame is a bare FIN, or nothing.
        if sent == 0 && piece.len > 0 {
            self.frags.clear();
            self.counters.no_header_obj += 1;
            return Sent::Stalled;
        }
        if piece.fin && sent == piece.len {
            head.flags = head.flags.union(TcpFlags::FIN);
        }
        stage!(before = self.cycles, Header);
        if let Some(out) = header.get_mut(..header_len) {
            template.emit(out, &head, sent);
        }
        let ipv6 = c.key.addrs_are_v6();
        // No device finds TCP behind a shim.
        let offload = caps.tx_checksum && shim.is_empty();
        insert_shim(template, &mut header, tcp_header_len, ipv6, &shim);
        stage!(self.cycles, Checksum);
        finish_checksum(template, &mut header, &self.frags, tcp_header_len as u32 + sent, shim.len(), offload);
        let mut meta = meta(template, tcp_header_len, ipv6, path.config.vlan.is_some(), offload);
        let segments = if large { sent.div_ceil(mss) } else { 1 };
        if segments > 1 {
            meta.segment_size = c.mss;
        }
        let refused = {
            let lent: TxFrags<'_> = self.frags.iter().map(Frag::lend).collect();
            stage!(self.cycles, DriverTx);
            path.queue.tx(header.into(), &lent, meta).is_err()
        };
        stage!(self.cycles; back to before);
        self.frags.clear();
        if refused {
            self.counters.tx_queue_full += 1;
            return Sent::Stalled;
        }
        c.rcv_adv = edge;
        c.ack_owed = 0;
        c.ack_at = Instant::FAR;
        c.flags.set_ack_now(false);
        if c.flags.dsack() {
            c.flags.set_dsack(false);
            self.counters.dsacks_out += 1;
        }
        if flags.cwr() {
            c.cwr_sent();
        }
        self.counters.segments_out += u64::from(segments);
        if !shim.is_empty() {
            self.shim_sent(slot);
        }
        Sent::Bytes(sent, at)
    }

    /// Sends a bare acknowledgment with sequence number `seq`. False when it could not leave.
    #[inline]
    pub(super) fn transmit_ack(&mut self, slot: u32, seq: SeqNum) -> bool {
        if let Some(left) = self.plain_ack(slot, seq) {
            return left;
        }
        let shim = self.shim_for(slot, false);
        let c = self.conns.at_mut(slot);
        let Some(template) = c.cold.template else { return false };
        let edge = c.window_edge();
        let window = (edge.distance_from(c.rcv_nxt) >> c.rcv_scale).min(0xffff) as u16;
        let ts = c.flags.timestamps().then(|| (c.tsval(self.now_ms), c.ts_recent));
        let flags = TcpFlags::ACK | c.echo_flag();
        let mut head = SegmentHead { seq, ack: c.rcv_nxt, flags, window, ts, ecn: 0, options: None };
        let path = c.path;
        let options;
        if c.has_sack_blocks() {
            let max = if ts.is_some() { 3 } else { SackBlocks::MAX };
            let blocks = c.sack_blocks(&self.out_of_order, max);
            options = TcpOptions { sack: blocks, timestamps: ts, ..TcpOptions::default() };
            head.options = Some(&options);
        }
        if !self.transmit_bare(path, &template, &head, &shim) {
            return false;
        }
        if !shim.is_empty() {
            self.shim_sent(slot);
        }
        let c = self.conns.at_mut(slot);
        c.rcv_adv = edge;
        c.ack_owed = 0;
        c.ack_at = Instant::FAR;
        c.flags.set_ack_now(false);
        if c.flags.dsack() {
            c.flags.set_dsack(false);
            self.counters.dsacks_out += 1;
        }
        true
    }

    /// Sends SYN or SYN-ACK.
    pub(super) fn transmit_syn(&mut self, slot: u32) -> bool {
        let now_ms = self.now_ms;
        let c = self.conns.at(slot);
        let config = self.profiles.at(c.profile);
        let (path, remote) = (c.path, c.key.addrs().0);
        let Some(template) = c.cold.template else { return false };
        let offer = c.congestion_kind(&self.controls) == CongestionKind::Hpcc && self.can_shim(path);
        let mss = self.mss_for(path, remote, config);
        let c = self.conns.at_mut(slot);
        let options = c.syn_options(mss, now_ms, config, offer);
        let ecn = c.syn_ecn(config, &self.controls);
        let answer = c.state == State::SynReceived;
        let head = SegmentHead {
            seq: c.cold.iss,
            ack: if answer { c.rcv_nxt } else { SeqNum(0) },
            flags: ecn.union(if answer { TcpFlags::SYN.union(TcpFlags::ACK) } else { TcpFlags::SYN }),
            window: crate::tcp::handshake::syn_window(config) as u16,
            ts: None,
            ecn: 0,
            options: Some(&options),
        };
        self.transmit_bare(path, &template, &head, &TxShim::default())
    }

    /// Sends a segment without payload.
    #[inline]
    pub(super) fn transmit_bare(
        &mut self,
        path: u8,
        template: &HeaderTemplate,
        head: &SegmentHead<'_>,
        shim: &TxShim,
    ) -> bool {
        let Some(path) = self.paths.get_mut(usize::from(path)) else { return false };
        let caps = *path.queue.caps();
        let Some(mut header) = path.queue.header_pool().alloc() else {
            self.counters.no_header_obj += 1;
            return false;
        };
        let tcp_header_len = head.tcp_header_len();
        let header_len = template.header_len(head);
        if header.set_len((header_len + shim.len()) as u32) as usize != header_len + shim.len() {
            self.counters.no_header_obj += 1;
            return false;
        }
        stage!(before = self.cycles, Header);
        if let Some(out) = header.get_mut(..header_len) {
            template.emit(out, head, 0);
        }
        let vlan = path.config.vlan.is_some();
        let ipv6 = template.l2l3_len() - if vlan { 18 } else { 14 } == 40;
        let offload = caps.tx_checksum && shim.is_empty();
        insert_shim(template, &mut header, tcp_header_len, ipv6, shim);
        stage!(self.cycles, Checksum);
        finish_checksum(template, &mut header, &[], tcp_header_len as u32, shim.len(), offload);
        let meta = meta(template, tcp_header_len, ipv6, vlan, offload);
        stage!(self.cycles, DriverTx);
        let refused = path.queue.tx(header.into(), &[], meta).is_err();
        stage!(self.cycles; back to before);
        if refused {
            self.counters.tx_queue_full += 1;
            return false;
        }
        self.counters.segments_out += 1;
        true
    }
}
