//! Loss repaired without the retransmission timer: RACK-TLP (RFC 8985), PRR (RFC 9937), RFC 6675, limited transmit
//! (RFC 3042); and what a connection does that has no record for it.

use core::cell::RefCell;
use std::rc::Rc;

use super::harness::*;
use crate::counters::Counters;
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;
use crate::wire::{SeqNum, TcpPacket};

const US: fn(u64) -> Duration = Duration::from_micros;
const MS: fn(u64) -> Duration = Duration::from_millis;
pub(super) const MSS: usize = 1448;

pub(super) fn with(change: impl Fn(&mut TcpConfig)) -> Options {
    let mut tcp = TcpConfig::DATACENTER;
    change(&mut tcp);
    Options { tcp_a: tcp, tcp_b: tcp, ..Options::default() }
}

impl Pair {
    /// `n` round trips of `rtt`: what one side sends is with the other half of it later.
    pub(super) fn rounds(&mut self, n: u32, rtt: Duration) {
        let half = Duration::from_nanos(rtt.as_nanos() / 2);
        for _ in 0..n {
            self.a.stack.turn(self.now, 256, &mut self.a.app);
            self.now = self.now + half;
            self.b.stack.turn(self.now, 256, &mut self.b.app);
            self.now = self.now + half;
        }
    }

    /// A connection whose path is known: `rtt`, and a window of some hundred segments.
    pub(super) fn warm(o: &Options, rtt: Duration) -> (Self, ConnId, ConnId) {
        let mut p = Self::new(o);
        let now = p.now;
        p.b.stack.cx(now).listen(Bind::port(PORT), 5).unwrap();
        let a = p.a.stack.cx(now).connect(Connect::to((addr(o, 2), PORT).into())).unwrap();
        p.rounds(3, rtt);
        let b = p.b.app.accepted[0].0;
        for _ in 0..30 {
            p.send_segments(a, 2);
            p.rounds(2, rtt);
        }
        p.rounds(20, rtt);
        p.b.app.received.clear();
        p.a.app.released.clear();
        let srtt = p.info_a(a).srtt;
        assert!(srtt >= Duration::from_nanos(rtt.as_nanos() / 2) && srtt <= rtt.times(2), "{srtt:?}");
        (p, a, b)
    }

    pub(super) fn send_segments(&mut self, conn: ConnId, n: usize) {
        for _ in 0..n {
            let data = self.a.buffer(MSS, 0);
            self.a.send(self.now, conn, &data, 1).unwrap();
        }
    }

    /// What b has of the last `n` segments.
    pub(super) fn got(&self) -> usize {
        self.b.app.received.len() / MSS
    }

    pub(super) fn a_count(&self) -> Counters {
        *self.a.stack.counters()
    }
}

/// Counts data frames from where it stands, and does `fate` to the k-th, the first being 1.
pub(super) fn data_frames(fate: impl Fn(u64) -> Fate + 'static) -> FateFn {
    let mut k = 0;
    Box::new(move |s: &TcpPacket, _| {
        if s.payload_len == 0 {
            return Fate::Pass;
        }
        k += 1;
        fate(k)
    })
}

pub(super) fn drop_frames(which: &'static [u64]) -> FateFn {
    data_frames(move |k| if which.contains(&k) { Fate::Drop } else { Fate::Pass })
}

/// Notes the sequence numbers of data frames, and does `fate` to the k-th.
pub(super) fn noted(fate: impl Fn(u64) -> Fate + 'static) -> (FateFn, Rc<RefCell<Vec<SeqNum>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let out = seen.clone();
    let mut k = 0;
    let f: FateFn = Box::new(move |s: &TcpPacket, _| {
        if s.payload_len == 0 {
            return Fate::Pass;
        }
        k += 1;
        seen.borrow_mut().push(s.tcp.seq);
        fate(k)
    });
    (f, out)
}

