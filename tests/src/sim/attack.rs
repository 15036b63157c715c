//! The attacker: segments that must change nothing, made from what passed on the wire; old frames sent again; floods.

use luna_core::wire::{
    HeaderTemplate, MacAddr, SegmentHead, SeqNum, TcpFlags, TcpOptions, tcp_checksum, write_tcp_checksum,
};

use super::events::Time;
use super::flow::{Opening, SERVER};
use super::frame::{Frame, Segment, Tag};
use super::icmp::{Complaint, error};
use super::log::What;
use super::malformed::malformed;
use super::plan::mac;
use super::rng::Rng;
use super::world::{Event, World};

/// Frames that are remembered.
const MEMORY: usize = 64;

/// What the attacker knows.
pub(super) struct Attacker {
    rng: Rng,
    /// Frames that passed, the newest overwriting the oldest.
    seen: Vec<Frame>,
    next: usize,
    skip: u32,
    sent: u32,
    active: bool,
}

impl Attacker {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, seen: Vec::new(), next: 0, skip: 0, sent: 0, active: false }
    }

    /// Sees a frame pass.
    pub(super) fn remember(&mut self, frame: &Frame) {
        if !self.active {
            return;
        }
        // A few of many, so that old ones are really old.
        self.skip = self.skip.wrapping_add(1);
        if !self.skip.is_multiple_of(7) && frame.bytes.len() > 100 {
            return;
        }
        if self.seen.len() < MEMORY {
            self.seen.push(frame.clone());
        } else {
            self.seen[self.next] = frame.clone();
            self.next = (self.next + 1) % MEMORY;
        }
    }

    /// A frame for one of the stacks, or nothing when it has seen none.
    fn make(&mut self) -> Option<Frame> {
        let rng = &mut self.rng;
        if self.seen.is_empty() {
            return None;
        }
        let seen = &self.seen[rng.below(self.seen.len() as u64) as usize];
        if rng.one_in(3) {
            // An old duplicate, as networks have them.
            let mut again = seen.clone();
            again.tag.replayed = true;
            return Some(again);
        }
        let seg = Segment::read(&seen.bytes, false).ok()?;
        if seg.flags.rst() || seg.flags.syn() {
            return None;
        }
        if rng.one_in(4) {
            return malformed(seen, rng);
        }
        if rng.one_in(6) {
            let mtu = rng.pick(&[0, 68, 576, 1000, 1400, 65_535]);
            return error(
                &seen.bytes,
                rng.pick(&[Complaint::TooBig(mtu), Complaint::Unreachable, Complaint::Forbidden]),
            );
        }
        let mut forged = Forged::from(&seg, &seen.bytes);
        let edge = seg.ack;
        let lie = rng.below(13);
        match lie {
            // The window's far end: certainly not where the next byte is expected.
            0 => (forged.flags, forged.seq) = (TcpFlags::RST, seg.seq + rng.range(1 << 24, 1 << 30) as u32),
            1 => (forged.flags, forged.seq) = (TcpFlags::RST, seg.seq - rng.range(1, 1 << 20) as u32),
            2 => forged.flags = TcpFlags::SYN,
            3 => (forged.flags, forged.seq) = (TcpFlags::SYN, seg.seq + 1_000_000),
            // Acknowledges what was never sent.
            4 => forged.ack = edge + rng.range(1 << 24, 1 << 29) as u32,
            5 => forged.flags = TcpFlags::PSH,
            // A length of 1, which no option has.
            6 => forged.bad_options = true,
            7 => forged.ports.1 = 9,
            // Reports of what was never sent; of what may be under way, or be acknowledged long since: lies like those of a
            // receiver that throws away what it reported.
            8 => drop(forged.options.sack.push(edge + (1 << 24), edge + (1 << 24) + 1000)),
            9 | 10 => {
                let from = edge + rng.range(100, 6000) as u32;
                forged.options.sack.push(from, from + rng.range(1, 6000) as u32);
            }
            11 => {
                let len = rng.range(1, 3000) as u32;
                forged.options.sack.push(edge - len, edge);
            }
            // Echoes a time stamp of tomorrow.
            12 => forged.options.timestamps = seg.options.timestamps.map(|(val, ecr)| (val, ecr.wrapping_add(1 << 26))),
            _ => {
                forged.seq = seg.seq + (1 << 28);
                forged.payload = vec![0xaa; 100];
            }
        }
        let mut frame = forged.frame();
        if (8..13).contains(&lie) {
            frame.tag.half = seen.tag.half;
        }
        Some(frame)
    }
}

/// A segment to be made.
struct Forged {
    macs: (MacAddr, MacAddr),
    vlan: Option<u16>,
    addrs: (core::net::IpAddr, core::net::IpAddr),
    ports: (u16, u16),
    seq: SeqNum,
    ack: SeqNum,
    flags: TcpFlags,
    window: u16,
    options: TcpOptions,
    bad_options: bool,
    payload: Vec<u8>,
}

