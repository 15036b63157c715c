//! The client's view: round trips, deadlines, cancelling, names.

use std::vec::Vec;

use super::harness::{Event, KEEP_RESPONSE, Pair, carry, method, pattern};
use crate::rpc::*;
use crate::time::{Duration, Instant};
use crate::zbuf::Frag;

#[test]
fn a_call_comes_back_with_metadata_and_payload() {
    let mut pair = Pair::new();
    let body = pattern(4096);
    let call = pair.a.call(method::ECHO, b"meta", &body, None, 42).unwrap();
    assert_eq!(pair.a.session.in_flight(), 1);
    assert_eq!(pair.a.wire.tokens, [0], "nobody lent memory that is to come back");
    pair.settle(1460);
    let request =
        Event::Request { method: method::ECHO, metadata: b"meta".to_vec(), payload: body.clone(), deadline: None };
    assert_eq!(pair.b.app.events, [request]);
    let response =
        Event::Response { call, user: 42, outcome: Ok((Status::OK, b"meta".to_vec(), body)), streamed: false };
    assert_eq!(pair.a.app.events, [response]);
    assert!(pair.a.session.is_idle() && pair.b.session.is_idle());
    assert_eq!((pair.a.objs(), pair.b.objs()), (0, 0));
    let (a, b) = (pair.a.session.counters(), pair.b.session.counters());
    assert_eq!((a.calls, a.responses, a.frames_out, a.frames_in), (1, 1, 1, 1));
    assert_eq!((b.requests, b.frames_out, b.frames_in), (1, 1, 1));
    assert_eq!(b.copy_break.bytes, 0);
}

#[test]
#[cfg_attr(not(feature = "foreign"), ignore = "needs foreign")]
fn a_call_of_foreign_memory_asks_to_be_told_of_its_release() {
    let mut pair = Pair::new();
    let pool = crate::zbuf::testing::pool(1, 256);
    let memory: &'static mut [u8] = Vec::leak(pattern(4096));
    let base = core::ptr::NonNull::new(memory.as_mut_ptr()).unwrap();
    let io = crate::zbuf::ForeignIo::Contiguous(crate::zbuf::IoAddr(0x1000));
    // SAFETY: leaked memory; no device is given its address.
    let region =
        unsafe { crate::zbuf::ForeignRegion::register(&pool, base, 4096, io, crate::zbuf::DeviceKey(0)) }.unwrap();
    let mut iov = heapless::Vec::<Frag, 2>::new();
    iov.push(region.buffer(&pool, 0, 4096).unwrap().into()).unwrap();
    let call = pair.a.session.call(&mut pair.a.wire, method::ECHO, &[], &mut iov, None, 1).unwrap();
    assert_eq!(pair.a.wire.tokens, [call.to_bits()]);
    pair.a.wire.out.clear();
}

#[test]
fn empty_and_largest_metadata_and_payload() {
    let mut pair = Pair::with(SessionConfig { payload_crc: true, ..SessionConfig::DEFAULT }, 4);
    for (user, metadata) in [0, 1, 255, MAX_METADATA].into_iter().enumerate() {
        for payload in [0, 1, 4096, MAX_GATHER as usize] {
            pair.a.call(method::ECHO, &pattern(metadata), &pattern(payload), None, user as u64).unwrap();
            pair.settle(1460);
            let (_, outcome) = pair.a.app.outcomes().pop().unwrap();
            assert_eq!(outcome, Ok((Status::OK, pattern(metadata), pattern(payload))));
        }
    }
    assert_eq!(pair.a.session.counters().corrupt_payloads, 0);
}

#[test]
fn both_ends_call_at_once_and_from_callbacks() {
    let mut pair = Pair::new();
    pair.a.call(method::CALL_BACK, b"", b"", None, 1).unwrap();
    pair.b.call(method::ECHO, b"", b"b", None, 2).unwrap();
    pair.settle(100);
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::OK, Vec::new(), Vec::new())))]);
    let of_b = pair.b.app.outcomes();
    assert!(of_b.contains(&(2, Ok((Status::OK, Vec::new(), b"b".to_vec())))));
    assert!(of_b.contains(&(99, Ok((Status::OK, b"back".to_vec(), Vec::new())))));
    assert_eq!(of_b.len(), 2);
}

