//! Devices that cut large frames into segments: what is left to them, and that nobody else notices.

use super::harness::*;
use super::loss::exchange;
use crate::nic::NicQueue;
use crate::parts::IPV6;
use crate::slab::NIL;
use crate::stack::ConnId;
use crate::tcp::TcpConfig;
use crate::tcp::congestion::CongestionKind;
use crate::time::Duration;
use crate::zbuf::Frag;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// Payload of a segment at MTU 1500, with timestamps.
const MSS: u64 = 1448;

fn options(tso: u32) -> Options {
    let tcp = TcpConfig { rcv_wnd: 256 << 10, initial_window: 64, ..TcpConfig::DATACENTER };
    Options { tcp_a: tcp, tcp_b: tcp, checksum_offload: true, tso, ..Options::default() }
}

/// a sends `n` buffers of `len`; the frames that its queue was handed, and those that went over the wire.
fn one_way(o: &Options, n: usize, len: usize) -> (Pair, u64, u64) {
    let (mut p, a, _) = Pair::open(o);
    let before = (p.a.queue().count, p.a.queue().inner.stats().tx_frames);
    for i in 0..n {
        let data = p.a.buffer(len, i * len);
        p.a.send(p.now, a, &data, i as u64).unwrap();
    }
    assert!(p.run_until(MS(50), |p| p.b.app.received.len() == n * len));
    expect_pattern(&p.b.app.received, n * len);
    p.run(MS(1));
    let frames = p.a.queue().count - before.0;
    let wire = p.a.queue().inner.stats().tx_frames - before.1;
    (p, frames, wire)
}

#[test]
#[cfg_attr(not(feature = "tso"), ignore = "needs tso")]
fn the_device_is_given_frames_of_many_segments_and_the_wire_sees_the_same() {
    let total = 60_000u64;
    let segments = total.div_ceil(MSS);
    let (p, frames, wire) = one_way(&options(0), 6, 10_000);
    assert_eq!((frames, wire), (segments, segments), "without TSO each segment is a frame");
    let plain = *p.a.stack.counters();
    for (tso, most) in [(65_000, 1), (16_000, 5), (3000, 21), (1448, segments), (1000, segments), (u32::MAX, 1)] {
        let (mut p, frames, wire) = one_way(&options(tso), 6, 10_000);
        assert_eq!(wire, segments, "no short segment in the middle of the stream (TSO of {tso})");
        assert!(frames <= most, "{frames} frames for {total} bytes at {tso}");
        let c = p.a.stack.counters();
        assert_eq!(
            (c.segments_out, c.bytes_out),
            (plain.segments_out, plain.bytes_out),
            "segments are counted, not frames"
        );
        assert_eq!((c.retransmits, c.rtos), (0, 0));
        assert_eq!((p.a.queue().inner.stats().tx_dropped, p.b.stack.counters().bytes_in), (0, total));
    }
}

#[test]
#[cfg_attr(not(feature = "tso"), ignore = "needs tso")]
fn windows_hold_large_frames_back_as_they_hold_segments() {
    for rcv_wnd in [8 << 10, 20_000, 32 << 10] {
        let tcp = TcpConfig { rcv_wnd, rcv_budget: 2 * rcv_wnd, initial_window: 10, ..TcpConfig::DATACENTER };
        let o = Options { tcp_a: tcp, tcp_b: tcp, ..options(65_000) };
        let (p, frames, wire) = one_way(&o, 10, 10_000);
        assert!(frames < wire, "{frames} frames, {wire} segments");
        assert_eq!(p.a.stack.counters().retransmits, 0);
    }
}

/// 90 fragments of 500 bytes cross, as the pattern; how many bytes.
fn send_crumbs(p: &mut Pair, a: ConnId) -> u64 {
    let (pieces, len) = (90, 500);
    for at in (0..pieces).step_by(9) {
        let mut iov = heapless::Vec::<Frag, 9>::new();
        for i in at..at + 9 {
            iov.push(Frag::from(p.a.buffer(len, i * len))).unwrap();
        }
        p.a.stack.cx(p.now).send(a, &mut iov, at as u64).unwrap();
    }
    assert!(p.run_until(MS(50), |p| p.b.app.received.len() == pieces * len));
    expect_pattern(&p.b.app.received, pieces * len);
    (pieces * len) as u64
}

/// More fragments than a frame takes: it ends at the end of a segment, not where the fragments ran out.
#[test]
fn many_fragments_make_no_short_segments() {
    let o = options(65_000);
    let (mut p, a, _) = Pair::open(&o);
    let before = p.a.queue().inner.stats().tx_frames;
    let bytes = send_crumbs(&mut p, a);
    let wire = p.a.queue().inner.stats().tx_frames - before;
    assert_eq!(wire, bytes.div_ceil(MSS));
}

