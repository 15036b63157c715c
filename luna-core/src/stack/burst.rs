//! New data of a connection in order, on a plain path: what the segments of a burst have in common is worked out once.
//!
//! Plain means untagged IPv4, timestamps, nothing out of order to report, no FIN due. Whatever is not plain, and whatever
//! does not go through (a window's end, a full queue, no obj), is left to [`Stack::output_new`](super::output), which
//! goes on from where this stopped.

use core::hint::cold_path;

use super::Stack;
use crate::nic::{MAX_TSO_PAYLOAD, NicQueue, TxFrags, TxMeta};
use crate::parts::TSO;
use crate::slab::NIL;
use crate::tcp::connection::Flags;
use crate::tcp::segments::{Segment, SegmentFlags};
use crate::tcp::send_queue::{Cursor, PlainGather, SendQueue};
use crate::time::Instant;
use crate::wire::{PLAIN_HEADER_LEN, tcp_checksum, write_tcp_checksum};

/// Where TCP begins in a plain header.
const L4: usize = 34;

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
fn whole_segments(unsent: u32, most: u32, mss: u32, nagle: bool) -> u32 {
    if unsent <= most && !nagle {
        return unsent;
    }
    let most = unsent.min(most);
    most - most % mss
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Sends what can be sent plainly.
    #[inline(always)]
    pub(super) fn output_burst(&mut self, slot: u32) -> Burst {
        self.burst::<false>(slot)
    }

    /// The same for more than a segment, over a device that cuts frames: apart, so that its registers cost nobody else.
    #[inline(never)]
    fn output_large(&mut self, slot: u32) -> Burst {
        self.burst::<true>(slot)
    }

    #[inline(always)]
    fn burst<const LARGE: bool>(&mut self, slot: u32) -> Burst {
        let c = self.conns.at_mut(slot);
        let (mut seq, end) = (c.snd_nxt, c.send.end);
        if seq == end {
            return if c.flags.fin_queued() { Burst::Rest } else { Burst::Nothing };
        }
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
        let (offload, max_frags, max_tso) = (caps.tx_checksum, caps.max_tx_frags(), caps.max_tso_payload);
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
        if TSO && !LARGE && max_tso != 0 && end.distance_from(seq) > mss {
            return self.output_large(slot);
        }
        let mut most = max_tso.min(MAX_TSO_PAYLOAD);
        // What both windows allow; neither reaches half of the sequence space.
        let limit = c.snd_una + c.congestion.window().min(c.snd_wnd);
        let mut at = c.send.next;
        let (first, now) = (seq, self.now);
        let mut whole = self.segments.available() > 0;
        while whole && seq != end {
            let unsent = end.distance_from(seq);
            let mut len = unsent.min(mss);
            if LARGE && most > mss && unsent > mss && limit.after(seq) {
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
            let large = LARGE && sent > mss;
            if large && sent != len && sent % mss != 0 {
                // Too many fragments: its end would be a short segment in the middle of the stream.
                most = sent - sent % mss;
                continue;
            }
            stage!(self.cycles, Header);
            if let Some(out) = header.bytes_mut().first_chunk_mut() {
                template.emit_plain(out, seq, sent == unsent, sent as u16);
            }
            let mut header = header.into_buf();
            if !offload {
                stage!(self.cycles, Checksum);
                let pseudo = template.pseudo_sum(32 + sent);
                write_tcp_checksum(&mut header, L4, 0);
                let tcp = header.get(L4..).unwrap_or_default();
                let sum = tcp_checksum(pseudo, tcp, frags.iter().map(|f| f.bytes().unwrap_or_default()));
                write_tcp_checksum(&mut header, L4, sum);
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
