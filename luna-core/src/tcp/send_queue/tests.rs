use super::*;
use crate::zbuf::{Pool, testing};

/// Queues a send of `len` bytes from a fresh obj.
fn push(q: &mut SendQueue, sends: &mut SendEntries<'_>, data: &Pool, len: u32, token: Option<u64>) {
    let mut iov = heapless::Vec::<Frag, 1>::new();
    iov.push(Frag::from(data.alloc_len(len).unwrap().freeze())).unwrap();
    q.push_all(sends, None, &mut iov, token, false, len);
}

#[test]
fn all_acknowledged_at_once_leaves_nothing_and_tells_nobody() {
    let data = testing::pool(1, 256);
    let free = data.available();
    let mut entries: [SendEntry; 3] = Default::default();
    let mut sends = SendEntries::new(&mut entries);
    let mut q = SendQueue::new(SeqNum(10));
    for round in 0..3 {
        let start = 10 + round * 150;
        push(&mut q, &mut sends, &data, 100, None);
        push(&mut q, &mut sends, &data, 50, None);
        assert_eq!(sends.available(), 1);
        assert!(matches!(q.release_acked(&mut sends, SeqNum(start + 149)), Acked::NoMore), "not all of it");
        assert_eq!((q.queued(), sends.available()), (50, 2), "the first send is whole");
        assert!(matches!(q.release_acked(&mut sends, SeqNum(start + 150)), Acked::NoMore));
        assert_eq!((q.queued(), sends.available(), data.available()), (0, 3, free));
        assert_eq!((q.head, q.tail, q.head_seq), (NIL, NIL, SeqNum(start + 150)));
        assert!(sends.free_list_is_whole(0));
        assert!(matches!(q.release_acked(&mut sends, SeqNum(start + 150)), Acked::NoMore), "nothing is there");
    }
}

#[test]
fn who_waits_for_a_send_is_told_whatever_is_acknowledged_with_it() {
    let data = testing::pool(1, 256);
    let mut entries: [SendEntry; 3] = Default::default();
    let mut sends = SendEntries::new(&mut entries);
    let mut q = SendQueue::new(SeqNum(0));
    for round in 0..2 {
        push(&mut q, &mut sends, &data, 10, None);
        push(&mut q, &mut sends, &data, 10, Some(7 + round));
        push(&mut q, &mut sends, &data, 10, None);
        let una = q.end;
        assert!(matches!(q.release_acked(&mut sends, una), Acked::Send(token) if token == 7 + round));
        assert!(matches!(q.release_acked(&mut sends, una), Acked::NoMore));
        assert_eq!((q.queued(), sends.available()), (0, 3));
        // And between them one that nobody waits for.
        push(&mut q, &mut sends, &data, 10, None);
        let una = q.end;
        assert!(q.plain && matches!(q.release_acked(&mut sends, una), Acked::NoMore));
    }
}
