//! Random frames and mutants of real ones, checksums repaired, sequence numbers near the window, thrown at both ends of
//! a live connection while data flows both ways: nothing panics, the connection survives, the data arrives intact.
//!
//! Left out are mutants that no TCP can tell from its peer's own segments ([`undetectable`]): an exact reset, other
//! bytes (or FIN) for sequence numbers that have not arrived, an acknowledgment of what was sent but did not arrive, a
//! timestamp from the peer's future.

use proptest::prelude::*;

use super::harness::*;
use crate::tcp::connection::Connection;
use crate::time::Duration;
use crate::wire::{Checksum, ParseError, RxChecksum, TcpFlags, TcpOptions, TcpPacket};

#[derive(Clone, Debug)]
struct Mutant {
    to_b: bool,
    /// Which of the recent frames.
    base: u8,
    /// From the next byte expected; in units of bytes.
    seq: Option<i32>,
    /// From the newest byte sent.
    ack: Option<i32>,
    flags: Option<u8>,
    window: Option<u16>,
    /// Bytes changed behind the addresses (or anywhere).
    flips: Vec<(u16, u8)>,
    anywhere: bool,
    cut: Option<u16>,
    repair: bool,
    /// Not a mutant: noise.
    noise: bool,
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![
        3 => -3000..3000i32,
        2 => Just(0),
        2 => -3..4i32,
        1 => -700_000..700_000i32,
        1 => any::<i32>(),
    ]
}

fn mutant() -> impl Strategy<Value = Mutant> {
    let numbers = (
        proptest::option::weighted(0.7, near()),
        proptest::option::weighted(0.4, near()),
        proptest::option::weighted(0.5, any::<u8>()),
        proptest::option::weighted(0.3, prop_oneof![Just(0), any::<u16>()]),
    );
    let bytes = (
        proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        prop::bool::weighted(0.1),
        proptest::option::weighted(0.15, any::<u16>()),
    );
    (any::<bool>(), any::<u8>(), numbers, bytes, prop::bool::weighted(0.95), prop::bool::weighted(0.03)).prop_map(
        |(to_b, base, (seq, ack, flags, window), (flips, anywhere, cut), repair, noise)| Mutant {
            to_b,
            base,
            seq,
            ack,
            flags,
            window,
            flips,
            anywhere,
            cut,
            repair,
            noise,
        },
    )
}

const ETH: usize = 14;
const TCP: usize = ETH + 20;

fn put32(frame: &mut [u8], at: usize, n: u32) {
    if let Some(out) = frame.get_mut(at..at + 4) {
        out.copy_from_slice(&n.to_be_bytes());
    }
}

/// Lengths and checksums of an IPv4 frame that may be anything.
fn repair(frame: &mut [u8]) {
    if frame.len() < TCP + 20 {
        return;
    }
    let total = (frame.len() - ETH) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[24..26].fill(0);
    let mut sum = Checksum::new();
    sum.add(&frame[ETH..TCP]);
    let ip = sum.finish().to_be_bytes();
    frame[24..26].copy_from_slice(&ip);
    frame[TCP + 16..TCP + 18].fill(0);
    let mut sum = Checksum::new();
    let (src, dst) = (frame[26..30].try_into().unwrap(), frame[30..34].try_into().unwrap());
    sum.add_pseudo_v4(src, dst, 6, (frame.len() - TCP) as u16);
    sum.add(&frame[TCP..]);
    let tcp = sum.finish().to_be_bytes();
    frame[TCP + 16..TCP + 18].copy_from_slice(&tcp);
}

impl Mutant {
    fn frame(&self, recent: &[Vec<u8>], to: &Connection) -> Vec<u8> {
        if self.noise || recent.is_empty() {
            return self.flips.iter().flat_map(|(a, b)| [a.to_be_bytes()[0], *b, *b]).collect();
        }
        let mut frame = recent[usize::from(self.base) % recent.len()].clone();
        for (at, value) in &self.flips {
            let start = if self.anywhere { 0 } else { TCP };
            let n = frame.len() - start;
            frame[start + usize::from(*at) % n] = *value;
        }
        if let Some(cut) = self.cut {
            frame.truncate(usize::from(cut) % frame.len());
        }
        if let Some(d) = self.seq {
            put32(&mut frame, TCP + 4, to.rcv_nxt.0.wrapping_add(d as u32));
        }
        if let Some(d) = self.ack {
            put32(&mut frame, TCP + 8, to.snd_nxt.0.wrapping_add(d as u32));
        }
        if let (Some(flags), Some(out)) = (self.flags, frame.get_mut(TCP + 13)) {
            *out = flags;
        }
        if let (Some(window), Some(out)) = (self.window, frame.get_mut(TCP + 14..TCP + 16)) {
            out.copy_from_slice(&window.to_be_bytes());
        }
        if self.repair {
            repair(&mut frame);
        }
        frame
    }
}

