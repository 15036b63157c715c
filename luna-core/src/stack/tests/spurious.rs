//! Retransmissions that were not needed: found out, taken back and learned from (Eifel, F-RTO, D-SACK, RACK's window);
//! reports that the peer takes back (RFC 2018 §8).

use super::harness::*;
use super::recovery::{MSS, data_frames, drop_frames, noted, with};
use crate::stack::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;
use crate::wire::{SeqNum, TcpPacket};

const US: fn(u64) -> Duration = Duration::from_micros;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// The first of ten segments is held back until it was sent again; then it comes.
fn overtaken(p: &mut Pair, a: ConnId) {
    p.a.queue().fate = data_frames(|k| if k == 1 { Fate::Park } else { Fate::Pass });
    p.send_segments(a, 10);
    p.rounds(2, US(100));
    p.a.queue().unpark(1);
    p.rounds(3, US(100));
}

#[test]
fn a_retransmission_reported_twice_is_taken_back_and_widens_the_window() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let (window, before) = (p.info_a(a).cwnd, p.a_count());
    assert_eq!(p.info_a(a).reo_wnd_mult, 1);
    overtaken(&mut p, a);
    let c = p.a_count();
    assert_eq!((c.retransmits - before.retransmits, c.fast_recoveries, c.rtos), (1, 1, 0));
    assert_eq!((c.dsacks_in, c.undos_dsack, c.undos_eifel), (1, 1, 0));
    assert_eq!(p.b.stack.counters().dsacks_out, 1);
    let info = p.info_a(a);
    assert_eq!((info.reo_wnd_mult, info.undos, info.dsacks), (2, 1, 1));
    assert!(info.cwnd >= window, "{} of {window}", info.cwnd);
    assert_eq!(p.got(), 10);
    assert_eq!(p.b.stack.counters().bytes_in, u64::from(p.a_count().bytes_out as u32), "delivered once");
}

#[test]
fn a_loss_is_not_taken_back() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let window = p.info_a(a).cwnd;
    p.a.queue().fate = drop_frames(&[1, 4]);
    p.send_segments(a, 10);
    p.rounds(10, US(100));
    let c = p.a_count();
    assert_eq!((c.fast_recoveries, c.undos_dsack + c.undos_eifel + c.undos_frto, c.dsacks_in), (1, 0, 0));
    assert!(p.info_a(a).cwnd < window);
}

/// Neighbours change places: no segment is sent twice, because RACK waits a quarter of a round trip.
#[test]
fn reordering_within_the_window_sends_nothing_twice() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let before = p.a_count();
    p.a.queue().fate = data_frames(|k| if k % 3 == 1 { Fate::Late } else { Fate::Pass });
    for _ in 0..10 {
        p.send_segments(a, 9);
        p.rounds(2, US(100));
    }
    p.rounds(10, US(100));
    assert_eq!(p.got(), 90);
    let c = p.a_count();
    assert_eq!((c.retransmits - before.retransmits, c.fast_recoveries, c.rtos), (0, 0, 0));
    assert_eq!((c.reorderings, p.info_a(a).reordering_seen), (1, true));
}

/// Once reordering was seen, three reports above are no loss: the reordering timer decides.
#[test]
fn known_reordering_is_waited_out_by_the_timer() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(400));
    p.a.queue().fate = data_frames(|k| if k == 1 { Fate::Late } else { Fate::Pass });
    p.send_segments(a, 4);
    p.rounds(3, US(400));
    assert!(p.info_a(a).reordering_seen);
    let before = p.a_count();
    // Now one is really lost: five reports above it, and still a wait of a quarter of the round trip.
    p.a.queue().fate = drop_frames(&[1]);
    p.send_segments(a, 6);
    p.rounds(1, US(400));
    let Turn::Busy = p.a.stack.turn(p.now, 256, &mut p.a.app) else { panic!("reports arrived") };
    assert_eq!(p.a_count().retransmits, before.retransmits, "not yet");
    assert_eq!(p.info_a(a).sacked, 5);
    p.now = p.now + US(50);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!(p.a_count().retransmits, before.retransmits, "not yet");
    p.now = p.now + US(120);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let c = p.a_count();
    assert_eq!((c.retransmits - before.retransmits, c.rack_timeouts - before.rack_timeouts), (1, 1));
    p.rounds(3, US(400));
    assert_eq!((p.got(), p.a_count().rtos), (10, 0));
}