#[test]
fn one_loss_is_repaired_in_one_round_trip() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let before = p.a_count();
    p.a.queue().fate = drop_frames(&[3]);
    p.send_segments(a, 10);
    p.rounds(2, US(100));
    assert_eq!(p.got(), 10);
    let c = p.a_count();
    assert_eq!((c.retransmits - before.retransmits, c.fast_recoveries, c.rtos, c.tlp_probes), (1, 1, 0, 0));
}

#[test]
fn a_lost_tail_is_probed_for_and_repaired_without_timeout() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let window = p.info_a(a).cwnd;
    p.a.queue().fate = drop_frames(&[4]);
    p.send_segments(a, 4);
    let start = p.now;
    while p.got() < 4 {
        p.rounds(1, US(100));
        assert!(p.now.since(start) < MS(2), "{:?}", p.a_count());
    }
    // Two round trips are below the floor of 500 µs; one segment is left in flight, so the peer may delay its answer.
    assert!(p.now.since(start) >= US(700), "{:?}", p.now.since(start));
    p.rounds(1, US(100));
    let c = p.a_count();
    assert_eq!((c.tlp_probes, c.retransmits, c.rtos, c.tlp_recoveries), (1, 1, 0, 0));
    assert_eq!(p.info_a(a).tlp_probes, 1);
    // The next acknowledgment of new data proves that the probe repaired a loss: it counts as one.
    p.send_segments(a, 1);
    p.rounds(3, US(100));
    assert_eq!(p.a_count().tlp_recoveries, 1);
    assert!(p.info_a(a).cwnd < window, "{} of {window}", p.info_a(a).cwnd);
    assert!(!p.a.conn(a).flags.disorder(), "nothing is left to learn");
}

#[test]
fn a_probe_of_new_data_shows_what_else_is_lost() {
    // Two segments fit the window; a third waits.
    let (mut p, a, _) = Pair::open(&with(|t| t.initial_window = 2));
    p.run(MS(1));
    p.send_segments(a, 1);
    p.rounds(3, US(100));
    let before = p.a_count();
    p.a.conn_mut(a).congestion_for_tests(2 * MSS as u32);
    p.a.queue().fate = drop_frames(&[1, 2]);
    p.send_segments(a, 3);
    p.rounds(30, US(100));
    assert_eq!(p.got(), 4);
    let c = p.a_count();
    assert_eq!((c.tlp_probes, c.rtos, c.fast_recoveries), (1, 0, 1), "the probe was the third segment");
    assert_eq!(c.retransmits - before.retransmits, 2);
}

#[test]
fn a_probe_that_was_not_needed_costs_no_window() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let window = p.info_a(a).cwnd;
    // The acknowledgment is late.
    p.b.queue().fate = Box::new(|_, _| Fate::Park);
    p.send_segments(a, 1);
    p.rounds(15, US(100));
    assert_eq!(p.a_count().tlp_probes, 1);
    p.b.queue().fate = Box::new(|_, _| Fate::Pass);
    assert_eq!(p.b.queue().unpark(10), 0);
    p.rounds(2, US(100));
    let c = p.a_count();
    assert_eq!((c.dsacks_in, c.tlp_recoveries, c.rtos), (1, 0, 0));
    assert_eq!(p.b.stack.counters().dsacks_out, 1);
    p.send_segments(a, 2);
    p.rounds(3, US(100));
    assert_eq!((p.a_count().tlp_recoveries, p.info_a(a).dsacks), (0, 1));
    assert!(p.info_a(a).cwnd >= window);
}

#[test]
fn a_lost_retransmission_needs_no_timeout() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    // The first is lost, and so is its first retransmission, which is the 21st frame.
    let (fate, seen) = noted(|k| if k == 1 || k == 21 || k == 23 { Fate::Drop } else { Fate::Pass });
    p.a.queue().fate = fate;
    p.send_segments(a, 20);
    p.rounds(1, US(100));
    p.send_segments(a, 1);
    p.rounds(1, US(100));
    p.send_segments(a, 3);
    p.rounds(6, US(100));
    let first = seen.borrow()[0];
    assert!(seen.borrow().iter().filter(|s| **s == first).count() >= 3, "{:?}", seen.borrow());
    assert_eq!(p.got(), 24);
    let c = p.a_count();
    assert!(c.lost_retransmits >= 1, "{c:?}");
    assert_eq!(c.rtos, 0);
}

