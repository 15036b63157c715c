extern crate std;

use proptest::prelude::*;
use std::vec::Vec;

use super::{SackBlocks, TcpOptions, emit_fixed_timestamps, fixed_timestamps};
use crate::wire::{ParseError, SeqNum};

fn sack(blocks: &[(u32, u32)]) -> SackBlocks {
    let mut sack = SackBlocks::EMPTY;
    for &(left, right) in blocks {
        assert!(sack.push(SeqNum(left), SeqNum(right)));
    }
    sack
}

/// What Linux sends in a SYN.
const LINUX_SYN: [u8; 20] = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 1, 3, 3, 7];

#[test]
fn linux_syn() {
    let options = TcpOptions::parse(&LINUX_SYN).unwrap();
    let expected = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some((0x1122_3344, 0)),
        ..TcpOptions::default()
    };
    assert_eq!(options, expected);
    let mut out = [0xee; 21];
    assert_eq!((options.emit(&mut out), options.encoded_len()), (20, 20));
    assert_eq!(out[..20], LINUX_SYN);
    assert_eq!(out[20], 0xee, "wrote behind the options");
}

#[test]
fn timestamps_alone_have_the_fixed_layout() {
    let options = TcpOptions { timestamps: Some((0xa1a2_a3a4, 0xb1b2_b3b4)), ..TcpOptions::default() };
    let mut slow = [0; 12];
    assert_eq!(options.emit(&mut slow), 12);
    assert_eq!(slow, [1, 1, 8, 10, 0xa1, 0xa2, 0xa3, 0xa4, 0xb1, 0xb2, 0xb3, 0xb4]);
    let mut fast = [0; 12];
    emit_fixed_timestamps(&mut fast, (0xa1a2_a3a4, 0xb1b2_b3b4));
    assert_eq!(slow, fast);
    assert_eq!(fixed_timestamps(&fast), Some((0xa1a2_a3a4, 0xb1b2_b3b4)));
}

#[test]
fn fixed_layout_is_exact() {
    let fixed = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    assert_eq!(fixed_timestamps(&fixed), Some((1, 2)));
    assert_eq!(fixed_timestamps(&fixed[..11]), None);
    assert_eq!(fixed_timestamps(&[]), None);
    let mut longer = fixed.to_vec();
    longer.push(0);
    assert_eq!(fixed_timestamps(&longer), None);
    for at in 0..4 {
        let mut other = fixed;
        other[at] ^= 1;
        assert_eq!(fixed_timestamps(&other), None, "byte {at}");
    }
    // The same option in another place is still an option.
    let trailing = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1];
    assert_eq!(fixed_timestamps(&trailing), None);
    assert_eq!(TcpOptions::parse(&trailing).unwrap().timestamps, Some((1, 2)));
}

#[test]
fn end_stops_and_unknown_kinds_are_skipped() {
    assert_eq!(TcpOptions::parse(&[]), Ok(TcpOptions::default()));
    assert_eq!(TcpOptions::parse(&[0, 2, 4, 1, 1]), Ok(TcpOptions::default()), "behind the end");
    assert_eq!(TcpOptions::parse(&[0, 2]), Ok(TcpOptions::default()), "rubbish behind the end");
    let options = TcpOptions::parse(&[254, 6, 1, 2, 3, 4, 99, 2, 1, 2, 4, 2, 0]).unwrap();
    assert_eq!(options, TcpOptions { mss: Some(512), ..TcpOptions::default() });
    assert_eq!(TcpOptions::parse(&[2, 4, 0, 1, 2, 4, 0, 2]).unwrap().mss, Some(2), "the last one counts");
}

#[test]
fn window_scale_is_at_most_14() {
    assert_eq!(TcpOptions::parse(&[3, 3, 14]).unwrap().window_scale, Some(14));
    assert_eq!(TcpOptions::parse(&[3, 3, 15]).unwrap().window_scale, Some(14));
    assert_eq!(TcpOptions::parse(&[3, 3, 255]).unwrap().window_scale, Some(14));
}

#[test]
fn every_kind_with_every_length() {
    for kind in 2..=255u8 {
        for len in 0..=255usize {
            let mut bytes = std::vec![0; len.max(2)];
            bytes[0] = kind;
            bytes[1] = len as u8;
            let right = match kind {
                2 => len == 4,
                3 => len == 3,
                4 => len == 2,
                5 => [10, 18, 26, 34].contains(&len),
                8 => len == 10,
                _ => len >= 2,
            };
            assert_eq!(TcpOptions::parse(&bytes).is_ok(), right, "kind {kind} of length {len}");
            if !right {
                assert_eq!(TcpOptions::parse(&bytes), Err(ParseError::BadOption));
            }
            // One byte less than announced, and nothing but the kind.
            bytes.truncate(len.saturating_sub(1).max(1));
            assert_eq!(TcpOptions::parse(&bytes), Err(ParseError::BadOption), "kind {kind} of length {len}, cut");
        }
    }
}

