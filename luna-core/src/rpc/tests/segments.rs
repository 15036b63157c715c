//! However the stream cuts the bytes, the frames are the same, and few objs are held.

use std::vec::Vec;

use super::harness::{Event, Pair, carry, method, pattern};
use crate::rpc::*;

#[test]
fn every_split_point_of_a_frame() {
    let mut pair = Pair::with(SessionConfig { payload_crc: true, ..SessionConfig::DEFAULT }, 4);
    pair.a.call(method::ECHO, b"metadata", &pattern(50), None, 1).unwrap();
    let bytes = pair.a.wire.bytes();
    for cut in 0..=bytes.len() {
        pair.b.app.events.clear();
        pair.b.handle(&bytes[..cut]).unwrap();
        assert_eq!(pair.b.app.events.len(), usize::from(cut == bytes.len()), "cut at {cut}");
        if cut < bytes.len() {
            pair.b.handle(&bytes[cut..]).unwrap();
        }
        let request =
            Event::Request { method: 1, metadata: b"metadata".to_vec(), payload: pattern(50), deadline: None };
        assert_eq!(pair.b.app.events, [request]);
        assert_eq!(pair.b.session.held(), 0);
        pair.b.wire.out.clear();
        assert_eq!(pair.b.objs(), 0);
    }
    assert_eq!(pair.b.session.counters().corrupt_payloads, 0);
}

#[test]
fn every_pair_of_split_points_of_two_frames() {
    let mut pair = Pair::new();
    pair.a.call(method::ECHO, b"m", &pattern(9), None, 1).unwrap();
    pair.a.call(method::KEEP, b"", b"", None, 2).unwrap();
    let bytes = pair.a.wire.bytes();
    for i in 0..bytes.len() {
        for j in i..bytes.len() {
            for part in [&bytes[..i], &bytes[i..j], &bytes[j..]] {
                pair.b.handle(part).unwrap();
            }
            let methods: Vec<_> = pair.b.app.events.drain(..).collect();
            let [Event::Request { payload, .. }, Event::Request { method: method::KEEP, .. }] = &methods[..] else {
                panic!("cut at {i} and {j}: {methods:?}");
            };
            assert_eq!(*payload, pattern(9));
            pair.b.wire.out.clear();
            pair.b.wire.tokens.clear();
        }
    }
}

#[test]
fn many_frames_in_one_chunk() {
    let mut pair = Pair::with(SessionConfig::DEFAULT, 32);
    for user in 0..20 {
        pair.a.call(method::ECHO, b"", &pattern(user as usize), None, user).unwrap();
    }
    carry(&mut pair.a, &mut pair.b, 1900);
    assert_eq!(pair.b.session.counters().frames_in, 20);
    pair.settle(1900);
    for (i, (user, outcome)) in pair.a.app.outcomes().into_iter().enumerate() {
        assert_eq!((user as usize, outcome), (i, Ok((Status::OK, Vec::new(), pattern(i)))));
    }
}

#[test]
fn one_byte_segments_do_not_pin_an_obj_each() {
    for len in [4096, MAX_GATHER as usize] {
        let mut pair = Pair::new();
        pair.a.call(method::ECHO, b"m", &pattern(len), None, 1).unwrap();
        let bytes = pair.a.wire.bytes();
        let idle = pair.b.objs();
        let mut most = 0;
        for byte in &bytes[..bytes.len() - 1] {
            pair.b.handle(&[*byte]).unwrap();
            most = most.max(pair.b.objs() - idle);
            assert_eq!(pair.b.session.held() as usize, (pair.b.objs() - idle) * 2048);
        }
        // Each obj has 1982 bytes behind the made-up protocol headers.
        assert_eq!(most, len.div_ceil(1982), "as few objs as the bytes need");
        let copied = pair.b.session.counters().copy_break.bytes;
        assert!(copied as usize <= len, "each byte copied at most once: {copied}");
        pair.b.handle(&bytes[bytes.len() - 1..]).unwrap();
        assert_eq!(pair.b.session.held(), 0);
        let Event::Request { payload, .. } = &pair.b.app.events[0] else { panic!() };
        assert_eq!(*payload, pattern(len));
    }
}

#[test]
fn segments_of_any_size_are_gathered_within_bounds() {
    for size in [1, 2, 100, 255, 256, 257, 536, 1000, 1024, 1228, 1448, 1982] {
        let mut pair = Pair::new();
        let len = MAX_GATHER as usize;
        pair.a.call(method::ECHO, b"", &pattern(len), None, 1).unwrap();
        let bytes = pair.a.wire.bytes();
        for chunk in bytes.chunks(size) {
            pair.b.handle(chunk).unwrap();
            assert!(pair.b.session.held() <= 4 * MAX_GATHER, "{} held", pair.b.session.held());
        }
        let Some(Event::Request { payload, .. }) = pair.b.app.events.first() else { panic!("size {size}") };
        assert!(*payload == pattern(len));
        assert_eq!(pair.b.session.counters().fragmented_payloads, 0);
        if size >= 1228 {
            assert_eq!(pair.b.session.counters().copy_break.bytes, 0, "ordinary segments are never copied");
        }
    }
}

/// A peer that alternates full and tiny segments leaves no tailroom where it would be needed.
#[test]
fn the_worst_mix_of_segments_is_compacted() {
    let mut pair = Pair::new();
    let len = MAX_GATHER as usize;
    pair.a.call(method::ECHO, b"", &pattern(len), None, 1).unwrap();
    let bytes = pair.a.wire.bytes();
    let mut rest = &bytes[..];
    let mut size = [1982, 1].into_iter().cycle();
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(size.next().unwrap().min(rest.len()));
        pair.b.handle(chunk).unwrap();
        rest = tail;
    }
    let Event::Request { payload, .. } = &pair.b.app.events[0] else { panic!() };
    assert!(*payload == pattern(len));
    assert_eq!(pair.b.session.counters().fragmented_payloads, 0);
}

/// Somebody else holds every chunk, so none can be packed into, and there are only small objs to pack into.
#[test]
fn a_payload_that_cannot_be_held_is_refused_and_the_next_one_served() {
    let mut pair = Pair::new();
    pair.a.call(method::ECHO, b"", &pattern(60_000), None, 1).unwrap();
    pair.a.call(method::ECHO, b"", b"next", None, 2).unwrap();
    let bytes = pair.a.wire.bytes();
    pair.a.wire.out.clear();
    pair.b.wire.no_objs = true;
    let mut held = Vec::new();
    for chunk in bytes.chunks(300) {
        let data = pair.b.received(chunk);
        held.push(data.clone());
        pair.b.session.handle_data(data, &mut pair.b.wire, &mut pair.b.app).unwrap();
        if held.len() == 150 {
            pair.b.wire.no_objs = false;
        }
    }
    pair.settle(9000);
    assert_eq!(
        pair.a.app.outcomes(),
        [(1, Ok((Status::FRAGMENTED, Vec::new(), Vec::new()))), (2, Ok((Status::OK, Vec::new(), b"next".to_vec())))]
    );
    assert_eq!(pair.b.session.counters().fragmented_payloads, 1);
    assert_eq!(pair.b.session.counters().discarded_bytes, 60_000);
}