/// Reordering beyond the window is learned from D-SACKs: in the end nothing is sent twice.
#[test]
fn the_window_grows_until_reordering_costs_nothing() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(400));
    let mut spurious = Vec::new();
    for _ in 0..8 {
        let before = p.a_count().retransmits;
        p.a.queue().fate = data_frames(|k| if k == 1 { Fate::Park } else { Fate::Pass });
        p.send_segments(a, 8);
        // The first is 200 µs late.
        p.a.stack.turn(p.now, 256, &mut p.a.app);
        p.now = p.now + US(200);
        p.b.stack.turn(p.now, 256, &mut p.b.app);
        for step in 0..20 {
            p.now = p.now + US(50);
            if step == 3 {
                p.a.queue().unpark(1);
            }
            p.a.stack.turn(p.now, 256, &mut p.a.app);
            if step >= 3 {
                p.b.stack.turn(p.now, 256, &mut p.b.app);
            }
        }
        p.rounds(10, US(400));
        spurious.push(p.a_count().retransmits - before);
    }
    assert_eq!(p.got(), 64);
    assert!(spurious[0] > 0, "{spurious:?}: to be learned");
    assert_eq!(spurious[6..], [0, 0], "{spurious:?}: learned, window {} quarters", p.info_a(a).reo_wnd_mult);
    assert!(p.a_count().undos_dsack >= 1);
}

/// A whole flight is held up for longer than the timeout, then arrives.
fn delay_spike(p: &mut Pair, a: ConnId, segments: usize) {
    p.a.queue().fate = Box::new(|s: &TcpPacket, _| if s.payload_len > 0 { Fate::Park } else { Fate::Pass });
    p.send_segments(a, segments);
    let before = p.a_count().rtos;
    while p.a_count().rtos == before {
        p.rounds(1, US(100));
    }
}

#[test]
fn a_delay_that_fools_the_timer_is_found_out_by_time_stamps() {
    for rack in [true, false] {
        let (mut p, a, _) = Pair::warm(&with(|t| t.rack = rack), US(100));
        let window = p.info_a(a).cwnd;
        delay_spike(&mut p, a, 8);
        assert!(p.info_a(a).cwnd <= MSS as u32);
        p.a.queue().fate = Box::new(|_, _| Fate::Pass);
        p.a.queue().unpark(100);
        p.rounds(1, US(100));
        p.a.stack.turn(p.now, 256, &mut p.a.app);
        let c = p.a_count();
        assert_eq!((c.undos_eifel, c.undos_frto, p.info_a(a).undos), (1, 0, 1), "rack {rack}: {c:?}");
        assert!(p.info_a(a).cwnd >= window, "rack {rack}: {} of {window}", p.info_a(a).cwnd);
        // The probe, if any, and the head: nothing else was sent again.
        assert_eq!(c.retransmits, 1 + u64::from(rack));
        p.rounds(5, US(100));
        assert_eq!((p.got(), p.a_count().retransmits), (8, 1 + u64::from(rack)));
        // RFC 4015: the timeout has grown with the delay.
        assert!(p.info_a(a).rto > MS(4), "{:?}", p.info_a(a).rto);
    }
}