impl Forged {
    fn from(seg: &Segment, frame: &[u8]) -> Self {
        let mac = |at: usize| {
            let mut mac = [0; 6];
            mac.copy_from_slice(&frame[at..at + 6]);
            MacAddr(mac)
        };
        let vlan = (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]));
        Self {
            macs: (mac(6), mac(0)),
            vlan,
            addrs: (seg.src.ip(), seg.dst.ip()),
            ports: (seg.src.port(), seg.dst.port()),
            seq: seg.seq,
            ack: seg.ack,
            flags: TcpFlags::ACK,
            window: seg.window,
            options: TcpOptions { timestamps: seg.options.timestamps, ..TcpOptions::default() },
            bad_options: false,
            payload: Vec::new(),
        }
    }

    fn frame(&self) -> Frame {
        let (src, dst) = self.addrs;
        let template =
            HeaderTemplate::new(self.macs.0, self.macs.1, self.vlan, src, dst, self.ports.0, self.ports.1, 64)
                .expect("addresses of one family");
        let mut options = self.options;
        if self.bad_options {
            options.mss = Some(0);
        }
        let head = SegmentHead {
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            ts: None,
            ecn: 0,
            options: Some(&options),
        };
        let mut bytes = vec![0; template.header_len(&head)];
        template.emit(&mut bytes, &head, self.payload.len() as u32);
        let l4 = template.l2l3_len();
        if self.bad_options {
            bytes[l4 + 20..l4 + 24].copy_from_slice(&[8, 1, 0, 0]);
        }
        let tcp_len = (bytes.len() - l4 + self.payload.len()) as u32;
        let sum = tcp_checksum(template.pseudo_sum(tcp_len), &bytes[l4..], [&self.payload[..]]);
        write_tcp_checksum(&mut bytes, l4, sum);
        bytes.extend_from_slice(&self.payload);
        Frame { bytes, tag: Tag { forged: true, ..Tag::default() } }
    }
}

impl World<'_> {
    /// A burst of SYNs at the stack that is flooded, each from somewhere else; and acknowledgments of cookies never given.
    pub(super) fn flood(&mut self) {
        let Some(flood) = self.plan.world.flood else { return };
        let now = self.events.now();
        if now >= flood.time.1 || self.over_since.is_some() {
            return;
        }
        let ports: Vec<_> = self
            .plan
            .flows
            .iter()
            .filter(|f| f.stacks[SERVER] == flood.stack && f.opening == Opening::Usual)
            .map(|f| f.addrs[SERVER])
            .collect();
        let vlan = self.plan.vlan;
        for _ in 0..flood.burst {
            let rng = &mut self.attacker.rng;
            let to = rng.pick(&ports);
            let ack = rng.one_in(10);
            let n = rng.draw();
            let src: core::net::IpAddr = if to.is_ipv4() {
                [198, 18, n as u8, (n >> 8) as u8].into()
            } else {
                [0x2001, 0xdb8, 0, 0, 0, 0, n as u16, (n >> 16) as u16].into()
            };
            let options = TcpOptions {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: (!rng.one_in(3)).then_some((n as u32, 0)),
                ..TcpOptions::default()
            };
            let forged = Forged {
                macs: (MacAddr([2, 0, 0, 0, 9, 9]), mac(flood.stack)),
                vlan,
                addrs: (src, to.ip()),
                ports: (rng.range(1, 65_535) as u16, to.port()),
                seq: SeqNum(rng.draw() as u32),
                ack: SeqNum(if ack { rng.draw() as u32 } else { 0 }),
                flags: if ack { TcpFlags::ACK } else { TcpFlags::SYN },
                window: 64_240,
                options: if ack { TcpOptions::default() } else { options },
                bad_options: false,
                payload: Vec::new(),
            };
            self.adversity.flooded += 1;
            self.deliver(flood.stack, forged.frame());
        }
        self.events.after(flood.every, Event::Flood);
    }

    /// The attacker's moment.
    pub(super) fn forge(&mut self) {
        let now = self.events.now();
        let (count, last) = self.plan.forged;
        let attacker = &mut self.attacker;
        attacker.active = true;
        if self.over_since.is_some() || attacker.sent >= count {
            attacker.active = false;
            return;
        }
        if let Some(frame) = attacker.make() {
            attacker.sent += 1;
            self.adversity.forged += 1;
            let stacks = self.plan.stacks.len();
            let to = (0..stacks).find(|i| frame.bytes[..6] == mac(*i).0);
            // What is for a group or for an address that no switch knows goes out of every port.
            for i in (0..stacks).filter(|i| to.is_none_or(|to| to == *i)) {
                self.log.frame(now, i, What::Forged, &frame);
                self.deliver(i, frame.clone());
            }
        }
        let pause: Time = (last / u64::from(count)).max(1000);
        self.events.after(pause, Event::Forge);
    }
}
