use proptest::prelude::*;

use super::*;

/// RFC 3720 §B.4, and the catalogue's check value.
#[test]
fn known_values() {
    let checksum = |bytes: &[u8]| {
        let mut running = Running::NEW;
        running.update(bytes);
        running.finish()
    };
    assert_eq!(checksum(b"123456789"), 0xe306_9283);
    assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
    assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(checksum(b""), 0);
}

proptest! {
    #[test]
    fn both_ways_agree_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..300usize) {
        let expected = TABLE.checksum(&bytes);
        prop_assert_eq!(!append(!0, &bytes), expected);
        prop_assert_eq!(!append_table(!0, &bytes), expected);
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        let mut running = Running::NEW;
        running.update(a);
        running.update(b);
        prop_assert_eq!(running.finish(), expected);
        prop_assert_eq!(!append_table(append_table(!0, a), b), expected);
    }
    #[test]
    fn words_are_their_bytes(a: u64, b: u64, c: u32) {
        let bytes = [&a.to_le_bytes()[..], &b.to_le_bytes(), &c.to_le_bytes()].concat();
        prop_assert_eq!(of_words(a, b, c), TABLE.checksum(&bytes));
        prop_assert_eq!(of_words_table(a, b, c), TABLE.checksum(&bytes));
    }
}