#[test]
fn calls_beyond_the_slots_are_refused_and_counted() {
    let mut pair = Pair::new();
    for user in 0..4 {
        pair.a.call(method::ECHO, b"", b"x", None, user).unwrap();
    }
    assert_eq!(pair.a.call(method::ECHO, b"", b"x", None, 4), Err(CallError::TooManyInFlight));
    assert_eq!(pair.a.session.counters().calls_refused, 1);
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes().iter().map(|o| o.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    pair.a.call(method::ECHO, b"", b"x", None, 5).unwrap();
}

#[test]
fn what_the_stream_or_the_limits_refuse_leaves_nothing_behind() {
    let config = SessionConfig { max_metadata: 8, max_payload: 100, ..SessionConfig::DEFAULT };
    let mut pair = Pair::with(config, 2);
    let a = &mut pair.a;
    assert_eq!(a.call(1, b"123456789", b"", None, 0), Err(CallError::TooLarge));
    assert_eq!(a.call(1, b"", &[0; 101], None, 0), Err(CallError::TooLarge));
    let mut full = heapless::Vec::<Frag, 1>::new();
    full.push(Frag::from(a.received(b"x"))).unwrap();
    let refused = a.session.call(&mut a.wire, 1, b"", &mut full, None, 0);
    assert_eq!((refused, full.len()), (Err(CallError::TooLarge), 1));
    drop(full);
    a.wire.refuse = Some(StreamError::Full);
    assert_eq!(a.call(1, b"", b"x", None, 0), Err(CallError::Stream(StreamError::Full)));
    a.wire.no_objs = true;
    assert_eq!(a.call(1, b"", b"x", None, 0), Err(CallError::NoObj));
    assert_eq!((a.session.in_flight(), a.objs(), a.session.counters().frames_out), (0, 0, 0));
}

#[test]
fn an_expired_call_ends_once_and_its_late_response_is_ignored() {
    let mut pair = Pair::new();
    let start = pair.a.wire.now;
    pair.a.call(method::DETACH, b"", b"", Some(Duration::from_millis(5)), 1).unwrap();
    pair.a.call(method::DETACH, b"", b"", Some(Duration::from_millis(9)), 2).unwrap();
    pair.a.call(method::DETACH, b"", b"", None, 3).unwrap();
    carry(&mut pair.a, &mut pair.b, 9000);
    let Event::Request { deadline, .. } = pair.b.app.events[0] else { panic!() };
    assert_eq!(deadline, Some(pair.b.wire.now + Duration::from_millis(5)));

    let due = start + Duration::from_millis(5);
    assert_eq!(pair.a.session.poll_deadline(), Some(due));
    pair.a.timeout(Instant::from_nanos(due.as_nanos() - 1));
    assert_eq!(pair.a.app.outcomes(), []);
    // The server answers in time, but the answer is on its way for too long.
    let name = pair.b.app.names[0];
    pair.b.reply_detached(name, b"late").unwrap();
    pair.a.timeout(due);
    assert_eq!(pair.a.app.outcomes(), [(1, Err(RpcError::DeadlineExceeded))]);
    assert_eq!(pair.a.session.poll_deadline(), Some(start + Duration::from_millis(9)));
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes().len(), 1);
    assert_eq!(pair.a.session.counters().stale_responses, 1);
    assert_eq!(pair.a.session.counters().discarded_bytes, 4);
    assert_eq!(pair.b.session.counters().stale_cancels, 1, "the cancel crossed the answer");
    pair.a.timeout(start + Duration::from_secs(1));
    assert_eq!(pair.a.app.outcomes().len(), 2);
    assert_eq!(pair.a.session.poll_deadline(), None, "the third has no deadline");
    assert_eq!(pair.a.session.in_flight(), 1);
    assert_eq!(pair.a.session.counters().calls_expired, 2);
    pair.settle(9000);
    assert_eq!(pair.b.app.events.last(), Some(&Event::Cancel(pair.b.app.names[1])));
}