#[test]
fn nagle_keeps_the_short_end_back() {
    let tcp = TcpConfig { nagle: true, ..options(0).tcp_a };
    let o = Options { tcp_a: tcp, ..options(65_000) };
    let (mut p, a, _) = Pair::open(&o);
    let data = p.a.buffer(4 * MSS as usize + 100, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    p.a.turn(p.now);
    let sent = p.a.stack.counters().bytes_out;
    assert_eq!(sent, 4 * MSS, "whole segments only, while something is in flight");
    assert!(p.run_until(MS(50), |p| p.b.app.received.len() == data.len() as usize));
}

/// Large frames are lost whole, late, or twice: they are repaired segment by segment.
#[test]
fn lost_large_frames_are_repaired() {
    for every in [2, 3, 5] {
        for (timestamps, ipv6) in [(true, false), (false, false), (true, IPV6), (false, IPV6)] {
            let tcp = TcpConfig { timestamps, ..options(0).tcp_a };
            let o = Options { tcp_a: tcp, tcp_b: tcp, ipv6, ..options(65_000) };
            let p = exchange(&o, 6, 12_000, |p| {
                for end in [&mut p.a, &mut p.b] {
                    let mut n = 0;
                    end.queue().fate = Box::new(move |s, _| {
                        n += u64::from(s.payload_len > 0);
                        if s.payload_len > 0 && n % every == 0 && n < 30 { Fate::Drop } else { Fate::Pass }
                    });
                }
            });
            assert!(p.a.stack.counters().retransmits > 0);
        }
    }
}

/// What is off the plain path, and the payload of its segments.
fn not_plain() -> Vec<(Options, u64)> {
    let bare = TcpConfig { timestamps: false, ..options(0).tcp_a };
    let with = |ipv6, vlan, tcp_a| Options { ipv6, vlan, tcp_a, tcp_b: tcp_a, ..options(65_000) };
    let usual = options(0).tcp_a;
    let mut all = vec![(with(false, Some(7), usual), MSS), (with(false, None, bare), MSS + 12)];
    if IPV6 {
        all.extend([(with(true, None, usual), MSS - 20), (with(true, Some(7), bare), MSS - 8)]);
    }
    all
}

#[test]
#[cfg_attr(not(feature = "tso"), ignore = "needs tso")]
fn ipv6_tags_and_missing_timestamps_keep_nothing_from_being_sent_large() {
    for (o, mss) in not_plain() {
        let segments = 60_000u64.div_ceil(mss);
        let (p, frames, wire) = one_way(&Options { tso: 0, ..o.clone() }, 6, 10_000);
        let plain = *p.a.stack.counters();
        assert_eq!((frames, wire), (segments, segments), "without TSO each segment is a frame");
        for (tso, most) in [(65_000, 1), (16_000, 5), (3000, 21), (1400, segments), (u32::MAX, 1)] {
            let (mut p, frames, wire) = one_way(&Options { tso, ..o.clone() }, 6, 10_000);
            assert_eq!(wire, segments, "no short segment in the middle of the stream (TSO of {tso})");
            assert!(frames <= most, "{frames} frames of {segments} segments at {tso}");
            let c = *p.a.stack.counters();
            assert_eq!((c.retransmits, c.rtos), (0, 0));
            let counted = (c.segments_out, c.bytes_out);
            assert_eq!(counted, (plain.segments_out, plain.bytes_out), "segments are counted, not frames");
            assert_eq!(p.a.queue().inner.stats().tx_dropped, 0);
        }
    }
}

/// A port that cuts frames of one family only is given those.
#[test]
#[cfg_attr(not(all(feature = "ipv6", feature = "tso")), ignore = "needs ipv6 and tso")]
fn each_family_has_a_capability_of_its_own() {
    for (ipv6, v4, v6) in [(false, 65_000, 0), (false, 0, 65_000), (true, 65_000, 0), (true, 0, 65_000)] {
        let o = Options { ipv6, ..options(65_000) };
        let (mut p, a, _) = Pair::open(&o);
        p.a.queue().set_caps(|c| (c.max_tso_payload, c.max_tso_payload_v6) = (v4, v6));
        let before = p.a.queue().count;
        let data = p.a.buffer(10_000, 0);
        p.a.send(p.now, a, &data, 0).unwrap();
        assert!(p.run_until(MS(50), |p| p.b.app.received.len() == 10_000));
        let large = if ipv6 { v6 } else { v4 } != 0;
        assert_eq!(p.a.queue().count - before, if large { 1 } else { 10_000u64.div_ceil(MSS - 20 * u64::from(ipv6)) });
    }
}

/// More fragments than a frame takes, and foreign memory, whose pieces are not known: frames end at the end of a segment.
#[test]
#[cfg_attr(not(feature = "tso"), ignore = "needs tso")]
fn fragments_end_a_large_frame_where_a_segment_does() {
    for (o, mss) in not_plain() {
        let (mut p, a, _) = Pair::open(&o);
        let before = (p.a.queue().count, p.a.queue().inner.stats().tx_frames);
        let bytes = send_crumbs(&mut p, a);
        let wire = p.a.queue().inner.stats().tx_frames - before.1;
        assert_eq!(wire, bytes.div_ceil(mss));
        assert!(p.a.queue().count - before.0 <= 8, "17 fragments of 500 bytes are five segments");
    }
}

/// FIN goes with the last of the data, on its last segment.
#[test]
fn a_large_frame_ends_the_stream() {
    for (o, mss) in not_plain() {
        let (mut p, a, _) = Pair::open(&o);
        let before = p.a.queue().inner.stats().tx_frames;
        let data = p.a.buffer(10_000, 0);
        p.a.send(p.now, a, &data, 0).unwrap();
        p.a.stack.cx(p.now).close(a).unwrap();
        assert!(p.run_until(MS(50), |p| p.b.app.received.len() == 10_000));
        expect_pattern(&p.b.app.received, 10_000);
        assert_eq!(p.a.queue().inner.stats().tx_frames - before, 10_000u64.div_ceil(mss), "FIN is no frame of its own");
        p.run(MS(1));
        assert_eq!(p.a.stack.counters().retransmits, 0);
    }
}

/// Each segment has a fate of its own once one is lost: records of large frames are cut, and new ones are not made.
#[test]
#[cfg_attr(not(feature = "tso"), ignore = "needs tso")]
fn records_of_large_frames_are_cut_in_disorder() {
    for (o, mss) in not_plain() {
        let o = Options { tso: 16_000, ..o };
        let (mut p, a, _) = Pair::open(&o);
        let records = |p: &Pair| {
            let c = p.a.conn(a);
            let next = |i: &u32| Some(p.a.stack.segments.at(*i).next).filter(|i| *i != NIL);
            let each = core::iter::successors(Some(c.segments.head).filter(|i| *i != NIL), next);
            let longest = each.map(|i| p.a.stack.segments.at(i).len).max();
            (c.flags.disorder(), u64::from(longest.unwrap_or(0)))
        };
        let mut large = 0;
        p.a.queue().fate = Box::new(move |s, _| {
            large += u64::from(s.payload_len > 1460);
            if large == 1 && s.payload_len > 1460 { Fate::Drop } else { Fate::Pass }
        });
        for i in 0..20 {
            let data = p.a.buffer(10_000, i * 10_000);
            p.a.send(p.now, a, &data, i as u64).unwrap();
        }
        p.a.turn(p.now);
        assert!(records(&p).1 > mss, "frames of many segments");
        let mut disorder = 0;
        for _ in 0..2000 {
            p.b.turn(p.now);
            p.a.turn(p.now);
            let (disordered, longest) = records(&p);
            if disordered {
                disorder += 1;
                assert!(longest <= mss, "a record of {longest} bytes in disorder");
            }
            p.now = p.now + Duration::from_micros(10);
        }
        assert!(disorder > 0 && p.b.app.received.len() == 200_000);
        expect_pattern(&p.b.app.received, 200_000);
        let c = p.a.stack.counters();
        // On a wire without delay a repair and what is new leave at the same moment, and it is taken for lost once.
        assert_eq!(c.retransmits - c.lost_retransmits, 16_000 / mss, "what was lost, and nothing else");
    }
}

/// Reports of what arrived out of order take room in every segment: they are not sent large.
#[test]
#[cfg_attr(not(feature = "tso"), ignore = "needs tso")]
fn segments_with_reports_are_sent_one_by_one() {
    for (o, mss) in not_plain() {
        let (mut p, a, b) = Pair::open(&o);
        let plain = if o.tcp_a.timestamps { 32 } else { 20 };
        let mut n = 0;
        p.b.queue().fate = Box::new(move |s, _| {
            n += u64::from(s.payload_len > 0);
            if n == 1 && s.payload_len > 0 { Fate::Drop } else { Fate::Pass }
        });
        let reports = std::rc::Rc::new(core::cell::Cell::new(0));
        let count = reports.clone();
        p.a.queue().fate = Box::new(move |s, _| {
            if s.tcp.header_len > plain && s.payload_len > 0 {
                count.set(count.get() + 1);
                assert!(u64::from(s.payload_len) < mss, "{} bytes behind a report", s.payload_len);
            }
            Fate::Pass
        });
        // The first of b's does not arrive, the second does: what a sends then says so.
        for i in 0..2 {
            let data = p.b.buffer(1000, i * 1000);
            p.b.send(p.now, b, &data, i as u64).unwrap();
            p.b.turn(p.now);
        }
        p.a.turn(p.now);
        let data = p.a.buffer(10_000, 0);
        p.a.send(p.now, a, &data, 0).unwrap();
        assert!(p.run_until(MS(50), |p| p.b.app.received.len() == 10_000 && p.a.app.received.len() == 2000));
        assert!(reports.get() > 1, "{} segments with reports", reports.get());
    }
}

/// Nor is what has telemetry in it, or is paced.
#[test]
#[cfg_attr(not(all(feature = "controllers", feature = "tso")), ignore = "needs controllers and tso")]
fn telemetry_and_pace_want_segments() {
    for (o, _) in not_plain() {
        let hpcc = TcpConfig { congestion: CongestionKind::Hpcc, ..o.tcp_a };
        let (_, frames, wire) = one_way(&Options { tcp_a: hpcc, tcp_b: hpcc, ..o }, 6, 10_000);
        assert_eq!(frames, wire);
    }
}
