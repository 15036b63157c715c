use proptest::prelude::*;

use super::SeqNum;

#[test]
fn around_zero() {
    let (last, zero) = (SeqNum(u32::MAX), SeqNum(0));
    assert!(last.before(zero) && zero.after(last));
    assert!(!zero.before(last) && !last.after(zero));
    assert!(zero.before_eq(zero) && zero.after_eq(zero) && !zero.before(zero) && !zero.after(zero));
    assert_eq!(last + 1, zero);
    assert_eq!(zero - 1, last);
    assert_eq!(zero - last, 1);
    assert_eq!(last - zero, -1);
    assert_eq!(last.later(zero), zero);
    assert_eq!(zero.earlier(last), last);
    let mut seq = last;
    seq += 3;
    assert_eq!(seq, SeqNum(2));
}

#[test]
fn windows() {
    let start = SeqNum(u32::MAX - 1);
    assert!(start.in_window(start, 1));
    assert!(SeqNum(1).in_window(start, 4));
    assert!(!SeqNum(2).in_window(start, 4));
    assert!(!(start - 1).in_window(start, 4));
    assert!(!start.in_window(start, 0));
    assert_eq!(SeqNum(2).distance_from(start), 4);
}

proptest! {
    #[test]
    fn distances_under_two_to_the_31(start: u32, distance in 1u32..1 << 31) {
        let (a, b) = (SeqNum(start), SeqNum(start) + distance);
        prop_assert!(a.before(b) && a.before_eq(b) && b.after(a) && b.after_eq(a));
        prop_assert!(!b.before(a) && !b.before_eq(a) && !a.after(b) && !a.after_eq(b));
        prop_assert_eq!(b - a, distance as i32);
        prop_assert_eq!(b - distance, a);
        prop_assert_eq!((a.later(b), b.later(a), a.earlier(b), b.earlier(a)), (b, b, a, a));
    }
}