#[test]
fn a_delay_that_fools_the_timer_is_found_out_by_f_rto() {
    for sack in [true, false] {
        let o = with(|t| (t.timestamps, t.sack, t.rack) = (false, sack, false));
        let (mut p, a, _) = Pair::warm(&o, US(100));
        p.a.conn_mut(a).congestion_for_tests(8 * 1460);
        p.send_segments(a, 0);
        delay_spike(&mut p, a, 16);
        // Two of the originals come in, and their acknowledgment.
        p.a.queue().unpark(2);
        p.rounds(1, US(100));
        p.a.stack.turn(p.now, 256, &mut p.a.app);
        assert_eq!(p.a_count().retransmits, 1, "new data goes out instead of retransmissions");
        p.a.queue().fate = Box::new(|_, _| Fate::Pass);
        p.a.queue().unpark(100);
        p.rounds(1, US(100));
        p.a.stack.turn(p.now, 256, &mut p.a.app);
        let c = p.a_count();
        assert_eq!((c.undos_frto, c.undos_eifel, c.retransmits), (1, 0, 1), "sack {sack}: {c:?}");
        assert!(p.info_a(a).cwnd >= 8 * 1460);
        p.rounds(10, US(100));
        assert_eq!(p.b.app.received.len(), 16 * MSS);
    }
}

#[test]
fn a_timeout_that_was_right_is_not_taken_back() {
    for timestamps in [true, false] {
        for sack in [true, false] {
            let o = with(|t| (t.timestamps, t.sack, t.rack) = (timestamps, sack, false));
            let (mut p, a, _) = Pair::warm(&o, US(100));
            p.a.queue().fate = data_frames(|k| if k <= 10 { Fate::Drop } else { Fate::Pass });
            p.send_segments(a, 10);
            p.rounds(5, US(100));
            p.send_segments(a, 10);
            p.rounds(200, US(100));
            let c = p.a_count();
            assert_eq!(p.b.app.received.len(), 20 * MSS, "{c:?}");
            assert_eq!(c.undos_dsack + c.undos_eifel + c.undos_frto, 0, "{c:?}");
        }
    }
}

/// F-RTO's second acknowledgment brings nothing that was sent before the timeout: the loss was real.
#[test]
fn f_rto_sees_a_timeout_that_was_right() {
    for sack in [true, false] {
        let o = with(|t| (t.timestamps, t.sack, t.rack) = (false, sack, false));
        let (mut p, a, _) = Pair::warm(&o, US(100));
        p.a.conn_mut(a).congestion_for_tests(10 * 1460);
        p.a.queue().fate = data_frames(|k| if k <= 10 { Fate::Drop } else { Fate::Pass });
        p.send_segments(a, 20);
        p.rounds(300, US(100));
        let c = p.a_count();
        assert_eq!(p.b.app.received.len(), 20 * MSS, "{c:?}");
        assert_eq!((c.rtos >= 1, c.undos_frto, c.undos_dsack), (true, 0, 0), "sack {sack}: {c:?}");
    }
}

#[test]
fn a_timeout_whose_retransmission_arrives_twice_is_taken_back_by_dsack() {
    // Neither time stamps nor new data: only the D-SACK tells.
    let (mut p, a, _) = Pair::warm(&with(|t| (t.timestamps, t.rack) = (false, false)), US(100));
    let window = p.info_a(a).cwnd;
    delay_spike(&mut p, a, 1);
    p.a.queue().fate = Box::new(|_, _| Fate::Pass);
    p.a.queue().unpark(100);
    p.rounds(2, US(100));
    let c = p.a_count();
    assert_eq!((c.undos_dsack, c.dsacks_in, c.rtos), (1, 1, 1));
    assert!(p.info_a(a).cwnd >= window);
}

#[test]
fn an_impossible_echo_is_not_believed() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    delay_spike(&mut p, a, 4);
    let una = p.a.conn(a).snd_una;
    let tsval = p.a.conn(a).ts_recent;
    let future = p.a.conn(a).tsval(p.now.as_millis_u32()) + 1000;
    p.a.forge(a, |f| (f.ack, f.ts) = (una + 1448, Some((tsval, future))));
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let c = p.a_count();
    assert_eq!((c.bad_tsecr, c.undos_eifel), (1, 0));
}

