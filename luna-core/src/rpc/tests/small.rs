//! Small payloads: lent to callbacks, and copied when they are sent.

use std::vec::Vec;

use super::harness::{Event, Pair, method, pattern};
use crate::rpc::*;

/// What `calls` put on the wire: method and length.
fn requests(pair: &mut Pair, calls: &[(u16, usize)]) -> Vec<u8> {
    for (i, (method, len)) in calls.iter().enumerate() {
        pair.a.call(*method, b"", &pattern(*len), None, i as u64).unwrap();
    }
    let bytes = pair.a.wire.bytes();
    pair.a.wire.out.clear();
    bytes
}

#[test]
fn what_is_lent_takes_no_reference_and_what_is_kept_does() {
    let mut pair = Pair::new();
    let bytes =
        requests(&mut pair, &[(method::ECHO, 64), (method::KEEP, 100), (method::ECHO, 0), (method::KEEP, MAX_COPIED)]);
    let data = pair.b.received(&bytes);
    let start = data.as_ptr().as_ptr().cast_const();
    pair.b.session.handle_data(data, &mut pair.b.wire, &mut pair.b.app).unwrap();
    let kept: Vec<_> = pair.b.app.kept.drain(..).collect();
    let places: Vec<_> = kept.iter().map(|z| (z.as_ptr().as_ptr().addr() - start.addr(), z.len() as usize)).collect();
    let second = 2 * HEADER_LEN + 64;
    assert_eq!(places, [(second, 100), (second + 100 + 2 * HEADER_LEN, MAX_COPIED)], "views of the obj that arrived");
    assert_eq!(kept[1][..], pattern(MAX_COPIED));
    assert_eq!(pair.b.rx.outstanding(), 1);
    drop(kept);
    assert_eq!(pair.b.rx.outstanding(), 0, "the echoes hold nothing of it");
    pair.settle(1448);
    let outcomes = pair.a.app.outcomes();
    assert_eq!(outcomes[0], (0, Ok((Status::OK, Vec::new(), pattern(64)))));
    assert_eq!(outcomes.len(), 4);
    assert_eq!((pair.a.objs(), pair.b.objs()), (0, 0));
}

#[test]
fn one_byte_more_than_is_copied_goes_out_in_the_obj_that_it_arrived_in() {
    for (len, held) in [(MAX_COPIED, 0), (MAX_COPIED + 1, 1)] {
        let mut pair = Pair::new();
        let bytes = requests(&mut pair, &[(method::ECHO, len)]);
        pair.b.handle(&bytes).unwrap();
        assert_eq!(pair.b.rx.outstanding(), held, "{len}");
        pair.settle(9000);
        assert_eq!(pair.a.app.outcomes(), [(0, Ok((Status::OK, Vec::new(), pattern(len))))]);
    }
}

#[test]
fn small_and_large_ones_in_any_order_and_pieces() {
    let lens = [10, 300, 1, 0, MAX_COPIED, MAX_COPIED + 1, 64, 64, 500, 3];
    let calls = lens.map(|len| (method::ECHO, len));
    for size in (1..200).chain([1000, 1448]) {
        let mut pair = Pair::with(SessionConfig::DEFAULT, lens.len());
        let bytes = requests(&mut pair, &calls);
        for chunk in bytes.chunks(size) {
            pair.b.handle(chunk).unwrap();
        }
        pair.settle(size);
        let outcomes = pair.a.app.outcomes();
        assert_eq!(outcomes.len(), lens.len(), "{size}");
        for (outcome, (i, len)) in outcomes.iter().zip(lens.into_iter().enumerate()) {
            assert_eq!(*outcome, (i as u64, Ok((Status::OK, Vec::new(), pattern(len)))), "{size}");
        }
        assert_eq!((pair.a.objs(), pair.b.objs()), (0, 0), "{size}");
    }
}

#[test]
fn what_is_wrong_behind_small_ones_ends_the_session_after_them() {
    let mut pair = Pair::new();
    let mut bytes = requests(&mut pair, &[(method::ECHO, 10), (method::ECHO, 20), (method::ECHO, 30)]);
    let third = 2 * HEADER_LEN + 30;
    bytes[third + 9] ^= 1;
    let result = pair.b.handle(&bytes);
    assert!(matches!(result, Err(SessionError::Frame(FrameError::HeaderCrc { .. }))), "{result:?}");
    assert_eq!((pair.b.app.events.len(), pair.b.session.counters().frames_in), (2, 2));
    assert_eq!(pair.b.handle(&bytes[third..]), Err(SessionError::Ended), "small ones too");
    pair.b.wire.out.clear();
    assert_eq!(pair.b.objs(), 0);
}

