//! Whatever arrives: a typed error or a counter, never a panic.

use std::vec::Vec;

use proptest::prelude::*;

use super::harness::{Pair, method, pattern};
use crate::rpc::*;

/// A header with its CRC put right.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn frame() -> Vec<u8> {
    let mut pair = Pair::new();
    pair.a.call(method::ECHO, b"meta", &pattern(100), None, 1).unwrap();
    pair.a.wire.bytes()
}

#[test]
fn a_corrupt_payload_is_refused_and_the_connection_lives() {
    let mut pair = Pair::with(SessionConfig { payload_crc: true, ..SessionConfig::DEFAULT }, 4);
    pair.a.call(method::ECHO, b"", &pattern(3000), None, 1).unwrap();
    pair.a.call(method::ECHO, b"", &pattern(10), None, 2).unwrap();
    let mut bytes = pair.a.wire.bytes();
    pair.a.wire.out.clear();
    bytes[2000] ^= 1;
    for chunk in bytes.chunks(1448) {
        pair.b.handle(chunk).unwrap();
    }
    // The second response is corrupt in turn.
    let mut bytes = pair.b.wire.bytes();
    pair.b.wire.out.clear();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x80;
    pair.a.handle(&bytes).unwrap();
    assert_eq!(
        pair.a.app.outcomes(),
        [(1, Ok((Status::CORRUPT, Vec::new(), Vec::new()))), (2, Err(RpcError::Corrupt))]
    );
    assert_eq!(pair.b.app.events.len(), 1, "the corrupt request never reached the handler");
    assert_eq!(pair.b.session.counters().corrupt_payloads, 1);
    assert_eq!(pair.a.session.counters().corrupt_payloads, 1);
    assert!(pair.a.session.is_idle());
}

#[test]
fn responses_to_nothing_are_ignored() {
    let mut pair = Pair::new();
    let call = pair.a.call(method::ECHO, b"", b"", None, 1).unwrap();
    pair.a.wire.out.clear();
    let response = |id: u64, payload: u32| {
        let mut bytes = [0; HEADER_LEN];
        FrameHeader { payload_len: payload, ..FrameHeader::new(Kind::Response, id) }.write(&mut bytes);
        let mut bytes = bytes.to_vec();
        bytes.resize(HEADER_LEN + payload as usize, 7);
        bytes
    };
    // The tag stays here.
    let id = call.to_bits() >> 16;
    // Another generation, early and late; another slot; one beyond the table.
    for (i, other) in [id ^ 1 << 16, id ^ 1 << 47, id ^ 1, id | 0xffff, 0, u64::MAX].into_iter().enumerate() {
        pair.a.handle(&response(other, 10)).unwrap();
        assert_eq!(pair.a.session.counters().stale_responses, i as u64 + 1);
    }
    assert_eq!(pair.a.session.counters().discarded_bytes, 60);
    // The largest, streamed to nobody.
    let mut large = response(id ^ 1 << 40, 200_000);
    large.extend(response(id, 3));
    for chunk in large.chunks(1448) {
        pair.a.handle(chunk).unwrap();
        assert_eq!((pair.a.session.held(), pair.a.rx.outstanding()), (0, 0), "nothing is kept for nobody");
    }
    assert_eq!(pair.a.app.events.len(), 1, "and nobody is told");
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::OK, Vec::new(), [7; 3].to_vec())))]);
    // Twice the same.
    pair.a.handle(&response(id, 0)).unwrap();
    assert_eq!(pair.a.app.outcomes().len(), 1);
}

#[test]
fn cancels_of_nothing_are_ignored() {
    let mut pair = Pair::new();
    let mut bytes = [0; HEADER_LEN];
    FrameHeader::new(Kind::Cancel, 77).write(&mut bytes);
    pair.b.handle(&bytes).unwrap();
    assert_eq!(pair.b.session.counters().stale_cancels, 1);
}

#[test]
fn every_bit_of_a_header_is_guarded() {
    let good = frame();
    for bit in 0..HEADER_LEN * 8 {
        for split in [0, 1, HEADER_LEN - 1] {
            let mut pair = Pair::new();
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (first, second) = bytes.split_at(split);
            let result = pair.b.handle(first).and_then(|()| pair.b.handle(second));
            let Err(SessionError::Frame(e)) = result else { panic!("bit {bit}: {result:?}") };
            match bit {
                0..4 => assert_eq!(e, FrameError::Version(bytes[0] & 0xf)),
                _ => assert!(matches!(e, FrameError::HeaderCrc { .. }), "bit {bit}: {e:?}"),
            }
            assert_eq!(pair.b.app.events, []);
            pair.b.closed(true);
            assert_eq!(pair.b.objs(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Headers with any contents and a right CRC, then any bytes, in any pieces.
    #[test]
    fn random_headers_with_a_right_crc(
        kind in 0..8u8, flags in 0..4u8, id in prop_oneof![Just(1 << 16u64), any::<u64>()],
        metadata in prop_oneof![0..300u16, any::<u16>()], payload in prop_oneof![0..200u32, 65_000..70_000u32, any::<u32>()],
        rest in any::<[u8; 6]>(), tail in proptest::collection::vec(any::<u8>(), 0..1500), size in 1..1500usize,
    ) {
        let mut bytes = [0; HEADER_LEN].to_vec();
        bytes[0] = VERSION | kind << 4;
        bytes[1] = flags;
        bytes[2..4].copy_from_slice(&metadata.to_le_bytes());
        bytes[4..8].copy_from_slice(&payload.to_le_bytes());
        bytes[8..10].copy_from_slice(&rest[..2]);
        bytes[10..16].copy_from_slice(&id.to_le_bytes()[..6]);
        bytes[16..20].copy_from_slice(&rest[2..]);
        let mut bytes = repaired(bytes);
        bytes.extend(&tail);
        let mut pair = Pair::new();
        pair.b.call(method::ECHO, b"", b"", None, 1).unwrap();
        let mut error = None;
        for chunk in bytes.chunks(size) {
            if let Err(e) = pair.b.handle(chunk) {
                error.get_or_insert(e);
            }
        }
        let valid = (1..=5).contains(&kind) && flags < 2 && metadata <= 256 && payload <= 1 << 30
            && (kind <= 2 || u32::from(metadata) | payload == 0 && flags == 0);
        if !valid {
            prop_assert!(matches!(error, Some(SessionError::Frame(_))), "{error:?}");
        } else if bytes.len() < HEADER_LEN + 4 * usize::from(flags) + usize::from(metadata) + payload as usize {
            prop_assert_eq!(error, None, "an unfinished valid frame is no error");
        }
        pair.b.closed(true);
        pair.b.wire.out.clear();
        prop_assert_eq!(pair.b.app.outcomes().len(), 1, "the call ended once");
        prop_assert_eq!(pair.b.objs(), 0);
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..500), size in 1..100usize) {
        let mut pair = Pair::new();
        for chunk in bytes.chunks(size) {
            let _ = pair.b.handle(chunk);
        }
        pair.b.closed(false);
        prop_assert_eq!(pair.b.objs(), 0);
    }
}
