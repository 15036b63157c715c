//! The stack under test with its clock, and everything that went in and came out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, VecDeque};

use luna_core::socket::Sockets;
use luna_core::time::Instant;

use super::ast::{Body, Packet, Segment};
use super::flow::{Flow, differences};
use super::wire::{self, Ends, Seen};

/// Port that scripts listen on and connect to, unless they say otherwise.
pub(super) const PORT: u16 = 8080;
/// Port of remote 1 when it connects; remote 2 has the next one.
const REMOTE_PORT: u16 = 40_001;
/// How many lines of the log a failure shows.
const SHOWN: usize = 16;

/// Our address, and the remote's.
pub(super) fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        (
            Ipv6Addr::new(0xfd3d, 0xfa7b, 0xd17d, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        )
    } else {
        (Ipv4Addr::new(192, 168, 0, 1).into(), Ipv4Addr::new(192, 0, 2, 1).into())
    }
}

/// A packet that was sent and nobody asked for yet.
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) seen: Result<Seen, String>,
}

pub(super) struct World<'m> {
    pub(super) sockets: Sockets<'m>,
    pub(super) now: Instant,
    begin: Instant,
    ours: IpAddr,
    theirs: IpAddr,
    flows: BTreeMap<u8, Flow>,
    pub(super) sent: VecDeque<Sent>,
    /// Payloads are the pattern, for all that the script has said.
    pub(super) patterned: bool,
    log: Vec<String>,
}

impl<'m> World<'m> {
    pub(super) fn new(sockets: Sockets<'m>, now: Instant, v6: bool) -> Self {
        let (ours, theirs) = addresses(v6);
        Self {
            sockets,
            now,
            begin: now,
            ours,
            theirs,
            flows: BTreeMap::new(),
            sent: VecDeque::new(),
            patterned: true,
            log: Vec::new(),
        }
    }