/// What the peer may take to acknowledge a lone segment is no part of the probe's timer once it has company in the same
/// burst; company that comes later leaves the timer as it is. On the plain way and on the general one.
#[test]
fn a_probe_waits_for_a_lone_segment_only_as_long_as_it_is_alone() {
    for timestamps in [true, false] {
        let (mut p, a, _) = Pair::warm(&with(|t| t.timestamps = timestamps), US(100));
        let delay = TcpConfig::DATACENTER.max_ack_delay;
        let sent_at = |p: &mut Pair, after: Duration| {
            p.now = p.now + after;
            p.send_segments(a, 1);
            p.a.turn(p.now);
            p.a.conn(a).rto_at
        };
        let alone = sent_at(&mut p, US(0));
        assert_eq!(alone.since(p.now), US(500) + delay, "the floor, and what the peer may take");
        let two = sent_at(&mut p, US(0));
        assert_eq!(two + delay, alone, "{timestamps}");
        let three = sent_at(&mut p, US(0));
        assert_eq!(three, two);
        p.rounds(10, US(100));
        assert_eq!(p.a.conn(a).in_flight(), 0);
        let alone = sent_at(&mut p, US(0));
        let later = sent_at(&mut p, US(30));
        assert_eq!(later, alone, "{timestamps}: of another burst");
        p.rounds(10, US(100));
        assert_eq!((p.a_count().tlp_probes, p.a_count().rtos), (0, 0));
    }
}

/// The probe's timer runs when the first report arrives: from then on it is the timeout that is waited for.
#[test]
fn nothing_is_probed_for_while_something_is_reported() {
    let (mut p, a, _) = Pair::warm(&with(|t| t.probe_repairs = false), US(100));
    p.a.queue().fate = drop_frames(&[1, 5]);
    p.send_segments(a, 4);
    p.rounds(100, US(100));
    let c = p.a_count();
    assert_eq!((p.got(), c.tlp_probes, c.rtos), (4, 0, 1), "{c:?}");
}

/// Ten segments of which the first is lost, and whatever `ack` says of acknowledgments that cover them all, from the first.
fn repaired_but(o: &Options, again: Fate, ack: impl Fn(u64) -> Fate + 'static) -> Pair {
    let (mut p, a, _) = Pair::warm(o, US(100));
    // The retransmission is the eleventh frame.
    p.a.queue().fate =
        data_frames(move |k| if k == 1 || k == 11 && again == Fate::Drop { Fate::Drop } else { Fate::Pass });
    let end = p.a.conn(a).snd_nxt + 10 * MSS as u32;
    let mut k = 0;
    p.b.queue().fate = Box::new(move |s: &TcpPacket, _| {
        k += u64::from(s.tcp.ack == end);
        if s.tcp.ack == end { ack(k) } else { Fate::Pass }
    });
    p.send_segments(a, 10);
    p.rounds(100, US(100));
    assert_eq!((p.got(), p.a.conn(a).in_flight()), (10, 0), "{:?}", p.a_count());
    p
}

