//! Watches the wire of every stack: what a segment may say, given what went before it.
//!
//! It knows of each stream (a *half* of a connection: one initial sequence number of one sender) what was sent, what of it
//! arrived undamaged at the other stack, and which window its sender was granted by segments that arrived. So it can say,
//! without looking into a stack: nothing is sent beyond the window that was granted (RFC 9293 §3.8.6), nothing is
//! acknowledged or reported (RFC 2018) that did not arrive, no window shrinks, no acknowledgment goes back, timestamps do
//! not run backwards (RFC 7323 §5.4), segments keep to the other side's MSS; nothing is sent again that is acknowledged, and
//! into silence the same is sent again less and less often (RFC 6298 §5.5).

use core::net::SocketAddr;
use std::collections::HashMap;

use luna_core::wire::SeqNum;

use luna_core::tcp::TcpConfig;

use super::events::Time;
use super::frame::{Frame, Segment, Tag};
use super::ranges::Ranges;

/// One direction of one incarnation of a connection.
#[derive(Debug)]
struct HalfState {
    iss: SeqNum,
    /// Behind the last byte ever sent, from `iss` on.
    sent: u32,
    /// Behind FIN, when it was sent.
    fin: Option<u32>,
    /// What arrived at the other stack. SYN is offset 0.
    arrived: Ranges,
    /// The SYN arrived at the other stack.
    syn_arrived: bool,
    /// Options of its SYN.
    scale: Option<u8>,
    timestamps: bool,
    /// It began with a SYN-ACK.
    answers: bool,
    mss: u16,
    /// The other direction, once it is known which.
    peer: Option<u32>,
    /// What it acknowledged last.
    acked: Option<SeqNum>,
    /// Right edge of the window that it granted last.
    edge: Option<SeqNum>,
    /// The right edge that the peer granted it, of segments that arrived.
    granted: Option<SeqNum>,
    tsval: Option<u32>,
    /// The highest acknowledgment of it that its sender took in.
    una: Option<SeqNum>,
    /// What it sends again while nothing is heard.
    silence: Option<Silence>,
}

/// The same is sent again and again, and nothing arrives meanwhile.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// Where it begins.
    start: u32,
    /// When it was sent again first.
    since: Time,
    /// How often since then.
    times: u32,
}

impl Silence {
    /// Beside timeouts: the first, which may have been about to come; a probe; a fast retransmission whose cause was heard
    /// before; what was heard for the others; four smaller sizes that a path may have.
    const BESIDE_TIMEOUTS: u32 = 8;

    /// How often timeouts allow it by `now`: each waits twice as long as the one before, from the least to the most that the
    /// settings have.
    fn allowed(&self, now: Time, tcp: &TcpConfig) -> u32 {
        let (mut n, mut wait) = (Self::BESIDE_TIMEOUTS, tcp.min_rto.as_nanos());
        let mut rest = now - self.since;
        while rest >= wait.max(1) {
            (n, rest) = (n + 1, rest - wait.max(1));
            wait = (wait * 2).min(tcp.max_rto.as_nanos());
        }
        n
    }
}

/// The watcher.
#[derive(Default)]
pub struct Monitor {
    /// By id less one.
    halves: Vec<HalfState>,
    /// The ids of a sender's and receiver's address, the newest last.
    by_addrs: HashMap<(SocketAddr, SocketAddr), Vec<u32>>,
    /// Segments watched.
    pub segments: u64,
    /// Segments with payload that was sent before.
    pub again: u64,
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Monitor {
    fn half(&self, id: u32) -> &HalfState {
        &self.halves[id as usize - 1]
    }

    fn half_mut(&mut self, id: u32) -> &mut HalfState {
        &mut self.halves[id as usize - 1]
    }

    fn newest(&self, from: SocketAddr, to: SocketAddr) -> Option<u32> {
        self.by_addrs.get(&(from, to)).and_then(|v| v.last().copied())
    }

    /// A stack sends a frame: checks it, and marks it with its stream.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn sent(&mut self, now: Time, frame: &mut Frame, mtu: u16, tcp: &TcpConfig) -> Verdict {
        self.segments += 1;
        ensure(frame.bytes.len() == 60 || frame.ip_len() <= usize::from(mtu), || {
            format!("an IP packet of {} bytes where the MTU is {mtu}", frame.ip_len())
        })?;
        let seg = Segment::read(&frame.bytes, true).map_err(|e| format!("a malformed segment leaves: {e}"))?;
        let id = self.stream_of(&seg);
        frame.tag = Tag { half: id.unwrap_or(0), ..frame.tag };
        let Some(id) = id else {
            // Nobody's: an answer to what belongs nowhere.
            return ensure(seg.flags.rst() || seg.flags.ack() && seg.len == 0, || "a segment of no connection".into());
        };
        if seg.flags.rst() {
            return Ok(());
        }
        self.pair(id, &seg);
        if self.check_sequence(id, &seg)? {
            self.check_again(now, id, &seg, tcp)?;
        }
        self.check_ack(id, &seg)?;
        self.check_options(id, &seg)
    }

