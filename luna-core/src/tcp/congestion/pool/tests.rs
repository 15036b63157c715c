use super::*;

const NS: fn(u64) -> Instant = Instant::from_nanos;

#[test]
fn segments_leave_no_faster_than_the_rate() {
    let mut p = Pacer::new(0);
    // 1000 bytes at 1 GB/s: 1 µs.
    p.sent(NS(10_000), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(11_000));
    p.sent(NS(11_000), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(12_000));
    p.sent(NS(50_000), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(51_000), "what was not used is gone");
}

#[test]
fn a_late_turn_is_made_up_for_but_not_a_long_one() {
    let mut p = Pacer::new(0);
    p.sent(NS(0), 1000, 1_000_000_000);
    p.waits = true;
    p.sent(NS(3_500), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(2_000));
    p.sent(NS(3_500), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(3_000));
    p.sent(NS(3_500), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(4_000), "caught up");
    p.waits = true;
    p.sent(NS(1_000_000), 1000, 1_000_000_000);
    assert_eq!(p.next_send, NS(1_001_000));
}
