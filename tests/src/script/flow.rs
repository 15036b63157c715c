//! One connection's addresses and numbers. The remote's numbers are the script's; Luna's initial sequence number and its
//! timestamps' offset are random, so they are learnt from what it sends first and taken away from everything after.

use super::ast::{ACK, PSH, RST, SYN, Segment, TcpOption};
use super::wire::{Ends, Seen};

/// What is known of one flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// Ends as Luna sends: source is ours.
    pub(super) ends: Option<Ends>,
    /// Sequence number on the wire less the script's.
    offset: Option<u32>,
    /// TSval on the wire less the script's.
    ts_offset: Option<u32>,
    /// Script's number of our SYN.
    local_isn: u32,
    /// Number of the peer's SYN.
    remote_isn: Option<u32>,
    /// A new connection of the same name may begin: our next SYN sets the offsets anew.
    anew: bool,
}

/// Byte `offset` of every stream that a script sends or receives without saying its content.
pub(super) fn pattern(offset: u32) -> u8 {
    (offset.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

impl Flow {
    /// An arriving segment's numbers as they go on the wire.
    pub(super) fn on_wire(&mut self, s: &Segment) -> Segment {
        if s.flags & SYN != 0 && self.remote_isn != Some(s.seq) {
            // A SYN that an established connection only challenges must leave the offsets alone: they change with our SYN.
            self.anew = self.remote_isn.is_some() && s.flags & ACK == 0;
            self.remote_isn.get_or_insert(s.seq);
        }
        let ours = |n: u32| n.wrapping_add(self.offset.unwrap_or(0));
        let mut wire = s.clone();
        wire.ack = s.ack.map(ours);
        for option in wire.options.iter_mut().flatten() {
            match option {
                TcpOption::Sack(blocks) => blocks.iter_mut().for_each(|b| *b = (ours(b.0), ours(b.1))),
                TcpOption::Timestamps(_, Some(echo)) if s.flags & ACK != 0 => {
                    *echo = echo.wrapping_add(self.ts_offset.unwrap_or(0));
                }
                _ => {}
            }
        }
        if s.flags & SYN != 0 && self.anew {
            self.remote_isn = Some(s.seq);
        }
        wire
    }

    /// Our number `n` as it goes on the wire.
    pub(super) fn ours_on_wire(&self, n: u32) -> u32 {
        n.wrapping_add(self.offset.unwrap_or(0))
    }

    /// The next connection of this name begins: learn anew.
    pub(super) fn begin(&mut self) {
        self.anew = true;
    }

    /// What was sent, in the script's numbers; `expected` says what the first numbers are to be called.
    pub(super) fn in_script(&mut self, seen: &Seen, expected: &Segment) -> Segment {
        let s = &seen.segment;
        let resets = s.flags & RST != 0;
        if s.flags & SYN != 0 && expected.flags & SYN != 0 && (self.offset.is_none() || self.anew) {
            self.offset = Some(s.seq.wrapping_sub(expected.seq));
            self.local_isn = expected.seq;
            self.ts_offset = None;
            self.anew = false;
        }
        let value = |s: &Segment| {
            s.options.iter().flatten().find_map(|o| match o {
                TcpOption::Timestamps(Some(value), _) => Some(*value),
                _ => None,
            })
        };
        if self.ts_offset.is_none()
            && let (Some(wire), Some(script)) = (value(s), value(expected))
        {
            self.ts_offset = Some(wire.wrapping_sub(script));
        }
        self.shown(s, resets)
    }

    /// The same without learning anything, for the log.
    pub(super) fn peek(&self, seen: &Seen) -> Segment {
        self.shown(&seen.segment, seen.segment.flags & RST != 0)
    }

    fn shown(&self, s: &Segment, resets: bool) -> Segment {
        let mut shown = s.clone();
        // A reset that answers what has no connection is numbered from 0 (RFC 9293 §3.10.7.1), not from our ISN.
        if !(resets && s.seq == 0) {
            shown.seq = s.seq.wrapping_sub(self.offset.unwrap_or(0));
        }
        for option in shown.options.iter_mut().flatten() {
            if let TcpOption::Timestamps(Some(value), _) = option {
                *value = value.wrapping_sub(self.ts_offset.unwrap_or(0));
            }
        }
        shown
    }

    /// Payload that the script did not spell out, from sequence number `seq` on.
    pub(super) fn remote_payload(&self, seq: u32, len: u32) -> Vec<u8> {
        let first = seq.wrapping_sub(self.remote_isn.unwrap_or(0)).wrapping_sub(1);
        (0..len).map(|i| pattern(first.wrapping_add(i))).collect()
    }

    /// What we must have sent from the script's sequence number `seq` on.
    pub(super) fn local_payload(&self, seq: u32, len: usize) -> Vec<u8> {
        let first = seq.wrapping_sub(self.local_isn).wrapping_sub(1);
        (0..len as u32).map(|i| pattern(first.wrapping_add(i))).collect()
    }
}

/// In which fields `seen` is not what was expected; empty: in none.
pub(super) fn differences(expected: &Segment, seen: &Segment) -> Vec<&'static str> {
    let mut all = Vec::new();
    let mut check = |same: bool, what: &'static str| {
        if !same {
            all.push(what);
        }
    };
    // PSH must be on the last of what was queued, and may be elsewhere (RFC 9293 §3.9.1.2): it is looked at where the script has
    // it, and says nothing without data.
    let psh = seen.flags & PSH != 0 || expected.flags & PSH == 0 || seen.len == 0;
    check(expected.flags | PSH == seen.flags | PSH && psh, "flags");
    check(expected.seq == seen.seq, "seq");
    check(expected.len == seen.len, "length");
    check(expected.ack == seen.ack, "ack");
    check(expected.win.is_none() || expected.win == seen.win, "window");
    check(expected.urg == seen.urg, "urgent pointer");
    let same_option = |(e, s): (&TcpOption, &TcpOption)| match (e, s) {
        (TcpOption::Timestamps(value, echo), TcpOption::Timestamps(v, e)) => {
            (value.is_none() || value == v) && (echo.is_none() || echo == e)
        }
        _ => e == s,
    };
    let same = match (&expected.options, &seen.options) {
        (Some(expected), Some(seen)) => expected.len() == seen.len() && expected.iter().zip(seen).all(same_option),
        _ => true,
    };
    check(same, "options");
    all
}
