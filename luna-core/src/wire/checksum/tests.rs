extern crate std;

use proptest::prelude::*;
use std::vec::Vec;

use super::Checksum;

/// RFC 1071 section 1 word by word: the reference that shares nothing with the code under test.
fn reference(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from);
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn fold(bytes: &[u8]) -> u16 {
    let mut sum = Checksum::new();
    sum.add(bytes);
    sum.fold()
}

#[test]
fn rfc_1071_example() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(fold(&bytes), 0xddf2);
    let mut sum = Checksum::new();
    sum.add(&bytes);
    assert_eq!(sum.finish(), 0x220d);
}

#[test]
fn rfc_1071_example_cut_at_odd_offsets() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let mut sum = Checksum::new();
            sum.add(&bytes[..first]);
            sum.add(&bytes[first..second]);
            sum.add(&bytes[second..]);
            assert_eq!(sum.fold(), 0xddf2, "cut at {first} and {second}");
        }
    }
}

/// Long pieces go another way: the same sum, whatever the length, the alignment and the words' signs.
#[test]
fn long_pieces_sum_to_what_short_ones_do() {
    let bytes: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
    for len in (0..1200).chain([1448, 4096, 8960, 19_000]) {
        for start in [0, 1, 7, 32] {
            let piece = &bytes[start..start + len];
            assert_eq!(fold(piece), reference(piece), "{len} bytes from {start}");
        }
    }
    for byte in [0, 0x7f, 0x80, 0xff] {
        let piece = std::vec![byte; 1 << 22];
        assert_eq!(fold(&piece), reference(&piece), "{byte:#x}");
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = crate::wide_sum::Avx2::get() {
        let (sum, rest) = avx2.sum(&[0xff; 300]);
        assert_eq!((sum, rest.len()), (0xffff * 144, 300 - 288), "it is what sums them");
    }
}

#[test]
fn zeros_and_ones() {
    assert_eq!(Checksum::new().finish(), 0xffff);
    assert_eq!(fold(&[0; 100]), 0);
    // Every carry there can be: the sum of ones is minus zero, never zero.
    for len in (2..=400).step_by(2) {
        assert_eq!(fold(&std::vec![0xff; len]), 0xffff, "{len}");
    }
    assert_eq!(fold(&[0xff; 65]), reference(&[0xff; 65]));
}

#[test]
fn carries_within_and_out_of_a_chain() {
    let mut block = [0u8; 64];
    block[..8].fill(0xff);
    block[8..16].fill(0xff);
    block[16] = 1;
    assert_eq!(fold(&block), reference(&block));
    let mut two = [0xffu8; 128];
    two[64..].copy_from_slice(&block);
    assert_eq!(fold(&two), reference(&two));
}

#[test]
fn every_length() {
    let bytes: Vec<u8> = (0..300u32).map(|i| (i * 167 + 13) as u8).collect();
    for len in 0..bytes.len() {
        assert_eq!(fold(&bytes[..len]), reference(&bytes[..len]), "{len}");
    }
}

#[test]
fn fields_are_big_endian() {
    let mut sum = Checksum::new();
    sum.add_u16(0x1234);
    sum.add_u32(0x5678_9abc);
    assert_eq!(sum.fold(), reference(&[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc]));
}

#[test]
fn continues_from_a_folded_sum() {
    let mut sum = Checksum::from_fold(fold(&[1, 2, 3, 4, 5, 6]));
    sum.add(&[7, 8, 9]);
    assert_eq!(sum.fold(), reference(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
}

proptest! {
    #[test]
    fn pieces_concatenate(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..150), 0..8)) {
        let mut sum = Checksum::new();
        for piece in &pieces {
            sum.add(piece);
        }
        prop_assert_eq!(sum.fold(), reference(&pieces.concat()));
        prop_assert_eq!(sum.finish(), !reference(&pieces.concat()));
    }

    #[test]
    fn pseudo_headers(src in any::<[u8; 16]>(), dst in any::<[u8; 16]>(), proto: u8, len: u32, before in any::<[u8; 6]>()) {
        let mut v6 = Checksum::new();
        v6.add(&before);
        v6.add_pseudo_v6(src, dst, proto, len);
        let mut bytes = before.to_vec();
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend(len.to_be_bytes());
        bytes.extend([0, 0, 0, proto]);
        prop_assert_eq!(v6.fold(), reference(&bytes));

        let (src, dst, len) = ([src[0], src[1], src[2], src[3]], [dst[0], dst[1], dst[2], dst[3]], len as u16);
        let mut v4 = Checksum::new();
        v4.add(&before);
        v4.add_pseudo_v4(src, dst, proto, len);
        let mut bytes = before.to_vec();
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend([0, proto]);
        bytes.extend(len.to_be_bytes());
        prop_assert_eq!(v4.fold(), reference(&bytes));
    }
}