/// Whether this could as well have been sent by `from`; `to` is the connection that it is for.
fn undetectable(frame: &[u8], packet: &TcpPacket, to: &Connection, from: &Connection, now_ms: u32) -> bool {
    let tcp = &packet.tcp;
    if tcp.flags.rst() && tcp.seq == to.rcv_nxt {
        return true;
    }
    // It acknowledges bytes that `from` does not have.
    if tcp.flags.ack() && tcp.ack.after(from.rcv_nxt) && tcp.ack.before_eq(to.snd_nxt) {
        return true;
    }
    let start = tcp.seq.distance_from(from.cold.iss + 1);
    let payload = packet.payload(frame);
    let (len, window) = (payload.len() as u32, to.rcv_adv.distance_from(to.rcv_nxt));
    let reaches = |i: u32| (tcp.seq + i).in_window(to.rcv_nxt, window);
    let lies = payload
        .iter()
        .enumerate()
        .any(|(i, b)| reaches(i as u32) && *b != pattern(start.wrapping_add(i as u32) as usize));
    let fin = tcp.flags.fin() && (reaches(len) || tcp.seq + len == to.rcv_nxt || tcp.seq + len == to.rcv_adv);
    // The truth about bytes that `from` has not even sent is not his either, and would leave him behind.
    let ahead = len > 0 && (tcp.seq + len).after(from.snd_nxt) && (reaches(0) || reaches(len - 1));
    let ts = TcpOptions::parse(packet.options(frame)).ok().and_then(|o| o.timestamps);
    let future = ts.is_some_and(|t| (t.0.wrapping_sub(from.tsval(now_ms)) as i32) > 0);
    let seq_len = packet.segment_len();
    let acceptable = tcp.seq.in_window(to.rcv_nxt, window.max(1)) || seq_len > 0 && reaches(seq_len - 1);
    lies || fin || ahead || future && acceptable
}

/// What an end counted of frames that went no further.
fn counted(end: &End) -> u64 {
    let c = end.stack.counters();
    // Whose options are bad was taken for a segment before.
    c.segments_in + c.malformed.iter().sum::<u64>() - c.malformed[ParseError::BadOption.index()]
}

fn survives(mutants: &[Mutant]) -> Result<u32, TestCaseError> {
    let (mut p, a, b) = Pair::open(&Options::default());
    for end in [&mut p.a, &mut p.b] {
        end.queue().recent = Some(Vec::new());
    }
    let total = mutants.len() * 2000;
    let (mut thrown, mut sent) = (0, 0);
    for (i, m) in mutants.iter().enumerate() {
        // Something is always in flight.
        for (to_b, conn) in [(true, a), (false, b)] {
            let end = if to_b { &mut p.a } else { &mut p.b };
            let data = end.buffer(2000, sent);
            end.send(p.now, conn, &data, i as u64).unwrap();
        }
        sent += 2000;
        p.a.stack.turn(p.now, 32, &mut p.a.app);
        if i % 3 == 0 {
            p.b.stack.turn(p.now, 32, &mut p.b.app);
        }
        let now_ms = p.now.as_millis_u32();
        let (to, from, to_id, from_id) = if m.to_b { (&mut p.b, &mut p.a, b, a) } else { (&mut p.a, &mut p.b, a, b) };
        let recent = from.queue().recent.clone().unwrap_or_default();
        let frame = m.frame(&recent, to.conn(to_id));
        let parsed = TcpPacket::parse_frame(&frame, RxChecksum::UNKNOWN);
        let skip = parsed.is_ok_and(|p| undetectable(&frame, &p, to.conn(to_id), from.conn(from_id), now_ms));
        if !skip {
            thrown += 1;
            let mut obj = to.pools.data.alloc().unwrap();
            obj.append(frame.len() as u32).unwrap().copy_from_slice(&frame);
            to.queue().inject.push_back(obj.freeze());
            let before = counted(to);
            let frames_before = to.stack.queue_stats(to.path).unwrap().rx_frames;
            to.stack.turn(p.now, 32, &mut to.app);
            let frames = to.stack.queue_stats(to.path).unwrap().rx_frames - frames_before;
            prop_assert_eq!(counted(to) - before, frames + 1, "every frame is counted");
        }
        p.settle();
        p.run(Duration::from_micros(50));
        prop_assert!(p.a.app.closed.is_empty() && p.b.app.closed.is_empty(), "mutant {} killed it: {:?}", i, m);
    }
    let done =
        p.run_until(Duration::from_secs(20), |p| p.a.app.received.len() >= total && p.b.app.received.len() >= total);
    prop_assert!(done, "{} and {} of {}", p.a.app.received.len(), p.b.app.received.len(), total);
    expect_pattern(&p.a.app.received, total);
    expect_pattern(&p.b.app.received, total);
    // Rid of everything afterwards, half-open connections that mutants began included.
    for (end, conn) in [(&mut p.a, a), (&mut p.b, b)] {
        end.queue().recent = None;
        end.stack.cx(p.now).close(conn).unwrap();
    }
    p.run(Duration::from_secs(20));
    p.assert_clean();
    Ok(thrown)
}