#[test]
fn in_recovery_silence_is_probed_for_before_the_timeout() {
    let no_loss = |_| Fate::Pass;
    let c = repaired_but(&with(|_| ()), Fate::Drop, no_loss).a_count();
    assert_eq!(
        (c.repair_probes, c.tlp_probes, c.rtos),
        (1, 1, 0),
        "a retransmission that was lost, with nothing behind"
    );
    assert_eq!((c.fast_recoveries, c.undos_dsack + c.undos_eifel), (1, 0));
    let first_lost = |k| if k == 1 { Fate::Drop } else { Fate::Pass };
    let c = repaired_but(&with(|_| ()), Fate::Pass, first_lost).a_count();
    assert_eq!((c.repair_probes, c.rtos, c.dsacks_in), (1, 0, 1), "an acknowledgment that was lost");
    assert_eq!(
        (c.reorderings, c.undos_dsack + c.undos_eifel),
        (0, 0),
        "the probe came twice, and that says nothing else"
    );
    // Once for each silence: then it is the timer's turn.
    let two_lost = |k| if k <= 2 { Fate::Drop } else { Fate::Pass };
    let c = repaired_but(&with(|_| ()), Fate::Pass, two_lost).a_count();
    assert_eq!((c.repair_probes, c.rtos), (1, 1));
    let c = repaired_but(&with(|t| t.probe_repairs = false), Fate::Pass, first_lost).a_count();
    assert_eq!((c.repair_probes, c.rtos), (0, 1), "only where the settings say so");
}

#[test]
fn a_probe_is_the_last_segment_again_where_the_settings_say_so() {
    let (mut p, a, _) = Pair::warm(&with(|t| t.probe_new_data = false), US(100));
    p.a.conn_mut(a).congestion_for_tests(4 * MSS as u32);
    let (fate, seen) = noted(|_| Fate::Pass);
    p.a.queue().fate = fate;
    // Every acknowledgment of the window is lost.
    let mut left = 1;
    p.b.queue().fate = Box::new(move |_, _| {
        left -= i32::from(left >= 0);
        if left >= 0 { Fate::Drop } else { Fate::Pass }
    });
    p.send_segments(a, 8);
    p.rounds(30, US(100));
    let seen = seen.borrow();
    assert_eq!(seen[4], seen[3], "{seen:?}");
    let c = p.a_count();
    assert_eq!((p.got(), c.tlp_probes, c.rtos, c.tlp_recoveries), (8, 1, 0, 0), "{c:?}");
}

#[test]
fn without_rack_a_lost_retransmission_is_left_to_the_timer() {
    let (mut p, a, _) = Pair::warm(&with(|t| t.rack = false), US(100));
    // The 22nd is RFC 6675's rescue.
    p.a.queue().fate = drop_frames(&[1, 21, 22]);
    p.send_segments(a, 20);
    p.rounds(2, US(100));
    p.send_segments(a, 4);
    p.rounds(60, US(100));
    assert_eq!(p.got(), 24);
    let c = p.a_count();
    assert_eq!((c.lost_retransmits, c.rtos, c.tlp_probes), (0, 1, 0));
}

#[test]
fn recovery_sends_in_proportion_to_what_is_delivered() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    p.a.conn_mut(a).congestion_for_tests(20 * MSS as u32);
    let (fate, seen) = noted(|k| if k == 1 { Fate::Drop } else { Fate::Pass });
    p.a.queue().fate = fate;
    p.b.queue().fate = Box::new(|_, _| Fate::Park);
    p.send_segments(a, 60);
    p.rounds(1, US(100));
    assert_eq!(seen.borrow().len(), 20);
    // The acknowledgments arrive one by one.
    let mut sent = Vec::new();
    loop {
        let before = seen.borrow().len();
        let left = p.b.queue().unpark(1);
        p.a.stack.turn(p.now, 256, &mut p.a.app);
        sent.push(seen.borrow().len() - before);
        if left == 0 {
            break;
        }
    }
    assert_eq!(sent.len(), 19, "one acknowledgment for each segment behind the gap");
    // Before the third report nothing is lost yet: each lets a new segment out (RFC 3042). Then comes the reduction.
    assert_eq!(&sent[..2], [1, 1]);
    assert_eq!(sent[2], 1, "the fast retransmission");
    assert!(sent[3..].iter().all(|n| *n <= 1), "{sent:?}");
    let reduced: usize = sent[2..].iter().sum();
    assert!((7..=9).contains(&reduced), "{sent:?}: half of what was delivered");
    let conn = p.a.conn(a);
    assert!(conn.flags.recovery());
    let pipe = conn.pipe(&p.a.stack.recoveries, &p.a.stack.segments);
    assert!(pipe.abs_diff(10 * MSS as u32) <= 2 * MSS as u32, "{} segments in flight", pipe as usize / MSS);
    p.b.queue().fate = Box::new(|_, _| Fate::Pass);
    p.rounds(20, US(100));
    assert_eq!(p.got(), 60);
    assert_eq!((p.a_count().retransmits, p.a_count().rtos), (1, 0));
}