    /// The stream that a segment is of; a SYN with a new number begins one.
    fn stream_of(&mut self, seg: &Segment) -> Option<u32> {
        let newest = self.newest(seg.src, seg.dst);
        if !seg.flags.syn() {
            // A late answer may still be of the one before.
            let all = self.by_addrs.get(&(seg.src, seg.dst))?;
            let of = |id: &&u32| {
                let h = self.half(**id);
                seg.seq - h.iss >= 0 && (seg.seq - h.iss) as u32 <= h.sent + 1
            };
            return all.iter().rev().find(of).or(all.last()).copied();
        }
        if let Some(id) = newest.filter(|id| self.half(*id).iss == seg.seq) {
            return Some(id);
        }
        self.halves.push(HalfState {
            iss: seg.seq,
            sent: 0,
            fin: None,
            arrived: Ranges::default(),
            syn_arrived: false,
            scale: seg.options.window_scale,
            timestamps: seg.options.timestamps.is_some(),
            answers: seg.flags.ack(),
            mss: seg.options.mss.unwrap_or(536),
            peer: None,
            acked: None,
            edge: None,
            granted: None,
            tsval: None,
            una: None,
            silence: None,
        });
        let id = self.halves.len() as u32;
        self.by_addrs.entry((seg.src, seg.dst)).or_default().push(id);
        Some(id)
    }

    /// Finds the stream that this one's acknowledgments are about.
    fn pair(&mut self, id: u32, seg: &Segment) {
        if self.half(id).peer.is_some() || !seg.flags.ack() {
            return;
        }
        let Some(all) = self.by_addrs.get(&(seg.dst, seg.src)) else { return };
        let answers = self.half(id).answers;
        let fits = |other: &&u32| {
            let h = self.half(**other);
            let acked = seg.ack - h.iss;
            // A SYN-ACK answers one SYN; that may be a forged one.
            if seg.flags.syn() { acked == 1 } else { !answers && h.syn_arrived && acked >= 1 }
        };
        self.half_mut(id).peer = all.iter().rev().find(fits).copied();
    }

    /// True for payload that was sent before.
    fn check_sequence(&mut self, id: u32, seg: &Segment) -> Result<bool, String> {
        let peer_mss = self.half(id).peer.map(|p| self.half(p).mss);
        let h = self.half_mut(id);
        let start = seg.seq - h.iss;
        if seg.space() == 0 {
            // A bare acknowledgment stands at snd_nxt, a probe one before snd_una.
            ensure(start >= 0 && start as u32 <= h.sent, || {
                format!("a bare segment at {start}, {} were sent", h.sent)
            })?;
            return Ok(false);
        }
        ensure(start >= 0, || format!("a segment {} before the stream's begin", -start))?;
        let (start, end) = (start as u32, start as u32 + seg.space());
        ensure(start <= h.sent, || format!("a segment at {start} leaves a gap: {} were sent", h.sent))?;
        if let Some(fin) = h.fin {
            ensure(end <= fin, || format!("data up to {end} behind FIN at {fin}"))?;
            ensure(!seg.flags.fin() || end == fin, || format!("FIN at {end}, it was at {fin}"))?;
        }
        if seg.flags.fin() {
            h.fin = Some(end);
        }
        let again = seg.len > 0 && start < h.sent;
        let before = h.sent;
        h.sent = h.sent.max(end);
        let (granted, iss) = (h.granted, h.iss);
        self.again += u64::from(again);
        if seg.len > 0 {
            // FIN may stand right behind the window.
            let data_end = end - u32::from(seg.flags.fin());
            let edge = granted.map_or(0, |e| e - iss);
            ensure(end <= before || i64::from(data_end) <= i64::from(edge), || {
                format!("data up to {data_end}, the window ends at {edge}")
            })?;
            if let Some(mss) = peer_mss {
                ensure(seg.len <= mss.into(), || format!("{} bytes of payload, the peer's MSS is {mss}", seg.len))?;
            }
        }
        Ok(again)
    }

    /// Payload is sent again: not what is acknowledged, and not too often.
    fn check_again(&mut self, now: Time, id: u32, seg: &Segment, tcp: &TcpConfig) -> Verdict {
        let h = self.half_mut(id);
        let (start, end) = ((seg.seq - h.iss) as u32, seg.seq + seg.space());
        ensure(h.una.is_none_or(|una| end.after(una)), || {
            format!("sends {start}.. again, but all of it is acknowledged")
        })?;
        let silence = match &mut h.silence {
            Some(silence) if silence.start == start => {
                silence.times += 1;
                *silence
            }
            other => *other.insert(Silence { start, since: now, times: 0 }),
        };
        let allowed = silence.allowed(now, tcp);
        ensure(silence.times <= allowed, || {
            let (times, ms) = (silence.times, (now - silence.since) / 1_000_000);
            format!("sends {start}.. {times} times again in {ms} ms of silence, {allowed} are allowed")
        })
    }

    /// Whether both directions scale windows.
    fn scaling(&self, id: u32) -> bool {
        let h = self.half(id);
        h.scale.is_some() && h.peer.is_some_and(|p| self.half(p).scale.is_some())
    }

