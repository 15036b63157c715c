//! Payloads above the gather limit go through in pieces.

use std::vec;
use std::vec::Vec;

use super::harness::{Event, Pair, carry, method, pattern};
use crate::rpc::*;
use crate::zbuf::{Frag, testing};

const MIB: usize = 1 << 20;

/// An iov of `len` bytes in objs of 32 KiB.
fn large(len: usize) -> FragVec {
    let pool = testing::pool(1, 32 << 10);
    let bytes = pattern(len);
    let parts = bytes.chunks(pool.data_capacity() as usize).map(|part| {
        let mut obj = pool.alloc().unwrap();
        obj.append(part.len() as u32).unwrap().copy_from_slice(part);
        Frag::from(obj.freeze())
    });
    parts.collect()
}

fn call_large(pair: &mut Pair, method: u16, len: usize, user: u64) -> CallId {
    pair.a.session.call(&mut pair.a.wire, method, b"big", &mut large(len), None, user).unwrap()
}

fn crc_pair() -> Pair {
    Pair::with(SessionConfig { payload_crc: true, ..SessionConfig::DEFAULT }, 4)
}

/// Collects the body pieces of `cookie`.
fn body(events: &[Event], wanted: u64) -> Vec<u8> {
    let parts = events.iter().filter_map(|e| match e {
        Event::Body { cookie, bytes } if *cookie == wanted => Some(bytes.clone()),
        Event::ResponseBody { user, bytes } if *user == wanted => Some(bytes.clone()),
        _ => None,
    });
    parts.flatten().collect()
}

#[test]
fn one_mib_streams_in_without_being_held() {
    for crc in [false, true] {
        let mut pair = if crc { crc_pair() } else { Pair::new() };
        call_large(&mut pair, method::ECHO, MIB, 1);
        pair.a.call(method::ECHO, b"", b"after", None, 2).unwrap();
        let bytes = pair.a.wire.bytes();
        pair.a.wire.out.clear();
        for chunk in bytes.chunks(1448) {
            pair.b.handle(chunk).unwrap();
            assert_eq!(pair.b.session.held(), 0);
            assert!(pair.b.rx.outstanding() <= 1, "only the echo of the small one");
        }
        let begin = Event::Begin { method: method::ECHO, metadata: b"big".to_vec(), len: MIB as u32 };
        assert_eq!(pair.b.app.events[0], begin);
        assert!(body(&pair.b.app.events, 1) == pattern(MIB));
        assert_eq!(pair.b.app.events[pair.b.app.events.len() - 2], Event::End { cookie: 1, result: Ok(()) });
        pair.settle(1448);
        assert_eq!(
            pair.a.app.outcomes(),
            [
                (1, Ok((Status::OK, b"Ok(())".to_vec(), Vec::new()))),
                (2, Ok((Status::OK, Vec::new(), b"after".to_vec())))
            ]
        );
        assert_eq!(pair.b.session.counters().copy_break.bytes, 0);
    }
}

#[test]
fn one_mib_streams_out() {
    let mut pair = crc_pair();
    let call = pair.a.call(method::DETACH, b"", b"", None, 5).unwrap();
    pair.settle(9000);
    let name = pair.b.app.names[0];
    let mut iov = large(MIB);
    pair.b.session.cx(&mut pair.b.wire).reply_detached(name, Status::OK, b"m", &mut iov).unwrap();
    carry(&mut pair.b, &mut pair.a, 1448);
    let events = &pair.a.app.events;
    let begin = Event::ResponseBegin { user: 5, status: Status::OK, metadata: b"m".to_vec(), len: MIB as u32 };
    assert_eq!(events[0], begin);
    assert!(body(events, 5) == pattern(MIB));
    let end = Event::Response { call, user: 5, outcome: Ok((Status::OK, b"m".to_vec(), vec![])), streamed: true };
    assert_eq!(*events.last().unwrap(), end);
    assert_eq!(pair.a.session.in_flight(), 0);
}

#[test]
fn the_limit_itself_is_gathered_and_one_more_is_streamed() {
    let mut pair = Pair::with(SessionConfig { gather_limit: 1000, ..SessionConfig::DEFAULT }, 4);
    pair.a.call(method::ECHO, b"", &pattern(1000), None, 1).unwrap();
    pair.a.call(method::ECHO, b"", &pattern(1001), None, 2).unwrap();
    carry(&mut pair.a, &mut pair.b, 1900);
    assert!(matches!(pair.b.app.events[0], Event::Request { .. }));
    assert!(matches!(pair.b.app.events[1], Event::Begin { len: 1001, .. }));
}

