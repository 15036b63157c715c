//! New data of a connection in order, on a plain path: what the segments of a burst have in common is worked out once.
//!
//! Plain means untagged IPv4, timestamps, nothing out of order to report, no FIN due. Whatever is not plain, and whatever
//! does not go through (a window's end, a full queue, no obj), is left to [`Stack::output_new`](super::output), which
//! goes on from where this stopped.

use super::Stack;
use crate::nic::{NicQueue, TxFrags, TxMeta};
use crate::slab::NIL;
use crate::tcp::segments::{Segment, SegmentFlags};
use crate::tcp::send_queue::{Cursor, PlainGather, SendQueue};
use crate::time::Instant;
use crate::wire::{PLAIN_HEADER_LEN, tcp_checksum, write_tcp_checksum};

/// Where TCP begins in a plain header.
const L4: usize = 34;

impl<Q: NicQueue> Stack<'_, Q> {
    /// Sends what can be sent plainly. True when nothing is left to send.
    #[inline]
    pub(super) fn output_burst(&mut self, slot: u32) -> bool {
        let c = self.conns.at_mut(slot);
        let mut unsent = c.unsent();
        if c.flags.fin_queued() || unsent == 0 {
            return unsent == 0 && !c.flags.fin_queued();
        }
        let Some(path) = self.paths.get_mut(usize::from(c.path)) else { return false };
        let caps = path.queue.caps();
        let offload = caps.tx_checksum;
        let max_frags = caps.max_tx_frags();
        let Some(template) = &c.cold.template else { return false };
        let careful = c.flags.bits() & crate::tcp::ecn::careful_flags().bits() != 0;
        if careful || c.has_sack_blocks() || !c.flags.timestamps() {
            return false;
        }
        let edge = c.window_edge();
        let window = (edge.distance_from(c.rcv_nxt) >> c.rcv_scale).min(0xffff) as u16;
        let ts = (c.tsval(self.now_ms), c.ts_recent);
        let Some(plain) = template.plain(c.rcv_nxt, window, ts) else { return false };
        let meta = TxMeta { l2_len: 14, l3_len: 20, l4_len: 32, ipv6: false, offload_checksum: offload };
        let mss = u32::from(c.mss);
        let mut flight = c.in_flight();
        let window = c.congestion.window().min(c.snd_wnd);
        let (mut seq, mut at) = (c.snd_nxt, c.send.next);
        let (first, now) = (seq, self.now);
        let mut whole = self.segments.available() > 0;
        while whole && unsent > 0 {
            let len = unsent.min(mss);
            if flight + len > window || len < mss && self.profiles.at(c.profile).nagle {
                break;
            }
            let Some(mut header) = path.queue.header_pool().alloc_len(PLAIN_HEADER_LEN as u32) else { break };
            let mut frags = TxFrags::new();
            let to = PlainGather { header: &mut header, frags: &mut frags, max_frags, copies: &mut self.copies };
            let (sent, next) = SendQueue::gather_plain(&self.sends, at, len, to);
            if sent == 0 {
                break;
            }
            if let Some(out) = header.first_chunk_mut() {
                plain.emit(out, seq, sent == unsent, sent as u16);
            }
            if !offload {
                let pseudo = template.pseudo_sum(32 + sent);
                write_tcp_checksum(&mut header, L4, 0);
                let tcp = header.get(L4..).unwrap_or_default();
                let sum = tcp_checksum(pseudo, tcp, frags.iter().map(|f| f.bytes().unwrap_or_default()));
                write_tcp_checksum(&mut header, L4, sum);
            }
            if path.queue.tx(header, &frags, meta).is_err() {
                break;
            }
            // A record holds segments of one size: only its last may be shorter.
            whole = sent == len;
            at = next;
            seq += sent;
            flight += sent;
            unsent -= sent;
            self.counters.segments_out += 1;
        }
        if seq != first
            && let Some(i) = self.segments.alloc()
        {
            // One record for all of them; it is cut when they cease to be alike.
            let Cursor { entry, offset } = c.send.next;
            let len = seq.distance_from(first);
            let flags = SegmentFlags::default();
            *self.segments.at_mut(i) = Segment { sent_at: now, seq: first, len, entry, offset, next: NIL, flags };
            c.segments.push(&mut self.segments, i);
            c.flags.set_uncut(true);
            c.send.next = at;
            c.snd_nxt = seq;
            c.rcv_adv = edge;
            c.ack_owed = 0;
            c.ack_at = Instant::FAR;
            c.flags.set_ack_now(false);
            c.flags.set_data_sent(true);
            if c.rto_at == Instant::FAR {
                let config = self.profiles.at(c.profile);
                c.arm_timer(now, config);
                c.cold.give_up_at = now + config.user_timeout;
            } else if c.probe_waits_for_one(now) {
                c.arm_timer(now, self.profiles.at(c.profile));
            }
            self.counters.bytes_out += u64::from(len);
        }
        unsent == 0
    }
}
