use super::*;
use crate::tcp::segments::SegmentFlags;

const LEN: u32 = 10;

/// `n` segments of ten bytes from `base`, sent one a nanosecond.
fn flight(pool: &mut Segments<'_>, base: SeqNum, n: u32) -> SegmentList {
    let mut list = SegmentList::default();
    for k in 0..n {
        let i = pool.alloc().unwrap();
        let flags = SegmentFlags::default();
        let sent_at = Instant::from_nanos(u64::from(k));
        *pool.at_mut(i) = Segment { sent_at, seq: base + k * LEN, len: LEN, flags, ..Segment::default() };
        list.push(pool, i);
    }
    list
}

fn each(pool: &Segments<'_>, list: SegmentList, mut f: impl FnMut(u32, &Segment)) {
    let mut at = list.head;
    while at != NIL {
        f(at, pool.at(at));
        at = pool.at(at).next;
    }
}

/// The sums are those of the marks.
fn check(board: &Scoreboard, pool: &Segments<'_>, list: SegmentList) {
    let mut want = Scoreboard::default();
    want.count(pool, list);
    assert_eq!(
        (board.sacked, board.sacked_bytes, board.lost, board.lost_bytes, board.retrans),
        (want.sacked, want.sacked_bytes, want.lost, want.lost_bytes, want.retrans)
    );
}

fn at(base: SeqNum, k: u32) -> SeqNum {
    base + k * LEN
}

/// Blocks, losses, retransmissions and cumulative acknowledgments in any order: the sums hold, and the marks are those
/// that walking over everything would have made.
#[test]
fn sums_and_marks_are_those_of_a_plain_model() {
    use proptest::prelude::*;
    #[derive(Clone, Debug)]
    enum Step {
        Block(u32, u32),
        Lost(u32),
        Again,
        Ack(u32),
        Forget,
        Unmark,
    }
    let step = prop_oneof![
        8 => (0u32..60, 1u32..20).prop_map(|(l, n)| Step::Block(l, n)),
        2 => (0u32..60).prop_map(Step::Lost),
        3 => Just(Step::Again),
        2 => (1u32..6).prop_map(Step::Ack),
        1 => Just(Step::Forget),
        1 => Just(Step::Unmark),
    ];
    proptest!(|(steps in proptest::collection::vec(step, 1..60), base: u32)| {
        let mut memory: Vec<_> = (0..64).map(|_| Segment::default()).collect();
        let mut pool = Segments::new(&mut memory);
        let base = SeqNum(base);
        let mut list = flight(&mut pool, base, 60);
        let mut board = Scoreboard::default();
        let (mut una, mut sacked, mut lost) = (0u32, [false; 60], [false; 60]);
        for step in steps {
            match step {
                Step::Block(l, n) if l >= una => {
                    let r = (l + n).min(60);
                    let mut seen = Vec::new();
                    let block = (at(base, l), at(base, r));
                    prop_assert!(board.mark_block(&mut pool, list, block, |s| seen.push((s.seq - base) as u32 / LEN)));
                    let want: Vec<_> = (l..r).filter(|k| !sacked[*k as usize]).collect();
                    prop_assert_eq!(seen, want, "news of block {}..{}", l, r);
                    sacked[l as usize..r as usize].fill(true);
                    lost[l as usize..r as usize].fill(false);
                }
                Step::Lost(k) if k >= una => {
                    let mut i = NIL;
                    each(&pool, list, |at, s| if s.seq == base + k * LEN { i = at });
                    let new = board.mark_lost(&mut pool, i);
                    prop_assert_eq!(new, !sacked[k as usize] && !lost[k as usize]);
                    lost[k as usize] |= new;
                }
                Step::Again => {
                    let first = board.first_lost(&pool, list);
                    let want = lost.iter().position(|l| *l);
                    prop_assert_eq!(first.map(|i| (pool.at(i).seq - base) as usize / LEN as usize), want);
                    if let Some(i) = first {
                        board.on_retransmit(pool.at_mut(i), Instant::from_nanos(1000));
                        lost[want.unwrap()] = false;
                    }
                }
                Step::Ack(n) => {
                    for k in una..(una + n).min(60) {
                        let i = list.head;
                        let s = pool.at(i);
                        board.freed(s);
                        list.pop(&mut pool);
                        (sacked[k as usize], lost[k as usize]) = (false, false);
                    }
                    una = (una + n).min(60);
                    board.forget_below(at(base, una));
                }
                Step::Forget => {
                    board.forget_sacks(&mut pool, list);
                    sacked.fill(false);
                }
                Step::Unmark => {
                    board.unmark_lost(&mut pool, list);
                    lost.fill(false);
                }
                _ => {}
            }
            check(&board, &pool, list);
            each(&pool, list, |_, s| {
                let k = (s.seq - base) as usize / LEN as usize;
                assert_eq!((s.flags.sacked(), s.flags.lost()), (sacked[k], lost[k]), "segment {k}");
            });
        }
    });
}

