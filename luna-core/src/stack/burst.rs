//! New data of a connection in order, on a plain path: what the segments of a burst have in common is worked out once.
//!
//! Plain means untagged IPv4, timestamps, nothing out of order to report, no FIN due. Whatever is not plain, and whatever
//! does not go through (a window's end, a full queue, no obj), is left to [`Stack::output_new`](super::output), which
//! goes on from where this stopped.

use core::hint::cold_path;

use static_assertions::const_assert_eq;

use super::Stack;
use crate::nic::{MAX_TSO_PAYLOAD, NicQueue, TxFrags, TxMeta};
use crate::parts::{LEADS, TSO};
use crate::tcp::connection::Flags;
use crate::tcp::send_queue::{PlainGather, SendQueue};
use crate::time::Instant;
use crate::wire::{HeaderTemplate, PLAIN_HEADER_LEN, SeqNum, tcp_checksum, write_tcp_checksum};
use crate::zbuf::{FrameHead, LEAD_LEN};

/// Where TCP begins in a plain header.
const L4: usize = 34;
// Messages are kept behind room for a plain header.
const_assert_eq!(LEAD_LEN, PLAIN_HEADER_LEN);

/// What became of a connection's new data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Burst {
    /// There was some, and all of it left.
    All,
    /// There was none, nor is there a FIN.
    Nothing,
    /// Not all of it left, or more than data is to be seen to.
    Rest,
}

/// Flags that say whether output is plain.
#[inline(always)]
fn judged() -> Flags {
    let mut f = crate::tcp::ecn::careful_flags();
    f.set_fin_queued(true);
    f.set_dsack(true);
    f.set_fin_ahead(true);
    f.set_timestamps(true);
    f
}

/// How they stand when it is.
#[inline(always)]
fn plain() -> Flags {
    let mut f = Flags::default();
    f.set_timestamps(true);
    f
}

/// How much of `unsent` makes whole segments of `mss` bytes within `most`; all that there is, if a short end may go too.
#[inline(always)]
pub(super) fn whole_segments(unsent: u32, most: u32, mss: u32, nagle: bool) -> u32 {
    if unsent <= most && !nagle {
        return unsent;
    }
    let most = unsent.min(most);
    most - most % mss
}

/// Kinds of output, each a function of its own: one segment that leads, several, and frames that the device cuts.
const LONE: u8 = 0;
const MANY: u8 = 1;
const LARGE: u8 = 2;

/// Writes the headers.
#[inline(always)]
fn emit(template: &HeaderTemplate, head: &mut FrameHead, seq: SeqNum, push: bool, payload: u32) {
    if let Some(out) = head.lead_mut() {
        template.emit_plain(out, seq, push, payload as u16);
    }
}

