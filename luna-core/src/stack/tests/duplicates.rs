//! The receiving side of what comes twice or too early: D-SACK reports (RFC 2883), their order (RFC 2018 §4), a FIN ahead of
//! its turn, overlaps with other content.

use super::harness::*;
use super::recovery::{MSS, data_frames, with};
use crate::time::Duration;
use crate::wire::{RxChecksum, SeqNum, TcpFlags, TcpOptions, TcpPacket};

const US: fn(u64) -> Duration = Duration::from_micros;

impl Pair {
    /// What the last segment that b sent reports, relative to `base`.
    fn b_reports(&mut self, base: SeqNum) -> Vec<(i32, i32)> {
        let frame = self.b.queue().recent.as_ref().unwrap()[0].clone();
        let packet = TcpPacket::parse_frame(&frame, RxChecksum::GOOD).unwrap();
        let options = TcpOptions::parse(packet.options(&frame)).unwrap();
        options.sack.iter().map(|(l, r)| (l - base, r - base)).collect()
    }

    /// b receives `n` bytes at `base + at`, `fin` behind them.
    fn b_gets(&mut self, conn: crate::stack::ConnId, base: SeqNum, at: i32, n: usize, fin: bool) {
        let seq = SeqNum(base.0.wrapping_add(at as u32));
        self.b.forge(conn, |f| {
            f.seq = seq;
            f.payload = (0..n).map(|i| pattern((at + i as i32) as usize)).collect();
            if fin {
                f.flags = f.flags.union(TcpFlags::FIN);
            }
        });
        self.b.stack.turn(self.now, 256, &mut self.b.app);
    }
}

#[test]
fn what_comes_twice_is_reported_first_and_once() {
    let (mut p, _, b) = Pair::open(&with(|_| ()));
    p.b.queue().recent = Some(Vec::new());
    let base = p.b.conn(b).rcv_nxt;
    p.b_gets(b, base, 0, 100, false);
    // Below the cumulative acknowledgment (RFC 2883 §4.1.1).
    p.b_gets(b, base, 0, 100, false);
    assert_eq!(p.b_reports(base), [(0, 100)]);
    p.b_gets(b, base, 200, 100, false);
    assert_eq!(p.b_reports(base), [(200, 300)], "the duplicate was reported once");
    p.b_gets(b, base, 300, 100, false);
    // Above it: the duplicate, then the block that it is part of (§4.1.2).
    p.b_gets(b, base, 300, 100, false);
    assert_eq!(p.b_reports(base), [(300, 400), (200, 400)]);
    // Partly (§4.2.1): the part that came twice; the block has grown.
    p.b_gets(b, base, 350, 100, false);
    assert_eq!(p.b_reports(base), [(350, 400), (200, 450)]);
    // Old and new in one segment across rcv_nxt.
    p.b_gets(b, base, 50, 100, false);
    assert_eq!(p.b_reports(base), [(50, 100), (200, 450)]);
    assert_eq!(p.b.stack.counters().dsacks_out, 4);
    assert_eq!(p.b.conn(b).rcv_nxt, base + 150);
    expect_pattern(&p.b.app.received, 150);
}

#[test]
fn each_duplicate_of_a_burst_has_an_acknowledgment_of_its_own() {
    let (mut p, _, b) = Pair::open(&with(|_| ()));
    let base = p.b.conn(b).rcv_nxt;
    p.b_gets(b, base, 0, 300, false);
    let before = p.b.stack.counters().dsacks_out;
    for at in [0, 100, 200] {
        p.b.forge(b, |f| (f.seq, f.payload) = (base + at, vec![0; 100]));
    }
    p.b.stack.turn(p.now, 256, &mut p.b.app);
    assert_eq!(p.b.stack.counters().dsacks_out - before, 3);
    expect_pattern(&p.b.app.received, 300);
}

#[test]
fn without_sack_nothing_is_reported() {
    let (mut p, _, b) = Pair::open(&with(|t| t.sack = false));
    p.b.queue().recent = Some(Vec::new());
    let base = p.b.conn(b).rcv_nxt;
    p.b_gets(b, base, 0, 100, false);
    p.b_gets(b, base, 0, 100, false);
    p.b_gets(b, base, 500, 100, true);
    assert_eq!(p.b_reports(base), []);
    assert_eq!(p.b.stack.counters().dsacks_out, 0);
}