/// The first two duplicates let a new segment out each, though the window is full (RFC 3042).
#[test]
fn limited_transmit() {
    for (sack, rack) in [(false, false), (true, false), (true, true)] {
        let (mut p, a, _) = Pair::warm(&with(|t| (t.sack, t.rack) = (sack, rack)), US(100));
        p.a.conn_mut(a).congestion_for_tests(6 * MSS as u32);
        let (fate, seen) = noted(|k| if k == 1 { Fate::Drop } else { Fate::Pass });
        p.a.queue().fate = fate;
        p.b.queue().fate = Box::new(|_, _| Fate::Park);
        p.send_segments(a, 10);
        p.rounds(1, US(100));
        assert_eq!(seen.borrow().len(), 6);
        for n in 1..=2 {
            p.b.queue().unpark(1);
            p.a.stack.turn(p.now, 256, &mut p.a.app);
            assert_eq!(seen.borrow().len(), 6 + n, "sack {sack}, duplicate {n}");
            assert!(!p.a.conn(a).flags.recovery());
        }
        p.b.queue().unpark(1);
        p.a.stack.turn(p.now, 256, &mut p.a.app);
        assert_eq!(seen.borrow()[8], seen.borrow()[0], "the third brings the retransmission");
        p.b.queue().fate = Box::new(|_, _| Fate::Pass);
        p.b.queue().unpark(10);
        p.rounds(20, US(100));
        assert_eq!((p.got(), p.a_count().rtos), (10, 0));
    }
}

/// RFC 6675's NextSeg: below the highest report what has fewer than three above it goes out when nothing new is left; and
/// the last segment once.
#[test]
fn without_rack_suspicion_uses_the_room_that_is_left() {
    let (mut p, a, _) = Pair::warm(&with(|t| t.rack = false), US(100));
    // 1 is lost for sure; 8 has two above it; 11 and 12, the last, have none.
    p.a.queue().fate = drop_frames(&[1, 8, 11, 12]);
    p.send_segments(a, 12);
    p.rounds(60, US(100));
    assert_eq!(p.got(), 12);
    let c = p.a_count();
    assert!(c.speculative >= 2, "{c:?}");
    assert_eq!((c.fast_recoveries, c.rtos), (1, 0));
}

#[test]
fn without_a_record_the_timer_repairs_everything() {
    for sack in [true, false] {
        let o = Options { recoveries: 0, ..with(|t| t.sack = sack) };
        let (mut p, a, _) = Pair::warm(&o, US(100));
        p.a.queue().fate = drop_frames(&[2, 5, 6, 10]);
        p.send_segments(a, 10);
        p.rounds(200, US(100));
        assert_eq!(p.got(), 10, "sack {sack}: {:?}", p.a_count());
        let c = p.a_count();
        assert!(c.recovery_full > 0 && c.rtos >= 1, "{c:?}");
        assert_eq!(c.fast_recoveries, 0);
        assert!(!p.a.conn(a).flags.disorder());
        // And then the fast path again.
        let fast = c.fast_path;
        p.a.queue().fate = Box::new(|_, _| Fate::Pass);
        p.send_segments(a, 2);
        p.rounds(3, US(100));
        assert!(p.a_count().fast_path > fast);
    }
}

#[test]
fn records_come_back_when_order_is_restored() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    for _ in 0..20 {
        p.a.conn_mut(a).congestion_for_tests(64 * MSS as u32);
        p.a.queue().fate = drop_frames(&[2]);
        p.send_segments(a, 8);
        p.rounds(2, US(100));
    }
    p.rounds(100, US(100));
    assert_eq!((p.got(), p.a_count().rtos), (160, 0));
    assert_eq!(p.a.stack.recoveries.available(), p.a.stack.recoveries.capacity());
    assert!(!p.a.conn(a).flags.disorder());
    let marks = p.info_a(a);
    assert_eq!((marks.sacked, marks.lost, marks.retrans), (0, 0, 0));
}