#[test]
fn a_block_that_grows_is_not_walked_again_and_a_far_one_is_cut_short() {
    let n = 4 * WALK_MAX;
    let mut memory: Vec<_> = (0..n).map(|_| Segment::default()).collect();
    let mut pool = Segments::new(&mut memory);
    let base = SeqNum(7);
    let list = flight(&mut pool, base, n);
    let mut board = Scoreboard::default();
    // All but the first, one more with each acknowledgment: far beyond the budget of one walk, were it walked.
    for k in 2..=n {
        assert!(board.mark_block(&mut pool, list, (at(base, 1), at(base, k)), |_| ()), "{k}");
    }
    assert_eq!((board.sacked, board.sacked_bytes), (n - 1, (n - 1) * LEN));
    let mut board = Scoreboard::default();
    each(&pool, list, |_, _| ());
    board.forget_sacks(&mut pool, list);
    let far = (at(base, n - 2), at(base, n - 1));
    assert!(!board.mark_block(&mut pool, list, far, |_| ()), "not looked for to the end");
    assert_eq!(board.sacked, 0);
}

#[test]
fn first_transmissions_are_judged_once_and_in_order() {
    let mut memory: Vec<_> = (0..8).map(|_| Segment::default()).collect();
    let mut pool = Segments::new(&mut memory);
    let list = flight(&mut pool, SeqNum(0), 8);
    let mut board = Scoreboard::default();
    let now = Instant::from_nanos(100);
    // Overtaken: the first five. Due: the first three.
    let due = |s: &Segment| {
        let k = s.seq.0 / LEN;
        (k < 5).then(|| Instant::from_nanos(if k < 3 { 90 } else { 120 }))
    };
    let found = board.mark_due(&mut pool, list, now, due);
    assert_eq!((found.lost, found.again, found.next), (3, 0, Instant::from_nanos(120)));
    assert_eq!(board.mark_due(&mut pool, list, now, due).lost, 0);
    let found = board.mark_due(&mut pool, list, Instant::from_nanos(120), due);
    assert_eq!((found.lost, found.next), (2, Instant::FAR));
    check(&board, &pool, list);
}

#[test]
fn a_retransmission_that_is_overtaken_is_lost_again() {
    let mut memory: Vec<_> = (0..4).map(|_| Segment::default()).collect();
    let mut pool = Segments::new(&mut memory);
    let list = flight(&mut pool, SeqNum(0), 4);
    let mut board = Scoreboard::default();
    assert!(board.mark_lost(&mut pool, list.head));
    board.on_retransmit(pool.at_mut(list.head), Instant::from_nanos(50));
    let overtaken =
        |by: u64| move |s: &Segment| (s.sent_at < Instant::from_nanos(by)).then_some(Instant::from_nanos(70));
    let found = board.mark_due(&mut pool, list, Instant::from_nanos(60), overtaken(40));
    assert_eq!((found.lost, found.again), (0, 0), "nothing sent later was delivered");
    let found = board.mark_due(&mut pool, list, Instant::from_nanos(60), overtaken(55));
    assert_eq!((found.again, found.next), (0, Instant::from_nanos(70)), "not yet");
    let found = board.mark_due(&mut pool, list, Instant::from_nanos(70), overtaken(55));
    assert_eq!(found.again, 1);
    check(&board, &pool, list);
}

#[test]
fn three_reports_above_make_a_loss() {
    let mut memory: Vec<_> = (0..8).map(|_| Segment::default()).collect();
    let mut pool = Segments::new(&mut memory);
    let list = flight(&mut pool, SeqNum(0), 8);
    let mut board = Scoreboard::default();
    let block = |l, r| (SeqNum(l * LEN), SeqNum(r * LEN));
    board.mark_block(&mut pool, list, block(2, 4), |_| ());
    assert_eq!(board.mark_below_three(&mut pool, list), 0);
    board.mark_block(&mut pool, list, block(6, 7), |_| ());
    assert_eq!(board.mark_below_three(&mut pool, list), 2, "the first two; the two below the highest have one above");
    assert_eq!(board.high_sacked(SeqNum(0)), SeqNum(6 * LEN));
    check(&board, &pool, list);
}