#[test]
fn a_request_answered_early_is_not_bothered_with_the_rest() {
    for (method, seen) in [(method::EARLY, 1), (method::MIDDLE, 2), (method::DEFAULT, 0)] {
        let mut pair = Pair::new();
        call_large(&mut pair, method, 100_000, 1);
        pair.a.call(method::ECHO, b"", b"after", None, 2).unwrap();
        pair.settle(1448);
        let events = &pair.b.app.events;
        assert_eq!(events.len(), seen + 1, "{method}: {:?}", events.len());
        let expected = if method == method::DEFAULT { Status::TOO_LARGE } else { Status::DENIED };
        let outcomes = pair.a.app.outcomes();
        assert_eq!(outcomes[0], (1, Ok((expected, Vec::new(), Vec::new()))));
        assert_eq!(outcomes[1].0, 2);
        let taken = if method == method::MIDDLE { 1448 - HEADER_LEN as u64 - 3 } else { 0 };
        assert_eq!(pair.b.session.counters().discarded_bytes, 100_000 - taken);
        assert_eq!(pair.b.session.counters().unanswered, 0);
    }
}

#[test]
fn a_request_detached_early_still_gets_its_body() {
    let mut pair = Pair::new();
    call_large(&mut pair, method::DETACH_EARLY, 100_000, 1);
    carry(&mut pair.a, &mut pair.b, 1448);
    assert!(body(&pair.b.app.events, 1) == pattern(100_000));
    assert_eq!(pair.b.app.events.last(), Some(&Event::End { cookie: 1, result: Ok(()) }));
    assert!(pair.b.wire.out.is_empty());
    let name = pair.b.app.names[0];
    pair.b.reply_detached(name, b"").unwrap();
    pair.settle(1448);
    assert_eq!(pair.a.app.outcomes().len(), 1);
}

#[test]
fn a_streamed_request_without_an_answer_is_answered_for() {
    let mut pair = Pair::new();
    call_large(&mut pair, method::SILENT, 100_000, 1);
    pair.settle(1448);
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::UNANSWERED, Vec::new(), Vec::new())))]);
}

/// A timer of another call runs while a body is arriving: it has no request to answer.
#[test]
fn callbacks_between_body_pieces_cannot_answer_for_it() {
    let mut pair = Pair::new();
    pair.b.call(method::ECHO, b"", b"", Some(crate::time::Duration::from_micros(1)), 9).unwrap();
    call_large(&mut pair, method::ECHO, 100_000, 1);
    let bytes = pair.a.wire.bytes();
    pair.b.handle(&bytes[..1448]).unwrap();
    let later = pair.b.wire.now + crate::time::Duration::from_millis(1);
    pair.b.timeout(later);
    // The harness asserts in on_response that reply says NothingToAnswer.
    assert_eq!(pair.b.app.outcomes(), [(9, Err(RpcError::DeadlineExceeded))]);
}

fn response_of(len: usize) -> (Pair, CallId) {
    let mut pair = Pair::new();
    let call = pair.a.call(method::DETACH, b"", b"", None, 5).unwrap();
    pair.settle(9000);
    let name = pair.b.app.names[0];
    let mut iov = large(len);
    pair.b.session.cx(&mut pair.b.wire).reply_detached(name, Status::OK, b"", &mut iov).unwrap();
    (pair, call)
}

#[test]
fn a_call_cancelled_within_its_response_drops_the_rest() {
    // From outside, and from within begin and body callbacks.
    for when in 0..3 {
        let (mut pair, call) = response_of(100_000);
        let bytes = pair.b.wire.bytes();
        pair.b.wire.out.clear();
        let (first, rest) = bytes.split_at(1448);
        if when == 1 {
            pair.a.app.cancel_next = Some(call);
        }
        pair.a.handle(first).unwrap();
        match when {
            0 => assert!(pair.a.session.cancel(call, &mut pair.a.wire, &mut pair.a.app)),
            2 => pair.a.app.cancel_next = Some(call),
            _ => {}
        }
        for chunk in rest.chunks(1448) {
            pair.a.handle(chunk).unwrap();
        }
        assert_eq!(pair.a.app.outcomes(), [(5, Err(RpcError::Cancelled))], "{when}");
        let seen = body(&pair.a.app.events, 5).len() as u64;
        let counters = pair.a.session.counters();
        assert_eq!((counters.stale_responses, counters.discarded_bytes), (1, 100_000 - seen), "{when}");
        assert!(pair.a.session.is_idle());
    }
}

#[test]
fn a_corrupt_body_is_reported_at_its_end() {
    let mut pair = crc_pair();
    call_large(&mut pair, method::ECHO, 100_000, 1);
    let mut bytes = pair.a.wire.bytes();
    bytes[50_000] ^= 4;
    for chunk in bytes.chunks(1448) {
        pair.b.handle(chunk).unwrap();
    }
    assert_eq!(pair.b.app.events.last(), Some(&Event::End { cookie: 1, result: Err(BodyError::Corrupt) }));
    assert_eq!(pair.b.session.counters().corrupt_payloads, 1);

    let mut pair = crc_pair();
    pair.a.call(method::DETACH, b"", b"", None, 5).unwrap();
    pair.settle(9000);
    let name = pair.b.app.names[0];
    pair.b.session.cx(&mut pair.b.wire).reply_detached(name, Status::OK, b"", &mut large(100_000)).unwrap();
    let mut bytes = pair.b.wire.bytes();
    bytes[50_000] ^= 4;
    for chunk in bytes.chunks(1448) {
        pair.a.handle(chunk).unwrap();
    }
    assert_eq!(pair.a.app.outcomes(), [(5, Err(RpcError::Corrupt))]);
}