#[test]
fn what_is_reported_lost_and_under_way_can_be_read() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    p.a.queue().fate = drop_frames(&[1, 2, 11]);
    p.send_segments(a, 10);
    p.rounds(1, US(100));
    // Nothing more may leave: what is lost stays so.
    p.a.queue().fate = Box::new(|_, _| Fate::Full);
    p.may_spin = true;
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let info = p.info_a(a);
    assert_eq!((info.sacked, info.lost, info.retrans), (8, 2, 0));
    p.a.queue().fate = drop_frames(&[2]);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let info = p.info_a(a);
    assert_eq!((info.sacked, info.lost, info.retrans), (8, 0, 2));
    assert_eq!(info.min_rtt, US(100));
    p.rounds(100, US(100));
    assert_eq!(p.got(), 10);
}

/// A blind or hostile peer: blocks of what was never sent, blocks of nothing, blocks that would cost a long walk.
#[test]
fn nonsense_reports_are_ignored_and_long_walks_cut_short() {
    let o =
        Options { records: 1 << 15, segments: Some(1 << 14), ..with(|t| (t.max_mss, t.initial_window) = (100, 8000)) };
    let (mut p, a, _) = Pair::warm(&o, US(100));
    p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
    for _ in 0..20 {
        let data = p.a.buffer(8800, 0);
        p.a.send(p.now, a, &data, 1).unwrap();
    }
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let (una, nxt) = (p.a.conn(a).snd_una, p.a.conn(a).snd_nxt);
    assert_eq!(nxt - una, 176_000);
    let before = p.a_count();
    for block in
        [(nxt, nxt + 88), (nxt - 88, nxt + 1), (una + 88, una + 88), (una + 176, una + 88), (una - (1 << 20), una)]
    {
        p.a.forge(a, |f| (f.ack, f.sack) = (una, vec![block]));
    }
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!((p.a_count().bad_sacks - before.bad_sacks, p.info_a(a).sacked), (5, 0));
    p.a.forge(a, |f| (f.ack, f.sack) = (una, vec![(nxt - 88, nxt)]));
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!((p.a_count().sack_walks_cut, p.info_a(a).sacked), (1, 0), "2000 segments on");
    p.a.forge(a, |f| (f.ack, f.sack) = (una, vec![(una + 8800, una + 17_600)]));
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!((p.a_count().sack_walks_cut, p.info_a(a).sacked), (1, 100));
}

/// A timeout forgets what was reported; when it is reported again, that is no news of the path.
#[test]
fn reports_that_a_timeout_forgot_give_no_sample_when_they_come_again() {
    let o = with(|t| {
        (t.timestamps, t.black_hole_timeouts) = (false, 0);
        (t.user_timeout, t.max_rto) = (Duration::from_secs(60), Duration::from_secs(4));
    });
    let (mut p, a, b) = Pair::warm(&o, US(100));
    let first = Rc::new(RefCell::new(None));
    p.a.queue().fate = Box::new(move |s, _| {
        let lost = s.payload_len > 0 && *first.borrow_mut().get_or_insert(s.tcp.seq) == s.tcp.seq;
        if lost { Fate::Drop } else { Fate::Pass }
    });
    p.send_segments(a, 4);
    for _ in 0..100 {
        // Data the other way carries the reports.
        let data = p.b.buffer(100, 0);
        p.b.send(p.now, b, &data, 1).unwrap();
        p.run(MS(20));
    }
    let info = p.info_a(a);
    assert!(info.srtt < MS(1), "the path has not changed: {:?}", info.srtt);
    assert!((6..12).contains(&info.rtos), "each waits twice as long as the one before: {}", info.rtos);
}