    fn window_of(&self, id: u32, seg: &Segment) -> u32 {
        let shift = if seg.flags.syn() || !self.scaling(id) { 0 } else { self.half(id).scale.unwrap_or(0).min(14) };
        u32::from(seg.window) << shift
    }

    fn check_ack(&mut self, id: u32, seg: &Segment) -> Verdict {
        if !seg.flags.ack() {
            return ensure(seg.flags.syn(), || "neither SYN nor ACK".into());
        }
        let Some(peer) = self.half(id).peer else {
            // It answers a SYN that is of another time.
            return Ok(());
        };
        let window = self.window_of(id, seg);
        let grain = if self.scaling(id) { 1 << self.half(id).scale.unwrap_or(0).min(14) } else { 1 };
        let p = self.half(peer);
        let (iss, arrived) = (p.iss, p.arrived.contiguous());
        let acked = seg.ack - iss;
        ensure(acked >= 0 && acked as u32 <= arrived, || format!("acknowledges {acked}, only {arrived} arrived"))?;
        for (i, (left, right)) in seg.options.sack.iter().enumerate() {
            let (l, r) = (left - iss, right - iss);
            let in_order = l >= 0 && l < r;
            ensure(in_order && p.arrived.covers(l as u32, r as u32), || {
                format!("reports {l}..{r}, which did not arrive")
            })?;
            // The first may be a D-SACK (RFC 2883).
            ensure(i == 0 || left.after(seg.ack), || format!("reports {l}..{r} behind {acked}"))?;
        }
        let h = self.half_mut(id);
        if let Some(before) = h.acked {
            ensure(seg.ack.after_eq(before), || format!("acknowledges {acked}, before {}", before - iss))?;
        }
        h.acked = Some(seg.ack);
        if seg.flags.syn() {
            // Never scaled: one that is sent again may say less than what was said meanwhile.
            return Ok(());
        }
        let edge = seg.ack + window;
        if let Some(before) = h.edge {
            // A scaled field says less than is meant by up to a unit.
            ensure((edge + (grain - 1)).after_eq(before), || {
                format!("the window's edge goes back from {} to {}", before - iss, edge - iss)
            })?;
            h.edge = Some(before.later(edge));
        } else {
            h.edge = Some(edge);
        }
        Ok(())
    }

    fn check_options(&mut self, id: u32, seg: &Segment) -> Verdict {
        if seg.flags.syn() {
            return Ok(());
        }
        let Some(peer) = self.half(id).peer else { return Ok(()) };
        let both = self.half(id).timestamps && self.half(peer).timestamps;
        let Some((tsval, _)) = seg.options.timestamps else {
            return ensure(!both, || "no timestamps, which both sides use".into());
        };
        ensure(both, || "timestamps, which were not agreed on".into())?;
        let h = self.half_mut(id);
        if let Some(before) = h.tsval {
            ensure(tsval.wrapping_sub(before) as i32 >= 0, || format!("TSval goes back from {before} to {tsval}"))?;
        }
        h.tsval = Some(tsval);
        Ok(())
    }

    /// A stack takes a frame in.
    pub fn taken(&mut self, frame: &Frame) {
        if frame.tag.damaged {
            return;
        }
        let Ok(seg) = Segment::read(&frame.bytes, false) else {
            // A router's word, about whichever.
            self.halves.iter_mut().for_each(|h| h.silence = None);
            return;
        };
        for id in self.by_addrs.get(&(seg.dst, seg.src)).into_iter().flatten() {
            self.halves[*id as usize - 1].silence = None;
        }
        if frame.tag.half == 0 {
            return;
        }
        let id = frame.tag.half;
        // A forged one of a stream lies about reports and time stamps; what it acknowledges and grants is the stream's.
        if !seg.flags.rst() && !frame.tag.forged {
            let h = self.half_mut(id);
            let start = seg.seq - h.iss;
            if start >= 0 {
                h.arrived.add(start as u32, start as u32 + seg.space());
            }
            h.syn_arrived |= seg.flags.syn();
        }
        if !seg.flags.ack() {
            return;
        }
        let window = self.window_of(id, &seg);
        // Without an acknowledgment of its own the receiver has no pairing yet; its SYN is what this one answers.
        let of = |r: &&u32| {
            let h = self.half(**r);
            let acked = seg.ack - h.iss;
            acked >= 1 && acked as u32 <= h.sent + 1
        };
        // The newest, but for cookies: several may be under way.
        let receiver = self.by_addrs.get(&(seg.dst, seg.src)).and_then(|all| all.iter().rev().find(of).copied());
        if let Some(r) = receiver {
            let r = self.half_mut(r);
            // Of resets only the sequence number counts; what is old may be refused by its timestamp.
            if !frame.tag.forged && !frame.tag.replayed && !seg.flags.rst() {
                r.una = Some(r.una.map_or(seg.ack, |una| una.later(seg.ack)));
            }
            let edge = seg.ack + window;
            r.granted = Some(r.granted.map_or(edge, |g| g.later(edge)));
        }
    }
}