#[test]
fn backoff_lasts_until_a_round_trip_was_measured() {
    // Karn: without time stamps the acknowledgment of a retransmission measures nothing.
    let (mut p, a, _) = Pair::warm(&with(|t| (t.timestamps, t.rack) = (false, false)), US(100));
    p.a.queue().fate = drop_frames(&[1, 2, 3]);
    p.send_segments(a, 1);
    p.rounds(1000, US(100));
    assert_eq!((p.got(), p.a_count().rtos, p.a.conn(a).backoff), (1, 3, 3));
    p.send_segments(a, 2);
    p.rounds(10, US(100));
    assert_eq!(p.a.conn(a).backoff, 0);
    // With them it does.
    let (mut p, a, _) = Pair::warm(&with(|t| t.rack = false), US(100));
    p.a.queue().fate = drop_frames(&[1, 2, 3]);
    p.send_segments(a, 1);
    p.rounds(1000, US(100));
    assert_eq!((p.a_count().rtos, p.a.conn(a).backoff), (3, 0));
    assert!(p.info_a(a).srtt < US(200));
}

/// The peer reports segments, then acknowledges up to them and asks again: it has them no more.
#[test]
fn reports_can_be_taken_back() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let (fate, seen) = noted(|_| Fate::Drop);
    p.a.queue().fate = fate;
    let una = p.a.conn(a).snd_una;
    p.send_segments(a, 6);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let at = |k: u32| una + k * MSS as u32;
    let sack = |p: &mut Pair, ack: SeqNum, block: Option<(SeqNum, SeqNum)>| {
        p.now = p.now + US(100);
        p.a.forge(a, |f| (f.ack, f.sack) = (ack, block.into_iter().collect()));
        p.a.stack.turn(p.now, 256, &mut p.a.app);
    };
    sack(&mut p, at(0), Some((at(2), at(4))));
    assert_eq!(p.info_a(a).sacked, 2);
    sack(&mut p, at(2), None);
    assert_eq!((p.a_count().reneged, p.info_a(a).sacked), (0, 2), "once may be a matter of order");
    let before = seen.borrow().len();
    sack(&mut p, at(2), None);
    assert_eq!((p.a_count().reneged, p.info_a(a).sacked), (1, 0));
    assert!(seen.borrow()[before..].contains(&at(2)), "{:?}", seen.borrow());
    // All of the data was kept: it arrives.
    p.a.queue().fate = Box::new(|_, _| Fate::Pass);
    p.rounds(300, US(100));
    assert!(p.a_count().retransmits > 0);
}

/// The same behind a timeout, where PRR has no part.
#[test]
fn a_peer_that_takes_reports_back_after_a_timeout_is_sent_the_data_again() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
    let una = p.a.conn(a).snd_una;
    p.send_segments(a, 6);
    assert!(p.run_until(MS(50), |p| p.a.stack.counters().rtos == 1));
    let at = |k: u32| una + k * MSS as u32;
    for (ack, block) in [(0, Some((2, 4))), (2, None), (2, None)] {
        p.a.forge(a, |f| (f.ack, f.sack) = (at(ack), block.map(|(l, r)| (at(l), at(r))).into_iter().collect()));
        p.a.stack.turn(p.now, 256, &mut p.a.app);
    }
    assert_eq!((p.a_count().reneged, p.info_a(a).sacked), (1, 0));
    let again = p.a_count().retransmits;
    p.rounds(100, US(100));
    assert!(p.a_count().retransmits > again);
}