#[test]
fn a_live_connection_survives_random_and_mutated_frames() {
    let thrown = core::cell::Cell::new(0);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(mutants in proptest::collection::vec(mutant(), 300..301))| {
        thrown.set(thrown.get() + survives(&mutants)?);
    });
    assert!(thrown.get() > 2000, "only {} were thrown", thrown.get());
}

#[test]
fn ends_that_disagree_do_not_acknowledge_each_other_for_ever() {
    let (mut p, a, b) = Pair::open(&Options::default());
    // Bytes that the other never sent: from now on each finds the other's segments outside the window.
    p.a.forge(a, |f| f.payload = vec![1; 1000]);
    p.b.forge(b, |f| f.payload = vec![1; 1000]);
    p.settle();
    p.run(Duration::from_secs(1));
    let acks = p.a.stack.counters().acks_out + p.b.stack.counters().acks_out;
    assert!(acks < 500, "{acks} acknowledgments about nothing");
}

#[test]
fn a_window_from_ahead_of_its_turn_does_not_outlive_the_true_one() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.a.forge(a, |f| {
        f.seq += 50_000;
        f.window = 0;
    });
    p.settle();
    let data = p.a.buffer(16_000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    assert!(p.run_until(Duration::from_secs(1), |p| p.b.app.received.len() == 16_000));
}

#[test]
fn an_acknowledgment_far_in_the_past_is_a_guess() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
    let data = p.a.buffer(1000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    p.spin(1);
    p.a.forge(a, |f| {
        f.seq = f.seq - (1 << 30);
        f.payload = vec![0; 10];
    });
    p.settle();
    assert!(p.a.app.released.is_empty(), "nobody has the data");
    p.a.queue().fate = Box::new(|_, _| Fate::Pass);
    p.run(Duration::from_millis(100));
    expect_pattern(&p.b.app.received, 1000);
}

#[test]
fn what_lies_behind_a_fin_is_never_delivered() {
    let (mut p, a, _) = Pair::open(&Options::default());
    // Two pieces ahead of their turn, the second beyond the FIN that comes then.
    p.a.forge(a, |f| {
        f.seq += 100;
        f.payload = vec![7; 50];
    });
    p.settle();
    p.a.forge(a, |f| {
        f.payload = vec![5; 99];
        f.flags = TcpFlags::ACK | TcpFlags::FIN;
    });
    p.settle();
    assert_eq!((p.a.app.received.len(), p.a.app.fins.len()), (99, 1));
    assert_eq!(p.a.conn(a).rcv_held, 0);
    assert!(p.a.conn(a).out_of_order.is_empty());
}

#[test]
fn segments_without_sense_are_counted() {
    let (mut p, a, _) = Pair::open(&Options::default());
    for flags in [TcpFlags::NONE, TcpFlags::PSH, TcpFlags::FIN, TcpFlags::URG] {
        p.a.forge(a, |f| f.flags = flags);
    }
    p.settle();
    assert_eq!(p.a.stack.counters().unexpected, 4);
    assert!(p.a.app.closed.is_empty() && p.a.app.fins.is_empty());
}