#[test]
fn no_more_than_the_limit_is_taken_by_the_short_way() {
    let config = SessionConfig { max_payload: 50, ..SessionConfig::DEFAULT };
    let mut pair = Pair::new();
    let bytes = requests(&mut pair, &[(method::ECHO, 50), (method::ECHO, 51)]);
    let mut strict = Pair::with(config, 4);
    let result = strict.b.handle(&bytes);
    assert_eq!(result, Err(SessionError::Frame(FrameError::PayloadTooLong { len: 51, max: 50 })));
    assert_eq!(strict.b.app.events.len(), 1);
    let refused = strict.a.session.cx(&mut strict.a.wire).call_copied(method::ECHO, b"", &[0; 51], None, 0);
    assert_eq!(refused, Err(CallError::TooLarge));
}

#[test]
fn a_copied_call_needs_no_obj_of_the_caller() {
    for payload_crc in [false, true] {
        let mut pair = Pair::with(SessionConfig { payload_crc, ..SessionConfig::DEFAULT }, 4);
        let a = &mut pair.a;
        let mut cx = a.session.cx(&mut a.wire);
        cx.call_copied(method::ECHO, b"meta", &pattern(MAX_COPIED - 4), None, 7).unwrap();
        cx.call_copied(method::ECHO, b"", b"", None, 8).unwrap();
        for (metadata, payload) in [(&b"meta"[..], MAX_COPIED - 3), (b"", MAX_COPIED + 1)] {
            let refused = cx.call_copied(method::ECHO, metadata, &pattern(payload), None, 9);
            assert_eq!(refused, Err(CallError::TooLarge));
        }
        assert_eq!((a.rx.outstanding(), a.session.in_flight()), (0, 2));
        let header = 2 * HEADER_LEN + MAX_COPIED + if payload_crc { 8 } else { 0 };
        assert_eq!(a.wire.bytes().len(), header);
        pair.settle(1448);
        assert_eq!(
            pair.a.app.outcomes(),
            [
                (7, Ok((Status::OK, b"meta".to_vec(), pattern(MAX_COPIED - 4)))),
                (8, Ok((Status::OK, Vec::new(), Vec::new())))
            ]
        );
        assert_eq!(pair.b.session.counters().corrupt_payloads, 0);
        // A payload that was copied is guarded like others.
        let a = &mut pair.a;
        a.session.cx(&mut a.wire).call_copied(method::ECHO, b"", b"x", None, 10).unwrap();
        let mut bytes = a.wire.bytes();
        a.wire.out.clear();
        *bytes.last_mut().unwrap() ^= 1;
        pair.b.handle(&bytes).unwrap();
        assert_eq!(pair.b.session.counters().corrupt_payloads, u64::from(payload_crc));
    }
}

#[test]
fn a_copied_reply_goes_out_once_and_only_within_a_request() {
    let mut pair = Pair::new();
    let b = &mut pair.b;
    let refused = b.session.cx(&mut b.wire).reply_copied(Status::OK, b"", b"x");
    assert_eq!(refused, Err(ReplyError::NothingToAnswer));
    pair.a.call(method::ECHO, &[7; 256], b"with all metadata", None, 1).unwrap();
    pair.settle(9000);
    assert_eq!(
        pair.a.app.outcomes(),
        [(1, Ok((Status::OK, [7; 256].to_vec(), b"with all metadata".to_vec())))],
        "more metadata than is copied: by reference"
    );
    assert!(matches!(pair.b.app.events[0], Event::Request { .. }));
}

#[test]
fn without_room_a_lent_payload_is_still_there_to_be_kept() {
    let mut pair = Pair::new();
    pair.b.app.detach_when_full = true;
    pair.b.wire.refuse = Some(StreamError::Full);
    let bytes = requests(&mut pair, &[(method::ECHO, 64)]);
    pair.b.handle(&bytes).unwrap();
    assert_eq!(pair.b.app.replies[0], Err(ReplyError::Stream(StreamError::Full)));
    pair.b.wire.refuse = None;
    let name = pair.b.app.names[0];
    pair.b.reply_detached(name, b"then").unwrap();
    pair.settle(1448);
    assert_eq!(pair.a.app.outcomes(), [(0, Ok((Status::OK, b"later".to_vec(), b"then".to_vec())))]);
}
