use super::*;
use crate::zbuf::testing;

fn nodes(n: usize) -> Vec<OutOfOrder> {
    (0..n).map(|_| OutOfOrder::default()).collect()
}

fn blocks(list: &Reassembly, pool: &OutOfOrders<'_>, max: usize) -> SackBlocks {
    let mut out = SackBlocks::EMPTY;
    list.blocks(pool, None, None, max, &mut out);
    out
}

#[test]
fn overlaps_keep_what_came_first_and_gaps_are_filled() {
    let objs = testing::pool(1, 2048);
    let mut nodes = nodes(8);
    let mut pool = Slab::new(&mut nodes);
    let mut list = Reassembly::default();
    let zbuf = |bytes: &[u8]| {
        let mut m = objs.alloc().unwrap();
        m.append(bytes.len() as u32).unwrap().copy_from_slice(bytes);
        m.freeze()
    };
    let start = SeqNum(u32::MAX - 3);
    assert_eq!(list.insert(&mut pool, start + 4, zbuf(b"EF"), 1 << 20, 0).pinned, 2048);
    let both = list.insert(&mut pool, start + 2, zbuf(b"cdefgh"), 1 << 20, 0);
    assert_eq!((both.pinned, both.new_data, both.refused), (4096, true, false));
    assert!(!list.insert(&mut pool, start + 3, zbuf(b"xyz"), 1 << 20, 0).new_data);
    assert!(list.pop(&mut pool, start + 1).is_none());
    let blocks = blocks(&list, &pool, 4);
    assert_eq!(blocks.as_slice(), [(start + 2, start + 8)]);
    let mut got = Vec::new();
    let mut nxt = start + 3;
    while let Some((data, pinned)) = list.pop(&mut pool, nxt) {
        assert_eq!(pinned, 2048);
        nxt += data.len();
        got.extend_from_slice(&data);
    }
    assert_eq!(got, b"dEFgh");
    assert_eq!((pool.available(), objs.outstanding()), (8, 0));
}

#[test]
fn budget_and_pool_bound_what_is_pinned() {
    let objs = testing::pool(1, 2048);
    let mut nodes = nodes(2);
    let mut pool = Slab::new(&mut nodes);
    let mut list = Reassembly::default();
    let one = || {
        let mut m = objs.alloc().unwrap();
        m.append(1).unwrap();
        m.freeze()
    };
    assert!(list.insert(&mut pool, SeqNum(10), one(), 2047, 1).refused, "a byte pins its whole obj");
    assert!(!list.insert(&mut pool, SeqNum(10), one(), 2048, u32::MAX).refused);
    assert!(!list.insert(&mut pool, SeqNum(20), one(), 2048, 0).refused);
    assert!(list.insert(&mut pool, SeqNum(30), one(), 2048, 1).refused, "the pool is used up");
    let all = blocks(&list, &pool, 4);
    assert_eq!(all.as_slice(), [(SeqNum(20), SeqNum(21)), (SeqNum(10), SeqNum(11))], "latest first");
    assert_eq!(blocks(&list, &pool, 1).len(), 1);
    list.clear(&mut pool);
    assert_eq!((pool.available(), objs.outstanding()), (2, 0));
}

/// Random segments of a known stream, any order and overlap: what comes out in order is the stream.
#[test]
fn any_order_gives_the_stream() {
    use proptest::prelude::*;
    let stream: Vec<u8> = (0..200u8).collect();
    proptest!(|(parts in proptest::collection::vec((0usize..200, 1usize..40), 1..60), base: u32)| {
        let objs = testing::pool(1, 512);
        let mut nodes = nodes(200);
        let mut pool = Slab::new(&mut nodes);
        let mut list = Reassembly::default();
        let mut seen = [false; 200];
        for (start, len) in parts {
            let end = (start + len).min(200);
            let mut m = objs.alloc().unwrap();
            m.append((end - start) as u32).unwrap().copy_from_slice(&stream[start..end]);
            let out = list.insert(&mut pool, SeqNum(base) + start as u32, m.freeze(), u32::MAX, start as u32);
            let new = seen[start..end].iter().any(|s| !s);
            prop_assert_eq!(out.new_data, new);
            seen[start..end].fill(true);
        }
        let mut nxt = SeqNum(base);
        let mut got = Vec::new();
        while let Some((data, _)) = list.pop(&mut pool, nxt) {
            nxt += data.len();
            got.extend_from_slice(&data);
        }
        let want = seen.iter().position(|s| !s).unwrap_or(200);
        prop_assert_eq!(&got[..], &stream[..want]);
        list.clear(&mut pool);
        prop_assert_eq!(objs.outstanding(), 0);
    });
}