    /// Seconds since the script began, as it writes them.
    pub(super) fn clock(&self, at: Instant) -> String {
        let ns = at.since(self.begin).as_nanos();
        format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000)
    }

    pub(super) fn note(&mut self, line: String) {
        self.log.push(format!("{:>12} {line}", self.clock(self.now)));
    }

    /// The last lines of what happened.
    pub(super) fn recent(&self) -> String {
        let from = self.log.len().saturating_sub(SHOWN);
        self.log[from..].join("\n")
    }

    /// Takes what waits to be sent.
    pub(super) fn drain(&mut self) {
        let mut packet = [0; 1 << 16];
        while let Some(len) = self.sockets.output(self.now, &mut packet) {
            let seen = wire::read(&packet[..len]);
            let line = match &seen {
                Ok(seen) => format!("> {}", self.shown(seen)),
                Err(why) => format!("> a broken packet: {why}"),
            };
            self.note(line);
            self.sent.push_back(Sent { at: self.now, seen });
        }
    }

    /// On to the stack's next deadline, at most to `until`.
    pub(super) fn step(&mut self, until: Instant) {
        let next = self.sockets.poll_at().max(self.now);
        if next <= until {
            self.now = next;
            let again = self.sockets.poll(next);
            // A deadline that stays in the past would hold the clock for ever.
            if again <= next {
                self.now = (next + luna_core::time::Duration::from_nanos(1)).min(until);
            }
        } else {
            self.now = until;
        }
        self.drain();
    }

    /// Which flow a packet of ours belongs to.
    fn flow_of(&self, ends: &Ends) -> Option<u8> {
        self.flows.iter().find(|(_, f)| f.ends.as_ref() == Some(ends)).map(|(n, _)| *n)
    }

    /// A packet of ours in the script's syntax, as far as its numbers are known.
    pub(super) fn shown(&self, seen: &Seen) -> String {
        match self.flow_of(&seen.ends) {
            Some(n) if n != 1 => format!("#{n} {}", self.flows[&n].peek(seen)),
            Some(n) => self.flows[&n].peek(seen).to_string(),
            None => {
                let Ends { src, dst } = seen.ends;
                format!("[{} {} > {} {}] {}", src.0, src.1, dst.0, dst.1, seen.segment)
            }
        }
    }

    /// A connection from this local port begins: its first SYN teaches the flow's numbers.
    pub(super) fn begins(&mut self, local_port: u16) {
        for flow in self.flows.values_mut() {
            if flow.ends.is_some_and(|e| e.src.1 == local_port) {
                flow.begin();
            }
        }
    }

    /// Lets a packet arrive.
    pub(super) fn arrive(&mut self, p: &Packet) -> Result<(), String> {
        let (ours, theirs) = (self.ours, self.theirs);
        let ports = (p.ip.dport.unwrap_or(PORT), p.ip.sport.unwrap_or(REMOTE_PORT + u16::from(p.flow) - 1));
        let flow = self.flows.entry(p.flow).or_default();
        let known = *flow.ends.get_or_insert(Ends { src: (ours, ports.0), dst: (theirs, ports.1) });
        let (dst, src) = (p.ip.dst.unwrap_or(ours), p.ip.src.unwrap_or(theirs));
        let bytes = match &p.body {
            Body::Tcp(s) => {
                let ends = Ends {
                    src: (src, p.ip.sport.unwrap_or(known.dst.1)),
                    dst: (dst, p.ip.dport.unwrap_or(known.src.1)),
                };
                let segment = flow.on_wire(s);
                let payload = match &s.data {
                    Some(data) => data.iter().copied().cycle().take(s.len as usize).collect(),
                    // SYN takes a number before the payload.
                    None => flow.remote_payload(s.seq.wrapping_add(u32::from(s.flags & super::ast::SYN != 0)), s.len),
                };
                self.patterned &= s.data.is_none();
                wire::ip(src, dst, &p.ip, None, &wire::tcp(&ends, &segment, &payload))
            }
            Body::Icmp(m) => {
                let quoted = Segment {
                    flags: super::ast::ACK,
                    seq: flow.ours_on_wire(m.seq),
                    len: m.len,
                    ack: Some(0),
                    win: Some(0),
                    urg: None,
                    options: None,
                    data: None,
                    damage: super::ast::Damage::default(),
                };
                let payload = vec![0; m.len as usize];
                let fields = super::ast::IpFields::default();
                let packet = wire::ip(known.src.0, known.dst.0, &fields, None, &wire::tcp(&known, &quoted, &payload));
                let message = wire::icmp(src, dst, m, &packet);
                wire::ip(src, dst, &p.ip, Some(wire::icmp_protocol(src)), &message)
            }
        };
        self.note(format!("< {p}"));
        // What TCP makes of it is counted; only what cannot be handed in at all is the script's fault.
        self.sockets.input(self.now, &bytes).map_err(|e| format!("this packet cannot be handed in: {e}"))?;
        self.drain();
        Ok(())
    }

    /// Judges a packet that was sent by the one that the script expects; says in what they differ.
    pub(super) fn judge(&mut self, expected: &Packet, seen: &Seen) -> Result<(), String> {
        let Body::Tcp(want) = &expected.body else { return Err("Luna sends no ICMP".into()) };
        if let Some(other) = self.flow_of(&seen.ends).filter(|n| *n != expected.flow) {
            return Err(format!("sent to flow {other}"));
        }
        let flow = self.flows.entry(expected.flow).or_default();
        let opens = want.flags & (super::ast::SYN | super::ast::ACK) == super::ast::SYN;
        if flow.ends.is_none() || opens && flow.ends != Some(seen.ends) {
            if seen.ends.src.0 != self.ours || seen.ends.dst.0 != self.theirs {
                return Err("other addresses".into());
            }
            flow.ends = Some(seen.ends);
            flow.begin();
        }
        if flow.ends != Some(seen.ends) {
            return Err("other ports or addresses".into());
        }
        let got = flow.in_script(seen, want);
        let mut all = differences(want, &got);
        ip_differences(expected, seen, &mut all);
        let content = match &want.data {
            Some(data) => data.iter().copied().cycle().take(seen.payload.len()).eq(seen.payload.iter().copied()),
            None => !self.patterned || flow.local_payload(got.seq, seen.payload.len()) == seen.payload,
        };
        if !content {
            all.push("content");
        }
        if all.is_empty() {
            Ok(())
        } else {
            Err(format!("{} differ{}", all.join(", "), if all.len() == 1 { "s" } else { "" }))
        }
    }
}

fn ip_differences(expected: &Packet, seen: &Seen, all: &mut Vec<&'static str>) {
    use super::ast::Ecn;
    let same_ecn = match (expected.ip.ecn, seen.ip.ecn) {
        (Some(Ecn::Ect01), got) => matches!(got, Some(Ecn::Ect0 | Ecn::Ect1)),
        (Some(want), got) => got == Some(want),
        (None, _) => true,
    };
    if !same_ecn {
        all.push("ECN");
    }
    if expected.ip.ttl.is_some() && expected.ip.ttl != seen.ip.ttl {
        all.push("TTL");
    }
    if expected.ip.df.is_some() && expected.ip.df != seen.ip.df {
        all.push("DF");
    }
    if expected.ip.sport.is_some_and(|p| p != seen.ends.src.1)
        || expected.ip.dport.is_some_and(|p| p != seen.ends.dst.1)
    {
        all.push("port");
    }
}
