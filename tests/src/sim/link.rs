//! A link: one direction of a wire with the queue in front of it.
//!
//! The queue belongs to the sending end (a switch's port or a NIC's transmit ring). A frame leaves it when its last bit is
//! sent, and arrives a delay later; what happens to it in between is the link's faults.

use std::collections::VecDeque;

use super::events::Time;
use super::faults::{FaultState, Faults, corrupt};
use super::frame::Frame;
use super::rng::Rng;

/// Where a link ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// The port of a stack.
    Stack(usize),
    /// A switch.
    Switch(usize),
}

/// What a link is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// Bits per second.
    pub rate: u64,
    /// From the last bit sent to arrival.
    pub delay: Time,
    /// Random addition to the delay, at most.
    pub jitter: Time,
    /// Jitter may let frames overtake each other.
    pub jitter_reorders: bool,
    /// Most bytes queued, on the wire.
    pub queue: u64,
    /// Larger IP packets are lost without a word.
    pub mtu: u16,
    /// Frames of an ECN transport are marked when the queue is longer than this.
    pub ecn_threshold: Option<u64>,
    /// What else goes wrong.
    pub faults: Faults,
}

/// Why a frame did not get through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The queue was full.
    QueueFull,
    /// Lost on the wire.
    Random,
    /// The link was dead.
    Blackhole,
    /// Larger than the link's MTU.
    TooLarge,
}

/// A frame on its way.
pub struct Arrival {
    /// When it gets there.
    pub at: Time,
    /// The frame.
    pub frame: Frame,
}

/// What leaves a link when the first frame of its queue was sent.
#[derive(Default)]
pub struct Departure {
    /// What arrives: nothing, the frame, or the frame twice.
    pub arrivals: Vec<Arrival>,
    /// The frame, when it was lost, and why.
    pub lost: Option<(Frame, Loss)>,
    /// What arrives differs from what was sent.
    pub corrupted: bool,
    /// Frames may overtake it.
    pub reordered: bool,
}

/// Counts of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkStats {
    /// Frames sent, and their bytes on the wire.
    pub sent: u64,
    /// Bytes sent: INT's `txBytes`.
    pub bytes: u64,
    /// Longest queue in bytes.
    pub longest: u64,
    /// Frames marked "congestion experienced".
    pub marked: u64,
}

/// One direction of a wire.
pub struct Link {
    /// What it is like now.
    pub config: LinkConfig,
    /// Where it ends.
    pub to: Node,
    /// Where it begins.
    pub from: Node,
    /// Nothing gets through, depth of nested causes.
    pub dead: u32,
    /// Counts.
    pub stats: LinkStats,
    queue: VecDeque<Frame>,
    queued: u64,
    last_arrival: Time,
    faults: FaultState,
}

impl Link {
    /// An idle link.
    #[must_use]
    pub fn new(config: LinkConfig, from: Node, to: Node, rng: Rng) -> Self {
        Self {
            config,
            to,
            from,
            dead: 0,
            stats: LinkStats::default(),
            queue: VecDeque::new(),
            queued: 0,
            last_arrival: 0,
            faults: FaultState::new(rng),
        }
    }

    /// Bytes waiting, the frame being sent included.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether nothing is being sent.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a frame. When it returns how long the frame takes, nothing was being sent: call [`Link::sent`] that much
    /// later.
    ///
    /// # Errors
    /// The frame, when the queue is full.
    pub fn push(&mut self, mut frame: Frame) -> Result<Option<Time>, Frame> {
        let len = frame.wire_len();
        if self.queued + len > self.config.queue && !self.queue.is_empty() {
            return Err(frame);
        }
        if self.config.ecn_threshold.is_some_and(|k| self.queued > k) && mark_congestion(&mut frame.bytes) {
            self.stats.marked += 1;
        }
        self.queued += len;
        self.stats.longest = self.stats.longest.max(self.queued);
        self.queue.push_back(frame);
        Ok((self.queue.len() == 1).then(|| self.time_for(len)))
    }

    /// The first frame's last bit is sent. Also says how long the next one takes, if there is one.
    pub fn sent(&mut self, now: Time) -> (Departure, Option<Time>) {
        let mut out = Departure::default();
        let Some(mut frame) = self.queue.pop_front() else { return (out, None) };
        let len = frame.wire_len();
        self.queued -= len;
        self.stats.sent += 1;
        self.stats.bytes += len;
        let next = self.queue.front().map(|f| self.time_for(f.wire_len()));
        let fate = self.faults.decide(&self.config.faults, now);
        let loss = if self.dead > 0 {
            Some(Loss::Blackhole)
        } else if frame.ip_len() > usize::from(self.config.mtu) {
            Some(Loss::TooLarge)
        } else {
            fate.lost.then_some(Loss::Random)
        };
        if let Some(why) = loss {
            out.lost = Some((frame, why));
            return (out, next);
        }
        let rng = self.faults.rng();
        // Twice, and one change might undo the other for a checksum.
        if fate.corrupt && !frame.tag.damaged {
            out.corrupted = true;
            frame.tag.damaged |= corrupt(&mut frame.bytes, rng);
        }
        let jitter = if self.config.jitter > 0 { rng.below(self.config.jitter) } else { 0 };
        let mut at = now + self.config.delay + jitter;
        if !self.config.jitter_reorders {
            at = at.max(self.last_arrival);
        }
        out.reordered = fate.extra > 0 || self.config.jitter_reorders && at < self.last_arrival;
        self.last_arrival = self.last_arrival.max(at);
        if let Some(later) = fate.copy {
            out.arrivals.push(Arrival { at: at + fate.extra + later, frame: frame.clone() });
        }
        out.arrivals.push(Arrival { at: at + fate.extra, frame });
        (out, next)
    }

    fn time_for(&self, bytes: u64) -> Time {
        bytes * 8 * 1_000_000_000 / self.config.rate
    }
}

/// Sets "congestion experienced" on a frame of an ECN transport (RFC 3168 §5), IPv4's header checksum kept right.
pub fn mark_congestion(bytes: &mut [u8]) -> bool {
    let l3 = if bytes.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
    let Some(ip) = bytes.get_mut(l3..) else { return false };
    match ip {
        [0x45..=0x4f, tos, ..] if *tos & 3 != 0 && *tos & 3 != 3 => {
            let before = u16::from(*tos);
            *tos |= 3;
            let after = u16::from(*tos);
            // RFC 1624: the sum changes by what the word changed.
            let Some(&[high, low]) = ip.get(10..12) else { return false };
            let sum = u32::from(!u16::from_be_bytes([high, low])) + u32::from(!before) + u32::from(after);
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = (sum & 0xffff) + (sum >> 16);
            ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            true
        }
        // IPv6: the two bits are the traffic class's last, in the middle of the second byte.
        [0x60..=0x6f, second, ..] if (*second >> 4) & 3 != 0 && (*second >> 4) & 3 != 3 => {
            *second |= 0x30;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