/// The block of the newest segment comes first, then those reported most recently.
#[test]
fn blocks_are_reported_by_age() {
    let (mut p, _, b) = Pair::open(&with(|_| ()));
    p.b.queue().recent = Some(Vec::new());
    let base = p.b.conn(b).rcv_nxt;
    for at in [100, 700, 300, 500] {
        p.b_gets(b, base, at, 50, false);
    }
    assert_eq!(p.b_reports(base), [(500, 550), (300, 350), (700, 750)], "the oldest finds no room");
    p.b_gets(b, base, 150, 50, false);
    assert_eq!(p.b_reports(base), [(100, 200), (500, 550), (300, 350)]);
    // What joins two blocks makes one.
    p.b_gets(b, base, 350, 150, false);
    assert_eq!(p.b_reports(base), [(300, 550), (100, 200), (700, 750)]);
}

/// Of two versions of one stretch the first stays.
#[test]
fn overlaps_with_other_content_change_nothing() {
    let (mut p, _, b) = Pair::open(&with(|_| ()));
    let base = p.b.conn(b).rcv_nxt;
    p.b_gets(b, base, 100, 100, false);
    p.b.forge(b, |f| (f.seq, f.payload) = (base + 50, vec![0xff; 200]));
    p.b.stack.turn(p.now, 256, &mut p.b.app);
    p.b_gets(b, base, 0, 100, false);
    let got = &p.b.app.received;
    assert_eq!(got.len(), 250);
    let want: Vec<u8> = (0..250).map(|i| if i < 50 || (100..200).contains(&i) { pattern(i) } else { 0xff }).collect();
    assert_eq!(got, &want);
}

#[test]
fn a_fin_ahead_of_its_turn_is_kept() {
    let (mut p, a, b) = Pair::warm(&with(|_| ()), US(100));
    // The last data segment is lost; FIN follows it in a segment of its own.
    p.a.queue().fate = data_frames(|k| if k == 3 { Fate::Drop } else { Fate::Pass });
    p.send_segments(a, 3);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let now = p.now;
    p.a.stack.cx(now).shutdown(a).unwrap();
    let mut fins = 0;
    let seen = std::rc::Rc::new(core::cell::Cell::new(0));
    let count = seen.clone();
    p.a.queue().fate = Box::new(move |s: &TcpPacket, _| {
        fins += u32::from(s.tcp.flags.fin());
        count.set(fins);
        Fate::Pass
    });
    p.rounds(1, US(100));
    assert_eq!((p.b.stack.counters().fins_ahead, p.b.app.fins.len()), (1, 0));
    p.rounds(20, US(100));
    assert_eq!((p.got(), p.b.app.fins.len()), (3, 1));
    assert_eq!(seen.get(), 1, "FIN was sent once");
    assert_eq!(p.a_count().rtos, 0);
    assert_eq!(p.b.conn(b).state, crate::tcp::State::CloseWait);
    assert_eq!(p.a.conn(a).state, crate::tcp::State::FinWait2);
}

#[test]
fn a_fin_behind_data_that_waits_comes_in_its_turn() {
    let (mut p, _, b) = Pair::open(&with(|_| ()));
    p.b.queue().recent = Some(Vec::new());
    let base = p.b.conn(b).rcv_nxt;
    p.b_gets(b, base, 100, 100, true);
    assert_eq!(p.b_reports(base), [(100, 201)], "FIN takes a number");
    // A second one elsewhere is not believed.
    p.b_gets(b, base, 150, 20, true);
    assert_eq!(p.b.app.fins.len(), 0);
    p.b_gets(b, base, 50, 50, false);
    assert_eq!(p.b.app.fins.len(), 0);
    p.b_gets(b, base, 0, 50, false);
    assert_eq!(p.b.app.fins, [b]);
    assert_eq!(p.b.conn(b).rcv_nxt, base + 201);
    expect_pattern(&p.b.app.received, 200);
    assert_eq!(p.b.stack.counters().fins_ahead, 1);
    assert_eq!(p.b.stack.out_of_order.available(), p.b.stack.out_of_order.capacity());
}

/// Data of one way is lost while the other flows: acknowledgments ride on data and carry the reports along.
#[test]
fn reports_ride_on_data() {
    let (mut p, a, b) = Pair::warm(&with(|_| ()), US(100));
    p.a.queue().fate = data_frames(|k| if k == 2 { Fate::Drop } else { Fate::Pass });
    for _ in 0..10 {
        p.send_segments(a, 1);
        let data = p.b.buffer(MSS, 0);
        p.b.send(p.now, b, &data, 9).unwrap();
        p.rounds(1, US(100));
    }
    p.rounds(20, US(100));
    assert_eq!((p.got(), p.a.app.received.len()), (10, 10 * MSS));
    assert_eq!((p.a_count().rtos, p.b.stack.counters().rtos), (0, 0));
}