/// Works the TCP checksum out.
#[inline(always)]
fn finish(template: &HeaderTemplate, head: &mut FrameHead, frags: &TxFrags<'_>, payload: u32) {
    let pseudo = template.pseudo_sum(32 + payload);
    if let Some(out) = head.lead_mut() {
        write_tcp_checksum(out, L4, 0);
    }
    let tcp = head.get(L4..).unwrap_or_default();
    let sum = tcp_checksum(pseudo, tcp, frags.iter().map(|f| f.bytes().unwrap_or_default()));
    if let Some(out) = head.lead_mut() {
        write_tcp_checksum(out, L4, sum);
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Sends what can be sent plainly: a lone message with room for the headers before it, as most are, or whatever it is.
    #[inline(always)]
    pub(super) fn output_burst(&mut self, slot: u32) -> Burst {
        let c = self.conns.at(slot);
        let unsent = c.send.end.distance_from(c.snd_nxt);
        if unsent > u32::from(c.mss) {
            self.output_many(slot)
        } else if unsent == 0 {
            if c.flags.fin_queued() { Burst::Rest } else { Burst::Nothing }
        } else if LEADS && c.send.leads(&self.sends) {
            self.burst::<LONE>(slot)
        } else {
            self.output_many(slot)
        }
    }

    /// Any number of segments. Apart, as the next one, so that their registers cost nobody else.
    #[inline(never)]
    fn output_many(&mut self, slot: u32) -> Burst {
        self.burst::<MANY>(slot)
    }

    /// The same over a device that cuts frames.
    #[inline(never)]
    fn output_large(&mut self, slot: u32) -> Burst {
        self.burst::<LARGE>(slot)
    }

    /// Sends a bare acknowledgment with sequence number `seq`; whether it left, or `None` where output is not plain.
    #[inline]
    pub(super) fn plain_ack(&mut self, slot: u32, seq: SeqNum) -> Option<bool> {
        let c = self.conns.at_mut(slot);
        let mut judged = judged();
        // Only data says that it may be marked (RFC 3168 §6.1.4).
        judged.set_ect(true);
        if c.flags.bits() & judged.bits() != plain().bits() || !c.out_of_order.is_empty() {
            cold_path();
            return None;
        }
        let queue = &mut self.paths.get_mut(usize::from(c.path))?.queue;
        let edge = c.window_edge();
        let window = (edge.distance_from(c.rcv_nxt) >> c.rcv_scale).min(0xffff) as u16;
        let ts = (c.tsval(self.now_ms), c.ts_recent);
        let template = c.cold.template.as_mut()?;
        stage!(before = self.cycles, Header);
        if !template.prepare_plain(c.rcv_nxt, window, ts) {
            stage!(self.cycles; back to before);
            cold_path();
            return None;
        }
        let Some(header) = queue.header_pool().alloc_fresh(PLAIN_HEADER_LEN as u32) else {
            cold_path();
            stage!(self.cycles; back to before);
            self.counters.no_header_obj += 1;
            return Some(false);
        };
        let mut head = header.into_head();
        emit(template, &mut head, seq, false, 0);
        let offload = queue.caps().tx_checksum;
        if !offload {
            stage!(self.cycles, Checksum);
            finish(template, &mut head, &TxFrags::new(), 0);
        }
        let meta =
            TxMeta { l2_len: 14, l3_len: 20, l4_len: 32, ipv6: false, offload_checksum: offload, segment_size: 0 };
        stage!(self.cycles, DriverTx);
        let refused = queue.tx(head, &[], meta).is_err();
        stage!(self.cycles; back to before);
        if refused {
            cold_path();
            self.counters.tx_queue_full += 1;
            return Some(false);
        }
        c.rcv_adv = edge;
        c.ack_owed = 0;
        c.ack_at = Instant::FAR;
        c.flags.set_ack_now(false);
        self.counters.segments_out += 1;
        Some(true)
    }

    #[inline(always)]
    fn burst<const KIND: u8>(&mut self, slot: u32) -> Burst {
        let c = self.conns.at_mut(slot);
        let (mut seq, end) = (c.snd_nxt, c.send.end);
        if c.flags.bits() & judged().bits() != plain().bits() || !c.out_of_order.is_empty() {
            cold_path();
            return Burst::Rest;
        }
        let Some(path) = self.paths.get_mut(usize::from(c.path)) else {
            cold_path();
            return Burst::Rest;
        };
        let queue = &mut path.queue;
        let caps = queue.caps();
        let (offload, max_tso) = (caps.tx_checksum, caps.max_tso_payload);
        let edge = c.window_edge();
        let window = (edge.distance_from(c.rcv_nxt) >> c.rcv_scale).min(0xffff) as u16;
        let ts = (c.tsval(self.now_ms), c.ts_recent);
        let Some(template) = &mut c.cold.template else {
            cold_path();
            return Burst::Rest;
        };
        stage!(self.cycles, Header);
        let prepared = template.prepare_plain(c.rcv_nxt, window, ts);
        stage!(self.cycles, TcpOut);
        if !prepared {
            cold_path();
            return Burst::Rest;
        }
        let mss = u32::from(c.mss);
        if TSO && KIND == MANY && max_tso != 0 && end.distance_from(seq) > mss {
            return self.output_large(slot);
        }
        let mut most = max_tso.min(MAX_TSO_PAYLOAD);
        // What both windows allow; neither reaches half of the sequence space.
        let limit = c.snd_una + c.congestion.window().min(c.snd_wnd);
        let mut at = c.send.next;
        let (first, now) = (seq, self.now);
        let mut whole = self.segments.available() > 0;
        if KIND == LONE {
            let unsent = end.distance_from(seq);
            if !whole || (seq + unsent).after(limit) || unsent < mss && self.profiles.at(c.profile).nagle {
                return Burst::Rest;
            }
            let Some((mut head, led, from)) = SendQueue::take_lead(&mut self.sends, at, unsent) else {
                cold_path();
                return Burst::Rest;
            };
            let mut frags = TxFrags::new();
            let (mut sent, mut next) = (led, from);
            if led < unsent {
                (sent, next) = SendQueue::gather_chained(&self.sends, from, unsent - led, &mut frags, || {
                    queue.caps().max_tx_frags()
                });
                sent += led;
            }
            stage!(self.cycles, Header);
            emit(template, &mut head, seq, sent == unsent, sent);
            if !offload {
                stage!(self.cycles, Checksum);
                finish(template, &mut head, &frags, sent);
            }
            let meta =
                TxMeta { l2_len: 14, l3_len: 20, l4_len: 32, ipv6: false, offload_checksum: offload, segment_size: 0 };
            stage!(self.cycles, DriverTx);
            let refused = queue.tx(head, &frags, meta).is_err();
            stage!(self.cycles, TcpOut);
            if refused {
                cold_path();
                return Burst::Rest;
            }
            at = next;
            seq += sent;
            self.counters.segments_out += 1;
        }
        let max_frags = queue.caps().max_tx_frags();
        while KIND != LONE && whole && seq != end {
            let unsent = end.distance_from(seq);
            let mut len = unsent.min(mss);
            if KIND == LARGE && most > mss && unsent > mss && limit.after(seq) {
                let nagle = self.profiles.at(c.profile).nagle;
                // A device that cuts frames takes as many segments at once as there are.
                len = len.max(whole_segments(unsent, most.min(limit.distance_from(seq)), mss, nagle));
            }
            if (seq + len).after(limit) || len < mss && self.profiles.at(c.profile).nagle {
                break;
            }
            let Some(mut header) = queue.header_pool().alloc_fresh(PLAIN_HEADER_LEN as u32) else {
                cold_path();
                break;
            };
            let mut frags = TxFrags::new();
            let to = PlainGather { header: &mut header, frags: &mut frags, max_frags, copies: &mut self.copies };
            let (sent, next) = SendQueue::gather_plain(&self.sends, at, len, to);
            if sent == 0 {
                cold_path();
                break;
            }
            let large = KIND == LARGE && sent > mss;
            if large && sent != len && sent % mss != 0 {
                // Too many fragments: its end would be a short segment in the middle of the stream.
                most = sent - sent % mss;
                continue;
            }
            stage!(self.cycles, Header);
            let mut header = header.into_head();
            emit(template, &mut header, seq, sent == unsent, sent);
            if !offload {
                stage!(self.cycles, Checksum);
                finish(template, &mut header, &frags, sent);
            }
            let segment_size = if large { c.mss } else { 0 };
            let meta =
                TxMeta { l2_len: 14, l3_len: 20, l4_len: 32, ipv6: false, offload_checksum: offload, segment_size };
            stage!(self.cycles, DriverTx);
            let refused = queue.tx(header, &frags, meta).is_err();
            stage!(self.cycles, TcpOut);
            if refused {
                cold_path();
                break;
            }
            // A record holds segments of one size: only its last may be shorter.
            whole = sent == len;
            at = next;
            seq += sent;
            self.counters.segments_out += if large { sent.div_ceil(mss).into() } else { 1 };
        }
        if seq != first {
            // One record for all of them; it is cut when they cease to be alike.
            let len = seq.distance_from(first);
            c.sent_burst(&mut self.segments, &self.sends, (now, first, c.send.next), len);
            c.flags.set_uncut(true);
            c.send.next = at;
            c.snd_nxt = seq;
            c.rcv_adv = edge;
            c.ack_owed = 0;
            c.ack_at = Instant::FAR;
            c.flags.set_ack_now(false);
            c.flags.set_data_sent(true);
            let config = self.profiles.at(c.profile);
            if c.rto_at == Instant::FAR {
                c.arm_timer(now, config);
                c.cold.give_up_at = now + config.user_timeout;
            } else if c.probe_waits_for_one(now, config) {
                c.arm_timer(now, config);
            }
            self.counters.bytes_out += u64::from(len);
        }
        if seq == end { Burst::All } else { Burst::Rest }
    }
}