#[test]
fn very_short_and_very_long_deadlines_survive_the_wire() {
    let mut pair = Pair::new();
    for (given, seen_us) in [(Duration::from_nanos(1), 1), (Duration::from_secs(10_000), u64::from(u32::MAX))] {
        pair.a.call(method::ECHO, b"", b"", Some(given), 0).unwrap();
        pair.b.app.events.clear();
        pair.settle(9000);
        let Event::Request { deadline, .. } = pair.b.app.events[0] else { panic!() };
        assert_eq!(deadline, Some(pair.b.wire.now + Duration::from_micros(seen_us)));
    }
}

#[test]
fn a_cancelled_call_ends_once_and_the_server_is_told() {
    let mut pair = Pair::new();
    let call = pair.a.call(method::DETACH, b"", b"", None, 1).unwrap();
    carry(&mut pair.a, &mut pair.b, 9000);
    assert!(pair.a.session.cancel(call, &mut pair.a.wire, &mut pair.a.app));
    assert_eq!(pair.a.app.outcomes(), [(1, Err(RpcError::Cancelled))]);
    assert!(!pair.a.session.cancel(call, &mut pair.a.wire, &mut pair.a.app), "stale");
    carry(&mut pair.a, &mut pair.b, 9000);
    let name = pair.b.app.names[0];
    assert_eq!(pair.b.app.events.last(), Some(&Event::Cancel(name)));
    assert_eq!(pair.b.reply_detached(name, b"x"), Err(ReplyError::Stale));
    assert_eq!((pair.b.session.counters().cancels, pair.b.session.counters().stale_replies), (1, 1));
    assert!(pair.a.session.is_idle() && pair.b.session.is_idle());
    assert_eq!(pair.a.app.outcomes().len(), 1);
}

#[test]
fn a_cancel_that_crosses_the_response_changes_nothing() {
    let mut pair = Pair::new();
    let call = pair.a.call(method::ECHO, b"", b"x", None, 1).unwrap();
    carry(&mut pair.a, &mut pair.b, 9000);
    assert!(pair.a.session.cancel(call, &mut pair.a.wire, &mut pair.a.app));
    // The slot is taken by the next call before the old response comes.
    pair.a.call(method::ECHO, b"", b"y", None, 2).unwrap();
    pair.settle(9000);
    assert_eq!(
        pair.a.app.outcomes(),
        [(1, Err(RpcError::Cancelled)), (2, Ok((Status::OK, Vec::new(), b"y".to_vec())))]
    );
    assert_eq!(pair.a.session.counters().stale_responses, 1);
    assert_eq!(pair.b.session.counters().stale_cancels, 1);
}

#[test]
fn cancelling_within_a_callback_ends_the_call_after_it() {
    let mut pair = Pair::new();
    pair.a.call(method::ECHO, b"", b"", None, 1).unwrap();
    let second = pair.a.call(method::ECHO, b"", b"", None, 2).unwrap();
    pair.a.app.cancel_next = Some(second);
    // Both responses in one chunk: the second finds its call cancelled.
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::OK, Vec::new(), Vec::new()))), (2, Err(RpcError::Cancelled))]);
    assert_eq!(pair.a.session.counters().stale_responses, 1);
    assert!(pair.a.session.is_idle());
}

#[test]
fn a_call_cancelled_within_a_callback_has_ended_when_the_bytes_are_taken_in() {
    for len in [10, 1000] {
        let mut pair = Pair::new();
        pair.a.call(method::ECHO, b"", &pattern(len), None, 1).unwrap();
        carry(&mut pair.a, &mut pair.b, 9000);
        let second = pair.a.call(method::ECHO, b"", b"", None, 2).unwrap();
        pair.a.app.cancel_next = Some(second);
        // The first response alone.
        carry(&mut pair.b, &mut pair.a, 9000);
        assert_eq!(pair.a.app.outcomes().last(), Some(&(2, Err(RpcError::Cancelled))), "{len}");
    }
}

#[test]
fn cancelling_outside_without_a_handler_is_reported_at_the_next_turn() {
    let mut pair = Pair::new();
    let call = pair.a.call(method::DETACH, b"", b"", Some(Duration::from_secs(1)), 1).unwrap();
    assert!(pair.a.session.cx(&mut pair.a.wire).cancel(call));
    assert!(!pair.a.session.cx(&mut pair.a.wire).cancel(call));
    assert_eq!(pair.a.session.poll_deadline(), Some(Instant::ZERO));
    pair.a.timeout(pair.a.wire.now);
    assert_eq!(pair.a.app.outcomes(), [(1, Err(RpcError::Cancelled))]);
    // Its deadline is left over, and harmless.
    pair.a.timeout(Instant::from_nanos(u64::MAX / 2));
    assert_eq!(pair.a.app.outcomes().len(), 1);
    assert_eq!(pair.a.session.poll_deadline(), None);
}