#[test]
fn sack_blocks() {
    let bytes = [1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
    let options = TcpOptions::parse(&bytes).unwrap();
    assert_eq!(options.sack, sack(&[(1, 2), (3, 4)]));
    assert_eq!(options.sack.as_slice(), [(SeqNum(1), SeqNum(2)), (SeqNum(3), SeqNum(4))]);
    assert!(options.sack.iter().eq(options.sack.as_slice().iter().copied()));
    let mut out = [0; 20];
    assert_eq!(options.emit(&mut out), 20);
    assert_eq!(out, bytes);
    let mut full = sack(&[(1, 2), (3, 4), (5, 6), (7, 8)]);
    assert!(!full.push(SeqNum(9), SeqNum(10)));
    assert_eq!(full.len(), 4);
    assert!(SackBlocks::EMPTY.is_empty() && !full.is_empty());
}

#[test]
fn sack_blocks_that_do_not_fit_are_left_out() {
    let four = sack(&[(1, 2), (3, 4), (5, 6), (7, 8)]);
    let encoded = |options: TcpOptions| {
        let mut out = [0; 40];
        let len = options.emit(&mut out);
        assert_eq!(len, options.encoded_len());
        (len, TcpOptions::parse(&out[..len]).unwrap().sack)
    };
    let alone = TcpOptions { sack: four, ..TcpOptions::default() };
    assert_eq!(encoded(alone), (36, four));
    let stamped = TcpOptions { timestamps: Some((1, 2)), ..alone };
    assert_eq!(encoded(stamped), (40, sack(&[(1, 2), (3, 4), (5, 6)])));
    let all = TcpOptions { mss: Some(1), window_scale: Some(1), sack_permitted: true, ..stamped };
    assert_eq!(encoded(all), (40, sack(&[(1, 2), (3, 4)])));
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "no room"))]
fn no_room_writes_nothing() {
    let mut out = [0xee; 11];
    let options = TcpOptions { timestamps: Some((1, 2)), ..TcpOptions::default() };
    assert_eq!(options.emit(&mut out), 0);
    assert_eq!(out, [0xee; 11]);
}

prop_compose! {
    fn any_options()(mss: Option<u16>, scale in prop::option::of(0u8..=14), sack_permitted: bool, timestamps: Option<(u32, u32)>,
        blocks in proptest::collection::vec(any::<(u32, u32)>(), 0..=4), telemetry: bool) -> TcpOptions {
        TcpOptions { mss, window_scale: scale, sack_permitted, timestamps, sack: sack(&blocks), telemetry }
    }
}

proptest! {
    #[test]
    fn round_trip(options in any_options()) {
        let mut out = [0xee; 44];
        let len = options.emit(&mut out);
        prop_assert_eq!(len, options.encoded_len());
        prop_assert!(len <= 40 && len % 4 == 0);
        prop_assert!(out[len..].iter().all(|&byte| byte == 0xee));
        let parsed = TcpOptions::parse(&out[..len]).unwrap();
        prop_assert_eq!(TcpOptions { sack: options.sack, ..parsed }, options);
        let kept = parsed.sack.as_slice();
        prop_assert_eq!(kept, &options.sack.as_slice()[..kept.len()]);
        // No room was wasted: another block would not have fitted.
        let another = if kept.is_empty() { 12 } else { 8 };
        prop_assert!(kept.len() == options.sack.len() || len + another > 40);
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..12], 0..60)) {
        if let Ok(options) = TcpOptions::parse(&bytes) {
            prop_assert!(options.window_scale.is_none_or(|scale| scale <= 14));
            let mut out = [0; 40];
            let len = options.emit(&mut out);
            prop_assert_eq!(TcpOptions::parse(&out[..len]).map(|again| again.mss), Ok(options.mss));
        }
        if let Some(ts) = fixed_timestamps(&bytes) {
            prop_assert_eq!(TcpOptions::parse(&bytes).map(|options| options.timestamps), Ok(Some(ts)));
        }
    }

    #[test]
    fn random_walk_of_valid_options(kinds in proptest::collection::vec((6u8..=7, 0usize..6), 0..8), mss: u16) {
        let mut bytes = Vec::new();
        for (kind, body) in kinds {
            bytes.extend([kind, body as u8 + 2]);
            bytes.extend(std::vec![0xff; body]);
            bytes.push(1);
        }
        bytes.extend([2, 4]);
        bytes.extend(mss.to_be_bytes());
        prop_assert_eq!(TcpOptions::parse(&bytes).unwrap(), TcpOptions { mss: Some(mss), ..TcpOptions::default() });
    }
}