/// The timer asks instead of the peer.
#[test]
fn a_peer_that_took_reports_back_and_is_silent_is_sent_the_data_again() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    p.a.queue().fate = Box::new(|s, _| if s.payload_len > 0 { Fate::Drop } else { Fate::Pass });
    let una = p.a.conn(a).snd_una;
    p.send_segments(a, 4);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    let at = |k: u32| una + k * MSS as u32;
    p.a.forge(a, |f| (f.ack, f.sack) = (at(0), vec![(at(1), at(3))]));
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    p.a.forge(a, |f| f.ack = at(1));
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!(p.a_count().reneged, 0);
    p.now = p.now + US(300);
    p.a.stack.turn(p.now, 256, &mut p.a.app);
    assert_eq!((p.a_count().reneged, p.a_count().rtos), (1, 0));
}

/// Ten segments in flight of which nothing arrives but what is forged, at one moment.
fn silent(change: impl Fn(&mut TcpConfig)) -> (Pair, ConnId, impl Fn(u32) -> SeqNum) {
    let (mut p, a, _) = Pair::warm(&with(change), US(100));
    p.a.queue().fate = Box::new(|_, _| Fate::Drop);
    p.send_segments(a, 10);
    p.a.turn(p.now);
    let una = p.a.conn(a).snd_una;
    (p, a, move |n| una + n * MSS as u32)
}

/// An acknowledgment with an echo of this very moment.
fn tell(p: &mut Pair, conn: ConnId, ack: SeqNum, blocks: &[(SeqNum, SeqNum)]) {
    let echo = p.a.conn(conn).tsval(p.now.as_millis_u32());
    p.a.forge(conn, |f| {
        f.ack = ack;
        f.sack = blocks.to_vec();
        f.ts = f.ts.map(|(tsval, _)| (tsval, echo));
    });
    p.a.turn(p.now);
}

#[test]
fn what_arrived_twice_in_one_round_widens_the_window_once() {
    let (mut p, a, at) = silent(|_| ());
    let rest = (at(3), at(10));
    tell(&mut p, a, at(0), &[rest]);
    assert_eq!((p.a_count().retransmits, p.info_a(a).reo_wnd_mult), (3, 1));
    tell(&mut p, a, at(1), &[(at(0), at(1)), rest]);
    assert_eq!(p.info_a(a).reo_wnd_mult, 2);
    tell(&mut p, a, at(2), &[(at(1), at(2)), rest]);
    assert_eq!((p.a_count().dsacks_in, p.info_a(a).reo_wnd_mult), (2, 2), "RFC 8985 section 6.2, step 4");
}

#[test]
fn a_first_block_within_the_second_is_of_what_came_twice() {
    let (mut p, a, at) = silent(|_| ());
    tell(&mut p, a, at(0), &[(at(5), at(6)), (at(3), at(10))]);
    assert_eq!((p.a_count().dsacks_in, p.info_a(a).sacked), (1, 7));
    // Beside it: two reports.
    tell(&mut p, a, at(0), &[(at(1), at(2)), (at(3), at(10))]);
    assert_eq!((p.a_count().dsacks_in, p.info_a(a).sacked), (1, 8));
}

#[test]
fn duplicates_before_an_acknowledgment_that_advances_do_not_count_behind_it() {
    let (mut p, a, at) = silent(|t| t.sack = false);
    for ack in [0, 0, 1, 1, 1] {
        tell(&mut p, a, at(ack), &[]);
    }
    assert_eq!(p.a_count().fast_recoveries, 0, "two, and two again");
    tell(&mut p, a, at(1), &[]);
    assert_eq!(p.a_count().fast_recoveries, 1);
}

#[test]
fn a_widened_reordering_window_is_narrow_again_after_sixteen_recoveries() {
    let (mut p, a, _) = Pair::warm(&with(|_| ()), US(100));
    let cold = &mut p.a.conn_mut(a).cold;
    (cold.reo_wnd_mult, cold.reo_wnd_persist) = (5, 16);
    for n in 1..=16 {
        p.a.queue().fate = drop_frames(&[3]);
        p.send_segments(a, 10);
        p.rounds(4, US(100));
        let widened = if n < 16 { 5 } else { 1 };
        assert_eq!((p.a_count().fast_recoveries, p.info_a(a).reo_wnd_mult), (n, widened));
    }
}