#[test]
fn a_cancelled_call_does_not_expire_as_well() {
    let mut pair = Pair::new();
    let call = pair.a.call(method::DETACH, b"", b"", Some(Duration::from_micros(1)), 1).unwrap();
    assert!(pair.a.session.cx(&mut pair.a.wire).cancel(call));
    pair.a.timeout(pair.a.wire.now + Duration::from_secs(1));
    assert_eq!(pair.a.app.outcomes(), [(1, Err(RpcError::Cancelled))]);
    assert_eq!(pair.a.session.counters().calls_expired, 0);
    assert!(pair.a.session.is_idle());
}

#[test]
fn a_cancel_that_cannot_be_sent_is_counted() {
    let mut pair = Pair::new();
    let call = pair.a.call(method::DETACH, b"", b"", None, 1).unwrap();
    pair.a.wire.refuse = Some(StreamError::Full);
    assert!(pair.a.session.cancel(call, &mut pair.a.wire, &mut pair.a.app));
    assert_eq!(pair.a.session.counters().cancels_unsent, 1);
    assert_eq!(pair.a.app.outcomes(), [(1, Err(RpcError::Cancelled))]);
}

#[test]
fn ping_is_answered() {
    let mut pair = Pair::new();
    pair.a.session.cx(&mut pair.a.wire).ping(0xabcd).unwrap();
    pair.settle(7);
    assert_eq!(pair.a.app.events, [Event::Pong(0xabcd)]);
    assert_eq!(pair.b.session.counters().pings, 1);
    pair.a.session.cx(&mut pair.a.wire).ping(1).unwrap();
    pair.b.wire.refuse = Some(StreamError::Full);
    carry(&mut pair.a, &mut pair.b, 9000);
    assert_eq!(pair.b.session.counters().pongs_unsent, 1);
}

/// The addresses that leave and arrive are those of the objs.
#[test]
fn no_payload_is_copied_in_either_direction() {
    let mut pair = Pair::new();
    let a = &mut pair.a;
    let buf = a.received(&pattern(1800));
    let ptr = buf.as_ptr().as_ptr().cast_const();
    let mut iov = FragVec::new();
    iov.push(Frag::from(buf)).unwrap();
    a.session.call(&mut a.wire, method::KEEP, b"", &mut iov, None, KEEP_RESPONSE).unwrap();
    assert_eq!(a.wire.out.len(), 2);
    assert_eq!(a.wire.out[1].bytes().unwrap().as_ptr(), ptr, "the application's own obj goes out");

    // One whole frame in one obj.
    let data = pair.b.received(&pair.a.wire.bytes());
    let expected = data.as_ptr().as_ptr().cast_const().wrapping_add(HEADER_LEN);
    pair.b.session.handle_data(data, &mut pair.b.wire, &mut pair.b.app).unwrap();
    let kept: Vec<_> = pair.b.app.kept.drain(..).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].as_ptr().as_ptr().cast_const(), expected, "the handler reads the obj that was received into");
    assert!(kept[0].is_unique(), "and it is the only one who has it");
    drop(kept);

    // A frame over three objs.
    pair.a.wire.out.clear();
    pair.a.call(method::KEEP, b"m", &pattern(4096), None, 0).unwrap();
    let bytes = pair.a.wire.bytes();
    let mut starts = Vec::new();
    for chunk in bytes.chunks(1448) {
        let data = pair.b.received(chunk);
        starts.push(data.as_ptr().as_ptr().cast_const());
        pair.b.session.handle_data(data, &mut pair.b.wire, &mut pair.b.app).unwrap();
    }
    starts[0] = starts[0].wrapping_add(HEADER_LEN + 1);
    let kept: Vec<_> = pair.b.app.kept.iter().map(|z| z.as_ptr().as_ptr().cast_const()).collect();
    assert_eq!(kept, starts);
    assert_eq!(pair.b.session.counters().copy_break.bytes, 0);
}
